"""Events on their way: taken in, written in the forms that their readers ask for, and delayed."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.events import list_events
from neuromorphic.executors.native.kernels.lanes import bits_at
from neuromorphic.executors.native.kernels.vectors import (
    MANY,
    get_int,
    get_long,
    get_word,
    load_ints,
    masks_of_many,
    min_of,
    put_int,
    put_word,
    signs_as_bits,
    splat_ints,
    splat_many,
    store_many,
)

AT_ONCE = MANY.lanes
at = get_long  # at(row, column)


@kernel
def publish(row, ints, bits):  # type: ignore[no-untyped-def]
    """Write events in the other forms that their readers ask for."""
    size, place, out = at(row, rows.SIZE), at(row, rows.BITS), at(row, rows.OUT)
    if out >= 0:
        for i in range(0, size, AT_ONCE):
            mask = masks_of_many(bits_at(bits, 8 * place, i))
            store_many(ints, out + i, splat_many(0) - mask)
    if at(row, rows.LIST) >= 0:
        list_events(bits, place, size, ints, at(row, rows.LIST))


@kernel
def pack(x, size, bits, place):  # type: ignore[no-untyped-def]
    """Write integers 0 and 1, at address ``x``, as bits."""
    for w in range((size + 63) >> 6):
        word = np.uint64(0)
        whole = min_of(8, (size - 64 * w) >> 3)
        for i in range(whole):
            ones = signs_as_bits(splat_ints(0) - load_ints(x, 64 * w + 8 * i))
            word |= ones << np.uint64(8 * i)
        for i in range(8 * whole, min_of(64, size - 64 * w)):
            word |= np.uint64(get_int(x, 64 * w + i)) << np.uint64(i)
        put_word(bits, place + w, word)


@kernel
def read_input(row, x, packed, ints, bits):  # type: ignore[no-untyped-def]
    """Take in one sample's inputs, at address ``x``."""
    size, place = at(row, rows.SIZE), at(row, rows.BITS)
    if place < 0:
        place = at(row, rows.OUT)
        for i in range(size):
            put_int(ints, place + i, get_int(x, i))
        return
    if packed:
        for w in range((size + 63) >> 6):
            put_word(bits, place + w, get_word(x, w))
    else:
        pack(x, size, bits, place)
    publish(row, ints, bits)


@kernel
def delay(row, now, ints, bits):  # type: ignore[no-untyped-def]
    """Copy events from a delay's ring to its output, or from its source to the ring."""
    slot, size, writes = now % at(row, rows.P0), at(row, rows.SIZE), at(row, rows.KIND) == rows.DELAY_WRITE
    if at(row, rows.P2):
        num_words = (size + 63) >> 6
        ring, source, out = at(row, rows.P1) + slot * num_words, at(row, rows.SOURCE_BITS), at(row, rows.BITS)
        for w in range(num_words):
            if writes:
                put_word(bits, ring + w, get_word(bits, source + w))
            else:
                put_word(bits, out + w, get_word(bits, ring + w))
        if not writes:
            publish(row, ints, bits)
        return
    ring, source, out = at(row, rows.P1) + slot * size, at(row, rows.SOURCE), at(row, rows.OUT)
    for i in range(size):
        if writes:
            put_int(ints, ring + i, get_int(ints, source + i))
        else:
            put_int(ints, out + i, get_int(ints, ring + i))


@kernel
def delay_units(row, now, params, words, ints, bits):  # type: ignore[no-untyped-def]
    """Write the newest events to the ring, and take from each of its rows what is due: in bits, or unit by unit."""
    size, num_rows, ring, place = at(row, rows.SIZE), at(row, rows.P0), at(row, rows.P1), at(row, rows.BITS)
    newest = now % num_rows
    if at(row, rows.P2):
        num_words, source = (size + 63) >> 6, at(row, rows.SOURCE_BITS)
        for w in range(num_words):
            put_word(bits, ring + newest * num_words + w, get_word(bits, source + w))
            put_word(bits, place + w, np.uint64(0))
        for d in range(at(row, rows.P5)):
            due = newest - get_int(params, at(row, rows.P3) + d)
            due += num_rows if due < 0 else 0
            masks = at(row, rows.P4) + d * num_words
            for w in range(num_words):
                word = get_word(bits, ring + due * num_words + w) & get_word(words, masks + w)
                put_word(bits, place + w, get_word(bits, place + w) | word)
    else:
        source, out = at(row, rows.SOURCE), at(row, rows.OUT)
        for i in range(size):
            put_int(ints, ring + newest * size + i, get_int(ints, source + i))
        for i in range(size):
            due = newest - get_int(params, at(row, rows.P3) + i)
            due += num_rows if due < 0 else 0
            put_int(ints, out + i, get_int(ints, ring + due * size + i))
        if place >= 0:  # its source gives 0 and 1, but no bits
            pack(ints + 4 * out, size, bits, place)
    if place >= 0:
        publish(row, ints, bits)
