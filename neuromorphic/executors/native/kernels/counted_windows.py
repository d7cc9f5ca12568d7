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
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.pixel_lists import counting_pays, load_bits
from neuromorphic.executors.native.kernels.vectors import (
    count_ones,
    get_half,
    get_int,
    get_long,
    get_word,
    load_ints,
    load_words,
    lowest_one,
    max_of,
    min_of,
    put_int,
    put_word,
    splat_words,
    store_ints,
    store_words,
)
from neuromorphic.executors.native.kernels.window_instructions import (
    add_counts,
    count_few,
    count_many,
    extract_bits,
    moved_words,
    no_counts,
    put_bytes,
    put_counts,
    put_fours,
    put_pairs,
    turn_planes,
    turned_over,
)
from neuromorphic.executors.native.processor import HAS_BMI2, LANES
from neuromorphic.executors.native.sizes import BLOCKS_HELD, COUNTERS, HELD_PLANES, WINDOWS_AT_ONCE

at = get_long  # at(row, column)
_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def _stage(bits, place, first, channels, pixels, stage, stride):  # type: ignore[no-untyped-def]
    """Copy an image so that every channel begins with a word, ``stride`` words after the one before."""
    for c in range(channels):
        for w in range((pixels + 63) >> 6):
            count = min_of(64, pixels - 64 * w)
            put_word(stage, c * stride + w, load_bits(bits, place, first + c * pixels + 64 * w, count))


@kernel
def _chosen_bits(word, mask):  # type: ignore[no-untyped-def]
    """Return the bits of a word where a mask has ones, close together from the lowest on."""
    found, n = np.uint64(0), np.uint64(0)
    while mask != np.uint64(0):
        found |= ((word >> np.uint64(lowest_one(mask))) & _ONE) << n
        n += _ONE
        mask &= mask - _ONE
    return found


if HAS_BMI2:
    _chosen_bits = extract_bits


@kernel
def _part(bits, place, first, channels, pixels, masks, stage, stride):  # type: ignore[no-untyped-def]
    """Copy those pixels of an image that masks choose, close together, so that every channel begins with a word."""
    for c in range(channels):
        word, filled, target = np.uint64(0), 0, stage + 8 * c * stride
        for w in range((pixels + 63) >> 6):
            chosen = get_word(masks, w)
            found = load_bits(bits, place, first + c * pixels + 64 * w, min_of(64, pixels - 64 * w))
            found, count = _chosen_bits(found, chosen), count_ones(chosen)
            word |= found << np.uint64(filled)
            filled += count
            if filled >= 64:
                put_word(target, 0, word)
                filled, target = filled - 64, target + 8
                word = found >> np.uint64(count - filled) if filled else np.uint64(0)
        if filled:
            put_word(target, 0, word)


@kernel
def _move(moves, channels, taps, stage, stride, masks, start, table):  # type: ignore[no-untyped-def]
    """Write the rows of one register of windows: the image, moved, without what is no neighbour."""
    target = 0
    for tap in range(taps):
        by, mask = get_int(moves, tap), load_words(masks, tap * stride + start)
        for c in range(channels):
            store_words(table, target, moved_words(stage, c * stride + start + (by >> 6), by & 63) & mask)
            target += LANES


@kernel
def _pick(params, shape, bits, place, first, start, count, table, lane):  # type: ignore[no-untyped-def]
    """Write ``count`` words of the rows of one sample's windows, from one lane on, bit by bit."""
    channels, height = get_int(params, shape + rows.CHANNELS), get_int(params, shape + rows.HEIGHT)
    width, out_width = get_int(params, shape + rows.WIDTH), get_int(params, shape + rows.OUT_WIDTH)
    windows = out_width * get_int(params, shape + rows.OUT_HEIGHT)
    stride_y, stride_x = get_int(params, shape + rows.STRIDE_Y), get_int(params, shape + rows.STRIDE_X)
    target = lane
    for k in range(get_int(params, shape + rows.KERNEL_Y)):
        y0 = k * get_int(params, shape + rows.DILATION_Y) - get_int(params, shape + rows.PADDING_Y)
        for m in range(get_int(params, shape + rows.KERNEL_X)):
            x0 = m * get_int(params, shape + rows.DILATION_X) - get_int(params, shape + rows.PADDING_X)
            for c in range(channels):
                image = first + c * height * width
                oy, ox = 64 * start // out_width, 64 * start % out_width
                for w in range(count):
                    word = np.uint64(0)
                    for i in range(min_of(64, windows - 64 * (start + w))):
                        y, x = y0 + oy * stride_y, x0 + ox * stride_x
                        if y >= 0 and y < height and x >= 0 and x < width:
                            word |= load_bits(bits, place, image + y * width + x, 1) << np.uint64(i)
                        ox += 1
                        if ox == out_width:
                            oy, ox = oy + 1, 0
                    put_word(table, target + w, word)
                target += LANES


@kernel
def _count(lists, i, table, counters, digits, shift, num_planes):  # type: ignore[no-untyped-def]
    """Count one output's rows, listed from number ``i`` on, from plane ``shift`` on; return where the next one's begin.

    All planes stay in registers where there are few; otherwise those of each digit do, and are then added to the rest.
    """
    few = digits == 1 and num_planes - shift <= HELD_PLANES
    for p in range(shift if few else num_planes):
        store_words(counters, p * LANES, splat_words(0))
    held = no_counts()
    for sign in range(2):
        for d in range(shift, shift + digits):
            left = get_half(lists, i)
            i += 1
            while left > 0:
                stop = 0 if few else max_of(left - BLOCKS_HELD, 0)
                while left > stop:
                    if left >= stop + 4:
                        held = count_many(table, lists + 2 * i, held)
                        left, i = left - 4, i + 32
                    else:
                        held = count_few(table, lists + 2 * i, held)
                        left, i = left - 1, i + 8
                if not few:
                    carry = add_counts(counters, d, held)
                    held = no_counts()
                    for p in range(d + HELD_PLANES, num_planes):
                        high = load_words(counters, p * LANES)
                        store_words(counters, p * LANES, high ^ carry)
                        carry = high & carry
        if sign == 0:
            if few:
                held = turned_over(held)
            for p in range(shift, shift if few else num_planes):
                store_words(counters, p * LANES, load_words(counters, p * LANES) ^ splat_words(_ALL))
    if few:
        put_counts(counters, shift, held)
    return i


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
def count_windows(row, params, small, ints, int_stride, bits, bit_stride, samples):  # type: ignore[no-untyped-def]
    """Convolve the images of some samples, as many at once as fill a register."""
    shape, place, out, spare = at(row, rows.P0), at(row, rows.SOURCE_BITS), at(row, rows.OUT), at(row, rows.P3)
    lists, masks = small + at(row, rows.P1), params + 4 * at(row, rows.P2)
    words, margin, costs = get_int(params, shape + rows.WORDS), get_int(params, shape + rows.MARGIN), at(row, rows.P4)
    pitch, columns = get_int(params, shape + rows.PITCH), get_int(params, shape + rows.COLUMNS_OF_PITCH)
    num_planes, digits = get_int(params, shape + rows.PLANES), get_int(params, shape + rows.PLACES)
    channels, outputs = get_int(params, shape + rows.CHANNELS), get_int(params, shape + rows.OUTPUTS)
    pixels = get_int(params, shape + rows.HEIGHT) * get_int(params, shape + rows.WIDTH)
    taps = get_int(params, shape + rows.KERNEL_Y) * get_int(params, shape + rows.KERNEL_X)
    part_masks, moves, parts = params + 4 * at(row, rows.P5), params + 4 * at(row, rows.P6), at(row, rows.P7)
    num_rows, image_words = channels * taps, (pixels + 63) >> 6
    shift, size = get_int(params, shape + rows.SHIFT), get_int(params, shape + rows.OUT_HEIGHT) * get_int(params, shape + rows.OUT_WIDTH)
    size_of_steps = get_int(params, shape + rows.STRIDE_Y) * get_int(params, shape + rows.STRIDE_X)
    together, stride = max_of(LANES // words, 1), (words + LANES - 1) // LANES * LANES
    left = (bits + 8 * spare + 63) & ~63  # lines of the cache
    turned = left + 4 * LANES * WINDOWS_AT_ONCE
    counters = turned + 4 * LANES * WINDOWS_AT_ONCE
    table = counters + 8 * COUNTERS * LANES
    stage = table + 8 * ((num_rows + 2) * LANES + margin)
    num_bytes = 1 if num_planes <= 8 else 2 if num_planes <= 16 else 4
    span = size if pitch == columns else (get_int(params, shape + rows.OUT_HEIGHT) - 1) * pitch + columns
    store_words(table, num_rows * LANES, splat_words(0))
    store_words(table, (num_rows + 1) * LANES, splat_words(_ALL))
    for first in range(0, samples, together):
        count, i, groups = min_of(together, samples - first), 0, get_int(params, shape + rows.GROUPS)
        if costs >= 0 and not counting_pays(params, costs, bits + 8 * bit_stride * first, bit_stride, place, count):
            groups = 0
        for group in range(groups):
            begin, image = i, group * channels * pixels
            for b in range(count if parts else 0):
                sample, target = bits + 8 * bit_stride * (first + b), stage + 8 * b * words
                if parts == 1 and size_of_steps == 1:
                    _stage(sample, place, image, channels, pixels, target, stride)
                else:
                    for part in range(parts):
                        chosen = part_masks + 8 * part * image_words
                        _part(sample, place, image, channels, pixels, chosen, target, stride)
                        target += 8 * channels * stride
            for start in range(0, words, LANES):
                held = min_of(words - start, LANES)
                filled = min_of(held, (span + WINDOWS_AT_ONCE - 1) // WINDOWS_AT_ONCE - start)
                # Behind the windows of one register more may be written: the next output comes later, or room is there.
                whole = pitch == columns and (words <= LANES or WINDOWS_AT_ONCE * (start + filled) <= size)
                if parts:
                    _move(moves, channels, taps, stage, stride, masks, start, table)
                else:
                    for b in range(count):
                        sample = bits + 8 * bit_stride * (first + b)
                        _pick(params, shape, sample, place, image, start, held, table, b * words)
                i = begin
                for o in range(group * outputs, (group + 1) * outputs):
                    i = _count(lists, i, table, counters, digits, shift, num_planes)
                    top = load_words(counters, (num_planes - 1) * LANES)
                    for p in range(num_planes, 8 * num_bytes):
                        store_words(counters, p * LANES, top)
                    for byte in range(num_bytes):
                        turn_planes(counters, 8 * byte, turned + byte * LANES * WINDOWS_AT_ONCE)
                    target, far = ints + 4 * (int_stride * first + out + o * size), int_stride
                    written = target + 4 * WINDOWS_AT_ONCE * start
                    if not whole:
                        written, far = left, WINDOWS_AT_ONCE * words
                    if num_bytes == 1:
                        _write_bytes(turned, count, words, filled, written, far)
                    elif num_bytes == 2:
                        _write_pairs(turned, count, words, filled, written, far)
                    else:
                        _write_fours(turned, count, words, filled, written, far)
                    for b in range(0 if whole else count):
                        n = WINDOWS_AT_ONCE * start
                        valid = min_of(WINDOWS_AT_ONCE * filled, span - n)
                        _copy_windows(left + 4 * far * b, n, valid, pitch, columns, target + 4 * int_stride * b)
