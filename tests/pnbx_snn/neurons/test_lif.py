"""LIF: oracle, closed forms, snnTorch and Norse in value and gradient, properties, shapes and errors."""

import copy
import math
import pickle
import sys

import numpy as np
import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters, lif_box_feed_forward_step
from norse.torch.functional.reset import reset_subtract, reset_value
from snntorch import surrogate as snn_surrogate
from torch import nn

from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.neurons.lif import LIF, LIFState, beta_from_tau
from pnbx_snn.surrogate import Surrogate, resolve

RESETS = ["zero", "subtract", "none"]
PRIMITIVES = ["leaky", "lif_box"]
both = pytest.mark.parametrize("primitive", PRIMITIVES)
each_reset = pytest.mark.parametrize("reset", RESETS)
PER_RESET = 70  # random configurations; 3 resets make 210 for each primitive


# ---- the equation, slowly


def oracle(primitive, reset, current, beta, threshold, v):
    """Docstring of LIF, neuron by neuron, in float64."""
    T, B, N = current.shape
    spikes, trace = np.zeros((T, B, N)), np.zeros((T, B, N))
    v = v.copy()
    for t in range(T):
        for b in range(B):
            for n in range(N):
                if primitive == "lif_box":
                    u = v[b, n] + (1 - beta[n]) * (current[t, b, n] - v[b, n])
                    z = 1.0 if u > threshold[n] else 0.0
                    v[b, n] = {"zero": u - z * u, "subtract": u - z * threshold[n], "none": u}[reset]
                else:
                    r = 1.0 if v[b, n] > threshold[n] else 0.0
                    before = (1 - r) * v[b, n] if reset == "zero" else v[b, n]
                    u = beta[n] * before + current[t, b, n] - (r * threshold[n] if reset == "subtract" else 0.0)
                    z = 1.0 if u > threshold[n] else 0.0
                    v[b, n] = {"zero": u - (z - r) * u, "subtract": u - (z - r) * threshold[n], "none": u}[reset]
                spikes[t, b, n], trace[t, b, n] = z, v[b, n]
    return spikes, trace


@both
@each_reset
@pytest.mark.parametrize("seed", range(5))
def test_equals_the_equation(primitive, reset, seed):
    rng = np.random.default_rng(seed)
    T, B, N = 25, 2, 4
    current = rng.normal(0.4, 1.0, (T, B, N)) * (3 if primitive == "lif_box" else 1)
    beta, threshold, v = rng.uniform(0, 1, N), rng.uniform(0.3, 1.5, N), rng.normal(0, 1.5, (B, N))
    lif = LIF(torch.tensor(beta), threshold=torch.tensor(threshold), reset=reset, primitive=primitive)
    spikes, trace = lif.trace(torch.tensor(current), LIFState(torch.tensor(v)))
    expected_spikes, expected_trace = oracle(primitive, reset, current, beta, threshold, v)
    assert expected_spikes.any()
    assert np.array_equal(spikes.numpy(), expected_spikes)
    # the libraries write the same sums in another order: float64 rounding only
    np.testing.assert_allclose(trace.numpy(), expected_trace, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("primitive", "gain"), [("leaky", 1.0), ("lif_box", 0.05)])
def test_step_response(primitive, gain):
    """Leaky: v[t] = I (1 - beta^t) / (1 - beta); lif_box scales the input by 1 - beta."""
    beta, current, T = 0.95, 0.7, 200
    lif = LIF(torch.tensor(beta, dtype=torch.float64), reset="none", primitive=primitive)
    _, v = lif.trace(torch.full((T, 1, 1), current, dtype=torch.float64))
    t = np.arange(1, T + 1)
    np.testing.assert_allclose(v.flatten().numpy(), gain * current * (1 - beta**t) / (1 - beta), rtol=1e-12)


@both
@pytest.mark.parametrize(("beta", "current"), [(0.9, 0.13), (0.95, 0.2), (0.5, 0.9), (0.99, 0.011)])
def test_interspike_interval(primitive, beta, current):
    """From zero the threshold is passed after n steps, n > ln(1 - threshold (1 - beta) / I) / ln(beta)."""
    interval = math.floor(math.log(1 - (1 - beta) / current) / math.log(beta)) + 1
    lif = LIF(torch.tensor(beta, dtype=torch.float64), primitive=primitive)
    scale = 1 / (1 - beta) if primitive == "lif_box" else 1.0
    spikes, _ = lif(torch.full((6 * interval, 1, 1), current * scale, dtype=torch.float64))
    assert (spikes.flatten().nonzero().flatten() + 1).tolist() == [interval * k for k in range(1, 7)]


@both
def test_a_tie_is_silent(primitive):
    lif = LIF(0.0, primitive=primitive)  # v = I
    spikes, _ = lif(torch.tensor([1.0, 1.0 + 2**-23]).reshape(2, 1, 1))
    assert spikes.flatten().tolist() == [0.0, 1.0]


# ---- the libraries


@pytest.fixture
def step_by_step(monkeypatch):
    """Run the definition, bit for bit the libraries'; test_lif_kernels holds the compiled sequence equal to it."""
    for module in ("leaky", "cells"):
        monkeypatch.setattr(f"pnbx_snn.neurons.{module}.usable", lambda *_: False)


FACTORIES = [
    snn_surrogate.atan,
    snn_surrogate.fast_sigmoid,
    lambda: snn_surrogate.sigmoid(slope=5),  # the default, 25, overflows to NaN 3.5 below the threshold
    snn_surrogate.straight_through_estimator,
    snn_surrogate.triangular,
    snn_surrogate.spike_rate_escape,
]


class Configuration:
    """Everything that a comparison varies, drawn from one seed."""

    def __init__(self, seed, primitive, dtype=None):
        rng = np.random.default_rng(seed)
        self.dtype = dtype or [torch.float32, torch.float64][seed % 2]
        T, B, N = rng.integers(1, 13), rng.integers(1, 4), rng.integers(1, 6)
        gain = 6.0 if primitive == "lif_box" else 1.0
        self.current = torch.tensor(rng.normal(0.3, 1.0, (T, B, N)) * gain, dtype=self.dtype)
        self.v = torch.tensor(rng.normal(0, 0.8, (B, N)), dtype=self.dtype) if rng.random() < 0.7 else None
        self.beta = torch.tensor(rng.uniform(0, 1, N if rng.random() < 0.5 else None), dtype=self.dtype)
        self.threshold = torch.tensor(rng.uniform(0.2, 1.5, N if rng.random() < 0.5 else None), dtype=self.dtype)
        self.closure = FACTORIES[rng.integers(len(FACTORIES))]()
        self.learn_beta, self.learn_threshold = (bool(x) for x in rng.random(2) < 0.5)
        self.weights = torch.tensor(rng.normal(size=(2, T, B, N)), dtype=self.dtype)  # of spikes and v in the loss

    def lif(self, primitive, reset, spike_grad):
        return LIF(
            self.beta,
            threshold=self.threshold,
            reset=reset,
            primitive=primitive,
            spike_grad=spike_grad,
            learn_beta=self.learn_beta,
            learn_threshold=self.learn_threshold,
        )

    def run(self, trace, beta, threshold):
        """Spikes, membrane, and the gradients of a random linear loss with respect to everything."""
        current = self.current.clone().requires_grad_()
        v = torch.zeros_like(current[0]) if self.v is None else self.v.clone()
        v.requires_grad_()
        spikes, membrane = trace(current, v)
        leaves = {"current": current, "v": v}
        leaves |= {"beta": beta} if self.learn_beta else {}
        leaves |= {"threshold": threshold} if self.learn_threshold else {}
        loss = (self.weights[0] * spikes).sum() + (self.weights[1] * membrane).sum()
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        return {"spikes": spikes, "membrane": membrane} | dict(zip(leaves, gradients, strict=True))


def assert_identical(got, expected):
    assert got.keys() == expected.keys()
    for name in got:
        assert got[name].dtype == expected[name].dtype, name
        assert torch.equal(got[name], expected[name]), f"{name}: {(got[name] - expected[name]).abs().max()}"


def run_ours(c, lif):
    return c.run(lambda x, v: lif.trace(x, LIFState(v)), lif.beta, lif.threshold)


def run_snntorch(c, reset, spike_grad):
    neuron = snntorch.Leaky(
        c.beta.clone(),
        threshold=c.threshold.clone(),
        spike_grad=spike_grad,
        learn_beta=c.learn_beta,
        learn_threshold=c.learn_threshold,
        reset_mechanism=reset,
        reset_delay=False,
    )

    def trace(current, mem):
        spikes, membranes = [], []
        for step in current:
            spk, mem = neuron(step, mem)
            spikes.append(spk)
            membranes.append(mem)
        return torch.stack(spikes), torch.stack(membranes)

    return c.run(trace, neuron.beta, neuron.threshold)


@each_reset
@pytest.mark.usefixtures("step_by_step")
def test_equals_snntorch(reset):
    """Bit for bit. In float64 snnTorch gets our form of its surrogate, as its own answers float32 (next test), and for
    the sigmoid too, as its own overflows."""
    spikes = 0
    for seed in range(PER_RESET):
        c = Configuration(seed, "leaky")
        same = c.dtype == torch.float32 and resolve(c.closure).name != "sigmoid"
        expected = run_snntorch(c, reset, c.closure if same else resolve(c.closure))
        assert_identical(run_ours(c, c.lif("leaky", reset, c.closure)), expected)
        spikes += int(expected["spikes"].sum())
    assert spikes > 500
    snntorch.SpikingNeuron.instances.clear()


@each_reset
@pytest.mark.usefixtures("step_by_step")
def test_float64_differs_from_snntorch_by_float32_rounding(reset):
    for seed in range(20):
        c = Configuration(seed, "leaky", torch.float64)
        expected, got = run_snntorch(c, reset, c.closure), run_ours(c, c.lif("leaky", reset, c.closure))
        assert expected["spikes"].dtype == torch.float32
        for name in got:
            # snnTorch computes spike * threshold in float32 and sends the gradient through it: up to 12 steps of
            # float32 rounding (6e-8 each), enlarged by surrogates steeper than 1
            size = expected[name].abs().max().item()
            torch.testing.assert_close(got[name], expected[name].double(), rtol=0, atol=1e-4 * size + 1e-6)
    snntorch.SpikingNeuron.instances.clear()


NORSE_RESETS = {"zero": reset_value, "subtract": reset_subtract, "none": lambda z, v, v_reset, th: v}


def run_norse(c, reset, fire=None):
    """Norse's step; with ``fire``, which Norse cannot take, its equation with that surrogate."""
    beta, threshold = c.beta.clone(), c.threshold.clone()
    beta.requires_grad_(c.learn_beta)
    threshold.requires_grad_(c.learn_threshold)

    def trace(current, v):
        p = LIFBoxParameters(tau_mem_inv=1 - beta, v_th=threshold, reset_method=NORSE_RESETS[reset])
        spikes, membranes = [], []
        for step in current:
            if fire is None:
                z, (v,) = lif_box_feed_forward_step(step, LIFBoxFeedForwardState(v), p, dt=1.0)
            else:
                u = v + (1 - beta) * (step - v)
                z = fire(u - threshold)
                v = NORSE_RESETS[reset](z, u, torch.tensor(0.0), threshold)
            spikes.append(z)
            membranes.append(v)
        return torch.stack(spikes), torch.stack(membranes)

    return c.run(trace, beta, threshold)


@each_reset
@pytest.mark.usefixtures("step_by_step")
def test_equals_norse(reset):
    spikes = 0
    for seed in range(PER_RESET):
        c = Configuration(seed, "lif_box")
        expected = run_norse(c, reset)
        assert_identical(run_ours(c, c.lif("lif_box", reset, [None, "super"][seed % 2])), expected)
        spikes += int(expected["spikes"].sum())
    assert spikes > 500


@each_reset
@pytest.mark.usefixtures("step_by_step")
def test_equals_norse_with_surrogates_of_snntorch(reset):
    for seed in range(PER_RESET):
        c = Configuration(seed, "lif_box")
        assert_identical(run_ours(c, c.lif("lif_box", reset, c.closure)), run_norse(c, reset, fire=resolve(c.closure)))


def test_leaky_and_lif_box_spike_alike_on_scaled_input():
    torch.manual_seed(0)
    current = torch.randn(200, 4, 32, dtype=torch.float64) * 0.5 + 0.1
    beta = torch.tensor(0.9, dtype=torch.float64)
    leaky, _ = LIF(beta)(current)
    box, _ = LIF(beta, primitive="lif_box")(current / (1 - beta))
    assert leaky.sum() > 1000
    assert torch.equal(leaky, box)


def test_reset_zero_with_and_without_snntorchs_delay_spikes_alike():
    torch.manual_seed(0)
    current, mem = torch.randn(200, 4, 32) * 0.5 + 0.1, torch.zeros(4, 32)
    default = snntorch.Leaky(0.9, reset_mechanism="zero")  # reset_delay=True
    expected = []
    for step in current:
        spk, mem = default(step, mem)
        expected.append(spk)
    assert torch.equal(LIF(0.9)(current)[0], torch.stack(expected))


def test_after_a_large_overshoot_subtract_compares_one_threshold_lower():
    """The quirk of snntorch.Leaky(subtract, reset_delay=False), kept by "leaky"; Norse does not have it."""
    current = torch.tensor([2.5, 0.25, 0.0]).reshape(3, 1, 1)
    leaky, box = (LIF(1.0, reset="subtract", primitive="leaky"), LIF(0.0, reset="subtract", primitive="lif_box"))
    spikes, v = leaky.trace(current)
    # 2.5 fires and leaves 1.5 > 1. Next u = 1.75 > 1 and stays silent: 1.75 - 1 is compared. Then again.
    assert spikes.flatten().tolist() == [1.0, 0.0, 0.0]
    assert v.flatten().tolist() == [1.5, 1.75, 1.75]
    reference = snntorch.Leaky(1.0, reset_mechanism="subtract", reset_delay=False)
    mem = torch.zeros(1, 1)
    for step, z in zip(current, spikes, strict=True):
        spk, mem = reference(step, mem)
        assert spk.item() == z.item()
    plain, _ = box.trace(torch.tensor([2.5, 1.75, 1.75]).reshape(3, 1, 1))  # beta 0: v = I, the same potentials
    assert plain.flatten().tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("current", "v"), [(0.5, 1.0), (1.5, 1.5)])
def test_zero_from_a_state_above_threshold(current, v):
    """The other half of the quirk: forgotten first, then doubled below the threshold and kept above it."""
    spikes, state = LIF(0.9).step(torch.tensor([[current]]), LIFState(torch.tensor([[3.0]])))
    assert spikes.item() == float(current > 1)
    assert state.v.item() == v


# ---- gradients


def test_gradcheck_below_threshold():
    """Without spikes and reset the layer is smooth."""
    torch.manual_seed(0)
    for primitive in PRIMITIVES:
        lif = LIF(torch.tensor([0.9, 0.5], dtype=torch.float64), threshold=1e3, reset="none", primitive=primitive)

        def last_v(current, v, beta, lif=lif):
            _, state = torch.func.functional_call(lif, {"cell.beta": beta}, (current, LIFState(v)))
            return state.v

        inputs = (torch.randn(5, 2, 2), torch.randn(2, 2), torch.rand(2))
        assert torch.autograd.gradcheck(last_v, [x.double().requires_grad_() for x in inputs])


@both
def test_gradient_passes_through_the_reset(primitive):
    """A spike that resets v changes it with slope -v * surrogate, in the same step."""
    lif = LIF(0.0, primitive=primitive, spike_grad="straight_through_estimator")
    current = torch.tensor([[3.0]], requires_grad=True)
    _, state = lif.step(current)
    state.v.backward()
    assert current.grad.item() == 1 - 1 - 3.0  # d/du (u - z u) = 1 - z - u dz/du


@both
def test_learned_parameters(primitive):
    lif = LIF(torch.full((3,), 0.8), primitive=primitive, learn_beta=True, learn_threshold=True)
    assert {name for name, _ in lif.named_parameters()} == {"cell.beta", "cell.threshold"}
    lif(torch.randn(10, 2, 3) + 1)[0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in lif.parameters())
    assert not list(LIF(0.8, primitive=primitive).parameters())
    current = torch.randn(10, 2, 3) + 1
    for learned, used in ((1.5, 1.0), (-0.5, 0.0)):  # out of its range: clamped where it is used
        with torch.no_grad():
            lif.beta.fill_(learned)
        got, expected = lif.trace(current), LIF(torch.full((3,), used), primitive=primitive).trace(current)
        assert torch.equal(got[0], expected[0])
        assert torch.equal(got[1], expected[1])


# ---- properties

layers = st.fixed_dictionaries(
    {
        "reset": st.sampled_from(RESETS),
        "primitive": st.sampled_from(PRIMITIVES),
        "T": st.integers(1, 12),
        "B": st.integers(1, 4),
        "N": st.integers(1, 9),
        "seed": st.integers(0, 2**32 - 1),
    }
)
property_test = settings(max_examples=60, deadline=None)


def draw(case):
    g = torch.Generator().manual_seed(case["seed"])
    T, B, N = case["T"], case["B"], case["N"]
    gain = 5.0 if case["primitive"] == "lif_box" else 1.0
    lif = LIF(
        torch.rand(N, generator=g),
        threshold=torch.rand(N, generator=g) + 0.2,
        reset=case["reset"],
        primitive=case["primitive"],
    )
    current = (torch.randn(T, B, N, generator=g) + 0.3) * gain
    return lif, current, LIFState(torch.randn(B, N, generator=g))


@property_test
@given(layers)
def test_steps_equal_the_whole(case):
    lif, current, state = draw(case)
    spikes, last = lif(current, state)
    traced, v = lif.trace(current, state)
    assert torch.equal(traced, spikes)
    assert torch.equal(v[-1], last.v)
    for t, step in enumerate(current):
        z, state = lif.step(step, state)
        assert torch.equal(z, spikes[t])
        assert torch.equal(state.v, v[t])


@property_test
@given(layers, st.data())
def test_two_halves_equal_one_run(case, data):
    lif, current, state = draw({**case, "T": case["T"] + 1})
    cut = data.draw(st.integers(1, case["T"]))
    whole, end = lif(current, state)
    first, middle = lif(current[:cut], state)
    second, last = lif(current[cut:], middle)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(last.v, end.v)


@property_test
@given(layers)
def test_samples_are_independent(case):
    lif, current, state = draw(case)
    spikes, v = lif.trace(current, state)
    for b in range(case["B"]):
        alone, v_alone = lif.trace(current[:, b : b + 1], LIFState(state.v[b : b + 1]))
        assert torch.equal(alone, spikes[:, b : b + 1])
        assert torch.equal(v_alone, v[:, b : b + 1])


@property_test
@given(layers, st.data())
def test_the_future_cannot_change_the_past(case, data):
    lif, current, state = draw(case)
    cut = data.draw(st.integers(1, case["T"]))
    other = current.clone()
    other[cut:] = -7.0
    assert torch.equal(lif.trace(current, state)[1][:cut], lif.trace(other, state)[1][:cut])
    current.requires_grad_()
    lif.trace(current, state)[1][:cut].sum().backward()
    assert not current.grad[cut:].any()


@property_test
@given(layers, st.randoms())
def test_permuting_neurons_permutes_the_output(case, random):
    lif, current, state = draw(case)
    order = list(range(case["N"]))
    random.shuffle(order)
    permuted = LIF(lif.beta[order], threshold=lif.threshold[order], reset=lif.reset, primitive=lif.primitive)
    spikes, v = permuted.trace(current[:, :, order], LIFState(state.v[:, order]))
    expected_spikes, expected_v = lif.trace(current, state)
    assert torch.equal(spikes, expected_spikes[:, :, order])
    assert torch.equal(v, expected_v[:, :, order])


# ---- the module


@both
def test_holds_no_state_and_is_in_no_list(primitive):
    before = len(snntorch.SpikingNeuron.instances)
    lif = LIF(0.9, primitive=primitive)
    twins = [lif, copy.deepcopy(lif), pickle.loads(pickle.dumps(lif))]
    assert len(snntorch.SpikingNeuron.instances) == before
    for twin in twins:
        twin(torch.ones(3, 2, 4))
        assert sum(b.numel() for b in twin.buffers()) == 2  # beta and threshold
        left = [value for m in twin.modules() for value in vars(m).values() if isinstance(value, torch.Tensor)]
        assert not any(value.numel() for value in left)
        with pytest.raises(RuntimeError):
            twin(torch.ones(3, 2, 4), LIFState(torch.ones(2, 4, device="meta")))
        assert sum(b.numel() for b in twin.buffers()) == 2  # also after an error in the middle


@both
@each_reset
def test_state_dict(primitive, reset):
    lif = LIF(0.9, threshold=0.7, reset=reset, primitive=primitive)
    assert set(lif.state_dict()) == {"cell.beta", "cell.threshold"}
    other = LIF(0.1, reset=reset, primitive=primitive)
    other.load_state_dict(lif.state_dict())
    assert (other.beta.item(), other.threshold.item()) == (lif.beta.item(), lif.threshold.item())
    assert other.reset == reset


@both
def test_deepcopy_and_pickle_in_training(primitive):
    net = nn.Sequential(nn.Linear(3, 4), LIF(0.9, primitive=primitive, spike_grad=snn_surrogate.fast_sigmoid()))
    x = torch.randn(5, 2, 3) * 3
    net(x)[0].sum().backward()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin(x)[0], net(x)[0])


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_spikes_have_the_dtype_of_the_input(primitive, dtype):
    lif = LIF(torch.full((4,), 0.9), primitive=primitive)
    spikes, state = lif(torch.full((5, 2, 4), 9.0, dtype=dtype))
    assert spikes.dtype == dtype
    assert spikes.sum() > 0
    assert state.v.dtype == torch.promote_types(dtype, torch.float32)


def test_moves_with_the_module():
    lif = LIF(torch.tensor([0.5]), learn_beta=True).double()
    assert lif.beta.dtype == lif.threshold.dtype == torch.float64
    assert lif(torch.ones(2, 1, 1, dtype=torch.float64))[1].v.dtype == torch.float64


def test_tensors_are_copied():
    beta = torch.tensor([0.5, 0.6])
    lif = LIF(beta)
    beta.fill_(0.0)
    assert lif.beta.tolist() == pytest.approx([0.5, 0.6])


def test_repr():
    text = repr(LIF(torch.tensor([0.5, 0.6]), threshold=0.7))
    assert "beta=per neuron, threshold=0.7, reset='zero', primitive='leaky'" in text


def test_never_loads_torchvision():
    LIF(0.9, primitive="lif_box")(torch.ones(1, 1, 1))
    assert "torchvision" not in sys.modules


def test_beta_from_tau():
    assert beta_from_tau(10e-3, 1e-3) == pytest.approx(math.exp(-0.1))
    assert beta_from_tau(math.inf, 1e-3) == 1.0
    for tau_s in (0.0, -1.0, math.nan):
        with pytest.raises(PnbxValueError, match="tau_s must be > 0 seconds, got"):
            beta_from_tau(tau_s, 1e-3)
    for dt_s in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(PnbxValueError, match="dt_s must be > 0 seconds and finite, got"):
            beta_from_tau(1e-2, dt_s)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"beta": 1.3}, PnbxValueError, r"lif: beta must be in \[0, 1\], got 1.3"),
        ({"beta": -0.1}, PnbxValueError, r"lif: beta must be in \[0, 1\], got -0.1"),
        ({"beta": math.nan}, PnbxValueError, r"lif: beta must be in \[0, 1\], got nan"),
        ({"beta": torch.tensor([0.5, 1.5])}, PnbxValueError, r"lif: beta must be in \[0, 1\], got 1.5"),
        ({"beta": 0.9, "threshold": 0.0}, PnbxValueError, "lif: threshold must be > 0 and finite, got 0"),
        ({"beta": 0.9, "threshold": math.inf}, PnbxValueError, "lif: threshold must be > 0 and finite, got inf"),
        ({"beta": 0.9, "reset": "soft"}, PnbxValueError, "lif: reset must be one of zero, subtract, none, got 'soft'"),
        ({"beta": 0.9, "primitive": "lif"}, PnbxValueError, "lif: primitive must be one of leaky, lif_box, got 'lif'"),
        ({"beta": 0.9, "spike_grad": "atn"}, PnbxValueError, "unknown name 'atn', did you mean 'atan'"),
        ({"beta": torch.ones(2, 2)}, ShapeError, r"beta must be a scalar or a vector \[N\], got shape \[2, 2\]"),
        ({"beta": torch.ones(0)}, ShapeError, r"beta must be a scalar or a vector \[N\], got shape \[0\]"),
        (
            {"beta": torch.ones(2), "threshold": torch.ones(3)},
            ShapeError,
            "beta is for 2 neurons, threshold for 3",
        ),
    ],
)
def test_constructor_errors(unchecked, arguments, error, message):
    with pytest.raises(error, match=message):
        LIF(**arguments)


@both
def test_input_errors(unchecked, primitive):
    lif = LIF(torch.full((4,), 0.9), primitive=primitive)
    with pytest.raises(ShapeError, match=r"current must be \[T, B, N\], got shape \[2, 4\]"):
        lif(torch.ones(2, 4))
    with pytest.raises(ShapeError, match=r"current must be \[B, N\], got shape \[3, 2, 4\]"):
        lif.step(torch.ones(3, 2, 4))
    for shape in ([0, 2, 4], [3, 0, 4], [3, 2, 0]):
        with pytest.raises(ShapeError, match="must not have an empty axis, got shape"):
            lif(torch.ones(shape))
    with pytest.raises(ShapeError, match="beta is for 4 neurons, current has 5"):
        lif(torch.ones(3, 2, 5))
    with pytest.raises(ShapeError, match="threshold is for 4 neurons, current has 1"):
        LIF(0.9, threshold=torch.ones(4), primitive=primitive)(torch.ones(3, 2, 1))
    with pytest.raises(ShapeError, match=r"state.v must be \[B, N\] = \[2, 4\], got \[1, 4\]"):
        lif(torch.ones(3, 2, 4), LIFState(torch.ones(1, 4)))
    with pytest.raises(PnbxTypeError, match="current must be floating point, got torch.int64"):
        lif(torch.ones(3, 2, 4, dtype=torch.int64))


def test_reset_and_primitive_are_read_only():
    lif = LIF(0.9)
    with pytest.raises(AttributeError):
        lif.reset = "none"
    with pytest.raises(AttributeError):
        lif.primitive = "lif_box"


def test_surrogate_of_the_primitive_is_the_default():
    assert LIF(0.9).cell.spike_grad == Surrogate("atan")
    assert LIF(0.9, primitive="lif_box").cell.spike_grad == Surrogate("super")
