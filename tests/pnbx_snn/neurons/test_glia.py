"""Glia: PID oracle and step response, closed loops with LIF populations, damage, freezing, errors."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.neurons.glia import Glia
from pnbx_snn.neurons.lif import LIF
from pnbx_snn.neurons.noise import OUNoise

TARGET = 0.188


def oracle(state, rates, dt, *, target, kp, ki, kd, tau, low, high):
    """One update of all loops, one number at a time; state [domains][2][4], rates [2][domains]."""
    for d in range(len(state)):
        for loop in (0, 1):
            average, integral, previous, _ = state[d][loop]
            average = average + (1 - math.exp(-dt / tau)) * (rates[loop][d] - average)
            error = average - target
            integral = min(max(integral + error * dt, low / ki), high / ki)
            wanted = kp * error + ki * integral + kd * (error - previous) / dt
            state[d][loop] = [average, integral, error, min(max(wanted, low), high)]


gains = st.fixed_dictionaries(
    {"kp": st.floats(0, 4), "ki": st.floats(0.1, 4), "kd": st.floats(0, 2), "tau": st.floats(0.2, 9)}
)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), gains, st.floats(0.01, 0.99), st.floats(-1, -0.1), st.floats(0.1, 1))
def test_updates_equal_the_equations(seed, pid, target, low, high):
    glia = Glia(12, neurons_per_domain=4, target=target, offset_range=(low, high), **pid).double()
    glia.state.unflatten(1, (2, 4))[:, :, 0] = target  # not its float32
    state = [[[target, 0.0, 0.0, 0.0] for _ in range(2)] for _ in range(3)]
    rng = np.random.default_rng(seed)
    for _ in range(8):  # narrow offset ranges: both clamps are met
        rates, dt = rng.random((2, 3)), float(rng.uniform(0.3, 3))
        glia.update(torch.tensor(rates[0]), torch.tensor(rates[1]), dt)
        oracle(state, rates, dt, target=target, low=low, high=high, **pid)
        # float64; a difference of averages is divided by dt and multiplied by up to kd = 2
        np.testing.assert_allclose(glia.state.numpy(), np.reshape(state, (3, 8)), rtol=1e-10, atol=1e-12)
    base = torch.linspace(0.5, 2, 12, dtype=torch.float64)
    for loop, name in enumerate(("encoder", "membrane")):
        expected = [base[n].item() * math.exp(state[n // 4][loop][3]) for n in range(12)]
        np.testing.assert_allclose(glia.thresholds(base, name).numpy(), expected, rtol=1e-10)


def test_step_response_has_its_closed_form():
    # A rate that jumps from the target to target + E and stays: with rho = exp(-1/tau) the error is E (1 - rho^k), its
    # sum E (k - rho (1 - rho^k) / (1 - rho)), its difference E (1 - rho) rho^(k-1).
    kp, ki, kd, tau, jump = 0.8, 0.3, 0.5, 3.0, 0.2
    glia = Glia(16, target=0.3, kp=kp, ki=ki, kd=kd, tau=tau).double()
    glia.state[:, [0, 4]] = 0.3
    rho = math.exp(-1 / tau)
    for k in range(1, 21):
        glia.update(torch.tensor([0.3], dtype=torch.float64), torch.tensor([0.3 + jump], dtype=torch.float64))
        total = k - rho * (1 - rho**k) / (1 - rho)
        expected = jump * (kp * (1 - rho**k) + ki * total + kd * (1 - rho) * rho ** (k - 1))
        assert glia.state[0, 7].item() == pytest.approx(expected, rel=1e-12)
    assert glia.state[0, :4].tolist() == pytest.approx([0.3, 0, 0, 0], abs=1e-15)  # the other loop rests


@pytest.mark.parametrize("steepness", [0.1, 0.2, 0.5, 1.0, 1.7])
def test_a_linear_population_is_held_without_a_lasting_error(steepness):
    glia = Glia(16).double()
    for _ in range(150):
        rate = 0.3 - steepness * glia.state[:, [3, 7]]
        glia.update(rate[:, 0].clamp(0, 1), rate[:, 1].clamp(0, 1))
    assert glia.state[0, [2, 6]].abs().max().item() < 1e-3 * (0.3 - TARGET)
    assert glia.state[0, 7].item() == pytest.approx((0.3 - TARGET) / steepness, rel=1e-2)


class Population:
    """Two layers of LIF neurons driven by Ornstein-Uhlenbeck noise; glia set their thresholds after each chunk."""

    NUM_NEURONS, BATCH, STEPS = 64, 64, 25

    def __init__(self, mean_encoder, mean_membrane, seed=0, **options):
        self.generator = torch.Generator().manual_seed(seed)
        self.glia = Glia(self.NUM_NEURONS, **options)
        self.means = (mean_encoder, mean_membrane)
        self.layers = [LIF(0.9, threshold=torch.ones(self.NUM_NEURONS), primitive="lif_box") for _ in range(2)]
        self.noise = OUNoise(sigma=2.0, tau_steps=3.0)
        self.noises, self.states = [None, None], [None, None]
        self.alive = torch.ones(self.NUM_NEURONS)

    @torch.no_grad()
    def run(self, num_chunks):
        """Return the rates of both layers, [chunks, 2, domains]."""
        history = []
        for _ in range(num_chunks):
            rates = []
            for i, (layer, mean) in enumerate(zip(self.layers, self.means, strict=True)):
                like = torch.empty(self.STEPS, self.BATCH, self.NUM_NEURONS)
                xi, self.noises[i] = self.noise(like, self.noises[i], generator=self.generator)
                spikes, self.states[i] = layer(mean + xi, self.states[i])
                rates.append(self.glia.rates(spikes * self.alive))
            self.glia.update(*rates)
            for layer, loop in zip(self.layers, ("encoder", "membrane"), strict=True):
                layer.threshold.copy_(self.glia.thresholds(1.0, loop))
            history.append(torch.stack(rates))
        return torch.stack(history)


SETTLE = 20  # chunks of 25 steps


@pytest.mark.parametrize("means", [(0.3, 6.0), (6.0, 0.3)])
def test_noisy_populations_reach_the_target_from_both_sides(means):
    population = Population(*means)
    rates = population.run(SETTLE + 15)
    low, high = (0, 1) if means[0] < means[1] else (1, 0)
    assert rates[0, low].max() < 0.08  # where they came from
    assert rates[0, high].min() > 0.35
    settled = rates[SETTLE:]
    assert (settled.mean(2) - TARGET).abs().max() < 0.01  # each chunk, all neurons
    assert (settled.mean(0) - TARGET).abs().max() < 0.01  # each domain, 15 chunks
    offsets = population.glia.state[:, [3, 7]]
    assert offsets[:, low].max() < -0.5
    assert offsets[:, high].min() > 0.5


def test_recovers_after_a_quarter_of_the_neurons_died():
    population = Population(1.5, 3.0)
    before = population.run(SETTLE + 10)[-10:].mean(0)
    population.alive[torch.randperm(population.NUM_NEURONS, generator=population.generator)[:16]] = 0
    after = population.run(SETTLE + 15)
    assert (before - TARGET).abs().max() < 0.01
    assert after[0].mean() < 0.8 * TARGET  # the damage is seen
    assert (after[SETTLE:].mean((0, 2)) - TARGET).abs().max() < 0.01
    assert (after[SETTLE:].mean(0) - TARGET).abs().max() < 0.01  # also in the domain that lost most
    population.alive[:] = 1  # healed: now too active by a third, and back again
    healed = population.run(SETTLE + 15)
    assert healed[0].mean() > 1.2 * TARGET
    assert (healed[SETTLE:].mean((0, 2)) - TARGET).abs().max() < 0.01


def test_without_adaptation_the_damage_stays():
    population = Population(1.5, 3.0)
    population.run(SETTLE)
    population.glia.eval()
    population.alive[::4] = 0
    assert population.run(SETTLE)[-5:].mean() < 0.8 * TARGET


def test_silent_domains_end_at_the_limit_and_do_not_wind_up():
    glia = Glia(16)
    zero, one = torch.zeros(1), torch.ones(1)
    for _ in range(2000):
        glia.update(zero, one)
    assert glia.thresholds(1.0, "encoder").unique().item() == pytest.approx(1 / 16)
    assert glia.thresholds(1.0, "membrane").unique().item() == pytest.approx(16)
    long, short = glia, Glia(16)
    for _ in range(25):
        short.update(zero, one)
    for g in (long, short):
        for _ in range(5):
            g.update(one, zero)
    torch.testing.assert_close(long.state, short.state)  # after 2,000 bad updates as after 25
    assert long.thresholds(1.0, "encoder")[0] > 10 / 16


def test_counts_and_state_dict():
    glia = Glia(2048)
    assert glia.state.shape == (128, 8)
    assert sum(buffer.numel() for buffer in glia.buffers()) == 1024
    assert not list(glia.parameters())
    assert torch.equal(glia.thresholds(1.5, "membrane"), torch.full((2048,), 1.5))
    generator = torch.Generator().manual_seed(0)
    rates = torch.rand(3, 2, 128, generator=generator)
    glia.update(*rates[0])
    other = Glia(2048)
    other.load_state_dict(glia.state_dict())
    assert set(glia.state_dict()) == {"state"}
    for encoder, membrane in rates[1:]:
        glia.update(encoder, membrane)
        other.update(encoder, membrane)
    assert torch.equal(glia.state, other.state)
    assert torch.equal(copy.deepcopy(glia).state, glia.state)
    assert repr(glia).startswith("Glia(2048, domains=128, target=0.188, kp=1, ki=1.5, kd=0.2, tau=2, adapt='training'")


def test_frozen_in_evaluation_unless_asked():
    high = torch.full((2,), 0.9)
    glia, asked = Glia(32).eval(), Glia(32, adapt="always").eval()
    before = glia.state.clone()
    for g in (glia, asked):
        g.update(high, high)
    assert torch.equal(glia.state, before)
    assert (asked.state[:, [3, 7]] > 0).all()
    glia.train().update(high, high)
    assert torch.equal(glia.state, asked.state)


def test_no_gradient_but_for_the_base_and_an_update_leaves_earlier_graphs_alone():
    glia = Glia(4, neurons_per_domain=2)
    rate = torch.tensor([0.5, 0.1], requires_grad=True)
    spikes = torch.ones(3, 1, 4, requires_grad=True)
    glia.update(rate, rate)
    assert not glia.state.requires_grad
    assert not glia.rates(spikes).requires_grad
    assert not glia.thresholds(1.0, "membrane").requires_grad
    base = torch.full((4,), 2.0, requires_grad=True)
    theta = glia.thresholds(base, "membrane")
    factor = theta.detach() / 2
    glia.update(rate, rate)
    theta.sum().backward()
    torch.testing.assert_close(base.grad, factor)


def test_domains_are_independent_and_rates_are_means_of_neighbouring_neurons():
    spikes = torch.zeros(10, 3, 6)
    spikes[:5, :, 2:4] = 1.0
    glia = Glia(6, neurons_per_domain=2)
    assert glia.rates(spikes).tolist() == [0.0, 0.5, 0.0]
    assert glia.rates(spikes[0, 0]).tolist() == [0.0, 1.0, 0.0]
    target = torch.full((3,), TARGET)
    glia.update(target, torch.tensor([TARGET, 0.9, TARGET]))
    assert torch.equal(glia.state[0], glia.state[2])
    assert glia.state[1, 7] > 0.1
    assert glia.state[1, :4].abs()[1:].max() < 1e-6


def test_constructor_errors(unchecked):
    with pytest.raises(
        PnbxValueError,
        match=r"num_neurons must be a multiple of neurons_per_domain, .* got num_neurons=100 and neurons_per_domain=16",
    ):
        Glia(100)
    with pytest.raises(PnbxValueError, match=r"both at least 1, got num_neurons=0 and neurons_per_domain=16"):
        Glia(0)
    for target in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(PnbxValueError, match=rf"target must be in \(0, 1\) .*, got {target}"):
            Glia(16, target=target)
    for pid in ({"ki": 0.0}, {"kp": -1.0}, {"kd": math.inf}):
        with pytest.raises(PnbxValueError, match=r"kp and kd must be >= 0 and ki > 0, all finite, got "):
            Glia(16, **pid)
    with pytest.raises(PnbxValueError, match=r"tau must be > 0, got 0"):
        Glia(16, tau=0.0)
    for limits in ((0.0, 1.0), (-1.0, 0.0), (-math.inf, 1.0)):
        with pytest.raises(PnbxValueError, match=r"offset_range must be \(low, high\) with low < 0 < high, got \("):
            Glia(16, offset_range=limits)
    with pytest.raises(PnbxValueError, match=r"adapt must be 'training' or 'always', got 'never'"):
        Glia(16, adapt="never")


def test_call_errors(unchecked):
    glia = Glia(32)
    good = torch.full((2,), 0.2)
    with pytest.raises(ShapeError, match=r"rate_membrane must be \[2\] \(domains\), got shape \[3\]"):
        glia.update(good, torch.zeros(3))
    for bad in (math.nan, 1.5, -0.25):
        with pytest.raises(PnbxValueError, match=rf"rate_encoder must be in \[0, 1\], got {bad}"):
            glia.update(torch.tensor([0.1, bad]), good)
    with pytest.raises(PnbxValueError, match=r"dt must be > 0 and finite, got 0"):
        glia.update(good, good, 0.0)
    assert torch.equal(glia.state, Glia(32).state)  # a refused update changes nothing
    with pytest.raises(PnbxValueError, match=r"loop must be 'encoder' or 'membrane', got 'soma'"):
        glia.thresholds(1.0, "soma")
    with pytest.raises(PnbxValueError, match=r"base threshold must be > 0, got -1"):
        glia.thresholds(-1.0, "membrane")
    with pytest.raises(ShapeError, match=r"base must be a scalar or \[32\], got shape \[31\]"):
        glia.thresholds(torch.ones(31), "membrane")
    with pytest.raises(PnbxTypeError, match=r"base must be floating point, got torch.int64"):
        glia.thresholds(torch.ones(32, dtype=torch.int64), "membrane")
    with pytest.raises(ShapeError, match=r"spikes must be \[..., 32\] and not empty, got shape \[2, 31\]"):
        glia.rates(torch.zeros(2, 31))
    with pytest.raises(ShapeError, match=r"and not empty, got shape \[0, 32\]"):
        glia.rates(torch.zeros(0, 32))
    with pytest.raises(PnbxTypeError, match=r"spikes must be floating point, got torch.bool"):
        glia.rates(torch.zeros(2, 32, dtype=torch.bool))
