"""ONNX files: what is written runs elsewhere and here, and what was damaged is refused in one sentence."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
import pytest
from typer.testing import CliRunner

from neuromorphic import LIF, Dense, Input, Program, Readout, Recording, run
from neuromorphic.bounds import ANY_STEPS
from neuromorphic.cli import app
from neuromorphic.errors import CompileError, FileFormatError, InputError
from neuromorphic.executors.onnx.budget import check_budget
from neuromorphic.executors.onnx.files import load_onnx, run_onnx, save_onnx
from neuromorphic.executors.onnx.model import digest, to_onnx
from neuromorphic.executors.onnx.openvino import SETTINGS
from programs import small_inputs, small_program
from random_graphs import random_graph

RUNTIMES = ("onnxruntime", "openvino")
LIF1, *OTHERS = (
    {"input": f"state.{variable}", "output": variable, "shape": [size], "dtype": "int32"}
    for variable, size in (("lif1.v", 8), ("lif2.v", 6), ("readout.y", 3))
)


def call(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, " ".join(done.output.replace("│", " ").split())


def held(program, batch=5):
    """Return images for a program of held inputs."""
    port = program.input
    return np.random.default_rng(1).integers(port.low, port.high + 1, (batch, port.size)).astype(np.int32)


@pytest.mark.parametrize("executor", RUNTIMES)
@pytest.mark.parametrize("form", ["step", "scan"])
def test_a_file_runs_as_its_program_does(tmp_path, form, executor):
    program, inputs = small_program(), small_inputs()
    path, told = save_onnx(program, tmp_path / "model.onnx", form=form), []
    got = run_onnx(path, inputs, executor, progress=lambda *done: told.append(done))
    expected = run(program, inputs)
    assert list(got.variables) == list(expected.variables)
    for name, array in expected.variables.items():
        assert got.variables[name].dtype == array.dtype
        np.testing.assert_array_equal(got.variables[name], array, err_msg=name)
    assert got.metadata["program_sha256"] == program.sha256
    assert told[-1] == (len(inputs), len(inputs))


def test_the_commands_write_a_file_and_run_it(tmp_path):
    program = small_program()
    program.save(tmp_path / "program.npz")
    np.save(tmp_path / "inputs.npy", small_inputs())
    code, text = call("export", tmp_path / "program.npz", "--to", "onnx", "-o", tmp_path / "m.onnx", "--steps", 30)
    assert code == 0, text
    code, text = call("run", tmp_path / "m.onnx", tmp_path / "inputs.npy", "-o", tmp_path / "r.npz")
    assert code == 0, text
    assert "on onnxruntime; firing rates: lif1 " in text
    assert "labels: " in text
    expected, got = run(program, small_inputs()), Recording.load(tmp_path / "r.npz")
    assert all(np.array_equal(got.variables[name], array) for name, array in expected.variables.items())
    code, text = call("run", tmp_path / "m.onnx", tmp_path / "inputs.npy", "--executor", "native")
    assert code == 2
    assert "a .onnx file runs on onnxruntime or openvino, got --executor native" in text


def test_a_model_runs_the_steps_it_was_proven_for(tmp_path):
    program = small_program()
    longer = np.concatenate([small_inputs(), small_inputs()])
    path = save_onnx(program, tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"have 24 steps, the model was proven for 12; export it with --steps 24"):
        run_onnx(path, longer)
    save_onnx(program, path, num_steps=ANY_STEPS)
    assert run_onnx(path, small_inputs(num_steps=24)).variables["readout.y"].shape[0] == 24
    save_onnx(program, path, num_steps=24)
    got = run_onnx(path, longer).variables["readout.y"]
    np.testing.assert_array_equal(got, run(program, longer).variables["readout.y"])


def flip(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def resigned(model):
    """Return the bytes of a model that somebody changed and signed again."""
    next(item for item in model.metadata_props if item.key == "pnbx.sha256").value = digest(model)
    return model.SerializeToString()


def outside(content):
    model = onnx.load_model_from_string(content)
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    return resigned(model)


def custom(content):
    model = onnx.load_model_from_string(content)
    model.graph.node[0].domain = "evil"
    return resigned(model)


def said(key, value):
    def change(content):
        model = onnx.load_model_from_string(content)
        next(item for item in model.metadata_props if item.key == f"pnbx.{key}").value = value
        return resigned(model)

    return change


def huge(content):
    """What a file of 1.7 kB did to take 8.5 GB: a state of 2^30, in the facts and in the graph alike."""
    model = onnx.load_model_from_string(content)
    states = next(item for item in model.metadata_props if item.key == "pnbx.states")
    told = json.loads(states.value)
    told[0]["shape"] = [1 << 30]
    states.value = json.dumps(told)
    port = next(value for value in model.graph.input if value.name == told[0]["input"])
    port.type.tensor_type.shape.dim[1].dim_value = 1 << 30
    return resigned(model)


def with_nodes(*nodes, **values):
    def change(content):
        model = onnx.load_model_from_string(content)
        model.graph.node.extend(nodes)
        for name, value in values.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
        return resigned(model)

    return change


DOUBLED = [onnx.helper.make_node("Concat", [f"d{i}", f"d{i}"], [f"d{i + 1}"], axis=0) for i in range(40)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (huge, r"'state.lif1.v' has 1073741824 values of one sample"),
        (
            with_nodes(onnx.helper.make_node("ConstantOfShape", ["n"], ["out"]), n=[1 << 40]),
            "'out' has 1099511627776 values of one sample",
        ),
        (with_nodes(*DOUBLED, d0=[1.0]), r"'d28' has 268435456 values of one sample"),
        (with_nodes(onnx.helper.make_node("Loop", ["n", "", "n"], ["out"]), n=1), "is a Loop, which no program"),
        (with_nodes(onnx.helper.make_node("Add", ["nothing", "x"], ["out"])), "the size of 'out' does not follow"),
        (
            with_nodes(onnx.helper.make_node("NonZero", ["x"], ["out"])),
            "is a NonZero, which no program is written with",
        ),
        (said("format_version", "0"), "format version '0'"),
        (said("format_version", "-5"), "format version '-5'"),
        (said("format_version", "true"), "format version 'true'"),
        (lambda c: b"", "not the whole model of a program: it lacks pnbx.sha256"),
        (lambda c: b"PK\x03\x04" + bytes(100), "not (a readable ONNX model|the whole model of a program)"),
        (lambda c: c[: len(c) // 2], "not (a readable ONNX model|the whole model of a program)"),
        (lambda c: flip(c, c.index(b"pnbx.num_steps") + 18), "does not match its SHA-256|not a readable ONNX model"),
        (lambda c: flip(c, len(c) // 3), "does not match its SHA-256|not a readable ONNX model"),
        (outside, "lies in another file; programs keep theirs inside"),
        (custom, "is of the domain 'evil'"),
        (said("format_version", "2"), "format version '2', this version of the package reads up to 1"),
        (said("input", '{"name": "x"}'), "not a usable model of a program .'size'"),
        (said("states", "[{"), "not a usable model of a program"),
        (said("states", "[1.5, 2]"), "not a usable model of a program .'float' object is not subscriptable"),
        (said("states", "[]"), r"inputs \['state.lif1.v', .*, told \['x'\]"),
        (said("states", json.dumps([{**LIF1, "dtype": "int64"}, *OTHERS])), "state.lif1.v is .*int32.*told .*int64"),
        (said("form", "leap"), "form 'leap', products 'int8'"),
        (said("variables", '["lif9.v"]'), "not a usable model of a program .'lif9.v'"),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path, damage, message):
    path = save_onnx(small_program(), tmp_path / "model.onnx")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileFormatError, match=message):
        run_onnx(path, small_inputs())
    np.save(tmp_path / "inputs.npy", small_inputs())
    code, text = call("run", path, tmp_path / "inputs.npy")
    assert code == 1
    assert "Traceback" not in text


@pytest.mark.parametrize("form", ["step", "scan"])
@pytest.mark.parametrize("seed", range(3))
def test_no_program_is_refused_for_its_size(form, seed):
    """Every operation is in these graphs; their shapes follow, so none is taken for one that asks for more."""
    check_budget(to_onnx(random_graph(np.random.default_rng(seed)), form=form, products=("int8", "float32")[seed % 2]))


def test_any_bit_that_flips_is_seen(tmp_path):
    path = save_onnx(small_program(), tmp_path / "model.onnx")
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 200):
        path.write_bytes(flip(whole, int(at)))
        with pytest.raises(FileFormatError):
            load_onnx(path)
    path.write_bytes(whole)
    assert load_onnx(path).graph.name == "step"


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(FileFormatError, match="no such file"):
        load_onnx(tmp_path / "none.onnx")
    with pytest.raises(FileFormatError, match="cannot be read"):
        load_onnx(tmp_path)
    path = save_onnx(small_program(), tmp_path / "image.onnx", form="image")
    with pytest.raises(FileFormatError, match="its form is 'image', which leaves no recording"):
        run_onnx(path, small_inputs())


@pytest.mark.parametrize("executor", RUNTIMES)
def test_an_image_goes_in_and_a_label_comes_out(executor):
    program = small_program()
    x, blob = held(program), to_onnx(program, form="image", num_steps=20).SerializeToString()
    if executor == "onnxruntime":
        session = ort.InferenceSession(blob, providers=["CPUExecutionProvider"])
        sums, labels = session.run(["readout.y", "labels"], {"x": x})
    else:
        core = ov.Core()
        results = core.compile_model(core.read_model(blob), "CPU", dict(SETTINGS))({"x": x})
        sums, labels = results["readout.y"], results["labels"]
    expected = run(program, np.broadcast_to(x, (20, *x.shape)))
    np.testing.assert_array_equal(sums, expected.variables["readout.y"][-1])
    np.testing.assert_array_equal(labels, expected.labels())
    assert len(set(labels.tolist())) > 1


@pytest.mark.parametrize("executor", RUNTIMES)
def test_the_lowest_index_wins_a_tie(executor):
    fc = Dense("fc", "x", np.array([[0], [1], [1], [1]], dtype=np.int8))
    program = Program((Input("x", 1), fc, Readout("y", ("fc",), np.zeros(4, np.int32), shift=0)), num_steps=3)
    blob, x = to_onnx(program, form="image").SerializeToString(), np.ones((2, 1), dtype=np.int32)
    if executor == "onnxruntime":
        (labels,) = ort.InferenceSession(blob, providers=["CPUExecutionProvider"]).run(["labels"], {"x": x})
    else:
        core = ov.Core()
        labels = core.compile_model(core.read_model(blob), "CPU", dict(SETTINGS))({"x": x})["labels"]
    assert labels.tolist() == [1, 1]


def test_an_image_needs_one_readout():
    one = np.ones(1, dtype=np.int32)
    fc = Dense("fc", "x", np.ones((1, 1), dtype=np.int8))
    program = Program((Input("x", 1), fc, LIF("lif", ("fc",), one, one, one, shift=0)), num_steps=1)
    with pytest.raises(CompileError, match="form 'image' is for a program with one Readout, got 0"):
        to_onnx(program, form="image")
    with pytest.raises(CompileError, match="leave record out"):
        to_onnx(small_program(), form="image", record=["lif1.v"])
