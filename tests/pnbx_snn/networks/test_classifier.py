"""SpikingLayer and SpikingClassifier: a NumPy oracle, the constant-input path, streaming, properties, errors."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pnbx_snn import LIF, BitLinear, SpikingClassifier, SpikingLayer
from pnbx_snn.data.encoding import direct, latency, rate
from pnbx_snn.errors import PnbxValueError, ShapeError


def make_model(seed=0, *, hidden=(12, 9), **options):
    """A model in float64 whose norms have run over some data, in evaluation mode."""
    torch.manual_seed(seed)
    options = {"in_features": 6, "hidden": hidden, "num_classes": 4, "num_steps": 5, "input_range": "int8"} | options
    model = SpikingClassifier(**options).double()
    for layer in model.layers:
        nn.init.normal_(layer.norm.weight, 1.0, 0.3)
        nn.init.normal_(layer.norm.bias, 0.5, 0.3)
    x = sequence(seed + 1)
    model.calibrate(x)
    with torch.no_grad():
        for _ in range(3):
            model(x)
    return model.eval()


def sequence(seed, *, steps=5, samples=7):
    return torch.rand(steps, samples, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def oracle(model, x):
    """The equations, one step, sample and neuron at a time."""
    steps, samples, _ = x.shape
    all_spikes = []
    for layer in model.layers:
        linear, norm, neuron = layer.linear, layer.norm, layer.neuron
        weight = linear.weight.detach().numpy()
        gamma = np.abs(weight).mean()
        ternary = np.clip(np.rint(weight / gamma), -1, 1)
        if linear.input_range == "int8":
            scale = linear.input_scale.item()
            x = scale * np.clip(np.rint(x / scale), -128, 127)
        spikes = np.zeros((steps, samples, len(weight)))
        for b in range(samples):
            for n in range(len(weight)):
                v = 0.0
                for t in range(steps):
                    product = gamma * (ternary[n] @ x[t, b])
                    spread = np.sqrt(norm.running_var[n].item() + norm.eps)
                    centred = (product - norm.running_mean[n].item()) / spread
                    v = neuron.beta.item() * v + centred * norm.weight[n].item() + norm.bias[n].item()
                    if v > neuron.threshold.item():
                        spikes[t, b, n] = 1.0
                        v = {"zero": 0.0, "subtract": v - neuron.threshold.item(), "none": v}[neuron.reset]
        all_spikes.append(spikes)
        x = spikes
    weight = model.readout.weight.detach().numpy()
    gamma = np.abs(weight).mean()
    ternary = np.clip(np.rint(weight / gamma), -1, 1)
    return gamma * x.mean(axis=0) @ ternary.T + model.readout.bias.detach().numpy(), all_spikes


@pytest.mark.parametrize("reset", ["zero", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_equations(seed, reset):
    model = make_model(seed, reset=reset)
    x = sequence(seed + 10)
    logits, all_spikes = oracle(model, x.numpy())
    output = model(x)
    for ours, expected in zip(output.spikes, all_spikes, strict=True):
        assert np.array_equal(ours.detach().numpy(), expected)
        assert 0.05 < expected.mean() < 0.95  # else the comparison would say little
    np.testing.assert_allclose(output.logits.detach().numpy(), logits, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_two_halves_with_carried_state_equal_one_run(seed, cut):
    model = make_model()
    x = sequence(seed, steps=6)
    whole = model(x)
    first = model(x[:cut])
    second = model(x[cut:], first.state)
    for one, a, b in zip(whole.spikes, first.spikes, second.spikes, strict=True):
        assert torch.equal(one, torch.cat([a, b]))
    for one, two in zip(whole.state, second.state, strict=True):
        assert torch.equal(one.v, two.v)
    weighted = (cut * first.logits + (6 - cut) * second.logits) / 6
    torch.testing.assert_close(whole.logits, weighted, rtol=1e-12, atol=1e-12)


def test_samples_are_independent_and_the_future_cannot_change_the_past():
    model = make_model()
    x = sequence(3)
    output = model(x)
    alone = model(x[:, 2:3])
    assert torch.equal(output.spikes[-1][:, 2:3], alone.spikes[-1])
    changed = x.clone()
    changed[3:] = 0.0
    assert torch.equal(output.spikes[-1][:3], model(changed).spikes[-1][:3])
    assert not torch.equal(output.spikes[-1][3:], model(changed).spikes[-1][3:])


def test_permuting_hidden_neurons_permutes_their_spikes():
    model = make_model(hidden=(12,))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    twin = copy.deepcopy(model)
    with torch.no_grad():
        layer = twin.layers[0]
        layer.linear.weight.copy_(layer.linear.weight[order])
        for vector in (layer.norm.weight, layer.norm.bias, layer.norm.running_mean, layer.norm.running_var):
            vector.copy_(vector[order])
        twin.readout.weight.copy_(twin.readout.weight[:, order])
    x = sequence(4)
    assert torch.equal(model(x).spikes[0][..., order], twin(x).spikes[0])
    torch.testing.assert_close(model(x).logits, twin(x).logits, rtol=1e-12, atol=1e-12)


def test_state_dict_round_trip():
    model, other = make_model(0), make_model(1)
    x = sequence(5)
    assert not torch.equal(model(x).logits, other(x).logits)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x).logits, other(x).logits)


def test_constant_input_is_computed_once_with_the_same_result():
    model = make_model()
    view = model.encode(sequence(6)[0])
    assert view.stride(0) == 0
    products = []
    model.layers[0].linear.register_forward_hook(lambda _, __, y: products.append(tuple(y.shape)))
    for training in (False, True):
        model.train(training)
        once, each = copy.deepcopy(model)(view), copy.deepcopy(model)(view.contiguous())
        for a, b in zip(once.spikes, each.spikes, strict=True):
            assert torch.equal(a, b)
        torch.testing.assert_close(once.logits, each.logits, rtol=1e-12, atol=1e-12)
    assert products == [(1, 7, 12), (5, 7, 12)] * 2


def test_constant_input_in_training_gives_the_same_gradients_and_a_running_variance_of_b_samples():
    model = make_model().train()
    view = model.encode(sequence(7)[0])
    once, each = copy.deepcopy(model), copy.deepcopy(model)
    for twin, x in ((once, view), (each, view.contiguous())):
        twin.layers[0].norm.momentum = 1.0
        twin(x).logits.square().sum().backward()
    for (name, a), b in zip(once.named_parameters(), each.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12, msg=name)
    ours, theirs = (twin.layers[0].norm for twin in (once, each))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=1e-12, atol=1e-12)
    steps, samples = view.shape[:2]
    factor = samples / (samples - 1) * (steps * samples - 1) / (steps * samples)
    torch.testing.assert_close(ours.running_var, factor * theirs.running_var, rtol=1e-12, atol=1e-12)


def test_one_sample_in_training_is_refused_if_it_is_constant():
    model = make_model().train()
    with pytest.raises(ShapeError, match=r"needs at least 2 samples \(or steps that differ\), got 1 for 12 neurons"):
        model(model.encode(sequence(0)[0, :1]))
    assert model(sequence(0, samples=1)).logits.shape == (1, 4)
    assert model.eval()(sequence(0, steps=1, samples=1)).logits.shape == (1, 4)


def test_every_weight_learns():
    model = make_model().train()
    nn.functional.cross_entropy(model(sequence(8)).logits, torch.tensor([0, 1, 2, 3, 0, 1, 2])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_learned_beta_and_threshold_are_one_per_neuron():
    model = make_model(learn_beta=True, learn_threshold=True)
    neuron = model.layers[0].neuron
    assert isinstance(neuron.beta, nn.Parameter)
    assert neuron.beta.shape == neuron.threshold.shape == (12,)


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [("direct", direct), ("latency", latency), ("rate", lambda x, n: rate(x, n, generator=torch.Generator()))],
)
def test_encoders(encoder, expected):
    model, x = make_model(encoder=encoder), sequence(9)[0]
    encoded = model.encode(x, generator=torch.Generator())
    assert torch.equal(encoded, expected(x, 5))
    assert model(encoded).logits.shape == (7, 4)


def test_rate_encoder_needs_a_generator():
    with pytest.raises(PnbxValueError, match=r"encoder='rate' draws spikes and needs a generator, got None"):
        make_model(encoder="rate").encode(sequence(0)[0])


def test_spike_input_needs_no_calibration():
    model = SpikingClassifier(in_features=3, hidden=[4], num_classes=2, num_steps=2, input_range="spikes")
    model.calibrate(torch.zeros(1, 3))
    assert model(torch.ones(2, 5, 3)).logits.shape == (5, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": []}, "hidden must name at least one layer, got none"),
        ({"hidden": [8, 0]}, r"hidden\[1\] must be at least 1, got 0"),
        ({"in_features": 0}, "in_features must be at least 1, got 0"),
        ({"num_classes": -1}, "num_classes must be at least 1, got -1"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"encoder": "poisson"}, "encoder must be 'direct', 'rate' or 'latency', got 'poisson'"),
        ({"input_range": "int4"}, "input_range must be 'spikes' or 'int8', got 'int4'"),
        ({"beta": 1.3}, r"beta must be in \[0, 1\], got 1.3"),
    ],
)
def test_constructor_errors(unchecked, options, message):
    arguments = {"in_features": 3, "hidden": [4], "num_classes": 2, "num_steps": 2} | options
    with pytest.raises(PnbxValueError, match=message):
        SpikingClassifier(**arguments)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 5), (5, 7, 6, 1)])
def test_input_shape_errors(unchecked, shape):
    with pytest.raises(ShapeError, match=rf"input must be \[T, B, 6\], got \[{', '.join(map(str, shape))}\]"):
        make_model()(torch.ones(shape, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(0, 7, 6), (5, 0, 6)])
def test_empty_input_is_refused(shape):
    with pytest.raises(ShapeError, match="input must have at least one step and one sample"):
        make_model()(torch.ones(shape, dtype=torch.float64))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_input_that_is_not_finite_is_refused(value):
    model, x = make_model(), sequence(0)
    x[1, 2, 3] = value
    with pytest.raises(PnbxValueError, match="SpikingClassifier: input must be finite, got 1 value not finite"):
        model(x)


def test_state_errors():
    model = make_model()
    state = model(sequence(0)).state
    with pytest.raises(ShapeError, match="one LIFState for each of the 2 hidden layers, got 1"):
        model(sequence(0), state[:1])
    with pytest.raises(ShapeError, match=r"state.v must be \[B, N\] = \[3, 12\], got \[7, 12\]"):
        model(sequence(0, samples=3), state)


def test_layer_parts_must_fit():
    with pytest.raises(ShapeError, match="norm must have the linear's 3 features, got 4"):
        SpikingLayer(BitLinear(2, 3), nn.BatchNorm1d(4), LIF(0.9))


def test_import_is_light():
    heavy = ["torchvision", "neuromorphic", "lava", "matplotlib", "sklearn", "norse", "tensorboard"]
    code = f"import sys, pnbx_snn; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
