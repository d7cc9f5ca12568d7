"""Programs as lava-dl's netx files: equal when read by netx's rules, refused by name where they cannot be."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from netx_rules import netx_layers
from neuromorphic import LIF, Dense, Input, Program, Readout, run
from neuromorphic.cli import app
from neuromorphic.errors import CompileError
from neuromorphic.formats.netx import export_netx, read_netx, write


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
        (_with(chain(), "b", weights=np.zeros((8, 10), dtype=np.int8)), "b: all its weights are 0, and lava-dl fails"),
        (
            _with(chain(), "b", weights=-np.eye(8, 10, dtype=np.int8)),
            "b: no weight is positive and the lowest, -1, is a power of two: lava-dl would clip it; NIR holds them",
        ),
        (_with(chain(weights="8-bit"), "a", shift=2), "a: weights reach -?[0-9]+, netx holds -256..254"),
        (_with(chain(), "b", source="x", weights=np.ones((8, 12), dtype=np.int8)), "b: netx holds a chain"),
    ],
)
def test_what_netx_cannot_hold_is_refused_by_name(program, message, tmp_path):
    with pytest.raises(CompileError, match=message):
        export_netx(program, tmp_path / "net.net")
    assert not (tmp_path / "net.net").exists()


def test_negative_weights_that_lava_dl_reads_rightly_are_written(tmp_path):
    weights = np.array([[-3, -1, 0], [0, -2, 0]], dtype=np.int8)  # the lowest is no power of two
    one = np.ones(2, dtype=np.int32)
    lif = LIF("lif", ("fc",), 4096 * one, 64 * one, 64 * one, shift=6)
    program = Program((Input("x", 3), Dense("fc", "x", weights), lif), num_steps=5)
    back = read_netx(export_netx(program, tmp_path / "net.net"), num_steps=5)
    np.testing.assert_array_equal(back["fc1"].weights, weights)


def test_a_file_in_place_stays_until_the_new_one_is_checked(tmp_path, monkeypatch):
    path = tmp_path / "net.net"
    path.write_bytes(b"what was there")
    layers = write.layers_of

    def wrong(program):
        found = layers(program)
        found.fields[1]["neuron"]["vThMant"] = 7
        return found

    monkeypatch.setattr(write, "layers_of", wrong)
    with pytest.raises(CompileError, match="one: what was written fires otherwise when it is read back"):
        export_netx(chain(), path)
    assert path.read_bytes() == b"what was there"


def test_the_command(tmp_path):
    chain().save(tmp_path / "p.npz")
    done = CliRunner().invoke(app, ["export", str(tmp_path / "p.npz"), "--to", "netx"])
    assert done.exit_code == 0, done.output
    assert read_netx(tmp_path / "p.net", num_steps=3).input.size == 12
    refused = CliRunner().invoke(app, ["export", str(tmp_path / "p.npz"), "--to", "tflite"])
    assert refused.exit_code == 2
