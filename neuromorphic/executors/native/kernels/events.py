"""Ternary weights times spikes, without a multiplication: vertical counters of carry-save adders.

A weight is two bits, ``a = (w > 0)`` and ``b = not (w < 0)``, so that ``a + b = w + 1``. For every input that fired,
its column of ``a`` and its column of ``b`` go into counters that stand upright: plane ``p`` holds bit ``p`` of the
counts of as many outputs as a register has bits, and a full adder of three logical instructions' depth takes in one bit
for all of them. At the end the planes are turned into integers and the number of events is subtracted. Only columns of
inputs that fired are read; where most fired, those of the silent ones, from the sum of all.

References
----------
Harley and Seal's carry-save tree, as in Muła, Kurz and Lemire 2018, arXiv:1611.07612; upright counters for ternary
weights: own.
"""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.choosing import lane_numbers, put_numbers
from neuromorphic.executors.native.kernels.instructions import count_block, spread_bits, store_counts
from neuromorphic.executors.native.kernels.transposition import store_sixteen_planes
from neuromorphic.executors.native.kernels.vectors import (
    MANY,
    count_ones,
    get_half_word,
    get_int,
    get_word,
    load_words,
    max_of,
    min_of,
    put_int,
    splat_bytes,
    splat_many,
    splat_words,
    store_many,
    store_words,
)
from neuromorphic.executors.native.processor import HAS_GFNI, LANES
from neuromorphic.executors.native.sizes import (
    CARRY_WORDS,
    CHUNK,
    COLUMN,
    EVENTS_A_PASS,
    EVENTS_AT_ONCE,
    LIST_LENGTH,
    LIST_OF_SILENT,
    LIST_START,
    NUMBER_WORDS,
    PLANE_WORDS,
)

AT_ONCE = MANY.lanes
MAX_PLANES = 16  # bits of a counter of events
_ONE = np.uint64(1)


@kernel
def carry_on(bits, planes, first, stop, carry):  # type: ignore[no-untyped-def]
    """Add one bit for every output to the planes ``first..stop``."""
    for p in range(first, stop):
        high = load_words(bits, planes + p * LANES)
        store_words(bits, planes + p * LANES, high ^ carry)
        carry = high & carry


@kernel
def _count_chunk(words, base, ints, start, stop, bits, planes, num_planes):  # type: ignore[no-untyped-def]
    """Count the events ``start..stop`` of a list into the planes of one chunk.

    Each block leaves a carry out of its five planes. Two by two, those are the columns of the next five, and so on.
    """
    for p in range(5, MAX_PLANES):
        store_words(bits, planes + p * LANES, splat_words(0))
    source, listed, events, first = words + 8 * base, ints + 4 * start, stop - start, planes
    carries, numbers = planes + CARRY_WORDS, bits + 8 * (planes + NUMBER_WORDS)
    while True:
        zero, n = splat_words(0), 0
        held = (zero, zero, zero, zero, zero)
        for place in range(0, events, EVENTS_AT_ONCE):
            ones, twos, fours, eights, sixteens, carry = count_block(source, listed + 4 * place, held)
            held = (ones, twos, fours, eights, sixteens)
            store_words(bits, carries + n * LANES, carry)
            n += 1
        for p in range(5):
            store_words(bits, first + p * LANES, held[0])
            held = (held[1], held[2], held[3], held[4], zero)
        first += 5 * LANES
        if first >= planes + num_planes * LANES:
            return
        while n % (2 * EVENTS_AT_ONCE):
            store_words(bits, carries + n * LANES, zero)
            n += 1
        for i in range(0, n // 2, AT_ONCE):
            store_many(numbers, i, splat_many(i) + lane_numbers())
        source, listed, events = bits + 8 * carries, numbers, n // 2


@kernel
def _store_chunk(bits, planes, num_planes, out, start, valid, less):  # type: ignore[no-untyped-def]
    """Turn planes into integers, 512 or 32 at once; the last ones of a row that ends between go one by one."""
    if HAS_GFNI and valid == CHUNK:
        store_sixteen_planes(bits + 8 * planes, out + 4 * start, less)
        return
    for group in range(2 * LANES):
        if 32 * group >= valid:
            break
        low, high = splat_bytes(0), splat_bytes(0)
        for p in range(min_of(num_planes, 8)):
            low = low | spread_bits(get_half_word(bits, 2 * (planes + p * LANES) + group), 1 << p)
        for p in range(8, num_planes):
            high = high | spread_bits(get_half_word(bits, 2 * (planes + p * LANES) + group), 1 << (p - 8))
        if 32 * group + 32 <= valid:
            store_counts(out, start + 32 * group, low, high, less)
        else:
            spare = 2 * (planes + PLANE_WORDS)
            store_counts(bits, spare, low, high, less)
            for i in range(valid - 32 * group):
                put_int(out, start + 32 * group + i, get_int(bits, spare + i))


@kernel
def list_events(bits, place, size, ints, target):  # type: ignore[no-untyped-def]
    """Write the list of the events among ``size`` bits, or of the silent ones where those are fewer."""
    num_words = (size + 63) >> 6
    events = 0
    for w in range(num_words):
        events += count_ones(get_word(bits, place + w))
    silent = 2 * events > size
    n = 0
    for w in range(num_words):
        word = get_word(bits, place + w)
        if silent:
            word = ~word
            if w == num_words - 1 and size & 63:
                word &= (_ONE << np.uint64(size & 63)) - _ONE
        n += put_numbers(ints, target + LIST_START + n, 64 * w, word)
    while n % EVENTS_AT_ONCE:
        put_int(ints, target + LIST_START + n, size)
        n += 1
    put_int(ints, target + LIST_LENGTH, n)
    put_int(ints, target + LIST_OF_SILENT, 1 if silent else 0)


@kernel
def ternary_events(  # type: ignore[no-untyped-def]
    words, matrix, num_inputs, ints, events, stride, samples, bits, planes, bit_stride, out, target, out_stride, size
):
    """Sum the columns of every sample's list: ``out[b, i] = sum_j w[i, j]`` over the events ``j``."""
    for chunk in range((size + CHUNK - 1) // CHUNK):
        base = matrix + chunk * (num_inputs + 1) * COLUMN
        valid = min_of(CHUNK, size - chunk * CHUNK)
        for b in range(samples):
            n = get_int(ints, events + b * stride + LIST_LENGTH)
            first = events + b * stride + LIST_START
            where = target + b * out_stride + chunk * CHUNK
            spare = planes + b * bit_stride
            done = min_of(n, EVENTS_A_PASS)
            num_planes = _bit_length(2 * done)
            _count_chunk(words, base, ints, first, first + done, bits, spare, num_planes)
            _store_chunk(bits, spare, num_planes, out, where, valid, done)
            every = max_of(num_planes, MAX_PLANES)
            while done < n:  # more than a counter holds
                more = min_of(n - done, EVENTS_A_PASS)
                _count_chunk(words, base, ints, first + done, first + done + more, bits, spare, every)
                for i in range(valid):
                    put_int(out, where + i, get_int(out, where + i) + _count_at(bits, spare, i) - more)
                done += more


@kernel
def _count_at(bits, planes, i):  # type: ignore[no-untyped-def]
    total = 0
    for p in range(MAX_PLANES):
        total += ((get_half_word(bits, 2 * (planes + p * LANES) + (i >> 5)) >> (i & 31)) & 1) << p
    return total


@kernel
def _bit_length(x):  # type: ignore[no-untyped-def]
    n = 5
    while x >> n:
        n += 1
    return n


@kernel
def finish_sums(ints, events, params, totals, out, target, size, shift):  # type: ignore[no-untyped-def]
    """Turn sums over silent inputs into sums over events, and shift."""
    if get_int(ints, events + LIST_OF_SILENT):
        for i in range(size):
            put_int(out, target + i, (get_int(params, totals + i) - get_int(out, target + i)) << shift)
    elif shift:
        for i in range(size):
            put_int(out, target + i, get_int(out, target + i) << shift)


@kernel
def ternary_few(words, matrix, num_words, bits, place, out, target, size, shift):  # type: ignore[no-untyped-def]
    """Products of few outputs: count the events that meet a weight of 1 and those that meet one of -1, row by row."""
    for i in range(size):
        row = matrix + 2 * i * num_words
        total = 0
        for w in range(num_words):
            x = get_word(bits, place + w)
            total += count_ones(get_word(words, row + w) & x) - count_ones(get_word(words, row + num_words + w) & x)
        put_int(out, target + i, total << shift)
