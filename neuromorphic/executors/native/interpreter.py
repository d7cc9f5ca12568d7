"""The one compiled loop: steps of any program, from the table that ``layout`` makes of it.

A program is data here: a row for each operation, and the address of the code that runs it. So there is one compilation
of the loop for all networks, batches and numbers of steps, and one of each kind of row. Some samples go through a step
together, row by row: a matrix is then read once for all of them.
"""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native import arrays, rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.arrays import fits
from neuromorphic.executors.native.kernels.passing import read_input
from neuromorphic.executors.native.kernels.vectors import (
    call_at,
    get_byte,
    get_int,
    get_long,
    get_word,
    max_of,
    min_of,
    put_byte,
    put_int,
    put_long,
)

SAMPLES_TOGETHER = 8
FINE, UNUSABLE, AT_DATA = rows.FINE, rows.UNUSABLE, arrays.AT_DATA
at = get_long  # at(row, column)


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
        smallest, largest = min_of(smallest, get_int(x, i)), max_of(largest, get_int(x, i))
    if smallest < low or largest > high:
        for i in range(samples * size):
            if get_int(x, i) < low or get_int(x, i) > high:
                return i
    return FINE


@kernel
def _look_at(call, head, array):  # type: ignore[no-untyped-def]
    """Return whether a single step can take an array as it is, and say whether it is packed."""
    batch, size, type_of = get_long(head, rows.BATCH), get_long(head, rows.NUM_INPUTS), get_long(head, rows.ARRAY_TYPE)
    put_long(call, rows.PACKED, 0)
    if at(call, rows.TIME) >= at(call, rows.MOST_STEPS):
        return False
    if fits(array, type_of, get_long(head, rows.INT32_TYPE), batch, size):
        return True
    put_long(call, rows.PACKED, 1)
    takes_bits = get_long(head, rows.LOW) == 0 and get_long(head, rows.HIGH) == 1
    return takes_bits and fits(array, type_of, get_long(head, rows.UINT64_TYPE), batch, (size + 63) >> 6)


def run_steps(call):  # type: ignore[no-untyped-def]
    """Run steps of some samples; return ``FINE`` or, with nothing done, the first bad input or ``UNUSABLE``.

    ``call`` is the address of what :data:`rows.HEAD` and those after it say.
    """
    head, array, alone = at(call, rows.HEAD), at(call, rows.INPUTS), at(call, rows.ALONE)
    if alone and not _look_at(call, head, array):
        return UNUSABLE
    x, packed, marks = get_long(array, AT_DATA), at(call, rows.PACKED), at(call, rows.MARKS)
    first, last, num_steps, time = (
        at(call, rows.FIRST),
        at(call, rows.LAST),
        at(call, rows.NUM_STEPS),
        at(call, rows.TIME),
    )
    recordings, num_recordings = at(call, rows.RECORDINGS), at(call, rows.NUM_RECORDINGS)
    batch, num_inputs = get_long(head, rows.BATCH), get_long(head, rows.NUM_INPUTS)
    bad = _find_bad(x, packed, num_steps * batch, head)
    if bad != FINE:
        return bad
    table, num_rows = get_long(head, rows.AT_TABLE), get_long(head, rows.NUM_ROWS)
    stride, all_ints = get_long(head, rows.INT_STRIDE), get_long(head, rows.AT_INTS)
    bit_stride, all_bits = get_long(head, rows.BIT_STRIDE), get_long(head, rows.AT_BITS)
    x_bytes = 8 * ((num_inputs + 63) >> 6) if packed else 4 * num_inputs
    for start in range(first, last, SAMPLES_TOGETHER):
        stop = min_of(start + SAMPLES_TOGETHER, last)
        for t in range(num_steps):
            for b in range(start, stop):  # the first row is the input
                ints, bits = all_ints + 4 * stride * b, all_bits + 8 * bit_stride * b
                read_input(table, x + (t * batch + b) * x_bytes, packed, ints, bits)
            for r in range(1, num_rows):
                row = table + 8 * rows.COLUMNS * r
                call_at(at(row, rows.CODE), row, head, start, stop, time + t, marks)
            for b in range(start, stop if num_recordings else start):
                ints, bits = all_ints + 4 * stride * b, all_bits + 8 * bit_stride * b
                out_ints, out_spikes = at(call, rows.OUT_INTS), at(call, rows.OUT_SPIKES)
                _record(recordings, num_recordings, t * batch + b, ints, bits, out_ints, out_spikes)
    if alone:
        put_long(call, rows.TIME, time + 1)
    return FINE
