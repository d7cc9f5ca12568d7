"""Neurons that leak by a shift, and those that send changes: one by one in 64 bits, as they are defined."""

from __future__ import annotations

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.vectors import between, get_int, get_long, put_int, put_long
from neuromorphic.integers.numbers import STATE_MAX
from neuromorphic.ops.shift_lif import HIGHEST, LOWEST, MOST_SPIKES

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
def fire_by_shifts(row, links, params, ints, counts):  # type: ignore[no-untyped-def]
    """One step of ``ShiftLIF``: its spikes, up to 31, to ``ints``, and how many there were to ``counts``."""
    out, i_place, v_place = at(row, rows.OUT), at(row, rows.P4), at(row, rows.P5)
    fired = get_long(counts, at(row, rows.P6))
    for n in range(at(row, rows.SIZE)):
        i = min(max(get_int(ints, i_place + n) + _total(ints, links, row, n), LOWEST), HIGHEST)
        i = _leaked(i, get_int(params, at(row, rows.P0) + n))
        v = _leaked(get_int(ints, v_place + n), get_int(params, at(row, rows.P1) + n))
        v = min(max(v + i + get_int(params, at(row, rows.P3) + n), LOWEST), HIGHEST)
        threshold, spikes = get_int(params, at(row, rows.P2) + n), 0
        if v >= threshold:
            spikes = min(v // threshold, MOST_SPIKES)
            v -= spikes * threshold
        put_int(ints, i_place + n, i)
        put_int(ints, v_place + n, v)
        put_int(ints, out + n, spikes)
        fired += spikes
    put_long(counts, at(row, rows.P6), fired)


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
