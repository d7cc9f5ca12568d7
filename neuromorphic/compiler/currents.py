"""What flows into one population of neurons, in integers, and how that becomes operations.

A source puts out events (spikes, graded inputs), values (the state of an integrator) or sums (the largest of integer
sums, which nothing has rounded). :mod:`weight_integers` makes its weights integers. Where windows of an image share
weights, all neurons of a channel do, and a row of weights is a channel's. With ``e[n]`` the real current of one unit of
weight and one unit of the source, the unit of neuron ``n`` is ``u[n]``, the smallest of its ``e``, and

    current[n] / u[n] = sum over the sources of (e[n] / u[n]) * (weights @ source)[n]

Where ``e / u`` is the same power of two for all neurons, it is an exact left shift; elsewhere a ``Scale`` multiplies.
``bits`` more fractional bits come from the state's own left shift where all is exact, and from the sources where
something is rounded. Fewer than none come from the sources too: a current that is finer than 24 bits can hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.compiler.weight_integers import EQUAL, WEIGHT_MAX, Float64, Plane, integers_of
from neuromorphic.compiler.windows import PLAIN, Layout, sum_pools
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
    kind: str  # "events", "values" or "sums"
    peak: int
    unit: float

    @property
    def base(self) -> float:
        """Real value of what the weights multiply: an event, or a power of two near a value's peak."""
        if self.kind != "values":
            return self.unit
        return 2.0 ** (math.ceil(math.log2(self.unit * max(self.peak, 1))) - VALUE_PEAK)


@dataclass(frozen=True)
class Synapses(Plane):
    """The weights of one source: ``[out, in]``, ``[N]``, or as a layout says; ``unit`` is that of each row."""

    source: Source = field(kw_only=True)
    layout: Layout = PLAIN
    size: int = field(kw_only=True)  # number of neurons

    @property
    def step(self) -> Float64:
        """Real current of one unit of weight and one base unit of the source, ``[N]``; 0 where no weight is."""
        return self.each(self.unit) * self.source.base

    def each(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return a number of each row of weights, or of each channel, for each neuron."""
        return np.repeat(rows, self.size // len(rows))

    @property
    def magnitudes(self) -> NDArray[np.int64]:
        """Magnitudes of the weights of each row, ``[rows, in]``."""
        return np.abs(self.weights.astype(np.int64)).reshape(len(self.weights), -1)

    def peak(self) -> Float64:
        """Largest sum in units of :attr:`step`, ``[N]``."""
        total = self.each(self.magnitudes.sum(axis=1)).astype(np.float64) * self.layout.area
        peak: Float64 = total * (self.source.peak * self.source.unit / self.source.base)
        return peak

    def times(self, rows: NDArray[np.integer]) -> Synapses:
        """Return them with each neuron's weights times a whole number, the same for all that share weights."""
        own = rows.reshape(len(self.weights), -1)[:, 0].reshape(-1, *(1,) * (self.weights.ndim - 1))
        return replace(self, weights=(self.weights * own).astype(np.int8))

    def in_smaller_units(self, rows: NDArray[np.int64]) -> Synapses:
        """Return the same real weights in units that are as many times smaller."""
        return replace(self.times(rows), unit=self.unit / rows.reshape(len(self.unit), -1)[:, 0])


def synapses_of(
    source: Source, planes: Sequence[Plane], layout: Layout = PLAIN, size: int | None = None
) -> tuple[Synapses, ...]:
    """Return the weights of one source as synapses."""
    return tuple(
        Synapses(plane.weights, plane.unit, plane.fine, layout=layout, source=source, size=size or len(plane.weights))
        for plane in planes
    )


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
        for s in self.synapses:
            own = rows.reshape(len(s.weights), -1)
            if not (own == own[:, :1]).all():
                channel = int(np.argmax(own.min(axis=1) < own.max(axis=1)))
                raise CompileError(f"{self.name}: neurons of channel {channel}, which share weights, differ in sign")
        return replace(self, synapses=tuple(s.times(rows) for s in self.synapses))

    def in_smaller_units(self, rows: NDArray[np.int64]) -> Currents:
        """Return the same real weights in units that are as many times smaller."""
        for number in {len(s.unit) for s in self.synapses}:
            rows = np.repeat(rows.reshape(number, -1).min(axis=1), len(rows) // number)
        return replace(self, synapses=tuple(s.in_smaller_units(rows) for s in self.synapses))

    def largest_weight(self) -> NDArray[np.int64]:
        """Return the largest magnitude among the integer weights of each neuron, ``[N]``."""
        largest: NDArray[np.int64] = np.max([s.each(s.magnitudes.max(axis=1)) for s in self.synapses], axis=0)
        return largest

    def _shift(self, synapses: Synapses) -> int | None:
        """Return the left shift that brings synapses to the common unit; ``None`` where only a factor does."""
        if self.rows is not None:
            return None
        live = synapses.step > 0
        if not live.any():
            return 0
        ratio = (synapses.step / self.unit)[live]
        exponent = round(math.log2(ratio[0]))
        exact = bool((np.abs(ratio / 2.0**exponent - 1.0) < EQUAL).all()) and 0 <= exponent <= MAX_SHIFT
        return exponent if exact else None

    def ops(self, bits: int) -> tuple[list[Operation], tuple[str, ...], int]:
        """Return operations for ``bits`` fractional bits, their outputs, and how many of the bits the state adds."""
        made: list[Operation] = []
        outputs: list[str] = []
        exact = all(s.source.kind != "values" and self._shift(s) is not None for s in self.synapses)
        shifts = exact and bits >= 0
        sources = {each.source.name for each in self.synapses}
        for place, synapses in enumerate(self.synapses):
            name = self.name if len(sources) == 1 else f"{self.name}_from_{synapses.source.name}"
            alike = {s.layout: None for s in self.synapses[:place] if s.source == synapses.source} | {
                synapses.layout: None
            }
            name += f"_{len(alike)}" * (len(alike) > 1) + "_fine" * synapses.fine
            made += self._read(synapses, name, 0 if shifts else bits)
            outputs.append(made[-1].name if made and made[-1].name not in outputs else synapses.source.name)
        return made, tuple(outputs), bits if shifts else 0

    def _read(self, synapses: Synapses, name: str, bits: int) -> list[Operation]:
        """Return the operations that read one source, in common units of which ``2**bits`` are one."""
        source, shift = synapses.source, self._shift(synapses)
        rows = np.ones(synapses.size) if self.rows is None else self.rows
        ratio = np.where(synapses.step > 0, synapses.step / self.unit, 1.0) * rows * 2.0**bits  # [N]
        if synapses.weights.ndim == 1:
            factor = synapses.each(synapses.weights) * ratio
            if source.kind == "values":
                factor = factor * source.unit / source.base
            pools = sum_pools(f"{name}_pool", source.name, len(synapses.weights), synapses.layout.before)
            if (pools or source.kind == "sums") and (factor == 1).all():
                return pools
            return [*pools, _product(f"{name}_synapses", pools[-1].name if pools else source.name, factor)]
        if source.kind == "values":  # as fine as the sum allows, then rounded once
            fine = max(0, min(MAX_SHIFT, math.floor(math.log2(SUM_MAX / max(float(synapses.peak().max()), 1.0)))))
            shown = _product(f"{name}_shown", source.name, np.full(source.size, source.unit / source.base * 2.0**fine))
            summed = _weighted(synapses, name, shown.name)
            return [shown, *summed, _product(f"{name}_scaled", summed[-1].name, ratio / 2.0**fine)]
        if shift is None or bits < 0:
            summed = _weighted(synapses, name, source.name)
            return [*summed, _product(f"{name}_scaled", summed[-1].name, ratio)]
        if shift + bits > MAX_SHIFT:
            raise BoundError(f"{name}: a left shift of {shift + bits} is too large")
        return _weighted(synapses, name, source.name, shift + bits)


def _weighted(synapses: Synapses, name: str, source: str, shift: int = 0) -> list[Operation]:
    """Return the operations that sum weights times what a source gives."""
    weights, layout = synapses.weights, synapses.layout
    if not layout.before and layout.conv is None:
        return [Dense(f"{name}_synapses", source, weights, shift)]
    channels = weights.shape[1] // math.prod(layout.before[-1].output) if weights.ndim == 2 else 0
    if layout.conv is not None:
        channels = weights.shape[1] * layout.conv.groups
    made = sum_pools(f"{name}_pool", source, channels, layout.before)
    source = made[-1].name if made else source
    if layout.conv is None:
        return [*made, Dense(f"{name}_synapses", source, weights, shift)]
    conv = layout.weighted(f"{name}_synapses", source, weights, shift)
    return [*made, conv, *sum_pools(f"{name}_sums", conv.name, len(weights), layout.after)]


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
    parts: Sequence[tuple[Source, Float64, Layout]],
    *,
    own_units: bool = False,
    rows: Float64 | None = None,
    bits: int | None = None,
) -> Currents:
    """Quantise the weights of each source; one whose weights are all 0 is left out.

    Weights are ``[out, in]``, ``[N]`` or as their layout says. Where some are shared by the neurons of a channel, all
    have one unit for each channel.
    """
    sizes = [layout.size_of(weights) if layout != PLAIN else len(weights) for _, weights, layout in parts]
    shared = {len(weights) for _, weights, layout in parts if layout != PLAIN and weights.ndim != 2}
    if len(shared) > 1:
        raise CompileError(f"{name}: adds up images of {' and '.join(map(str, sorted(shared)))} channels")
    channels = shared.pop() if shared else sizes[0]
    found = integers_of(
        [weights if len(weights) == channels else weights.reshape(channels, -1) for _, weights, _ in parts],
        [source.base for source, _, _ in parts],
        [f"{name}, weights of {source.name}" for source, _, _ in parts],
        own_units=own_units,
        bits=bits,
    )
    synapses: list[Synapses] = []
    for (source, weights, layout), planes, size in zip(parts, found, sizes, strict=True):
        shaped = [replace(plane, weights=plane.weights.reshape(weights.shape)) for plane in planes]
        synapses += synapses_of(source, shaped, layout, size)
    used = tuple(s for s in synapses if s.unit.any())
    return Currents(name, used or tuple(synapses[:1]), own_units, rows)
