"""Neurons that leak by a shift, that adapt, or that send changes: one by one in 64 bits, as they are defined."""

from __future__ import annotations

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.passing import pack
from neuromorphic.executors.native.kernels.vectors import (
    between,
    get_byte,
    get_int,
    get_long,
    get_signed_byte,
    max_of,
    min_of,
    put_int,
    put_long,
    toward_zero,
)
from neuromorphic.integers.numbers import DECAY_BITS, STATE_MAX
from neuromorphic.ops.shift_lif import HIGHEST, LOWEST

at = get_long  # at(row, column)


@kernel
def _total(ints, links, row, i):  # type: ignore[no-untyped-def]
    """Sum what the sources give to one unit."""
    total = 0
    for s in range(at(row, rows.NUM_SOURCES)):
        total += get_int(ints, get_long(links, at(row, rows.LINKS) + s) + i)
    return total


@kernel
def _leaked(x, shift):  # type: ignore[no-untyped-def]
    return min_of(x - (x >> shift), x - 1) if x > 0 else x - (x >> shift)


@kernel
def _deliver(row, links, params, small, ints, i_place):  # type: ignore[no-untyped-def]
    """Add what events bring one after the other, each sum limited to 16 bits."""
    size, weights = at(row, rows.SIZE), at(row, rows.P8)
    for s in range(at(row, rows.NUM_SOURCES)):
        source, width = get_long(links, at(row, rows.LINKS) + s), get_int(params, at(row, rows.P9) + s)
        for j in range(width):
            x = get_int(ints, source + j)
            if x != 0:
                for n in range(size):
                    i = get_int(ints, i_place + n) + x * get_signed_byte(small, weights + n)
                    put_int(ints, i_place + n, min_of(max_of(i, LOWEST), HIGHEST))
            weights += size


@kernel
def fire_by_shifts(row, links, params, small, ints, bits, counts):  # type: ignore[no-untyped-def]
    """One step of ``ShiftLIF``, or, with weights, of ``XyloLIF``: spikes to ``ints``, their sum to ``counts``."""
    out, i_place, v_place = at(row, rows.OUT), at(row, rows.P4), at(row, rows.P5)
    size, most, in_order = at(row, rows.SIZE), at(row, rows.P7), at(row, rows.P8) >= 0
    fired = get_long(counts, at(row, rows.P6))
    if in_order:
        _deliver(row, links, params, small, ints, i_place)
    for n in range(size):
        i, v, bias = get_int(ints, i_place + n), get_int(ints, v_place + n), get_int(params, at(row, rows.P3) + n)
        if not in_order:
            i = min_of(max_of(i + _total(ints, links, row, n), LOWEST), HIGHEST)
        i = _leaked(i, get_int(params, at(row, rows.P0) + n))
        held = _leaked(v, get_int(params, at(row, rows.P1) + n))
        if in_order:  # what changes is limited first
            change = min_of(max_of(i + (held - v if v - held > LOWEST else LOWEST), LOWEST), HIGHEST)
            v += min_of(max_of(change + bias, LOWEST), HIGHEST)
        else:
            v = held + i + bias
        v = min_of(max_of(v, LOWEST), HIGHEST)
        threshold, spikes = get_int(params, at(row, rows.P2) + n), 0
        if v >= threshold:
            spikes = min_of(v // threshold, most)
            v -= spikes * threshold
        put_int(ints, i_place + n, i)
        put_int(ints, v_place + n, v)
        put_int(ints, out + n, spikes)
        fired += spikes
    put_long(counts, at(row, rows.P6), fired)
    if at(row, rows.BITS) >= 0:  # one spike at most
        pack(ints + 4 * out, size, bits, at(row, rows.BITS))


@kernel
def raise_thresholds(row, links, params, ints):  # type: ignore[no-untyped-def]
    """Before a step of ``AdaptiveLIF``: its thresholds; and the current of the step before, if it reads that."""
    a, theta, late, current = at(row, rows.P2), at(row, rows.P3), at(row, rows.P4), at(row, rows.P5)
    for n in range(at(row, rows.SIZE)):
        raised = toward_zero(get_int(ints, a + n) * get_int(params, at(row, rows.P0) + n), DECAY_BITS)
        put_int(ints, a + n, raised)
        put_int(ints, theta + n, min_of(raised + get_int(params, at(row, rows.P1) + n), STATE_MAX))
        if late >= 0:
            put_int(ints, late + n, get_int(ints, current + n))
            put_int(ints, current + n, _total(ints, links, row, n))


@kernel
def raise_by_spikes(row, params, ints, bits):  # type: ignore[no-untyped-def]
    """After it: the jumps of those that fired."""
    a = at(row, rows.P1)
    for n in range(at(row, rows.SIZE)):
        if get_byte(bits, 8 * at(row, rows.BITS) + (n >> 3)) >> (n & 7) & 1:
            put_int(ints, a + n, min_of(get_int(ints, a + n) + get_int(params, at(row, rows.P0) + n), STATE_MAX))


@kernel
def send_changes(row, params, ints):  # type: ignore[no-untyped-def]
    """One step of ``Delta``."""
    source, out, sent = at(row, rows.SOURCE), at(row, rows.OUT), at(row, rows.P1)
    for n in range(at(row, rows.SIZE)):
        x = get_int(ints, source + n)
        change = x - get_int(ints, sent + n)
        sends = abs(change) >= get_int(params, at(row, rows.P0) + n)
        put_int(ints, out + n, change >> at(row, rows.P2) if sends else 0)
        if sends:
            put_int(ints, sent + n, x)


@kernel
def add_changes(row, links, ints):  # type: ignore[no-untyped-def]
    """One step of ``Sigma``."""
    out = at(row, rows.OUT)
    for n in range(at(row, rows.SIZE)):
        put_int(ints, out + n, between(get_int(ints, out + n) + _total(ints, links, row, n), STATE_MAX))


@kernel
def rectify(row, params, ints):  # type: ignore[no-untyped-def]
    """One step of ``ReLU``."""
    source, out, bias = at(row, rows.SOURCE), at(row, rows.OUT), at(row, rows.P0)
    for n in range(at(row, rows.SIZE)):
        put_int(ints, out + n, max_of(get_int(ints, source + n) + get_int(params, bias + n), 0))
