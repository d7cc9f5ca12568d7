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
from neuromorphic.executors.native.kernels.choosing import lane_numbers, put_chosen
from neuromorphic.executors.native.kernels.events import carry_on
from neuromorphic.executors.native.kernels.instructions import add_bytes, count_block, spread_bits, store_counts
from neuromorphic.executors.native.kernels.lanes import largest_of
from neuromorphic.executors.native.kernels.transposition import add_eight_planes, store_sixteen_planes
from neuromorphic.executors.native.kernels.vectors import (
    MANY,
    count_ones,
    get_half_word,
    get_int,
    greater,
    larger,
    load_many,
    load_words,
    masks_of_many,
    max_of,
    min_of,
    put_int,
    shift_left,
    shift_right,
    signs_of_many,
    splat_bytes,
    splat_many,
    splat_words,
    store_many,
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

AT_ONCE = MANY.lanes
_ONE = np.uint64(1)


@kernel
def _list_others(ints, source, size, numbers, values):  # type: ignore[no-untyped-def]
    """Write the numbers and values of the inputs that are not 0; return how many, and the largest magnitude."""
    n, largest = 0, splat_many(0)
    for j in range(0, size, AT_ONCE):
        x = load_many(ints, source + j)
        negative = greater(splat_many(0), x)
        magnitude = (x ^ negative) - negative
        mask = signs_of_many(greater(magnitude, splat_many(0)))
        if j + AT_ONCE > size:
            mask &= (_ONE << np.uint64(size - j)) - _ONE
        put_chosen(ints, numbers + n, splat_many(j) + lane_numbers(), mask)
        n += put_chosen(ints, values + n, x, mask)
        largest = larger(largest, magnitude & masks_of_many(np.int64(mask)))
    store_many(ints, values + n, splat_many(0))
    return n, largest_of(largest)


@kernel
def list_digits(ints, source, size, lists, room):  # type: ignore[no-untyped-def]
    """Write lists of the digits of ``size`` values, of 1 and of -1 by turns, the lowest bit first.

    Each is padded with columns of zeros. In ``room`` the inputs that are not 0 are kept, with their numbers.
    """
    numbers, values = room, room + size + AT_ONCE
    others, largest = _list_others(ints, source, size, numbers, values)
    top = 1
    while largest >> (top - 1):  # a digit may stand one bit above the highest
        top += 1
    for q in range(2 * DIGITS):
        put_int(ints, lists + DIGIT_LENGTHS + q, 0)
    for fill in range(2):  # first count, then write
        for i in range(0, others, AT_ONCE):
            x, events = load_many(ints, values + i), load_many(ints, numbers + i)
            negative = greater(splat_many(0), x)
            magnitude = (x ^ negative) - negative
            half = shift_right(magnitude, 1)
            digits = half ^ (magnitude + half)
            minus = digits & (half ^ negative)
            for p in range(top):
                for sign in range(2):
                    chosen = minus if sign else digits ^ minus
                    mask = signs_of_many(shift_left(chosen, 31 - p))
                    n = get_int(ints, lists + DIGIT_LENGTHS + 2 * p + sign)
                    put_int(ints, lists + DIGIT_LENGTHS + 2 * p + sign, n + count_ones(mask))
                    if fill:
                        put_chosen(ints, lists + get_int(ints, lists + DIGIT_STARTS + 2 * p + sign) + n, events, mask)
        _place_lists(ints, lists, size, fill)


@kernel
def _place_lists(ints, lists, size, fill):  # type: ignore[no-untyped-def]
    """Say where lists of those lengths start; or, once they are written, pad them."""
    place = DIGIT_LISTS
    for q in range(2 * DIGITS):
        n = get_int(ints, lists + DIGIT_LENGTHS + q)
        padded = (n + EVENTS_AT_ONCE - 1) // EVENTS_AT_ONCE * EVENTS_AT_ONCE
        put_int(ints, lists + DIGIT_STARTS + q, place)
        put_int(ints, lists + DIGIT_LENGTHS + q, padded if fill else 0)
        for i in range(n, padded if fill else n):
            put_int(ints, lists + place + i, size)
        place += padded + EVENTS_AT_ONCE  # choosing writes more than is chosen


@kernel
def _count_digits(words, base, ints, lists, top, rise, bits, planes):  # type: ignore[no-untyped-def]
    """Count the lists of the digits at bits below ``top`` into planes; carries run through ``rise`` of them.

    Planes of the present bit and the four above it are in registers. The columns of digits of -1 are those of the
    negative weights, which have all bits turned over; and an adder of turned bits gives the turned sum and carry. So
    what is held is turned instead, and each carry out of it.
    """
    zero = splat_words(0)
    held = (zero, zero, zero, zero, zero)
    for p in range(WIDE_PLANES + 5):
        store_words(bits, planes + p * LANES, zero)
    for p in range(top):
        stop = min_of(p + rise, WIDE_PLANES)
        for sign in range(2):
            n = get_int(ints, lists + DIGIT_LENGTHS + 2 * p + sign)
            if n:
                first, turn = lists + get_int(ints, lists + DIGIT_STARTS + 2 * p + sign), splat_words(-sign)
                held = (held[0] ^ turn, held[1] ^ turn, held[2] ^ turn, held[3] ^ turn, held[4] ^ turn)
                for place in range(first, first + n, EVENTS_AT_ONCE):
                    ones, twos, fours, eights, sixteens, carry = count_block(words + 8 * base, ints + 4 * place, held)
                    held = (ones, twos, fours, eights, sixteens)
                    carry_on(bits, planes, p + 5, stop, carry ^ turn)
                held = (held[0] ^ turn, held[1] ^ turn, held[2] ^ turn, held[3] ^ turn, held[4] ^ turn)
        store_words(bits, planes + p * LANES, held[0])
        held = (held[1], held[2], held[3], held[4], load_words(bits, planes + (p + 5) * LANES))
    for p in range(5):
        store_words(bits, planes + (top + p) * LANES, held[0])
        held = (held[1], held[2], held[3], held[4], zero)


@kernel
def _planes_of(events, least):  # type: ignore[no-untyped-def]
    """Return how many planes hold two bits of each event, and ``least`` of them."""
    num_planes = least
    while num_planes < WIDE_PLANES and 2 * events >> num_planes:
        num_planes += 1
    return num_planes


@kernel
def ternary_graded(words, matrix, num_inputs, ints, lists, bits, planes, out, target, size, shift):  # type: ignore[no-untyped-def]
    """Sum the columns of the lists of digits, ``out[i] = sum_j w[i, j] x[j] << shift``, ``size`` a multiple of 32."""
    less, top, rise = 0, 0, 5
    for q in range(2 * DIGITS):
        n, p = get_int(ints, lists + DIGIT_LENGTHS + q), q >> 1
        if n:
            less, top = less + (n << p), p + 1
            rise = max_of(rise, _planes_of(less, p + 5) - p)
    num_planes = _planes_of(less, min_of(top + 4, WIDE_PLANES))
    for chunk in range((size + CHUNK - 1) // CHUNK):
        base = matrix + chunk * (num_inputs + 1) * COLUMN
        _count_digits(words, base, ints, lists, top, rise, bits, planes)
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
