"""Neurons that leak by a shift, and those that send changes: one by one in 64 bits, as they are defined."""

from __future__ import annotations

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.passing import pack, publish
from neuromorphic.executors.native.kernels.vectors import (
    between,
    get_int,
    get_long,
    get_signed_byte,
    put_int,
    put_long,
)
from neuromorphic.integers.numbers import STATE_MAX
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
    return min(x - (x >> shift), x - 1) if x > 0 else x - (x >> shift)


@kernel
def _saturated(x):  # type: ignore[no-untyped-def]
    return min(max(x, LOWEST), HIGHEST)


@kernel
def _fire(row, params, ints, n, i, u):  # type: ignore[no-untyped-def]
    """Store current, membrane and spikes of a neuron; return the spikes."""
    threshold, spikes = get_int(params, at(row, rows.P2) + n), 0
    if u >= threshold:
        spikes = min(u // threshold, at(row, rows.P7))
        u -= spikes * threshold
    put_int(ints, at(row, rows.P4) + n, i)
    put_int(ints, at(row, rows.P5) + n, u)
    put_int(ints, at(row, rows.P8) + n, spikes)
    return spikes


@kernel
def _sent(row, ints, bits, counts, fired):  # type: ignore[no-untyped-def]
    """Count the spikes of a step; where they are 0 and 1, also write them as bits."""
    put_long(counts, at(row, rows.P6), get_long(counts, at(row, rows.P6)) + fired)
    if at(row, rows.BITS) >= 0:
        pack(ints + 4 * at(row, rows.P8), at(row, rows.SIZE), bits, at(row, rows.BITS))
        publish(row, ints, bits)


@kernel
def fire_by_shifts(row, links, params, ints, bits, counts):  # type: ignore[no-untyped-def]
    """One step of ``ShiftLIF``."""
    fired = 0
    for n in range(at(row, rows.SIZE)):
        i = _saturated(get_int(ints, at(row, rows.P4) + n) + _total(ints, links, row, n))
        i = _leaked(i, get_int(params, at(row, rows.P0) + n))
        v = _leaked(get_int(ints, at(row, rows.P5) + n), get_int(params, at(row, rows.P1) + n))
        fired += _fire(row, params, ints, n, i, _saturated(v + i + get_int(params, at(row, rows.P3) + n)))
    _sent(row, ints, bits, counts, fired)


@kernel
def fire_on_xylo(row, links, params, small, ints, bits, counts):  # type: ignore[no-untyped-def]
    """One step of ``XyloLIF``: event after event to the currents, then the neurons."""
    size, current, weights, fired = at(row, rows.SIZE), at(row, rows.P4), at(row, rows.P9), 0
    for s in range(at(row, rows.NUM_SOURCES)):
        source = get_long(links, at(row, rows.LINKS) + s)
        for j in range(get_int(params, at(row, rows.P10) + s)):
            count = get_int(ints, source + j)
            if count != 0:
                for n in range(size):
                    brought = count * get_signed_byte(small, weights + n)
                    put_int(ints, current + n, _saturated(get_int(ints, current + n) + brought))
            weights += size
    for n in range(size):
        i = _leaked(get_int(ints, current + n), get_int(params, at(row, rows.P0) + n))
        v = get_int(ints, at(row, rows.P5) + n)
        fall = v - _leaked(v, get_int(params, at(row, rows.P1) + n))
        change = _saturated(i + (LOWEST if fall == LOWEST else -fall))
        change = _saturated(change + get_int(params, at(row, rows.P3) + n))
        fired += _fire(row, params, ints, n, i, _saturated(v + change))
    _sent(row, ints, bits, counts, fired)


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
        put_int(ints, out + n, max(get_int(ints, source + n) + get_int(params, bias + n), 0))
