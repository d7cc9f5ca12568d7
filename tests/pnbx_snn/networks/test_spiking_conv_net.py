"""SpikingConvNet: its layers against torch, training from its configuration, and its program's spikes."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d

import pnbx_snn
from neuromorphic import run
from neuromorphic.compiler import compile_layers, compile_model, compile_run, measure_agreement
from neuromorphic.errors import CompileError
from neuromorphic.ops import LIF, Conv, Dense, Input, Readout, SpikePool
from pnbx_snn import BitConv2d, SpikingConvLayer, SpikingConvNet, load_run, train
from pnbx_snn.errors import ConfigError, PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.metrics.memory import state_bytes
from pnbx_snn.metrics.operations import convolution_additions
from pnbx_snn.training.config import load_config


def trained(seed=0, **options):
    """A network whose norms have statistics, as after training, and its pictures."""
    torch.manual_seed(seed)
    options = {"channels": [4, 6], "num_steps": 6, "beta": 0.875, **options}
    model = SpikingConvNet(8, 9, 3, **options)
    images = torch.rand(40, 72)
    model.calibrate(images)
    draw = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(5):
        model.classify(images, generator=draw)
    with torch.no_grad():
        for layer in model.layers:
            layer.norm.weight.uniform_(-1.5, 1.5)
            layer.norm.bias.uniform_(-0.2, 0.6)
    return model.eval(), images


def test_a_layer_is_its_parts():
    torch.manual_seed(0)
    layer = SpikingConvLayer(BitConv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), pnbx_snn.LIF(0.9), (6, 5), pool=2).eval()
    x = (torch.rand(4, 2, 60) < 0.4).float()
    spikes, state = layer(x)
    images = x.reshape(8, 2, 6, 5)
    current = layer.norm(layer.linear(images)).reshape(4, 2, 90)
    expected, _ = layer.neuron(current)
    assert torch.equal(spikes, expected)
    assert torch.equal(layer.pooled(spikes), max_pool2d(spikes.reshape(8, 3, 6, 5), 2).reshape(4, 2, 18))
    halves = [layer(x[:2])[0], layer(x[2:], layer(x[:2])[1])[0]]
    assert torch.equal(torch.cat(halves), spikes)
    assert state.v.shape == (2, 90)
    assert layer.num_neurons == 90


def test_a_constant_input_is_convolved_once():
    model, images = trained()
    shown = model.encode(images)
    assert shown.stride(0) == 0
    torch.testing.assert_close(model(shown).logits, model(shown.clone()).logits)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pool": 1, "channels": [3]},
        {"kernel_size": 5, "reset": "subtract"},
        {"primitive": "lif_box", "threshold": 0.1},
        {"encoder": "rate", "input_range": "spikes"},
    ],
    ids=str,
)
def test_every_spike_of_its_program_is_its_own(options):
    model, images = trained(**options)
    program = compile_model(model)
    pooled = [SpikePool] * (model.layers[0].pool > 1)
    assert [type(op) for op in program.ops] == [Input, *[Conv, LIF, *pooled] * len(model.layers), Dense, Readout]
    assert all(op.is_ternary for op in program.of_type(Conv))
    shown = model.encode(images, generator=torch.Generator().manual_seed(1))
    measured = measure_agreement(model, program, shown, torch.zeros(40, dtype=torch.int64))
    assert measured["spikes_equal"] > 0.9999  # biases and thresholds are rounded
    assert measured["labels_equal"] == 1.0
    assert 0.02 < measured["firing_rate"] < 0.8
    for executor in ("torch", "native"):
        recorded = [run(program, shown.numpy(), name) for name in ("numpy", executor)]
        for name, array in recorded[0].variables.items():
            np.testing.assert_array_equal(recorded[1].variables[name], array, err_msg=f"{executor} {name}")


def test_layers_of_ones_own_compile():
    """compile_layers takes convolutions, ternary or of 8 bits, where it is told the image."""
    torch.manual_seed(1)
    parts = [
        (nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding="valid"), None, pnbx_snn.LIF(0.75, threshold=0.4)),
        (BitConv2d(3, 4, 3, padding=1, groups=1), nn.BatchNorm2d(4).eval(), pnbx_snn.LIF(0.5, threshold=0.2)),
        (nn.Linear(4 * 3 * 5, 2), None, pnbx_snn.LIF(0.5, threshold=0.2)),
    ]
    program = compile_layers(parts, num_steps=7, input_shape=(2, 7, 6))
    assert [type(op) for op in program.ops] == [Input, Conv, LIF, Conv, LIF, Dense, LIF]
    assert program.input.size == 84
    groups = BitConv2d(2, 4, (3, 2), stride=(1, 2), padding=(1, 0), groups=2)
    neuron = pnbx_snn.LIF(0.75, threshold=0.31)
    program = compile_layers([(groups, None, neuron)], num_steps=7, input_shape=(2, 7, 6))
    x = (torch.rand(7, 3, 84) < 0.4).float()
    with torch.no_grad():
        spikes, _ = neuron(groups(x.reshape(7, 3, 2, 7, 6)).reshape(7, 3, -1))
    np.testing.assert_array_equal(run(program, x.numpy()).spikes()["lif1"], spikes.numpy())
    assert 0.01 < float(spikes.mean()) < 0.9
    for options, message in (
        ({}, r"lif1: a convolution needs the shape of its image; give input_shape"),
        ({"input_shape": (3, 7, 6)}, "lif1: must read images of 2 channels, got 3"),
        ({"input_shape": (2, 1, 1)}, "lif1: a kernel of .* does not fit images"),
        ({"input_shape": 5}, r"input_shape must be \(channels, height, width\), got 5"),
        ({"input_shape": (2, 7, 6), "pools": [1, 1, 2]}, "lif3: a pool reads images"),
        ({"input_shape": (2, 7, 6), "pools": [2]}, "pools must be one number for each of the 3 layers, got 1"),
    ):
        with pytest.raises(CompileError, match=message):
            compile_layers(parts, num_steps=7, **options)


def test_its_configuration_trains_and_compiles(tmp_path):
    config = load_config("digits_conv", ["train.epochs=2", "conv.channels=[6, 8]"])
    train(config, tmp_path / "run")
    model, _ = load_run(tmp_path / "run")
    assert isinstance(model, SpikingConvNet)
    program = compile_run(tmp_path / "run")
    agreement = program.metadata["agreement"]
    assert agreement["spikes_equal"] > 0.9999, agreement
    assert agreement["accuracy_program"] > 0.6
    with pytest.raises(ConfigError, match="fsdd"):
        load_config("digits_conv", ["data.name=fsdd"])


def test_additions_are_those_without_zeros():
    layer = BitConv2d(2, 3, 3, padding=1)
    x = (torch.rand(4, 2, 5, 6) < 0.3).float()
    weights = layer.ternary_weight()
    dense, executed = convolution_additions(layer, weights, x)
    assert dense == 4 * 3 * 30 * 18
    assert 0 < executed < dense * 0.5
    met = sum(
        float(((seen != 0) * (kernel != 0)).sum())
        for seen in nn.functional.unfold(x, 3, padding=1).movedim(1, -1).flatten(0, 1)
        for kernel in weights.flatten(1)
    )
    assert executed == met
    assert state_bytes(trained()[0]) == {"layer 1": 4 * 4 * 72, "layer 2": 4 * 6 * 16, "readout": 4 * 6 * 4}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpikingConvNet(8, 8, 3, channels=[]), r"len\(channels\) must be at least 1, got 0"),
        (lambda: SpikingConvNet(8, 8, 3, kernel_size=4), "kernel_size must be odd, got 4"),
        (lambda: SpikingConvNet(8, 8, 3, channels=[2] * 4), "4 pools of 2 x 2 leave nothing of the picture after 3"),
        (lambda: SpikingConvNet(8, 8, 3, encoder="rate").encode(torch.rand(1, 64)), "needs a generator"),
    ],
)
def test_wrong_options(make, message):
    with pytest.raises(PnbxValueError, match=message):
        make()


def test_wrong_inputs():
    model, _ = trained()
    with pytest.raises(ShapeError, match=r"input must be \[T, B, 72\], got \[6, 1, 71\]"):
        model(torch.rand(6, 1, 71))
    with pytest.raises(ShapeError, match="state must hold one LIFState for each of the 2 layers, got 1"):
        model(torch.rand(6, 1, 72), (pnbx_snn.LIFState(torch.zeros(1, 288)),))
    with pytest.raises(PnbxTypeError, match="must all have the same number of steps"):
        model.classify(torch.rand(2, 72), lengths=torch.tensor([1, 2]))
