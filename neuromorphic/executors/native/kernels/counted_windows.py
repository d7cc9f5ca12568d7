"""Convolutions of spikes that count: a bit of a register for each window, full adders, and nothing multiplied.

What one place of the kernel sees of the image, window by window, is a row of bits: the image itself, moved. An output
adds up the rows that have a weight of 1 and subtracts those of -1, in upright counters: plane ``p`` holds bit ``p`` of
the sums of as many windows as a register has bits. Weights of 0 cost nothing, and how many spikes there are does not
matter. A weight of 8 bits is written in digits of -1, 0 and 1, as few as there can be; those of ``2**d`` count from
plane ``d`` on.

The rows to subtract come first: turning over all bits of a counter ``n`` makes it ``-n - 1``, and one row more, of
ones, makes that ``-n``.

References
----------
Harley and Seal's carry-save tree, as in Muła, Kurz and Lemire 2018, arXiv:1611.07612; digits: Reitwiesner 1960; rows of
windows in upright counters: own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.alignment import LINE_BYTES
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.moved_windows import move_rows, stage_parts
from neuromorphic.executors.native.kernels.pixel_lists import counting_pays
from neuromorphic.executors.native.kernels.vectors import (
    get_half,
    get_int,
    get_long,
    load_ints,
    load_words,
    max_of,
    min_of,
    put_int,
    splat_words,
    store_ints,
    store_words,
)
from neuromorphic.executors.native.kernels.window_instructions import (
    count_few,
    count_many,
    halved,
    no_counts,
    put_bytes,
    put_counts,
    put_fours,
    put_lowest,
    put_pairs,
    turn_planes,
    turned_over,
)
from neuromorphic.executors.native.processor import LANES
from neuromorphic.executors.native.sizes import COUNTERS, WINDOWS_AT_ONCE

at = get_long  # at(row, column)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def _count(lists, i, table, counters, digits, shift, num_planes):  # type: ignore[no-untyped-def]
    """Count one output's rows, listed from number ``i`` on, from plane ``shift`` on; return where the next one's begin.

    Planes stay in registers. Of weights of many digits, the lowest one is done with each digit, and goes to memory.
    """
    held = no_counts()
    for sign in range(2):
        planes = counters + 8 * COUNTERS * LANES * (1 - sign)  # what is subtracted stands behind what is added
        for d in range(digits):
            left = get_half(lists, i)
            i += 1
            while left >= 4:
                held = count_many(table, lists + 2 * i, held)
                left, i = left - 4, i + 32
            while left > 0:
                held = count_few(table, lists + 2 * i, held)
                left, i = left - 1, i + 8
            if d + 1 < digits:
                put_lowest(planes, d + shift, held)
                held = halved(held)
        if digits > 1:
            put_counts(planes, shift + digits - 1, held)
            held = no_counts()
        elif sign == 0:
            held = turned_over(held)
    if digits > 1:
        _subtract(counters, counters + 8 * COUNTERS * LANES, shift, num_planes)
    else:
        put_counts(counters, shift, held)
    for p in range(shift):
        store_words(counters, p * LANES, splat_words(0))
    return i


@kernel
def _subtract(counters, less, first, num_planes):  # type: ignore[no-untyped-def]
    """Subtract counters and one from others."""
    carry = splat_words(0)
    for p in range(first, num_planes):
        a, b = load_words(counters, p * LANES), load_words(less, p * LANES) ^ splat_words(_ALL)
        store_words(counters, p * LANES, a ^ b ^ carry)
        carry = (a & b) | (carry & (a | b))


def _make_write(put: Any) -> Any:
    @kernel
    def write(turned, samples, words, count, out, stride):  # type: ignore[no-untyped-def]
        """Write the sums of ``count`` words of windows of each sample that shares the register."""
        for b in range(samples):
            for w in range(count):
                put(turned, b * words + w, out, b * stride + WINDOWS_AT_ONCE * w)

    return write


_write_bytes, _write_pairs, _write_fours = _make_write(put_bytes), _make_write(put_pairs), _make_write(put_fours)


@kernel
def _copy_windows(source, first, count, pitch, columns, out):  # type: ignore[no-untyped-def]
    """Copy the sums of windows from ``first`` on; of ``pitch`` windows, ``columns`` are some."""
    y, x, i = first // pitch, first % pitch, 0
    while i < count:
        run = min_of(pitch - x, count - i)
        wanted, target, j = min_of(run, columns - x), y * columns + x, 0
        while j + 8 <= wanted:
            store_ints(out, target + j, load_ints(source, i + j))
            j += 8
        while j < wanted:
            put_int(out, target + j, get_int(source, i + j))
            j += 1
        i, y, x = i + run, y + 1, 0


@kernel
def _write(counters, num_planes, num_bytes, turned, samples, words, count, out, far):  # type: ignore[no-untyped-def]
    """Turn counters into integers, and write ``count`` words of windows of each sample, ``far`` integers apart."""
    top = load_words(counters, (num_planes - 1) * LANES)
    for p in range(num_planes, 8 * num_bytes):
        store_words(counters, p * LANES, top)
    for byte in range(num_bytes):
        turn_planes(counters, 8 * byte, turned + byte * LANES * WINDOWS_AT_ONCE)
    if num_bytes == 1:
        _write_bytes(turned, samples, words, count, out, far)
    elif num_bytes == 2:
        _write_pairs(turned, samples, words, count, out, far)
    else:
        _write_fours(turned, samples, words, count, out, far)


@kernel
def count_windows(row, params, small, ints, int_stride, bits, bit_stride, samples):  # type: ignore[no-untyped-def]
    """Convolve the images of some samples, as many at once as fill a register."""
    shape, costs, place, out = at(row, rows.P0), at(row, rows.P4), at(row, rows.SOURCE_BITS), at(row, rows.OUT)
    lists, masks, parts = small + at(row, rows.P1), params + 4 * at(row, rows.P2), at(row, rows.P7)
    chosen, moves = params + 4 * at(row, rows.P5), params + 4 * at(row, rows.P6)
    words, margin, shift = (
        get_int(params, shape + rows.WORDS),
        get_int(params, shape + rows.MARGIN),
        get_int(params, shape + rows.SHIFT),
    )
    pitch, columns = get_int(params, shape + rows.PITCH), get_int(params, shape + rows.COLUMNS_OF_PITCH)
    num_planes, digits = get_int(params, shape + rows.PLANES), get_int(params, shape + rows.PLACES)
    channels, outputs = get_int(params, shape + rows.CHANNELS), get_int(params, shape + rows.OUTPUTS)
    pixels = get_int(params, shape + rows.HEIGHT) * get_int(params, shape + rows.WIDTH)
    taps = get_int(params, shape + rows.KERNEL_Y) * get_int(params, shape + rows.KERNEL_X)
    out_height, size = get_int(params, shape + rows.OUT_HEIGHT), get_int(params, shape + rows.OUT_WIDTH)
    span = columns if pitch == columns else (out_height - 1) * pitch + columns
    num_bytes, size, num_rows = (
        1 if num_planes <= 8 else 2 if num_planes <= 16 else 4,
        size * out_height,
        channels * taps,
    )
    together, stride = max_of(LANES // words, 1), (words + LANES - 1) // LANES * LANES
    left = (bits + 8 * at(row, rows.P3) + LINE_BYTES - 1) & -LINE_BYTES
    turned = left + 4 * LANES * WINDOWS_AT_ONCE
    counters = turned + 4 * LANES * WINDOWS_AT_ONCE
    table = counters + 16 * COUNTERS * LANES
    stage = table + 8 * ((num_rows + 2) * LANES + margin)
    store_words(table, num_rows * LANES, splat_words(0))
    store_words(table, (num_rows + 1) * LANES, splat_words(_ALL))
    for first in range(0, samples, together):
        count, i, groups = min_of(together, samples - first), 0, get_int(params, shape + rows.GROUPS)
        own_ints, own_bits = ints + 4 * int_stride * first, bits + 8 * bit_stride * first
        if costs >= 0 and not counting_pays(params, costs, own_bits, bit_stride, place, count):
            groups = 0
        for group in range(groups):
            begin, image = i, group * channels * pixels
            for b in range(count):
                sample, target = own_bits + 8 * bit_stride * b, stage + 8 * b * words
                stage_parts(params, shape, sample, place, image, channels, chosen, parts, target, stride)
            for start in range(0, words, LANES):
                held, n, i = min_of(words - start, LANES), WINDOWS_AT_ONCE * start, begin
                move_rows(moves, channels, taps, stage, stride, masks, start, table)
                filled = min_of(held, (span - n + WINDOWS_AT_ONCE - 1) // WINDOWS_AT_ONCE)
                valid = min_of(WINDOWS_AT_ONCE * filled, span - n)
                # Behind the windows of one register more may be written: the next output comes later, or room is there.
                whole = pitch == columns and (words <= LANES or valid == WINDOWS_AT_ONCE * filled)
                for o in range(group * outputs, (group + 1) * outputs):
                    i = _count(lists, i, table, counters, digits, shift, num_planes)
                    target = own_ints + 4 * (out + o * size)
                    written, far = (target + 4 * n, int_stride) if whole else (left, WINDOWS_AT_ONCE * words)
                    _write(counters, num_planes, num_bytes, turned, count, words, filled, written, far)
                    for b in range(0 if whole else count):
                        _copy_windows(left + 4 * far * b, n, valid, pitch, columns, target + 4 * int_stride * b)
