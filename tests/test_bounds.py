"""The proof: nothing a program can do lies outside its bounds, and the bounds are reached where they are exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromorphic import LIF, Dense, Input, Program, Readout, prove, run
from neuromorphic.errors import BoundError
from neuromorphic.fixed_point import RESETS, STATE_MAX
from programs import small_inputs, small_program


def one_neuron(weight=1, *, fan_in=1, shift=0, reset="zero", threshold=STATE_MAX, decay=4096, steps=10, high=127):
    one = np.ones(1, dtype=np.int32)
    return Program(
        (
            Input("x", fan_in, low=-high, high=high),
            Dense("fc", "x", np.full((1, fan_in), weight, dtype=np.int8)),
            LIF("lif", ("fc",), decay=decay * one, threshold=threshold * one, bias=0 * one, shift=shift, reset=reset),
        ),
        num_steps=steps,
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), reset=st.sampled_from(RESETS))
def test_no_run_leaves_its_bounds(seed, reset):
    program = small_program(reset=reset, seed=seed)
    bounds = {bound.name: bound for bound in prove(program)}
    recording = run(program, small_inputs(seed=seed))
    for name, array in recording.variables.items():
        if not name.endswith(".spikes"):
            bound = bounds[name.split(".")[0]]
            low, high = max(bound.low, -STATE_MAX), min(bound.high, STATE_MAX)
            assert low <= int(array.min())
            assert int(array.max()) <= high


def test_a_sum_reaches_its_bound():
    program = one_neuron(3, fan_in=4)
    assert prove(program)[0].high == 3 * 4 * 127
    assert prove(program)[0].low == -3 * 4 * 127


def test_a_sum_that_could_overflow_is_refused_and_named():
    program = one_neuron(127, fan_in=600, high=1 << 14)
    wide = Program((program.ops[0], Dense("fc", "x", program["fc"].weights, shift=1)), num_steps=1)
    with pytest.raises(BoundError, match="fc: the sum of neuron 0 can reach [0-9]+, int32 holds 2147483647"):
        prove(wide)


def test_a_state_that_could_overflow_int32_before_saturating_is_refused():
    with pytest.raises(BoundError, match="lif: the state before saturation of neuron 0 can reach"):
        prove(one_neuron(127, fan_in=20, shift=13))


def test_saturation_is_found_exactly():
    """An integrator without leak gains 127 * 2**10 a step: step 64 still fits, step 65 does not."""
    assert not prove(one_neuron(shift=10, reset="none", steps=64))[1].can_saturate
    assert prove(one_neuron(shift=10, reset="none", steps=65))[1].can_saturate
    ramp = run(one_neuron(shift=10, reset="none", steps=66), np.array([[127]])).variables["lif.v"][:, 0, 0]
    assert ramp[63:].tolist() == [127 * 1024 * 64, STATE_MAX, STATE_MAX]


def test_strict_refuses_what_may_saturate():
    with pytest.raises(BoundError, match="lif: a state can reach [0-9]+ within 100 steps and saturate at 8388607"):
        prove(one_neuron(shift=10, reset="none", steps=100), strict=True)


def test_a_reset_bounds_the_membrane_from_above_only():
    """What exceeds the threshold is reset, so only the negative side can run away."""
    bound = prove(one_neuron(shift=10, threshold=1000, steps=5000, high=126))[1]
    assert bound.high == 1000 + 126 * 1024
    assert bound.low < -STATE_MAX


def test_a_leak_settles_without_an_end():
    """u = decay(u) + d settles below d / (1 - decay); a million steps are bounded without running them."""
    bound = prove(one_neuron(shift=6, reset="none", decay=3686, steps=1_000_000))[1]
    assert not bound.can_saturate
    assert bound.high <= 127 * 64 / (1 - 3686 / 4096)


def test_a_readout_counts_its_steps():
    ops = one_neuron().ops[:2]
    readout = Readout("y", ("fc",), bias=np.array([3], dtype=np.int32), shift=2)
    assert prove(Program((*ops, readout), num_steps=7))[1].high == 7 * (127 * 4 + 3)
