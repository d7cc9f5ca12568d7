"""The compiled products of ``TernaryMatrix``; at ``call`` stand the addresses and sizes that it writes there."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native import arrays, rows
from neuromorphic.executors.native import product as to
from neuromorphic.executors.native.kernels.arrays import fits, num_rows
from neuromorphic.executors.native.kernels.events import finish_sums, list_events, ternary_events
from neuromorphic.executors.native.kernels.values import split_digits, ternary_values
from neuromorphic.executors.native.kernels.vectors import get_int, get_long, get_word, put_int

FINE, UNUSABLE, AT_DATA = rows.FINE, rows.UNUSABLE, arrays.AT_DATA
at = get_long  # at(call, column)


def times_spikes(call):  # type: ignore[no-untyped-def]
    """Multiply with bits; return ``FINE`` or, with nothing done, ``UNUSABLE``: bits beyond the inputs are that too."""
    bits, out, array_type = at(call, to.X), at(call, to.OUT), at(call, to.ARRAY_TYPE)
    words, lists, totals, spare = (
        at(call, to.COLUMNS),
        at(call, to.LISTS),
        at(call, to.TOTALS),
        at(call, to.SPARE),
    )
    num_inputs, size, stride = at(call, to.NUM_INPUTS), at(call, to.SIZE), at(call, to.LIST_STRIDE)
    num_words, batch = (num_inputs + 63) >> 6, num_rows(bits, array_type)
    if (
        words == 0
        or batch > at(call, to.MOST_SAMPLES)
        or not fits(bits, array_type, at(call, to.UINT64_TYPE), batch, num_words)
    ):
        return UNUSABLE
    if not fits(out, array_type, at(call, to.INT32_TYPE), batch, size):
        return UNUSABLE
    packed, found = get_long(bits, AT_DATA), get_long(out, AT_DATA)
    for b in range(batch if num_inputs & 63 else 0):
        if get_word(packed, b * num_words + num_words - 1) >> np.uint64(num_inputs & 63):
            return UNUSABLE
    for b in range(batch):
        list_events(packed, b * num_words, num_inputs, lists, b * stride)
    ternary_events(words, 0, num_inputs, lists, 0, stride, batch, spare, 0, 0, found, 0, size, size)
    for b in range(batch):
        finish_sums(lists, b * stride, totals, 0, found, b * size, size, 0)
    return FINE


def times_values(call):  # type: ignore[no-untyped-def]
    """Multiply with integers; return ``FINE`` or ``UNUSABLE``."""
    values, out, array_type, integers = (
        at(call, to.X),
        at(call, to.OUT),
        at(call, to.ARRAY_TYPE),
        at(call, to.INT32_TYPE),
    )
    words, room, spare, num_inputs, size = (
        at(call, to.FIELDS),
        at(call, to.ROOM),
        at(call, to.SPARE),
        at(call, to.NUM_INPUTS),
        at(call, to.SIZE),
    )
    batch = num_rows(values, array_type)
    if words == 0 or not fits(values, array_type, integers, batch, num_inputs):
        return UNUSABLE
    if not fits(out, array_type, integers, batch, size):
        return UNUSABLE
    x, found = get_long(values, AT_DATA), get_long(out, AT_DATA)
    for b in range(batch):
        num_digits = split_digits(x, b * num_inputs, num_inputs, spare, 0)
        ternary_values(words, 0, num_inputs, spare, 0, num_digits, room, 0, size, 0)
        for i in range(size):
            put_int(found, b * size + i, get_int(room, i))
    return FINE
