"""Convolutions of values with 64 output channels at a time: digits of 16 bits, multiplied pair by pair.

Pairs of digits are multiplied with pairs of the rows of :mod:`.listed_windows`, for four windows at once. Everything is
exact modulo 2**32, and the results are proven to fit.
"""

from __future__ import annotations

from typing import Any

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.image_instructions import (
    add_byte_pair,
    add_ternary_pair,
    no_sums_of_pixels,
    put_sums_of_pixels,
)
from neuromorphic.executors.native.kernels.turned_sums import put_windows
from neuromorphic.executors.native.kernels.vectors import (
    get_int,
    get_long,
    max_of,
    min_of,
    put_half,
    put_long,
)
from neuromorphic.executors.native.sizes import OUTPUTS_A_ROW, PIXELS_AT_ONCE, TURNED

at = get_long  # at(row, column)


@kernel
def _split_image(ints, source, channels, stride, pixels, digit, target):  # type: ignore[no-untyped-def]
    """Write one digit of 16 bits of every value of an image, ``[pixels, stride]``; return whether there is another.

    A pixel of zeros stands before the first.
    """
    low, high = 0, 0
    for i in range(stride):
        put_half(target, i, 0)
    for c in range(channels):
        for p in range(pixels):
            x = get_int(ints, source + c * pixels + p)
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
def convolve(row, params, words, small, ints, bits):  # type: ignore[no-untyped-def]
    """Convolve an image of values digit by digit."""
    shape, weights, ternary, out = at(row, rows.P0), at(row, rows.P1), at(row, rows.P2), at(row, rows.OUT)
    spare_ints, spare, source = at(row, rows.P3), at(row, rows.P4), at(row, rows.SOURCE)
    weights = words + 8 * weights if ternary else small + weights
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
                image = source + group * channels * pixels
                more = _split_image(ints, image, channels, stride, pixels, digit, address)
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
                        put_windows(ints, sums, count, valid, target + start, windows, shift, 16 * digit)
                    row += taps * channels
        base += (outputs + OUTPUTS_A_ROW - 1) // OUTPUTS_A_ROW * taps * channels
