"""What is held beside the membranes: fast weights, memory slots, messages between neighbours."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.lanes import bits_at
from neuromorphic.executors.native.kernels.vectors import (
    MANY,
    between,
    count_ones,
    get_int,
    get_long,
    get_signed_byte,
    get_word,
    greater,
    load_many,
    masks_of_many,
    min_of,
    put_int,
    put_long,
    shift_left,
    shift_right,
    signs_of_many,
    splat_many,
    store_many,
    toward_zero,
)
from neuromorphic.executors.native.sizes import FADED_AT_ONCE
from neuromorphic.integers.numbers import DECAY_BITS, STATE_MAX
from neuromorphic.ops.fast_weights import KEY_ONE
from neuromorphic.ops.slots import MEMORY_BITS

at = get_long  # at(row, column)
AT_ONCE = MANY.lanes
_PLACES = (1 << 31) - 1


@kernel
def fast_weights(  # type: ignore[no-untyped-def]
    ints, out, source, matrix, key, target, size, stride, decay, write_shift, frac, delta
):
    """Write the pair of this key and the last, then read with this one; rows of the matrix are ``stride`` apart."""
    for i in range(size):
        x = between(get_int(ints, source + i), KEY_ONE)
        wanted = x
        if delta:
            row, total = matrix + i * stride, 0
            for j in range(size):
                total += get_int(ints, row + j) * get_int(ints, key + j)
            wanted = between(x - toward_zero(total, frac), STATE_MAX)
        put_int(ints, target + i, wanted)
    for i in range(size):
        row, wanted = matrix + i * stride, get_int(ints, target + i)
        for j in range(size):
            held = toward_zero(get_int(ints, row + j) * decay, DECAY_BITS)
            written = toward_zero(wanted * get_int(ints, key + j), write_shift)
            put_int(ints, row + j, between(held + written, STATE_MAX))
    for j in range(size):
        put_int(ints, key + j, between(get_int(ints, source + j), KEY_ONE))
    for i in range(size):
        row, total = matrix + i * stride, 0
        for j in range(size):
            total += get_int(ints, row + j) * get_int(ints, key + j)
        put_int(ints, out + i, toward_zero(total, frac))


@kernel
def _best_slot(words, keys, num_words, num_slots, bits, events):  # type: ignore[no-untyped-def]
    """Return the first slot whose key meets the events best."""
    best, winner = -(1 << 62), 0
    for m in range(num_slots):
        row, score = keys + 2 * m * num_words, 0
        for w in range(num_words):
            x = get_word(bits, events + w)
            score += count_ones(get_word(words, row + w) & x) - count_ones(get_word(words, row + num_words + w) & x)
        if score > best:
            best, winner = score, m
    return winner


@kernel
def _fade_row(ints, row, size, decay_bits, times):  # type: ignore[no-untyped-def]
    """Fade a row as many times as it was not looked at; values below ``2**decay_bits`` stay as they are.

    A row is padded to a multiple of :data:`FADED_AT_ONCE`: while one vector waits for its shift, three others work.
    """
    one = splat_many((1 << decay_bits) - 1)
    for i in range(0, size, FADED_AT_ONCE):
        a, b = load_many(ints, row + i), load_many(ints, row + i + AT_ONCE)
        c, d = load_many(ints, row + i + 2 * AT_ONCE), load_many(ints, row + i + 3 * AT_ONCE)
        left = times
        while left > 0 and signs_of_many(greater(a | b | c | d, one)) != np.uint64(0):
            for _ in range(min_of(left, 8)):
                a, b = a - shift_right(a, decay_bits), b - shift_right(b, decay_bits)
                c, d = c - shift_right(c, decay_bits), d - shift_right(d, decay_bits)
            left -= 8
        store_many(ints, row + i, a)
        store_many(ints, row + i + AT_ONCE, b)
        store_many(ints, row + i + 2 * AT_ONCE, c)
        store_many(ints, row + i + 3 * AT_ONCE, d)


@kernel
def _read_slot(  # type: ignore[no-untyped-def]
    ints, out, row, size, words, key, num_words, bits, events, gain, shift, decay_bits, rate_bits, plastic
):
    """Read the winner's row, already faded up to this step, and let it fade and learn."""
    for i in range(0, size, AT_ONCE):
        up = masks_of_many(bits_at(words, 8 * key, i))
        down = masks_of_many(bits_at(words, 8 * (key + num_words), i))
        held = load_many(ints, row + i)
        store_many(ints, out + i, (down - up) * splat_many(gain) + shift_right(held, shift))
        if plastic:
            fired = masks_of_many(bits_at(bits, 8 * events, i))
            learned = shift_left(splat_many(0) - fired, MEMORY_BITS - rate_bits) - shift_right(held, rate_bits)
            store_many(ints, row + i, held - shift_right(held, decay_bits) + learned)


@kernel
def _fingerprint(ints, place, rows, columns, stride):  # type: ignore[no-untyped-def]
    """Sum the flattened state, each value times its place from 1, modulo ``2**31``."""
    total = 0
    for m in range(rows):
        for h in range(columns):
            total += get_int(ints, place + m * stride + h) * (m * columns + h + 1)
            total &= _PLACES
    return total


@kernel
def slots(row, now, marks, words, ints, bits, counts):  # type: ignore[no-untyped-def]
    """One step of memory slots; ``marks``: a recording keeps their fingerprint."""
    size, num_slots, plastic = at(row, rows.SIZE), at(row, rows.P1), at(row, rows.P6)
    num_words, stride = (size + 63) >> 6, at(row, rows.P7)
    events, state, faded = at(row, rows.SOURCE_BITS), at(row, rows.P8), at(row, rows.P10)
    w = _best_slot(words, at(row, rows.P0), num_words, num_slots, bits, events)
    put_int(ints, at(row, rows.P9), w)
    place, key = state + w * stride, at(row, rows.P0) + 2 * w * num_words
    if plastic:
        _fade_row(ints, place, size, at(row, rows.P4), now - get_long(counts, faded + w))
        put_long(counts, faded + w, now + 1)
    out, gain, shift, decay_bits = at(row, rows.OUT), at(row, rows.P2), at(row, rows.P3), at(row, rows.P4)
    rate_bits = at(row, rows.P5)
    _read_slot(ints, out, place, size, words, key, num_words, bits, events, gain, shift, decay_bits, rate_bits, plastic)
    if marks:
        for m in range(num_slots if plastic else 0):
            _fade_row(ints, state + m * stride, size, at(row, rows.P4), now + 1 - get_long(counts, faded + m))
            put_long(counts, faded + m, now + 1)
        put_int(ints, at(row, rows.P9) + 1, _fingerprint(ints, state, num_slots, size, stride))


@kernel
def neighbour_sums(ints, out, source, rows, columns, spare):  # type: ignore[no-untyped-def]
    """Sum the eight neighbours on a torus: three rows first, then three columns of their sums, less the middle."""
    vectors = columns & -AT_ONCE
    for r in range(rows):
        above, here = source + (r - 1 if r else rows - 1) * columns, source + r * columns
        below, target = source + (r + 1 if r + 1 < rows else 0) * columns, out + r * columns
        for c in range(0, vectors, AT_ONCE):
            total = load_many(ints, above + c) + load_many(ints, here + c) + load_many(ints, below + c)
            store_many(ints, spare + 1 + c, total)
        for c in range(vectors, columns):
            total_here = get_int(ints, above + c) + get_int(ints, here + c) + get_int(ints, below + c)
            put_int(ints, spare + 1 + c, total_here)
        put_int(ints, spare, get_int(ints, spare + columns))
        put_int(ints, spare + columns + 1, get_int(ints, spare + 1))
        for c in range(0, vectors, AT_ONCE):
            total = load_many(ints, spare + c) + load_many(ints, spare + c + 1) + load_many(ints, spare + c + 2)
            store_many(ints, target + c, total - load_many(ints, here + c))
        for c in range(vectors, columns):
            total_here = get_int(ints, spare + c) + get_int(ints, spare + c + 1) + get_int(ints, spare + c + 2)
            put_int(ints, target + c, total_here - get_int(ints, here + c))


@kernel
def weighed_neighbours(ints, out, source, rows, columns, small, edges, spare):  # type: ignore[no-untyped-def]
    """Sum the eight neighbours by their edges, from three rows with their ends repeated beyond the others."""
    width = columns + 2
    for r in range(rows):
        for k in range(3):
            near = source + (r + k - 1 + rows) % rows * columns
            put_int(ints, spare + k * width, get_int(ints, near + columns - 1))
            for c in range(columns):
                put_int(ints, spare + k * width + 1 + c, get_int(ints, near + c))
            put_int(ints, spare + k * width + columns + 1, get_int(ints, near))
        target = out + r * columns
        for c in range(columns):
            put_int(ints, target + c, 0)
        for k in range(8):
            place = k + (k > 3)  # of the nine, without the middle
            heard, edge = spare + place // 3 * width + place % 3, edges + k * rows * columns + r * columns
            for c in range(columns):
                sent = get_int(ints, heard + c) * get_signed_byte(small, edge + c)
                put_int(ints, target + c, get_int(ints, target + c) + sent)
