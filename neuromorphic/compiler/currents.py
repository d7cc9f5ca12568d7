"""What flows into one population of neurons, in integers: quantised weights, and one unit for all sources.

A source gives events (spikes, graded inputs) or values (the state of an integrator). Its weights become integers: exact
ternary ones where a matrix holds at most {-a, 0, a}, else 8 bits with one scale, a power of two where several sources
meet; or 15 bits as two such matrices, whose sums are shifted apart. With ``e`` the real
current of one unit of weight and one unit of the source, the unit of the population is ``u``, the smallest ``e``, and

    current / u = sum over the sources of (e / u) * (weights @ source)

Where ``e / u`` is a power of two, it is an exact left shift; elsewhere a ``Scale`` multiplies. ``bits`` more fractional
bits come from the state's own left shift where all is exact, and from the sources where something is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import BoundError, CompileError
from neuromorphic.fixed_point import INT32_MAX
from neuromorphic.op_fields import MAX_SHIFT
from neuromorphic.ops import Dense, Op
from neuromorphic.pathway_ops import MAX_SCALE_SHIFT, Scale

Float64 = NDArray[np.float64]

FACTOR_BITS = 20
WEIGHT_MAX = 127
FINE_BITS = 15
VALUE_PEAK = 4
"""A source of values counts in units of which its largest value has ``2**VALUE_PEAK``."""
SUM_MAX = 2.0**29
"""What weighted values may add up to; their fractional bits come from it."""
MAX_UNIT_RATIO = 2.0**14
"""A source of which one unit is worth less than this part of another's is rounded."""
LARGEST, SMALLEST = 1e30, 1e-30
EQUAL = 1e-6
"""Relative difference that float32 parameters leave between equal numbers."""


def scale_op(name: str, source: str, factor: Float64 | float, size: int, *, shift: int = 0) -> Scale:
    """Return an operation that multiplies by real factors, as precisely as 21 bits allow, and shifts right."""
    real = np.broadcast_to(np.asarray(factor, dtype=np.float64), (size,))
    peak = float(np.abs(real).max())
    if not math.isfinite(peak):
        raise CompileError(f"{name}: a scale is NaN or infinite; the network was not trained to an end")
    bits = FACTOR_BITS - math.ceil(math.log2(peak)) if peak > 0 else 0
    bits = max(-shift, min(bits, MAX_SCALE_SHIFT - shift))
    factors = np.rint(real * 2.0**bits)
    if np.abs(factors).max() > INT32_MAX:
        raise CompileError(f"{name}: a factor of {peak:.3g} is too large for 32 bits")
    return Scale(name, source, factors.astype(np.int32), bits + shift)


def quantise(
    weights: Float64, where: str, *, alone: bool = False, bits: int = 8
) -> list[tuple[NDArray[np.int8], float]]:
    """Return integer weights and the real value of one unit; a unit of 0 says that all weights are 0.

    Ternary, exactly, where the values are at most {-a, 0, a}; else ``rint(weights / unit)`` in -127..127. The unit is
    the smallest power of two; where a source is ``alone`` and that is not exact, the finer ``peak / 127``. With 15
    ``bits``, what is not exact is ``rint(weights / unit)`` in -16256..16256, as two matrices: 128 units each, and one.
    """
    magnitude = np.abs(weights)
    peak = float(magnitude.max())
    if not peak <= LARGEST:
        raise CompileError(f"{where}: a weight is {peak:.3g}; weights must be finite and at most {LARGEST:.0e}")
    if peak < SMALLEST:
        return [(np.zeros(weights.shape, dtype=np.int8), 0.0)]
    if float(magnitude[magnitude > 0].min()) >= peak * (1.0 - EQUAL):
        return [(np.sign(weights).astype(np.int8), peak)]
    unit = 2.0 ** math.ceil(math.log2(peak / WEIGHT_MAX))
    if np.abs(weights - np.rint(weights / unit) * unit).max() <= EQUAL * unit:
        return [(np.rint(weights / unit).astype(np.int8), unit)]
    if bits == FINE_BITS:
        fine = unit / 128
        integers = np.rint(weights / fine).astype(np.int64)
        low = ((integers + 64) & 127) - 64
        return [(((integers - low) >> 7).astype(np.int8), unit), (low.astype(np.int8), fine)]
    if alone:
        unit = peak / WEIGHT_MAX
    return [(np.rint(weights / unit).astype(np.int8), unit)]


@dataclass(frozen=True)
class Source:
    """An operation that synapses read: its name, its largest magnitude, and what one integer is worth."""

    name: str
    size: int
    kind: str  # "events" or "values"
    peak: int
    unit: float

    @property
    def base(self) -> float:
        """Real value of what the weights multiply: an event, or a power of two near a value's peak."""
        if self.kind == "events":
            return self.unit
        return 2.0 ** (math.ceil(math.log2(self.unit * max(self.peak, 1))) - VALUE_PEAK)


@dataclass(frozen=True)
class Synapses:
    """One source's weights, ``[out, in]``, or ``[N]`` where each neuron has its own; ``unit`` is one's worth.

    ``fine`` marks the second matrix of weights that have 15 bits.
    """

    source: Source
    weights: NDArray[np.int8]
    unit: float
    fine: bool = False

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.weights.shape[0])

    @property
    def step(self) -> float:
        """Real current of one unit of weight and one base unit of the source."""
        return self.unit * self.source.base

    def peak(self) -> Float64:
        """Largest sum in units of :attr:`step`, ``[N]``."""
        total = np.abs(self.weights.astype(np.int64)).reshape(self.size, -1).sum(axis=1).astype(np.float64)
        peak: Float64 = total * (self.source.peak * self.source.unit / self.source.base)
        return peak

    def times(self, rows: NDArray[np.int8]) -> Synapses:
        """Return them with each neuron's weights times -1, 0 or 1."""
        shape = (-1,) + (1,) * (self.weights.ndim - 1)
        return replace(self, weights=(self.weights * rows.reshape(shape)).astype(np.int8))


@dataclass(frozen=True)
class Currents:
    """All synapses of one population.

    Parameters
    ----------
    name : str
        Name of the population.
    synapses : tuple of Synapses
        One for each source and delay.
    rows : Float64, optional
        A factor for each neuron, 0..1, that a ``Scale`` applies; ``None``: none is needed.
    """

    name: str
    synapses: tuple[Synapses, ...]
    rows: Float64 | None = None

    @property
    def unit(self) -> float:
        """Real current of one unit."""
        steps = [s.step for s in self.synapses if s.unit > 0]
        return max(min(steps), max(steps) / MAX_UNIT_RATIO) if steps else 1.0

    def peak(self) -> Float64:
        """Largest current, in units, ``[N]``."""
        rows = 1.0 if self.rows is None else self.rows
        total: Float64 = np.sum([s.peak() * s.step for s in self.synapses], axis=0) / self.unit * rows
        return total

    def times(self, rows: NDArray[np.int8]) -> Currents:
        """Return them with each neuron's weights times -1, 0 or 1."""
        return replace(self, synapses=tuple(s.times(rows) for s in self.synapses))

    def _shift(self, synapses: Synapses) -> int | None:
        """Return the left shift that brings synapses to the common unit; ``None`` where only a factor does."""
        ratio = (synapses.step or self.unit) / self.unit
        exponent = round(math.log2(ratio))
        exact = self.rows is None and abs(ratio / 2.0**exponent - 1.0) < EQUAL and 0 <= exponent <= MAX_SHIFT
        return exponent if exact else None

    @property
    def exact(self) -> bool:
        """Whether left shifts alone bring all sources to the common unit."""
        return all(s.source.kind == "events" and self._shift(s) is not None for s in self.synapses)

    def ops(self, bits: int) -> tuple[list[Op], list[str], int]:
        """Return operations for ``bits`` fractional bits, those of them that the state adds, and the state's shift.

        Raises
        ------
        BoundError
            When a factor or a shift leaves its range.
        """
        made: list[Op] = []
        outputs = []
        for synapses in self.synapses:
            sources = {each.source.name for each in self.synapses}
            name = self.name if len(sources) == 1 else f"{self.name}_from_{synapses.source.name}"
            name += "_fine" * synapses.fine
            made += self._read(synapses, name, 0 if self.exact else bits)
            outputs.append(made[-1].name)
        return made, outputs, bits if self.exact else 0

    def _read(self, synapses: Synapses, name: str, bits: int) -> list[Op]:
        source, shift = synapses.source, self._shift(synapses)
        rows = np.ones(synapses.size) if self.rows is None else self.rows
        ratio = (synapses.step or self.unit) / self.unit * rows * 2.0**bits  # [N]
        if synapses.weights.ndim == 1:
            factor = synapses.weights * ratio
            if source.kind == "values":
                return [_factor(f"{name}_synapses", source.name, factor * source.unit / source.base)]
            return [_factor(f"{name}_synapses", source.name, factor)]
        if source.kind == "values":  # as fine as the sum allows, then rounded once
            kept = max(0, min(MAX_SHIFT, math.floor(math.log2(SUM_MAX / max(float(synapses.peak().max()), 1.0)))))
            scaled = np.full(source.size, source.unit / source.base * 2.0**kept)
            shown = _factor(f"{name}_shown", source.name, scaled)
            dense = Dense(f"{name}_synapses", shown.name, synapses.weights)
            return [shown, dense, _factor(f"{name}_scaled", dense.name, ratio / 2.0**kept)]
        if shift is None:
            dense = Dense(f"{name}_synapses", source.name, synapses.weights)
            return [dense, _factor(f"{name}_scaled", dense.name, ratio)]
        if shift + bits > MAX_SHIFT:
            raise BoundError(f"{name}: a left shift of {shift + bits} is too large")
        return [Dense(f"{name}_synapses", source.name, synapses.weights, shift + bits)]


def _factor(name: str, source: str, factor: Float64) -> Scale:
    """Multiply by real factors; exactly, where they are whole numbers."""
    peak = float(np.abs(factor).max())
    if not peak <= INT32_MAX:
        raise BoundError(f"{name}: a factor of {peak:.3g} is too large")
    if np.array_equal(factor, np.rint(factor)):
        return Scale(name, source, factor.astype(np.int32))
    return scale_op(name, source, factor, len(factor))


def currents_of(
    name: str, parts: Sequence[tuple[Source, Float64]], *, rows: Float64 | None = None, bits: int = 8
) -> Currents:
    """Quantise the weights of each source, ``[out, in]`` or ``[N]``; one whose weights are all 0 is left out.

    Raises
    ------
    CompileError
        When a weight is not finite or too large.
    """
    synapses = []
    for source, weights in parts:
        planes = quantise(weights, f"{name}, weights of {source.name}", alone=len(parts) == 1, bits=bits)
        synapses += [Synapses(source, plane, unit, fine=i > 0) for i, (plane, unit) in enumerate(planes)]
    used = tuple(s for s in synapses if s.unit > 0)
    return Currents(name, used or tuple(synapses[:1]), rows)
