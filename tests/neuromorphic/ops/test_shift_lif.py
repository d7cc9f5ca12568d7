"""Xylo's neuron: against a loop in Python integers, and equal on every executor that runs operations by their step."""

from dataclasses import replace

import numpy as np
import pytest

import same
from lava_fixtures import assert_equal
from neuromorphic import Dense, Input, Program, prove, run
from neuromorphic.errors import ProgramError
from neuromorphic.files.container import write_container
from neuromorphic.ops import Delay
from neuromorphic.ops.shift_lif import ShiftLIF
from neuromorphic.program import FORMAT_VERSION, KIND

NUM_STEPS = 60


def leaked(x, shift):
    """Xylo's decay: by ``x >> shift``, and by at least one toward zero."""
    part = x >> shift
    return x - (part if part else (x > 0) - (x < 0))


def sat16(x):
    return max(-32768, min(32767, x))


def oracle(program, inputs):
    """Spikes, currents and membranes of one sample in Python integers."""
    op, into, back = program["lif"], program["w_in"].weights.tolist(), program["w_rec"].weights.tolist()
    n = op.size
    i, v, spikes, out = [0] * n, [0] * n, [0] * n, {"spikes": [], "i": [], "v": []}
    for x in inputs.tolist():
        before = list(spikes)
        for k in range(n):
            drive = sum(w * e for w, e in zip(into[k], x, strict=True))
            drive += sum(w * e for w, e in zip(back[k], before, strict=True))
            i[k] = leaked(sat16(i[k] + drive), int(op.synapse_shift[k]))
            u = sat16(leaked(v[k], int(op.membrane_shift[k])) + i[k] + int(op.bias[k]))
            spikes[k] = min(max(u // int(op.threshold[k]), 0), 31)
            v[k] = u - spikes[k] * int(op.threshold[k])
        for name, values in (("spikes", spikes), ("i", i), ("v", v)):
            out[name].append(list(values))
    return out


def xylo_network(seed):
    """A recurrent network of 1 to 40 neurons whose weights range from a few units to the ends of int8."""
    rng = np.random.default_rng(seed)
    inputs, n = int(rng.integers(1, 17)), int(rng.integers(1, 40))
    large = int(rng.choice([9, 127]))
    lif = ShiftLIF(
        "lif", ("w_in", "w_rec"), rng.integers(0, 5, n), rng.integers(0, 7, n), rng.integers(1, 2000, n),
        rng.integers(-50, 51, n),
    )  # fmt: skip
    ops = (
        Input("x", inputs, 0, 15),
        Delay("last", "lif", n),
        Dense("w_in", "x", rng.integers(-large, large + 1, (n, inputs)).astype(np.int8)),
        Dense("w_rec", "last", rng.integers(-9, 10, (n, n)).astype(np.int8)),
        lif,
    )
    return Program(ops, num_steps=NUM_STEPS), rng.integers(0, 16, (NUM_STEPS, 2, inputs))


@pytest.mark.parametrize("seed", range(12))
def test_a_network_equals_python_integers(seed):
    program, inputs = xylo_network(seed)
    recording = run(program, inputs)
    for b in range(2):
        for name, values in oracle(program, inputs[:, b]).items():
            assert recording.variables[f"lif.{name}"][:, b].tolist() == values


def test_it_fires_several_times_in_a_step():
    most = [int(run(*xylo_network(seed)).variables["lif.spikes"].max()) for seed in range(12)]
    assert max(most) == 31
    assert sum(spikes > 1 for spikes in most) >= 8


@pytest.mark.parametrize("executor", ["native", "torch", "onnxruntime", "openvino"])
def test_executors_run_it_by_its_step(executor):
    for seed in range(4):
        program, inputs = xylo_network(seed)
        same.assert_equal(program, inputs, executor)


@pytest.mark.lava
def test_lava_runs_it_by_its_step(lava_session):
    program, inputs = xylo_network(3)
    assert_equal(program, inputs[:, :1], lava_session)


@pytest.mark.parametrize("most_spikes", [1, 2, 20, 31])
def test_no_more_spikes_than_it_may_fire(most_spikes):
    program, inputs = xylo_network(0)
    program = replace(
        program,
        ops=(
            *program.ops[:-1],
            replace(program["lif"], most_spikes=most_spikes, threshold=program["lif"].threshold // 40 + 1),
        ),
    )
    for executor in ("native", "torch", "onnxruntime"):
        expected = same.assert_equal(program, inputs, executor).variables
    assert expected["lif.spikes"].max() == most_spikes


def test_its_ranges_are_proven_for_any_number_of_steps():
    program, inputs = xylo_network(1)
    bounds = {bound.name: bound for bound in prove(program)}
    recording = run(program, inputs)
    assert -32768 <= bounds["lif"].low <= bounds["lif"].high <= 32767
    most = 31 * np.abs(program["w_rec"].weights.astype(int)).sum(axis=1).max()  # what 31 spikes of each can send
    assert bounds["w_rec"].peak <= most
    assert np.abs(recording.variables["lif.v"]).max() <= max(-bounds["lif"].low, bounds["lif"].high) + 32768


def test_a_membrane_at_the_threshold_spikes():
    one = np.ones(1, dtype=np.int32)
    ops = (Input("x", 1, 0, 15), Dense("fc", "x", np.array([[10]], dtype=np.int8)))
    program = Program((*ops, ShiftLIF("lif", ("fc",), 0 * one, 4 * one, 10 * one, 0 * one)), num_steps=1)
    assert run(program, np.array([[[1]]])).variables["lif.spikes"].item() == 0  # the whole current leaks first


def test_a_program_is_the_same_after_a_file(tmp_path):
    program, _ = xylo_network(2)
    program.save(tmp_path / "p.npz")
    assert Program.load(tmp_path / "p.npz").sha256 == program.sha256


def test_a_file_without_most_spikes_means_31(tmp_path):
    program, _ = xylo_network(2)
    body, arrays = program._content()
    del body["ops"][-1]["most_spikes"]
    write_container(tmp_path / "old.npz", KIND, FORMAT_VERSION, body, arrays)
    assert Program.load(tmp_path / "old.npz").sha256 == program.sha256


def test_what_is_refused():
    one = np.ones(1, dtype=np.int32)
    for changes, message in (
        ({"threshold": 0 * one}, "lif: threshold must lie in 1..32767, got 0..0"),
        ({"synapse_shift": 16 * one}, "lif: synapse_shift must lie in 0..15, got 16..16"),
        ({"bias": np.ones(2, dtype=np.int32)}, "lif: synapse_shift, membrane_shift, threshold and bias must have one"),
    ):
        fields = {"synapse_shift": one, "membrane_shift": one, "threshold": one, "bias": one, **changes}
        with pytest.raises(ProgramError, match=message):
            ShiftLIF("lif", ("x",), **fields)
