"""Neurons with adaptive thresholds: against Python integers, their bounds, their file, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

import same
from neuromorphic import Dense, Input, Program, run
from neuromorphic.bounds import prove_ranges
from neuromorphic.errors import ProgramError
from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.integers.resets import RESETS
from neuromorphic.ops import AdaptiveLIF, Delay

NUM_STEPS = 80


def decayed(x, factor):
    return (abs(x) * factor >> 12) * (1 if x >= 0 else -1)


def saturated(x):
    return max(-STATE_MAX, min(STATE_MAX, x))


def oracle(program, inputs):
    """Spikes, membranes and raises of one sample in Python integers, for resets ``zero``, ``subtract``, ``none``."""
    op, into, back = program["lif"], program["w_in"].weights.tolist(), program["w_rec"].weights.tolist()
    n = op.size
    v, a, spikes, waiting, out = [0] * n, [0] * n, [0] * n, [0] * n, {"spikes": [], "v": [], "a": []}
    for x in inputs.tolist():
        before = list(spikes)
        for k in range(n):
            drive = sum(w * e for w, e in zip(into[k], x, strict=True))
            drive += sum(w * e for w, e in zip(back[k], before, strict=True))
            if op.input_step == "previous":
                drive, waiting[k] = waiting[k], drive
            raised = decayed(a[k], int(op.adaptation_decay[k]))
            theta = min(int(op.threshold[k]) + raised, STATE_MAX)
            u = saturated(decayed(v[k], int(op.decay[k])) + (drive << op.shift) + int(op.bias[k]))
            spikes[k] = int(u > theta)
            v[k] = {"zero": 0, "subtract": u - theta, "none": u}[op.reset] if spikes[k] else u
            a[k] = saturated(raised + spikes[k] * int(op.adaptation_jump[k]))
        for name, values in (("spikes", spikes), ("v", v), ("a", a)):
            out[name].append(list(values))
    return out


def network(seed, *, scale=None, reset=None):
    """A recurrent network whose thresholds and jumps range from a few units to the ends of 24 bits."""
    rng = np.random.default_rng(seed)
    inputs, n = int(rng.integers(1, 9)), int(rng.integers(1, 30))
    scale = scale or int(rng.choice([300, 3000, STATE_MAX]))
    lif = AdaptiveLIF(
        name="lif", sources=("w_in", "w_rec"), decay=rng.integers(0, DECAY_ONE + 1, n),
        threshold=rng.integers(0, scale, n), bias=rng.integers(-scale, scale, n) // 4, shift=int(rng.integers(0, 5)),
        reset=reset or str(rng.choice(["zero", "subtract", "none"])),
        adaptation_decay=rng.integers(0, DECAY_ONE + 1, n), adaptation_jump=rng.integers(0, scale, n),
        input_step=("same", "previous")[seed % 2],
    )  # fmt: skip
    ops = (
        Input("x", inputs, 0, 3),
        Delay("last", "lif", n),
        Dense("w_in", "x", rng.integers(-127, 128, (n, inputs)).astype(np.int8)),
        Dense("w_rec", "last", rng.integers(-9, 10, (n, n)).astype(np.int8)),
        lif,
    )
    return Program(ops, num_steps=NUM_STEPS), rng.integers(0, 4, (NUM_STEPS, 2, inputs))


@pytest.mark.parametrize("seed", range(12))
def test_a_network_equals_python_integers(seed):
    program, inputs = network(seed)
    recording = run(program, inputs)
    for b in range(2):
        for name, values in oracle(program, inputs[:, b]).items():
            assert recording.variables[f"lif.{name}"][:, b].tolist() == values


def test_a_constant_current_fires_ever_more_slowly():
    op = AdaptiveLIF(
        name="lif", sources=("w",), decay=[DECAY_ONE], threshold=[9], bias=[0], shift=0,
        adaptation_decay=[DECAY_ONE], adaptation_jump=[10],
    )  # fmt: skip
    ones = np.ones((160, 1, 1), dtype=np.int8)
    for late, when in enumerate(("same", "previous")):
        ops = (Input("x", 1), Dense("w", "x", ones[0]), replace(op, input_step=when))
        spikes = np.flatnonzero(run(Program(ops, num_steps=160), ones).variables["lif.spikes"])
        assert np.diff(spikes, prepend=late - 1)[:5].tolist() == [10, 20, 30, 40, 50]


@pytest.mark.parametrize("reset", list(RESETS))
@pytest.mark.parametrize("scale", [300, STATE_MAX])
def test_states_stay_in_their_bounds(reset, scale):
    for seed in range(6):
        program, inputs = network(seed, scale=scale, reset=reset)
        bound = prove_ranges(program)["lif"]
        recording = run(program, np.where(inputs > 1, 3, 0))
        for name in ("v", "a"):
            values, (low, high) = recording.variables[f"lif.{name}"], bound.states[name]
            assert (values >= low).all()
            assert (values <= high).all()
        assert bound.saturates or np.abs(recording.variables["lif.v"]).max() < STATE_MAX


def test_a_late_current_is_zero_at_first():
    program, _ = network(1)
    one = np.ones(program["lif"].size, dtype=np.int64)
    low, high = program["lif"].bound([(5 * one, 9 * one), (one, one)], NUM_STEPS).states["current"]
    assert (low == 0).all()
    assert (high == 10).all()


def test_executors_and_files(tmp_path):
    for seed in range(4):
        program, inputs = network(seed)
        program.save(tmp_path / "p.npz")
        back = Program.load(tmp_path / "p.npz")
        assert back["lif"].input_step == program["lif"].input_step
        for executor in ("torch", "onnxruntime"):
            same.assert_equal(back, inputs, executor)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"adaptation_decay": [4097]}, r"lif: adaptation_decay must lie in 0..4096, got 4097..4097"),
        ({"adaptation_jump": [-1]}, r"lif: adaptation_jump must lie in 0..8388607, got -1..-1"),
        ({"adaptation_jump": [1, 2]}, r"adaptation_decay and adaptation_jump must have one length"),
        ({"input_step": "next"}, r"lif: input_step must be one of same, previous, got 'next'"),
    ],
)
def test_fields_are_checked(changes, text):
    fields = {"decay": [0], "threshold": [1], "bias": [0], "adaptation_decay": [0], "adaptation_jump": [1]}
    with pytest.raises(ProgramError, match=text):
        AdaptiveLIF(name="lif", sources=("w",), shift=0, **{**fields, **changes})
