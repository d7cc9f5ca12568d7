"""OUNoise: NumPy oracle, stationary closed forms, the two ends of rho, exact continuation, errors."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.neurons.noise import OUNoise, OUState


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(0, 1), st.floats(0, 5), st.booleans())
def test_equals_the_equation_number_by_number(seed, rho, sigma, from_stationary):
    like = torch.zeros(6, 3, 7, dtype=torch.float64)
    state = None if from_stationary else OUState(torch.full((3, 7), 2.5, dtype=torch.float64))
    noise, last = OUNoise(sigma=sigma, rho=rho)(like, state, generator=seeded(seed))

    generator = seeded(seed)  # the same draws, in the documented order
    draws = [torch.randn(3, 7, generator=generator, dtype=torch.float64).numpy() for _ in range(6 + from_stationary)]
    xi = sigma * draws.pop(0) if from_stationary else np.full((3, 7), 2.5)
    for t in range(6):
        for b in range(3):
            for n in range(7):
                xi[b, n] = rho * xi[b, n] + sigma * math.sqrt(1 - rho**2) * draws[t][b, n]
        # float64; the oracle's 1 - rho**2 loses digits near 1: an error of 1e-16 there is one of 1e-8 in its root
        np.testing.assert_allclose(noise[t].numpy(), xi, rtol=1e-12, atol=1e-7)
    assert torch.equal(last.xi, noise[-1])


@pytest.mark.parametrize("tau_steps", [1.0, 5.0, 50.0])
def test_stationary_mean_variance_and_autocorrelation(tau_steps):
    # 40,000 independent processes: standard errors are sigma/200 for the mean and sqrt(2/40,000) = 0.7 % for the
    # variance and below 0.5 % for a correlation; the tolerances are five of them, the seed is fixed.
    sigma, count = 0.7, 40_000
    noise, _ = OUNoise(sigma=sigma, tau_steps=tau_steps)(torch.zeros(21, 1, count), generator=seeded(1))
    x = noise[:, 0].double() / sigma  # [T, count]
    rho = math.exp(-1 / tau_steps)
    for t in (0, 10, 20):  # from the first step on: no transient
        assert x[t].mean().item() == pytest.approx(0.0, abs=5 / math.sqrt(count))
        assert x[t].var().item() == pytest.approx(1.0, abs=5 * math.sqrt(2 / count))
    for k in (1, 2, 5, 20):
        assert (x[0] * x[k]).mean().item() == pytest.approx(rho**k, abs=5 * math.sqrt((1 + rho ** (2 * k)) / count))
    neighbours = (x[5, :-1] * x[5, 1:]).mean().item()
    assert neighbours == pytest.approx(0.0, abs=5 / math.sqrt(count))


def test_a_start_at_zero_relaxes_to_the_stationary_variance():
    count, rho = 40_000, 0.8
    start = OUState(torch.zeros(1, count))
    noise, _ = OUNoise(sigma=1.0, rho=rho)(torch.zeros(10, 1, count), start, generator=seeded(2))
    for t in range(10):
        exact = 1 - rho ** (2 * (t + 1))
        assert noise[t].var().item() == pytest.approx(exact, rel=5 * math.sqrt(2 / count))


def test_rho_zero_is_white_and_rho_one_never_changes():
    like = torch.zeros(4, 2, 8)
    generator = seeded(3)
    white, _ = OUNoise(sigma=2.0, rho=0.0)(like, OUState(torch.ones(2, 8)), generator=seeded(3))
    assert torch.equal(white, torch.stack([2.0 * torch.randn(2, 8, generator=generator) for _ in range(4)]))
    frozen, _ = OUNoise(sigma=2.0, rho=1.0)(like, generator=seeded(3))
    assert torch.equal(frozen, frozen[:1].expand_as(frozen))
    assert frozen[0].std().item() > 1
    assert OUNoise(sigma=1.0, tau_steps=math.inf).rho == 1.0
    silent, _ = OUNoise(sigma=0.0, rho=0.5)(like, generator=seeded(3))
    assert torch.equal(silent, like)


def test_rho_near_one_keeps_its_variance_and_moves_by_the_right_amount():
    tau_steps, count = 1e5, 40_000
    noise, _ = OUNoise(sigma=1.0, tau_steps=tau_steps)(torch.zeros(50, 1, count), generator=seeded(4))
    assert noise[-1].var().item() == pytest.approx(1.0, abs=5 * math.sqrt(2 / count))
    moved = (noise[-1].double() - noise[0].double()).var().item()  # 2 (1 - rho^k)
    assert moved == pytest.approx(-2 * math.expm1(-49 / tau_steps), rel=5 * math.sqrt(2 / count))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 40), st.sampled_from([torch.float32, torch.float64]))
def test_pieces_and_steps_equal_the_whole_to_the_bit(first, second, n, dtype):
    noise = OUNoise(sigma=1.0, rho=0.9)
    like = torch.zeros(first + second, 2, n, dtype=dtype)
    whole, end = noise(like, generator=seeded(5))
    generator = seeded(5)
    start, state = noise(like[:first], generator=generator)
    steps = []
    for t in range(first, first + second):
        xi, state = noise.step(like[t], state, generator=generator)
        steps.append(xi)
    assert torch.equal(torch.cat([start, torch.stack(steps)]), whole)
    assert torch.equal(state.xi, end.xi)
    steps[-1].zero_()  # what the caller does to the noise is no business of the state
    assert torch.equal(state.xi, end.xi)


def test_low_precision_input_keeps_the_state_in_float32():
    like = torch.zeros(30, 1, 1000, dtype=torch.bfloat16)
    noise, state = OUNoise(sigma=1.0, rho=0.999)(like, generator=seeded(6))
    wide, _ = OUNoise(sigma=1.0, rho=0.999)(like.float(), generator=seeded(6))
    assert noise.dtype == torch.bfloat16
    assert state.xi.dtype == torch.float32
    assert torch.equal(noise, wide.to(torch.bfloat16))


def test_it_has_no_parameters_no_gradient_no_mode_and_leaves_the_global_generator_alone():
    noise = OUNoise(sigma=1.0, rho=0.5)
    assert not list(noise.parameters())
    assert not noise.state_dict()
    before = torch.get_rng_state()
    like = torch.ones(3, 2, 4, requires_grad=True)
    training, _ = noise(like, generator=seeded(7))
    assert not training.requires_grad
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(copy.deepcopy(noise).eval()(like, generator=seeded(7))[0], training)
    assert repr(noise) == "OUNoise(sigma=1, rho=0.5)"


def test_constructor_errors():
    with pytest.raises(PnbxValueError, match=r"sigma must be >= 0 and finite, got -1"):
        OUNoise(sigma=-1.0, rho=0.5)
    with pytest.raises(PnbxValueError, match=r"exactly one of tau_steps and rho, got tau_steps=None and rho=None"):
        OUNoise(sigma=1.0)
    with pytest.raises(PnbxValueError, match=r"exactly one of tau_steps and rho, got tau_steps=3.0 and rho=0.5"):
        OUNoise(sigma=1.0, tau_steps=3.0, rho=0.5)
    with pytest.raises(PnbxValueError, match=r"tau_steps must be > 0 steps, got 0"):
        OUNoise(sigma=1.0, tau_steps=0.0)
    for rho in (-0.1, 1.5, math.nan):
        with pytest.raises(PnbxValueError, match=rf"rho must be in \[0, 1\], got {rho}"):
            OUNoise(sigma=1.0, rho=rho)


def test_input_errors(unchecked):
    noise = OUNoise(sigma=1.0, rho=0.5)
    with pytest.raises(ShapeError, match=r"like must be \[T, B, N\] without an empty axis, got shape \[2, 3\]"):
        noise(torch.zeros(2, 3), generator=seeded())
    with pytest.raises(ShapeError, match=r"like must be \[B, N\] without an empty axis, got shape \[0, 3\]"):
        noise.step(torch.zeros(0, 3), generator=seeded())
    with pytest.raises(ShapeError, match=r"state.xi must be \[B, N\] = \[3, 4\], got \[1, 4\]"):
        noise(torch.zeros(2, 3, 4), OUState(torch.zeros(1, 4)), generator=seeded())
    with pytest.raises(PnbxTypeError, match=r"like must be floating point, got torch.int64"):
        noise(torch.zeros(2, 3, 4, dtype=torch.int64), generator=seeded())
    with pytest.raises(PnbxTypeError, match=r"generator must be a torch.Generator, got NoneType"):
        noise(torch.zeros(2, 3, 4), generator=None)
    with pytest.raises(PnbxValueError, match=r"generator must be on meta as like is, got one on cpu"):
        noise(torch.zeros(2, 3, 4, device="meta"), generator=seeded())
