"""Convolutions, pools and delays per unit in ONNX models of every form, and where a runtime would be wrong."""

import numpy as np
import onnxruntime as ort
import openvino as ov
import pytest

import same
from conv_nets import conv_network
from neuromorphic import Input, Program, Readout, run
from neuromorphic.executors.onnx.budget import check_budget
from neuromorphic.executors.onnx.files import run_onnx, save_onnx
from neuromorphic.executors.onnx.model import to_onnx
from neuromorphic.executors.onnx.openvino import SETTINGS
from neuromorphic.ops import Conv

RUNTIMES = ("onnxruntime", "openvino")


def outputs_of(model, x, executor):
    """Run a model once, without this package."""
    blob = model.SerializeToString()
    if executor == "onnxruntime":
        session = ort.InferenceSession(blob, providers=["CPUExecutionProvider"])
        return dict(zip([value.name for value in session.get_outputs()], session.run(None, {"x": x}), strict=True))
    core = ov.Core()
    read = core.read_model(blob)
    read.reshape({"x": list(x.shape)})
    network = core.compile_model(read, "CPU", dict(SETTINGS))
    results = network({"x": x})
    return {output.get_any_name(): results[output] for output in network.outputs}


@pytest.mark.parametrize("executor", RUNTIMES)
@pytest.mark.parametrize("products", ["int8", "float32"])
@pytest.mark.parametrize("samples", [1, 2])
def test_every_form(executor, products, samples):
    for seed in range(3):
        program, inputs = conv_network(seed)
        inputs = inputs[:, :samples]
        expected = same.assert_equal(program, inputs, executor, products=products).variables
        assert expected["lif2.spikes"].any()
        scan = to_onnx(program, form="scan", products=products)
        check_budget(scan)
        got = outputs_of(scan, inputs, executor)
        assert set(got) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(got[name], array, err_msg=name)
        held = np.broadcast_to(inputs[:1], inputs.shape)
        image = outputs_of(to_onnx(program, form="image", products=products), inputs[0], executor)
        sums = run(program, held).variables["y.y"][-1]
        np.testing.assert_array_equal(image["y.y"], sums)
        np.testing.assert_array_equal(image["labels"], sums.argmax(axis=1))


def test_a_file_runs_as_its_program_does(tmp_path):
    program, inputs = conv_network(7)
    path = save_onnx(program, tmp_path / "step.onnx")
    got = run_onnx(path, inputs, "onnxruntime")
    same.assert_same(run(program, inputs), got)


def conv_program(weights, shape, *, low=0, high=1, **windows):
    conv = Conv("conv", "x", weights, shape, **windows)
    ops = (Input("x", int(np.prod(shape)), low, high), conv)
    return Program((*ops, Readout("y", ("conv",), np.zeros(conv.size, dtype=np.int32), shift=0)), num_steps=2)


@pytest.mark.parametrize("products", ["int8", "float32"])
def test_one_channel_and_one_window_in_a_row(products):
    """OpenVINO 2026.4 gives wrong sums for such a ``Conv``: a stride above 1, with one window in each row."""
    rng = np.random.default_rng(0)
    for groups in (1, 5):
        weights = rng.integers(-1, 2, (5, 1, 2, 5)).astype(np.int8)
        program = conv_program(weights, (groups, 12, 1), stride=(1, 3), padding=(1, 2), groups=groups)
        inputs = rng.integers(0, 2, (2, 3, 12 * groups)).astype(np.int32)
        same.assert_equal(program, inputs, "openvino", products=products)


@pytest.mark.parametrize("executor", RUNTIMES)
@pytest.mark.parametrize("products", ["int8", "float32"])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-128, 127), (0, 1 << 15)])
def test_sums_of_heavy_weights(executor, products, low, high):
    """More than float32 holds of one digit: a convolution is halved, and what lies outside the image is 0."""
    rng = np.random.default_rng(1)
    small = high == 1 << 15
    weights = np.full((3, 20 if small else 7400, 3, 3), 127, dtype=np.int8)
    weights[1, ::2] = -126
    weights[2] = rng.integers(-127, 128, weights.shape[1:])
    program = conv_program(weights, (weights.shape[1], 3, 3), low=low, high=high, padding=(1, 0))
    inputs = rng.integers(low, high + 1, (2, 2, program.input.size)).astype(np.int32)
    inputs[0, 0] = high
    inputs[0, 1] = low
    same.assert_equal(program, inputs, executor, products=products)
