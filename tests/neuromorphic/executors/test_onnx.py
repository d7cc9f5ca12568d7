"""Programs as ONNX models: equal to the reference in every bit, in ONNX Runtime and in OpenVINO."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
import pytest
import torch
from typer.testing import CliRunner

from neuromorphic import LIF, Dense, Input, Program, Readout, compare, run
from neuromorphic.cli import app
from neuromorphic.compiler import compile_model
from neuromorphic.errors import CompileError, ExecutorError
from neuromorphic.executors.onnx.model import to_onnx
from neuromorphic.executors.onnx.onnxruntime import onnxruntime_runtime
from neuromorphic.executors.onnx.openvino import SETTINGS, openvino_runtime
from neuromorphic.executors.onnx.stepper import run_model
from neuromorphic.integers.resets import RESETS
from neuromorphic.ops import LI, Delay, Slots
from pnbx_snn import PNBX
from programs import REPEATED, repeated_sources, small_inputs, small_program
from random_graphs import OPERATIONS, random_graph
from random_programs import random_inputs
from same import assert_equal

RUNTIMES = ("onnxruntime", "openvino")


def scanned(program, inputs, executor):
    """Run all steps in one call of the model's other form."""
    x = program.prepare_inputs(inputs)
    blob = to_onnx(program, form="scan").SerializeToString()
    if executor == "onnxruntime":
        session = ort.InferenceSession(blob, providers=["CPUExecutionProvider"])
        return dict(zip([value.name for value in session.get_outputs()], session.run(None, {"x": x}), strict=True))
    core = ov.Core()
    read = core.read_model(blob)
    read.reshape({"x": list(x.shape)})  # OpenVINO works in place only where it knows the shapes
    network = core.compile_model(read, "CPU", dict(SETTINGS))
    results = network({"x": x})
    return {output.get_any_name(): results[output] for output in network.outputs}


@pytest.mark.parametrize(("executor", "seeds"), [("onnxruntime", 24), ("openvino", 12)])
def test_random_programs_of_every_operation(executor, seeds):
    # 300 and 200 were run once, half of them with each kind of product.
    seen, spikes = set(), 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        program = random_graph(rng)
        inputs = random_inputs(program, rng, int(rng.integers(1, 5)))
        recording = assert_equal(program, inputs, executor, products=("int8", "float32")[seed % 2])
        seen |= {type(op).__name__ for op in program.ops}
        spikes += sum(int(array.sum()) for array in recording.spikes().values())
    assert seen == OPERATIONS  # test_conformance.py draws the others
    assert spikes > 3_000


@pytest.mark.parametrize("executor", RUNTIMES)
@pytest.mark.parametrize("seed", [3, 5, 123, 4024])  # 123: OpenVINO summed a gathered axis to zero
def test_all_steps_in_one_model(seed, executor):
    rng = np.random.default_rng(seed)
    program = random_graph(rng)
    inputs = random_inputs(program, rng, 1 if seed == 4024 else 2)
    expected, got = run(program, inputs).variables, scanned(program, inputs, executor)
    assert set(got) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.mark.parametrize("executor", RUNTIMES)
@pytest.mark.parametrize("batch", [1, 3])
def test_delays_of_delays_in_one_model(batch, executor):
    # OpenVINO joins the queues of a single sample in place, and changed them a step early.
    rng, size = np.random.default_rng(0), 4
    chains = {"x": (4,), "lif": (2, 4, 1), "old": (3,)}
    one, weights = np.ones(size, dtype=np.int32), rng.choice([-1, 0, 1], (size, size)).astype(np.int8)
    ops = [Input("x", size), Dense("fc", "x", weights), LIF("lif", ("fc",), 3000 * one, 0 * one, 0 * one, shift=2)]
    ops.append(Delay("old", "x", size, steps=2))
    for source, steps in chains.items():
        name = source
        for place, number in enumerate(steps):
            ops.append(Delay(f"{source}_{place}", name, size, steps=number))
            name = f"{source}_{place}"
            ops.append(Dense(f"fc_{name}", name, np.eye(size, dtype=np.int8)))
            ops.append(LI(f"seen_{name}", (f"fc_{name}",), decay=2000 * one, bias=0 * one, shift=8))
    program = Program(tuple(ops), num_steps=15)
    inputs = (rng.random((15, batch, size)) < 0.5).astype(np.int32)
    expected, got = run(program, inputs).variables, scanned(program, inputs, executor)
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def zero_fast_slots(fast):
    rng = np.random.default_rng(0)
    slots = Slots("memory", "x", rng.integers(-1, 2, (3, 5)).astype(np.int8), gain=7, shift=3, fast=fast)
    return Program((Input("x", 5), slots), num_steps=6), rng.integers(0, 2, (6, 2, 5)).astype(np.int32)


@pytest.mark.parametrize("executor", RUNTIMES)
def test_fast_weights_of_zeros(executor):
    """OpenVINO folds ``x + 0`` away and with it the name of an output: a KeyError of 'next.memory.fast'."""
    program, x = zero_fast_slots(np.zeros((3, 5), dtype=np.int32))
    assert_equal(program, x, executor)
    plain = [node.op_type for node in to_onnx(zero_fast_slots(None)[0]).graph.node]
    assert [node.op_type for node in to_onnx(program).graph.node] == plain  # zeros are no addend


@pytest.mark.parametrize("runtime", [onnxruntime_runtime, openvino_runtime])
def test_an_output_that_a_runtime_renames_is_still_found(runtime):
    """A model that adds zeros after all, as one written by an older version does."""
    ones = np.ones((3, 5), dtype=np.int32)
    program, x = zero_fast_slots(ones)
    model = to_onnx(program)
    found = [c for c in model.graph.initializer if list(c.dims) == [3, 5] and c.data_type == onnx.TensorProto.FLOAT]
    (fast,) = found
    fast.CopyFrom(onnx.numpy_helper.from_array(np.zeros((3, 5), dtype=np.float32), fast.name))
    expected = run(zero_fast_slots(None)[0], x)
    assert compare(expected, run_model(model, x, runtime())).equal


@pytest.mark.parametrize("executor", ["native", "torch", *RUNTIMES])
@pytest.mark.parametrize("sources", REPEATED)
def test_a_source_that_is_heard_twice_counts_twice(sources, executor):
    recording = assert_equal(*repeated_sources(sources), executor)
    assert recording.variables["lif.spikes"].any()


@pytest.mark.parametrize("executor", RUNTIMES)
def test_outputs_that_are_equal_keep_their_names(executor):
    """Two read-outs of one sum are one tensor; what a matrix of zeros gives is always 0."""
    one = np.ones(2, dtype=np.int32)
    ops = [Input("x", 3), Dense("fc", "x", np.array([[1, -1, 1], [0, 1, 1]], dtype=np.int8))]
    ops += [Readout(name, ("fc",), bias=0 * one, shift=0) for name in ("first", "second")]
    ops += [Dense("none", "x", np.zeros((2, 3), dtype=np.int8)), LI("still", ("none",), 0 * one, 0 * one)]
    ops += [
        LIF(name, ("none",), 0 * one, 0 * one, bias=bias * one, shift=0) for name, bias in (("never", 0), ("ever", 1))
    ]
    x = np.random.default_rng(0).integers(0, 2, (5, 3, 3)).astype(np.int32)
    recording = assert_equal(Program(tuple(ops), num_steps=5), x, executor)
    assert recording.variables["first.y"].any()
    assert recording.variables["ever.spikes"].all()


@pytest.mark.parametrize("executor", RUNTIMES)
@pytest.mark.parametrize("reset", RESETS)
def test_every_reset(reset, executor):
    assert assert_equal(small_program(reset=reset), small_inputs(), executor).spikes()["lif1"].any()


@pytest.mark.parametrize("executor", RUNTIMES)
def test_the_whole_pnbx_network(executor):
    torch.manual_seed(0)
    model = PNBX(in_features=12, num_classes=3, num_steps=6, d_hidden=64, d_ssm=8, d_rnn=6, rank=4, slots=5)
    model.calibrate(torch.rand(8, 12))
    x = torch.rand(4, 12)
    program = compile_model(model.eval(), num_steps=6)
    recording = assert_equal(program, model.encode(x).numpy(), executor)
    assert all(array.any() for array in recording.spikes().values())


@pytest.mark.parametrize("executor", RUNTIMES)
@pytest.mark.parametrize("products", ["int8", "float32"])
def test_heavy_weights_and_extreme_inputs(products, executor):
    weights = np.full((3, 400), 127, dtype=np.int8)
    weights[1], weights[2] = -127, np.arange(400) % 255 - 127
    ops = (
        Input("x", 400, low=-32_768, high=32_767),
        Dense("fc", "x", weights),
        Readout("y", ("fc",), np.zeros(3, dtype=np.int32), shift=0),
    )
    x = np.random.default_rng(0).choice([-32_768, 32_767, 1, 0], (3, 2, 400))
    x[0, 0], x[0, 1] = 32_767, -32_768
    assert_equal(Program(ops, num_steps=3), x, executor, products=products)


@pytest.mark.parametrize("executor", RUNTIMES)
def test_what_is_recorded_can_be_chosen_and_progress_is_told(executor):
    told, program, inputs = [], small_program(), small_inputs()
    got = run(program, inputs, executor, record=["lif1.spikes"], progress=lambda *done: told.append(done))
    assert list(got.variables) == ["lif1.spikes"]
    np.testing.assert_array_equal(got.variables["lif1.spikes"], run(program, inputs).variables["lif1.spikes"])
    assert told[-1] == (len(inputs), len(inputs))
    assert got.metadata["seconds"] > 0
    with pytest.raises(ExecutorError, match=r"there is no variable 'lif9.v'; the program has lif1.spikes, lif1.v"):
        run(program, inputs, executor, record=["lif9.v"])


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ("onnxruntime", "must be one of .*cpu.*, got 'tpu'"),
        ("openvino", "must be one of CPU.*, AUTO, got 'TPU'"),
    ],
)
def test_a_device_that_is_not_here(executor, message):
    with pytest.raises(ExecutorError, match=message):
        run(small_program(), small_inputs(), executor, device="tpu")


def test_the_model_says_what_it_is():
    program = small_program()
    model = to_onnx(program)
    facts = {item.key: item.value for item in model.metadata_props}
    assert facts["pnbx.program_sha256"] == program.sha256
    assert json.loads(facts["pnbx.input"])["size"] == program.input.size
    assert {state["input"] for state in json.loads(facts["pnbx.states"])} < {v.name for v in model.graph.input}
    assert model.opset_import[0].version == 18


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "loop"}, "form must be one of step, scan, image, got 'loop'"),
        ({"products": "int4"}, "products must be one of int8, float32, got 'int4'"),
        ({"opset": 17}, "opset must be in 18..21"),
    ],
)
def test_what_cannot_be_exported_is_refused(options, message):
    with pytest.raises(CompileError, match=message):
        to_onnx(small_program(), **options)


def test_the_command_writes_a_model_that_runs(tmp_path):
    program, path = small_program(), tmp_path / "program.npz"
    program.save(path)
    done = CliRunner().invoke(app, ["export", str(path), "--to", "onnx", "--form", "scan"])
    assert done.exit_code == 0, done.output
    assert "one scan, opset 18, checked" in " ".join(done.output.split())
    onnx.checker.check_model(str(tmp_path / "program.onnx"))
    session = ort.InferenceSession(tmp_path / "program.onnx", providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    got = dict(zip(names, session.run(None, {"x": program.prepare_inputs(small_inputs())}), strict=True))
    for name, array in run(program, small_inputs()).variables.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def test_a_step_of_one_neuron():
    one = np.ones(1, dtype=np.int32)
    ops = (Input("x", 1, low=-128, high=127), Dense("fc", "x", np.array([[-1]], dtype=np.int8)))
    ops += (LIF("lif", ("fc",), one, one, -one, shift=16), Readout("y", ("fc",), one, shift=0))
    for executor in RUNTIMES:
        assert_equal(Program(ops, num_steps=1), np.array([[[-128], [127], [0]]], dtype=np.int32), executor)
