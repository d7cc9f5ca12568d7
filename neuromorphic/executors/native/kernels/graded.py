"""Ternary weights times graded events, bit by bit, in the same upright counters as spikes.

An input in ``-32768..32768`` is written in digits of -1, 0 and 1, no two neighbours of which are not 0: a third of its
bits. A digit at bit ``p`` adds its input's column, or the column of the negative weights, to the counters from plane
``p`` up; inputs of 0 cost nothing. So sparse images are as cheap as they look, and no multiplier is needed.

References
----------
Reitwiesner 1960, "Binary arithmetic" (the digits); upright counters for graded events: own.
"""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.instructions import add_bytes, count_signed_block, spread_bits, store_counts
from neuromorphic.executors.native.kernels.transposition import add_eight_planes, store_sixteen_planes
from neuromorphic.executors.native.kernels.vectors import (
    get_half_word,
    get_int,
    load_words,
    lowest_one,
    max_of,
    min_of,
    put_int,
    splat_bytes,
    splat_words,
    store_words,
)
from neuromorphic.executors.native.processor import HAS_GFNI, LANES
from neuromorphic.executors.native.sizes import (
    CHUNK,
    COLUMN,
    DIGIT_LENGTHS,
    DIGIT_LISTS,
    DIGIT_STARTS,
    DIGITS,
    EVENTS_AT_ONCE,
    WIDE_PLANES,
)

_ONE = np.uint64(1)


@kernel
def list_digits(ints, source, size, lists):  # type: ignore[no-untyped-def]
    """Write the lists of the digits of ``size`` values, the lowest bit first, each padded with columns of zeros."""
    for p in range(DIGITS):
        put_int(ints, lists + DIGIT_LENGTHS + p, 0)
    for fill in range(2):  # first count, then write
        for j in range(size):
            x = get_int(ints, source + j)
            if x != 0:
                sign, size_of = (1, -x) if x < 0 else (0, x)
                half = size_of >> 1
                total = size_of + half
                changed = half ^ total
                minus = half & changed
                word = np.uint64(changed)
                while word != np.uint64(0):
                    p = lowest_one(word)
                    word &= word - _ONE
                    n = get_int(ints, lists + DIGIT_LENGTHS + p)
                    put_int(ints, lists + DIGIT_LENGTHS + p, n + 1)
                    if fill:
                        start = get_int(ints, lists + DIGIT_STARTS + p)
                        put_int(ints, lists + start + n, 2 * j + (sign ^ ((minus >> p) & 1)))
        place = DIGIT_LISTS
        for p in range(DIGITS):
            n = get_int(ints, lists + DIGIT_LENGTHS + p)
            padded = (n + EVENTS_AT_ONCE - 1) // EVENTS_AT_ONCE * EVENTS_AT_ONCE
            put_int(ints, lists + DIGIT_STARTS + p, place)
            put_int(ints, lists + DIGIT_LENGTHS + p, padded if fill else 0)
            for i in range(n, padded):
                put_int(ints, lists + place + i, 2 * size)
            place += padded


@kernel
def _count_digits(words, base, ints, start, stop, bits, planes, num_planes):  # type: ignore[no-untyped-def]
    """Add the events ``start..stop`` of a list to the planes from ``planes`` up."""
    held = (
        load_words(bits, planes),
        load_words(bits, planes + LANES),
        load_words(bits, planes + 2 * LANES),
        load_words(bits, planes + 3 * LANES),
        load_words(bits, planes + 4 * LANES),
    )
    for place in range(start, stop, EVENTS_AT_ONCE):
        ones, twos, fours, eights, sixteens, carry = count_signed_block(words + 8 * base, ints + 4 * place, held)
        held = (ones, twos, fours, eights, sixteens)
        for p in range(5, num_planes):
            high = load_words(bits, planes + p * LANES)
            store_words(bits, planes + p * LANES, high ^ carry)
            carry = high & carry
    store_words(bits, planes, held[0])
    store_words(bits, planes + LANES, held[1])
    store_words(bits, planes + 2 * LANES, held[2])
    store_words(bits, planes + 3 * LANES, held[3])
    store_words(bits, planes + 4 * LANES, held[4])


@kernel
def _reach(num_planes, events, least):  # type: ignore[no-untyped-def]
    """Return how many planes hold two bits of each event, and ``least`` of them."""
    num_planes = max_of(num_planes, least)
    while num_planes < WIDE_PLANES and 2 * events >> num_planes:
        num_planes += 1
    return num_planes


@kernel
def ternary_graded(words, matrix, num_inputs, ints, lists, bits, planes, out, target, size, shift):  # type: ignore[no-untyped-def]
    """Sum the columns of the lists of digits, ``out[i] = sum_j w[i, j] x[j] << shift``, ``size`` a multiple of 32."""
    less, num_planes = 0, 8
    for p in range(DIGITS):
        n = get_int(ints, lists + DIGIT_LENGTHS + p)
        less += n << p
        num_planes = _reach(num_planes, less, p + 5 if n else 0)
    for chunk in range((size + CHUNK - 1) // CHUNK):
        base = matrix + chunk * (num_inputs + 1) * COLUMN
        for p in range(max_of(16, (num_planes + 7) & -8)):  # so many are turned at once
            store_words(bits, planes + p * LANES, splat_words(0))
        done, reach = 0, 5
        for p in range(DIGITS):
            n = get_int(ints, lists + DIGIT_LENGTHS + p)
            if n:
                done += n << p
                reach = _reach(reach, done, p + 5)
                start = lists + get_int(ints, lists + DIGIT_STARTS + p)
                _count_digits(words, base, ints, start, start + n, bits, planes + p * LANES, reach - p)
        if HAS_GFNI and (chunk + 1) * CHUNK <= size:
            first, where = bits + 8 * planes, out + 4 * (target + chunk * CHUNK)
            store_sixteen_planes(first, where, less)
            for byte in range(16, num_planes, 8):
                add_eight_planes(first + 8 * LANES * byte, where, byte)
            continue
        for group in range(min_of(2 * LANES, (size - chunk * CHUNK) // 32)):
            where = target + chunk * CHUNK + 32 * group
            for byte in range(0, num_planes, 8):
                values = splat_bytes(0)
                for p in range(byte, min_of(byte + 8, num_planes)):
                    values = values | spread_bits(
                        get_half_word(bits, 2 * (planes + p * LANES) + group), 1 << (p - byte)
                    )
                if byte == 0:
                    store_counts(out, where, values, splat_bytes(0), less)
                else:
                    add_bytes(out, where, values, byte)
    if shift:
        for i in range(size):
            put_int(out, target + i, get_int(out, target + i) << shift)
