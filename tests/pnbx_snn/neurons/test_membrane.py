"""The membrane: oracle, snnTorch, Norse, closed form, gradients, kernels, time properties, errors."""

import functools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnbx_snn.errors import PnbxError, PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.neurons import membrane as module
from pnbx_snn.neurons.lif import LIF, LIFState
from pnbx_snn.neurons.membrane import Membrane, MembraneState, membrane_scan
from pnbx_snn.neurons.messages import TorusMessages
from pnbx_snn.surrogate import Surrogate

RESETS = ("zero", "subtract", "none")


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def neurons(N, *, seed=1, dtype=torch.float64):
    """Decay and threshold of N neurons."""
    generator = torch.Generator().manual_seed(seed)
    beta = torch.rand(N, generator=generator, dtype=dtype)
    return beta, 0.3 + torch.rand(N, generator=generator, dtype=dtype)


@pytest.fixture(params=["kernel", "plain"])
def path(request, monkeypatch):
    """Run a test on the compiled loops and on torch's own operations."""
    if request.param == "kernel":
        one = torch.ones(1)
        assert module.usable(one, one[0], one[0], one[0], Surrogate("atan")), "numba is installed for tests"
    else:
        monkeypatch.setattr(module, "usable", lambda *_: False)
    return request.param


# Values


def with_edges(membrane, *, seed=9):
    """Give a membrane's messages random latent edges."""
    with torch.no_grad():
        membrane.messages.weight.copy_(draw(*membrane.messages.weight.shape, seed=seed))
    return membrane


def oracle(membrane, current, noise):
    """Step by step in float64, from the equations, with the neighbours by their coordinates."""
    latent = membrane.messages.weight
    edges = np.ones((8, membrane.num_neurons))
    if latent is not None:
        edges = np.clip(np.round(latent.detach().numpy() / np.abs(latent.detach().numpy()).mean()), -1, 1)
    beta = 1 / (1 + np.exp(-membrane.leak.detach().double().numpy()))
    bias = membrane.bias.detach().double().numpy()
    T, B, N = current.shape
    v, z = np.zeros((B, N)), np.zeros((B, N))
    spikes = []
    for t in range(T):
        u = beta * v + (1 - beta) * (current[t].numpy() + bias) + noise[t].numpy()
        torus = membrane.messages
        for n in range(N):
            r, c = divmod(n, torus.columns)
            for k, (i, j) in enumerate((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j):
                heard = (r + i) % torus.rows * torus.columns + (c + j) % torus.columns
                u[:, n] += edges[k, n] * z[:, heard] * 2.0**-torus.kappa_shift / 8
        z = (u > membrane.threshold).astype(float)
        v = {"zero": u * (1 - z), "subtract": u - z * membrane.threshold, "none": u}[membrane.reset]
        spikes.append(z)
    return np.stack(spikes), v


@pytest.mark.parametrize("edges", ["equal", "ternary"])
@pytest.mark.parametrize("reset", RESETS)
def test_equals_the_equations(reset, edges, path):
    torus = TorusMessages(15, kappa_shift=2, edges=edges)
    membrane = Membrane(15, threshold=0.4, reset=reset, messages=torus).double()
    if edges == "ternary":
        with_edges(membrane)
    with torch.no_grad():
        membrane.leak.copy_(draw(15, seed=3))
        membrane.bias.copy_(draw(15, seed=4) * 0.3)
    current, noise = draw(40, 3, 15), draw(40, 3, 15, seed=5) * 0.1
    spikes, state = membrane(current, noise=noise)
    expected, v = oracle(membrane, current, noise)
    assert 0.1 < expected.mean() < 0.9
    assert np.array_equal(spikes.detach().numpy(), expected)
    assert np.abs(state.v.detach().numpy() - v).max() < 1e-12  # float64 rounding over 40 steps
    assert torch.equal(state.z, spikes[-1])


@pytest.mark.parametrize(("reset", "primitive"), [("zero", "leaky"), ("subtract", "lif_box"), ("none", "leaky")])
def test_equals_snntorch_and_norse_in_value_and_gradient(reset, primitive, path):
    beta, threshold = neurons(12)
    lif = LIF(
        beta, threshold=threshold, reset=reset, primitive=primitive, spike_grad="atan",
        learn_beta=True, learn_threshold=True,
    )  # fmt: skip
    weights, v0 = draw(30, 4, 12, seed=2), draw(4, 12, seed=3) * 0.1
    theirs, ours = draw(30, 4, 12).requires_grad_(), draw(30, 4, 12).requires_grad_()
    spikes, state = lif(theirs, LIFState(v0))
    ((spikes * weights).sum() + state.v.sum()).backward()
    beta.requires_grad_()
    threshold.requires_grad_()
    drive = ours if primitive == "leaky" else ours * (1 - beta)
    mine, after = membrane_scan(drive, beta, threshold, MembraneState(v0, torch.zeros_like(v0)), reset=reset)
    ((mine * weights).sum() + after.v.sum()).backward()
    assert torch.equal(mine, spikes)
    assert 0.05 < mine.mean() < 0.95
    # snnTorch's surrogate is float32 inside, which is where the tolerance comes from.
    for a, b in ((ours.grad, theirs.grad), (beta.grad, lif.beta.grad), (threshold.grad, lif.threshold.grad)):
        assert (a - b).abs().max() < 1e-6 * (1 + b.abs().max())


def test_a_constant_current_below_threshold_is_approached_exponentially():
    membrane = Membrane(1, beta=0.8, threshold=10.0).double()
    for t in (1, 7, 40):
        _, state = membrane(torch.full((t, 1, 1), 3.0, dtype=torch.float64))
        assert state.v.item() == pytest.approx(3 * (1 - 0.8**t), rel=1e-6)  # the leak is a float32 logit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("size", [(1, 1, 9), (30, 4, 12), (7, 3, 60), (2, 5, 65)])
def test_kernels_equal_torchs_operations(size, reset, dtype, monkeypatch):
    N = size[2]
    torus = TorusMessages(N) if N != 12 else None
    beta, threshold = neurons(N, dtype=dtype)
    results, usable = [], module.usable
    for answer in (True, False):
        monkeypatch.setattr(module, "usable", lambda *args, answer=answer: answer and usable(*args))
        first = (draw(size[1], N, seed=7, dtype=dtype), (draw(size[1], N, seed=8, dtype=dtype) > 0.5).to(dtype))
        inputs = [x.clone().requires_grad_() for x in (draw(*size, dtype=dtype), beta, threshold, *first)]
        spikes, state = membrane_scan(*inputs[:3], MembraneState(*inputs[3:]), reset=reset, messages=torus)
        ((spikes * draw(*size, seed=6, dtype=dtype)).sum() + state.v.square().sum()).backward()
        grads = [x.grad if x.grad is not None else torch.zeros_like(x) for x in inputs]
        results.append([spikes, state.v, *grads])
    assert torch.equal(results[0][0], results[1][0])
    # The same operations in the same order; a fused multiply-add rounds once less, and sums over samples may regroup.
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    for ours, plain in zip(*results, strict=True):
        assert (ours - plain).abs().max() <= tolerance * (1 + plain.abs().max())


def test_works_without_numba():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import torch; from pnbx_snn.neurons.membrane import membrane_scan\n"
        "x = torch.full((4, 1, 1), 0.75, requires_grad=True)\n"
        "z, _ = membrane_scan(x, torch.tensor(0.5), torch.tensor(1.0)); z.sum().backward()\n"
        "print(z.flatten().tolist(), x.grad.abs().min().item() > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[0.0, 1.0, 0.0, 1.0] True"


# Gradients


@pytest.mark.parametrize("edges", ["equal", "ternary"])
@pytest.mark.parametrize("reset", RESETS)
def test_gradients_are_those_of_autograd_through_the_step(reset, edges, path):
    torus = TorusMessages(15, kappa_shift=0, edges=edges)
    membrane = Membrane(15, threshold=0.5, reset=reset, messages=torus).double()
    if edges == "ternary":
        with_edges(membrane)
    loss_weights = draw(12, 2, 15, seed=2)
    results = []
    for whole in (True, False):
        membrane.zero_grad()
        current = draw(12, 2, 15).requires_grad_()
        theta = torch.full((15,), 0.4, dtype=torch.float64, requires_grad=True)
        first = [draw(2, 15, seed=7).requires_grad_(), (draw(2, 15, seed=8) > 0).double().requires_grad_()]
        state = MembraneState(*first)
        if whole:
            spikes, state = membrane(current, state, threshold=theta)
        else:
            out = []
            for x in current.unbind(0):
                z, state = membrane.step(x, state, threshold=theta)
                out.append(z)
            spikes = torch.stack(out)
        ((spikes * loss_weights).sum() + (state.v + state.z * loss_weights[0]).sum()).backward()
        leaves = [current, theta, *first, *membrane.parameters()]
        results.append([spikes.detach(), *(leaf.grad for leaf in leaves)])
    assert torch.equal(results[0][0], results[1][0])
    assert len(results[0]) == (8 if edges == "ternary" else 7)
    for a, b in zip(results[0][1:], results[1][1:], strict=True):
        assert a.abs().max() > 1e-3
        assert (a - b).abs().max() < 1e-6 * (1 + b.abs().max())  # the float32 inside snnTorch's surrogate


def test_edges_of_one_are_equal_edges(path):
    current, results = draw(12, 2, 15), []
    for edges in ("equal", "ternary"):
        membrane = Membrane(15, threshold=0.3, messages=TorusMessages(15, edges=edges)).double()
        spikes, state = membrane(current)
        ((spikes * draw(12, 2, 15, seed=2)).sum() + state.v.sum()).backward()
        results.append([spikes, state.v, membrane.leak.grad, membrane.bias.grad])
    assert torch.equal(results[0][0], results[1][0])
    # A fused multiply-add in the kernel, and sums of gradients in another order.
    assert all((a - b).abs().max() < 1e-13 * (1 + b.abs().max()) for a, b in zip(*results, strict=True))


def test_gradcheck_of_the_smooth_part(path):
    """Without a spike the membrane is linear in the current and smooth in beta."""
    beta, _ = neurons(5)
    threshold = torch.full((5,), 1e6, dtype=torch.float64)
    drive, beta = draw(6, 2, 5).requires_grad_(), beta.requires_grad_()
    assert torch.autograd.gradcheck(lambda d, b: membrane_scan(d, b, threshold)[1].v, (drive, beta))


def test_every_surrogate_works_as_in_a_lif():
    beta, threshold = neurons(8)
    for name in ("fast_sigmoid", "super", "straight_through_estimator"):
        lif = LIF(beta, threshold=threshold, spike_grad=name)
        a, b = draw(10, 2, 8).requires_grad_(), draw(10, 2, 8).requires_grad_()
        lif(a)[0].sum().backward()
        membrane_scan(b, beta, threshold, spike_grad=name)[0].sum().backward()
        assert (a.grad - b.grad).abs().max() < 1e-6 * (1 + a.grad.abs().max())


def test_second_derivatives_are_refused(path):
    x = draw(3, 1, 2).requires_grad_()
    spikes, _ = membrane_scan(x, torch.tensor(0.5).double(), torch.tensor(1.0).double())
    with pytest.raises(PnbxError, match="create_graph"):
        torch.autograd.grad(spikes.sum(), x, create_graph=True)


# Time


@given(
    cut=st.integers(1, 9), reset=st.sampled_from(RESETS), edges=st.sampled_from(["equal", "ternary"]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_two_halves_are_one_run_and_steps_are_the_sequence(cut, reset, edges, seed):
    membrane = Membrane(9, threshold=0.3, reset=reset, messages=TorusMessages(9, kappa_shift=0, edges=edges)).double()
    if edges == "ternary":
        with_edges(membrane, seed=seed)
    current = draw(10, 2, 9, seed=seed)
    whole, end = membrane(current)
    first, middle = membrane(current[:cut])
    second, last = membrane(current[cut:], middle)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(last.v, end.v)
    state, steps = None, []
    for x in current:
        z, state = membrane.step(x, state)
        steps.append(z)
    assert torch.equal(torch.stack(steps), whole)


@given(t=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_future_and_other_samples_do_not_matter(t, seed):
    membrane = Membrane(9, threshold=0.3, messages=TorusMessages(9)).double()
    current = draw(10, 3, 9, seed=seed)
    changed = current.clone()
    changed[t:, 1] += 5.0
    before, after = membrane(current)[0], membrane(changed)[0]
    assert torch.equal(before[:t], after[:t])
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
    assert not torch.equal(before[t:, 1], after[t:, 1])


@given(scale=st.floats(0, 1e3), seed=st.integers(0, 99))
def test_the_membrane_stays_within_its_inputs(scale, seed):
    """v is a moving average of what comes in, plus messages of at most kappa a step."""
    membrane = Membrane(9, threshold=1.0, messages=TorusMessages(9, kappa_shift=4)).double()
    current = draw(50, 2, 9, seed=seed) * scale
    _, state = membrane(current)
    bound = current.abs().max() + 2.0**-4 / (1 - 0.5)
    assert bool((state.v.abs() <= bound * (1 + 1e-9)).all())


# Errors


def test_errors_name_value_and_rule(unchecked):
    one = torch.tensor(1.0)
    cases = [
        (functools.partial(Membrane, 0), PnbxValueError, "num_neurons must be at least 1, got 0"),
        (functools.partial(Membrane, 4, beta=1.0), PnbxValueError, r"beta must be in \(0, 1\), got 1.0"),
        (functools.partial(Membrane, 4, threshold=-1), PnbxValueError, "threshold must be > 0 and finite, got -1"),
        (functools.partial(Membrane, 4, reset="half"), PnbxValueError, "reset must be one of zero, subtract, none"),
        (functools.partial(Membrane, 9, messages=TorusMessages(12)), PnbxValueError, "its 9 neurons, got 12"),
        (lambda: Membrane(4)(torch.ones(2, 3, 5)), ShapeError, r"with N = 4 and no empty axis, got shape \[2, 3, 5\]"),
        (lambda: Membrane(4)(torch.ones(3, 4)), ShapeError, r"must be \[T, B, N\]"),
        (lambda: Membrane(4).step(torch.ones(3, 4).int()), PnbxTypeError, "convert with .float()"),
        (lambda: membrane_scan(torch.ones(2, 0, 4), one, one), ShapeError, "empty axis"),
        (lambda: membrane_scan(torch.ones(2, 1, 4), torch.ones(3), one), ShapeError, r"beta must be a scalar or \[4\]"),
        (
            lambda: membrane_scan(torch.ones(2, 1, 4), one, one, MembraneState(torch.ones(2, 4), torch.ones(1, 4))),
            ShapeError,
            r"state.v must be \[B, N\] = \[1, 4\], got \[2, 4\]",
        ),
    ]
    for call, error, text in cases:
        with pytest.raises(error, match=text):
            call()


def test_parameters_are_leak_and_bias_and_learned_edges():
    membrane = Membrane(2048, beta=0.9)
    assert sum(p.numel() for p in membrane.parameters()) == 4096
    learned = Membrane(2048, messages=TorusMessages(2048, edges="ternary"))
    assert sum(p.numel() for p in learned.parameters()) == 4096 + 8 * 2048
    assert membrane.beta[0].item() == pytest.approx(0.9)
    assert math.isclose(membrane.drive(torch.ones(1, 2048))[0, 0].item(), 0.1, rel_tol=1e-5)
