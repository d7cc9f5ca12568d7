"""The proof: nothing a program can do lies outside its bounds, and the bounds are reached where they are exact."""

import pickle
import tracemalloc
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attack_bounds import ATTACKS
from neuromorphic import LIF, Dense, Input, Program, Readout, prove, run
from neuromorphic.bounds import ANY_STEPS, most_steps, proven_for
from neuromorphic.errors import BoundError, InputError, ProgramError
from neuromorphic.executors import EXECUTORS, get_executor
from neuromorphic.integers.membranes import _followed, _settled
from neuromorphic.integers.numbers import DECAY_ONE, INT32_MAX, STATE_MAX, NumPy
from neuromorphic.integers.resets import RESETS
from neuromorphic.ops import LI, Delay, FastWeights, Resonator, Scale
from neuromorphic.ops.base import OneSource, State, first_states
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
@given(seed=st.integers(0, 2**32), reset=st.sampled_from(list(RESETS)))
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
        states, xp = {op.name: first_states(op, 3) for op in program.ops}, NumPy()
        delays = program.of_type(Delay)
        for t in range(25):
            values = {op.name: op.read(xp, states[op.name]) for op in delays}
            for op in program.ops:
                if isinstance(op, Input):
                    values[op.name] = inputs[t].astype(np.int64)
                elif not isinstance(op, Delay):
                    placed = op.placed(xp.constant)
                    values[op.name] = placed.step(xp, states[op.name], *(values[s] for s in op.sources))
                    if op.kind != "events":
                        low, high = int(values[op.name].min()), int(values[op.name].max())
                        assert bounds[op.name].low <= low <= high <= bounds[op.name].high, (seed, op)
                        reached.append(max(high, -low) / max(bounds[op.name].high, -bounds[op.name].low, 1))
            for op in delays:
                op.step(xp, states[op.name], values[op.source])
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


def i32(values):
    return np.asarray(values).astype(np.int64).astype(np.int32)


def test_a_sum_that_comes_round_in_64_bits_is_refused():
    """2**64 + 2**21 would wrap to 2**21, and one event alone gives 2**51 + 2**21: far more than int32."""
    factor = np.full(8192, 1 << 30)
    factor[0] += 1
    ops = (
        Input("x", 8192),
        Scale("scaled", "x", i32(factor)),
        Dense("fc", "scaled", np.full((2, 8192), 64, dtype=np.int8), shift=15),
    )
    assert 64 * int(factor[0]) << 15 == 2_251_799_815_782_400
    assert 64 * int(factor.sum()) << 15 == (1 << 64) + (1 << 21)
    with pytest.raises(BoundError, match=f"fc: the sum of neuron 0 can reach {(1 << 64) + (1 << 21)}, int32 holds"):
        prove(Program(ops, num_steps=1))


def test_a_sum_beyond_int64_before_its_shift_is_exact():
    """The operations themselves cannot go there, their ranges can: Python integers take over."""
    far = np.full(3, 1 << 61, dtype=np.int64)
    with pytest.raises(BoundError, match=f"fc: the sum of neuron 1 can reach {3 * 127 << 61},"):
        Dense("fc", "x", i32([[0, 0, 0], [127, 127, 127]]).astype(np.int8)).bound([(-far, far)], 1)


def hebbian(num_steps, *, size=200, decay=4095):
    ops = (Input("x", size), Scale("key", "x", i32(np.full(size, 4096))))
    return Program((*ops, FastWeights("fast", "key", size, decay, rate_bits=0, frac=10)), num_steps=num_steps)


def test_fast_weights_are_followed_until_they_settle():
    """They gain 1,024 a step and lose a 4096th: after 4,096 steps they still grow."""
    held, reads = 0, {}
    for step in range(1, 6001):
        held = (held * 4095 >> 12) + 1024 * (step > 1)  # before the first step there is no key
        reads[step] = held * 4096 * 200 >> 10
    assert reads[5000] == 2_364_255_200
    assert prove(hebbian(4096))[-1].high == 2_120_155_200 >= reads[4096]
    for steps in (5000, 6000):
        with pytest.raises(BoundError, match="fast: the value of neuron 0 can reach 2[0-9]{9}, int32 holds 2147483647"):
            prove(hebbian(steps))
    assert most_steps(hebbian(10)) == max(step for step in reads if reads[step] <= INT32_MAX) - 1
    x = np.ones((3, 1, 200), dtype=np.int32)
    assert run(hebbian(3), x).variables["fast.F"].max() <= prove(hebbian(3, size=1))[-1].high >> 2


def test_fast_weights_settle_where_a_step_adds_what_it_takes():
    """``h - ceil(h / 4096) + 2 = h`` first at 4,097."""
    ops = (Input("x", 1), Scale("key", "x", i32([4096])), FastWeights("fast", "key", 1, 4095, rate_bits=1, frac=2))
    assert prove(Program(ops, num_steps=ANY_STEPS))[-1].high == (4096 * (2 - 1) + 1) * 4096 >> 2


@pytest.mark.parametrize("reset", RESETS)
def test_where_a_state_settles_is_where_its_steps_lead(reset):
    """Beyond 4,096 steps the end is computed; following the steps until nothing changes gives the same."""
    rng = np.random.default_rng(list(RESETS).index(reset))
    size, steps = 400, 200_000
    decay = rng.choice([0, 1, 2048, 3900, 4000, 4050], size)  # those that settle soon
    drive = np.sort(rng.integers(-(1 << 20), 1 << 20, (2, size)) >> rng.integers(0, 20, size), axis=0)
    theta = np.sort(rng.choice([0, 1, 77, 5000, 1 << 20, STATE_MAX], (2, size)), axis=0)
    for limits in (None, (theta[0], theta[0]), (theta[0], theta[1])):
        options = {"theta": limits, "reset": RESETS[reset]}
        followed = _followed(decay, (drive[0], drive[1]), steps, **options)
        settled = _settled(decay, (drive[0], drive[1]), steps, **options)
        for a, b in zip(followed, settled, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("steps", [4097, 5000])
def test_where_a_state_settles_is_an_upper_bound_while_it_grows(steps):
    rng = np.random.default_rng(steps)
    decay = rng.choice([4080, 4090, 4095, DECAY_ONE], 60)
    drive = np.sort(rng.integers(-5000, 5000, (2, 60)), axis=0)
    theta = np.sort(rng.choice([0, 77, 5000, 1 << 20], (2, 60)), axis=0)
    for reset in RESETS:
        options = {"theta": (theta[0], theta[1]), "reset": RESETS[reset]}
        followed = _followed(decay, (drive[0], drive[1]), steps, **options)
        settled = _settled(decay, (drive[0], drive[1]), steps, **options)
        assert (settled[0] <= followed[0]).all()
        assert (settled[1] >= followed[1]).all()


def test_a_resonator_is_bounded_in_integers():
    """A factor of length 1 gathers for ever; one a little shorter than 1 settles at ``(|x| + 2) / (1 - r)``."""
    turning = Resonator("r", "x", cosine=i32([4096, 0, 4095, 0, 0]), sine=i32([0, -4096, 0, 0, 2048]))
    ones = np.ones(5, dtype=np.int64)
    low, high, _, saturates = turning.bound([(-100 * ones, 100 * ones)], 1000)
    assert not saturates
    assert high[:2].tolist() == [102 * 1000] * 2
    assert high[2:].tolist() == [102 * 1000, 102, 102 * 2]  # the first would settle at 102 * 4096
    assert low.tolist() == (-high).tolist()
    assert turning.bound([(-100 * ones, 100 * ones)], ANY_STEPS).saturates


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_finds_nothing(attack):
    """``python tests/attack_bounds.py 600`` looks longer."""
    found = [ATTACKS[attack](np.random.default_rng([seed, list(ATTACKS).index(attack)])) for seed in range(12)]
    assert found == [None] * 12


def growing(num_steps=10):
    """A sum of a sum: the first grows by 127 a step, the second takes it 127 * 1024 times and leaves 32 bits."""
    ops = (
        Input("x", 1),
        Dense("fc", "x", np.full((1, 1), 127, dtype=np.int8)),
        LI("sum", ("fc",), decay=i32([DECAY_ONE]), bias=i32([0])),
        Dense("large", "sum", np.full((1, 1), 127, dtype=np.int8), shift=10),
        Readout("y", ("large",), bias=i32([0]), shift=0),
    )
    return Program(ops, num_steps=num_steps)


ANY = [name for name, entry in EXECUTORS.items() if "LI" not in entry.lacks]
"""Executors that run programs of any neurons."""
GROWS_FOR = (INT32_MAX - 2 * STATE_MAX) // (127 * 127 << 10)


def test_for_how_many_steps_a_program_is_proven():
    assert most_steps(growing()) == GROWS_FOR == 129
    assert most_steps(growing(), 50) == 50
    assert most_steps(growing(100), 50) == 100
    assert most_steps(one_neuron(shift=10)) == ANY_STEPS  # its membrane saturates, which is a meaning
    with pytest.raises(BoundError, match="y: the state before saturation"):
        most_steps(growing(GROWS_FOR + 1))
    assert proven_for(growing(), 10).num_steps == 10
    assert proven_for(growing(), GROWS_FOR).num_steps == GROWS_FOR


@pytest.mark.parametrize("executor", ANY)
def test_every_executor_refuses_steps_that_are_not_proven(executor):
    x = np.ones((GROWS_FOR + 1, 1, 1), dtype=np.int32)
    refusal = (
        "^x: inputs have 130 steps, the program is proven for at most 129 \\(it was compiled for 10\\): "
        "in 130 steps, y: the state before saturation of neuron 0 can reach"
    )
    with pytest.raises(InputError, match=refusal):
        run(growing(), x, executor)
    if executor != "lava":  # which first looks for an interpreter
        with pytest.raises(InputError, match=refusal):
            get_executor(executor)(growing(), x)


@pytest.mark.parametrize("executor", [name for name in ANY if name != "lava"])
def test_steps_beyond_the_programs_that_are_proven_run(executor):
    """Products are cut for the range of the steps that are run: the sum has 11 bits after 10 steps, 15 after 129."""
    x = np.ones((GROWS_FOR, 1, 1), dtype=np.int32)
    recording = run(growing(), x, executor)
    assert recording.variables["sum.v"][-1, 0, 0] == 127 * GROWS_FOR
    expected = np.minimum(np.cumsum(np.arange(1, GROWS_FOR + 1) * (127 * 127 << 10)), STATE_MAX)
    np.testing.assert_array_equal(recording.variables["y.y"][:, 0, 0], expected)


def chained(count, size=1):
    """Delays that stand before their sources, the last before the input: the worst order to follow them in."""
    names = [*(f"d{k}" for k in range(count)), "x"]
    delays = [Delay(name, source, size) for name, source in pairwise(names)]
    return Program((Input("x", size), *delays, Dense("fc", "d0", np.ones((1, size), dtype=np.int8))), num_steps=3)


@pytest.mark.timeout(60)
def test_chains_of_delays_are_followed_once():
    """5,000 of them: following each to its end, by looking its name up in a list, would take a quarter of an hour."""
    program = chained(5000)
    assert program.undelayed("d0") == (program.input, 5000)
    assert program.undelayed("d4999") == (program.input, 1)
    assert program.undelayed("fc") == (program["fc"], 0)
    assert prove(program)[-1].high == 1
    assert pickle.loads(pickle.dumps(program)).undelayed("d1")[1] == 4999


def test_a_chain_of_delays_that_ends_nowhere_is_refused():
    """Following it came upon the missing name before anybody had looked for it: a KeyError."""
    with pytest.raises(ProgramError, match="late: source 'nothing' is not an operation of this program"):
        Program((Input("x", 1), Delay("later", "late", 1), Delay("late", "nothing", 1)), num_steps=1)


def test_ranges_of_delays_take_no_memory():
    """40 delays of 2**24 units in a file of 3 kB took 10.5 GB; a range that is the same for all is kept once."""
    wide = chained(40, size=1 << 18)
    tracemalloc.start()
    try:
        prove(wide)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * (1 << 18)  # bytes; a range of its own for each would be 16 times that


@dataclass(frozen=True)
class _Counter(OneSource):
    """An operation whose state nothing limits; it is in no table."""

    name: str
    source: str
    size: int
    kind: ClassVar[str] = "values"

    def states(self):
        return {"count": State((self.size,))}

    def step(self, xp, state, x):
        state.count = state.count + x
        return state.count


@pytest.mark.timeout(60)
@pytest.mark.parametrize("steps", [1000, ANY_STEPS])
def test_a_state_without_a_limit_is_refused_at_once(steps):
    """The derived proof moves an end that does not settle beyond every limit; without a limit it never settles."""
    zero, one = np.zeros(3, dtype=np.int64), np.ones(3, dtype=np.int64)
    assert _Counter("c", "x", 3).bound([(zero, one)], 50).high.tolist() == [50] * 3
    with pytest.raises(BoundError, match="c: a state grows without a limit; limit it"):
        _Counter("c", "x", 3).bound([(zero, one)], steps)
