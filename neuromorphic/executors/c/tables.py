"""Tables in flash: of one that is symmetric, or the same number from some place on, only what differs is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from neuromorphic.executors.c.elements import Elements

FEWEST = 64
"""Entries that must be saved, so that a comparison more is worth it."""


def look_up(scope: Elements, table: NDArray[Any], place: str) -> str:
    """Return the expression of a table's entry at a place.

    A sigmoid of 8,191 entries, 16 KB, is stored as 2,308: the half from its middle on, up to where it is 1.
    """
    middle, odd = divmod(len(table), 2)
    twice = 2 * int(table[middle])
    if not odd or middle < FEWEST or np.any(table + table[::-1] != twice):
        return _clipped(scope, table, place)
    side = scope.local(f"{place} - {middle}")
    entry = scope.local(_clipped(scope, table[middle:], scope.local(f"{side} < 0 ? -{side} : {side}")))
    return f"{side} < 0 ? {twice} - {entry} : {entry}"


def _clipped(scope: Elements, table: NDArray[Any], place: str) -> str:
    """Return the expression of an entry; the run of equal ones at the end is stored once."""
    changes = np.flatnonzero(np.diff(table))
    last = int(changes[-1]) + 1 if len(changes) else 0
    if len(table) - last <= FEWEST:
        return f"{scope.arrays.constant(table)}[{place}]"
    place = place if place.isidentifier() else scope.local(place)
    return f"{scope.arrays.constant(table[: last + 1])}[{place} > {last} ? {last} : {place}]"
