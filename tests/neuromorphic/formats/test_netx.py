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
from neuromorphic.ops import Conv, Delays, Delta, ReLU, Sigma, SumPool


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


def pooled(*, delays=None, bias=0, reset="zero"):
    """Return a program of a pool, a convolution and a dense layer, as a compiler of modules makes one."""
    rng = np.random.default_rng(2)

    def lif(name, source, size, *, reset="zero", bias=0):
        one = np.ones(size, dtype=np.int32)
        return LIF(name, (source,), 3500 * one, 192 * one, bias * one, shift=6, reset=reset)

    ops = [Input("x", 72), SumPool("pool", "x", (2, 6, 6), (2, 2), (2, 2)), lif("one", "pool", 18)]
    ops += [Conv("conv", "one", rng.integers(-1, 2, (4, 2, 2, 2)).astype(np.int8), (2, 3, 3), shift=1)]
    ops += [lif("two", "conv", 16, reset=reset, bias=bias)]
    if delays is not None:
        ops.append(Delays("late", "two", np.int32(delays)))
    last = ops[-1].name
    ops += [Dense("fc", last, rng.integers(-9, 10, (3, 16)).astype(np.int8)), lif("three", "fc", 3)]
    return Program(tuple(ops), num_steps=30)


def test_pools_become_convolutions_with_groups(tmp_path):
    program = pooled(delays=np.repeat([0, 3, 1, 2], 4), bias=64)
    assert write.write(program, tmp_path / "n.net") == (
        "8 operations, read back and firing equally; "
        "late: lava-dl's netx leaves out delays of convolutions; its slayer does not"
    )
    back = read_netx(tmp_path / "n.net", num_steps=30)
    assert [type(op).__name__ for op in back.ops] == [
        "Input", "Conv", "LIF", "Conv", "LIF", "Delays", "Dense", "LIF"
    ]  # fmt: skip
    assert back["conv1"].groups == 2
    spikes = (np.random.default_rng(3).random((30, 2, 72)) < 0.2).astype(np.int32)
    expected, got = run(program, spikes), run(back, spikes)
    for mine, theirs in (("one", "lif1"), ("two", "lif2"), ("three", "lif3")):
        np.testing.assert_array_equal(expected.variables[f"{mine}.v"], got.variables[f"{theirs}.v"])
        assert expected.variables[f"{mine}.spikes"].any()
    assert write.check(program).startswith("late: lava-dl's netx leaves out")
    assert write.check(pooled()) is None


def graded(**changes):
    encoder = {"threshold": np.full(4, 1, np.int32), "shift": 0} | changes.pop("encoder", {})
    delta = {"threshold": np.full(3, 1 << 12, np.int32), "shift": 6} | changes.pop("delta", {})
    bias = changes.pop("bias", np.full(3, 1 << 12, np.int32))
    weights = np.random.default_rng(0).integers(-30, 31, (3, 4)).astype(np.int8)
    ops = [Input("x", 4, -60, 60, scale=1 / 64), Delta("d", "x", **encoder), Dense("fc", "d", weights, shift=6)]
    ops += [Sigma("s", ("fc",), 3), ReLU("r", "s", bias), Delta("e", "r", **delta)]
    ops += [
        Dense("out", "e", weights[:2, :3]),
        Readout("sum", ("out",), np.full(2, changes.pop("sum", 0), np.int32), 0),
    ]
    return Program(tuple(ops), num_steps=10)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (pooled(reset="subtract"), "two: not for Lava's stock LIF .reset is subtract"),
        (pooled(delays=np.arange(16)), "late: steps differs within a channel, netx holds one a channel"),
        (pooled(delays=np.full(16, 63)), "late: steps reach 63, netx holds 62"),
        (pooled(bias=63), "two: a bias must be a multiple of 64 with a mantissa of 13 bits"),
        (graded(encoder={"shift": 1}), "d: netx's encoders do not shift to the right"),
        (graded(encoder={"threshold": np.arange(4, dtype=np.int32)}), "d: .*threshold differs between neurons"),
        (graded(delta={"shift": 5}), "e: netx's threshold is a multiple of 4096, and its shift 6"),
        (graded(bias=np.full(3, 1, np.int32)), "r: a bias must be a multiple of 4096"),
        (graded(sum=64), "sum: a sum of graded spikes has no bias in netx"),
        (_with(graded(), "fc", shift=5), "e: netx shifts its input by 6, this needs 5"),
        (_with(graded(), "x", scale=0.3), "x: netx holds a scale of 1 / n, n in 1..255, got 0.3"),
    ],
)
def test_other_chains_that_netx_cannot_hold(program, message, tmp_path):
    with pytest.raises(CompileError, match=message):
        export_netx(program, tmp_path / "n.net")


def test_graded_sums_that_could_leave_24_bits_are_named(tmp_path):
    assert write.check(graded()) is None
    large = _with(graded(), "fc", shift=16, weights=np.full((3, 4), 3, dtype=np.int8))
    with pytest.raises(CompileError, match="fc: weights reach 3072"):
        write.check(large)
    many = Program(graded().ops, num_steps=1_000_000)
    assert "s: by the bounds a sum can leave 24 bits, where it saturates here and wraps in Lava" in write.check(many)


def test_the_command_compiles_a_file(tmp_path):
    export_netx(pooled(), tmp_path / "n.net")
    command = ["compile", str(tmp_path / "n.net"), "--steps", "12", "-o", str(tmp_path / "p.npz")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "7 operations, 12 steps" in done.output.replace("\n", " ")
    assert Program.load(tmp_path / "p.npz").sha256 == read_netx(tmp_path / "n.net", num_steps=12).sha256
    late = CliRunner().invoke(app, [*command, "--layer-steps", "1"])
    assert late.exit_code == 0
    assert "late1" in {op.name for op in Program.load(tmp_path / "p.npz").ops}
    (tmp_path / "n.net").write_bytes(b"none")
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert "not an HDF5 file" in refused.output
