"""Programs as lava-dl's netx files: equal when read back by netx's rules, refused by name where they cannot be."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from neuromorphic import LIF, Dense, Input, Program, Readout, run
from neuromorphic.cli import app
from neuromorphic.errors import CompileError, FileFormatError
from neuromorphic.netx import export_netx, read_netx


def chain(*, weights="ternary", shift=6, bias=64, readout=True, seed=0):
    rng = np.random.default_rng(seed)

    def matrix(rows, columns):
        low, high = (-1, 2) if weights == "ternary" else (-127, 128)
        return rng.integers(low, high, (rows, columns)).astype(np.int8)

    def lif(name, source, size, threshold):
        one = np.ones(size, dtype=np.int32)
        biases = (bias * rng.integers(-2, 3, size)).astype(np.int32)
        return LIF(name, (source,), 3500 * one, threshold * 64 * one, biases, shift=shift)

    big = 1 if weights == "ternary" else 100
    ops = [Input("x", 12), Dense("a", "x", matrix(10, 12)), lif("one", "a", 10, 2 * big)]
    ops += [Dense("b", "one", matrix(8, 10)), lif("two", "b", 8, big)]
    if readout:
        ops += [Dense("c", "two", matrix(3, 8)), Readout("sum", ("c",), np.zeros(3, dtype=np.int32), shift=6)]
    return Program(tuple(ops), num_steps=40)


def netx_layers(path, spikes):
    """Run a file by the rules of lava-dl and Lava written out here: Dense, then LIF with du = iDecay - 1."""
    found = []
    with h5py.File(path) as file:
        x = spikes
        for number in range(1, len(file["layer"])):
            layer = file["layer"][str(number)]
            neuron = layer["neuron"]
            w = layer["weight"][()].astype(int)
            bias = layer["bias"][()].astype(int) << 6 if "bias" in layer else np.zeros(len(w), dtype=int)
            du, dv, vth = int(neuron["iDecay"][()]) - 1, int(neuron["vDecay"][()]), int(neuron["vThMant"][()])
            u, v, out = np.zeros(len(w), dtype=int), np.zeros(len(w), dtype=int), []
            for x_t in x:
                u = np.sign(u) * (np.abs(u) * (4096 - (du + 1)) >> 12) + ((w @ x_t) << 6)
                v = np.clip(np.sign(v) * (np.abs(v) * (4096 - dv) >> 12) + u + bias, -(2**23) + 1, 2**23 - 1)
                fired = v > vth << 6
                v = np.where(fired, 0, v)
                out.append(fired.astype(int))
            x = np.array(out)
            found.append((x, v))
    return found


@pytest.mark.parametrize("weights", ["ternary", "8-bit"])
@pytest.mark.parametrize("shift", [6, 7])
def test_a_file_fires_as_its_program_under_netx_rules(weights, shift, tmp_path):
    program = chain(weights=weights, shift=shift)
    path = export_netx(program, tmp_path / "net.net")
    spikes = (np.random.default_rng(1).random((40, 1, 12)) < 0.4).astype(np.int32)
    recording = run(program, spikes)
    layers = netx_layers(path, spikes[:, 0])
    for name, (fired, _) in zip(("one", "two"), layers, strict=False):
        np.testing.assert_array_equal(recording.variables[f"{name}.spikes"][:, 0], fired)
        assert 0.02 < fired.mean() < 0.9
    np.testing.assert_array_equal(recording.variables["sum.y"][-1, 0], layers[-1][1])  # the last layer sums


def test_a_file_reads_back_as_a_program(tmp_path):
    program = chain(readout=False)
    back = read_netx(export_netx(program, tmp_path / "net.net"), num_steps=40)
    spikes = (np.random.default_rng(1).random((40, 3, 12)) < 0.4).astype(np.int32)
    expected, got = run(program, spikes), run(back, spikes)
    np.testing.assert_array_equal(expected.variables["two.v"], got.variables["lif2.v"])


def _with(program, name, **changes):
    return Program(
        tuple(replace(op, **changes) if op.name == name else op for op in program.ops), num_steps=program.num_steps
    )


ONE = np.ones(10, dtype=np.int32)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (_with(chain(), "one", reset="subtract"), "one: not for Lava's stock LIF .reset is subtract"),
        (_with(chain(), "one", threshold=np.arange(10, dtype=np.int32) * 64), "threshold differs between neurons"),
        (_with(chain(), "x", high=5), "x: netx takes spikes, 0 or 1, got 0..5"),
        (_with(chain(), "one", bias=63 * ONE), "one: a bias must be a multiple of 64"),
        (_with(chain(weights="8-bit"), "a", shift=3), "a: weights reach 1016, netx holds"),
        (_with(chain(), "sum", shift=16), "sum: its sum can reach .*, a netx layer that only sums holds"),
        (_with(chain(), "b", source="x", weights=np.ones((8, 12), dtype=np.int8)), "b: netx holds a chain"),
    ],
)
def test_what_netx_cannot_hold_is_refused_by_name(program, message, tmp_path):
    with pytest.raises(CompileError, match=message):
        export_netx(program, tmp_path / "net.net")
    assert not (tmp_path / "net.net").exists()


def test_the_command(tmp_path):
    chain().save(tmp_path / "p.npz")
    done = CliRunner().invoke(app, ["export", str(tmp_path / "p.npz"), "--to", "netx"])
    assert done.exit_code == 0, done.output
    assert read_netx(tmp_path / "p.net", num_steps=3).input.size == 12
    refused = CliRunner().invoke(app, ["export", str(tmp_path / "p.npz"), "--to", "tflite"])
    assert refused.exit_code == 2


def test_a_file_that_is_none_is_one_clear_error(tmp_path):
    (tmp_path / "net.net").write_bytes(b"no HDF5")
    with pytest.raises(FileFormatError, match=r"net\.net: not a netx file of dense layers"):
        read_netx(tmp_path / "net.net", num_steps=3)
    with h5py.File(tmp_path / "other.net", "w") as file:
        file["layer/0/shape"], file["layer/1/type"] = [3], b"conv"
    with pytest.raises(FileFormatError, match="layer 1 is of type b'conv'"):
        read_netx(tmp_path / "other.net", num_steps=3)
