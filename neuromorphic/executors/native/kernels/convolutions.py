"""Convolutions with 64 output channels at a time: of spikes, by their list; of anything else, or of many, pair by pair.

A row is what the weights of one input of a window are to 64 outputs: 16 bytes of ternary fields, or 64 bytes. For each
window the rows of the spikes in it are added up in registers; nothing is multiplied, and silent inputs cost nothing.
Spikes are listed once for an image: pixel by pixel, so that those in a row of a window stand one after another, and
their numbers, less where the window begins, are those of the rows.

Values are split into digits of 16 bits; pairs of them are multiplied with pairs of the same rows, for four windows at
once. Everything is exact modulo 2**32, and the results are proven to fit.

Both walks over one packing are own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.image_instructions import (
    add_byte_pair,
    add_row,
    add_short_row,
    add_ternary_pair,
    byte_row,
    no_row,
    no_short_row,
    no_sums_of_pixels,
    put_row,
    put_short_row,
    put_sums_of_pixels,
    put_turned,
    ternary_row,
)
from neuromorphic.executors.native.kernels.pixel_lists import list_spikes, load_bits
from neuromorphic.executors.native.kernels.vectors import (
    count_ones,
    get_int,
    get_long,
    get_word,
    load_ints,
    max_of,
    min_of,
    put_half,
    put_int,
    put_long,
    splat_ints,
    store_ints,
)
from neuromorphic.executors.native.sizes import OUTPUTS_A_ROW, PIXELS_AT_ONCE, SUMS_SIZE, TURNED

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
def _put_windows(ints, sums, count, channels, target, stride, shift, more):  # type: ignore[no-untyped-def]
    """Write sums ``[count, 64]`` of some windows to ``[channels, windows]``, shifted to the left; with ``more`` add."""
    whole, in_eights = count & ~7 if more == 0 else 0, channels & ~7
    for c in range(0, in_eights, 8):
        for i in range(0, whole, 8):
            put_turned(ints, sums + i * OUTPUTS_A_ROW + c, OUTPUTS_A_ROW, target + c * stride + i, stride, shift)
    for c in range(channels):
        for i in range(whole if c < in_eights else 0, count):
            where = target + c * stride + i
            value = get_int(ints, sums + i * OUTPUTS_A_ROW + c) << shift << more
            put_int(ints, where, value + get_int(ints, where) if more else value)


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
                _put_windows(ints, sums, count, valid, target + start, windows, shift, 0)
            base += taps * channels


@kernel
def _split_image(ints, source, bits, place, first, channels, stride, pixels, digit, target):  # type: ignore[no-untyped-def]
    """Write one digit of 16 bits of every value of an image, ``[pixels, stride]``; return whether there is another.

    The image lies in ``ints``, or, where ``source`` is -1, in ``bits``. A pixel of zeros stands before the first.
    """
    low, high = 0, 0
    for i in range(stride):
        put_half(target, i, 0)
    for c in range(channels):
        for p in range(pixels):
            if source >= 0:
                x = get_int(ints, source + first + c * pixels + p)
            else:
                x = np.int64(load_bits(bits, place, first + c * pixels + p, 1))
            low, high = min_of(low, x), max_of(high, x)
            put_half(target, (p + 1) * stride + c, (x + (1 << 15)) >> 16 if digit else x)
    for p in range(pixels if stride > channels else 0):
        put_half(target, (p + 1) * stride + channels, 0)
    return low < -(1 << 15) or high >= 1 << 15


@kernel
def _list_places(params, shape, address, stride, window, target):  # type: ignore[no-untyped-def]
    """Write the address of every place of a window; of one outside the image, that of the zeros before it."""
    height, width = get_int(params, shape + rows.HEIGHT), get_int(params, shape + rows.WIDTH)
    out_width, columns = get_int(params, shape + rows.OUT_WIDTH), get_int(params, shape + rows.KERNEL_X)
    oy, ox, n = window // out_width, window % out_width, 0
    for k in range(get_int(params, shape + rows.KERNEL_Y)):
        y = oy * get_int(params, shape + rows.STRIDE_Y) - get_int(params, shape + rows.PADDING_Y)
        y += k * get_int(params, shape + rows.DILATION_Y)
        for m in range(columns):
            x = ox * get_int(params, shape + rows.STRIDE_X) - get_int(params, shape + rows.PADDING_X)
            x += m * get_int(params, shape + rows.DILATION_X)
            inside = y >= 0 and y < height and x >= 0 and x < width
            place = y * width + x + 1 if inside else 0
            put_long(target, PIXELS_AT_ONCE * n, address + 2 * stride * place)
            n += 1


def _make_multiply(add_pair: Any) -> Any:
    @kernel
    def multiply(weights, base, channels, taps, places, ints, target):  # type: ignore[no-untyped-def]
        """Multiply the places of four windows with all rows."""
        held = no_sums_of_pixels()
        for tap in range(taps):
            row, pixels = base + tap * channels, places + 8 * PIXELS_AT_ONCE * tap
            for pair in range((channels + 1) >> 1):
                held = add_pair(weights, row + 2 * pair, pixels, pair, held)
        put_sums_of_pixels(ints, target, held)

    return multiply


_multiply_ternary, _multiply_bytes = _make_multiply(add_ternary_pair), _make_multiply(add_byte_pair)


@kernel
def _values(params, shape, weights, ternary, ints, spare_ints, source, bits, place, spare, out):  # type: ignore[no-untyped-def]
    """Convolve an image of values, or of spikes where ``source`` is -1, digit by digit."""
    channels, outputs = get_int(params, shape + rows.CHANNELS), get_int(params, shape + rows.OUTPUTS)
    pixels = get_int(params, shape + rows.HEIGHT) * get_int(params, shape + rows.WIDTH)
    windows = get_int(params, shape + rows.OUT_HEIGHT) * get_int(params, shape + rows.OUT_WIDTH)
    taps = get_int(params, shape + rows.KERNEL_Y) * get_int(params, shape + rows.KERNEL_X)
    stride, shift, sums, base = (channels + 1) & ~1, get_int(params, shape + rows.SHIFT), spare_ints, 0
    places = bits + 8 * spare
    address = places + 8 * PIXELS_AT_ONCE * taps
    for group in range(get_int(params, shape + rows.GROUPS)):
        more = True
        for digit in range(2):
            if more:
                first = group * channels * pixels
                more = _split_image(ints, source, bits, place, first, channels, stride, pixels, digit, address)
                row = base
                for chunk in range(0, outputs, OUTPUTS_A_ROW):
                    valid = min_of(OUTPUTS_A_ROW, outputs - chunk)
                    target = out + (group * outputs + chunk) * windows
                    for start in range(0, windows, TURNED):
                        for i in range(0, TURNED, PIXELS_AT_ONCE):
                            for j in range(PIXELS_AT_ONCE):
                                _list_places(params, shape, address, stride, start + i + j, places + 8 * j)
                            where = sums + i * OUTPUTS_A_ROW
                            if ternary:
                                _multiply_ternary(weights, row, channels, taps, places, ints, where)
                            else:
                                _multiply_bytes(weights, row, channels, taps, places, ints, where)
                        count = min_of(TURNED, windows - start)
                        _put_windows(ints, sums, count, valid, target + start, windows, shift, 16 * digit)
                    row += taps * channels
        base += (outputs + OUTPUTS_A_ROW - 1) // OUTPUTS_A_ROW * taps * channels


@kernel
def convolve(row, params, words, small, ints, bits):  # type: ignore[no-untyped-def]
    """Convolve by the list of spikes, or pair by pair where the source is no spikes or too many of them."""
    shape, weights, ternary, out = at(row, rows.P0), at(row, rows.P1), at(row, rows.P2), at(row, rows.OUT)
    spare_ints, spare, most = at(row, rows.P3), at(row, rows.P4), at(row, rows.P5)
    source, place = at(row, rows.SOURCE), at(row, rows.SOURCE_BITS)
    weights = words + 8 * weights if ternary else small + weights
    if place >= 0:
        source, spikes = -1, 0
        for w in range(at(row, rows.P6)):
            spikes += count_ones(get_word(bits, place + w))
        if spikes <= most:
            _events(params, shape, weights, ternary, ints, spare_ints, bits, place, spare, out)
            return
    _values(params, shape, weights, ternary, ints, spare_ints, source, bits, place, spare, out)
