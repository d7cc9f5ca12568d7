"""Specifications of Xylo: what is written, the chip's limits, reading back, and the order of events."""

import json
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import neuromorphic
from neuromorphic import Dense, Input, Program, run
from neuromorphic.cli import app
from neuromorphic.errors import CompileError, FileFormatError
from neuromorphic.formats.xylo import export_xylo, read_xylo, to_xylo
from neuromorphic.ops import LIF, Delay, ShiftLIF, XyloLIF
from xylo_nets import xylo_program

SHAPES = {"weights_in": (16, 4), "weights_rec": (4, 4), "weights_out": (4, 3)}


def network(*, channels=16, hidden=4, outputs=3, fan_out=4, weight=1, bias=0):
    """A network of one hidden population, each of whose neurons reaches ``fan_out`` others."""

    def neurons(name, sources, widths, weights, most):
        each = np.ones(len(weights), dtype=np.int32)
        return XyloLIF(name, sources, widths, weights, 2 * each, 3 * each, 500 * each, bias * each, most_spikes=most)

    into = np.full((hidden, channels), weight, dtype=np.int8)
    loop = np.zeros((hidden, hidden), dtype=np.int8)
    loop[:fan_out] = weight
    return Program(
        (
            Input("x", channels, 0, 15),
            Delay("late", "hidden", hidden),
            neurons("hidden", ("x", "late"), (channels, hidden), np.hstack([into, loop]), 31),
            neurons("out", ("late",), (hidden,), np.full((outputs, hidden), -weight, dtype=np.int8), 1),
        ),
        num_steps=50,
    )


def test_the_specification_has_rockpools_names_and_shapes(tmp_path):
    program = network(bias=-7)
    spec = json.loads(export_xylo(program, tmp_path / "n.json").read_text())["specification"]
    arrays = {key: np.array(value) for key, value in spec.items()}
    neurons = dict.fromkeys(("dash_syn", "dash_mem", "threshold", "bias_hidden"), (4,))
    outputs = dict.fromkeys(("dash_syn_out", "dash_mem_out", "threshold_out", "bias_out"), (3,))
    assert {key: array.shape for key, array in arrays.items()} == SHAPES | neurons | outputs
    assert all(array.dtype == np.int64 for array in arrays.values())
    assert np.array_equal(arrays["weights_in"], program["hidden"].weights[:, :16].T)
    assert np.array_equal(arrays["weights_rec"], program["hidden"].weights[:, 16:].T)
    assert np.array_equal(arrays["weights_out"], program["out"].weights.T)
    assert arrays["dash_mem"].tolist() == [3] * 4
    assert arrays["bias_hidden"].tolist() == [-7] * 4
    without = json.loads(export_xylo(network(), tmp_path / "n.json").read_text())["specification"]
    assert not [key for key in without if "bias" in key]  # rockpool switches biases on where they are named


def test_what_was_written_is_read_back_equal(tmp_path):
    written = 0
    for seed in range(60):
        program, _ = xylo_program(seed)
        program = replace(program, metadata={"seed": seed})
        with suppress(CompileError):  # of a limit of the chip
            export_xylo(program, tmp_path / "n.json")
            assert read_xylo(tmp_path / "n.json").sha256 == program.sha256
            written += 1
    assert written > 30


def test_a_specification_alone_is_read_and_does_the_same(tmp_path):
    """As rockpool has it: no names, defaults left out, a third axis for the second synapse."""
    program, inputs = xylo_program(9, most_hidden=20)
    body = json.loads(export_xylo(program, tmp_path / "n.json").read_text())
    body.pop("program")
    spec = body["specification"]
    for name in ("weights_in", "weights_rec"):
        spec[name] = np.stack([np.array(spec[name]), np.zeros_like(spec[name])], axis=2).tolist()
    spec |= {"aliases": None, "weight_shift_in": 0, "dt": 0.001, "dash_syn_2": [1] * len(spec["threshold"])}
    (tmp_path / "n.json").write_text(json.dumps(body))
    read = neuromorphic.compile(tmp_path / "n.json", num_steps=len(inputs))
    assert [op.name for op in read.ops] == ["x", "late", "hidden", "out"]
    expected, got = run(program, inputs).variables, run(read, inputs).variables
    for name in ("spikes", "i", "v"):
        assert np.array_equal(got[f"out.{name}"], expected[f"out.{name}"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 17}, "XyloAudio 2 has 16 input channels, the program 17"),
        ({"hidden": 1001}, "XyloAudio 2 has 1000 hidden neurons, the program 1001"),
        ({"outputs": 9}, "XyloAudio 2 has 8 output neurons, the program 9"),
        (
            {"hidden": 70, "fan_out": 65},
            "hidden: neuron 0 has synapses to 65 hidden neurons, on XyloAudio 2 to at most 64",
        ),
        ({"hidden": 900, "fan_out": 36}, r"XyloAudio 2 has room for 32000 weights between hidden neurons, .* 32400"),
        ({"bias": 128}, r"hidden: neuron 0 has bias 128, on XyloAudio 2 biases lie in -128\.\.127"),
    ],
)
def test_each_limit_of_the_chip_is_one_error(tmp_path, changes, message):
    with pytest.raises(CompileError, match=message):
        export_xylo(network(**changes), tmp_path / "n.json")
    assert not (tmp_path / "n.json").exists()


def test_the_limits_themselves_are_allowed(tmp_path):
    export_xylo(network(outputs=8, hidden=64, fan_out=64, bias=-128), tmp_path / "n.json")
    export_xylo(network(hidden=1000, fan_out=32), tmp_path / "n.json")


def summed(*, weight=1, most=1, shift=0, same_source=False):
    """The network as Dense and ShiftLIF."""
    each = np.ones(4, dtype=np.int32)

    def lif(name, sources, n, most_spikes):
        return ShiftLIF(name, sources, 2 * each[:n], 3 * each[:n], 90 * each[:n], 0 * each[:n], most_spikes=most_spikes)

    def matrix(rows, columns):
        return np.full((rows, columns), weight, dtype=np.int8)

    ops = [Input("x", 16, 0, 15), Delay("late", "hidden", 4), Dense("w_rec", "late", matrix(4, 4), shift)]
    ops += [Dense("w_in", "x", matrix(4, 16)), lif("hidden", ("w_rec", "w_in", "w_in")[: 2 + same_source], 4, 31)]
    return Program((*ops, Dense("w_out", "late", matrix(3, 4)), lif("out", ("w_out",), 3, most)), num_steps=50)


def test_the_order_says_nothing_where_no_sum_can_saturate(tmp_path):
    program = summed()
    made = to_xylo(program)
    assert dict(made.metadata["xylo"]) == {"order": "indifferent"}
    assert made["hidden"].sources == ("x", "late")
    inputs = np.random.default_rng(0).integers(0, 16, (50, 3, 16))
    expected, got = run(program, inputs), run(made, inputs)
    assert list(expected.variables) == list(got.variables)
    for name, values in expected.variables.items():
        assert np.array_equal(got.variables[name], values)
    assert expected.variables["hidden.spikes"].max() > 3
    export_xylo(program, tmp_path / "n.json")
    assert read_xylo(tmp_path / "n.json").sha256 == made.sha256


def test_the_order_is_emulated_where_a_sum_can_saturate(tmp_path):
    program = summed(weight=127)
    with pytest.raises(CompileError, match="hidden: a partial sum can leave 16 bits, .*to_xylo.* measure that"):
        export_xylo(program, tmp_path / "n.json")
    made = to_xylo(program)
    assert dict(made.metadata["xylo"]) == {"order": "emulated"}
    export_xylo(made, tmp_path / "n.json")
    assert to_xylo(made) is made


def test_agreement_is_forgotten_where_the_order_matters():
    noted = {"agreement": {"spikes_equal": 1.0}, "source": "a test"}
    kept, lost = (to_xylo(replace(summed(weight=w), metadata=noted)).metadata for w in (1, 127))
    assert kept["agreement"] == noted["agreement"]
    assert "agreement" not in lost
    assert lost["source"] == "a test"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shift": 1}, "w_rec: shift must be 0 on Xylo, got 1; scale the weights instead"),
        ({"most": 2}, "out: most_spikes must be 31"),
        ({"same_source": True}, r"hidden: reads \['x', 'x', 'late'\] through several Dense; .*: add them"),
    ],
)
def test_what_has_no_place_is_refused(changes, message):
    with pytest.raises(CompileError, match=message):
        to_xylo(summed(**changes))


def test_other_neurons_have_no_place():
    one = np.ones(2, dtype=np.int32)
    ops = (Input("x", 2), Dense("w", "x", np.eye(2, dtype=np.int8)))
    with pytest.raises(CompileError, match="lif: a LIF has no place on Xylo, nor in a XyloLIF"):
        to_xylo(Program((*ops, LIF("lif", ("w",), 0 * one, one, one, shift=0)), num_steps=3))


def spoiled(**changes):
    """A written file with parts of its specification changed; ``None`` takes one out."""

    def spoil(body):
        for key, value in changes.items():
            body["specification"].pop(key) if value is None else body["specification"].update({key: value})

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda body: body.pop("specification"), 'must be an object with an object "specification"'),
        (spoiled(weights_in=None), "it lacks weights_in"),
        (spoiled(weights_in=[[0.5] * 4]), r"weights_in must be whole numbers with 2 axes, got float64\[1, 4\]"),
        (spoiled(weights_in=[[1], [1, 2]]), "not a usable specification"),
        (spoiled(weights_out=[[2**64 - 1] * 3] * 4), "weights_out must be whole numbers"),
        (spoiled(weights_out=[[200] * 3] * 4), r"weights must lie in -128\.\.127, got 200\.\.200"),
        (spoiled(weights_rec=[[[0, 1]] * 4] * 4), "weights_rec has weights of a second synapse"),
        (spoiled(threshold=[1]), r"threshold must be \[4\], got \[1\]"),
        (spoiled(threshold=None), r"threshold must lie in 1\.\.32767, got 0\.\.0"),
        (spoiled(weight_shift_in=2), "weight_shift_in must be 0, got 2"),
        (spoiled(aliases=[[1], [], [], []]), "aliases are not read"),
        (spoiled(bias=[1] * 4), "an unknown part 'bias'; the bias of hidden neurons is 'bias_hidden'"),
        (spoiled(dash_mem=[16] * 4), r"membrane_shift must lie in 0\.\.15, got 16\.\.16"),
        (lambda body: body["program"].pop("ops"), "'ops'"),
        (lambda body: body["program"]["ops"].pop(2), "not a usable specification"),
        (lambda body: body["program"]["ops"][2].update(size=1e400), "not a usable specification"),
        (lambda body: body["program"]["ops"][2].update(sources=["x", "nowhere"]), "not a usable specification"),
        (lambda body: body["program"]["ops"][2].update(sources=["x"], widths=[16]), "of different networks"),
        (lambda body: body["program"].update(num_steps=0), "num_steps must be an integer in 1"),
        (lambda body: body.update(program=[]), "not a usable specification"),
    ],
)
def test_a_file_that_is_no_specification_is_refused(tmp_path, spoil, message):
    path = export_xylo(network(), tmp_path / "n.json")
    body = json.loads(path.read_text())
    spoil(body)
    path.write_text(json.dumps(body).replace("Infinity", "1e400"))
    with pytest.raises(FileFormatError, match=message):
        read_xylo(path)


def test_a_file_that_is_no_json_or_too_large_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "n.json"
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(FileFormatError, match="not a usable specification of Xylo"):
        read_xylo(path)
    path.write_text("[" * 100_000)
    with pytest.raises(FileFormatError, match="not a usable specification of Xylo"):
        read_xylo(path)
    monkeypatch.setattr("neuromorphic.formats.xylo.read.MAX_BYTES", 10)
    with pytest.raises(FileFormatError, match="has 100000 bytes, at most 10 are read"):
        read_xylo(path)


def test_the_command(tmp_path):
    network().save(tmp_path / "p.npz")
    done = CliRunner().invoke(app, ["export", str(tmp_path / "p.npz"), "--to", "xylo", "-o", str(tmp_path / "n.json")])
    assert done.exit_code == 0, done.output
    assert "16 input channels, 4 hidden neurons, 3 output neurons" in " ".join(done.output.split())
    assert read_xylo(tmp_path / "n.json").sha256 == network().sha256
    network(outputs=9).save(tmp_path / "p.npz")
    told = CliRunner().invoke(app, ["targets", str(tmp_path / "p.npz"), "--json"])
    assert "XyloAudio 2 has 8 output neurons, the program 9" in told.output
