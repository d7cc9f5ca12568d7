"""Glia alive in a program: thresholds that follow the firing rate, against Python integers and against the network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuromorphic import LIF, Dense, Input, Program, run
from neuromorphic.compiler import compile_model, to_nir
from neuromorphic.errors import CompileError, ProgramError
from neuromorphic.integers.numbers import STATE_MAX
from neuromorphic.ops import HomeostaticLIF
from neuromorphic.ops.homeostatic_lif import OCTAVE
from oracles import lif_oracle, toward_zero
from pnbx_snn.networks.classifier import SpikingClassifier
from pnbx_snn.networks.pnbx import PNBX
from random_graphs import random_control
from steps import controlled, moved_threshold

NUM, STEPS = 12, 60
offsets = st.integers(-(16 << 16) + 1, (16 << 16) - 1)


def clip(x, limits):
    return max(limits[0], min(limits[1], x))


def threshold_oracle(threshold, offset):
    octaves, part = offset >> 16, (offset >> 8) & 255
    return min(threshold * int(OCTAVE[part]) >> (15 - octaves), STATE_MAX)


def control_oracle(control, count, op):
    """One controller in Python integers, written from the docstring."""
    average, integral, error, _ = (int(x) for x in control)
    rate = count * (2**32 // (op.per_domain * op.period)) >> 16
    average += toward_zero((rate - average) * op.rate_gain, 12)
    new_error = average - op.target
    integral = clip(integral + new_error, op.integral_limits)
    kp, ki, kd = op.gains
    wanted = toward_zero(kp * new_error + ki * integral + kd * (new_error - error), 12)
    return [average, integral, new_error, clip(wanted, op.offset_limits)]


def layer(rng, **changes):
    fields = {
        "decay": rng.integers(2000, 4097, NUM).astype(np.int32),
        "threshold": rng.integers(20, 200, NUM).astype(np.int32),
        "bias": rng.integers(-20, 60, NUM).astype(np.int32),
        "shift": 3,
        "reset": "zero",
        **random_control(rng, NUM),
        **changes,
    }
    return HomeostaticLIF(name="lif", sources=("fc",), **fields)


def program_of(lif, rng):
    weights = rng.integers(-1, 2, (NUM, 8)).astype(np.int8)
    return Program((Input("x", 8, low=-9, high=9), Dense("fc", "x", weights), lif), num_steps=STEPS)


@given(st.integers(0, STATE_MAX), offsets)
def test_a_moved_threshold_equals_python_integers(threshold, offset):
    got = moved_threshold(np.array([threshold], dtype=np.int32), np.array([[offset]], dtype=np.int32), 1)
    assert int(got[0, 0]) == threshold_oracle(threshold, offset)
    if threshold * 2.0 ** (offset / 65536) < STATE_MAX:  # 1/256 of an octave, and less than 1 for the rounding
        exact = threshold * 2.0 ** (offset / 65536)
        assert abs(int(got[0, 0]) - exact) <= 0.0028 * exact + 1


def test_no_entry_of_the_table_is_near_a_tie():
    exact = [2.0 ** (15 + i / 256) for i in range(256)]
    assert min(abs(value % 1 - 0.5) for value in exact) > 1e-3
    assert (OCTAVE[0], OCTAVE[128], OCTAVE[255]) == (32768, 46341, 65359)


@pytest.mark.parametrize("seed", range(30))
def test_a_layer_equals_python_integers(seed):
    rng = np.random.default_rng(seed)
    op = layer(rng, reset=str(rng.choice(["zero", "subtract", "none", "subtract_snntorch", "zero_with_input"])))
    program = program_of(op, rng)
    inputs = rng.integers(-9, 10, (STEPS, 2, 8))
    recording = run(program, inputs)
    for b in range(2):
        v, control = [0] * NUM, [list(map(int, row)) for row in op.control]
        count = [0] * op.num_domains
        for t in range(STEPS):
            current = program["fc"].weights.astype(int) @ inputs[t, b]
            for n in range(NUM):
                d = n // op.per_domain
                theta = threshold_oracle(int(op.threshold[n]), control[d][3])
                shared = (int(op.decay[n]), theta, int(op.bias[n]), op.shift, op.reset)
                spike, v[n] = lif_oracle(v[n], int(current[n]), *shared)
                count[d] += int(spike)
                assert (int(recording.variables["lif.spikes"][t, b, n]), v[n]) == (int(spike), v[n])
            if (t + 1) % op.period == 0:
                control = [control_oracle(c, k, op) for c, k in zip(control, count, strict=True)]
                count = [0] * op.num_domains
            assert recording.variables["lif.v"][t, b].tolist() == v
            assert recording.variables["lif.offset"][t, b].tolist() == [c[3] for c in control]


def test_without_gains_it_is_a_lif():
    rng = np.random.default_rng(0)
    start = np.zeros((3, 4), dtype=np.int32)
    op = layer(rng, gains=(0, 0, 0), control=start, offset_limits=(-1000, 1000))
    plain = LIF("lif", ("fc",), op.decay, op.threshold, op.bias, op.shift, op.reset)
    inputs = rng.integers(-9, 10, (STEPS, 4, 8))
    program = program_of(op, rng)
    expected = run(Program((*program.ops[:2], plain), num_steps=STEPS), inputs)
    assert 0.05 < expected.variables["lif.spikes"].mean() < 0.9
    np.testing.assert_array_equal(run(program, inputs).variables["lif.spikes"], expected.variables["lif.spikes"])


def test_a_rate_settles_at_its_target():
    rng = np.random.default_rng(1)
    op = layer(
        rng,
        control=np.array([[12000, 0, 0, 0]] * 3, dtype=np.int32),
        period=16,
        target=12000,
        rate_gain=1611,
        gains=(5909, 8864, 1182),
        integral_limits=(-100_000, 100_000),
        offset_limits=(-262144, 262144),
    )
    program = replace(program_of(op, rng), num_steps=3000)
    rate = run(program, rng.integers(-9, 10, (3000, 4, 8))).variables["lif.spikes"].reshape(3000, 4, 3, 4).mean((0, 3))
    assert abs(run(program, rng.integers(-9, 10, (400, 4, 8))).variables["lif.spikes"].mean() - 12000 / 65536) > 0.005
    np.testing.assert_allclose(rate, 12000 / 65536, atol=0.01)


def test_a_program_is_the_same_after_a_file(tmp_path):
    rng = np.random.default_rng(2)
    program = program_of(layer(rng), rng)
    program.save(tmp_path / "p.npz")
    loaded = Program.load(tmp_path / "p.npz")
    assert loaded.sha256 == program.sha256
    assert loaded["lif"].gains == program["lif"].gains


SIZES = {"in_features": 6, "num_classes": 3, "d_hidden": 48, "d_ssm": 16, "d_rnn": 8, "rank": 6, "slots": 8}
PERIOD, CHUNKS = 20, 12


@torch.no_grad()
def live_network(hippocampus="winner"):
    torch.manual_seed(0)
    model = PNBX(num_steps=PERIOD, tau_max=30.0, competition=hippocampus, threshold=0.4, **SIZES).double()
    x = torch.rand(1, PERIOD * CHUNKS, 6, dtype=torch.float64)
    model.calibrate(x)
    model.blocks[0].glia.adapt = "always"
    return model.eval(), model.encode(x)


@torch.no_grad()
def test_a_stream_with_live_glia_fires_as_the_network():
    model, inputs = live_network()
    program = compile_model(model, num_steps=len(inputs), glia_period=PERIOD)
    recording = run(program, inputs.numpy())
    state, frozen, spikes, moved = None, model.blocks[0].glia.state.clone(), [], []
    for chunk in inputs.split(PERIOD):
        output = model(chunk, state)
        state = output.state
        model.adapt(output.spikes)
        spikes.append(torch.stack(output.spikes))
        moved.append(model.blocks[0].glia.state[:, [3, 7]].clone())
    ours = np.stack([recording.variables[f"{name}.spikes"] for name in ("encoder", "block1")])
    theirs = torch.cat(spikes, dim=1).numpy()
    assert (ours == theirs).mean() > 0.98
    ends = slice(PERIOD - 1, None, PERIOD)
    offsets = np.stack([recording.variables[f"{name}.offset"][ends, 0] for name in ("encoder", "block1")], axis=2)
    expected = torch.stack(moved).numpy() * np.log2(np.e) * 65536  # [chunks, domains, loops]
    assert np.abs(expected).max() > 30_000  # half an octave: they did move
    assert np.corrcoef(offsets.ravel(), expected.ravel())[0, 1] > 0.99
    model.blocks[0].glia.state.copy_(frozen)
    still = run(compile_model(model, num_steps=len(inputs)), inputs.numpy())
    held = np.stack([still.variables[f"{name}.spikes"] for name in ("encoder", "block1")])
    assert (held != theirs).mean() > 3 * (ours != theirs).mean()  # the measure can fail


def test_what_is_refused():
    rng = np.random.default_rng(0)
    for changes, message in (
        ({"control": np.zeros((5, 4), dtype=np.int32)}, r"domains a divisor of the 12 neurons, got \[5, 4\]"),
        ({"period": 0}, "period must be an integer in 1..65536, got 0"),
        ({"target": 1 << 16}, "target must be an integer in 1..65535"),
        ({"gains": (1, 2)}, r"gains must be 3 integers, got \(1, 2\)"),
        ({"gains": (1, 2, -1)}, "gains must be an integer in 0..1048576, got -1"),
        ({"offset_limits": (5, 9)}, "offset_limits must be around 0, got 5, 9"),
        ({"control": np.full((1, 4), 70_000, dtype=np.int32)}, "must lie in"),
    ):
        with pytest.raises(ProgramError, match=message):
            layer(rng, **changes)
    wide = np.zeros(1 << 10, dtype=np.int32)
    fields = {**random_control(rng, 1), "control": np.zeros((1, 4), dtype=np.int32), "period": 1 << 16}
    with pytest.raises(ProgramError, match="neurons of a domain times period must be at most 16777216"):
        HomeostaticLIF(name="lif", sources=("fc",), decay=wide, threshold=wide, bias=wide, shift=0, **fields)
    model, _ = live_network()
    with pytest.raises(CompileError, match="thresholds that follow a rate; compile with frozen glia"):
        to_nir(compile_model(model, num_steps=PERIOD, glia_period=4))
    model.blocks[0].glia.kp = 1e6
    with pytest.raises(CompileError, match="encoder: live glia hold gains kp, ki, kd up to 1048576 units"):
        compile_model(model, num_steps=PERIOD, glia_period=4)
    with pytest.raises(CompileError, match="SpikingClassifier: has no glia"):
        compile_model(SpikingClassifier(in_features=4, hidden=(8,), num_classes=2, num_steps=5), glia_period=4)


def test_a_count_of_all_is_a_rate_of_one():
    control = np.zeros((1, 1, 4), dtype=np.int32)
    options = {"target": 1, "rate_gain": 4096, "gains": (0, 0, 0)}
    limits = {"integral_limits": (0, 0), "offset_limits": (0, 0)}
    for shots in (1, 3, 16, 1000, 1 << 24):
        after = controlled(control, np.array([[shots]], dtype=np.int32), shots=shots, **options, **limits)
        assert 65536 - int(after[0, 0, 0]) in (0, 1)
