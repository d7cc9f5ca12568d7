"""Neurons, sums, linear states and gates, eight at once in 32 bits; and thresholds that follow the firing rate.

The definitions (:mod:`neuromorphic.ops`) take products through 64 bits.
Here ``|x| * f >> 12`` is ``(|x| >> 12) * f + ((|x| & 4095) * f >> 12)``, which never leaves 32 for a factor of at most
4096; and what is added to a state that saturates at 24 bits may be clipped to 2**30 first: it saturates either way. So
the results are equal for every input, not only for proven ones. Places are padded to whole vectors.
"""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import inlined, kernel
from neuromorphic.executors.native.kernels.lanes import look_up_many
from neuromorphic.executors.native.kernels.vectors import (
    MANY,
    clip,
    count_ones,
    faded,
    get_int,
    get_long,
    get_word,
    greater,
    load_many,
    max_of,
    min_of,
    put_int,
    put_long,
    put_word,
    shift_left,
    shift_right,
    shift_right_signed,
    signs_of_many,
    splat_many,
    store_many,
    toward_zero,
    weighed,
)
from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE, STATE_MAX
from neuromorphic.integers.resets import RESETS

AT_ONCE = MANY.lanes
FAR = 1 << 30
GATE_END = 4095
_ONE = np.uint64(1)
_RESETS = list(RESETS)
ZERO, SUBTRACT, ZERO_WITH_INPUT = (_RESETS.index(name) for name in ("zero", "subtract", "zero_with_input"))
SUBTRACT_SNNTORCH, ZERO_DELAYED = _RESETS.index("subtract_snntorch"), _RESETS.index("zero_delayed")
SUBTRACT_DELAYED = _RESETS.index("subtract_delayed")


@inlined
def _summed(ints, links, first, count, i):  # type: ignore[no-untyped-def]
    total = load_many(ints, get_long(links, first) + i)
    for s in range(1, count):
        total = total + load_many(ints, get_long(links, first + s) + i)
    return total


@kernel
def fire(  # type: ignore[no-untyped-def]
    ints, links, first, count, params, decay, thetas, theta, bias, shift, reset, v_place, size, bits, place
):
    """One step of neurons: their membranes in ``ints``, their spikes to ``bits``. ``thetas`` holds the thresholds."""
    limit = FAR >> shift
    for start in range(0, size, 64):
        word = np.uint64(0)
        for i in range(start, start + 64, AT_ONCE):
            v = load_many(ints, v_place + i)
            threshold = load_many(thetas, theta + i)
            current = clip(_summed(ints, links, first, count, i), limit)
            drive = shift_left(current, shift) + load_many(params, bias + i)
            held = greater(v, threshold)
            if reset == ZERO_DELAYED:
                v = v ^ (v & held)
            elif reset in (SUBTRACT_SNNTORCH, SUBTRACT_DELAYED):
                drive = drive - (threshold & held)
            u = clip(faded(v, load_many(params, decay + i), 0) + drive, STATE_MAX)
            if reset == ZERO_WITH_INPUT:
                u = u ^ (u & held)
            fired = greater(u, threshold)
            if reset == ZERO:
                u = u ^ (u & fired)
            elif reset == SUBTRACT:
                u = u - (threshold & fired)
            elif reset == SUBTRACT_SNNTORCH:
                u = clip(u - (threshold & fired) + (threshold & held), STATE_MAX)
            store_many(ints, v_place + i, u)
            word |= signs_of_many(fired) << np.uint64(i - start)
        if start + 64 > size:
            word &= (_ONE << np.uint64(size - start)) - _ONE
        put_word(bits, place + (start >> 6), word)


@kernel
def fire_graded(row, links, params, ints, counts):  # type: ignore[no-untyped-def]
    """One step of ``GradedLIF``: events to ``ints``, how many are not 0 to ``counts``."""
    first, count, size = get_long(row, rows.LINKS), get_long(row, rows.NUM_SOURCES), get_long(row, rows.SIZE)
    decay, theta, bias = get_long(row, rows.P0), get_long(row, rows.P1), get_long(row, rows.P2)
    shift, reset, v_place = get_long(row, rows.P3), get_long(row, rows.P4), get_long(row, rows.P5)
    counter, levels, out = get_long(row, rows.P6), get_long(row, rows.P7), get_long(row, rows.OUT)
    limit, fired = FAR >> shift, get_long(counts, counter)
    for i in range(0, size, AT_ONCE):
        threshold = load_many(params, theta + i)
        drive = shift_left(clip(_summed(ints, links, first, count, i), limit), shift) + load_many(params, bias + i)
        u = clip(faded(load_many(ints, v_place + i), load_many(params, decay + i), 0) + drive, STATE_MAX)
        one, two = greater(u, threshold), greater(u, shift_left(threshold, 1))
        event, lost = splat_many(0) - one - two, (threshold & one) + (threshold & two)
        if levels == 4:
            four = greater(u, shift_left(threshold, 2))
            event, lost = event - four - four, lost + (shift_left(threshold, 1) & four)
        if reset == ZERO:
            u = u ^ (u & one)
        elif reset == SUBTRACT:
            u = u - lost
        store_many(ints, v_place + i, u)
        store_many(ints, out + i, event)
        mask = signs_of_many(one)
        if i + AT_ONCE > size:
            mask &= (_ONE << np.uint64(size - i)) - _ONE
        fired += count_ones(mask)
    for i in range(size, (size + AT_ONCE - 1) // AT_ONCE * AT_ONCE):
        put_int(ints, out + i, 0)
    put_long(counts, counter, fired)


@kernel
def add_up(ints, links, first, count, params, bias, shift, place, size):  # type: ignore[no-untyped-def]
    """One step of running sums."""
    limit = FAR >> shift
    for i in range(0, size, AT_ONCE):
        drive = shift_left(clip(_summed(ints, links, first, count, i), limit), shift)
        store_many(ints, place + i, clip(load_many(ints, place + i) + drive + load_many(params, bias + i), STATE_MAX))


@kernel
def integrate(ints, links, first, count, params, decay, bias, shift, place, size):  # type: ignore[no-untyped-def]
    """One step of leaky integrators."""
    limit = FAR >> shift
    for i in range(0, size, AT_ONCE):
        drive = shift_left(clip(_summed(ints, links, first, count, i), limit), shift)
        held = faded(load_many(ints, place + i), load_many(params, decay + i), 0)
        store_many(ints, place + i, clip(held + drive + load_many(params, bias + i), STATE_MAX))


@kernel
def average(ints, place, source, gates, size):  # type: ignore[no-untyped-def]
    """One step of gated moving averages."""
    for i in range(0, size, AT_ONCE):
        gate = load_many(ints, gates + i)
        held = faded(load_many(ints, place + i), gate, 0)
        taken = faded(load_many(ints, source + i), splat_many(DECAY_ONE) - gate, 0)
        store_many(ints, place + i, clip(held + clip(taken, FAR), STATE_MAX))


@kernel
def resonate(ints, re_place, im_place, source, params, cosine, sine, size):  # type: ignore[no-untyped-def]
    """One step of damped oscillators."""
    for i in range(0, size, AT_ONCE):
        re, im = load_many(ints, re_place + i), load_many(ints, im_place + i)
        c, s = load_many(params, cosine + i), load_many(params, sine + i)
        x = clip(load_many(ints, source + i), FAR)
        store_many(ints, re_place + i, clip(weighed(re, c, 0) - weighed(im, s, 0) + x, STATE_MAX))
        store_many(ints, im_place + i, clip(weighed(re, s, 0) + weighed(im, c, 0), STATE_MAX))


@kernel
def weigh(ints, out, source, gates, shift, size):  # type: ignore[no-untyped-def]
    """Multiply with gates."""
    for i in range(0, size, AT_ONCE):
        store_many(ints, out + i, faded(load_many(ints, source + i), load_many(ints, gates + i), shift))


@kernel
def scale(ints, out, source, params, factor, shift, narrow, size):  # type: ignore[no-untyped-def]
    """Multiply with constants; ``narrow``: no product leaves 32 bits."""
    if narrow:
        for i in range(0, size, AT_ONCE):
            product = load_many(ints, source + i) * load_many(params, factor + i)
            sign = shift_right_signed(product, 31)
            store_many(ints, out + i, (shift_right((product ^ sign) - sign, shift) ^ sign) - sign)
        return
    for i in range(size):
        product = get_int(ints, source + i) * get_int(params, factor + i)
        put_int(ints, out + i, toward_zero(product, shift))


@kernel
def look_up(ints, out, source, params, offset, table, size):  # type: ignore[no-untyped-def]
    """Take sigmoids from the table."""
    for i in range(0, size, AT_ONCE):
        y = clip(clip(load_many(ints, source + i), FAR) + load_many(params, offset + i), GATE_END)
        negative = shift_right_signed(y, 31)
        found = look_up_many(params, table, (y ^ negative) - negative)
        store_many(ints, out + i, ((found ^ negative) - negative) + (negative & splat_many(DECAY_ONE)))


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
    domains, options = get_long(row, rows.P0), get_long(row, rows.P1)
    control, count, theta = get_long(row, rows.P2), get_long(row, rows.P3), get_long(row, rows.P4)
    threshold, octaves, period = get_long(row, rows.P5), get_long(row, rows.P6), get_long(row, rows.P7)
    per_domain = get_long(row, rows.SIZE) // domains
    for d in range(domains):
        fired = _count_between(bits, get_long(row, rows.BITS), d * per_domain, (d + 1) * per_domain)
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
        integral = min_of(max_of(integral, get_int(params, options + 5)), get_int(params, options + 6))
        wanted = get_int(params, options + 2) * error + get_int(params, options + 3) * integral
        wanted = toward_zero(wanted + get_int(params, options + 4) * (error - before), 12)
        offset = min_of(max_of(wanted, get_int(params, options + 7)), get_int(params, options + 8))
        put_int(ints, place, average)
        put_int(ints, place + 1, integral)
        put_int(ints, place + 2, error)
        put_int(ints, place + 3, offset)
        _move_thresholds(ints, theta, params, threshold, octaves, d * per_domain, (d + 1) * per_domain, offset)


@kernel
def _move_thresholds(ints, theta, params, threshold, octaves, start, stop, offset):  # type: ignore[no-untyped-def]
    """Write the thresholds of a domain as its offset moves them."""
    factor, shift = get_int(params, octaves + ((offset >> 8) & 255)), 15 - (offset >> 16)
    for n in range(start, stop):
        put_int(ints, theta + n, min_of(get_int(params, threshold + n) * factor >> shift, STATE_MAX))
