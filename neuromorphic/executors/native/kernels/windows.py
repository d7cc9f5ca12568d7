"""Windows of an image row by row: sums, weighed sums of few outputs a group, the largest, and whether any fired."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.convolutions import load_bits
from neuromorphic.executors.native.kernels.vectors import get_int, get_long, get_signed_byte, put_int, put_word

at = get_long  # at(row, column)
SUM, LARGEST, WEIGHED = range(3)
_LOWEST = -(1 << 31)
_ONE = np.uint64(1)


@kernel
def _first_window(place, stride):  # type: ignore[no-untyped-def]
    """Return the first window whose place, ``stride`` times its number less ``place``, is not outside."""
    return (place + stride - 1) // stride if place > 0 else 0


@kernel
def _slide(kind, weight, ints, source, target, count, stride):  # type: ignore[no-untyped-def]
    """Take one place of each window of a row into what the windows hold so far."""
    if kind == LARGEST:
        for i in range(count):
            put_int(ints, target + i, max(get_int(ints, target + i), get_int(ints, source + i * stride)))
    elif stride == 1:
        for i in range(count):
            put_int(ints, target + i, get_int(ints, target + i) + weight * get_int(ints, source + i))
    else:
        for i in range(count):
            put_int(ints, target + i, get_int(ints, target + i) + weight * get_int(ints, source + i * stride))


@kernel
def slide_windows(row, params, small, ints):  # type: ignore[no-untyped-def]
    """Pool, or convolve with 8-bit weights: each place of the windows goes along a row of them at once."""
    shape, kind, weights = at(row, rows.P1), at(row, rows.P2), at(row, rows.P3)
    channels, outputs = get_int(params, shape + rows.CHANNELS), get_int(params, shape + rows.OUTPUTS)
    height, width = get_int(params, shape + rows.HEIGHT), get_int(params, shape + rows.WIDTH)
    out_height, out_width = get_int(params, shape + rows.OUT_HEIGHT), get_int(params, shape + rows.OUT_WIDTH)
    kernel_y, kernel_x = get_int(params, shape + rows.KERNEL_Y), get_int(params, shape + rows.KERNEL_X)
    stride_y, stride_x = get_int(params, shape + rows.STRIDE_Y), get_int(params, shape + rows.STRIDE_X)
    pad_y, pad_x = get_int(params, shape + rows.PADDING_Y), get_int(params, shape + rows.PADDING_X)
    step_y, step_x = get_int(params, shape + rows.DILATION_Y), get_int(params, shape + rows.DILATION_X)
    shift, taps = get_int(params, shape + rows.SHIFT), kernel_y * kernel_x
    for o in range(outputs * get_int(params, shape + rows.GROUPS)):
        image = at(row, rows.SOURCE) + o // outputs * channels * height * width
        for oy in range(out_height):
            target = at(row, rows.OUT) + (o * out_height + oy) * out_width
            for i in range(out_width):
                put_int(ints, target + i, _LOWEST if kind == LARGEST else 0)
            for c in range(channels):
                for k in range(kernel_y):
                    y = oy * stride_y - pad_y + k * step_y
                    if y < 0 or y >= height:
                        continue
                    for m in range(kernel_x):
                        weight = 1
                        if kind == WEIGHED:
                            weight = get_signed_byte(small, weights + (o * channels + c) * taps + k * kernel_x + m)
                        moved = m * step_x - pad_x
                        first = _first_window(-moved, stride_x)
                        last = min(_first_window(width - moved, stride_x), out_width)
                        if weight != 0 and first < last:
                            place = image + (c * height + y) * width + first * stride_x + moved
                            _slide(kind, weight, ints, place, target + first, last - first, stride_x)
            if shift:
                for i in range(out_width):
                    put_int(ints, target + i, get_int(ints, target + i) << shift)


@kernel
def _any_fired(bits, place, first, count):  # type: ignore[no-untyped-def]
    """Whether any of ``count`` bits is set."""
    found = np.uint64(0)
    for i in range(0, count, 64):
        found |= load_bits(bits, place, first + i, min(64, count - i))
    return found != np.uint64(0)


@kernel
def pool_spikes(row, params, bits):  # type: ignore[no-untyped-def]
    """Write a spike for each window that holds one."""
    shape, place, target = at(row, rows.P1), at(row, rows.SOURCE_BITS), at(row, rows.BITS)
    height, width = get_int(params, shape + rows.HEIGHT), get_int(params, shape + rows.WIDTH)
    out_height, out_width = get_int(params, shape + rows.OUT_HEIGHT), get_int(params, shape + rows.OUT_WIDTH)
    kernel_y, kernel_x = get_int(params, shape + rows.KERNEL_Y), get_int(params, shape + rows.KERNEL_X)
    stride_y, stride_x = get_int(params, shape + rows.STRIDE_Y), get_int(params, shape + rows.STRIDE_X)
    pad_y, pad_x = get_int(params, shape + rows.PADDING_Y), get_int(params, shape + rows.PADDING_X)
    word, n = np.uint64(0), 0
    for c in range(get_int(params, shape + rows.GROUPS)):
        for oy in range(out_height):
            y = oy * stride_y - pad_y
            top, bottom = max(y, 0), min(y + kernel_y, height)
            for ox in range(out_width):
                x = ox * stride_x - pad_x
                first = max(x, 0)
                count = min(x + kernel_x, width) - first
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
