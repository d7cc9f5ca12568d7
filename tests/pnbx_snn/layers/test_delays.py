"""Learned delays: the kernel in NumPy, whole lengths as shifts, gradients, streaming, narrowing, learning, errors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pnbx_snn
from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.layers.delays import MOST_STEPS, SHARPEST, Delays, DelaysState, sharpen


def oracle(x, past, lengths, sigma):
    """Return the smooth output in float64, one value at a time, and what is remembered after it."""
    num_steps, batch, size = x.shape
    known = np.concatenate([past, x])
    y = np.zeros(x.shape)
    for i in range(size):
        weights = np.exp(-((np.arange(len(past) + 1) - lengths[i]) ** 2) / (2 * sigma**2))
        weights /= weights.sum()
        for t in range(num_steps):
            for b in range(batch):
                y[t, b, i] = sum(w * known[len(past) + t - k, b, i] for k, w in enumerate(weights))
    return y, known[num_steps:]


def shifted(x, steps):
    """Return every channel later by its own number of steps."""
    y = np.zeros_like(x)
    for i, late in enumerate(steps):
        y[late:, :, i] = x[: len(x) - late, :, i]
    return y


def layer_of(lengths, max_delay, *, sigma=None):
    lengths = torch.as_tensor(lengths, dtype=torch.float64)
    return Delays(len(lengths), max_delay=max_delay, sigma=sigma, lengths=lengths).double()


@pytest.mark.parametrize("sigma", [0.25, 1.0, 5.0])
def test_the_smooth_kernel(sigma):
    rng = np.random.default_rng(0)
    x, past, lengths = rng.standard_normal((9, 2, 4)), rng.standard_normal((7, 2, 4)), rng.uniform(0, 7, 4)
    layer = layer_of(lengths, 7, sigma=sigma)
    y, state = layer(torch.from_numpy(x), DelaysState(torch.from_numpy(past)))
    lengths = layer.lengths.detach().numpy()  # a float32 apart from what was asked for
    expected, after = oracle(x, past, lengths, sigma)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(state.past.numpy(), after)
    np.testing.assert_allclose(layer.kernel().sum(dim=1).detach().numpy(), 1.0, rtol=1e-14)


@pytest.mark.parametrize("max_delay", [1, 5, MOST_STEPS])
def test_evaluation_rounds_and_shifts(max_delay):
    rng = np.random.default_rng(1)
    lengths = rng.uniform(0, max_delay, 6)
    lengths[:2] = 0, max_delay
    layer = layer_of(lengths, max_delay).eval()
    x = rng.standard_normal((max_delay + 4, 3, 6))
    assert layer.steps.tolist() == np.rint(lengths).astype(int).tolist()
    np.testing.assert_array_equal(layer(torch.from_numpy(x))[0].numpy(), shifted(x, layer.steps))


def test_a_narrow_kernel_is_nearly_the_rounded_delay():
    layer = layer_of([0.0, 3.0, 7.0], 7)
    x = torch.rand(20, 2, 3, dtype=torch.float64)
    sharpen(layer, 1.0)
    smooth, _ = layer(x)
    rounded, _ = layer.eval()(x)
    assert (smooth - rounded).abs().max().item() < 1.5e-3


def test_gradients():
    layer = layer_of(np.linspace(0.3, 6.6, 4), 7, sigma=1.5)
    layer.fraction.data[0] = -0.1  # reflected at 0
    layer.fraction.data[1] = 1.15  # reflected at the longest
    x = torch.randn(5, 2, 4, dtype=torch.float64, requires_grad=True)
    past = torch.randn(7, 2, 4, dtype=torch.float64, requires_grad=True)

    def run(x, past, fraction):
        return torch.func.functional_call(layer, {"fraction": fraction}, (x, DelaysState(past)))[0]

    assert torch.autograd.gradcheck(run, (x, past, layer.fraction.detach().clone().requires_grad_()))
    layer.eval()  # a shift: its gradient is a shift back, and lengths have none
    y, _ = layer(x)
    y.square().sum().backward()
    assert layer.fraction.grad is None
    assert int((x.grad != 0).sum()) == int((y != 0).sum())


def test_lengths_are_reflected_at_their_ends():
    layer = layer_of([0.0, 4.0, 2.0, 1.0], 4)
    layer.fraction.data += torch.tensor([-0.25, 0.25, 2.0, -2.0])
    torch.testing.assert_close(layer.lengths.data, torch.tensor([1.0, 3.0, 2.0, 1.0], dtype=torch.float64))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), num_steps=st.integers(2, 12), max_delay=st.integers(1, 9), training=st.booleans())
def test_step_by_step_and_in_two_halves(seed, num_steps, max_delay, training):
    torch.manual_seed(seed)
    layer = Delays(3, max_delay=max_delay).double().train(training)
    x = torch.randn(num_steps, 2, 3, dtype=torch.float64)
    whole, last = layer(x)
    state, single = None, []
    for row in x:
        y, state = layer.step(row, state)
        single.append(y)
    cut = num_steps // 2
    first, middle = layer(x[:cut])
    second, end = layer(x[cut:], middle)
    for y, after in ((torch.stack(single), state), (torch.cat([first, second]), end)):
        torch.testing.assert_close(y, whole, rtol=0, atol=1e-13 if training else 0)
        assert torch.equal(after.past, last.past)


@pytest.mark.parametrize("training", [True, False])
def test_samples_and_channels_are_independent_and_the_future_is_unknown(training):
    torch.manual_seed(0)
    layer = Delays(4, max_delay=6).double().train(training)
    x = torch.randn(12, 3, 4, dtype=torch.float64)
    y, _ = layer(x)
    other = x.clone()
    other[:, 1, 2] += 1.0
    other[9:] += 1.0
    same = layer(other)[0] == y
    assert same[:9, [0, 2]].all()
    assert same[:9, 1, [0, 1, 3]].all()
    assert not same[:9, 1, 2].all()


def test_sharpen():
    network = torch.nn.Sequential(Delays(3, max_delay=40), torch.nn.Sequential(Delays(3, max_delay=4, sigma=0.1)))
    widths = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        sharpen(network, progress)
        widths.append((network[0].sigma, network[1][0].sigma))
    wide, narrow = zip(*widths, strict=True)
    assert wide[0] == 10.0
    assert wide[1] == pytest.approx((10 * SHARPEST) ** 0.5)
    assert wide[2] == wide[3] == SHARPEST
    assert narrow == (0.1,) * 4  # one that starts narrower stays so
    sharpen(torch.nn.Linear(2, 2), 0.5)  # nothing to do
    with pytest.raises(PnbxValueError, match=r"sharpen: progress must be in 0..1, got 1.5"):
        sharpen(network, 1.5)


def test_lags_are_found_from_afar():
    """Undo 12 known lags, from random lengths, in the loop that a user writes."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    lags = torch.randint(0, 20, (12,), generator=generator)
    layer, updates = Delays(12, max_delay=20), 300
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    for update in range(updates):
        sharpen(layer, update / updates)
        x = (torch.rand(60, 16, 12, generator=generator) < 0.1).float()
        wanted = torch.from_numpy(shifted(x.numpy(), lags.tolist()))
        loss = (layer(x)[0] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert int((layer.steps != lags).sum()) <= 1
    # A kernel that is narrow from the start sees only what lies beside it.
    torch.manual_seed(0)
    blind = Delays(12, max_delay=20, sigma=SHARPEST)
    optimizer = torch.optim.Adam(blind.parameters(), lr=0.02)
    for _ in range(updates):
        x = (torch.rand(60, 16, 12, generator=generator) < 0.1).float()
        loss = (blind(x)[0] - torch.from_numpy(shifted(x.numpy(), lags.tolist()))).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert int((blind.steps != lags).sum()) >= 4


def test_what_is_saved():
    layer = Delays(3, max_delay=5)
    other = Delays(3, max_delay=5)
    sharpen(layer, 1.0)
    other.load_state_dict(layer.state_dict())
    assert sorted(layer.state_dict()) == ["fraction"]
    assert torch.equal(other.steps, layer.steps)
    assert other.sigma == other.first_sigma
    assert repr(layer) == "Delays(3, max_delay=5, sigma=0.25)"
    assert pnbx_snn.Delays is Delays


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_dtypes(dtype, training):
    layer = Delays(3, max_delay=5).train(training)
    x = (torch.rand(7, 2, 3) < 0.5).to(dtype)
    y, state = layer(x)
    assert y.dtype == state.past.dtype == dtype
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x.float())[0].dtype == torch.float32


def test_errors(unchecked):
    for options, text in (
        ({"max_delay": 64}, r"Delays: max_delay must be in 1..63, got 64"),
        ({"max_delay": 0}, r"num_features and max_delay must be at least 1, got 2 and 0"),
        ({"sigma": 0.0}, r"sigma must be > 0 steps and finite, got 0.0"),
        ({"sigma": float("nan")}, r"sigma must be > 0 steps and finite, got nan"),
        ({"lengths": torch.tensor([0.0, 32.0])}, r"lengths must be in 0..31, got 32"),
        ({"lengths": torch.tensor([float("nan"), 1.0])}, r"lengths must be in 0..31, got nan"),
    ):
        with pytest.raises(PnbxValueError, match=text):
            Delays(2, **options)
    with pytest.raises(ShapeError, match=r"Delays: lengths must be \[N\] = \[2\], got \[3\]"):
        Delays(2, lengths=torch.zeros(3))
    layer = Delays(2, max_delay=3)
    with pytest.raises(ShapeError, match=r"Delays: x must be \[T, B, N\] with N = 2"):
        layer(torch.zeros(4, 1, 3))
    with pytest.raises(ShapeError, match=r"Delays: x must be \[B, N\]"):
        layer.step(torch.zeros(4, 1, 2))
    with pytest.raises(PnbxTypeError, match="must be floating point"):
        layer(torch.zeros(4, 1, 2, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"Delays: state.past must be \[D, B, N\] = \[3, 1, 2\], got \[3, 2, 2\]"):
        layer(torch.zeros(4, 1, 2), DelaysState(torch.zeros(3, 2, 2)))
