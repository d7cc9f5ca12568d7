"""Windows of an image row by row: sums, weighed sums of few outputs a group, the largest, and whether any fired."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.pixel_lists import load_bits
from neuromorphic.executors.native.kernels.vectors import (
    get_int,
    get_long,
    get_signed_byte,
    larger,
    load_ints,
    max_of,
    min_of,
    put_int,
    put_word,
    shift_left,
    splat_ints,
    store_ints,
)
from neuromorphic.executors.native.sizes import LARGEST, WEIGHED

at = get_long  # at(row, column)
_LOWEST = -(1 << 31)
_ONE = np.uint64(1)


@kernel
def _weight(kind, small, weights, i):  # type: ignore[no-untyped-def]
    return get_signed_byte(small, weights + i) if kind == WEIGHED else 1


@kernel
def _one_window(kind, params, shape, small, weights, ints, image, y, x):  # type: ignore[no-untyped-def]
    """Return what one window gives whose first place is ``(y, x)``; places outside the image count nothing."""
    height, width = get_int(params, shape + rows.HEIGHT), get_int(params, shape + rows.WIDTH)
    kernel_y, kernel_x = get_int(params, shape + rows.KERNEL_Y), get_int(params, shape + rows.KERNEL_X)
    step_y, step_x = get_int(params, shape + rows.DILATION_Y), get_int(params, shape + rows.DILATION_X)
    found, tap = _LOWEST if kind == LARGEST else 0, weights
    for _ in range(get_int(params, shape + rows.CHANNELS)):
        for k in range(kernel_y):
            row = y + k * step_y
            for m in range(kernel_x if row >= 0 and row < height else 0):
                column = x + m * step_x
                if column >= 0 and column < width:
                    value = get_int(ints, image + row * width + column)
                    found = max_of(found, value) if kind == LARGEST else found + _weight(kind, small, tap, m) * value
            tap += kernel_x
        image += height * width
    return found


@kernel
def _eight_windows(kind, params, shape, small, weights, ints, image, y, x):  # type: ignore[no-untyped-def]
    """Return what eight neighbours give, all of whose columns lie in the image."""
    height, width = get_int(params, shape + rows.HEIGHT), get_int(params, shape + rows.WIDTH)
    kernel_y, kernel_x = get_int(params, shape + rows.KERNEL_Y), get_int(params, shape + rows.KERNEL_X)
    step_y, step_x = get_int(params, shape + rows.DILATION_Y), get_int(params, shape + rows.DILATION_X)
    found, tap = splat_ints(_LOWEST if kind == LARGEST else 0), weights
    for _ in range(get_int(params, shape + rows.CHANNELS)):
        for k in range(kernel_y):
            row = y + k * step_y
            if row >= 0 and row < height:
                place = image + row * width + x
                for m in range(kernel_x):
                    values = load_ints(ints, place + m * step_x)
                    if kind == LARGEST:
                        found = larger(found, values)
                    else:
                        found = found + splat_ints(_weight(kind, small, tap, m)) * values
            tap += kernel_x
        image += height * width
    return found


@kernel
def slide_windows(row, params, small, ints):  # type: ignore[no-untyped-def]
    """Pool, or convolve with 8-bit weights: eight neighbours at once where they lie side by side within the image."""
    shape, kind, weights, out = at(row, rows.P0), at(row, rows.P1), at(row, rows.P2), at(row, rows.OUT)
    channels, outputs = get_int(params, shape + rows.CHANNELS), get_int(params, shape + rows.OUTPUTS)
    pixels, width = get_int(params, shape + rows.HEIGHT), get_int(params, shape + rows.WIDTH)
    out_height, out_width = get_int(params, shape + rows.OUT_HEIGHT), get_int(params, shape + rows.OUT_WIDTH)
    kernel_x, stride_x = get_int(params, shape + rows.KERNEL_X), get_int(params, shape + rows.STRIDE_X)
    pad_x, shift = get_int(params, shape + rows.PADDING_X), get_int(params, shape + rows.SHIFT)
    taps, pixels = get_int(params, shape + rows.KERNEL_Y) * kernel_x, pixels * width
    first, last = min_of(pad_x, out_width), width + pad_x - (kernel_x - 1) * get_int(params, shape + rows.DILATION_X)
    last = first if stride_x > 1 or last - first < 8 else min_of(last, out_width)  # those between lie within
    for o in range(outputs * get_int(params, shape + rows.GROUPS)):
        image, tap = at(row, rows.SOURCE) + o // outputs * channels * pixels, weights + o * channels * taps
        for oy in range(out_height):
            y = oy * get_int(params, shape + rows.STRIDE_Y) - get_int(params, shape + rows.PADDING_Y)
            ox = 0
            while ox < out_width:
                if ox >= first and ox < last:
                    ox = min_of(ox, last - 8)  # the last eight overlap
                    eight = _eight_windows(kind, params, shape, small, tap, ints, image, y, ox - pad_x)
                    store_ints(ints, out + ox, shift_left(eight, shift))
                    ox += 8
                else:
                    one = _one_window(kind, params, shape, small, tap, ints, image, y, ox * stride_x - pad_x)
                    put_int(ints, out + ox, one << shift)
                    ox += 1
            out += out_width


@kernel
def _any_fired(bits, place, first, count):  # type: ignore[no-untyped-def]
    """Whether any of ``count`` bits is set."""
    found = np.uint64(0)
    for i in range(0, count, 64):
        found |= load_bits(bits, place, first + i, min_of(64, count - i))
    return found != np.uint64(0)


@kernel
def pool_spikes(row, params, bits):  # type: ignore[no-untyped-def]
    """Write a spike for each window that holds one."""
    shape, place, target = at(row, rows.P0), at(row, rows.SOURCE_BITS), at(row, rows.BITS)
    height, width = get_int(params, shape + rows.HEIGHT), get_int(params, shape + rows.WIDTH)
    out_height, out_width = get_int(params, shape + rows.OUT_HEIGHT), get_int(params, shape + rows.OUT_WIDTH)
    kernel_y, kernel_x = get_int(params, shape + rows.KERNEL_Y), get_int(params, shape + rows.KERNEL_X)
    stride_y, stride_x = get_int(params, shape + rows.STRIDE_Y), get_int(params, shape + rows.STRIDE_X)
    pad_y, pad_x = get_int(params, shape + rows.PADDING_Y), get_int(params, shape + rows.PADDING_X)
    word, n = np.uint64(0), 0
    for c in range(get_int(params, shape + rows.GROUPS)):
        for oy in range(out_height):
            y = oy * stride_y - pad_y
            top, bottom = max_of(y, 0), min_of(y + kernel_y, height)
            for ox in range(out_width):
                x = ox * stride_x - pad_x
                first = max_of(x, 0)
                count = min_of(x + kernel_x, width) - first
                for k in range(top, bottom):
                    if _any_fired(bits, place, (c * height + k) * width + first, count):
                        word |= _ONE << np.uint64(n & 63)
                        break
                n += 1
                if n & 63 == 0:
                    put_word(bits, target + (n >> 6) - 1, word)
                    word = np.uint64(0)
    if n & 63:
        put_word(bits, target + (n >> 6), word)
