"""BitLinear: values and gradients against NumPy written from the equation, exactness, calibration, errors."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.layers.bitlinear import BitLinear


def oracle(weight, bias, x, input_scale):
    """y = gamma * sum_i W~_i x_q_i + b, one output at a time; also the parts a gradient needs."""
    gamma = np.abs(weight).mean()
    ternary = np.clip(np.rint(weight / gamma), -1, 1)
    x_q = x if input_scale is None else input_scale * np.clip(np.rint(x / input_scale), -128, 127)
    y = np.zeros((len(x), len(weight)))
    for b in range(len(x)):
        for o in range(len(weight)):
            y[b, o] = gamma * sum(ternary[o, i] * x_q[b, i] for i in range(x.shape[1])) + bias[o]
    return y, gamma, ternary, x_q


def random_layer(seed, input_range):
    generator = torch.Generator().manual_seed(seed)
    layer = BitLinear(7, 5, bias=True, input_range=input_range).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(5, 7, generator=generator))
        layer.bias.copy_(torch.randn(5, generator=generator))
    if input_range == "int8":
        layer.input_scale.fill_(0.02)  # inputs beyond 2.54 saturate
        return layer, 2 * torch.randn(6, 7, generator=generator, dtype=torch.float64)
    return layer, (torch.rand(6, 7, generator=generator) < 0.4).double()


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["spikes", "int8"]))
def test_forward_and_gradients_equal_the_equation(seed, input_range):
    layer, x = random_layer(seed, input_range)
    scale = 0.02 if input_range == "int8" else None
    expected, gamma, ternary, x_q = oracle(layer.weight.detach().numpy(), layer.bias.detach().numpy(), x.numpy(), scale)
    x.requires_grad_()
    y = layer(x)
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y.backward(upstream)

    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-12, atol=1e-12)  # float64, another order
    g = upstream.numpy()
    # Straight-through: as if y = W x_q + b with W = gamma W~, and x_q = x wherever x was not clipped.
    np.testing.assert_allclose(layer.weight.grad.numpy(), g.T @ x_q, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(layer.bias.grad.numpy(), g.sum(axis=0), rtol=1e-12, atol=1e-12)
    values = x.detach().numpy()
    inside = (values / 0.02 >= -128) & (values / 0.02 <= 127) if scale else np.ones_like(values, dtype=bool)
    np.testing.assert_allclose(x.grad.numpy(), np.where(inside, g @ (gamma * ternary), 0.0), rtol=1e-9, atol=1e-12)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 300), st.sampled_from(["spikes", "int8"]))
def test_a_sample_does_not_depend_on_the_batch_to_the_bit(seed, n_in, input_range):
    generator = torch.Generator().manual_seed(seed)
    layer = BitLinear(n_in, 9, input_range=input_range)
    x = torch.rand(13, n_in, generator=generator)
    if input_range == "int8":
        layer.calibrate_input(x)
    else:
        x = x.round()
    together = layer(x)
    assert all(torch.equal(layer(x[b : b + 1])[0], together[b]) for b in range(13))


def test_ternary_weight_and_gamma_are_those_of_the_forward_pass():
    layer = BitLinear(20, 10)
    ternary = layer.ternary_weight()
    assert ternary.dtype == torch.int8
    assert set(ternary.flatten().tolist()) == {-1, 0, 1}
    assert torch.equal(layer(torch.eye(20)), layer.gamma() * ternary.float().T)
    assert layer.gamma().item() == pytest.approx(layer.weight.abs().mean().item())


def test_median_scale():
    layer = BitLinear(9, 9, scale="median")
    assert layer.gamma().item() == layer.weight.abs().median().item()


def test_training_lowers_the_loss():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    layer = BitLinear(16, 4, bias=True)
    x = (torch.rand(64, 16, generator=generator) < 0.5).float()
    target = torch.randn(16, 4, generator=generator)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = (layer(x) - x @ target.sign()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]


def test_calibration_measures_once_and_travels_with_the_state_dict():
    layer = BitLinear(2, 3, input_range="int8")
    layer.calibrate_input(torch.tensor([[[0.25, -2.54]]]))
    assert layer.input_scale.item() == pytest.approx(0.02)
    other = BitLinear(2, 3, input_range="int8")
    other.load_state_dict(layer.state_dict())
    x = torch.rand(4, 2)
    assert torch.equal(layer(x), other(x))
    assert set(layer.state_dict()) == {"weight", "input_scale"}
    assert torch.equal(layer(100 * torch.ones(1, 2)), layer(2.54 * torch.ones(1, 2)))  # saturates, no new scale


def test_it_is_no_torch_linear_and_can_be_copied():
    layer = BitLinear(3, 2)
    assert not isinstance(layer, nn.Linear)
    x = torch.ones(1, 3)
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    assert repr(layer) == "BitLinear(3, 2, bias=False, scale='absmean', input_range='spikes')"


def test_constructor_errors(unchecked):
    with pytest.raises(PnbxValueError, match=r"in_features and out_features must be at least 1, got 0 and 3"):
        BitLinear(0, 3)
    with pytest.raises(PnbxValueError, match=r"scale must be 'absmean' or 'median', got 'mean'"):
        BitLinear(2, 3, scale="mean")
    with pytest.raises(PnbxValueError, match=r"input_range must be 'spikes' or 'int8', got 'int4'"):
        BitLinear(2, 3, input_range="int4")


def test_shape_errors(unchecked):
    layer = BitLinear(4, 3)
    with pytest.raises(ShapeError, match=r"BitLinear: input must be \[..., 4\], got \[2, 5\]"):
        layer(torch.ones(2, 5))
    with pytest.raises(ShapeError, match=r"BitLinear: input must be \[..., 4\], got \[\]"):
        layer(torch.tensor(1.0))
    with pytest.raises(ShapeError, match=r"calibrate_input: x must be \[..., 4\], got \[2, 5\]"):
        BitLinear(4, 3, input_range="int8").calibrate_input(torch.ones(2, 5))


def test_uncalibrated_int8_layer_says_what_to_do():
    with pytest.raises(PnbxValueError, match=r"needs an input scale, got none \(0.0\); call calibrate_input"):
        BitLinear(2, 2, input_range="int8")(torch.ones(1, 2))


@pytest.mark.parametrize(
    ("x", "largest"),
    [
        (torch.zeros(1, 2), "0.0"),
        (torch.ones(0, 2), "0.0"),
        (torch.tensor([[1.0, float("nan")]]), "nan"),
        (torch.tensor([[1.0, float("-inf")]]), "inf"),
    ],
)
def test_calibration_refuses_useless_inputs(x, largest):
    with pytest.raises(PnbxValueError, match=rf"finite values that are not all zero, got .* magnitude {largest}"):
        BitLinear(2, 2, input_range="int8").calibrate_input(x)


def test_calibration_of_a_spike_layer_is_refused():
    with pytest.raises(PnbxValueError, match=r"input_range must be 'int8' to have a scale, got 'spikes'"):
        BitLinear(2, 2).calibrate_input(torch.ones(1, 2))


def test_export_of_diverged_weights_is_refused():
    layer = BitLinear(2, 2)
    with torch.no_grad():
        layer.weight[0, 0] = float("nan")
    with pytest.raises(PnbxValueError, match=r"ternary_weight: weights must be finite, got 1 of 4 that are not"):
        layer.ternary_weight()
