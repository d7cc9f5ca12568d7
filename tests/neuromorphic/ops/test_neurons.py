"""The integer arithmetic against oracles in Python's own unbounded integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuromorphic.inputs import quantize_input
from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX, NumPy
from neuromorphic.integers.resets import RESETS
from oracles import clip24, lif_oracle, toward_zero
from steps import accumulate_step, dense, lif_step

XP = NumPy()
state = st.integers(-STATE_MAX, STATE_MAX)


@given(st.integers(-(2**62), 2**62), st.integers(0, 40))
def test_shift_rounds_toward_zero(x, bits):
    assert int(XP.toward_zero(np.array([x]), bits)[0]) == toward_zero(x, bits)


@given(state, st.integers(0, DECAY_ONE))
def test_decay_is_exact_and_never_grows(v, decay):
    got = int(XP.toward_zero(np.array([v]) * decay, 12)[0])
    assert got == toward_zero(v * decay, 12)
    assert abs(got) <= abs(v)


@given(st.integers(-(2**62), 2**62))
def test_saturate_is_symmetric(x):
    assert int(XP.saturate(np.array([x]))[0]) == clip24(x)
    assert int(XP.saturate(np.array([-x]))[0]) == -clip24(x)


@given(
    v=state,
    current=st.integers(-(2**20), 2**20),
    decay=st.integers(0, DECAY_ONE),
    threshold=st.integers(0, STATE_MAX),
    bias=state,
    shift=st.integers(0, 10),
    reset=st.sampled_from(list(RESETS)),
)
def test_lif_step_equals_python_integers(v, current, decay, threshold, bias, shift, reset):
    one = lambda x: np.array([x], dtype=np.int32)  # noqa: E731
    spikes, after = lif_step(
        one(v)[None],
        one(current)[None],
        decay=one(decay),
        threshold=one(threshold),
        bias=one(bias),
        shift=shift,
        reset=reset,
    )
    assert (bool(spikes[0, 0]), int(after[0, 0])) == lif_oracle(v, current, decay, threshold, bias, shift, reset)


@pytest.mark.parametrize("reset", RESETS)
def test_a_tie_is_silent(reset):
    one = lambda x: np.array([x], dtype=np.int32)  # noqa: E731
    arguments = {"decay": one(0), "threshold": one(100), "bias": one(0), "shift": 0, "reset": reset}
    assert int(lif_step(one(0)[None], one(100)[None], **arguments)[0][0, 0]) == 0
    assert int(lif_step(one(0)[None], one(101)[None], **arguments)[0][0, 0]) == 1


def test_the_two_subtractions_differ_only_above_threshold():
    """A residue above threshold is compared one threshold lower by snnTorch's rule, not by the plain one."""
    one = lambda x: np.array([x], dtype=np.int32)  # noqa: E731
    arguments = {"decay": one(DECAY_ONE), "threshold": one(10), "bias": one(0), "shift": 0}
    high, low = one(15)[None], one(10)[None]
    plain = lif_step(high, one(0)[None], reset="subtract", **arguments)
    snntorch = lif_step(high, one(0)[None], reset="subtract_snntorch", **arguments)
    assert (int(plain[0][0, 0]), int(plain[1][0, 0])) == (1, 5)
    assert (int(snntorch[0][0, 0]), int(snntorch[1][0, 0])) == (0, 15)
    for current in (0, 1, 50):
        a = lif_step(low, one(current)[None], reset="subtract", **arguments)
        b = lif_step(low, one(current)[None], reset="subtract_snntorch", **arguments)
        assert int(a[0][0, 0]) == int(b[0][0, 0])
        assert int(a[1][0, 0]) == int(b[1][0, 0])


def test_leak_reaches_zero_from_both_sides():
    """Rounding toward zero has no fixed point but zero, so a silent membrane forgets its sign."""
    v = np.array([[STATE_MAX, -STATE_MAX, 1, -1]], dtype=np.int64)
    decay = np.full(4, DECAY_ONE - 1)
    for _ in range(70_000):
        v = XP.saturate(XP.toward_zero(v * decay, 12))
    assert not v.any()


@given(
    arrays(np.int8, (5, 7), elements=st.integers(-127, 127)),
    arrays(np.int32, (3, 7), elements=st.integers(-128, 127)),
    st.integers(0, 8),
)
def test_dense_equals_python_integers(weights, events, shift):
    got = dense(weights, events, shift)
    for b in range(3):
        for i in range(5):
            assert int(got[b, i]) == sum(int(weights[i, j]) * int(events[b, j]) for j in range(7)) * 2**shift


@given(state, st.integers(-(2**20), 2**20), state, st.integers(0, 10))
def test_accumulate_equals_python_integers(y, current, bias, shift):
    one = lambda x: np.array([x], dtype=np.int32)  # noqa: E731
    got = accumulate_step(one(y)[None], one(current)[None], bias=one(bias), shift=shift)
    assert int(got[0, 0]) == clip24(y + current * 2**shift + bias)


def test_quantize_rounds_half_to_even_and_clips():
    x = np.array([0.5, 1.5, 2.5, -0.5, 300.0, -300.0], dtype=np.float32)
    assert quantize_input(x, 1.0, -128, 127).tolist() == [0, 2, 2, 0, 127, -128]
