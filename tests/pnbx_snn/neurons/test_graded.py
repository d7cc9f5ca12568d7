"""Graded events: the equation against NumPy, the compiled loop and torch's against the steps, what networks refuse."""

import numpy as np
import pytest
import torch

from pnbx_snn import PNBX, BitLinear
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.kernels.ternary import ternary_products
from pnbx_snn.neurons import graded
from pnbx_snn.neurons.graded import graded_events, graded_scan, graded_step
from pnbx_snn.neurons.lif import LIF
from pnbx_snn.neurons.membrane import Membrane, MembraneState
from pnbx_snn.surrogate import Surrogate

ATAN = Surrogate("atan")
WEIGHTS = (1, 1, 2)


@pytest.fixture(autouse=True)
def _torch_unless_asked(request, monkeypatch):
    """Use torch's own operations, as where there are no kernels; one test compiles the loops."""
    if "kernels" not in request.node.name:
        monkeypatch.setattr(graded, "usable", lambda *given: False)


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_events_and_gradients_are_those_of_the_equation(levels):
    theta, u = 0.75, 3 * draw(200, dtype=torch.float64)
    u[:3] = torch.tensor([0.75, 1.5, 3.0])  # exactly at a threshold: not above it
    u.requires_grad_()
    events, fired = graded_events(u, torch.tensor(theta, dtype=torch.float64), levels, ATAN)
    x, w = u.detach().numpy(), WEIGHTS[: levels - 1]
    assert np.array_equal(events.detach(), sum(a * (x > 2**i * theta) for i, a in enumerate(w)))
    assert np.array_equal(fired.detach(), x > theta)
    assert events[:3].tolist() == [0, 1, min(levels - 1, 2)]
    events.sum().backward()
    slopes = [1 / (1 + (np.pi * (x - 2**i * theta) / 2**i) ** 2) for i in range(levels - 1)]
    expected = sum(a / 2**i * slope for i, (a, slope) in enumerate(zip(w, slopes, strict=True)))
    np.testing.assert_allclose(u.grad, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("levels", "reset", "by"),
    [(4, "subtract", "kernels"), (4, "subtract", "torch"), (4, "zero", "torch"), (3, "none", "torch")],
)
def test_a_sequence_equals_its_steps(levels, reset, by):
    beta, theta = torch.rand(70, generator=torch.Generator().manual_seed(1)), 0.3 + draw(70, seed=2).abs()
    tensors = [x.requires_grad_() for x in (3 * draw(6, 2, 70, seed=3), beta, theta, draw(2, 70, seed=4))]
    drive, beta, theta, v = tensors
    events = []
    for d in drive:
        e, v = graded_step(d, beta, theta, v, levels, reset, ATAN)
        events.append(e)
    events = torch.stack(events)
    found = graded_scan(*tensors, levels, reset, ATAN)
    assert torch.equal(found.spikes, events)
    assert torch.equal(found.v, v)
    assert events.unique().tolist() == [0, 1, 2, 4][:levels]
    up, up_v = draw(6, 2, 70, seed=5), draw(2, 70, seed=6)
    theirs = torch.autograd.grad((events * up).sum() + (v * up_v).sum(), tensors)
    ours = torch.autograd.grad((found.spikes * up).sum() + (found.v * up_v).sum(), tensors)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("constant", [True, False])
def test_without_a_decay_all_steps_are_made_at_once(constant):
    drive, theta, zero = 3 * draw(5, 2, 9), 0.3 + draw(9, seed=2).abs(), torch.tensor(0.0)
    drive = drive[:1].expand(5, -1, -1) if constant else drive
    given = [drive.clone().requires_grad_(), theta.clone().requires_grad_()]
    view = given[0][:1].expand(5, -1, -1) if constant else given[0]
    fast = graded_scan(view, zero, given[1], draw(2, 9), 4, "zero", ATAN)
    slow = graded_scan(view, zero.expand(9), given[1], draw(2, 9), 4, "zero", ATAN)
    assert torch.equal(fast.spikes, slow.spikes)
    assert torch.equal(fast.v, slow.v)
    up = draw(5, 2, 9, seed=5)
    for a, b in zip(
        *(torch.autograd.grad((x.spikes * up).sum() + x.v.sum(), given) for x in (fast, slow)), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_neurons_step_as_they_run_and_two_levels_stay_binary():
    current = 4 * draw(6, 2, 9)
    for primitive in ("leaky", "lif_box"):
        lif = LIF(0.7, reset="subtract", primitive=primitive, levels=3)
        events, state = lif(current.bfloat16())
        assert (events.dtype, state.v.dtype) == (torch.bfloat16, torch.float32)
        traced, membranes = lif.trace(current)
        stepped, after = [], None
        for x in current:
            z, after = lif.step(x, after)
            stepped.append(z)
        assert torch.equal(torch.stack(stepped), traced)
        assert torch.equal(membranes[-1], after.v)
    membrane = Membrane(9, levels=4)
    events, state = membrane(current)
    first, middle = membrane(current[:3])
    assert torch.equal(torch.cat([first, membrane(current[3:], middle)[0]]), events)
    assert torch.equal(membrane.step(current[-1], membrane(current[:-1])[1])[0], events[-1])
    assert isinstance(state, MembraneState)
    assert torch.equal(Membrane(9, levels=2)(current)[0], Membrane(9)(current)[0])


def test_products_of_graded_events_are_exact():
    """The kernels that count bits look at what they get: other numbers than 0 and 1 are multiplied."""
    x = torch.randint(0, 4, (70, 600), generator=torch.Generator().manual_seed(0)).float().exp2().floor_() % 8
    layer = BitLinear(600, 900)
    ternary, gamma = layer.rounded()
    (y,) = ternary_products(x, [layer.weight], [ternary.detach()], [gamma])
    whole = x.numpy().astype(np.int64) @ ternary.detach().numpy().astype(np.int64).T
    assert torch.equal(y, gamma * torch.from_numpy(whole.astype(np.float32)))
    up = draw(*y.shape)
    (got,) = torch.autograd.grad((y * up).sum(), [layer.weight])
    torch.testing.assert_close(got, up.T @ x, rtol=1e-4, atol=1e-3)


def network(**options):
    sizes = {"d_hidden": 32, "d_ssm": 8, "d_rnn": 4, "rank": 4, "num_steps": 4}
    return PNBX(in_features=6, num_classes=3, **{**sizes, "hippocampus": "none", **options})


def test_a_network_learns_and_its_rates_are_shares():
    torch.manual_seed(0)
    model = network(event_levels=4, graded_blocks=True, messages=False, beta_encoder=0.0, threshold=0.3)
    x = 4 * torch.rand(20, 6)
    model.calibrate(x)
    logits, spikes = model.classify(x)
    logits.square().sum().backward()
    assert model.encoder.linear.weight.grad.abs().sum() > 0
    for layer, fired in zip(spikes, model.fired(spikes), strict=True):
        assert layer.max() > 1
        assert torch.equal(fired, (layer != 0).float())
    rates = model.domain_rates(spikes)
    torch.testing.assert_close(rates[0, 0].mean(), (spikes[0] != 0).float().mean())
    model.adapt(spikes)
    model.eval()
    state, streamed = None, []
    with torch.no_grad():
        for x_t in model.encode(x):
            logits, state = model.stream(x_t, state)
            streamed.append(state.encoder.z)
        assert torch.equal(torch.stack(streamed), model.classify(x)[1][0])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"event_levels": 5}, r"PNBX: event_levels must be 2, 3 or 4, got 5"),
        ({"graded_blocks": True}, r"PNBX: graded_blocks=True needs event_levels 3 or 4, got 2"),
        ({"event_levels": 4, "hippocampus": "sequence"}, r'use hippocampus="none" with graded events, .*\'sequence\''),
        ({"event_levels": 3, "graded_blocks": True}, r"use messages=False with graded_blocks=True, got event_levels=3"),
        (
            {"event_levels": 3, "graded_blocks": True, "messages": False, "rnn": "spiking"},
            r'use rnn="min_gru" or "none" with graded_blocks=True',
        ),
    ],
)
def test_what_is_defined_for_spikes_alone_is_refused(unchecked, options, text):
    with pytest.raises(PnbxValueError, match=text):
        network(**options)


def test_levels_are_checked_where_they_are_given(unchecked):
    for make in (lambda: LIF(0.5, levels=1), lambda: Membrane(4, levels=5)):
        with pytest.raises(PnbxValueError, match=r"levels must be 2, 3 or 4, got [15]"):
            make()
