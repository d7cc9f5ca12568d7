"""Gates, linear states, memories and messages against loops in Python integers written from their docstrings."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.ops.gate import SIGMOID
from oracles import clip24, toward_zero
from steps import (
    fast_weights_step,
    fingerprint,
    gate,
    gated_step,
    integrate_step,
    multiply,
    resonate_step,
    scale_values,
    slots_step,
    torus_sums,
)

INT32 = st.integers(-(2**31) + 1, 2**31 - 1)
STATE = st.integers(-STATE_MAX, STATE_MAX)
GATE = st.integers(0, DECAY_ONE)


def row(*values):
    return np.array([values], dtype=np.int32)


def column(*values):
    return np.array(values, dtype=np.int32)


@given(INT32, INT32, st.integers(31, 47))
def test_scale_rounds_toward_zero(x, factor, shift):
    assert scale_values(row(x), column(factor), shift).tolist() == [[toward_zero(x * factor, shift)]]


def test_the_sigmoid_table_is_that_of_exact_arithmetic():
    """Entries computed in rational arithmetic: e**-x by its series to 200 bits."""
    from fractions import Fraction

    def exact(i):
        x, term, total = Fraction(i, 256), Fraction(1), Fraction(0)
        for n in range(1, 120):
            total += term
            term = term * x / n
        return Fraction(4096) * total / (total + 1)  # 4096 / (1 + e**-x)

    for i in (0, 1, 2, 100, 255, 256, 1000, 2047, 2300, 3000):
        assert SIGMOID[i] == math.floor(exact(i) + Fraction(1, 2))
    assert SIGMOID[4095] == 4096
    assert (np.diff(SIGMOID) >= 0).all()


@given(INT32, STATE)
def test_gate_is_a_sigmoid_to_half_a_unit_and_symmetric(x, offset):
    got = int(gate(row(x), column(offset))[0, 0])
    y = x + offset
    expected = DECAY_ONE / (1 + math.exp(-max(-700.0, min(700.0, y / 256))))
    assert abs(got - expected) <= 0.5 + 1e-6
    assert got + int(gate(row(-x), column(-offset))[0, 0]) == DECAY_ONE


@given(INT32, GATE, st.integers(0, 16))
def test_multiply(x, g, shift):
    assert multiply(row(x), row(g), shift).tolist() == [[toward_zero(x * g, 12 + shift)]]


@given(v=STATE, x=st.integers(-(2**20), 2**20), decay=GATE, bias=STATE, shift=st.integers(0, 8))
def test_integrate(v, x, decay, bias, shift):
    expected = clip24(toward_zero(v * decay, 12) + x * 2**shift + bias)
    assert integrate_step(row(v), row(x), decay=column(decay), bias=column(bias), shift=shift).tolist() == [[expected]]


@given(s=STATE, x=INT32, g=GATE)
def test_gated_state(s, x, g):
    expected = clip24(toward_zero(s * g, 12) + toward_zero(x * (4096 - g), 12))
    got = int(gated_step(row(s), row(x), row(g))[0, 0])
    assert got == expected
    assert min(s, x, 0) <= got <= max(s, x, 0)  # never outside the hull of zero, state and input


@given(re=STATE, im=STATE, x=INT32, c=st.integers(-4096, 4096), s=st.integers(-4096, 4096))
def test_resonate(re, im, x, c, s):
    got = resonate_step(row(re), row(im), row(x), cosine=column(c), sine=column(s))
    expected = (
        clip24(toward_zero(re * c, 12) - toward_zero(im * s, 12) + x),
        clip24(toward_zero(re * s, 12) + toward_zero(im * c, 12)),
    )
    assert tuple(int(part[0, 0]) for part in got) == expected


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), rows=st.integers(3, 5), columns=st.integers(3, 5), weighed=st.booleans())
def test_torus(seed, rows, columns, weighed):
    rng = np.random.default_rng(seed)
    spikes = rng.integers(-3, 4, (2, rows * columns)).astype(np.int32)
    edges = rng.integers(-1, 2, (8, rows * columns)).astype(np.int8) if weighed else None
    got = torus_sums(spikes, rows, columns, edges)
    offsets = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
    for b in range(2):
        for n in range(rows * columns):
            r, c = divmod(n, columns)
            total = 0
            for k, (i, j) in enumerate(offsets):
                heard = int(spikes[b, (r + i) % rows * columns + (c + j) % columns])
                total += heard * (1 if edges is None else int(edges[k, n]))
            assert got[b, n] == total


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    rank=st.integers(1, 4),
    decay=GATE,
    rate_bits=st.integers(0, 12),
    frac=st.integers(0, 22),
    rule=st.sampled_from(["hebbian", "delta"]),
    size=st.sampled_from([100, 5000, STATE_MAX]),
)
def test_fast_weights(seed, rank, decay, rate_bits, frac, rule, size):
    rng = np.random.default_rng(seed)
    F = rng.integers(-size, size + 1, (1, rank, rank)).astype(np.int32)
    previous = rng.integers(-4096, 4097, (1, rank)).astype(np.int32)
    # Small enough that the read stays within int32, which the bounds prove for a program.
    x = rng.integers(-6000, 6001, (1, rank)).astype(np.int32) if frac >= 14 else row(*[0] * rank)
    y, after, key = fast_weights_step(F, previous, x, decay=decay, rate_bits=rate_bits, frac=frac, rule=rule)
    f, p = F[0].tolist(), previous[0].tolist()
    k = [max(-4096, min(4096, int(value))) for value in x[0]]
    target = list(k)
    if rule == "delta":
        recalled = [toward_zero(sum(a * b for a, b in zip(line, p, strict=True)), frac) for line in f]
        target = [clip24(a - b) for a, b in zip(k, recalled, strict=True)]
    for i in range(rank):
        for j in range(rank):
            write = toward_zero(target[i] * p[j], 24 + rate_bits - frac)
            f[i][j] = clip24(toward_zero(f[i][j] * decay, 12) + write)
    assert after[0].tolist() == f
    assert key[0].tolist() == k
    assert y[0].tolist() == [toward_zero(sum(a * b for a, b in zip(line, k, strict=True)), frac) for line in f]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    decay_bits=st.integers(2, 12),
    rate_bits=st.integers(1, 12),
    shift=st.integers(0, 22),
    plastic=st.booleans(),
    full=st.booleans(),
)
def test_slots(seed, decay_bits, rate_bits, shift, plastic, full):
    rng = np.random.default_rng(seed)
    E = np.full((1, 3, 4), 1 << 22) if full else rng.integers(0, (1 << 22) + 1, (1, 3, 4))
    keys = rng.integers(-1, 2, (3, 4)).astype(np.int8)
    events = rng.integers(0, 2, (1, 4)).astype(np.int32)
    y, after, winner = slots_step(
        E.astype(np.int32),
        events,
        keys=keys,
        gain=-7,
        decay_bits=decay_bits,
        rate_bits=rate_bits,
        shift=shift,
        plastic=plastic,
    )
    scores = [sum(int(a) * int(b) for a, b in zip(slot, events[0], strict=True)) for slot in keys]
    w = scores.index(max(scores))  # the first of equals
    assert winner.tolist() == [[w]]
    old = E[0].tolist()
    assert y[0].tolist() == [-7 * int(key) + (e >> shift) for key, e in zip(keys[w], old[w], strict=True)]
    new = [[e - (e >> decay_bits) if plastic else e for e in slot] for slot in old]
    if plastic:
        new[w] = [
            n - (e >> rate_bits) + (int(z) << (22 - rate_bits))
            for n, e, z in zip(new[w], old[w], events[0], strict=True)
        ]
    assert after[0].tolist() == new
    assert after.min() >= 0
    assert after.max() <= 1 << 22


@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=9))
def test_fingerprint(values):
    assert fingerprint(row(*values)).tolist() == [[sum(v * (i + 1) for i, v in enumerate(values)) % 2**31]]


def test_a_fingerprint_sees_a_swap_and_a_single_bit():
    base = np.arange(1000, dtype=np.int32)[None]
    swapped, flipped = base.copy(), base.copy()
    swapped[0, [3, 4]] = swapped[0, [4, 3]]
    flipped[0, 999] ^= 1
    assert len({int(fingerprint(state)[0, 0]) for state in (base, swapped, flipped)}) == 3


def test_a_gate_that_is_full_holds_its_state_for_ever():
    s = row(STATE_MAX, -5)
    for _ in range(100):
        s = gated_step(s, row(77, 77), row(4096, 4096))
    assert s.tolist() == [[STATE_MAX, -5]]


@pytest.mark.parametrize("value", [1, -1, 4095, -4095])
def test_a_slow_state_loses_at_least_one_unit_a_step(value):
    """Rounding toward zero makes small states fade linearly: states need fractional bits."""
    assert abs(int(gated_step(row(value), row(0), row(4095))[0, 0])) == abs(value) - 1
