"""The one compiled loop: steps of any program, from the table that ``layout`` makes of it.

A program is data here, so there is one compilation for all networks, batches and numbers of steps. Some samples go
through a step together, operation by operation: a matrix is then read once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import STAMP, entry_point, kernel, pasted
from neuromorphic.executors.native.kernels.chip_neurons import (
    add_changes,
    fire_by_shifts,
    raise_by_spikes,
    raise_thresholds,
    rectify,
    send_changes,
)
from neuromorphic.executors.native.kernels.events import finish_sums, ternary_events, ternary_few
from neuromorphic.executors.native.kernels.graded import list_digits, ternary_graded
from neuromorphic.executors.native.kernels.memory import fast_weights, neighbour_sums, slots, weighed_neighbours
from neuromorphic.executors.native.kernels.neurons import (
    add_up,
    average,
    control_domains,
    fire,
    integrate,
    look_up,
    resonate,
    scale,
    weigh,
)
from neuromorphic.executors.native.kernels.passing import delay, delay_units, publish, read_input
from neuromorphic.executors.native.kernels.values import byte_events, byte_values, split_digits, ternary_values
from neuromorphic.executors.native.kernels.vectors import (
    call_at,
    count_ones,
    get_byte,
    get_int,
    get_long,
    get_word,
    put_byte,
    put_int,
    put_long,
)

SAMPLES_TOGETHER = 8
FINE = -1
at = get_long  # at(row, column)


@kernel
def _neurons(row, links, params, ints, bits, counts):  # type: ignore[no-untyped-def]
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


@pasted
def _step(row, head, ints, bits, counts, x, packed, now, marks):  # type: ignore[no-untyped-def]
    """One operation of one sample."""
    links, params = get_long(head, rows.AT_LINKS), get_long(head, rows.AT_PARAMS)
    words, small = get_long(head, rows.AT_WORDS), get_long(head, rows.AT_SMALL)
    kind, size, out, source = at(row, rows.KIND), at(row, rows.SIZE), at(row, rows.OUT), at(row, rows.SOURCE)
    first, count = at(row, rows.LINKS), at(row, rows.NUM_SOURCES)
    p0, p1, p2, p3 = at(row, rows.P0), at(row, rows.P1), at(row, rows.P2), at(row, rows.P3)
    if kind == rows.NEURONS:
        _neurons(row, links, params, ints, bits, counts)
    elif kind == rows.TERNARY_FEW:
        ternary_few(words, p0, p1, bits, at(row, rows.SOURCE_BITS), ints, out, size, p2)
    elif kind == rows.TERNARY_VALUES:
        num_digits = split_digits(ints, source, p1, bits, p3)
        ternary_values(words, p0, p1, bits, p3, num_digits, ints, out, size, p2)
    elif kind == rows.TERNARY_GRADED:
        list_digits(ints, source, p1, at(row, rows.P4))
        ternary_graded(words, p0, p1, ints, at(row, rows.P4), bits, p3, ints, out, size, p2)
    elif kind == rows.SCALE:
        scale(ints, out, source, params, p0, p1, p2, size)
    elif kind == rows.MULTIPLY:
        weigh(ints, out, source, at(row, rows.SOURCE_2), p0, size)
    elif kind == rows.GATE:
        look_up(ints, out, source, params, p0, p1, size)
    elif kind == rows.GATED:
        average(ints, out, source, at(row, rows.SOURCE_2), size)
    elif kind == rows.INTEGRATE:
        integrate(ints, links, first, count, params, p0, p1, p2, out, size)
    elif kind == rows.RESONATE:
        resonate(ints, out, p2, source, params, p0, p1, size)
    elif kind == rows.READOUT:
        add_up(ints, links, first, count, params, p0, p1, out, size)
    elif kind == rows.NEIGHBOURS:
        if p2 < 0:
            neighbour_sums(ints, out, source, p0, p1, p3)
        else:
            weighed_neighbours(ints, out, source, p0, p1, small, p2, p3)
    elif kind == rows.FAST_WEIGHTS:
        options = (at(row, rows.P4), at(row, rows.P5), at(row, rows.P6), at(row, rows.P7))
        fast_weights(ints, out, source, p0, p1, p2, size, p3, *options)
    elif kind == rows.SLOTS:
        slots(row, now, marks, words, ints, bits, counts)
    elif kind == rows.BYTE_EVENTS:
        byte_events(small, p0, p1, ints, at(row, rows.SOURCE_LIST), ints, out, size)
        finish_sums(ints, at(row, rows.SOURCE_LIST), params, p3, ints, out, size, p2)
    elif kind == rows.BYTE_VALUES:
        byte_values(small, p0, p1, ints, source, ints, out, size, p2)
    elif kind == rows.DELAY_UNITS:
        delay_units(row, now, params, words, ints, bits)
    elif kind == rows.SHIFT_NEURONS:
        fire_by_shifts(row, links, params, small, ints, bits, counts)
        if at(row, rows.BITS) >= 0:
            publish(row, ints, bits)
    elif kind == rows.RAISE:
        raise_thresholds(row, links, params, ints)
    elif kind == rows.RAISE_MORE:
        raise_by_spikes(row, params, ints, bits)
    elif kind == rows.CHANGES:
        send_changes(row, params, ints)
    elif kind == rows.SUMMED_CHANGES:
        add_changes(row, links, ints)
    elif kind == rows.RECTIFY:
        rectify(row, params, ints)
    elif kind == rows.CONTROL:
        control_domains(row, now, ints, bits, params)
    elif kind in (rows.DELAY_READ, rows.DELAY_WRITE):
        delay(row, now, ints, bits)
    elif kind == rows.IMAGE:
        call_at(get_long(head, rows.AT_IMAGES), row, head, ints, bits)
        if at(row, rows.BITS) >= 0:
            publish(row, ints, bits)
    elif kind == rows.INPUT:
        read_input(row, x, packed, ints, bits)


@kernel
def _step_together(row, head, ints, stride, bits, bit_stride, samples):  # type: ignore[no-untyped-def]
    """One ternary product of several samples."""
    words, params = get_long(head, rows.AT_WORDS), get_long(head, rows.AT_PARAMS)
    listed, out, size, spare = at(row, rows.SOURCE_LIST), at(row, rows.OUT), at(row, rows.SIZE), at(row, rows.P4)
    place, num_inputs = at(row, rows.P0), at(row, rows.P1)
    ternary_events(
        words, place, num_inputs, ints, listed, stride, samples, bits, spare, bit_stride, ints, out, stride, size
    )
    for b in range(samples):
        moved = b * stride
        finish_sums(ints, listed + moved, params, at(row, rows.P3), ints, out + moved, size, at(row, rows.P2))


@kernel
def _record(recordings, num_recordings, sample, ints, bits, out_ints, out_spikes):  # type: ignore[no-untyped-def]
    """Copy what a recording stores of a sample; ``sample`` counts steps and samples."""
    for r in range(num_recordings):
        row = recordings + 8 * rows.REC_WIDTH * r
        count, columns, stride = at(row, rows.REC_ROWS), at(row, rows.REC_COLUMNS), at(row, rows.REC_STRIDE)
        place, target = at(row, rows.REC_PLACE), at(row, rows.REC_START) + sample * count * columns
        if at(row, rows.REC_FORM) == rows.AS_BYTES:
            for i in range(columns):
                put_byte(out_spikes, target + i, get_int(ints, place + i))
        elif at(row, rows.REC_FORM) == rows.AS_BITS:
            for i in range(columns):
                byte = get_byte(bits, 8 * place + (i >> 3))
                put_byte(out_spikes, target + i, (byte >> (i & 7)) & 1)
        else:
            for j in range(count):
                for i in range(columns):
                    put_int(out_ints, target + j * columns + i, get_int(ints, place + j * stride + i))


@kernel
def _find_bad(x, packed, samples, head):  # type: ignore[no-untyped-def]
    """Return the place of the first input that is out of range, or ``FINE``."""
    size, low, high = get_long(head, rows.NUM_INPUTS), get_long(head, rows.LOW), get_long(head, rows.HIGH)
    if packed:
        width = (size + 63) >> 6
        for b in range(samples if size & 63 else 0):
            if get_word(x, b * width + width - 1) >> np.uint64(size & 63):
                return b
        return FINE
    smallest, largest = low, high
    for i in range(samples * size):
        smallest, largest = min(smallest, get_int(x, i)), max(largest, get_int(x, i))
    if smallest < low or largest > high:
        for i in range(samples * size):
            if get_int(x, i) < low or get_int(x, i) > high:
                return i
    return FINE


def _make(stamp: int) -> Callable[..., int]:
    def run_steps(  # type: ignore[no-untyped-def]
        head,
        inputs,
        bit_inputs,
        first,
        last,
        num_steps,
        time,
        recordings,
        num_recordings,
        out_ints,
        out_spikes,
        marks,
    ):
        """Run steps of the samples ``first..last``; return ``FINE`` or, with nothing done, the first bad input."""
        if stamp < 0:
            return stamp  # never: the number only has to be used
        packed = bit_inputs.size > 0
        x = bit_inputs.ctypes.data if packed else inputs.ctypes.data
        batch, num_inputs = get_long(head, rows.BATCH), get_long(head, rows.NUM_INPUTS)
        bad = _find_bad(x, packed, num_steps * batch, head)
        if bad != FINE:
            return bad
        table, num_rows = get_long(head, rows.AT_TABLE), get_long(head, rows.NUM_ROWS)
        stride, all_ints = get_long(head, rows.INT_STRIDE), get_long(head, rows.AT_INTS)
        bit_stride, all_bits = get_long(head, rows.BIT_STRIDE), get_long(head, rows.AT_BITS)
        count_stride, all_counts = get_long(head, rows.COUNT_STRIDE), get_long(head, rows.AT_COUNTS)
        x_bytes = 8 * ((num_inputs + 63) >> 6) if packed else 4 * num_inputs
        for start in range(first, last, SAMPLES_TOGETHER):
            stop = min(start + SAMPLES_TOGETHER, last)
            for t in range(num_steps):
                for r in range(num_rows):
                    row = table + 8 * rows.COLUMNS * r
                    if at(row, rows.KIND) == rows.TERNARY_EVENTS:
                        ints, bits = all_ints + 4 * stride * start, all_bits + 8 * bit_stride * start
                        _step_together(row, head, ints, stride, bits, bit_stride, stop - start)
                        continue
                    for b in range(start, stop):
                        ints, bits = all_ints + 4 * stride * b, all_bits + 8 * bit_stride * b
                        counts, sample = all_counts + 8 * count_stride * b, t * batch + b
                        _step(row, head, ints, bits, counts, x + sample * x_bytes, packed, time + t, marks)
                for b in range(start, stop if num_recordings else start):
                    ints, bits = all_ints + 4 * stride * b, all_bits + 8 * bit_stride * b
                    _record(recordings, num_recordings, t * batch + b, ints, bits, out_ints, out_spikes)
        return FINE

    return entry_point(run_steps)


run_steps = _make(STAMP)
