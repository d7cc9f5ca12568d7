"""The compiled fast weights: the recurrence and its gradients, an operator of torch, without numba too."""

import inspect
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnbx_snn.errors import PnbxError
from pnbx_snn.kernels.fast_weights import fast_weights_scan, usable
from pnbx_snn.layers import fast_weights
from pnbx_snn.layers.fast_weights import delta_read, hebbian_read

pytest.importorskip("numba")


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def arguments(T, B, r, *, dtype=torch.float64, seed=0):
    keys = draw(T, B, r, dtype=dtype, seed=seed).clamp(-1, 1)
    leaves = keys, draw(B, r, r, dtype=dtype, seed=seed + 1), draw(B, r, dtype=dtype, seed=seed + 2)
    return tuple(x.requires_grad_() for x in leaves)


def by_steps(keys, F, key, decay, rate, delta):
    """The definition."""
    reads = []
    for k in keys:
        target = k - (F @ key[..., None])[..., 0] if delta else k
        F = decay * F + rate * target[..., None] * key[..., None, :]
        reads.append((F @ k[..., None])[..., 0])
        key = k
    return torch.stack(reads), F


def results(run, leaves, *options):
    reads, F = run(*leaves, *options)
    upstream = draw(*reads.shape, seed=7).to(reads.dtype), draw(*F.shape, seed=8).to(F.dtype)
    return [reads, F, *torch.autograd.grad((reads, F), leaves, upstream)]


def compiled(keys, F0, key0, decay, rate, delta):
    return fast_weights_scan(keys, F0, key0, decay, rate, delta=delta)


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 23), st.integers(1, 3), st.integers(1, 40)),
    decay=st.sampled_from([0.0, 0.5, 31 / 32, 1.0]),
    delta=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 10_000),
)
def test_values_and_gradients_are_those_of_the_steps(shape, decay, delta, dtype, seed):
    leaves = arguments(*shape, dtype=dtype, seed=seed)
    options = decay, 0.5 / shape[2], delta
    tolerance = 2e-5 if dtype == torch.float32 else 1e-12  # sums in another order
    for ours, plain in zip(results(compiled, leaves, *options), results(by_steps, leaves, *options), strict=True):
        assert ours.dtype == dtype
        assert (ours - plain).abs().max() <= tolerance * (1 + plain.abs().max())


@pytest.mark.parametrize("delta", [True, False])
@pytest.mark.parametrize("T", [1, 2, 4, 5, 10])
def test_gradients_by_finite_differences(delta, T):
    leaves = arguments(T, 2, 3)
    assert torch.autograd.gradcheck(lambda *x: compiled(*x, 0.75, 0.25, delta), leaves)


@pytest.mark.parametrize("delta", [True, False])
def test_the_kernels_are_what_a_layer_takes_and_equal_its_products(delta, monkeypatch):
    read = delta_read if delta else hebbian_read
    leaves = arguments(130, 2, 20)
    assert usable(leaves[0])
    found = results(lambda keys, *start: read(keys, 31 / 32, 1 / 64, *start)[:2], leaves)
    monkeypatch.setattr(fast_weights, "usable", lambda keys: False)
    for ours, blocks in zip(
        found, results(lambda keys, *start: read(keys, 31 / 32, 1 / 64, *start)[:2], leaves), strict=True
    ):
        assert not torch.equal(ours, blocks)  # it was not the same code
        torch.testing.assert_close(ours, blocks, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("delta", [True, False])
def test_several_threads_give_the_same_bits(delta):
    leaves = arguments(70, 5, 64, dtype=torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(results(compiled, leaves, 0.9, 0.01, delta))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_layouts_that_are_not_contiguous():
    keys, F0, key0 = arguments(9, 3, 16, dtype=torch.float32)
    turned = keys.detach().transpose(0, 2).contiguous().transpose(0, 2), F0.detach().mT.contiguous().mT, key0.detach()
    plain = compiled(keys.detach(), F0.detach(), key0.detach(), 0.9, 0.01, True)
    assert all(torch.equal(*both) for both in zip(compiled(*turned, 0.9, 0.01, True), plain, strict=True))
    (constant,) = torch.autograd.grad(compiled(keys, F0, key0, 0.9, 0.01, True)[0].sum(), keys)  # one number, expanded
    reads, _ = compiled(keys, F0, key0, 0.9, 0.01, True)
    assert torch.equal(constant, torch.autograd.grad(reads, keys, torch.ones_like(reads))[0])
    assert torch.equal(turned[1], F0)  # what is given stays as it is


@pytest.mark.parametrize("delta", [True, False])
def test_operator_keeps_the_contract_of_torch(delta):
    leaves = arguments(6, 2, 3, dtype=torch.float32)
    torch.library.opcheck(torch.ops.pnbx_snn.fast_weights.default, (*leaves, 0.9, 0.1, delta))


@pytest.mark.parametrize("delta", [True, False])
def test_gradients_of_only_the_reads_or_only_the_last_fast_weights(delta):
    leaves = arguments(9, 2, 5)
    for which in (0, 1):
        ours, plain = (run(*leaves, 0.9, 0.1, delta)[which].sum() for run in (compiled, by_steps))
        for one, other in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(plain, leaves), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


def test_no_second_derivative():
    leaves = arguments(3, 1, 2)
    reads, _ = compiled(*leaves, 0.9, 0.1, True)
    with pytest.raises(PnbxError, match="gradients of gradients are not offered over whole sequences"):
        torch.autograd.grad(reads.sum(), leaves, create_graph=True)


def test_a_transformed_function_goes_by_products():
    read = inspect.unwrap(hebbian_read)  # the type checks of the tests know no transformed tensors
    keys, F0, key0 = (x.detach() for x in arguments(5, 2, 3))
    slope = torch.func.grad(lambda k: read(k, 0.9, 0.1, F0, key0)[0].sum())(keys)
    leaf = keys.requires_grad_()
    expected = torch.autograd.grad(read(leaf, 0.9, 0.1, F0, key0)[0].sum(), leaf)[0]
    torch.testing.assert_close(slope, expected)


CODE = """
import torch
from pnbx_snn.layers.fast_weights import delta_read
keys = torch.randn(21, 2, 40, generator=torch.Generator().manual_seed(0)).requires_grad_()
reads, F, _ = delta_read(keys, 0.9, 0.01, torch.zeros(2, 40, 40), torch.zeros(2, 40))
(reads.square().sum() + F.sum()).backward()
print(f"{float(reads.double().sum()):.9g} {float(keys.grad.double().sum()):.9g}")
"""


def run_on(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout.split()


def test_narrower_vectors_give_the_same_bits_and_no_numba_the_same_numbers(tmp_path):
    here = run_on(CODE)
    avx2 = run_on(CODE, NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="", NUMBA_CACHE_DIR=str(tmp_path))
    assert here == avx2
    sse = run_on(CODE, NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="", NUMBA_CACHE_DIR=str(tmp_path))  # nothing fused
    without = run_on("import sys; sys.modules['numba'] = None\n" + CODE)
    for other in (sse, without):
        assert [float(x) for x in other] == pytest.approx([float(x) for x in here], rel=1e-4)
