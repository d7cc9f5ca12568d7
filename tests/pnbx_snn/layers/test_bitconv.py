"""BitConv2d: values and gradients against NumPy written from the equation, torch's convolution, shapes, errors."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d

from pnbx_snn import BitConv2d, BitLinear
from pnbx_snn.errors import PnbxValueError, ShapeError


def windows(x, kernel, stride, padding, dilation):
    """Yield the place of every window and what lies in it, ``[C, kh, kw]``, of one image ``[C, H, W]``."""
    wide = np.pad(x, [(0, 0), *((by, by) for by in padding)])
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    for i, top in enumerate(range(0, wide.shape[1] - reach[0] + 1, stride[0])):
        for j, left in enumerate(range(0, wide.shape[2] - reach[1] + 1, stride[1])):
            yield i, j, wide[:, top : top + reach[0] : dilation[0], left : left + reach[1] : dilation[1]]


def oracle(layer, x):
    """Return y = gamma * sum W~ x_q + b, one output at a time, of images ``[B, C, H, W]``."""
    weight = layer.weight.detach().numpy()
    gamma = np.abs(weight).mean()
    ternary = np.clip(np.rint(weight / gamma), -1, 1)
    scale = float(layer.input_scale)
    x_q = scale * np.clip(np.rint(x / scale), -128, 127) if layer.input_range == "int8" else x
    outputs = []
    for image in x_q:
        places = list(windows(image, layer.kernel_size, layer.stride, layer.padding, layer.dilation))
        y = np.zeros((layer.out_channels, places[-1][0] + 1, places[-1][1] + 1))
        per_in, per_out = weight.shape[1], layer.out_channels // layer.groups
        for i, j, seen in places:
            for o in range(layer.out_channels):
                first = o // per_out * per_in
                y[o, i, j] = gamma * (ternary[o] * seen[first : first + per_in]).sum()
                y[o, i, j] += 0.0 if layer.bias is None else float(layer.bias.detach()[o])
        outputs.append(y)
    return np.stack(outputs)


def random_layer(seed, input_range):
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 2, 4]))
    pairs = {
        name: tuple(int(n) for n in rng.integers(low, 3, 2))
        for name, low in (("stride", 1), ("padding", 0), ("dilation", 1))
    }
    kernel = tuple(int(n) for n in rng.integers(1, 4, 2))
    layer = BitConv2d(
        4, 4, kernel, groups=groups, bias=bool(rng.random() < 0.5), input_range=input_range, **pairs
    ).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(rng.normal(size=tuple(layer.weight.shape))))
        layer.input_scale.fill_(0.02)
    x = rng.normal(size=(2, 4, 6, 7)) * 2 if input_range == "int8" else (rng.random((2, 4, 6, 7)) < 0.4) * 1.0
    return layer, torch.from_numpy(x)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(["spikes", "int8"]))
def test_forward_and_gradients_equal_the_equation(seed, input_range):
    layer, x = random_layer(seed, input_range)
    y = layer(x.requires_grad_())
    np.testing.assert_allclose(y.detach().numpy(), oracle(layer, x.detach().numpy()), rtol=1e-12, atol=1e-12)
    upstream = torch.from_numpy(np.random.default_rng(seed).normal(size=tuple(y.shape)))
    y.backward(upstream)
    # Straight-through: as if y = W x_q + b with W = gamma W~, and x_q = x wherever x was not clipped.
    values = x.detach()
    x_q = (values / 0.02).round().clamp(-128, 127) * 0.02 if input_range == "int8" else values
    given = [x_q.clone().requires_grad_(), (layer.gamma() * layer.ternary_weight()).requires_grad_()]
    conv2d(*given, None, layer.stride, layer.padding, layer.dilation, layer.groups).backward(upstream)
    np.testing.assert_allclose(layer.weight.grad.numpy(), given[1].grad.numpy(), rtol=1e-9, atol=1e-12)
    inside = ((values / 0.02 >= -128) & (values / 0.02 <= 127)).numpy() if input_range == "int8" else True
    np.testing.assert_allclose(x.grad.numpy(), np.where(inside, given[0].grad.numpy(), 0.0), rtol=1e-9, atol=1e-12)
    if layer.bias is not None:
        np.testing.assert_allclose(layer.bias.grad.numpy(), upstream.sum((0, 2, 3)).numpy(), rtol=1e-9)


def test_one_place_is_a_bitlinear():
    layer, linear = BitConv2d(5, 3, 1, bias=True), BitLinear(5, 3, bias=True)
    with torch.no_grad():
        linear.weight.copy_(layer.weight[:, :, 0, 0])
        linear.bias.copy_(layer.bias)
    x = (torch.rand(2, 5, 4, 4) < 0.5).float()
    torch.testing.assert_close(layer(x), linear(x.movedim(1, -1)).movedim(-1, 1))


def test_sums_are_whole_numbers_whatever_the_axes_in_front():
    layer = BitConv2d(3, 4, 3, padding="same")
    spikes = (torch.rand(5, 2, 3, 9, 8) < 0.3).float()
    together = layer(spikes)
    assert together.shape == (5, 2, 4, 9, 8)
    for t in range(5):
        assert torch.equal(together[t, 1], layer(spikes[t, 1]))
    assert torch.equal(together, layer.gamma() * (together / layer.gamma()).round())


def test_training_moves_latent_weights_until_ternary_ones_change():
    torch.manual_seed(0)
    layer = BitConv2d(2, 3, 3)
    before = layer.ternary_weight()
    rule = torch.optim.SGD(layer.parameters(), lr=0.5)
    for _ in range(20):
        rule.zero_grad()
        (layer((torch.rand(8, 2, 6, 6) < 0.4).float()) - 1).square().mean().backward()
        rule.step()
    assert not torch.equal(before, layer.ternary_weight())


def test_calibration_and_options():
    layer = BitConv2d(1, 2, 3, input_range="int8", scale="median")
    with pytest.raises(PnbxValueError, match="BitConv2d: input_range='int8' needs an input scale"):
        layer(torch.rand(1, 1, 4, 4))
    layer.calibrate_input(torch.full((1, 1, 4, 4), 2.54))
    assert float(layer.input_scale) == pytest.approx(0.02)
    assert "groups=1" in repr(copy.deepcopy(layer))
    assert not isinstance(layer, nn.Conv2d)  # exporters that know Conv2d would take the latent weights


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BitConv2d(0, 1, 3), "in_channels and out_channels and groups must be at least 1, got 0"),
        (lambda: BitConv2d(3, 4, 3, groups=2), "groups must divide the channels, got 2 for 3 and 4"),
        (lambda: BitConv2d(1, 1, 0), "kernel_size must be one or two whole numbers of 1 or more, got 0"),
        (lambda: BitConv2d(1, 1, 3, padding=-1), "padding must be one or two whole numbers of 0 or more"),
        (lambda: BitConv2d(1, 1, 3, padding="same", stride=2), "with a stride of 1, 'same'"),
    ],
)
def test_wrong_options(make, message):
    with pytest.raises(PnbxValueError, match=message):
        make()


def test_wrong_shapes():
    layer = BitConv2d(2, 1, 3)
    with pytest.raises(ShapeError, match=r"input must be \[..., 2, H, W\], got \[1, 3, 8, 8\]"):
        layer(torch.zeros(1, 3, 8, 8))
