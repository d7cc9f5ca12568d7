"""What places of a kernel see of an image of spikes: rows of bits, one bit a window, which are the image, moved.

Windows that are as far apart as pixels see, through one place of the kernel, the image moved by whole pixels. If they
are further apart, that holds of a part of the image: of every second pixel of every second row, for example.
"""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.pixel_lists import load_bits
from neuromorphic.executors.native.kernels.vectors import (
    count_ones,
    get_int,
    get_long,
    get_word,
    load_words,
    lowest_one,
    min_of,
    put_word,
    splat_words,
    store_words,
)
from neuromorphic.executors.native.kernels.window_instructions import extract_bits, moved_words
from neuromorphic.executors.native.processor import HAS_BMI2, LANES

at = get_long  # at(row, column)
_ONE = np.uint64(1)


@kernel
def stage_image(bits, place, first, channels, pixels, stage, stride):  # type: ignore[no-untyped-def]
    """Copy an image so that every channel begins with a word, ``stride`` words after the one before."""
    for c in range(channels):
        for w in range((pixels + 63) >> 6):
            count = min_of(64, pixels - 64 * w)
            put_word(stage, c * stride + w, load_bits(bits, place, first + c * pixels + 64 * w, count))


@kernel
def chosen_bits(word, mask):  # type: ignore[no-untyped-def]
    """Return the bits of a word where a mask has ones, close together from the lowest on."""
    found, n = np.uint64(0), np.uint64(0)
    while mask != np.uint64(0):
        found |= ((word >> np.uint64(lowest_one(mask))) & _ONE) << n
        n += _ONE
        mask &= mask - _ONE
    return found


if HAS_BMI2:
    chosen_bits = extract_bits


@kernel
def append_bits(word, filled, target, found, count):  # type: ignore[no-untyped-def]
    """Add bits to a stream that ``filled`` bits of a word end; return what ends it then, and where it goes."""
    word |= found << np.uint64(filled)
    filled += count
    if filled >= 64:
        put_word(target, 0, word)
        filled, target = filled - 64, target + 8
        word = found >> np.uint64(count - filled) if filled else np.uint64(0)
    return word, filled, target


@kernel
def part_image(bits, place, first, channels, pixels, masks, stage, stride):  # type: ignore[no-untyped-def]
    """Copy those pixels of an image that masks choose, close together, so that every channel begins with a word."""
    for c in range(channels):
        word, filled, target = np.uint64(0), 0, stage + 8 * c * stride
        for w in range((pixels + 63) >> 6):
            chosen = get_word(masks, w)
            found = load_bits(bits, place, first + c * pixels + 64 * w, min_of(64, pixels - 64 * w))
            found = chosen_bits(found, chosen)
            word, filled, target = append_bits(word, filled, target, found, count_ones(chosen))
        if filled:
            put_word(target, 0, word)


@kernel
def move_rows(moves, channels, taps, stage, stride, masks, start, table):  # type: ignore[no-untyped-def]
    """Write the rows of one register of windows: the image, moved, without what is no neighbour."""
    target = 0
    for tap in range(taps):
        by, mask = get_int(moves, tap), load_words(masks, tap * stride + start)
        for c in range(channels):
            store_words(table, target, moved_words(stage, c * stride + start + (by >> 6), by & 63) & mask)
            target += LANES


@kernel
def stage_parts(params, shape, bits, place, first, channels, masks, parts, stage, stride):  # type: ignore[no-untyped-def]
    """Copy the parts of an image from bit ``first`` on, or the whole where it has one."""
    pixels = get_int(params, shape + rows.HEIGHT) * get_int(params, shape + rows.WIDTH)
    if get_int(params, shape + rows.STRIDE_Y) * get_int(params, shape + rows.STRIDE_X) == 1:
        stage_image(bits, place, first, channels, pixels, stage, stride)
    else:
        for part in range(parts):
            chosen, target = masks + 8 * part * ((pixels + 63) >> 6), stage + 8 * part * channels * stride
            part_image(bits, place, first, channels, pixels, chosen, target, stride)


@kernel
def pool_moved(row, params, bits):  # type: ignore[no-untyped-def]
    """Write a spike for each window that holds one: of many windows at once, place by place of the kernel."""
    shape, place, left = at(row, rows.P0), at(row, rows.SOURCE_BITS), bits + 8 * at(row, rows.P1)
    masks, part_masks = params + 4 * at(row, rows.P2), params + 4 * at(row, rows.P3)
    moves, shown, parts = params + 4 * at(row, rows.P4), params + 4 * at(row, rows.P5), at(row, rows.P6)
    pixels = get_int(params, shape + rows.HEIGHT) * get_int(params, shape + rows.WIDTH)
    taps = get_int(params, shape + rows.KERNEL_Y) * get_int(params, shape + rows.KERNEL_X)
    words, stage = get_int(params, shape + rows.WORDS), left + 8 * (LANES + get_int(params, shape + rows.MARGIN))
    stride = (words + LANES - 1) // LANES * LANES
    word, filled, target = np.uint64(0), 0, bits + 8 * at(row, rows.BITS)
    for c in range(get_int(params, shape + rows.GROUPS)):
        stage_parts(params, shape, bits, place, c * pixels, 1, part_masks, parts, stage, stride)
        for start in range(0, words, LANES):
            found = splat_words(0)
            for tap in range(taps):
                by, mask = get_int(moves, tap), load_words(masks, tap * stride + start)
                found = found | (moved_words(stage, start + (by >> 6), by & 63) & mask)
            store_words(left, 0, found)
            for w in range(min_of(words - start, LANES)):
                chosen = get_word(shown, start + w)
                one = chosen_bits(get_word(left, w), chosen)
                word, filled, target = append_bits(word, filled, target, one, count_ones(chosen))
    if filled:
        put_word(target, 0, word)
