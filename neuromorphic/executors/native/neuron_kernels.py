"""Neurons, sums, linear states and gates, eight at once in 32 bits.

The definitions (:mod:`neuromorphic.ops`) take products through 64 bits.
Here ``|x| * f >> 12`` is ``(|x| >> 12) * f + ((|x| & 4095) * f >> 12)``, which never leaves 32 for a factor of at most
4096; and what is added to a state that saturates at 24 bits may be clipped to 2**30 first: it saturates either way. So
the results are equal for every input, not only for proven ones. Places are padded to whole vectors.
"""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native.compiled import inlined, kernel
from neuromorphic.executors.native.vectors import (
    clip,
    faded,
    get_int,
    get_long,
    greater,
    load_ints,
    put_int,
    put_word,
    shift_left,
    shift_right,
    shift_right_signed,
    signs_as_bits,
    splat_ints,
    store_ints,
    toward_zero,
    weighed,
)
from neuromorphic.ops.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.ops.resets import RESETS

FAR = 1 << 30
GATE_END = 4095
ZERO, SUBTRACT, NONE, SUBTRACT_SNNTORCH, ZERO_DELAYED, SUBTRACT_DELAYED, ZERO_WITH_INPUT = (
    list(RESETS).index(name)
    for name in (
        "zero",
        "subtract",
        "none",
        "subtract_snntorch",
        "zero_delayed",
        "subtract_delayed",
        "zero_with_input",
    )
)


@inlined
def _summed(ints, links, first, count, i):  # type: ignore[no-untyped-def]
    total = load_ints(ints, get_long(links, first) + i)
    for s in range(1, count):
        total = total + load_ints(ints, get_long(links, first + s) + i)
    return total


@kernel
def fire(  # type: ignore[no-untyped-def]
    ints, links, first, count, params, decay, thetas, theta, bias, shift, reset, v_place, size, bits, place
):
    """One step of neurons: their membranes in ``ints``, their spikes to ``bits``. ``thetas`` holds the thresholds."""
    limit = FAR >> shift
    for start in range(0, size, 64):
        word = np.uint64(0)
        for i in range(start, start + 64, 8):
            v = load_ints(ints, v_place + i)
            threshold = load_ints(thetas, theta + i)
            current = clip(_summed(ints, links, first, count, i), limit)
            drive = shift_left(current, shift) + load_ints(params, bias + i)
            held = greater(v, threshold)
            if reset == ZERO_DELAYED:
                v = v ^ (v & held)
            elif reset in (SUBTRACT_SNNTORCH, SUBTRACT_DELAYED):
                drive = drive - (threshold & held)
            u = clip(faded(v, load_ints(params, decay + i), 0) + drive, STATE_MAX)
            if reset == ZERO_WITH_INPUT:
                u = u ^ (u & held)
            fired = greater(u, threshold)
            if reset == ZERO:
                u = u ^ (u & fired)
            elif reset == SUBTRACT:
                u = u - (threshold & fired)
            elif reset == SUBTRACT_SNNTORCH:
                u = clip(u - (threshold & fired) + (threshold & held), STATE_MAX)
            store_ints(ints, v_place + i, u)
            word |= signs_as_bits(fired) << np.uint64(i - start)
        if start + 64 > size:
            word &= (np.uint64(1) << np.uint64(size - start)) - np.uint64(1)
        put_word(bits, place + (start >> 6), word)


@kernel
def add_up(ints, links, first, count, params, bias, shift, place, size):  # type: ignore[no-untyped-def]
    """One step of running sums."""
    limit = FAR >> shift
    for i in range(0, size, 8):
        drive = shift_left(clip(_summed(ints, links, first, count, i), limit), shift)
        store_ints(ints, place + i, clip(load_ints(ints, place + i) + drive + load_ints(params, bias + i), STATE_MAX))


@kernel
def integrate(ints, links, first, count, params, decay, bias, shift, place, size):  # type: ignore[no-untyped-def]
    """One step of leaky integrators."""
    limit = FAR >> shift
    for i in range(0, size, 8):
        drive = shift_left(clip(_summed(ints, links, first, count, i), limit), shift)
        held = faded(load_ints(ints, place + i), load_ints(params, decay + i), 0)
        store_ints(ints, place + i, clip(held + drive + load_ints(params, bias + i), STATE_MAX))


@kernel
def average(ints, place, source, gates, size):  # type: ignore[no-untyped-def]
    """One step of gated moving averages."""
    for i in range(0, size, 8):
        gate = load_ints(ints, gates + i)
        held = faded(load_ints(ints, place + i), gate, 0)
        taken = faded(load_ints(ints, source + i), splat_ints(DECAY_ONE) - gate, 0)
        store_ints(ints, place + i, clip(held + clip(taken, FAR), STATE_MAX))


@kernel
def resonate(ints, re_place, im_place, source, params, cosine, sine, size):  # type: ignore[no-untyped-def]
    """One step of damped oscillators."""
    for i in range(0, size, 8):
        re, im = load_ints(ints, re_place + i), load_ints(ints, im_place + i)
        c, s = load_ints(params, cosine + i), load_ints(params, sine + i)
        x = clip(load_ints(ints, source + i), FAR)
        store_ints(ints, re_place + i, clip(weighed(re, c, 0) - weighed(im, s, 0) + x, STATE_MAX))
        store_ints(ints, im_place + i, clip(weighed(re, s, 0) + weighed(im, c, 0), STATE_MAX))


@kernel
def weigh(ints, out, source, gates, shift, size):  # type: ignore[no-untyped-def]
    """Multiply with gates."""
    for i in range(0, size, 8):
        store_ints(ints, out + i, faded(load_ints(ints, source + i), load_ints(ints, gates + i), shift))


@kernel
def scale(ints, out, source, params, factor, shift, narrow, size):  # type: ignore[no-untyped-def]
    """Multiply with constants; ``narrow``: no product leaves 32 bits."""
    if narrow:
        for i in range(0, size, 8):
            product = load_ints(ints, source + i) * load_ints(params, factor + i)
            sign = shift_right_signed(product, 31)
            store_ints(ints, out + i, (shift_right((product ^ sign) - sign, shift) ^ sign) - sign)
        return
    for i in range(size):
        product = get_int(ints, source + i) * get_int(params, factor + i)
        put_int(ints, out + i, toward_zero(product, shift))


@kernel
def look_up(ints, out, source, params, offset, table, size):  # type: ignore[no-untyped-def]
    """Take sigmoids from the table."""
    for i in range(size):
        y = get_int(ints, source + i) + get_int(params, offset + i)
        found = get_int(params, table + (min(y, GATE_END) if y >= 0 else min(-y, GATE_END)))
        put_int(ints, out + i, found if y >= 0 else DECAY_ONE - found)
