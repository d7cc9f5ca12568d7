"""What each operation is to the compiled loop: a row of the table, its parameters, and where its states lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from neuromorphic.errors import ExecutorError
from neuromorphic.executors.native import rows
from neuromorphic.executors.native.bit_planes import bits_of, columns_for_events, fields_for_values, rows_for_few
from neuromorphic.executors.native.image_operations import convolution, pool, spike_pool
from neuromorphic.executors.native.layout import Held, Layout, padded
from neuromorphic.executors.native.sizes import FADED_AT_ONCE, digit_lists_size, others_size
from neuromorphic.integers.numbers import INT32_MAX, NumPy
from neuromorphic.integers.resets import RESETS
from neuromorphic.ops import Delay, Delays, Dense, Torus
from neuromorphic.ops.fast_weights import KEY_BITS
from neuromorphic.ops.gate import SIGMOID
from neuromorphic.ops.homeostatic_lif import OCTAVE
from neuromorphic.program import Program


def lay_out(program: Program) -> Layout:
    """Return the tables of a program.

    Raises
    ------
    ExecutorError
        For an operation that this executor does not know.
    """
    layout = Layout(program)
    for op in program.ops:
        if type(op).__name__ not in BUILDERS:
            raise ExecutorError(
                f"native: does not know the operation {type(op).__name__} ({op.name}); run it on executor 'numpy'"
            )
        if op.kind == "events":
            layout.place_events(op)
    delays = [(op, layout.is_spikes(op.name)) for op in program.of_type(Delay)]
    rings = [
        layout.bits.reserve(op.steps * (padded(op.size) // 64)) if spikes else layout.ints.reserve(op.steps * op.size)
        for op, spikes in delays
    ]
    for (op, spikes), ring in zip(delays, rings, strict=True):
        layout.row(rows.DELAY_READ, op, op.steps, ring, int(spikes))
    for op in program.ops:
        BUILDERS[type(op).__name__](layout, op)
    for (op, spikes), ring in zip(delays, rings, strict=True):
        layout.row(rows.DELAY_WRITE, op, op.steps, ring, int(spikes))
    layout.rows.sort(key=lambda row: int(row[rows.KIND]) != rows.INPUT)  # stable: the input comes first
    return layout


def _ternary_events(layout: Layout, op: Dense, kind: int) -> None:
    """Lay out all products with the events of one source as one: registers are full that each would leave half empty.

    Digits of graded events are then listed once. Every operation's rows begin at a multiple of 64, so that its sums lie
    where they would lie alone.
    """
    if op.name in layout.values:
        return  # it was, with the first of them
    readers = [other for other in layout.readers(op.source) if isinstance(other, Dense)]
    together = [x for x in readers if layout.dense_kind(x) == kind and x.shift == op.shift]
    starts = np.cumsum([0, *(padded(other.size) for other in together)])
    weights = np.zeros((starts[-1], op.weights.shape[1]), dtype=np.int8)
    out = layout.ints.reserve(len(weights))
    for other, start in zip(together, starts, strict=False):
        weights[start : start + other.size] = other.weights
        layout.values[other.name] = out + int(start)
    place, inputs, size = layout.words.place(columns_for_events(weights)), weights.shape[1], int(starts[-2])
    others: tuple[int, ...]
    if kind == rows.TERNARY_EVENTS:
        others = (layout.params.place(weights.sum(axis=1, dtype=np.int32)), layout.spare)
    else:
        lists, room = layout.ints.reserve(digit_lists_size(inputs)), layout.ints.reserve(others_size(inputs))
        others = (layout.spare, lists, room)
    layout.row(kind, op, place, inputs, op.shift, *others, size=size + padded(together[-1].size, 32))


def _dense(layout: Layout, op: Dense) -> None:
    kind, weights, inputs = layout.dense_kind(op), op.weights, op.weights.shape[1]
    if kind in (rows.TERNARY_EVENTS, rows.TERNARY_GRADED):
        _ternary_events(layout, op, kind)
        return
    layout.value(op)
    if kind == rows.TERNARY_FEW:
        layout.row(kind, op, layout.words.place(rows_for_few(weights)), -(-inputs // 64), op.shift)
    elif kind == rows.TERNARY_VALUES:
        layout.row(kind, op, layout.words.place(fields_for_values(weights)), inputs, op.shift, layout.spare)
    elif kind == rows.BYTE_EVENTS:
        by_input = np.zeros((inputs + 1, op.size), dtype=np.int8)  # the last row is what lists are padded with
        by_input[:inputs] = weights.T
        totals = layout.params.place(weights.sum(axis=1, dtype=np.int32))
        layout.row(kind, op, layout.small.place(by_input), op.size, op.shift, totals)
    else:
        layout.row(kind, op, layout.small.place(weights), inputs, op.shift)


def _lif(layout: Layout, op: Any, theta: int = -1) -> None:
    v, counter = layout.ints.reserve(op.size), layout.counts.reserve(1)
    layout.spike_counts[op.name] = counter
    decay, threshold, bias = (layout.params.place(x) for x in (op.decay, op.threshold, op.bias))
    reset = list(RESETS).index(op.reset)
    layout.row(rows.NEURONS, op, decay, threshold, bias, op.shift, reset, v, counter, theta)
    layout.variables[f"{op.name}.spikes"] = Held(rows.AS_BITS, layout.events[op.name], 1, op.size, op.size)
    layout.hold(op, "v", v)


def _graded_lif(layout: Layout, op: Any) -> None:
    v, counter = layout.ints.reserve(op.size), layout.counts.reserve(1)
    layout.spike_counts[op.name] = counter
    decay, threshold, bias = (layout.params.place(x) for x in (op.decay, op.threshold, op.bias))
    reset = list(RESETS).index(op.reset)
    layout.row(rows.GRADED_NEURONS, op, decay, threshold, bias, op.shift, reset, v, counter, op.levels)
    layout.hold(op, "spikes", layout.values[op.name], form=rows.AS_BYTES)
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
    layout.variables[f"{op.name}.offset"] = Held(rows.AS_INTS, control + 3, domains, 1, 4)


def _shift_lif(layout: Layout, op: Any, *weights: int) -> None:
    i, v, counter = layout.ints.reserve(op.size), layout.ints.reserve(op.size), layout.counts.reserve(1)
    layout.spike_counts[op.name] = counter
    arrays = (op.synapse_shift, op.membrane_shift, op.threshold, op.bias)
    places = (layout.params.place(x) for x in arrays)
    layout.row(rows.SHIFT_NEURONS, op, *places, i, v, counter, op.most_spikes, *weights)
    layout.hold(op, "spikes", layout.values[op.name], form=rows.AS_BYTES)
    layout.hold(op, "i", i)
    layout.hold(op, "v", v)


def _xylo_lif(layout: Layout, op: Any) -> None:
    widths = layout.params.place(np.array(op.widths, dtype=np.int32))
    _shift_lif(layout, op, layout.small.place(op.weights.T), widths)


def _adaptive_lif(layout: Layout, op: Any) -> None:
    a, theta, late = layout.ints.reserve(op.size), layout.ints.reserve(op.size), op.input_step == "previous"
    currents = [layout.ints.reserve(op.size) for _ in range(2 * late)]
    decay, threshold, jump = (layout.params.place(x) for x in (op.adaptation_decay, op.threshold, op.adaptation_jump))
    layout.row(rows.RAISE, op, decay, threshold, a, theta, *currents)
    _lif(layout, op, theta)
    if late:
        layout.rows[-1][[rows.NUM_SOURCES, rows.LINKS]] = 1, len(layout.links)
        layout.links.append(currents[0])
    layout.row(rows.RAISE_MORE, op, jump, a)
    layout.hold(op, "a", a)


def _delays(layout: Layout, op: Delays) -> None:
    if not (layout.is_spikes(op.name) and layout.is_spikes(op.source)):
        ring = layout.ints.reserve(op.num_rows * op.size)
        layout.row(rows.DELAY_UNITS, op, op.num_rows, ring, 0, layout.params.place(op.steps))
        return
    ring = layout.bits.reserve(op.num_rows * -(-op.size // 64))
    lengths = np.unique(op.steps)
    masks = layout.words.place(bits_of(op.steps == lengths[:, np.newaxis]))
    layout.row(rows.DELAY_UNITS, op, op.num_rows, ring, 1, layout.params.place(lengths), masks, len(lengths))


def _delta(layout: Layout, op: Any) -> None:
    layout.hold(op, "delta", layout.value(op))
    layout.row(rows.CHANGES, op, layout.params.place(op.threshold), layout.ints.reserve(op.size), op.shift)


def _sigma(layout: Layout, op: Any) -> None:
    layout.hold(op, "s", layout.value(op))
    layout.row(rows.SUMMED_CHANGES, op)


def _relu(layout: Layout, op: Any) -> None:
    layout.value(op)
    layout.row(rows.RECTIFY, op, layout.params.place(op.bias))


def _readout(layout: Layout, op: Any) -> None:
    layout.hold(op, "y", layout.value(op))
    layout.row(rows.READOUT, op, layout.params.place(op.bias), op.shift)


def _integrator(layout: Layout, op: Any) -> None:
    layout.hold(op, op.variables[0].name, layout.value(op))
    layout.row(rows.INTEGRATE, op, layout.params.place(op.decay), layout.params.place(op.bias), op.shift)


def _peak(layout: Layout, name: str) -> int:
    """Return the largest magnitude that an operation gives whatever happened before, or what int32 holds."""
    op, _ = layout.program.undelayed(name)
    if op.kind == "events":
        low, high = op.event_range
        return max(-low, high)
    if isinstance(op, Torus):
        return 8 * _peak(layout, op.source)
    if isinstance(op, Dense) and layout.program[op.source].kind == "events":
        total = int(np.abs(op.weights.astype(np.int64)).sum(axis=1).max())
        return min(total * _peak(layout, op.source) << op.shift, INT32_MAX)
    return INT32_MAX


def _scale(layout: Layout, op: Any) -> None:
    layout.value(op)
    largest = int(np.abs(op.factor.astype(np.int64)).max())
    narrow = _peak(layout, op.source) * largest <= INT32_MAX and op.shift < 32
    layout.row(rows.SCALE, op, layout.params.place(op.factor), op.shift, int(narrow))


def _gate(layout: Layout, op: Any) -> None:
    layout.value(op)
    gates = [row for row in layout.rows if row[rows.KIND] == rows.GATE]
    table = int(gates[0][rows.P1]) if gates else layout.params.place(SIGMOID)
    layout.row(rows.GATE, op, layout.params.place(op.offset), table)


def _multiply(layout: Layout, op: Any) -> None:
    layout.value(op)
    layout.row(rows.MULTIPLY, op, op.shift)


def _gated(layout: Layout, op: Any) -> None:
    layout.hold(op, "s", layout.value(op))
    layout.row(rows.GATED, op)


def _resonator(layout: Layout, op: Any) -> None:
    re, im = layout.value(op), layout.ints.reserve(op.size)
    layout.row(rows.RESONATE, op, layout.params.place(op.cosine), layout.params.place(op.sine), im)
    layout.hold(op, "re", re)
    layout.hold(op, "im", im)


def _torus(layout: Layout, op: Any) -> None:
    edges = -1 if op.edges is None else layout.small.place(op.edges)
    spare = layout.ints.reserve(3 * (op.columns + 2))
    layout.value(op)
    layout.row(rows.NEIGHBOURS, op, op.rows, op.columns, edges, spare)


def _fast_weights(layout: Layout, op: Any) -> None:
    stride = padded(op.size, 8)
    matrix, key, target = (layout.ints.reserve(size) for size in (op.size * stride, op.size, op.size))
    layout.value(op)
    numbers = (op.decay, 2 * KEY_BITS + op.rate_bits - op.frac, op.frac, int(op.rule == "delta"))
    layout.row(rows.FAST_WEIGHTS, op, matrix, key, target, stride, *numbers)
    layout.hold(op, "F", matrix, op.size, op.size)
    layout.hold(op, "key", key)


def _slots(layout: Layout, op: Any) -> None:
    num_slots, stride = op.keys.shape[0], padded(op.size, FADED_AT_ONCE)
    keys, read, marks = layout.words.place(rows_for_few(op.keys)), layout.value(op), layout.ints.reserve(2)
    faded, state = layout.counts.reserve(num_slots), layout.ints.reserve(num_slots * stride)
    if op.fast is not None:
        start = np.zeros((num_slots, stride), dtype=np.int32)
        start[:, : op.size] = op.fast
        layout.starts.append((state, start.reshape(-1)))
    numbers = (op.gain, op.shift, op.decay_bits, op.rate_bits, int(op.plastic), stride, state, marks, faded)
    layout.row(rows.SLOTS, op, keys, num_slots, *numbers)
    layout.hold(op, "winner", marks, columns=1)
    layout.hold(op, "read", read)
    layout.hold(op, "E", marks + 1, columns=1)


BUILDERS: Mapping[str, Callable[[Layout, Any], None]] = MappingProxyType(
    {
        "Input": lambda layout, op: layout.row(rows.INPUT, op),
        "Dense": _dense,
        "LIF": _lif,
        "HomeostaticLIF": _homeostatic,
        "AdaptiveLIF": _adaptive_lif,
        "GradedLIF": _graded_lif,
        "ShiftLIF": _shift_lif,
        "XyloLIF": _xylo_lif,
        "Delta": _delta,
        "Sigma": _sigma,
        "ReLU": _relu,
        "Readout": _readout,
        "LeakyReadout": _integrator,
        "Conv": convolution,
        "SumPool": pool,
        "MaxPool": pool,
        "SpikePool": spike_pool,
        "Delays": _delays,
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
