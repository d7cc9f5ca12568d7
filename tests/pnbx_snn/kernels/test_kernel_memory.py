"""Memory of results: used again once nothing holds it, never before, and bounded."""

import gc
import threading

import pytest
import torch

from pnbx_snn import LIF
from pnbx_snn.kernels.cpu import memory

SHAPE = (1 << 20,)  # 4 MiB of float32


@pytest.fixture(autouse=True)
def nothing_kept():
    gc.collect()
    memory._free.clear()
    yield
    memory._free.clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_what_is_free_is_taken_again_and_nothing_else(dtype):
    first = memory.empty((2, 1 << 19), dtype)
    part, address = first[1], first.data_ptr()
    assert address % memory.ALIGNMENT == 0
    assert (first.shape, first.dtype, first.is_contiguous()) == ((2, 1 << 19), dtype, True)
    del first
    second = memory.empty((2, 1 << 19), dtype)  # a view of the first is alive
    assert second.data_ptr() != address
    del part
    assert memory.empty((3, 1 << 19), dtype).data_ptr() != address  # another size
    assert memory.empty((1 << 19, 2), dtype).data_ptr() == address


def test_small_results_are_torchs():
    assert memory.empty((8,), torch.float32).shape == (8,)
    assert not memory._free


def test_what_is_kept_is_bounded():
    held = [memory.empty(SHAPE, torch.float32) for _ in range(40)]
    assert len({tensor.data_ptr() for tensor in held}) == 40
    del held
    assert len(memory._free) == memory._free.maxlen == 32


def test_threads_never_share():
    failures = []

    def work(number):
        for _ in range(200):
            tensor = memory.empty(SHAPE, torch.float32)
            tensor[::4096] = number
            if not (tensor[::4096] == number).all():
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_gradients_of_two_passes_do_not_touch_each_other():
    x = torch.rand(20, 16, 4096, requires_grad=True)
    first, _ = LIF(beta=0.5)(x)
    kept = first.detach().clone()
    (of_x,) = torch.autograd.grad(first.sum(), x)
    kept_grad = of_x.clone()
    second, _ = LIF(beta=0.9)(x)
    torch.autograd.grad(second.sum(), x)
    assert torch.equal(first, kept)
    assert torch.equal(of_x, kept_grad)
    assert first.data_ptr() != second.data_ptr()
