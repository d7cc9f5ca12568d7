"""What flows into one population of neurons, in integers, and how that becomes operations.

A source puts out events (spikes, graded inputs) or values (the state of an integrator). :mod:`weight_integers` makes
its weights integers. With ``e[n]`` the real current of one unit of weight and one unit of the source, the unit of
neuron ``n`` is ``u[n]``, the smallest of its ``e``, and

    current[n] / u[n] = sum over the sources of (e[n] / u[n]) * (weights @ source)[n]

Where ``e / u`` is the same power of two for all neurons, it is an exact left shift; elsewhere a ``Scale`` multiplies.
``bits`` more fractional bits come from the state's own left shift where all is exact, and from the sources where
something is rounded. Fewer than none come from the sources too: a current that is finer than 24 bits can hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.compiler.weight_integers import EQUAL, WEIGHT_MAX, Float64, Plane, integers_of
from neuromorphic.errors import BoundError, CompileError
from neuromorphic.integers.numbers import INT32_MAX
from neuromorphic.ops import Dense, Operation, Scale
from neuromorphic.ops.base import MAX_SHIFT
from neuromorphic.ops.scale import MAX_SCALE_SHIFT

FACTOR_BITS = 20
VALUE_PEAK = 4
"""A source of values counts in units of which its largest value has ``2**VALUE_PEAK``."""
SUM_MAX = 2.0**29
"""What weighted values may add up to; their fractional bits come from it."""
MAX_UNIT_RATIO = 2.0**14
"""A source is rounded where the unit of another is more than this many times larger."""


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


@dataclass(frozen=True)
class Source:
    """An operation that synapses read: its name, its largest magnitude, and the real value of one integer."""

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
class Synapses(Plane):
    """One matrix of one source's weights."""

    source: Source = field(kw_only=True)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.weights.shape[0])

    @property
    def step(self) -> Float64:
        """Real current of one unit of weight and one base unit of the source, ``[out]``; 0 where no weight is."""
        return self.unit * self.source.base

    @property
    def magnitudes(self) -> NDArray[np.int64]:
        """Magnitudes of the weights of each neuron, ``[N, in]``."""
        return np.abs(self.weights.astype(np.int64)).reshape(self.size, -1)

    def peak(self) -> Float64:
        """Largest sum in units of :attr:`step`, ``[N]``."""
        total = self.magnitudes.sum(axis=1).astype(np.float64)
        peak: Float64 = total * (self.source.peak * self.source.unit / self.source.base)
        return peak

    def times(self, rows: NDArray[np.integer]) -> Synapses:
        """Return them with each neuron's weights times a whole number."""
        shape = (-1,) + (1,) * (self.weights.ndim - 1)
        return replace(self, weights=(self.weights * rows.reshape(shape)).astype(np.int8))


def synapses_of(source: Source, planes: Sequence[Plane]) -> tuple[Synapses, ...]:
    """Return the weights of one source as synapses."""
    return tuple(Synapses(plane.weights, plane.unit, plane.fine, source=source) for plane in planes)


@dataclass(frozen=True)
class Currents:
    """All synapses of the population ``name``.

    ``own_units`` says whether each neuron has its own unit, as neurons that spike may; else the population has one.
    ``rows`` holds a factor for each neuron that a ``Scale`` applies, or ``None`` where no neuron needs one.
    """

    name: str
    synapses: tuple[Synapses, ...]
    own_units: bool = False
    rows: Float64 | None = None

    @property
    def unit(self) -> Float64:
        """Real current of one unit, ``[N]``; 1 where no weight is."""
        steps = np.stack([s.step for s in self.synapses])  # [S, N]
        if not self.own_units:
            one_to_one = np.array([WEIGHT_MAX if s.weights.ndim == 1 else 1 for s in self.synapses])
            ranges = steps.max(axis=1, keepdims=True)
            narrow = np.where(steps.min(axis=1) < ranges[:, 0] * (1 - EQUAL), one_to_one, 1)
            steps = np.broadcast_to(ranges / narrow[:, None], steps.shape)
        largest = steps.max(axis=0)
        smallest = np.where(steps > 0, steps, np.inf).min(axis=0)
        unit: Float64 = np.where(largest > 0, np.maximum(smallest, largest / MAX_UNIT_RATIO), 1.0)
        return unit

    def peak(self) -> Float64:
        """Largest current, in units, ``[N]``."""
        rows = 1.0 if self.rows is None else self.rows
        total: Float64 = np.sum([s.peak() * s.step for s in self.synapses], axis=0) / self.unit * rows
        return total

    def times(self, rows: NDArray[np.integer]) -> Currents:
        """Return them with each neuron's weights times a whole number."""
        return replace(self, synapses=tuple(s.times(rows) for s in self.synapses))

    def in_smaller_units(self, rows: NDArray[np.int64]) -> Currents:
        """Return the same real weights in units that are as many times smaller."""
        return replace(self, synapses=tuple(replace(s.times(rows), unit=s.unit / rows) for s in self.synapses))

    def largest_weight(self) -> NDArray[np.int64]:
        """Return the largest magnitude among the integer weights of each neuron, ``[N]``."""
        largest: NDArray[np.int64] = np.max([s.magnitudes.max(axis=1) for s in self.synapses], axis=0)
        return largest

    def _shift(self, synapses: Synapses) -> int | None:
        """Return the left shift that brings synapses to the common unit; ``None`` where only a factor does."""
        if self.rows is not None:
            return None
        live = synapses.unit > 0
        if not live.any():
            return 0
        ratio = (synapses.step / self.unit)[live]
        exponent = round(math.log2(ratio[0]))
        exact = bool((np.abs(ratio / 2.0**exponent - 1.0) < EQUAL).all()) and 0 <= exponent <= MAX_SHIFT
        return exponent if exact else None

    def ops(self, bits: int) -> tuple[list[Operation], tuple[str, ...], int]:
        """Return operations for ``bits`` fractional bits, their outputs, and how many of the bits the state adds."""
        made: list[Operation] = []
        outputs = []
        exact = all(s.source.kind == "events" and self._shift(s) is not None for s in self.synapses)
        shifts = exact and bits >= 0
        sources = {each.source.name for each in self.synapses}
        for synapses in self.synapses:
            name = self.name if len(sources) == 1 else f"{self.name}_from_{synapses.source.name}"
            name += "_fine" * synapses.fine
            made += self._read(synapses, name, 0 if shifts else bits)
            outputs.append(made[-1].name)
        return made, tuple(outputs), bits if shifts else 0

    def _read(self, synapses: Synapses, name: str, bits: int) -> list[Operation]:
        """Return the operations that read one source, in common units of which ``2**bits`` are one."""
        source, shift = synapses.source, self._shift(synapses)
        rows = np.ones(synapses.size) if self.rows is None else self.rows
        ratio = np.where(synapses.unit > 0, synapses.step / self.unit, 1.0) * rows * 2.0**bits  # [N]
        if synapses.weights.ndim == 1:
            factor = synapses.weights * ratio
            if source.kind == "values":
                factor = factor * source.unit / source.base
            return [_product(f"{name}_synapses", source.name, factor)]
        if source.kind == "values":  # as fine as the sum allows, then rounded once
            fine = max(0, min(MAX_SHIFT, math.floor(math.log2(SUM_MAX / max(float(synapses.peak().max()), 1.0)))))
            shown = _product(f"{name}_shown", source.name, np.full(source.size, source.unit / source.base * 2.0**fine))
            dense = Dense(f"{name}_synapses", shown.name, synapses.weights)
            return [shown, dense, _product(f"{name}_scaled", dense.name, ratio / 2.0**fine)]
        if shift is None or bits < 0:
            dense = Dense(f"{name}_synapses", source.name, synapses.weights)
            return [dense, _product(f"{name}_scaled", dense.name, ratio)]
        if shift + bits > MAX_SHIFT:
            raise BoundError(f"{name}: a left shift of {shift + bits} is too large")
        return [Dense(f"{name}_synapses", source.name, synapses.weights, shift + bits)]


def _product(name: str, source: str, factor: Float64) -> Scale:
    """Return an operation that multiplies by real factors: exactly, where they are whole numbers."""
    peak = float(np.abs(factor).max())
    if not peak <= INT32_MAX:
        raise BoundError(f"{name}: a factor of {peak:.3g} is too large")
    if np.array_equal(factor, np.rint(factor)):
        return Scale(name, source, factor.astype(np.int32))
    return scale_op(name, source, factor, len(factor))


def currents_of(
    name: str,
    parts: Sequence[tuple[Source, Float64]],
    *,
    own_units: bool = False,
    rows: Float64 | None = None,
    bits: int | None = None,
) -> Currents:
    """Quantise the weights of each source, ``[out, in]`` or ``[N]``; one whose weights are all 0 is left out."""
    found = integers_of(
        [weights for _, weights in parts],
        [source.base for source, _ in parts],
        [f"{name}, weights of {source.name}" for source, _ in parts],
        own_units=own_units,
        bits=bits,
    )
    synapses = [s for (source, _), planes in zip(parts, found, strict=True) for s in synapses_of(source, planes)]
    used = tuple(s for s in synapses if s.unit.any())
    return Currents(name, used or tuple(synapses[:1]), own_units, rows)
