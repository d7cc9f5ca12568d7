"""``torch.func``: gradients of functions, per-sample gradients and vmap, of every layer."""

import pickle

import pytest
import snntorch
import torch
from torch.func import functional_call, grad, vmap

from pnbx_snn import (
    LIF,
    LTISSM,
    BitLinear,
    FastWeights,
    Hippocampus,
    Leaky,
    Membrane,
    MinGRU,
    SelectiveSSM,
    SpikingRNN,
    TorusMessages,
    lift,
)
from pnbx_snn.checks import transformed

H = 16
EVENTS = (torch.rand(6, 3, H, generator=torch.Generator().manual_seed(0)) < 0.4).float()
LAYERS = {
    "LIF": lambda: LIF(torch.full((H,), 0.9), learn_beta=True, learn_threshold=True, threshold=0.7),
    "LIF box": lambda: LIF(0.5, primitive="lif_box", threshold=0.3, learn_beta=True),
    "membrane": lambda: Membrane(H, threshold=0.4),
    "membrane with messages": lambda: Membrane(H, threshold=0.4, messages=TorusMessages(H)),
    "membrane with learned edges": lambda: Membrane(H, threshold=0.4, messages=TorusMessages(H, edges="ternary")),
    "selective": lambda: SelectiveSSM(H, 4),
    "lti": lambda: LTISSM(H, 4),
    "complex": lambda: LTISSM(H, 4, kind="complex"),
    "minGRU": lambda: MinGRU(H, 4),
    "spiking rnn": lambda: SpikingRNN(H, 4),
    "hebbian": lambda: FastWeights(H, 4),
    "delta": lambda: FastWeights(H, 4, rule="delta"),
    "hippocampus": lambda: Hippocampus(H, 4),
    "lifted Synaptic": lambda: lift(snntorch.Synaptic(alpha=0.8, beta=0.5)),
    "lifted RLeaky": lambda: lift(snntorch.RLeaky(0.8, linear_features=H)),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", LAYERS)
def test_grad_is_what_backward_gives(name):
    """Of input and parameters; the fast paths over whole sequences step aside for torch.func."""
    layer, weights = LAYERS[name](), torch.randn(6, 3, H)
    parameters = {key: value.detach() for key, value in layer.named_parameters()}

    def loss(parameters, x):
        return (functional_call(layer, parameters, (x,))[0] * weights).sum()

    of_parameters, of_x = grad(loss, argnums=(0, 1))(parameters, EVENTS)
    x = EVENTS.clone().requires_grad_()
    (layer(x)[0] * weights).sum().backward()
    assert of_x.abs().max() > 0
    torch.testing.assert_close(of_x, x.grad, rtol=1e-5, atol=1e-5)
    for key, value in layer.named_parameters():
        torch.testing.assert_close(of_parameters[key], value.grad, rtol=1e-5, atol=1e-5)
    pickle.dumps(layer)  # nothing of the transform is left in it


@pytest.mark.parametrize("name", LAYERS)
def test_vmap_over_samples(name):
    layer = LAYERS[name]()
    each = vmap(lambda x: layer(x.unsqueeze(1))[0].squeeze(1), in_dims=1, out_dims=1)(EVENTS)
    torch.testing.assert_close(each, layer(EVENTS)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [4, 512])  # of the larger one an operator would count bits
@pytest.mark.parametrize("input_range", ["spikes", "int8"])
def test_gradients_per_sample_of_a_bitlinear(size, input_range):
    layer = BitLinear(size, size, bias=True, input_range=input_range)
    x = (torch.rand(3, 128, size) < 0.3).float()
    if input_range == "int8":
        layer.calibrate_input(x)
    parameters = {key: value.detach() for key, value in layer.named_parameters()}
    each = vmap(grad(lambda p, x: functional_call(layer, p, (x,)).square().sum()), in_dims=(None, 0))(parameters, x)
    for number, sample in enumerate(x):
        layer.zero_grad()
        layer(sample).square().sum().backward()
        torch.testing.assert_close(each["weight"][number], layer.weight.grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(each["bias"][number], layer.bias.grad, rtol=1e-4, atol=1e-4)


def test_nothing_of_a_transform_outlives_it():
    neuron = Leaky(0.9)
    for run in (lambda x: neuron(x[0], torch.zeros(3, H))[0], lambda x: neuron.forward_sequence(x)[0]):
        grad(lambda x, run=run: run(x).sum())(EVENTS)
        pickle.dumps(neuron)
    assert not transformed()
    assert grad(lambda x: x * transformed())(torch.tensor(2.0)) == 1
