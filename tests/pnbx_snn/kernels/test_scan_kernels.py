"""The compiled diagonal scan: equal to the plain loop in value and gradient, an operator of torch, and long runs."""

import inspect
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnbx_snn.errors import PnbxError
from pnbx_snn.kernels import scan
from pnbx_snn.kernels.scan import diagonal_scan

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


def draw(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def decays(*shape, dtype=torch.float32, seed=0):
    """In the unit disc, some exactly 0 and 1."""
    values = draw(*shape, dtype=dtype, seed=seed)
    values = values / (1 + values.abs())
    values.view(-1)[::5] = 1.0
    values.view(-1)[3::7] = 0.0
    return values


@pytest.fixture(params=["kernels", "loop"])
def path(request, monkeypatch):
    """Run a test with numba and without."""
    if request.param == "loop":
        monkeypatch.setattr(scan, "_kernels", lambda tensor: None)
    return request.param


def both_paths(decay, inputs, initial, upstream):
    """States and gradients by the kernels, then by the loop."""
    results = []
    with pytest.MonkeyPatch.context() as patch:
        for _ in range(2):
            leaves = [x.detach().requires_grad_() for x in (decay, inputs, initial)]
            states = diagonal_scan(*leaves)
            results.append([states.detach(), *torch.autograd.grad(states, leaves, upstream)])
            patch.setattr(scan, "_kernels", lambda tensor: None)
    return results


def assert_close(ours, plain, dtype, of="") -> None:
    # The same operations in the same order, but torch may round a product before it is added where LLVM rounds once.
    tolerance = 1e-5 if dtype in (torch.float32, torch.complex64) else 1e-13
    assert ours.dtype == plain.dtype
    assert ours.shape == plain.shape
    assert (ours - plain).abs().max() <= tolerance * (1 + plain.abs().max()), of


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 5), st.integers(1, 70)),
    dtype=st.sampled_from(DTYPES),
    constant=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_kernels_equal_the_loop(shape, dtype, constant, seed):
    decay = decays(*(shape[2:] if constant else shape), dtype=dtype, seed=seed)
    inputs, initial = draw(*shape, dtype=dtype, seed=seed + 1), draw(*shape[1:], dtype=dtype, seed=seed + 2)
    upstream = draw(*shape, dtype=dtype, seed=seed + 3)
    results = both_paths(decay, inputs, initial, upstream)
    for ours, plain, of in zip(*results, ("states", "decay", "inputs", "initial"), strict=True):
        assert_close(ours, plain, dtype, of)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("constant", [True, False])
def test_more_columns_than_one_piece_and_more_steps_than_one_sum(dtype, constant, monkeypatch):
    kernels = pytest.importorskip("pnbx_snn.kernels.cpu.scan")
    monkeypatch.setattr(kernels, "WIDTH", 64)
    T, B, S = 300, 3, 67  # 201 columns, 300 steps: neither a multiple
    decay = decays(*((S,) if constant else (T, B, S)), dtype=dtype)
    arguments = decay, draw(T, B, S, dtype=dtype, seed=1), draw(B, S, dtype=dtype, seed=2)
    for ours, plain in zip(*both_paths(*arguments, draw(T, B, S, dtype=dtype, seed=3)), strict=True):
        assert_close(ours, plain, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("constant", [True, False])
def test_large_results_are_written_past_the_caches_with_the_same_bits(dtype, constant, monkeypatch):
    kernels = pytest.importorskip("pnbx_snn.kernels.cpu.scan")
    T, B, S = 11, 3, 64  # whole lines
    decay = decays(*((S,) if constant else (T, B, S)), dtype=dtype)
    arguments = decay, draw(T, B, S, dtype=dtype, seed=1), draw(B, S, dtype=dtype, seed=2)
    upstream, chosen, kernel = draw(T, B, S, dtype=dtype, seed=3), [], kernels._forward
    monkeypatch.setattr(kernels, "_forward", lambda *choice: chosen.append(choice[-1]) or kernel(*choice))
    cached = both_paths(*arguments, upstream)[0]
    monkeypatch.setattr(kernels, "STREAMED", 0)
    streamed = both_paths(*arguments, upstream)[0]
    assert chosen == [False, True]
    assert all(torch.equal(one, two) for one, two in zip(cached, streamed, strict=True))


def test_nothing_passes_through_the_last_step():
    """A decay that is infinite in the last step reaches no gradient of the inputs, as in the loop."""
    decay = torch.full((6, 1, 16), 0.5)
    decay[-1] = torch.inf
    inputs = torch.ones(6, 1, 16, requires_grad=True)
    states = diagonal_scan(decay, inputs, torch.ones(1, 16))
    (grad,) = torch.autograd.grad(states, inputs, torch.ones(6, 1, 16))
    assert torch.equal(grad[-1], torch.ones(1, 16))


def test_layouts_that_are_not_contiguous(path):
    inputs = draw(7, 4, 6).transpose(0, 2)  # [6, 4, 7]
    decay, initial = decays(12)[::2][:7].sigmoid().expand(2, 6)[0].repeat(2)[:7], draw(7, 4).T
    dense = diagonal_scan(decay.contiguous(), inputs.contiguous(), initial.contiguous())
    assert torch.equal(diagonal_scan(decay, inputs, initial), dense)
    backwards = decays(4, 6, dtype=torch.complex64).conj()  # a view with the conjugate bit
    states = diagonal_scan(backwards[0], draw(3, 4, 6).to(torch.complex64), torch.zeros(4, 6))
    assert torch.equal(
        states, diagonal_scan(backwards[0].resolve_conj(), draw(3, 4, 6).to(torch.complex64), torch.zeros(4, 6))
    )
    leaf = inputs.detach().requires_grad_()
    diagonal_scan(decay, leaf, initial).sum().backward()  # its gradient is a number seen as a tensor
    expected = torch.autograd.grad(diagonal_scan(decay, leaf, initial), leaf, torch.ones(6, 4, 7))[0]
    assert torch.equal(leaf.grad, expected)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_takes_the_loop(precision):
    states = diagonal_scan(
        torch.tensor([0.5]).to(precision), torch.ones(3, 1, 1).to(precision), torch.zeros(1, 1).half()
    )
    assert states.flatten().tolist() == [1.0, 1.5, 1.75]


@pytest.mark.parametrize("constant", [True, False])
def test_only_what_is_needed_is_differentiated(constant, path):
    decay = decays(*((3,) if constant else (5, 2, 3)))
    inputs = draw(5, 2, 3, seed=1).requires_grad_()
    states = diagonal_scan(decay, inputs, draw(2, 3))
    (alone,) = torch.autograd.grad(states.sum(), inputs)
    both = torch.autograd.grad(diagonal_scan(decay.requires_grad_(), inputs, draw(2, 3)).sum(), (inputs, decay))
    assert torch.equal(alone, both[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("constant", [True, False])
def test_operator_keeps_the_contract_of_torch(dtype, constant, path):
    decay = decays(*((3,) if constant else (4, 2, 3)), dtype=dtype).requires_grad_()
    arguments = decay, draw(4, 2, 3, dtype=dtype).requires_grad_(), draw(2, 3, dtype=dtype).requires_grad_()
    torch.library.opcheck(torch.ops.pnbx_snn.diagonal_scan.default, arguments)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about itself
def test_compiles_and_exports():
    class Doubled(torch.nn.Module):
        def forward(self, decay, inputs, initial):
            return 2 * unchecked(decay, inputs, initial)

    unchecked = inspect.unwrap(diagonal_scan)  # the type checks of the tests cannot be traced
    arguments = decays(3).requires_grad_(), draw(4, 2, 3), draw(2, 3)
    plain = Doubled()(*arguments)
    compiled = torch.compile(Doubled(), backend="aot_eager", fullgraph=True)(*arguments)
    assert torch.equal(compiled, plain)
    grads = [torch.autograd.grad(states.square().sum(), arguments[0])[0] for states in (compiled, plain)]
    assert torch.equal(*grads)
    exported = torch.export.export(Doubled(), tuple(x.detach() for x in arguments))
    assert torch.equal(exported.module()(*arguments), plain)
    assert "pnbx_snn.diagonal_scan" in str(exported.graph)


def test_no_second_derivative(path):
    decay = torch.ones(1, requires_grad=True)
    states = diagonal_scan(decay, torch.ones(3, 1, 1), torch.zeros(1, 1))
    with pytest.raises(PnbxError, match="gradients of gradients are not offered, got create_graph=True"):
        torch.autograd.grad(states.sum(), decay, create_graph=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_gradient_of_a_constant_decay_keeps_its_digits_over_a_hundred_thousand_steps(dtype):
    wide = torch.complex128 if dtype.is_complex else torch.float64
    T = 100_000
    inputs, initial, decay = torch.rand(T, 1, 1).to(dtype), torch.zeros(1, 1, dtype=dtype), torch.full((1,), 0.9)
    found = []
    for kind in (dtype, wide):
        leaf = decay.to(kind).detach().requires_grad_()
        diagonal_scan(leaf, inputs.to(kind), initial.to(kind)).abs().sum().backward()
        found.append(leaf.grad.to(wide))
    # States round at 6e-8; what they sum to must not lose more. All terms are positive: one float32 sum loses 1e-4.
    assert (found[0] - found[1]).abs() < 3e-6 * found[1].abs()


def test_several_threads_give_the_same_bits():
    pytest.importorskip("numba")
    arguments = decays(64).requires_grad_(), draw(20, 9, 64).requires_grad_(), draw(9, 64).requires_grad_()
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            states = diagonal_scan(*arguments)
            results.append([states, *torch.autograd.grad(states.square().sum(), arguments)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_works_without_numba():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import torch; from pnbx_snn.kernels.scan import diagonal_scan\n"
        "d = torch.tensor([0.5], requires_grad=True)\n"
        "s = diagonal_scan(d, torch.ones(3, 1, 1), torch.zeros(1, 1)); s.sum().backward()\n"
        "print(s.flatten().tolist(), d.grad.item())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[1.0, 1.5, 1.75] 3.0"
