"""Which of several trials are worth going on with: Pareto ranks, and successive halving by them."""

from __future__ import annotations

import math
from collections.abc import Sequence

Number = int | float

REDUCTION = 2
"""Of those that reach a rung the best half goes on."""


def dominates(one: Sequence[Number], other: Sequence[Number]) -> bool:
    """Return whether ``one`` is nowhere larger than ``other`` and somewhere smaller; small is good.

    Examples
    --------
    >>> dominates((1, 2), (1, 3)), dominates((1, 2), (1, 2)), dominates((0, 4), (1, 3))
    (True, False, False)
    """
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def ranks(points: Sequence[Sequence[Number]]) -> list[int]:
    """Return the Pareto rank of each point: 0 on the front, 1 on the front of the others, and so on; small is good.

    References
    ----------
    Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", section III.A.

    Examples
    --------
    >>> ranks([(1, 3), (3, 1), (2, 4), (4, 4)])
    [0, 0, 1, 2]
    """
    found = [-1] * len(points)
    left, rank = set(range(len(points))), 0
    while left:
        front = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        for i in front:
            found[i] = rank
        left, rank = left - front, rank + 1
    return found


def rungs(epochs: int) -> list[int]:
    """Return the epochs after which a trial may be stopped: a half, a quarter, an eighth of all, the smallest first.

    Examples
    --------
    >>> rungs(12), rungs(2), rungs(1)
    ([2, 3, 6], [1], [])
    """
    found = {math.ceil(epochs / REDUCTION**power) for power in (1, 2, 3)}
    return sorted(epoch for epoch in found if 1 <= epoch < epochs)


def goes_on(point: Sequence[Number], others: Sequence[Sequence[Number]]) -> bool:
    """Return whether a trial goes on from a rung with this point, where ``others`` reached the same rung before.

    It does if fewer than one in :data:`REDUCTION` of all of them have a better Pareto rank: always on their front. With
    one objective this is asynchronous successive halving.

    References
    ----------
    Schmucker, Donini, Zafar, Salinas and Archambeau 2021, "Multi-objective asynchronous successive halving",
    arXiv:2106.12639, with Pareto ranks in place of an epsilon net; Li et al. 2020, "A system for massively parallel
    hyperparameter tuning", arXiv:1810.05934.

    Examples
    --------
    >>> goes_on((2.0, 2.0), [(1.0, 1.0), (1.5, 1.5), (3.0, 3.0)])
    False
    >>> goes_on((1.2, 1.2), [(1.0, 1.0), (1.5, 1.5), (3.0, 3.0)])
    True
    """
    points = [*others, point]
    found = ranks(points)
    better = sum(rank < found[-1] for rank in found)
    return REDUCTION * better < len(points)
