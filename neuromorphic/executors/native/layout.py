"""A program as tables: where every value and state lies, and its weights packed once and for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ExecutorError
from neuromorphic.executors.native import rows
from neuromorphic.executors.native.bit_planes import FEW_OUTPUTS, columns_for_events, fields_for_values, rows_for_few
from neuromorphic.executors.native.event_kernels import EVENTS_AT_ONCE, LIST_START, SPARE_WORDS
from neuromorphic.executors.native.graded_kernels import DIGIT_LISTS, DIGITS
from neuromorphic.executors.native.memory_kernels import FADED_AT_ONCE
from neuromorphic.executors.native.rows import INTS_AT_ONCE
from neuromorphic.ops import Delay, Dense, Input, Operation, Slots, Torus
from neuromorphic.ops.fast_weights import KEY_BITS
from neuromorphic.ops.gate import SIGMOID
from neuromorphic.ops.homeostatic_lif import OCTAVE
from neuromorphic.ops.numbers import INT32_MAX, NumPy
from neuromorphic.ops.resets import RESETS
from neuromorphic.program import Program

_LIST_NEEDS = LIST_START + 2 * EVENTS_AT_ONCE


def _padded(size: int, to: int = INTS_AT_ONCE) -> int:
    return -(-size // to) * to


@dataclass
class _Arena:
    """An array that grows while a program is laid out."""

    dtype: type[np.generic]
    size: int = 0
    parts: list[tuple[int, NDArray[Any]]] = field(default_factory=list)

    def reserve(self, size: int) -> int:
        place = self.size
        self.size += _padded(size)
        return place

    def place(self, array: NDArray[Any]) -> int:
        flat = np.ascontiguousarray(array).reshape(-1)
        where = self.reserve(flat.size)
        self.parts.append((where, flat))
        return where

    def build(self) -> NDArray[Any]:
        whole = np.zeros(max(self.size, INTS_AT_ONCE), dtype=self.dtype)
        while self.parts:  # each part goes as soon as it is copied
            where, part = self.parts.pop()
            whole[where : where + part.size] = part
        return whole


@dataclass(frozen=True)
class Held:
    """Where a variable lies for one sample: spikes in bits, everything else in ints, row by row."""

    spikes: bool
    place: int
    rows: int
    columns: int
    stride: int

    @property
    def size(self) -> int:
        """Values of a step and sample."""
        return self.rows * self.columns


class Layout:
    """The tables of one program.

    Parameters
    ----------
    program : Program
        Any program of operations that this executor knows.

    Raises
    ------
    ExecutorError
        For an operation that it does not know.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.rows: list[NDArray[np.int64]] = []
        self.links: list[int] = []
        self.params, self.words, self.small = _Arena(np.int32), _Arena(np.uint64), _Arena(np.int8)
        self.ints, self.bits, self.counts = _Arena(np.int32), _Arena(np.uint64), _Arena(np.int64)
        self.variables: dict[str, Held] = {}
        self.spike_counts: dict[str, int] = {}
        self.starts: list[tuple[int, NDArray[np.int32]]] = []
        self._values: dict[str, int] = {}
        self._bits: dict[str, int] = {}
        self._lists: dict[str, int] = {}
        self._ranges: dict[str, int] = {}
        self._spare = self.bits.reserve(self._spare_words())
        self._sigmoid = self.params.place(SIGMOID) if any(type(op).__name__ == "Gate" for op in program.ops) else -1
        for op in program.ops:
            self._check_known(op)
            if op.kind == "events":
                self._place_events(op)
        delays = program.of_type(Delay)
        rings = {op.name: self._ring(op) for op in delays}
        for op in delays:
            self._delay_row(rows.DELAY_READ, op, rings[op.name])
        for op in program.ops:
            if not isinstance(op, Delay):
                _BUILDERS[type(op).__name__](self, op)
        for op in delays:
            self._delay_row(rows.DELAY_WRITE, op, rings[op.name])
        self.rows.sort(key=lambda row: int(row[rows.KIND]) != rows.INPUT)  # stable: the input comes first

    def _check_known(self, op: Operation) -> None:
        if type(op).__name__ not in _BUILDERS:
            raise ExecutorError(
                f"native: does not know the operation {type(op).__name__} ({op.name}); run it on executor 'numpy'"
            )

    def _spare_words(self) -> int:
        """Return the scratch a product needs: planes of counters, or four digits of every value it reads."""
        widest = max((op.weights.shape[1] for op in self.program.of_type(Dense)), default=0)
        return max(SPARE_WORDS, 4 * (_padded(widest, 16) // 8))

    def is_spikes(self, name: str) -> bool:
        """Whether an operation gives 0 and 1 only."""
        op, _ = self.program.undelayed(name)
        return op.kind == "events" and not (isinstance(op, Input) and (op.low, op.high) != (0, 1))

    def _readers(self, name: str) -> list[Operation]:
        return [op for op in self.program.ops if name in op.sources]

    def _place_events(self, op: Operation) -> None:
        readers = self._readers(op.name)
        if self.is_spikes(op.name):
            self._bits[op.name] = self.bits.reserve(_padded(op.size) // 64)
            if any(isinstance(reader, Dense) and self._dense_kind(reader) in _BY_LIST for reader in readers):
                self._lists[op.name] = self.ints.reserve(op.size // 2 + _LIST_NEEDS)
            if not any(not isinstance(reader, (Dense, Delay, Slots)) for reader in readers):
                return
        self._values[op.name] = self.ints.reserve(op.size)

    def _dense_kind(self, op: Dense) -> int:
        if self.is_spikes(op.source):
            if not op.is_ternary:
                return rows.BYTE_EVENTS
            return rows.TERNARY_FEW if op.size <= FEW_OUTPUTS else rows.TERNARY_EVENTS
        if not op.is_ternary:
            return rows.BYTE_VALUES
        graded = self.program[op.source].kind == "events" and op.size > FEW_OUTPUTS
        return rows.TERNARY_GRADED if graded else rows.TERNARY_VALUES

    def value(self, op: Operation) -> int:
        """Reserve the place of what an operation gives."""
        self._values[op.name] = self.ints.reserve(op.size)
        return self._values[op.name]

    def hold(self, op: Operation, variable: str, place: int, count: int = 1, columns: int | None = None) -> None:
        """Say where a variable lies."""
        width = op.size if columns is None else columns
        self.variables[f"{op.name}.{variable}"] = Held(False, place, count, width, _padded(width, 8))

    def row(self, kind: int, op: Operation, *numbers: int, out: int = -1, size: int | None = None) -> None:
        """Add a row of the table: what the operation reads, and numbers of its own."""
        row = np.full(rows.COLUMNS, -1, dtype=np.int64)
        row[rows.KIND], row[rows.SIZE], row[rows.OUT] = kind, op.size if size is None else size, out
        row[rows.BITS], row[rows.LIST] = self._bits.get(op.name, -1), self._lists.get(op.name, -1)
        places = [self._values.get(source, -1) for source in op.sources]
        for column, place in zip((rows.SOURCE, rows.SOURCE_2), places, strict=False):
            row[column] = place
        if op.sources:
            row[rows.SOURCE_BITS] = self._bits.get(op.sources[0], -1)
            row[rows.SOURCE_LIST] = self._lists.get(op.sources[0], -1)
        row[rows.NUM_SOURCES], row[rows.LINKS] = len(places), len(self.links)
        self.links += places
        row[rows.P0 : rows.P0 + len(numbers)] = numbers
        self.rows.append(row)

    def _ring(self, op: Delay) -> int:
        if self.is_spikes(op.name):
            return self.bits.reserve(op.steps * (_padded(op.size) // 64))
        return self.ints.reserve(op.steps * op.size)

    def _delay_row(self, kind: int, op: Delay, ring: int) -> None:
        spikes = self.is_spikes(op.name)
        self.row(kind, op, op.steps, ring, int(spikes), out=self._values.get(op.name, -1))

    def peak(self, name: str) -> int:
        """Return the largest magnitude that an operation gives whatever happened before, or what int32 holds."""
        op, _ = self.program.undelayed(name)
        if op.kind == "events":
            return max(-op.low, op.high) if isinstance(op, Input) else 1
        if isinstance(op, Torus):
            return 8 * self.peak(op.source)
        if isinstance(op, Dense) and self.program[op.source].kind == "events":
            total = int(np.abs(op.weights.astype(np.int64)).sum(axis=1).max())
            return min(total * self.peak(op.source) << op.shift, INT32_MAX)
        return INT32_MAX


def _input(layout: Layout, op: Any) -> None:
    layout.row(rows.INPUT, op, out=layout._values.get(op.name, -1))


def _ternary_events(layout: Layout, op: Dense) -> None:
    """Lay out all products with the spikes of one source as one: registers are full that each would leave half empty.

    Every operation's rows begin at a multiple of 64, so that its sums lie where they would lie alone.
    """
    if op.name in layout._values:
        return  # it was, with the first of them
    readers = [other for other in layout._readers(op.source) if isinstance(other, Dense)]
    together = [x for x in readers if layout._dense_kind(x) == rows.TERNARY_EVENTS and x.shift == op.shift]
    rows_of = [_padded(other.size) for other in together]
    starts = np.cumsum([0, *rows_of])
    weights = np.zeros((starts[-1], op.weights.shape[1]), dtype=np.int8)
    out = layout.ints.reserve(len(weights))
    for other, start in zip(together, starts, strict=False):
        weights[start : start + other.size] = other.weights
        layout._values[other.name] = out + int(start)
    totals = layout.params.place(weights.sum(axis=1, dtype=np.int32))
    place = layout.words.place(columns_for_events(weights))
    numbers = (place, weights.shape[1], op.shift, totals, layout._spare)
    layout.row(rows.TERNARY_EVENTS, op, *numbers, out=out, size=int(starts[-2]) + _padded(together[-1].size, 32))


def _dense(layout: Layout, op: Any) -> None:
    kind = layout._dense_kind(op)
    if kind == rows.TERNARY_EVENTS:
        _ternary_events(layout, op)
        return
    out = layout.value(op)
    weights: NDArray[np.int8] = op.weights
    inputs = weights.shape[1]
    if kind == rows.TERNARY_FEW:
        place = layout.words.place(rows_for_few(weights))
        layout.row(kind, op, place, -(-inputs // 64), op.shift, out=out)
    elif kind == rows.TERNARY_VALUES:
        place = layout.words.place(fields_for_values(weights))
        layout.row(kind, op, place, inputs, op.shift, layout._spare, out=out)
    elif kind == rows.TERNARY_GRADED:
        place = layout.words.place(columns_for_events(weights))
        most = (DIGITS + 1) // 2 * inputs + DIGITS * EVENTS_AT_ONCE
        lists = layout.ints.reserve(DIGIT_LISTS + most)
        size = _padded(op.size, 32)
        layout.row(kind, op, place, inputs, op.shift, layout._spare, lists, out=out, size=size)
    elif kind == rows.BYTE_EVENTS:
        by_input = np.zeros((inputs + 1, op.size), dtype=np.int8)  # the last row is what lists are padded with
        by_input[:inputs] = weights.T
        totals = layout.params.place(weights.sum(axis=1, dtype=np.int32))
        layout.row(kind, op, layout.small.place(by_input), op.size, op.shift, totals, out=out)
    else:
        layout.row(kind, op, layout.small.place(weights), inputs, op.shift, out=out)


def _lif(layout: Layout, op: Any, theta: int = -1) -> None:
    v, counter = layout.ints.reserve(op.size), layout.counts.reserve(1)
    layout.spike_counts[op.name] = counter
    decay, threshold, bias = (layout.params.place(x) for x in (op.decay, op.threshold, op.bias))
    layout.row(
        rows.NEURONS, op, decay, threshold, bias, op.shift, list(RESETS).index(op.reset), v, counter, theta,
        out=layout._values.get(op.name, -1),
    )  # fmt: skip
    bits = layout._bits[op.name]
    layout.variables[f"{op.name}.spikes"] = Held(True, bits, 1, op.size, op.size)
    layout.hold(op, "v", v)


def _homeostatic(layout: Layout, op: Any) -> None:

    theta = layout.ints.reserve(op.size)
    _lif(layout, op, theta)
    domains = op.num_domains
    control, count = layout.ints.reserve(4 * domains), layout.ints.reserve(domains)
    layout.starts.append((control, op.control.reshape(-1)))
    moved = op.moved_threshold(NumPy(), op.threshold, op.control[np.newaxis, :, 3].astype(np.int64))
    layout.starts.append((theta, moved[0].astype(np.int32)))
    numbers = (op.target, op.rate_gain, *op.gains, *op.integral_limits, *op.offset_limits)
    options = layout.params.place(np.array(numbers, dtype=np.int32))
    threshold, octaves = (layout.params.place(x.astype(np.int32)) for x in (op.threshold, OCTAVE))
    layout.row(rows.CONTROL, op, domains, options, control, count, theta, threshold, octaves, op.period)
    layout.variables[f"{op.name}.offset"] = Held(False, control + 3, domains, 1, 4)


def _readout(layout: Layout, op: Any) -> None:
    y = layout.value(op)
    layout.row(rows.READOUT, op, layout.params.place(op.bias), op.shift, out=y)
    layout.hold(op, "y", y)


def _integrator(layout: Layout, op: Any) -> None:
    v = layout.value(op)
    decay, bias = layout.params.place(op.decay), layout.params.place(op.bias)
    layout.row(rows.INTEGRATE, op, decay, bias, op.shift, out=v)
    layout.hold(op, "v", v)


def _scale(layout: Layout, op: Any) -> None:
    largest = int(np.abs(op.factor.astype(np.int64)).max())
    narrow = layout.peak(op.source) * largest <= INT32_MAX and op.shift < 32
    layout.row(rows.SCALE, op, layout.params.place(op.factor), op.shift, int(narrow), out=layout.value(op))


def _gate(layout: Layout, op: Any) -> None:
    layout.row(rows.GATE, op, layout.params.place(op.offset), layout._sigmoid, out=layout.value(op))


def _multiply(layout: Layout, op: Any) -> None:
    layout.row(rows.MULTIPLY, op, op.shift, out=layout.value(op))


def _gated(layout: Layout, op: Any) -> None:
    s = layout.value(op)
    layout.row(rows.GATED, op, out=s)
    layout.hold(op, "s", s)


def _resonator(layout: Layout, op: Any) -> None:
    re, im = layout.value(op), layout.ints.reserve(op.size)
    layout.row(rows.RESONATE, op, layout.params.place(op.cosine), layout.params.place(op.sine), im, out=re)
    layout.hold(op, "re", re)
    layout.hold(op, "im", im)


def _torus(layout: Layout, op: Any) -> None:
    edges = -1 if op.edges is None else layout.small.place(op.edges)
    spare = layout.ints.reserve(3 * (op.columns + 2))
    layout.row(rows.NEIGHBOURS, op, op.rows, op.columns, edges, spare, out=layout.value(op))


def _fast_weights(layout: Layout, op: Any) -> None:
    stride = _padded(op.size, 8)
    matrix, key, target = (layout.ints.reserve(size) for size in (op.size * stride, op.size, op.size))
    numbers = (op.decay, 2 * KEY_BITS + op.rate_bits - op.frac, op.frac, int(op.rule == "delta"))
    layout.row(rows.FAST_WEIGHTS, op, matrix, key, target, stride, *numbers, out=layout.value(op))
    layout.hold(op, "F", matrix, op.size, op.size)
    layout.hold(op, "key", key)


def _slots(layout: Layout, op: Any) -> None:
    num_slots, stride = op.keys.shape[0], _padded(op.size, FADED_AT_ONCE)
    keys, read, marks = layout.words.place(rows_for_few(op.keys)), layout.value(op), layout.ints.reserve(2)
    faded, state = layout.counts.reserve(num_slots), layout.ints.reserve(num_slots * stride)
    if op.fast is not None:
        start = np.zeros((num_slots, stride), dtype=np.int32)
        start[:, : op.size] = op.fast
        layout.starts.append((state, start.reshape(-1)))
    numbers = (op.gain, op.shift, op.decay_bits, op.rate_bits, int(op.plastic), stride, state, marks, faded)
    layout.row(rows.SLOTS, op, keys, num_slots, *numbers, out=read)
    layout.hold(op, "winner", marks, columns=1)
    layout.hold(op, "read", read)
    layout.hold(op, "E", marks + 1, columns=1)


_BY_LIST = (rows.TERNARY_EVENTS, rows.BYTE_EVENTS)
_BUILDERS: Mapping[str, Callable[[Layout, Any], None]] = MappingProxyType(
    {
        "Input": _input,
        "Dense": _dense,
        "LIF": _lif,
        "HomeostaticLIF": _homeostatic,
        "Readout": _readout,
        "Scale": _scale,
        "Delay": lambda layout, op: None,
        "Gate": _gate,
        "Multiply": _multiply,
        "LI": _integrator,
        "GatedState": _gated,
        "Resonator": _resonator,
        "Torus": _torus,
        "FastWeights": _fast_weights,
        "Slots": _slots,
    }
)
"""What lays out each operation, by the name of its class."""
