"""The proof: nothing a program can do lies outside its bounds, and the bounds are reached where they are exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromorphic import LIF, Dense, Input, Program, Readout, prove, run
from neuromorphic.errors import BoundError
from neuromorphic.executors.numpy_executor import STEPS, initial_state
from neuromorphic.fixed_point import RESETS, STATE_MAX
from neuromorphic.pathway_ops import Delay
from programs import small_inputs, small_program
from random_graphs import random_graph
from random_programs import random_inputs


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


def test_no_value_of_any_operation_leaves_its_proven_range():
    """Random programs of every operation at the edges of their ranges: each value of each step, not only the states."""
    reached = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        program = random_graph(rng, num_steps=25)
        bounds = {bound.name: bound for bound in prove(program)}
        inputs = random_inputs(program, rng, 3)
        states = {op.name: initial_state(op, 3) for op in program.ops}
        delays = program.of_type(Delay)
        for t in range(25):
            values = {op.name: states[op.name]["queue"][t % op.steps].copy() for op in delays}
            for op in program.ops:
                if isinstance(op, Input):
                    values[op.name] = inputs[t]
                elif not isinstance(op, Delay):
                    values[op.name] = STEPS[type(op)](op, states[op.name], *(values[s] for s in op.sources))
                    if op.kind != "events":
                        low, high = int(values[op.name].min()), int(values[op.name].max())
                        assert bounds[op.name].low <= low <= high <= bounds[op.name].high, (seed, op)
                        reached.append(max(high, -low) / max(bounds[op.name].high, -bounds[op.name].low, 1))
            for op in delays:
                states[op.name]["queue"][t % op.steps] = values[op.source]
    assert max(reached) == 1.0
    assert np.mean(np.array(reached) > 0.25) > 0.1  # and the ranges are not just wide


def test_a_state_that_has_not_settled_after_thousands_of_steps_is_bounded():
    """A sum grows for ever: its bound must grow with the steps, also beyond those that are followed one by one."""
    ops = (Input("x", 1), Dense("fc", "x", np.ones((1, 1), dtype=np.int8)))
    readout = Readout("sum", ("fc",), bias=np.zeros(1, dtype=np.int32), shift=0)
    for steps in (100, 4096, 5000, 1_000_000):
        bound = prove(Program((*ops, readout), num_steps=steps))[-1]
        assert steps <= bound.high <= steps + 4096
    assert prove(Program((*ops, readout), num_steps=10_000_000))[-1].can_saturate
