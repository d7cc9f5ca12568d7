"""Micro-RNN pathways: oracle, closed forms, snnTorch, gradients, time properties, state tracking, ranges, errors."""

import math

import numpy as np
import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from torch.func import functional_call

from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.layers.rnn import MinGRU, SpikingRNN, SpikingRNNState
from pnbx_snn.layers.ssm import SSMState
from pnbx_snn.neurons.lif import LIF

KINDS = {"min_gru": MinGRU, "spiking": SpikingRNN}
each_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind, d_hidden=6, d_rnn=5, *, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rnn = KINDS[kind](d_hidden, d_rnn, **options)
    if kind == "spiking":
        with torch.no_grad():
            for layer in (rnn.W, rnn.U, rnn.V):
                layer.weight.mul_(6)  # so that a few events fire an interneuron, and a few of those a neuron
    return rnn


def draw_events(num_steps, num_samples, d_hidden=6, *, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(num_steps, num_samples, d_hidden, generator=generator) < 0.3).to(dtype)


def draw_state(kind, num_samples=3, d_hidden=6, d_rnn=5, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if kind == "min_gru":
        return SSMState(torch.randn(num_samples, d_rnn, generator=generator, dtype=torch.float64))
    v = torch.rand(num_samples, d_rnn, generator=generator, dtype=torch.float64)  # up to the threshold
    return SpikingRNNState(v, draw_events(1, num_samples, d_hidden, seed=seed)[0])


def matrix(layer):
    """gamma * W~ of a BitLinear, from its latent weights."""
    weight = layer.weight.detach().double().numpy()
    gamma = np.abs(weight).mean()
    return gamma * np.clip(np.rint(weight / gamma), -1, 1)


def oracle(rnn, events, state):
    """Step by step in float64, from the equations; returns currents [T, B, H] and the last state."""
    currents, state = [], [torch.as_tensor(part).numpy() for part in state]
    W, U, V = matrix(rnn.W).T, matrix(rnn.U).T, matrix(rnn.V).T
    for e in events.double().numpy():
        if isinstance(rnn, MinGRU):
            g = expit(e @ U + rnn.c0.double().numpy())
            [u] = state
            u = (1 - g) * u + g * (e @ W)
            current, state = u @ V, [u]
        else:
            v, z = state
            v = rnn.lif.beta.item() * v + e @ W + z @ U
            r = np.where(v > rnn.lif.threshold.item(), 1.0, 0.0)
            current = r @ V
            state = [(1 - r) * v, np.where(current > 1.0, 1.0, 0.0)]
        currents.append(current)
    return np.stack(currents), state


def latent(rnn, W, U, V):
    """Give a layer these ternary matrices, each times 2, in float64 (no zeros, so mean |W| is 2)."""
    with torch.no_grad():
        for layer, values in ((rnn.W, W), (rnn.U, U), (rnn.V, V)):
            layer.weight.copy_(2 * torch.tensor(values))
    return rnn.double()


# Values


@settings(deadline=None, max_examples=40)
@given(kind=st.sampled_from(list(KINDS)), seed=st.integers(0, 10_000), num_steps=st.integers(1, 12))
def test_equals_the_equations(kind, seed, num_steps):
    rnn, events, initial = make(kind, seed=seed).double(), draw_events(num_steps, 3, seed=seed), draw_state(kind)
    current, state = rnn(events, initial)
    expected, last = oracle(rnn, events, initial)
    np.testing.assert_allclose(current.detach().numpy(), expected, rtol=1e-12, atol=1e-12)  # float64, another order
    for ours, theirs in zip(state, last, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-12, atol=1e-12)


def test_the_spiking_comparisons_see_spikes_and_silence():
    rnn, state, rates = make("spiking").double(), None, []
    for e in draw_events(100, 3):
        current, state = rnn.step(e, state)
        rates.append((current != 0).double().mean().item() + 1j * state.z.mean().item())
    assert 0.1 < np.mean(rates).real < 0.95
    assert 0.05 < np.mean(rates).imag < 0.95


@pytest.mark.parametrize(("tau_min", "tau_max"), [(2.0, 1000.0), (0.5, 1e6)])
def test_min_gru_without_events_decays_by_log_spaced_time_constants(tau_min, tau_max):
    rnn = MinGRU(3, 9, tau_min=tau_min, tau_max=tau_max)
    tau = np.geomspace(tau_min, tau_max, 9)
    expected = np.log(np.expm1(1 / tau))  # logit of 1 - exp(-1 / tau)
    np.testing.assert_allclose(rnn.c0.numpy(), expected, rtol=1e-6)  # a float32 buffer
    _, state = rnn.double()(torch.zeros(7, 1, 3, dtype=torch.float64), SSMState(torch.ones(1, 9, dtype=torch.float64)))
    np.testing.assert_allclose(-7 / np.log(state.s.detach().numpy()[0]), tau, rtol=1e-5)


def test_a_single_state_has_the_smallest_time_constant():
    assert MinGRU(1, 1, tau_min=5.0).c0.item() == pytest.approx(math.log(math.expm1(1 / 5)))


def test_min_gru_under_a_constant_gate_is_an_exponential_average():
    rnn, initial = make("min_gru").double(), draw_state("min_gru", 1)
    e = draw_events(1, 1, seed=3)
    keep = 1 - expit(e.numpy()[0] @ matrix(rnn.U).T + rnn.c0.numpy())
    power = keep ** np.arange(1, 41)[:, None]
    states = power * initial.s.numpy() + (1 - power) * (e.numpy()[0] @ matrix(rnn.W).T)
    current, state = rnn(e.expand(40, 1, 6), initial)
    np.testing.assert_allclose(current.detach().numpy()[:, 0], states @ matrix(rnn.V).T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(state.s.detach().numpy()[0], states[-1], rtol=1e-10)


def snntorch_loop(rnn, reset, events, v, z):
    """The definition of SpikingRNN with snnTorch's neuron, surrogate and torch's own product."""
    leaky = snntorch.Leaky(
        beta=0.8,
        threshold=0.7,
        reset_mechanism=reset,
        reset_delay=False,
        spike_grad=snntorch.surrogate.fast_sigmoid(slope=5),
    ).double()
    fire, currents = snntorch.surrogate.fast_sigmoid(slope=5), []
    for e in events:
        r, v = leaky(rnn.W(e) + rnn.U(z), v)
        currents.append(rnn.V(r.double()))
        z = fire(currents[-1] - 1.0).double()
    return torch.stack(currents), v, z


@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_spiking_equals_snntorch_in_value_and_gradient(reset, seed):
    fast = snntorch.surrogate.fast_sigmoid(slope=5)
    rnn = make("spiking", seed=seed, beta=0.8, threshold=0.7, reset=reset, spike_grad=fast).double()
    events = draw_events(15, 3, seed=seed).requires_grad_()
    v, z = (part.requires_grad_() for part in draw_state("spiking", seed=seed))
    current, state = rnn(events, SpikingRNNState(v, z))
    theirs = snntorch_loop(rnn, reset, events, v, z)
    weighting = torch.randn(15, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    inputs = (events, v, z, *rnn.parameters())
    gradients = []
    for I_, v_last, z_last in ((current, *state), theirs):
        torch.testing.assert_close(I_, current, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(v_last, state.v, rtol=1e-12, atol=1e-12)
        assert torch.equal(z_last, state.z)
        gradients.append(torch.autograd.grad((weighting * I_).sum() + v_last.sum() + z_last.sum(), inputs))
    for ours, expected in zip(*gradients, strict=True):
        assert ours.abs().max() > 0
        # snnTorch's surrogate rounds gradients to float32 on their way, and so does ours, which is made of it.
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_real_neurons_in_the_loop():
    rnn, lif, events = make("spiking").double(), LIF(0.9, threshold=0.5).double(), draw_events(30, 2)
    leaky = {"reset_mechanism": "zero", "reset_delay": False}
    inner, outer = snntorch.Leaky(0.9, **leaky).double(), snntorch.Leaky(0.9, threshold=0.5, **leaky).double()
    state = membrane = None
    v, v_out, z = (torch.zeros(2, n, dtype=torch.float64) for n in (5, 6, 6))
    alone = rnn(events)[0]
    together = []
    for e in events:
        current, state = rnn.step(e, state)
        spikes, membrane = lif.step(current, membrane)
        state = state._replace(z=spikes)
        together.append(current)
        r, v = inner(rnn.W(e) + rnn.U(z), v)
        z, v_out = outer(rnn.V(r.double()), v_out)
        z = z.double()
        assert torch.equal(spikes, z)
        torch.testing.assert_close(current, rnn.V(r.double()), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(torch.stack(together), alone)  # the real neurons changed the future


# State tracking


def test_feedback_changes_the_future():
    rnn = make("spiking").double()
    silence = torch.zeros(1, 6, dtype=torch.float64)
    v = torch.zeros(1, 5, dtype=torch.float64)
    without, _ = rnn.step(silence, SpikingRNNState(v, silence))
    with_feedback, state = rnn.step(silence, SpikingRNNState(v, silence + 1))
    assert (without == 0).all()
    assert (with_feedback != 0).any()
    assert (state.v != 0).any()


def test_spiking_counts_the_parity_of_any_number_of_events():
    """One neuron, two interneurons: event and not z, z and not event. No gate between 0 and 1 could count so far."""
    rnn = latent(SpikingRNN(1, 2, beta=0.0), W=[[1.0], [-1.0]], U=[[-1.0], [1.0]], V=[[1.0, 1.0]])
    events = draw_events(500, 4, 1)
    current, state = rnn(events)
    np.testing.assert_array_equal(current.detach().numpy() > 1, events.numpy().cumsum(0) % 2 == 1)
    assert torch.equal(state.z, events.sum(0) % 2)


# Numerical safety


def test_ten_thousand_float32_steps_of_min_gru():
    rnn, events = make("min_gru", 32, 16, seed=3), draw_events(10_000, 1, 32, dtype=torch.float32)
    current, state = rnn(events)
    expected, [u] = oracle(rnn, events, [np.zeros((1, 16))])
    assert current.dtype == state.s.dtype == torch.float32
    # The oracle's gates are float64; ours round to float32, which moves a time constant of 1000 steps by up to 3e-5.
    error = np.abs(current.detach().numpy() - expected).max((0, 1)) / np.abs(expected).max((0, 1))
    assert error.max() < 1e-5
    assert np.abs(state.s.detach().numpy() - u).max() < 1e-5 * np.abs(u).max()


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), spread=st.floats(0.1, 1e3))
def test_min_gru_states_are_bounded_by_their_inputs(seed, spread):
    rnn = make("min_gru", seed=seed)
    with torch.no_grad():
        for layer in (rnn.U, rnn.W):
            layer.weight.mul_(spread)  # gates from almost 0 to almost 1
    events, state = draw_events(60, 2, seed=seed, dtype=torch.float32), None
    bound = np.abs(events.numpy() @ matrix(rnn.W).T).max((0, 1))
    for e in events:
        _, state = rnn.step(e, state)
        assert (state.s.abs().detach().numpy() <= bound * (1 + 1e-5)).all()  # float32, 60 roundings


# Time and units


@settings(deadline=None, max_examples=30)
@given(kind=st.sampled_from(list(KINDS)), seed=st.integers(0, 10_000), num_steps=st.integers(2, 20), data=st.data())
def test_steps_halves_samples_the_future_and_units(kind, seed, num_steps, data):
    rnn, events = make(kind, seed=seed).double(), draw_events(num_steps, 3, seed=seed)
    whole, last = rnn(events)
    close = {"rtol": 1e-12, "atol": 1e-13}  # matrix products of other sizes may sum in another order

    stepped, state = [], None
    for e in events:
        current, state = rnn.step(e, state)
        stepped.append(current)
    torch.testing.assert_close(torch.stack(stepped), whole, **close)
    torch.testing.assert_close(tuple(state), tuple(last), **close)

    cut = data.draw(st.integers(1, num_steps - 1))
    first, state = rnn(events[:cut])
    second, state = rnn(events[cut:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, **close)
    torch.testing.assert_close(tuple(state), tuple(last), **close)

    changed = events.clone()
    changed[cut:] = 1 - changed[cut:]
    torch.testing.assert_close(rnn(changed)[0][:cut], whole[:cut], **close)  # causal
    if kind == "min_gru":  # other events need not make other spikes
        assert not torch.allclose(rnn(changed)[0][cut:], whole[cut:])

    order = torch.tensor(data.draw(st.permutations(range(3))))
    torch.testing.assert_close(rnn(events[:, order])[0], whole[:, order], **close)
    torch.testing.assert_close(rnn(events[:, 1:2])[0], whole[:, 1:2], **close)  # alone as in company

    units = torch.tensor(data.draw(st.permutations(range(5))))
    with torch.no_grad():
        rnn.W.weight.copy_(rnn.W.weight[units])
        rnn.U.weight.copy_(rnn.U.weight[units])
        rnn.V.weight.copy_(rnn.V.weight[:, units])
        if kind == "min_gru":
            rnn.c0.copy_(rnn.c0[units])
    permuted, state = rnn(events)
    torch.testing.assert_close(permuted, whole, **close)
    torch.testing.assert_close(state[0], last[0][:, units], **close)


@each_kind
def test_streaming_keeps_the_state_small(kind):
    rnn, state = make(kind, 4, 3), None
    with torch.no_grad():
        for seed in range(10):
            current, state = rnn(draw_events(100, 1, 4, seed=seed, dtype=torch.float32), state)
            assert [part.untyped_storage().nbytes() for part in state] == [4 * part.numel() for part in state]
    assert torch.isfinite(current).all()


# Gradients


def test_gradcheck_of_min_gru():
    rnn = make("min_gru", 3, 2, tau_max=20.0).double()
    events = torch.rand(6, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    [u] = draw_state("min_gru", 2, 3, 2)

    def run(c0, events, u):  # the rounding of the weights is straight-through, all else is smooth
        current, state = functional_call(rnn, {"c0": c0}, (events, SSMState(u)))
        return current, state.s

    assert torch.autograd.gradcheck(run, (rnn.c0.clone().requires_grad_(), events, u.requires_grad_()))


def test_gradients_of_min_gru_equal_those_of_a_loop_of_steps():
    rnn, events = make("min_gru").double(), draw_events(50, 2).requires_grad_()
    whole, _ = rnn(events)
    stepped, state = [], None
    for e in events.unbind(0):
        current, state = rnn.step(e, state)
        stepped.append(current)
    gradients = [
        torch.autograd.grad(current.square().sum(), (events, *rnn.parameters()))
        for current in (whole, torch.stack(stepped))
    ]
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_surrogate_gradient_of_the_feedback_follows_its_formula():
    rnn = latent(SpikingRNN(1, 1), W=[[1.0]], U=[[1.0]], V=[[1.0]])
    _, state = rnn.step(torch.ones(1, 1, dtype=torch.float64))  # r = [2 > 1], I = 2 r, z = [I > 1]
    state.z.sum().backward()
    slope = 1 / (1 + math.pi**2)  # atan, one above either threshold
    assert rnn.V.weight.grad.item() == pytest.approx(slope, rel=1e-6)  # dz/dI r
    assert rnn.W.weight.grad.item() == pytest.approx(2 * slope**2, rel=1e-6)  # dz/dI V dr/du e


@each_kind
def test_every_parameter_and_the_events_learn(kind):
    rnn, events = make(kind), draw_events(20, 2, dtype=torch.float32).requires_grad_()
    rnn(events)[0].square().sum().backward()
    for name, tensor in (*rnn.named_parameters(), ("events", events)):
        assert torch.isfinite(tensor.grad).all(), name
        assert tensor.grad.abs().max() > 0, name


# Shapes and errors


@each_kind
def test_parameter_count_of_the_reference_configuration(kind):
    rnn = KINDS[kind](2048, 128)
    assert sum(p.numel() for p in rnn.parameters()) == 786_432
    assert (rnn.d_hidden, rnn.d_rnn) == (2048, 128)
    assert rnn.readout is rnn.V


@each_kind
def test_state_dict_round_trip(kind):
    options = ({"tau_max": 50.0}, {"beta": 0.3})[kind == "spiking"]
    rnn, other, events = make(kind), make(kind, seed=1, **options), draw_events(5, 2, dtype=torch.float32)
    assert not torch.equal(rnn(events)[0], other(events)[0])
    other.load_state_dict(rnn.state_dict())
    assert torch.equal(rnn(events)[0], other(events)[0])


@each_kind
def test_the_scale_reaches_every_matrix(kind):
    rnn = make(kind, scale="median")
    assert {layer.scale for layer in (rnn.W, rnn.U, rnn.V)} == {"median"}
    events = draw_events(5, 2, dtype=torch.float32)
    state, stepped = None, []
    for e in events:
        current, state = rnn.step(e, state)
        stepped.append(current)
    torch.testing.assert_close(rnn(events)[0], torch.stack(stepped))


@pytest.mark.parametrize("autocast", [False, True])
def test_matrices_rounded_once_for_all_steps_answer_as_the_bitlinears(autocast):
    rnn, events, v = make("spiking", scale="median"), draw_events(2, 2, dtype=torch.float32), torch.zeros(2, 5)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        r, _ = rnn.lif.step(rnn.W(events[0]) + rnn.U(events[1]))
        expected = rnn.V(r)
        for current in (
            rnn.step(events[0], SpikingRNNState(v, events[1]))[0],
            rnn(events[:1], SpikingRNNState(v, events[1]))[0][0],
        ):
            assert current.dtype == expected.dtype
            assert torch.equal(current, expected)
    assert expected.any()


def test_print_shows_the_sizes():
    for kind in KINDS:
        assert "d_hidden=6, d_rnn=5" in repr(make(kind))


@each_kind
def test_wrong_options_are_refused(kind):
    name = KINDS[kind].__name__
    with pytest.raises(PnbxValueError, match=f"{name}: d_hidden and d_rnn must be at least 1, got 0 and 4"):
        KINDS[kind](0, 4)
    with pytest.raises(PnbxValueError, match=f"{name}: d_hidden and d_rnn must be at least 1, got 4 and -1"):
        KINDS[kind](4, -1)


def test_wrong_time_constants_betas_and_thresholds_are_refused():
    for tau_min, tau_max in ((0.0, 10.0), (10.0, 5.0), (1.0, math.inf), (math.nan, 1.0)):
        with pytest.raises(PnbxValueError, match="MinGRU: time constants must be 0 < tau_min <= tau_max < inf, got"):
            MinGRU(4, 4, tau_min=tau_min, tau_max=tau_max)
    with pytest.raises(PnbxValueError, match=r"lif: beta must be in \[0, 1\], got 1.3"):
        SpikingRNN(4, 4, beta=1.3)
    with pytest.raises(PnbxValueError, match="lif: threshold must be > 0 and finite, got 0"):
        SpikingRNN(4, 4, threshold=0.0)


@pytest.mark.usefixtures("unchecked")
def test_unknown_names_are_refused():
    for cls in KINDS.values():
        with pytest.raises(PnbxValueError, match="scale must be 'absmean' or 'median', got 'max'"):
            cls(4, 4, scale="max")
    with pytest.raises(PnbxValueError, match="lif: reset must be one of zero, subtract, none, got 'half'"):
        SpikingRNN(4, 4, reset="half")
    with pytest.raises(PnbxValueError, match="surrogate: unknown name 'atn', did you mean 'atan'"):
        SpikingRNN(4, 4, spike_grad="atn")


@pytest.mark.usefixtures("unchecked")
@each_kind
def test_wrong_events_are_refused(kind):
    rnn, name = make(kind), KINDS[kind].__name__
    for shape in ((3, 2, 7), (2, 6), (0, 2, 6), (3, 0, 6)):
        with pytest.raises(
            ShapeError, match=rf"{name}: events must be \[T, B, H\] with H = 6 and no empty axis, got shape"
        ):
            rnn(torch.zeros(shape))
    with pytest.raises(
        ShapeError, match=rf"{name}: events must be \[B, H\] with H = 6 and no empty axis, got shape \[3, 2, 6\]"
    ):
        rnn.step(torch.zeros(3, 2, 6))
    with pytest.raises(PnbxTypeError, match=f"{name}: events must be floating point, got torch.int64; convert with"):
        rnn(torch.zeros(3, 2, 6, dtype=torch.int64))


@pytest.mark.usefixtures("unchecked")
def test_wrong_states_are_refused():
    v, z = torch.zeros(2, 5), torch.zeros(2, 6)
    for kind, state, error, message in (
        ("min_gru", SSMState(v[:1]), ShapeError, r"MinGRU: state.s must be \[B, S\] = \[2, 5\], got \[1, 5\]"),
        ("spiking", SpikingRNNState(v[:1], z), ShapeError, r"state.v must be \[B, R\] = \[2, 5\], got \[1, 5\]"),
        (
            "spiking",
            SpikingRNNState(v, v),
            ShapeError,
            r"SpikingRNN: state.z must be \[B, H\] = \[2, 6\], got \[2, 5\]",
        ),
        (
            "spiking",
            SpikingRNNState(v, z.bool()),
            PnbxTypeError,
            r"state.z must be \[B, H\] in floating point, got torch.bool",
        ),
    ):
        rnn = make(kind)
        for run, events in ((rnn, torch.zeros(3, 2, 6)), (rnn.step, torch.zeros(2, 6))):
            with pytest.raises(error, match=message):
                run(events, state)


def test_a_state_of_another_precision_is_taken():
    rnn, events = make("spiking"), draw_events(4, 2, dtype=torch.float32)
    current, state = rnn(events, SpikingRNNState(torch.zeros(2, 5), torch.ones(2, 6, dtype=torch.float64)))
    assert current.dtype == state.z.dtype == torch.float32
    assert torch.equal(current, rnn(events, SpikingRNNState(torch.zeros(2, 5), torch.ones(2, 6)))[0])
