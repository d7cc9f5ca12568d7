"""Real weights to integers of 8 or 15 bits, with one unit for each neuron wherever the neuron can carry it.

A spiking neuron counts its membrane in units of its own, so each row of its weights may have its own unit; what others
read as one quantity (a read-out, an integrator) has one unit for all rows. In this order:

1. A matrix that integers hold exactly with one unit stays as it is: ternary, or multiples of a power of two.
2. A row that integers hold exactly has the largest such unit: ``{-a, 0, a}`` is ternary with its own ``a``.
3. Everything else is rounded to 127 levels either side, or to 16,256 as two matrices, of 128 units and of one, where
   127 would lose more than ``COARSE`` of a row, or ``FEWER`` of its weights.

Where several sources meet, their units in a row differ by a power of two that is the same for all rows: a left shift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import CompileError
from neuromorphic.ops.base import MAX_SHIFT

Float64 = NDArray[np.float64]

WEIGHT_MAX = 127
FINE_BITS = 15
FINE_SHIFT = 7
FINE_MAX = WEIGHT_MAX << FINE_SHIFT
COARSE = 0.03
"""Part of a row, in sum of magnitudes, that rounding to 8 bits may lose before 15 are taken."""
FEWER = 0.25
"""Part of a row, in number of weights, that may become 0: beside one large weight the others are little of the sum."""
LARGEST, SMALLEST = 1e30, 1e-30
EQUAL = 1e-6
"""Relative difference that float32 parameters leave between equal numbers."""
_FIRST = 8
"""Weights of a row that are looked at before all of them are."""


@dataclass(frozen=True)
class Plane:
    """Integer weights ``[out, in]`` or ``[N]``, and the real value of one unit in each row; 0 where all weights are 0.

    ``fine`` marks the second matrix of weights that have 15 bits.
    """

    weights: NDArray[np.int8]
    unit: Float64  # [out]
    fine: bool = False


def integers_of(
    weights: Sequence[Float64],
    bases: Sequence[float],
    where: Sequence[str],
    *,
    own_units: bool,
    bits: int | None = None,
) -> list[list[Plane]]:
    """Return the weights of one population as integers: one matrix for each source, or two.

    ``weights`` are ``[out, in]`` for each source, or ``[N]`` where each neuron has one weight; ``bases`` are the real
    values of what they multiply, and ``where`` their names for messages. ``own_units`` says whether each row may have
    its own unit. ``bits`` is 8 or 15; ``None``: 8, or 15 where 8 lose more of a row than ``COARSE`` and ``FEWER`` say.
    """
    matrices = [_checked_matrix(w, name) for w, name in zip(weights, where, strict=True)]
    whole = [_exact_plane(w) for w in matrices]
    exact = [plane for plane in whole if plane is not None]
    if len(exact) == len(whole):
        found = [[plane] for plane in exact]
    elif len(weights) == 1 and weights[0].ndim == 1:  # one factor for each neuron, rounded by nobody
        found = [[Plane(np.sign(matrices[0]).astype(np.int8), np.abs(matrices[0][:, 0]))]]
    else:

        def rounded(bits: int) -> list[list[Plane]]:
            return _with_row_units(matrices, bases, bits) if own_units else _with_one_unit(matrices, whole, bits)

        found = rounded(bits or 8)
        if bits is None and any(_loses_too_much(w, planes) for w, planes in zip(matrices, found, strict=True)):
            found = rounded(FINE_BITS)
    shapes = [w.shape for w in weights]
    return [
        [Plane(p.weights.reshape(shape), p.unit, p.fine) for p in planes]
        for planes, shape in zip(found, shapes, strict=True)
    ]


def _checked_matrix(weights: Float64, where: str) -> Float64:
    peak = float(np.abs(weights).max())
    if not peak <= LARGEST:
        raise CompileError(f"{where}: a weight is {peak:.3g}; weights must be finite and at most {LARGEST:.0e}")
    return np.where(np.abs(weights) < SMALLEST, 0.0, weights).reshape(len(weights), -1)


def _exact_plane(weights: Float64) -> Plane | None:
    """Return a matrix that integers hold exactly with one unit: zeros, ternary, or on a grid of a power of two."""
    magnitude = np.abs(weights)
    peak = float(magnitude.max())
    rows = len(weights)
    if peak == 0:
        return Plane(np.zeros(weights.shape, dtype=np.int8), np.zeros(rows))
    if float(magnitude[magnitude > 0].min()) >= peak * (1.0 - EQUAL):
        return Plane(np.sign(weights).astype(np.int8), np.full(rows, peak))
    unit = _power_of_two(peak / WEIGHT_MAX)
    if np.abs(weights - np.rint(weights / unit) * unit).max() <= EQUAL * unit:
        return Plane(np.rint(weights / unit).astype(np.int8), np.full(rows, unit))
    return None


def _power_of_two(value: float) -> float:
    return 2.0 ** math.ceil(math.log2(value))


def _with_one_unit(matrices: Sequence[Float64], whole: Sequence[Plane | None], bits: int) -> list[list[Plane]]:
    """Return integers with one unit for all rows of a source; a power of two where several sources meet."""
    found = []
    for weights, plane in zip(matrices, whole, strict=True):
        if plane is not None:
            found.append([plane])
            continue
        unit = float(np.abs(weights).max()) / WEIGHT_MAX
        if len(matrices) > 1 or bits != 8:
            unit = _power_of_two(unit) / (1 if bits == 8 else 1 << FINE_SHIFT)
        found.append(_rounded(weights, np.full(len(weights), unit), bits))
    return found


def _with_row_units(matrices: Sequence[Float64], bases: Sequence[float], bits: int) -> list[list[Plane]]:
    """Return integers with one unit for each row; units of several sources differ by one left shift for all rows."""
    currents = [w * base for w, base in zip(matrices, bases, strict=True)]
    together = _row_units(np.concatenate(currents, axis=1))
    shifts = np.zeros(len(currents), dtype=np.int64)
    levels = WEIGHT_MAX if bits == 8 else FINE_MAX
    if len(currents) == 1:
        unit = np.where(together > 0, together, np.abs(currents[0]).max(axis=1) / float(levels))
    elif (together > 0).all():
        unit = together
    else:
        unit, shifts = _shared_units(currents, levels)
    return [_rounded(w, unit * 2.0**shift / base, bits) for w, shift, base in zip(matrices, shifts, bases, strict=True)]


def _shared_units(currents: Sequence[Float64], levels: int) -> tuple[Float64, NDArray[np.int64]]:
    """Return a unit for each row and a left shift for each source that hold all of them in ``levels`` levels."""
    peaks = np.stack([np.abs(w).max(axis=1) for w in currents])  # [S, out]
    largest = peaks.max(axis=0)
    heights = [np.log2(p[p > 0] / largest[p > 0]) for p in peaks]
    level = np.array([np.rint(np.median(h)) if h.size else 0.0 for h in heights])
    used = np.array([h.size > 0 for h in heights])
    lowest = level[used].min() if used.any() else 0.0
    shifts = np.where(used, np.clip(level - lowest, 0, MAX_SHIFT - FINE_SHIFT), 0).astype(np.int64)
    unit: Float64 = (peaks / (levels * 2.0 ** shifts[:, None])).max(axis=0)
    for w, shift in zip(currents, shifts, strict=True):  # the first source that is exact remains so
        own = _row_units(w) / 2.0**shift
        if (own[np.abs(w).max(axis=1) > 0] > 0).all():
            parts = np.floor(own / np.where(unit > 0, unit, 1.0) * (1 + EQUAL))
            unit = np.where(parts >= 1, own / np.maximum(parts, 1), unit)
            break
    return unit, shifts


def _row_units(weights: Float64) -> Float64:
    """Return for each row the largest unit of which all weights are multiples, up to 127 times; 0 where none is."""
    magnitude = np.abs(weights)
    peak = magnitude.max(axis=1)
    units = np.zeros(len(weights))
    few = min(_FIRST, weights.shape[1])
    largest = np.partition(magnitude, -few, axis=1)[:, -few:]
    waiting = np.flatnonzero(peak > 0)
    for parts in range(1, WEIGHT_MAX + 1):
        if not len(waiting):
            break
        unit = peak[waiting] / parts
        maybe = _are_multiples(largest[waiting], unit)
        maybe[maybe] = _are_multiples(magnitude[waiting[maybe]], unit[maybe])
        units[waiting[maybe]] = unit[maybe]
        waiting = waiting[~maybe]
    return units


def _are_multiples(magnitude: Float64, unit: Float64) -> NDArray[np.bool_]:
    """Return for each row whether its weights are multiples of its unit."""
    parts = magnitude / unit[:, None]
    near = np.abs(parts - np.rint(parts)) <= EQUAL * np.maximum(parts, 1.0)
    return np.asarray(near.all(axis=1))


def _rounded(weights: Float64, unit: Float64, bits: int) -> list[Plane]:
    """Round to multiples of a unit: one matrix, or two of which the first counts 128 units."""
    live = np.abs(weights).max(axis=1) > 0
    unit = np.where(live, unit, 0.0)
    integers = np.rint(weights / np.where(live, unit, 1.0)[:, None]).astype(np.int64)
    if bits == 8 or int(np.abs(integers).max()) <= WEIGHT_MAX:
        return [Plane(integers.astype(np.int8), unit)]
    low = ((integers + 64) & 127) - 64
    high = Plane(((integers - low) >> FINE_SHIFT).astype(np.int8), unit * (1 << FINE_SHIFT))
    return [high, Plane(low.astype(np.int8), unit, fine=True)] if low.any() else [high]


def real_weights(planes: Sequence[Plane]) -> Float64:
    """Return the real weights ``[out, in]`` that integers stand for."""
    total: Float64 = np.sum([p.weights * p.unit[:, None] for p in planes], axis=0)
    return total


def _loses_too_much(weights: Float64, planes: Sequence[Plane]) -> bool:
    """Return whether rounding loses too much of some row."""
    real = real_weights(planes)
    total, count = np.abs(weights).sum(axis=1), (weights != 0).sum(axis=1)
    lost = np.abs(weights - real).sum(axis=1) > COARSE * total
    fewer = ((weights != 0) & (real == 0)).sum(axis=1) > FEWER * count
    return bool((lost | fewer).any())
