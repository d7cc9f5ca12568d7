"""The gated scan: bit for bit the diagonal scan of its gate, gradients, an operator of torch, without numba."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnbx_snn.errors import PnbxError, ShapeError
from pnbx_snn.kernels import gated_scan as module
from pnbx_snn.kernels.gated_scan import gated_scan
from pnbx_snn.kernels.scan import diagonal_scan


def draw(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def arguments(T, B, S, *, dtype=torch.float32, seed=0):
    gate = draw(T, B, S, dtype=dtype, seed=seed).detach() * 3
    gate.view(-1)[::7] = 40.0  # rounds to 1: the state holds
    return gate.requires_grad_(), draw(T, B, S, dtype=dtype, seed=seed + 1), draw(B, S, dtype=dtype, seed=seed + 2)


def plain(gate, inputs, initial):
    keep = torch.sigmoid(gate)
    return diagonal_scan(keep, (1 - keep) * inputs, initial)


def results(run, leaves):
    states = run(*leaves)
    upstream = draw(*states.shape, seed=9).detach().to(states.dtype)
    return [states, *torch.autograd.grad(states, leaves, upstream)]


@settings(max_examples=50)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 4), st.integers(1, 70)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    streamed=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_states_are_bit_for_bit_those_of_the_diagonal_scan(shape, dtype, streamed, seed):
    kernels = pytest.importorskip("pnbx_snn.kernels.cpu.scan")
    leaves = arguments(*shape, dtype=dtype, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "STREAMED", 0 if streamed else 1 << 40)
        states, *gradients = results(gated_scan, leaves)
    expected, *others = results(plain, leaves)
    assert torch.equal(states, expected)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13  # the gate's gradient is g (s - x), not g s - g x
    for ours, other in zip(gradients, others, strict=True):
        assert (ours - other).abs().max() <= tolerance * (1 + other.abs().max())


@pytest.mark.parametrize("T", [1, 3, 4, 9])
def test_gradients_by_finite_differences(T):
    leaves = draw(T, 2, 3, dtype=torch.float64), draw(T, 2, 3, dtype=torch.float64, seed=1), draw(2, 3, seed=2)
    assert torch.autograd.gradcheck(gated_scan, (*leaves[:2], leaves[2].detach().double().requires_grad_()))


def test_several_threads_give_the_same_bits():
    leaves, before, found = arguments(30, 9, 256), torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(results(gated_scan, leaves))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_the_whole_sequence_takes_the_kernels_and_half_precision_does_not(monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(module, "diagonal_scan", lambda *arguments: "the plain form")
    assert isinstance(gated_scan(*arguments(4, 2, 3)), torch.Tensor)
    with pytest.raises(Exception, match="the plain form"):  # no tensor, say the type checks of the tests
        gated_scan(*arguments(4, 2, 3, dtype=torch.bfloat16))


def test_operator_keeps_the_contract_of_torch():
    pytest.importorskip("numba")
    torch.library.opcheck(torch.ops.pnbx_snn.gated_scan.default, arguments(5, 2, 3))


def test_shapes_that_do_not_fit_are_refused(unchecked):
    gate, inputs, initial = arguments(4, 2, 3)
    with pytest.raises(ShapeError, match=r"initial must be \[B, S\] = \[2, 3\], got \[1, 3\]"):
        gated_scan(gate, inputs, initial[:1])
    with pytest.raises(ShapeError, match=r"gate must be \[T, B, S\] = \[4, 2, 3\] like the inputs, got \[2, 2, 3\]"):
        gated_scan(gate[:2], inputs, initial)


def test_no_second_derivative():
    leaves = arguments(3, 1, 2)
    with pytest.raises(PnbxError, match="gradients of gradients are not offered, got create_graph=True"):
        torch.autograd.grad(gated_scan(*leaves).sum(), leaves, create_graph=True)


def test_works_without_numba():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import torch; from pnbx_snn.kernels.gated_scan import gated_scan\n"
        "g = torch.zeros(3, 1, 1, requires_grad=True)\n"
        "s = gated_scan(g, torch.ones(3, 1, 1), torch.zeros(1, 1)); s.sum().backward()\n"
        "print(s.flatten().tolist(), g.grad.flatten().tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[0.5, 0.75, 0.875] [-0.4375, -0.1875, -0.0625]"
