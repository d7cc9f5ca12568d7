"""Compiled LIF sequences: equal to the loop in value and gradient, as an operator of torch, with and without numba."""

import os
import subprocess
import sys
import textwrap
import warnings
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pnbx_snn.errors import PnbxError
from pnbx_snn.kernels.lif import usable
from pnbx_snn.neurons.leaky import Leaky
from pnbx_snn.neurons.lif import LIF, LIFState
from pnbx_snn.neurons.membrane import MembraneState, membrane_scan
from pnbx_snn.neurons.messages import TorusMessages
from pnbx_snn.surrogate import SURROGATES, Surrogate

RESETS = ["zero", "subtract", "none"]
STEPS = ["leaky", "delayed", "lif_box", "membrane"]
FORMULAS = [name for name in SURROGATES if name != "stochastic_spike_operator"]
TORUS = TorusMessages(12, kappa_shift=1)
# Each gradient is a sum over steps (parameters: and samples) that the loop takes in another order: roundings of 6e-8
# in float32 and 1e-16 in float64.
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-13}


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def parameters(N, dtype=torch.float32, seed=1):
    """Decay and threshold of N neurons; some membranes stay above the threshold after a reset."""
    generator = torch.Generator().manual_seed(seed)
    beta = torch.rand(N, generator=generator, dtype=torch.float64)
    return beta.to(dtype), (0.2 + torch.rand(N, generator=generator, dtype=torch.float64)).to(dtype)


@pytest.fixture
def loop(monkeypatch):
    """Return a switch: ``loop(True)`` lets the plain loops run."""
    asked = []

    def answer(*arguments):
        asked.append(usable(*arguments))
        return asked[-1] and not plain[0]

    plain = [False]
    for name in ("leaky", "cells", "membrane"):
        monkeypatch.setattr(f"pnbx_snn.neurons.{name}.usable", answer)

    def switch(on):
        plain[0] = on

    switch.asked = asked
    return switch


def over_time(step, reset, spike_grad, current, beta, threshold, v, *, traced=True):
    """Spikes and membranes (without ``traced``, the last one) by whatever of the library takes this step."""
    if step == "membrane":
        z0 = (v > 0).to(v.dtype)
        spikes, state = membrane_scan(
            current, beta, threshold, MembraneState(v, z0), reset=reset, spike_grad=spike_grad, messages=TORUS
        )
        return spikes, state.v
    if step == "delayed":
        neuron = Leaky(beta, threshold, spike_grad, reset_mechanism=reset)
        del neuron.beta, neuron.threshold
        neuron.beta, neuron.threshold = beta, threshold  # in the graph of the caller
        return neuron.forward_sequence(current, v)
    lif = LIF(
        beta.detach(), threshold=threshold.detach().clamp(min=0.1), reset=reset, primitive=step, spike_grad=spike_grad
    )
    del lif.cell.beta, lif.cell.threshold
    lif.cell.beta, lif.cell.threshold = beta, threshold
    if traced:
        return lif.trace(current, LIFState(v))
    spikes, state = lif(current, LIFState(v))
    return spikes, state.v


def compare(
    loop,
    step,
    reset,
    *,
    size=(40, 3, 12),
    dtype=torch.float32,
    spike_grad="atan",
    learned=True,
    traced=True,
    scalar=False,
):
    """Run by loop and by kernel: values equal, gradients within the tolerance."""
    beta, threshold = parameters(size[2], dtype)
    if scalar:
        beta, threshold = beta[0], threshold[0]
    results = []
    for plain in (True, False):
        loop(plain)
        leaves = [
            draw(*size, dtype=dtype) * (3 if step == "lif_box" else 1) + 0.2,
            draw(*size[1:], seed=3, dtype=dtype),
        ]
        leaves += [beta.clone(), threshold.clone()]
        for leaf in leaves[: 4 if learned else 2]:
            leaf.requires_grad_()
        current, v, *rest = leaves
        spikes, membrane = over_time(step, reset, spike_grad, current, *rest, v, traced=traced)
        loss = (spikes * draw(*size, seed=4, dtype=dtype)).sum() + (
            membrane * draw(*membrane.shape, seed=5, dtype=dtype)
        ).sum()
        gradients = torch.autograd.grad(loss, [leaf for leaf in leaves if leaf.requires_grad])
        results.append((spikes.detach(), membrane.detach(), gradients))
    assert all(loop.asked)
    (spikes, membrane, gradients), (got_spikes, got_membrane, got) = results
    assert 0.02 < spikes.mean() < 0.98
    assert torch.equal(got_spikes, spikes)
    assert torch.equal(got_membrane, membrane)
    for ours, theirs in zip(got, gradients, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert theirs.abs().max() > 0
        assert (ours - theirs).abs().max() <= TOLERANCE[ours.dtype] * theirs.abs().max().clamp(min=1)


# Values and gradients


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("step", STEPS)
def test_equals_the_loop(step, reset, loop):
    compare(loop, step, reset)


@pytest.mark.parametrize("step", ["leaky", "membrane"])  # every kernel takes seconds to compile
def test_equals_the_loop_in_float64(step, loop):
    compare(loop, step, "subtract", dtype=torch.float64)


@pytest.mark.parametrize("step", ["leaky", "membrane"])
def test_scalar_parameters_get_the_sum_of_their_gradients(step, loop):
    """In float64: a sum of 1440 terms that cancel is less exact in float32 than the tolerance, in the loop too."""
    compare(loop, step, "subtract", scalar=True, dtype=torch.float64)


@pytest.mark.parametrize("primitive", ["leaky", "lif_box"])
def test_the_last_membrane_carries_the_gradient(primitive, loop):
    compare(loop, primitive, "subtract", traced=False, learned=False)


@pytest.mark.parametrize("name", FORMULAS)
def test_every_surrogate_with_a_formula(name, loop):
    params = {"sigmoid": {"slope": 5}, "sparse_fast_sigmoid": {"B": 0.1}}.get(name, {})
    compare(loop, "leaky", "subtract", spike_grad=Surrogate(name, params), traced=False, learned=False)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradients_are_finite_at_every_distance(name, loop):
    """snnTorch's sigmoid, and ours by the kernels, was NaN from 3.4 below the threshold on."""
    distances = torch.cat([torch.linspace(-12, 12, 401), torch.tensor([-3e38, -1e20, -300.0, 300.0, 1e20, 3e38])])
    gradients = []
    for plain in (True, False):
        loop(plain)
        current = (distances + 1).reshape(1, 1, -1).requires_grad_()
        LIF(0.5, reset="subtract", spike_grad=name)(current)[0].sum().backward()
        gradients.append(current.grad.flatten())
    exact = (distances + 1 - 1).double().requires_grad_()  # as the neuron rounds it
    Surrogate(name)(exact).sum().backward()
    for found in gradients:
        assert found.isfinite().all()
        torch.testing.assert_close(found.double(), exact.grad, rtol=3e-5, atol=1e-37)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("reset", RESETS)
def test_nan_and_infinity_go_as_in_the_loop(step, reset, loop):
    """NaN is silent and stays; infinities follow IEEE through the same operations."""
    current = draw(20, 2, 12)
    current[5, 0, 0], current[5, 0, 3], current[5, 0, 6] = torch.nan, torch.inf, -torch.inf
    beta, threshold = parameters(12)
    results = []
    for plain in (True, False):
        loop(plain)
        results.append(over_time(step, reset, "atan", current, beta, threshold, torch.zeros(2, 12)))
    (spikes, membrane), (got_spikes, got_membrane) = results
    assert torch.equal(got_spikes, spikes)
    assert torch.allclose(got_membrane, membrane, rtol=0, atol=0, equal_nan=True)
    assert not got_spikes[5:, 0, 0].any()
    assert got_membrane.reshape(-1, 2, 12)[-1, 0, 0].isnan()


def test_beta_outside_its_range_has_the_gradient_of_clamp():
    lif = LIF(torch.tensor([0.5, 0.5, 0.5]), reset="subtract", learn_beta=True)
    with torch.no_grad():
        lif.cell.beta.copy_(torch.tensor([-0.5, 0.5, 1.5]))
    lif(draw(10, 2, 3) + 0.5)[0].sum().backward()
    assert (lif.beta.grad != 0).tolist() == [False, True, False]


def test_an_input_that_is_constant_over_time_is_not_copied(loop):
    results = []
    for plain in (True, False):
        loop(plain)
        saved = []
        frame = draw(3, 12).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(t) or t, lambda t: t):
            spikes, _ = LIF(0.8, reset="subtract")(frame.expand(50, -1, -1))
        (spikes * draw(50, 3, 12, seed=2)).sum().backward()
        results.append((spikes, frame.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert (results[0][1] - results[1][1]).abs().max() <= TOLERANCE[torch.float32] * results[0][1].abs().max()
    # Of the kernel: the frame, the membranes kept (before twelve fours and two steps), parameters.
    assert sum(t.untyped_storage().nbytes() for t in saved) < 18 * frame.untyped_storage().nbytes()


def test_saves_the_input_and_a_quarter():
    saved = {}

    def keep(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    current = draw(320, 4, 16).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        spikes, _ = LIF(0.9, reset="subtract")(current)
    in_tensors = sum(saved.values()) / current.untyped_storage().nbytes()
    assert 1.25 < in_tensors < 1.26
    assert current.untyped_storage().data_ptr() in saved
    assert spikes.untyped_storage().data_ptr() not in saved


@pytest.mark.parametrize(("step", "N"), [("leaky", 2048), ("delayed", 2048), ("leaky", 2041)])
def test_results_that_go_past_the_caches(step, N, loop):
    """Of 8 MiB and more, where vectors are aligned."""
    compare(loop, step, "subtract", size=(35, 31, N), learned=False)


# Properties

shapes = st.tuples(st.integers(1, 70), st.integers(1, 3), st.sampled_from([1, 2, 7, 8, 9, 33, 600]))


@settings(max_examples=40, deadline=None)
@given(shapes, st.sampled_from(["leaky", "delayed", "lif_box"]), st.sampled_from(["plain", "transposed", "strided"]))
def test_any_shape_and_layout_equals_the_loop_and_its_steps(shape, step, layout):
    T, B, N = shape
    current = draw(T, B, N) + 0.2
    if layout == "transposed":
        current = current.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    if layout == "strided":
        current = torch.stack([current, current], dim=-1)[..., 0]
    beta, threshold = parameters(N)
    v = draw(B, N, seed=3)
    spikes, membranes = over_time(step, "subtract", "atan", current, beta, threshold, v)
    if step == "delayed":
        neuron, state = Leaky(beta, threshold), v
        for t, x in enumerate(current):
            z, state = neuron(x, state)
            assert torch.equal(z, spikes[t])
            assert torch.equal(state, membranes[t])
        return
    lif, state = LIF(beta, threshold=threshold, reset="subtract", primitive=step), LIFState(v)
    for t, x in enumerate(current):
        z, state = lif.step(x, state)
        assert torch.equal(z, spikes[t])
        assert torch.equal(state.v, membranes[t])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 69), st.sampled_from(["leaky", "lif_box"]), st.integers(0, 99))
def test_two_halves_with_carried_state_are_one_run(cut, primitive, seed):
    """In value, and in the gradient that flows through the state."""
    beta, threshold = parameters(9)
    lif = LIF(beta, threshold=threshold, reset="subtract", primitive=primitive)
    results = []
    for halves in (False, True):
        current, v = draw(70, 2, 9, seed=seed).requires_grad_(), draw(2, 9, seed=seed + 1).requires_grad_()
        if halves:
            first, middle = lif(current[:cut], LIFState(v))
            second, last = lif(current[cut:], middle)
            spikes = torch.cat([first, second])
        else:
            spikes, last = lif(current, LIFState(v))
        ((spikes * draw(70, 2, 9, seed=2)).sum() + last.v.sum()).backward()
        results.append((spikes, last.v, current.grad, v.grad))
    for whole, half in zip(*results, strict=True):
        assert torch.equal(whole, half)


# Who takes the loop


def no_quantisation(mem):
    return mem


FALLBACKS = {
    "inhibition": {"inhibition": True},
    "state_quant": {"state_quant": no_quantisation},
    "graded": {"graded_spikes_factor": 0.5},
    "learned size": {"learn_graded_spikes_factor": True},
    "surrogate_disable": {"surrogate_disable": True},
    "callable": {"spike_grad": lambda u: (u > 0).to(u.dtype)},
    "stochastic": {"spike_grad": "stochastic_spike_operator"},
    "tensor in a surrogate": {"spike_grad": Surrogate("atan", {"alpha": torch.tensor(2.0)})},
}


@pytest.mark.parametrize("reason", FALLBACKS)
def test_what_a_kernel_cannot_do_is_left_to_the_loop(reason):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # snnTorch: inhibition is unstable
        neuron, twin = (Leaky(0.9, **FALLBACKS[reason]) for _ in range(2))
    current, mem = draw(9, 3, 5) + 0.5, torch.zeros(3, 5)
    assert neuron.fused(current, mem, traced=True) is None
    spikes, membranes = neuron.forward_sequence(current)
    for t, x in enumerate(current):
        spk, mem = twin(x, mem)
        assert torch.equal(spikes[t], spk)
        assert torch.equal(membranes[t], mem)


class Louder(Leaky):
    def forward(self, input_, mem=None):
        return super().forward(2 * input_, mem)


def test_hooks_and_subclasses_are_heard():
    current, seen = draw(9, 3, 5), []
    neuron = Leaky(0.9)
    expected = neuron.forward_sequence(2 * current)
    assert torch.equal(Louder(0.9).forward_sequence(current)[0], expected[0])
    neuron.register_forward_hook(lambda *call: seen.append(call))
    assert torch.equal(neuron.forward_sequence(2 * current)[0], expected[0])
    assert len(seen) == 9
    lif = LIF(0.9, primitive="lif_box")
    lif.cell.register_forward_hook(lambda *call: seen.append(call))
    lif(current)
    assert len(seen) == 18


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_mixed_dtypes_are_the_callers(dtype):
    one = torch.tensor(0.5)
    assert not usable(draw(2, 1, 3, dtype=dtype), one, one, draw(1, 3, dtype=dtype), Surrogate("atan"))
    wide, x = torch.full((3,), 0.5, dtype=torch.float64), draw(2, 1, 3)
    assert not usable(x, wide, one, x[0], Surrogate("atan"))
    assert usable(x, wide[0], one, x[0], Surrogate("atan"))
    _, state = LIF(wide)(x)  # promotes, as the loop does
    assert state.v.dtype == torch.float64


def test_under_autocast_a_bfloat16_current_is_summed_in_float32():
    torch.manual_seed(0)
    linear = nn.Linear(12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        current = linear(draw(5, 2, 12))
        spikes, state = LIF(0.9)(current)
    assert current.dtype == spikes.dtype == torch.bfloat16
    expected, after = LIF(0.9)(current.float())
    assert torch.equal(spikes.float(), expected)
    assert torch.equal(state.v, after.v)
    with torch.autocast("cpu", torch.bfloat16):
        current = draw(5, 2, 12)
        inside = LIF(0.9, reset="subtract")(current)[0]
    assert torch.equal(inside, LIF(0.9, reset="subtract")(current)[0])


# An operator of torch


@pytest.mark.parametrize(
    ("kind", "torus", "traced"), [("leaky/subtract/atan", (0, 0, 0), True), ("membrane/zero/atan", (3, 4, 1), False)]
)
def test_opcheck(kind, torus, traced):
    z = torch.zeros(2, 12).requires_grad_() if torus[0] else None
    tensors = [draw(5, 2, 12), *parameters(12), draw(2, 12, seed=3)]
    arguments = (*(tensor.requires_grad_() for tensor in tensors), z, kind, (1.0, 3.14), torus, traced)
    done = torch.library.opcheck(torch.ops.pnbx.lif_forward.default, arguments)
    assert set(done.values()) == {"SUCCESS"}


def run(code, **environment):
    """Run a script in a process of its own, without the type checks of the tests."""
    head = "import warnings; warnings.filterwarnings('ignore')\nimport os, sys, torch\ntorch.manual_seed(0)\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_compile_and_export_take_it_whole():
    code = """
    from pnbx_snn.neurons.lif import LIF
    x = torch.randn(5, 2, 12)
    for primitive in ("leaky", "lif_box"):
        lif = LIF(torch.rand(12), reset="subtract", primitive=primitive, learn_beta=True, learn_threshold=True)
        results = []
        for layer in (lif, torch.compile(lif, fullgraph=True, backend="aot_eager")):
            lif.zero_grad()
            current = x.clone().requires_grad_()
            spikes, state = layer(current)
            ((spikes * torch.arange(12)).sum() + state.v.sum()).backward()
            results.append([spikes, state.v, current.grad, lif.beta.grad, lif.threshold.grad])
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
        exported = torch.export.export(lif, (x,))
        assert "pnbx.lif_forward" in str(exported.graph)
        assert torch.equal(exported.module()(x)[0], lif(x)[0])
    """
    run(code)


def test_a_mode_sees_operators_and_gives_the_same():
    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, function, kinds, arguments=(), options=None):
            names.append(str(function))
            return function(*arguments, **(options or {}))

    names, results = [], []
    for mode in (nullcontext(), Names()):
        current = draw(9, 2, 70).requires_grad_()
        with mode:
            spikes, state = LIF(0.9, learn_beta=True)(current)
            (spikes.sum() + state.v.sum()).backward()
        results.append((spikes.detach(), current.grad))
    assert {"pnbx.lif_forward.default", "pnbx.lif_backward.default"} <= set(names)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_second_derivatives_are_refused():
    current = draw(3, 1, 2).requires_grad_()
    spikes, _ = LIF(0.5)(current)
    with pytest.raises(PnbxError, match="got create_graph=True; go step by step"):
        torch.autograd.grad(spikes.sum(), current, create_graph=True)


def test_a_new_length_or_batch_compiles_nothing():
    from pnbx_snn.kernels.cpu.lif_loops import backward_kernel, forward_kernel

    kernels = forward_kernel(0, 1, False), backward_kernel(0, 1, 0, False, False)
    counts = []
    for size in ((3, 2, 5), (80, 1, 5), (7, 4, 600)):
        current = draw(*size).requires_grad_()
        LIF(0.5, reset="subtract")(current)[0].sum().backward()
        counts.append([len(kernel._share.signatures) for kernel in kernels])
    assert counts[0] == counts[1] == counts[2]
    assert counts[0][0] >= 1


# Threads, caches, and no numba at all


def test_two_threads_give_the_same_and_survive_a_fork():
    code = """
    from pnbx_snn.neurons.lif import LIF
    x, results = torch.randn(40, 3, 700), []
    large = torch.randn(2600, 1, 1040)  # results go past the caches, and a half is no whole number of vectors
    torch.set_num_threads(2)
    assert LIF(0.9)(large)[0].sum() > 0
    for threads in (1, 2):
        torch.set_num_threads(threads)
        current = x.clone().requires_grad_()
        spikes, state = LIF(0.9)(current)
        spikes.sum().backward()
        results.append([spikes, state.v, current.grad])
    if os.fork() == 0:
        LIF(0.9)(x)
        os._exit(0)
    assert os.wait()[1] == 0
    assert torch.get_num_threads() == 2
    print(all(torch.equal(a, b) for a, b in zip(*results)), "torch._dynamo" in sys.modules)
    """
    # torch's compiler takes a second to import, and nobody asked for it.
    assert run(code, OMP_NUM_THREADS="2", NUMBA_NUM_THREADS="2") == "True False"


def test_kernels_of_one_function_have_caches_of_their_own():
    from pnbx_snn.kernels.cpu.compiled import Shared

    one, other = (Shared(lambda thread, threads, x: None, tag=tag)._share._cache for tag in ("_one", "_other"))
    assert one.cache_path == other.cache_path
    assert one._cache_file._index_name != other._cache_file._index_name


NUMBA_FREE = """
    from pnbx_snn.neurons.lif import LIF
    from pnbx_snn.neurons.leaky import Leaky
    from pnbx_snn.neurons.membrane import membrane_scan
    x = torch.full((4, 1, 1), 0.75, requires_grad=True)
    a, _ = LIF(0.5)(x)
    b, _ = LIF(0.5, primitive="lif_box")(x * 2)
    c, _ = Leaky(0.5).forward_sequence(x)
    d, _ = membrane_scan(x, torch.tensor(0.5), torch.tensor(1.0))
    (a + b + c + d).sum().backward()
    print([z.flatten().int().tolist() for z in (a, b, c, d)], x.grad.abs().min().item() > 0)
"""
EXPECTED = "[[0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 0], [0, 1, 0, 1]] True"


def test_without_numba_the_loops_run():
    assert run("sys.modules['numba'] = None\n" + textwrap.dedent(NUMBA_FREE)) == EXPECTED


def test_a_read_only_installation_without_a_home_compiles_without_a_cache():
    """As root, who may write anywhere, a test cannot take the places away: numba is told that there are none."""
    code = """
    from numba.core import caching
    caching.CompileResultCacheImpl._locator_classes = []
    from pnbx_snn.neurons.lif import LIF
    from pnbx_snn.kernels.cpu.lif_loops import forward_kernel
    x = torch.full((4, 1, 1), 0.75, requires_grad=True)
    z, _ = LIF(0.5)(x)
    z.sum().backward()
    print(z.flatten().int().tolist(), type(forward_kernel(0, 0, False)._share._cache).__name__)
    """
    assert run(code, HOME="/nonexistent") == "[0, 1, 0, 1] NullCache"
