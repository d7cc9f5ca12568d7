"""What is compiled apart: the loop, what it calls for each kind of row, and the products of ``TernaryMatrix``.

What runs a row is ``entry(row, head, first, last, now, marks)``, for the samples ``first..last`` of a step; ``marks``:
a recording wants the fingerprints of memory slots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.interpreter import run_steps
from neuromorphic.executors.native.kernels import chip_neurons, events, graded, memory, neurons, passing, values
from neuromorphic.executors.native.kernels.counted_windows import count_windows
from neuromorphic.executors.native.kernels.listed_windows import list_windows
from neuromorphic.executors.native.kernels.moved_windows import pool_moved
from neuromorphic.executors.native.kernels.multiplied_windows import convolve
from neuromorphic.executors.native.kernels.vectors import count_ones, get_long, get_word, put_long
from neuromorphic.executors.native.kernels.windows import pool_spikes, slide_windows
from neuromorphic.executors.native.products import times_spikes, times_values

at = get_long  # at(row, column)
publish = passing.publish
delay, delay_units = passing.delay, passing.delay_units
finish_sums, ternary_events, ternary_few = events.finish_sums, events.ternary_events, events.ternary_few
list_digits, ternary_graded = graded.list_digits, graded.ternary_graded
split_digits, ternary_values = values.split_digits, values.ternary_values
byte_events, byte_values = values.byte_events, values.byte_values
fire, add_up, integrate, scale, weigh = neurons.fire, neurons.add_up, neurons.integrate, neurons.scale, neurons.weigh
fire_graded = neurons.fire_graded
look_up, average, resonate, control = neurons.look_up, neurons.average, neurons.resonate, neurons.control_domains
slots, fast_weights = memory.slots, memory.fast_weights
neighbour_sums, weighed_neighbours = memory.neighbour_sums, memory.weighed_neighbours
fire_by_shifts, raise_thresholds = chip_neurons.fire_by_shifts, chip_neurons.raise_thresholds
raise_by_spikes, rectify = chip_neurons.raise_by_spikes, chip_neurons.rectify
send_changes, add_changes = chip_neurons.send_changes, chip_neurons.add_changes


def _by_sample(step: Callable[..., None]) -> Callable[..., int]:
    """Run one row sample by sample: ``step(row, head, ints, bits, counts, now, marks)``."""
    one = kernel(step)

    def entry(row, head, first, last, now, marks):  # type: ignore[no-untyped-def]
        stride, bit_stride = get_long(head, rows.INT_STRIDE), get_long(head, rows.BIT_STRIDE)
        count_stride, counts = get_long(head, rows.COUNT_STRIDE), get_long(head, rows.AT_COUNTS)
        ints, bits = get_long(head, rows.AT_INTS), get_long(head, rows.AT_BITS)
        for b in range(first, last):
            one(row, head, ints + 4 * stride * b, bits + 8 * bit_stride * b, counts + 8 * count_stride * b, now, marks)
        return 0

    return entry


def _ternary_events(row, head, first, last, now, marks):  # type: ignore[no-untyped-def]
    """Multiply the spikes of all samples: the weights are read once."""
    stride, bit_stride = get_long(head, rows.INT_STRIDE), get_long(head, rows.BIT_STRIDE)
    ints, bits = (
        get_long(head, rows.AT_INTS) + 4 * stride * first,
        get_long(head, rows.AT_BITS) + 8 * bit_stride * first,
    )
    words, params = get_long(head, rows.AT_WORDS), get_long(head, rows.AT_PARAMS)
    listed, out, size, spare = at(row, rows.SOURCE_LIST), at(row, rows.OUT), at(row, rows.SIZE), at(row, rows.P4)
    place, inputs, samples = at(row, rows.P0), at(row, rows.P1), last - first
    ternary_events(
        words, place, inputs, ints, listed, stride, samples, bits, spare, bit_stride, ints, out, stride, size
    )
    for b in range(samples):
        moved = b * stride
        finish_sums(ints, listed + moved, params, at(row, rows.P3), ints, out + moved, size, at(row, rows.P2))
    return 0


def _count_windows(row, head, first, last, now, marks):  # type: ignore[no-untyped-def]
    """Convolve the spikes of all samples: some share a register."""
    params, small = get_long(head, rows.AT_PARAMS), get_long(head, rows.AT_SMALL)
    stride, bit_stride = get_long(head, rows.INT_STRIDE), get_long(head, rows.BIT_STRIDE)
    ints = get_long(head, rows.AT_INTS) + 4 * stride * first
    bits = get_long(head, rows.AT_BITS) + 8 * bit_stride * first
    count_windows(row, params, small, ints, stride, bits, bit_stride, last - first)
    return 0


def _list_windows(row, head, first, last, now, marks):  # type: ignore[no-untyped-def]
    """Convolve the spikes of those samples of which counting takes longer."""
    params, words, small = get_long(head, rows.AT_PARAMS), get_long(head, rows.AT_WORDS), get_long(head, rows.AT_SMALL)
    stride, bit_stride = get_long(head, rows.INT_STRIDE), get_long(head, rows.BIT_STRIDE)
    ints = get_long(head, rows.AT_INTS) + 4 * stride * first
    bits = get_long(head, rows.AT_BITS) + 8 * bit_stride * first
    list_windows(row, params, words, small, ints, stride, bits, bit_stride, last - first)
    return 0


def _ternary_few(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    words, place, width = get_long(head, rows.AT_WORDS), at(row, rows.P0), at(row, rows.P1)
    out, size = at(row, rows.OUT), at(row, rows.SIZE)
    ternary_few(words, place, width, bits, at(row, rows.SOURCE_BITS), ints, out, size, at(row, rows.P2))


def _ternary_values(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    words, place, inputs, spare = get_long(head, rows.AT_WORDS), at(row, rows.P0), at(row, rows.P1), at(row, rows.P3)
    digits = split_digits(ints, at(row, rows.SOURCE), inputs, bits, spare)
    out, size = at(row, rows.OUT), at(row, rows.SIZE)
    ternary_values(words, place, inputs, bits, spare, digits, ints, out, size, at(row, rows.P2))


def _ternary_graded(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    words, place, inputs, lists = get_long(head, rows.AT_WORDS), at(row, rows.P0), at(row, rows.P1), at(row, rows.P4)
    list_digits(ints, at(row, rows.SOURCE), inputs, lists, at(row, rows.P5))
    out, size, spare = at(row, rows.OUT), at(row, rows.SIZE), at(row, rows.P3)
    ternary_graded(words, place, inputs, ints, lists, bits, spare, ints, out, size, at(row, rows.P2))


def _byte_events(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    small, params, listed = get_long(head, rows.AT_SMALL), get_long(head, rows.AT_PARAMS), at(row, rows.SOURCE_LIST)
    out, size = at(row, rows.OUT), at(row, rows.SIZE)
    byte_events(small, at(row, rows.P0), at(row, rows.P1), ints, listed, ints, out, size)
    finish_sums(ints, listed, params, at(row, rows.P3), ints, out, size, at(row, rows.P2))


def _byte_values(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    small, place, inputs, source = (
        get_long(head, rows.AT_SMALL),
        at(row, rows.P0),
        at(row, rows.P1),
        at(row, rows.SOURCE),
    )
    byte_values(small, place, inputs, ints, source, ints, at(row, rows.OUT), at(row, rows.SIZE), at(row, rows.P2))


def _neurons(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    links, params = get_long(head, rows.AT_LINKS), get_long(head, rows.AT_PARAMS)
    size, place, counter = at(row, rows.SIZE), at(row, rows.BITS), at(row, rows.P6)
    thetas, theta = params, at(row, rows.P1)
    if at(row, rows.P7) >= 0:  # each sample has its own
        thetas, theta = ints, at(row, rows.P7)
    first, count, decay, bias = at(row, rows.LINKS), at(row, rows.NUM_SOURCES), at(row, rows.P0), at(row, rows.P2)
    shift, reset, v = at(row, rows.P3), at(row, rows.P4), at(row, rows.P5)
    fire(ints, links, first, count, params, decay, thetas, theta, bias, shift, reset, v, size, bits, place)
    fired = get_long(counts, counter)
    for w in range((size + 63) >> 6):
        fired += count_ones(get_word(bits, place + w))
    put_long(counts, counter, fired)
    publish(row, ints, bits)


def _graded_neurons(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    fire_graded(row, get_long(head, rows.AT_LINKS), get_long(head, rows.AT_PARAMS), ints, counts)


def _readout(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    links, params = get_long(head, rows.AT_LINKS), get_long(head, rows.AT_PARAMS)
    first, count, bias, shift = at(row, rows.LINKS), at(row, rows.NUM_SOURCES), at(row, rows.P0), at(row, rows.P1)
    add_up(ints, links, first, count, params, bias, shift, at(row, rows.OUT), at(row, rows.SIZE))


def _integrate(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    links, params = get_long(head, rows.AT_LINKS), get_long(head, rows.AT_PARAMS)
    first, count, decay, bias = at(row, rows.LINKS), at(row, rows.NUM_SOURCES), at(row, rows.P0), at(row, rows.P1)
    integrate(ints, links, first, count, params, decay, bias, at(row, rows.P2), at(row, rows.OUT), at(row, rows.SIZE))


def _scale(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    params, out, source = get_long(head, rows.AT_PARAMS), at(row, rows.OUT), at(row, rows.SOURCE)
    scale(ints, out, source, params, at(row, rows.P0), at(row, rows.P1), at(row, rows.P2), at(row, rows.SIZE))


def _gate(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    params, out, source = get_long(head, rows.AT_PARAMS), at(row, rows.OUT), at(row, rows.SOURCE)
    look_up(ints, out, source, params, at(row, rows.P0), at(row, rows.P1), at(row, rows.SIZE))


def _multiply(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    source, gates = at(row, rows.SOURCE), at(row, rows.SOURCE_2)
    weigh(ints, at(row, rows.OUT), source, gates, at(row, rows.P0), at(row, rows.SIZE))


def _gated(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    average(ints, at(row, rows.OUT), at(row, rows.SOURCE), at(row, rows.SOURCE_2), at(row, rows.SIZE))


def _resonate(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    params, out, source = get_long(head, rows.AT_PARAMS), at(row, rows.OUT), at(row, rows.SOURCE)
    resonate(ints, out, at(row, rows.P2), source, params, at(row, rows.P0), at(row, rows.P1), at(row, rows.SIZE))


def _neighbours(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    out, source, edges, spare = at(row, rows.OUT), at(row, rows.SOURCE), at(row, rows.P2), at(row, rows.P3)
    if edges < 0:
        neighbour_sums(ints, out, source, at(row, rows.P0), at(row, rows.P1), spare)
    else:
        small = get_long(head, rows.AT_SMALL)
        weighed_neighbours(ints, out, source, at(row, rows.P0), at(row, rows.P1), small, edges, spare)


def _fast_weights(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    out, source, size, stride = at(row, rows.OUT), at(row, rows.SOURCE), at(row, rows.SIZE), at(row, rows.P3)
    matrix, key, target = at(row, rows.P0), at(row, rows.P1), at(row, rows.P2)
    decay, write_shift, frac, delta = at(row, rows.P4), at(row, rows.P5), at(row, rows.P6), at(row, rows.P7)
    fast_weights(ints, out, source, matrix, key, target, size, stride, decay, write_shift, frac, delta)


def _slots(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    slots(row, now, marks, get_long(head, rows.AT_WORDS), ints, bits, counts)


def _control(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    control(row, now, ints, bits, get_long(head, rows.AT_PARAMS))


def _delay(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    delay(row, now, ints, bits)


def _delay_units(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    delay_units(row, now, get_long(head, rows.AT_PARAMS), get_long(head, rows.AT_WORDS), ints, bits)


def _shift_neurons(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    links, params, small = get_long(head, rows.AT_LINKS), get_long(head, rows.AT_PARAMS), get_long(head, rows.AT_SMALL)
    fire_by_shifts(row, links, params, small, ints, bits, counts)
    if at(row, rows.BITS) >= 0:
        publish(row, ints, bits)


def _changes(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    send_changes(row, get_long(head, rows.AT_PARAMS), ints)


def _summed_changes(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    add_changes(row, get_long(head, rows.AT_LINKS), ints)


def _rectify(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    rectify(row, get_long(head, rows.AT_PARAMS), ints)


def _raise_thresholds(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    raise_thresholds(row, get_long(head, rows.AT_LINKS), get_long(head, rows.AT_PARAMS), ints)


def _raise_by_spikes(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    raise_by_spikes(row, get_long(head, rows.AT_PARAMS), ints, bits)


def _convolve(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    params, words, small = get_long(head, rows.AT_PARAMS), get_long(head, rows.AT_WORDS), get_long(head, rows.AT_SMALL)
    convolve(row, params, words, small, ints, bits)


def _slide_windows(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    slide_windows(row, get_long(head, rows.AT_PARAMS), get_long(head, rows.AT_SMALL), ints)


def _pool_spikes(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    pool_spikes(row, get_long(head, rows.AT_PARAMS), bits)
    publish(row, ints, bits)


def _pool_moved(row, head, ints, bits, counts, now, marks):  # type: ignore[no-untyped-def]
    pool_moved(row, get_long(head, rows.AT_PARAMS), bits)
    publish(row, ints, bits)


_STEPS = (
    *(
        _ternary_few,
        _ternary_values,
        _ternary_graded,
        _byte_events,
        _byte_values,
        _neurons,
        _graded_neurons,
        _readout,
        _integrate,
    ),
    *(_scale, _gate, _multiply, _gated, _resonate, _neighbours, _fast_weights, _slots, _control, _delay, _delay_units),
    *(_shift_neurons, _changes, _summed_changes, _rectify, _raise_thresholds, _raise_by_spikes),
    *(_convolve, _slide_windows, _pool_spikes, _pool_moved),
)
ENTRIES: Mapping[str, tuple[Callable[..., Any], int]] = MappingProxyType(
    {
        "run_steps": (run_steps, 1),
        "times_spikes": (times_spikes, 1),
        "times_values": (times_values, 1),
        "ternary_events": (_ternary_events, 6),
        "count_windows": (_count_windows, 6),
        "list_windows": (_list_windows, 6),
        **{step.__name__[1:]: (_by_sample(step), 6) for step in _STEPS},
    }
)
"""Each by its name: the function, and how many numbers it takes."""
