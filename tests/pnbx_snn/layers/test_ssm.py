"""State-space pathways: oracle, impulse response, scipy, gradients, time properties, ranges, errors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.special import expit
from snntorch import AssociativeLeaky
from torch.func import functional_call

from pnbx_snn.errors import PnbxError, PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.kernels.scan import diagonal_scan
from pnbx_snn.layers.ssm import LTISSM, DiagonalSSM, SelectiveSSM, SSMState

KINDS = ("selective", "real", "complex")


def make(kind, d_hidden=6, d_ssm=5, *, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "selective":
            return SelectiveSSM(d_hidden, d_ssm, **options)
        return LTISSM(d_hidden, d_ssm, kind=kind, **options)


def draw_events(num_steps, num_samples, d_hidden=6, *, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(num_steps, num_samples, d_hidden, generator=generator) < 0.3).to(dtype)


def matrix(layer):
    """gamma * W~ of a BitLinear, from its latent weights."""
    weight = layer.weight.detach().double().numpy()
    gamma = np.abs(weight).mean()
    return gamma * np.clip(np.rint(weight / gamma), -1, 1)


def oracle(ssm, events, s):
    """Step by step in float64, from the equations; returns currents [T, B, H] and states [T, B, S]."""
    events = events.double().numpy()
    currents, states = [], []
    for e in events:
        if isinstance(ssm, SelectiveSSM):
            f = expit(e @ matrix(ssm.A).T + ssm.a0.double().numpy())
            s = f * s + (1 - f) * (e @ matrix(ssm.B).T)
            y = (s * expit(e @ matrix(ssm.D).T)) @ matrix(ssm.C).T
        else:
            size = np.exp(-np.exp(ssm.log_rate.detach().double().numpy()))
            turn = 0 if ssm.omega is None else ssm.omega.detach().double().numpy()
            s = size * np.exp(1j * turn) * s + (1 - size) * (e @ matrix(ssm.B).T)
            y = s.real @ matrix(ssm.C).T
        currents.append(y)
        states.append(s)
    return np.stack(currents), np.stack(states)


def scan_oracle(decay, inputs, initial):
    """s[t] = decay[t] * s[t-1] + inputs[t] in float64 or complex128."""
    states, s = [], initial
    for t in range(len(inputs)):
        s = decay[t] * s + inputs[t]
        states.append(s)
    return np.stack(states)


def wide(tensor):
    return tensor.numpy().astype(np.complex128 if tensor.is_complex() else np.float64)


def worst_relative(ours, reference):
    """Largest error of a state over the largest value that the state takes, the worst over all states."""
    return (np.abs(ours - reference).max(0) / np.abs(reference).max(0)).max()


# Values


@settings(deadline=None, max_examples=20)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 10_000), num_steps=st.integers(1, 12))
def test_equals_the_equations(kind, seed, num_steps):
    ssm = make(kind, seed=seed, tau_min=1.0, tau_max=30.0).double()
    events = draw_events(num_steps, 3, seed=seed)
    initial = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if kind == "complex":
        initial = torch.complex(initial, initial.flip(0))
    current, state = ssm(events, SSMState(initial))
    expected, states = oracle(ssm, events, initial.numpy())
    np.testing.assert_allclose(current.detach().numpy(), expected, rtol=1e-12, atol=1e-12)  # float64, another order
    np.testing.assert_allclose(state.s.detach().numpy(), states[-1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_initial_time_constants_are_log_spaced(kind):
    ssm = make(kind, 3, 9, tau_min=2.0, tau_max=1000.0).double()
    silence = torch.zeros(1, 1, 3, dtype=torch.float64)
    ones = torch.ones(1, 9, dtype=torch.complex128 if kind == "complex" else torch.float64)
    _, state = ssm(silence, SSMState(ones))  # without events a state decays by exp(-1 / tau)
    tau = -1 / np.log(state.s.abs().detach().numpy()[0])
    np.testing.assert_allclose(tau, np.geomspace(2.0, 1000.0, 9), rtol=1e-4)  # parameters were rounded to float32
    if kind == "complex":
        np.testing.assert_allclose(ssm.omega.detach().numpy(), 2 * np.pi / np.geomspace(2.0, 1000.0, 9), rtol=1e-6)


def test_the_initial_frequency_stops_at_nyquist():
    assert make("complex", 3, 4, tau_min=0.5, tau_max=0.9).omega.tolist() == pytest.approx([math.pi] * 4)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_impulse_response_of_lti(kind):
    ssm = make(kind, 4, 5, tau_max=200.0).double()
    events = torch.zeros(300, 1, 4, dtype=torch.float64)
    events[0, 0, 1] = 1.0
    rate = np.exp(ssm.log_rate.detach().numpy())
    size = np.exp(-rate)
    turn = 0 if ssm.omega is None else ssm.omega.detach().numpy()
    t = np.arange(300)[:, None]
    states = (1 - size) * np.exp((-rate + 1j * turn) * t) * matrix(ssm.B)[:, 1]  # (1 - |lambda|) lambda^t B e
    current, state = ssm(events)
    np.testing.assert_allclose(state.s.detach().numpy()[0], states[-1], rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(current.detach().numpy()[:, 0], states.real @ matrix(ssm.C).T, rtol=1e-10, atol=1e-13)
    assert state.s.is_complex() == (kind == "complex")


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_lti_states_equal_scipy_filters(kind):
    ssm = make(kind, 4, 5).double()
    events = draw_events(200, 1, 4)
    drive = events.numpy()[:, 0] @ matrix(ssm.B).T
    eigenvalue = ssm.eigenvalue().detach().numpy()
    states = np.stack([lfilter([1 - abs(a)], [1, -a], drive[:, i]) for i, a in enumerate(eigenvalue)], axis=1)
    current, state = ssm(events)
    np.testing.assert_allclose(current.detach().numpy()[:, 0], states.real @ matrix(ssm.C).T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(state.s.detach().numpy()[0], states[-1], rtol=1e-10, atol=1e-12)


# Numerical safety

GATES = {
    "selective": lambda g: torch.sigmoid(3 * torch.randn(10_000, 1, 8, generator=g) + 3),
    "near 0": lambda g: torch.sigmoid(torch.randn(10_000, 1, 8, generator=g) - 20),
    "near 1": lambda g: torch.sigmoid(torch.randn(10_000, 1, 8, generator=g) + 9),
    "very near 1": lambda g: torch.sigmoid(torch.randn(10_000, 1, 8, generator=g) + 14),
    "0, 1 and between": lambda g: (2 * torch.rand(10_000, 1, 8, generator=g) - 0.5).clamp(0, 1),
    "always 0": lambda g: torch.zeros(8),
    "always 1": lambda g: torch.ones(8),
    "real lti": lambda g: torch.exp(-1 / torch.logspace(-1, 5, 8)),
    "complex lti": lambda g: torch.polar(torch.exp(-1 / torch.logspace(-1, 5, 8)), torch.linspace(0, 3.14, 8)),
}


@pytest.mark.parametrize("name", GATES)
def test_ten_thousand_float32_steps_equal_float64(name):
    generator = torch.Generator().manual_seed(1)
    decay = GATES[name](generator)
    inputs = torch.rand(10_000, 1, 8, generator=generator)
    if name != "always 1":  # which is a plain sum
        inputs = (1 - decay.abs()) * inputs
    initial = torch.rand(1, 8, generator=generator)
    states = diagonal_scan(decay, inputs, initial)
    reference = scan_oracle(np.broadcast_to(wide(decay), inputs.shape), wide(inputs), wide(initial))
    assert states.dtype == decay.dtype
    assert worst_relative(states.numpy(), reference) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_float32_steps_of_a_layer(kind):
    ssm = make(kind, 32, 16, seed=3)
    events = draw_events(10_000, 1, 32, dtype=torch.float32)
    current, state = ssm(events)
    expected, states = oracle(ssm, events, np.zeros((1, 16)))
    assert current.dtype == torch.float32
    # The oracle's gates are float64; ours round to float32, which moves a time constant of 1000 steps by up to 3e-5.
    assert worst_relative(current.detach().numpy(), expected) < 1e-5
    assert np.abs(state.s.detach().numpy() - states[-1]).max() < 1e-5 * np.abs(states).max()


def test_where_dividing_by_products_of_decays_fails():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = AssociativeLeaky(in_dim=6, d_value=3, d_key=4, num_spiking_neurons=12, use_q_projection=False)
        theirs.output = False  # states instead of spikes
    x = torch.randn(60, 2, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        decay = torch.sigmoid(theirs.to_alpha(x))[:, :, None].expand(60, 2, 3, 4).flatten(2)  # [T, B, d * n]
        inputs = (theirs.to_v(x)[..., None] * theirs.to_k(x)[:, :, None]).flatten(2)
        reference = scan_oracle(wide(decay), wide(inputs), np.zeros((2, 12)))
        ours = diagonal_scan(decay, inputs, torch.zeros(2, 12)).numpy()
        theirs_states = theirs(x).numpy()

    def error(states, steps):
        return np.linalg.norm(states[steps] - reference[steps]) / np.linalg.norm(reference[steps])

    assert error(theirs_states, slice(0, 5)) < 1e-3  # the same recurrence
    assert error(theirs_states, slice(50, 60)) > 0.99
    assert error(ours, slice(0, 60)) < 1e-6


@settings(deadline=None, max_examples=15)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 10_000), spread=st.floats(0.1, 1e3))
def test_states_are_bounded_by_their_inputs(kind, seed, spread):
    ssm = make(kind, seed=seed).double()
    with torch.no_grad():
        for layer in (ssm.B, *([ssm.A] if kind == "selective" else [])):
            layer.weight.mul_(spread)  # gates from almost 0 to almost 1
    events = draw_events(60, 2, seed=seed)
    _, states = oracle(ssm, events, np.zeros((2, 5)))
    bound = np.abs(events.numpy() @ matrix(ssm.B).T).max((0, 1))
    s = None
    for t, e in enumerate(events):
        _, s = ssm.step(e, s)
        assert (s.s.abs().detach().numpy() <= bound * (1 + 1e-12)).all()
        np.testing.assert_allclose(s.s.detach().numpy(), states[t], rtol=1e-10, atol=1e-12 * spread)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("log_rate", [-100.0, -10.0, 0.0, 3.0, 100.0])
def test_eigenvalues_never_leave_the_unit_disc(kind, log_rate):
    ssm = make(kind)
    with torch.no_grad():
        ssm.log_rate.fill_(log_rate)
    current, state = ssm(draw_events(500, 1, dtype=torch.float32))
    assert (ssm.eigenvalue().abs() <= 1 + 1e-6).all()  # the magnitude of a rounded complex number
    assert torch.isfinite(current).all()
    assert torch.isfinite(state.s.abs()).all()


# Time


@settings(deadline=None, max_examples=20)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 10_000), num_steps=st.integers(2, 20), data=st.data())
def test_steps_halves_samples_and_the_future(kind, seed, num_steps, data):
    ssm, events = make(kind, seed=seed).double(), draw_events(num_steps, 3, seed=seed)
    whole, last = ssm(events)
    close = {"rtol": 1e-12, "atol": 1e-13}  # matrix products of other sizes may sum in another order

    stepped, state = [], None
    for e in events:
        current, state = ssm.step(e, state)
        stepped.append(current)
    torch.testing.assert_close(torch.stack(stepped), whole, **close)
    torch.testing.assert_close(state.s, last.s, **close)

    cut = data.draw(st.integers(1, num_steps - 1))
    first, state = ssm(events[:cut])
    second, state = ssm(events[cut:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, **close)
    torch.testing.assert_close(state.s, last.s, **close)

    changed = events.clone()
    changed[cut:] = 1 - changed[cut:]
    torch.testing.assert_close(ssm(changed)[0][:cut], whole[:cut], **close)  # causal
    assert not torch.allclose(ssm(changed)[0][cut:], whole[cut:])

    order = torch.tensor(data.draw(st.permutations(range(3))))
    torch.testing.assert_close(ssm(events[:, order])[0], whole[:, order], **close)
    torch.testing.assert_close(ssm(events[:, 1:2])[0], whole[:, 1:2], **close)  # alone as in company


@pytest.mark.parametrize("kind", KINDS)
def test_streaming_a_hundred_thousand_steps_keeps_the_state_small(kind):
    ssm = make(kind, 4, 3)
    bytes_per_value = 8 if kind == "complex" else 4
    state = None
    with torch.no_grad():
        for seed in range(200):
            current, state = ssm(draw_events(500, 1, 4, seed=seed, dtype=torch.float32), state)
            assert state.s.untyped_storage().nbytes() == 3 * bytes_per_value
    assert torch.isfinite(current).all()
    assert 0 < state.s.abs().max() < 10


# Gradients


@pytest.mark.parametrize("complex_numbers", [False, True])
@pytest.mark.parametrize("decay_shape", [(5, 2, 3), (3,)])
@pytest.mark.parametrize("num_steps", [1, 5])
def test_gradcheck_of_the_scan(complex_numbers, decay_shape, num_steps):
    generator = torch.Generator().manual_seed(0)
    dtype = torch.complex128 if complex_numbers else torch.float64
    decay_shape = (num_steps, *decay_shape[1:]) if len(decay_shape) == 3 else decay_shape

    def draw(*shape):
        return torch.randn(*shape, dtype=dtype, generator=generator).requires_grad_()

    assert torch.autograd.gradcheck(diagonal_scan, (draw(*decay_shape), draw(num_steps, 2, 3), draw(2, 3)))


def test_gradcheck_of_the_scan_with_a_complex_decay_of_real_inputs():
    generator = torch.Generator().manual_seed(0)
    decay = torch.randn(3, dtype=torch.complex128, generator=generator).requires_grad_()
    inputs = torch.randn(4, 2, 3, dtype=torch.float64, generator=generator).requires_grad_()
    initial = torch.zeros(2, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(diagonal_scan, (decay, inputs, initial))


def test_scan_gradient_equals_autograd_over_a_plain_loop_in_long_runs():
    generator = torch.Generator().manual_seed(0)
    decay = torch.rand(300, 2, 4, dtype=torch.float64, generator=generator).requires_grad_()
    inputs = torch.randn(300, 2, 4, dtype=torch.float64, generator=generator).requires_grad_()
    initial = torch.randn(2, 4, dtype=torch.float64, generator=generator).requires_grad_()
    upstream = torch.randn(300, 2, 4, dtype=torch.float64, generator=generator)
    ours = torch.autograd.grad(diagonal_scan(decay, inputs, initial), (decay, inputs, initial), upstream)
    states, s = [], initial
    for d, x in zip(decay.unbind(0), inputs.unbind(0), strict=True):
        s = d * s + x
        states.append(s)
    expected = torch.autograd.grad(torch.stack(states), (decay, inputs, initial), upstream)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_the_scan_has_no_second_derivative():
    decay = torch.ones(1, requires_grad=True)
    states = diagonal_scan(decay, torch.ones(3, 1, 1), torch.zeros(1, 1))
    with pytest.raises(PnbxError, match="gradients of gradients are not offered, got create_graph=True"):
        torch.autograd.grad(states.sum(), decay, create_graph=True)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_gradcheck_of_rates_and_frequencies(kind):
    ssm, events = make(kind, 3, 2, tau_max=20.0).double(), draw_events(8, 1, 3, seed=4)
    names = ["log_rate"] if kind == "real" else ["log_rate", "omega"]

    def current(*values):
        return functional_call(ssm, dict(zip(names, values, strict=True)), (events,))[0]

    assert torch.autograd.gradcheck(current, tuple(getattr(ssm, name) for name in names))


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_and_the_events_learn(kind):
    ssm, events = make(kind), draw_events(20, 2, dtype=torch.float32).requires_grad_()
    ssm(events)[0].square().sum().backward()
    for name, tensor in (*ssm.named_parameters(), ("events", events)):
        assert torch.isfinite(tensor.grad).all(), name
        assert tensor.grad.abs().max() > 0, name


# Shapes and errors


def test_parameter_counts_of_the_reference_configuration():
    with torch.device("meta"):
        counts = [sum(p.numel() for p in make(kind, 2048, 256).parameters()) for kind in KINDS]
    assert counts == [2_097_152, 2 * 2048 * 256 + 256, 2 * 2048 * 256 + 512]


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_round_trip(kind):
    ssm, other, events = make(kind), make(kind, seed=1, tau_max=50.0), draw_events(5, 2, dtype=torch.float32)
    assert not torch.equal(ssm(events)[0], other(events)[0])
    other.load_state_dict(ssm.state_dict())
    assert torch.equal(ssm(events)[0], other(events)[0])


def test_a_single_state_has_the_smallest_time_constant():
    assert LTISSM(1, 1, tau_min=5.0).log_rate.item() == pytest.approx(-math.log(5.0))


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_options_are_refused(kind):
    name = type(make(kind)).__name__
    with pytest.raises(PnbxValueError, match=f"{name}: d_hidden and d_ssm must be at least 1, got 0 and 4"):
        make(kind, 0, 4)
    with pytest.raises(PnbxValueError, match=f"{name}: d_hidden and d_ssm must be at least 1, got 4 and -1"):
        make(kind, 4, -1)
    for tau_min, tau_max in ((0.0, 10.0), (10.0, 5.0), (1.0, math.inf), (math.nan, 1.0)):
        with pytest.raises(PnbxValueError, match=f"{name}: time constants must be 0 < tau_min <= tau_max < inf, got"):
            make(kind, tau_min=tau_min, tau_max=tau_max)


@pytest.mark.usefixtures("unchecked")
def test_unknown_kind_and_scale_are_refused():
    with pytest.raises(PnbxValueError, match="LTISSM: kind must be one of real, complex, got 'imaginary'"):
        LTISSM(4, 4, kind="imaginary")
    with pytest.raises(PnbxValueError, match="scale must be 'absmean' or 'median', got 'max'"):
        SelectiveSSM(4, 4, scale="max")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_inputs_are_refused(kind):
    ssm = make(kind)
    for shape in ((3, 2, 7), (2, 6), (0, 2, 6), (3, 0, 6)):
        with pytest.raises(
            ShapeError, match=r"SSM: events must be \[T, B, H\] with H = 6 and no empty axis, got shape"
        ):
            ssm(torch.zeros(shape))
    with pytest.raises(
        ShapeError, match=r"events must be \[B, H\] with H = 6 and no empty axis, got shape \[3, 2, 6\]"
    ):
        ssm.step(torch.zeros(3, 2, 6))
    with pytest.raises(PnbxTypeError, match="events must be floating point, got torch.int64; convert with .float()"):
        ssm(torch.zeros(3, 2, 6, dtype=torch.int64))
    for run, events in ((ssm, torch.zeros(3, 2, 6)), (ssm.step, torch.zeros(2, 6))):
        with pytest.raises(ShapeError, match=r"SSM: state.s must be \[B, S\] = \[2, 5\], got \[1, 5\]"):
            run(events, SSMState(torch.zeros(1, 5)))
        if kind != "complex":
            with pytest.raises(PnbxTypeError, match=r"SSM: state.s must be real, got torch.complex64"):
                run(events, SSMState(torch.zeros(2, 5, dtype=torch.complex64)))


@pytest.mark.usefixtures("unchecked")
def test_wrong_scan_arguments_are_refused():
    inputs, initial, decay = torch.zeros(3, 2, 4), torch.zeros(2, 4), torch.zeros(4)
    with pytest.raises(ShapeError, match=r"inputs must be \[T, B, S\], no axis empty, got shape \[2, 4\]"):
        diagonal_scan(decay, inputs[0], initial)
    with pytest.raises(ShapeError, match=r"inputs must be \[T, B, S\], no axis empty, got shape \[0, 2, 4\]"):
        diagonal_scan(decay, inputs[:0], initial)
    for shape in ((5,), (2, 4), (3, 1, 4), ()):
        with pytest.raises(ShapeError, match=r"decay must be \[T, B, S\] = \[3, 2, 4\] or \[S\] = \[4\], got"):
            diagonal_scan(torch.zeros(shape), inputs, initial)
    with pytest.raises(ShapeError, match=r"initial must be \[B, S\] = \[2, 4\], got \[1, 4\]"):
        diagonal_scan(decay, inputs, initial[:1])
    with pytest.raises(PnbxTypeError, match="decay must be floating point or complex, got torch.int64"):
        diagonal_scan(decay.long(), inputs, initial)


def test_the_base_class_is_abstract():
    with pytest.raises(NotImplementedError):
        DiagonalSSM(2, 2)(torch.zeros(1, 1, 2))
