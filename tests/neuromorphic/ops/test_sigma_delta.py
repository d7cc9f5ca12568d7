"""Neurons that send changes: against Lava's code in Python integers, at its thresholds, and where bits are lost."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import same
from neuromorphic import Input, Program, prove, run
from neuromorphic.errors import BoundError, ProgramError
from neuromorphic.integers.numbers import STATE_MAX
from neuromorphic.ops import Delta, Dense, ReLU, Sigma

ONE = np.ones(1, dtype=np.int32)


def lavas_delta(values, threshold, shift):
    """``act``, ``residue`` and what is sent, as ``PyDeltaModelFixed`` of Lava 0.10 has them."""
    act = residue = 0
    sent = []
    for value in values:
        delta = value - act + residue
        s_out = delta if abs(delta) >= threshold else 0
        residue, act = delta - s_out, value
        sent.append(s_out >> shift)
    return sent


def delta_program(threshold, shift=0, low=-1000, high=1000):
    return Program((Input("x", 1, low, high), Delta("d", "x", np.int32([threshold]), shift=shift)), num_steps=1)


@settings(max_examples=100)
@given(
    values=st.lists(st.integers(-1000, 1000), min_size=1, max_size=30),
    threshold=st.integers(0, 1500),
    shift=st.integers(0, 7),
)
def test_delta_equals_lavas_code(values, threshold, shift):
    program = delta_program(threshold, shift)
    got = run(program, np.reshape(values, (-1, 1, 1))).variables["d.delta"][:, 0, 0]
    assert got.tolist() == lavas_delta(values, threshold, shift)


def test_a_change_at_the_threshold_is_sent():
    got = run(delta_program(5), np.reshape([4, 5, 9, 10], (-1, 1, 1))).variables["d.delta"]
    assert got[:, 0, 0].tolist() == [0, 5, 0, 5]  # 4 short of it, 5 at it


def test_without_a_shift_what_was_sent_adds_up_to_the_value():
    x = np.random.default_rng(0).integers(-1000, 1001, (50, 1, 1))
    assert (run(delta_program(0), x).variables["d.delta"].cumsum(axis=0) == x).all()


def test_a_shift_loses_bits_for_good():
    """Lava 0.10 drops them: ten changes of 63 send 0 each, and the value of 630 never arrives."""
    x = np.arange(0, 631, 63)[:, np.newaxis, np.newaxis]
    sent = run(delta_program(1, shift=6), x).variables["d.delta"]
    assert sent.sum() == 0
    down = run(delta_program(1, shift=6), -x).variables["d.delta"]
    assert down.sum() == -10  # rounded down, each change of -63 sends -1


def test_relu_adds_its_constant_first():
    ops = (Input("x", 3, -9, 9), Dense("fc", "x", np.eye(3, dtype=np.int8)), ReLU("r", "fc", np.int32([0, 2, -2])))
    program = Program((*ops, Sigma("s", ("r", "r"), 3)), num_steps=1)
    x = np.array([[[-1, -1, 5]], [[1, -3, 1]]])
    assert run(program, x).variables["s.s"][:, 0].tolist() == [[0, 2, 6], [2, 2, 6]]


def test_a_sum_saturates_at_24_bits_and_says_so():
    ops = (Input("x", 1, -128, 127), Dense("fc", "x", np.int8([[127]]), shift=9), Sigma("s", ("fc",), 1))
    program = Program(ops, num_steps=3)
    bound = prove(program)[-1]
    assert (bound.low, bound.high, bound.can_saturate) == (-STATE_MAX, STATE_MAX, True)
    sums = run(program, np.full((3, 1, 1), 127)).variables["s.s"][:, 0, 0]
    assert sums.tolist() == [127 * 127 << 9, STATE_MAX, STATE_MAX]
    back = run(program, np.reshape([127, 127, -1], (3, 1, 1))).variables["s.s"][-1, 0, 0]
    assert back == STATE_MAX - (127 << 9)  # it starts again from the limit


def test_ranges_hold_for_any_number_of_steps():
    rng = np.random.default_rng(1)
    ops = (
        Input("x", 4, -60, 60),
        Delta("d", "x", np.int32([0, 1, 5, 90])),
        Dense("fc", "d", rng.integers(-127, 128, (5, 4)).astype(np.int8), shift=6),
        Sigma("s", ("fc",), 5),
        ReLU("r", "s", rng.integers(-9000, 9000, 5).astype(np.int32)),
        Delta("e", "r", np.full(5, 1 << 12, np.int32), shift=6),
        Dense("out", "e", rng.integers(-127, 128, (2, 5)).astype(np.int8)),
        Sigma("t", ("out",), 2),
    )
    program = Program(ops, num_steps=2_000_000_000)
    bounds = {bound.name: bound for bound in prove(program)}
    recording = run(program, rng.integers(-60, 61, (400, 8, 4)))
    for name, bound in bounds.items():
        for variable in ("delta", "s"):
            values = recording.variables.get(f"{name}.{variable}")
            if values is not None:
                assert bound.low <= values.min() <= values.max() <= bound.high
    assert bounds["d"].high == 120
    assert not bounds["d"].can_saturate


def wide_program(most):
    wide = Dense("fc", "x", np.int8([[127]]), shift=16)
    return Program((Input("x", 1, -most, most), wide, Delta("d", "fc", ONE, shift=1)), num_steps=4)


@pytest.mark.parametrize("executor", ["native", "torch", "onnxruntime", "openvino"])
def test_wide_changes_are_exact(executor):
    x = np.reshape([120, -120, 120, 119], (4, 1, 1))
    got = same.assert_equal(wide_program(120), x, executor).variables["d.delta"][:, 0, 0]
    assert got[1] == -240 * 127 << 15


def test_a_change_beyond_int32_is_refused():
    with pytest.raises(BoundError, match="d: the change of neuron 0 can reach 3329228800"):
        prove(wide_program(200))


def test_what_is_refused():
    for make, message in (
        (lambda: Delta("d", "x", np.int32([-1])), "d: threshold must lie in 0..2147483647, got -1..-1"),
        (lambda: Delta("d", "x", ONE, shift=17), "d: shift must be an integer in 0..16, got 17"),
        (lambda: Sigma("s", ("x",), 0), "s: size must be an integer in 1..16777216, got 0"),
        (lambda: ReLU("r", "x", np.float32([1.0])), "r: bias must be a non-empty 1-dimensional integer array"),
    ):
        with pytest.raises(ProgramError, match=message):
            make()
    with pytest.raises(ProgramError, match="s: source 'x' must give values of size 1, got events of size 1"):
        Program((Input("x", 1), Sigma("s", ("x",), 1)), num_steps=1)
