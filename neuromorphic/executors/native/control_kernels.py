"""Thresholds that follow the firing rate: the compiled form of :class:`neuromorphic.ops.HomeostaticLIF`."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.rows import BITS, P0, P1, P2, P3, P4, P5, P6, P7, SIZE
from neuromorphic.executors.native.vectors import count_ones, get_int, get_long, get_word, put_int, toward_zero
from neuromorphic.ops.numbers import DECAY_BITS, STATE_MAX

_ONE = np.uint64(1)


@kernel
def _count_between(bits, place, start, stop):  # type: ignore[no-untyped-def]
    """Count the ones among the bits ``start..stop``."""
    total = 0
    for w in range(start >> 6, (stop + 63) >> 6):
        word = get_word(bits, place + w)
        if start > 64 * w:
            word = (word >> np.uint64(start - 64 * w)) << np.uint64(start - 64 * w)
        if stop < 64 * w + 64:
            word &= (_ONE << np.uint64(stop - 64 * w)) - _ONE
        total += count_ones(word)
    return total


@kernel
def control_domains(row, now, ints, bits, params):  # type: ignore[no-untyped-def]
    """Count the spikes of each domain; at the end of a period move its offset and its neurons' thresholds."""
    domains, options = get_long(row, P0), get_long(row, P1)
    control, count, theta, threshold, octaves, period = (
        get_long(row, P2),
        get_long(row, P3),
        get_long(row, P4),
        get_long(row, P5),
        get_long(row, P6),
        get_long(row, P7),
    )
    per_domain = get_long(row, SIZE) // domains
    for d in range(domains):
        fired = _count_between(bits, get_long(row, BITS), d * per_domain, (d + 1) * per_domain)
        put_int(ints, count + d, get_int(ints, count + d) + fired)
    if (now + 1) % period:
        return
    for d in range(domains):
        place = control + 4 * d
        rate = get_int(ints, count + d) * ((1 << 32) // (per_domain * period)) >> 16
        put_int(ints, count + d, 0)
        average, before = get_int(ints, place), get_int(ints, place + 2)
        average += toward_zero((rate - average) * get_int(params, options + 1), DECAY_BITS)
        error = average - get_int(params, options)
        integral = get_int(ints, place + 1) + error
        integral = min(max(integral, get_int(params, options + 5)), get_int(params, options + 6))
        wanted = get_int(params, options + 2) * error + get_int(params, options + 3) * integral
        wanted = toward_zero(wanted + get_int(params, options + 4) * (error - before), 12)
        offset = min(max(wanted, get_int(params, options + 7)), get_int(params, options + 8))
        put_int(ints, place, average)
        put_int(ints, place + 1, integral)
        put_int(ints, place + 2, error)
        put_int(ints, place + 3, offset)
        move_thresholds(ints, theta, params, threshold, octaves, d * per_domain, (d + 1) * per_domain, offset)


@kernel
def move_thresholds(ints, theta, params, threshold, octaves, start, stop, offset):  # type: ignore[no-untyped-def]
    """Write the thresholds of a domain as its offset moves them."""
    factor, shift = get_int(params, octaves + ((offset >> 8) & 255)), 15 - (offset >> 16)
    for n in range(start, stop):
        put_int(ints, theta + n, min(get_int(params, threshold + n) * factor >> shift, STATE_MAX))
