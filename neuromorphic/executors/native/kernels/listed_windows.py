"""Convolutions of spikes by their list, 64 output channels at a time.

A row is what the weights of one input of a window are to 64 outputs: 16 bytes of ternary fields, or 64 bytes. For each
window the rows of the spikes in it are added up in registers; nothing is multiplied, and silent inputs cost nothing.
Spikes are listed once for an image: pixel by pixel, so that those in a row of a window stand one after another, and
their numbers, less where the window begins, are those of the rows.

The walk over one packing is own.
"""

from __future__ import annotations

from typing import Any

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.image_instructions import (
    add_row,
    add_short_row,
    byte_row,
    no_row,
    no_short_row,
    put_row,
    put_short_row,
    ternary_row,
)
from neuromorphic.executors.native.kernels.pixel_lists import counting_pays, list_spikes
from neuromorphic.executors.native.kernels.turned_sums import put_windows
from neuromorphic.executors.native.kernels.vectors import (
    get_int,
    get_long,
    load_ints,
    max_of,
    min_of,
    splat_ints,
    store_ints,
)
from neuromorphic.executors.native.sizes import OUTPUTS_A_ROW, SUMS_SIZE, TURNED

at = get_long  # at(row, column)
ROWS_AT_ONCE = 4


@kernel
def _list_rows(params, shape, base, nothing, ints, starts, listed, y, x, target):  # type: ignore[no-untyped-def]
    """List the rows of the spikes in the window whose first place is ``(y, x)``; return how many there are.

    The row ``nothing``, of zeros, fills the list up: loops of few lengths are those that a processor foresees.
    """
    channels, height = get_int(params, shape + rows.CHANNELS), get_int(params, shape + rows.HEIGHT)
    width, columns = get_int(params, shape + rows.WIDTH), get_int(params, shape + rows.KERNEL_X)
    step_y, step_x = get_int(params, shape + rows.DILATION_Y), get_int(params, shape + rows.DILATION_X)
    length, n = columns if step_x == 1 else 1, 0  # places of a window's row that are neighbours in the image
    for k in range(get_int(params, shape + rows.KERNEL_Y)):
        row = y + k * step_y
        if row >= 0 and row < height:
            for m in range(0, columns, length):
                first = x + m * step_x
                begin, end = max_of(first, 0), min_of(first + length, width)
                if begin < end:
                    e, stop = get_int(ints, starts + row * width + begin), get_int(ints, starts + row * width + end)
                    moved = base + (k * columns + m - first) * channels
                    for i in range(0, stop - e, 8):  # what stands behind is written over
                        store_ints(ints, target + n + i, load_ints(ints, listed + e + i) + splat_ints(moved))
                    n += stop - e
    store_ints(ints, target + n, splat_ints(nothing))
    return (n + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE * ROWS_AT_ONCE


def _make_sum(no: Any, load: Any, put: Any, add: Any, most: int, fields: int) -> Any:
    @kernel
    def sum_rows(weights, ints, listed, count, target):  # type: ignore[no-untyped-def]
        """Add up the rows of a list, at most as many at a time as a lane holds."""
        start = 0
        while True:
            stop, sums = min_of(start + most, count), no()
            for i in range(listed + start, listed + stop, ROWS_AT_ONCE):
                first = load(weights, get_int(ints, i)) + load(weights, get_int(ints, i + 1))
                second = load(weights, get_int(ints, i + 2)) + load(weights, get_int(ints, i + 3))
                sums = sums + first + second
            if start == 0:
                put(ints, target, sums, stop * fields)
            else:
                add(ints, target, sums, (stop - start) * fields)
            if stop == count:
                break
            start = stop

    return sum_rows


_sum_ternary = _make_sum(no_row, ternary_row, put_row, add_row, 124, 1)  # fields up to 2 in a byte
_sum_bytes = _make_sum(no_short_row, byte_row, put_short_row, add_short_row, 256, 0)  # 127 in 16 bits


@kernel
def _events(params, shape, weights, ternary, ints, spare_ints, bits, place, spare, out):  # type: ignore[no-untyped-def]
    """Convolve an image of spikes by their lists."""
    channels, outputs = get_int(params, shape + rows.CHANNELS), get_int(params, shape + rows.OUTPUTS)
    width = get_int(params, shape + rows.WIDTH)
    pixels, out_width = width * get_int(params, shape + rows.HEIGHT), get_int(params, shape + rows.OUT_WIDTH)
    windows, shift = out_width * get_int(params, shape + rows.OUT_HEIGHT), get_int(params, shape + rows.SHIFT)
    taps = get_int(params, shape + rows.KERNEL_Y) * get_int(params, shape + rows.KERNEL_X)
    stride_y, stride_x = get_int(params, shape + rows.STRIDE_Y), get_int(params, shape + rows.STRIDE_X)
    pad_y, pad_x = get_int(params, shape + rows.PADDING_Y), get_int(params, shape + rows.PADDING_X)
    sums, starts = spare_ints, spare_ints + SUMS_SIZE
    listed, base = starts + pixels + 1, 0
    window, groups = listed + channels * pixels, get_int(params, shape + rows.GROUPS)
    nothing = groups * ((outputs + OUTPUTS_A_ROW - 1) // OUTPUTS_A_ROW) * taps * channels
    for group in range(get_int(params, shape + rows.GROUPS)):
        list_spikes(bits, place, group * channels * pixels, channels, pixels, width, spare, ints, starts, listed)
        for first in range(0, outputs, OUTPUTS_A_ROW):
            target = out + (group * outputs + first) * windows
            valid, oy, ox = min_of(OUTPUTS_A_ROW, outputs - first), 0, 0
            for start in range(0, windows, TURNED):
                count = min_of(TURNED, windows - start)
                for i in range(count):
                    y, x, where = oy * stride_y - pad_y, ox * stride_x - pad_x, sums + i * OUTPUTS_A_ROW
                    found = _list_rows(params, shape, base, nothing, ints, starts, listed, y, x, window)
                    if ternary:
                        _sum_ternary(weights, ints, window, found, where)
                    else:
                        _sum_bytes(weights, ints, window, found, where)
                    ox += 1
                    if ox == out_width:
                        oy, ox = oy + 1, 0
                put_windows(ints, sums, count, valid, target + start, windows, shift, 0)
            base += taps * channels


@kernel
def list_windows(row, params, words, small, ints, int_stride, bits, bit_stride, samples):  # type: ignore[no-untyped-def]
    """Convolve the images of some samples, except those of which counting takes less."""
    shape, weights, ternary, out = at(row, rows.P0), at(row, rows.P1), at(row, rows.P2), at(row, rows.OUT)
    spare_ints, spare, costs, place = at(row, rows.P3), at(row, rows.P4), at(row, rows.P5), at(row, rows.SOURCE_BITS)
    weights = words + 8 * weights if ternary else small + weights
    together = 1 if costs < 0 else get_int(params, costs + rows.SAMPLES_TOGETHER)
    for first in range(0, samples, together):
        count = min_of(together, samples - first)
        if costs < 0 or not counting_pays(params, costs, bits + 8 * bit_stride * first, bit_stride, place, count):
            for b in range(first, first + count):
                own_ints, own_bits = ints + 4 * int_stride * b, bits + 8 * bit_stride * b
                _events(params, shape, weights, ternary, own_ints, spare_ints, own_bits, place, spare, out)
