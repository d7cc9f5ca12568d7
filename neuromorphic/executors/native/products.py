"""The compiled products of ``TernaryMatrix``; at ``head`` stand the addresses and sizes that it writes there."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native.kernels.events import finish_sums, list_events, ternary_events
from neuromorphic.executors.native.kernels.values import split_digits, ternary_values
from neuromorphic.executors.native.kernels.vectors import get_int, get_long, get_word, put_int


def times_spikes(head, bits_place, out_place, batch):  # type: ignore[no-untyped-def]
    """Multiply with bits; return 0 if there are some beyond the inputs, else 1."""
    words, lists, totals, spare = get_long(head, 0), get_long(head, 1), get_long(head, 2), get_long(head, 3)
    num_inputs, size, stride = get_long(head, 4), get_long(head, 5), get_long(head, 6)
    num_words, packed, out = (num_inputs + 63) >> 6, get_long(bits_place, 0), get_long(out_place, 0)
    for b in range(batch if num_inputs & 63 else 0):
        if get_word(packed, b * num_words + num_words - 1) >> np.uint64(num_inputs & 63):
            return 0
    for b in range(batch):
        list_events(packed, b * num_words, num_inputs, lists, b * stride)
    ternary_events(words, 0, num_inputs, lists, 0, stride, batch, spare, 0, 0, out, 0, size, size)
    for b in range(batch):
        finish_sums(lists, b * stride, totals, 0, out, b * size, size, 0)
    return 1


def times_values(head, values_place, out_place, batch):  # type: ignore[no-untyped-def]
    """Multiply with integers; return 0."""
    words, room, spare = get_long(head, 7), get_long(head, 8), get_long(head, 3)
    num_inputs, size, x, out = get_long(head, 4), get_long(head, 5), get_long(values_place, 0), get_long(out_place, 0)
    for b in range(batch):
        num_digits = split_digits(x, b * num_inputs, num_inputs, spare, 0)
        ternary_values(words, 0, num_inputs, spare, 0, num_digits, room, 0, size, 0)
        for i in range(size):
            put_int(out, b * size + i, get_int(room, i))
    return 0
