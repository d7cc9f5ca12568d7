"""Events times ternary weights: bits counted instead of numbers multiplied, equal to the plain product to the bit."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import linear

from pnbx_snn.kernels import ternary as products
from pnbx_snn.kernels.ternary import ternary_products
from pnbx_snn.layers.bitlinear import BitLinear, apply_all
from pnbx_snn.quantization import keep_ternary, ternarize


def events(*shape, density=0.2, seed=0):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < density).float()


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def draw_ternary(*shape, seed=0):
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(seed)).float()


@pytest.fixture(params=["kernels", "products"])
def path(request, monkeypatch):
    """Run a test with numba and without."""
    if request.param == "products":
        monkeypatch.setattr(products, "_kernels", lambda x: None)
    return request.param


def plain(x, latents, ternaries, scales):
    """The equation by torch's own operations: values, then the gradients by the formulas."""
    return [scale * linear(x, ternary) for ternary, scale in zip(ternaries, scales, strict=True)]


@settings(max_examples=80)
@given(
    rows=st.integers(1, 300),
    inputs=st.integers(1, 300),
    outputs=st.lists(st.integers(1, 300), min_size=1, max_size=3),
    density=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)),
    seed=st.integers(0, 10_000),
)
def test_sums_equal_integers_and_the_plain_product(rows, inputs, outputs, density, seed):
    x = events(rows, inputs, density=density, seed=seed)
    ternaries = [draw_ternary(n, inputs, seed=seed + i) for i, n in enumerate(outputs)]
    scales = [torch.tensor(0.37 + i) for i in range(len(outputs))]
    found = ternary_products(x, ternaries, ternaries, scales)
    for y, ternary, scale in zip(found, ternaries, scales, strict=True):
        whole = x.numpy().astype(np.int64) @ ternary.numpy().astype(np.int64).T
        assert torch.equal(y, scale * torch.from_numpy(whole.astype(np.float32)))
    assert all(torch.equal(a, b) for a, b in zip(found, plain(x, None, ternaries, scales), strict=True))


@pytest.mark.parametrize("inputs", [479, 480, 481, 960, 2048])
@pytest.mark.parametrize("sign", [-1.0, 0.0, 1.0])
def test_counters_do_not_overflow(inputs, sign):
    ternary = torch.full((3, inputs), sign)
    (y,) = ternary_products(torch.ones(9, inputs), [ternary], [ternary], [torch.tensor(1.0)])
    assert y.flatten().tolist() == [sign * inputs] * 27


@settings(max_examples=60)
@given(
    rows=st.integers(1, 600),
    inputs=st.integers(1, 150),
    outputs=st.lists(st.integers(1, 100), min_size=1, max_size=3),
    density=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)),
    seed=st.integers(0, 10_000),
)
def test_gradients_are_those_of_the_formulas(rows, inputs, outputs, density, seed):
    x = events(rows, inputs, density=density, seed=seed).requires_grad_()
    latents = [draw(n, inputs, seed=seed + i).requires_grad_() for i, n in enumerate(outputs)]
    ternaries, scales = zip(*[ternarize(w.detach()) for w in latents], strict=True)
    upstream = [draw(rows, n, seed=seed + 7 + i) for i, n in enumerate(outputs)]
    found = torch.autograd.grad(ternary_products(x, latents, ternaries, scales), [x, *latents], upstream)
    wide = [g.double() for g in upstream]
    expected = [sum(s.double() * g @ w.double() for g, w, s in zip(wide, ternaries, scales, strict=True))]
    expected += [g.T @ x.detach().double() for g in wide]
    for ours, theirs in zip(found, expected, strict=True):
        # A float32 sum of up to 600 terms of size 1, in any order.
        assert (ours - theirs).abs().max() < 1e-4
        assert ours.dtype == torch.float32


@settings(max_examples=40)
@given(
    rows=st.integers(1, 100),
    depths=st.lists(st.integers(1, 80), min_size=1, max_size=3),
    outputs=st.integers(1, 70),
    seed=st.integers(0, 10_000),
)
def test_sums_by_tables_equal_the_product(rows, depths, outputs, seed):
    kernels = pytest.importorskip("pnbx_snn.kernels.cpu.lookup")
    inputs = [draw(rows, depth, seed=seed + i) for i, depth in enumerate(depths)]
    weights = [draw_ternary(depth, outputs, seed=seed + i) for i, depth in enumerate(depths)]
    scales = [torch.tensor(0.37 + i) for i in range(len(depths))]
    found = kernels.by_tables(inputs, weights, scales)
    parts = zip(inputs, weights, scales, strict=True)
    expected = sum(scale.double() * x.double() @ w.double() for x, w, scale in parts)
    assert found.shape == (rows, outputs)
    assert (found - expected).abs().max() < 1e-4  # a float32 sum of up to 240 terms of size 1 to 3


def test_a_gradient_that_is_not_a_number_shows():
    kernels = pytest.importorskip("pnbx_snn.kernels.cpu.lookup")
    x = torch.zeros(40, 5)
    x[33, 4] = torch.nan
    found = kernels.by_tables([x], [torch.ones(5, 3)], [torch.tensor(1.0)])
    assert found[33].isnan().all()
    assert torch.equal(found[:33], torch.zeros(33, 3))


def test_large_gradients_of_the_input_are_those_of_the_matrix_product(monkeypatch):
    pytest.importorskip("numba")
    x = events(100, 300).requires_grad_()
    latents = [draw(n, 300, seed=n) for n in (70, 40)]
    ternaries, scales = zip(*[ternarize(w) for w in latents], strict=True)
    upstream = [draw(100, 70), draw(100, 40)]
    grads = []
    for _ in range(2):
        grads.append(torch.autograd.grad(ternary_products(x, latents, ternaries, scales), x, upstream)[0])
        monkeypatch.setattr(products, "_kernels", lambda x: None)
    assert not torch.equal(*grads)  # two ways
    assert (grads[0] - grads[1]).abs().max() < 1e-5 * grads[1].abs().max()


def test_gradients_are_those_of_the_plain_layer():
    layer, x = BitLinear(512, 256), events(8, 64, 512).requires_grad_()
    upstream = draw(8, 64, 256)
    assert products.faster_than_torch(x, 256)
    fast = torch.autograd.grad(layer(x), [x, layer.weight], upstream)
    ternary, gamma = ternarize(layer.weight)
    y = gamma * linear(x, ternary)
    assert torch.equal(layer(x), y)
    for ours, theirs in zip(fast, torch.autograd.grad(y, [x, layer.weight], upstream), strict=True):
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()  # float32 sums in another order


@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, float("nan"), float("inf"), 1 + 2.0**-23])
@pytest.mark.parametrize("place", [(0, 0), (99, 129), (50, 64), (17, 128)])
def test_anything_but_events_takes_the_matrix_product(value, place):
    x = events(100, 130)
    x[place] = value
    ternary = draw_ternary(70, 130)
    ternary[:, place[1]] = 1.0  # inf times zero would be NaN on every path
    (y,) = ternary_products(x, [ternary], [ternary], [torch.tensor(0.5)])
    torch.testing.assert_close(y, 0.5 * linear(x, ternary), rtol=0, atol=0, equal_nan=True)
    assert y[place[0]].isfinite().all() == np.isfinite(value)
    others = [row for row in range(100) if row != place[0]]
    assert y[others].isfinite().all()


def test_minus_zero_is_an_event_that_did_not_happen():
    x = events(80, 65)
    ternary = draw_ternary(9, 65)
    answers = [ternary_products(v, [ternary], [ternary], [torch.tensor(1.0)])[0] for v in (x, x.where(x == 1, -0.0))]
    assert torch.equal(*answers)


def test_layouts_that_are_not_contiguous(path):
    x = events(130, 40, 3).permute(2, 1, 0)  # [3, 40, 130]
    latent = draw(130, 20).T.requires_grad_()
    ternary, scale = ternarize(latent.detach())
    (y,) = ternary_products(x, [latent], [ternary], [scale])
    assert torch.equal(y, scale * linear(x, ternary))
    (grad,) = torch.autograd.grad(y.sum(), latent)  # whose gradient is one number seen as a tensor
    assert torch.equal(grad, x.sum((0, 1)).expand(20, 130))


def test_only_what_is_needed_is_differentiated(path):
    x, latents = events(70, 65), [draw(5, 65).requires_grad_(), draw(6, 65)]
    ternaries, scales = zip(*[ternarize(w.detach()) for w in latents], strict=True)
    one, two = ternary_products(x, latents, ternaries, scales)
    (grad,) = torch.autograd.grad(one.sum(), latents[0], retain_graph=True)
    assert torch.equal(grad, x.sum(0).expand(5, 65))
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(two.sum(), x.requires_grad_())
    (grad_x,) = torch.autograd.grad(ternary_products(x, latents, ternaries, scales)[1].sum(), x)
    torch.testing.assert_close(grad_x, (scales[1] * ternaries[1]).sum(0).expand(70, 65))


def test_second_derivatives_are_those_of_the_formulas():
    x, latent = events(70, 65).requires_grad_(), draw(5, 65).requires_grad_()
    ternary, scale = ternarize(latent.detach())
    upstream = draw(70, 5).requires_grad_()
    (y,) = ternary_products(x, [latent], [ternary], [scale])
    of_x, of_latent = torch.autograd.grad(y, [x, latent], upstream, create_graph=True)
    (second,) = torch.autograd.grad(of_x.sum() + 2 * of_latent.sum(), upstream)
    expected = (scale * ternary).sum(1) + 2 * x.detach().sum(1, keepdim=True)
    torch.testing.assert_close(second, expected.expand(70, 5))


def test_operator_keeps_the_contract_of_torch(path):
    latents = [draw(5, 65).requires_grad_(), draw(6, 65).requires_grad_()]
    ternaries, scales = zip(*[ternarize(w.detach()) for w in latents], strict=True)
    for step in (None, torch.tensor(0.5)):
        arguments = (events(9, 65).requires_grad_(), latents, list(ternaries), list(scales), step)
        torch.library.opcheck(torch.ops.pnbx_snn.ternary_products.default, arguments)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about itself
def test_compiles_and_exports():
    class Product(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(draw(7, 65))

        def forward(self, x):
            ternary = self.weight.detach().sign()
            return 2 * unchecked(x, [self.weight], [ternary], [self.weight.detach().abs().mean()])[0]

    unchecked = inspect.unwrap(ternary_products)  # the type checks of the tests cannot be traced
    model, x = Product(), events(70, 65)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)(x)
    assert torch.equal(compiled, model(x))
    grads = [torch.autograd.grad(y.square().sum(), model.weight)[0] for y in (compiled, model(x))]
    assert torch.equal(*grads)
    exported = torch.export.export(model, (x,))
    assert torch.equal(exported.module()(x), model(x))


def test_several_layers_at_once_are_the_layers_one_by_one(path):
    layers = [BitLinear(512, n, bias=n == 100) for n in (100, 64, 200)]
    x = events(4, 64, 512)
    for together, layer in zip(apply_all(layers, x), layers, strict=True):
        assert torch.equal(together, layer(x))
    together = torch.autograd.grad(
        sum(y.square().sum() for y in apply_all(layers, x)), [layers[0].bias, layers[2].weight]
    )
    one_by_one = [
        torch.autograd.grad(layers[i](x).square().sum(), p) for i, p in ((0, layers[0].bias), (2, layers[2].weight))
    ]
    for a, (b,) in zip(together, one_by_one, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)


def test_a_sparse_layer_counts_its_connections_alone(monkeypatch):
    pytest.importorskip("numba")
    layer, x = BitLinear(512, 256), events(8, 64, 512).requires_grad_()
    layer.mask = torch.rand(256, 512, generator=torch.Generator().manual_seed(5)) < 0.1
    assert products.faster_than_torch(x, 256)
    upstream, found = draw(8, 64, 256), []
    for _ in range(2):
        y = layer(x)
        found.append((y, *torch.autograd.grad(y, [x, layer.weight], upstream)))
        monkeypatch.setattr("pnbx_snn.layers.bitlinear.faster_than_torch", lambda *_: False)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(layer.ternary_weight() != 0, layer.mask)
    for fast, plain in zip(found[0][1:], found[1][1:], strict=True):
        assert (fast - plain).abs().max() < 1e-4 * plain.abs().max()  # the order of the sums
    assert (found[0][2] != 0).all()  # outside the mask too


def test_codes_of_an_int8_layer_keep_their_step():
    layer, x = BitLinear(512, 256, input_range="int8"), draw(256, 512)
    layer.calibrate_input(x)
    upstream = draw(256, 256, seed=1)
    y = layer(x)
    codes = (x / layer.input_scale).round().clamp(-128, 127)
    assert products.faster_than_torch(x, 256)
    assert torch.equal(y, (layer.gamma() * layer.input_scale) * linear(codes, layer.ternary_weight().float()))
    (grad,) = torch.autograd.grad(y, layer.weight, upstream)
    torch.testing.assert_close(grad, upstream.T @ (layer.input_scale * codes), rtol=1e-4, atol=1e-3)


def test_kept_weights_have_no_gradient():
    layer, x = BitLinear(512, 256), events(256, 512)
    with keep_ternary(layer):
        assert not layer(x).requires_grad
    assert layer(x).requires_grad


def test_autocast_takes_the_matrix_product():
    layer, x = BitLinear(512, 256), events(256, 512, density=0.97)
    with torch.no_grad():
        layer.weight.abs_()  # sums above 256, which bfloat16 rounds
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        assert torch.equal(y, layer.gamma() * linear(x, layer.ternary_weight().float()).float())
    assert not torch.equal(y, layer(x))


def test_several_threads_give_the_same_bits():
    pytest.importorskip("numba")
    x, latent = events(600, 300), draw(200, 300).requires_grad_()
    ternary, scale = ternarize(latent.detach())  # whose mean depends on torch's threads
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            (y,) = ternary_products(x, [latent], [ternary], [scale])
            results.append([y, *torch.autograd.grad(y, latent, draw(600, 200))])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_works_without_numba():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import torch; from pnbx_snn import BitLinear\n"
        "layer = BitLinear(512, 256); x = (torch.rand(256, 512) < 0.2).float()\n"
        "y = layer(x); y.sum().backward()\n"
        "same = torch.equal(y, layer.gamma() * (x @ layer.ternary_weight().float().T))\n"
        "print(same, torch.allclose(layer.weight.grad[0], x.sum(0), rtol=1e-6))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "True True"
