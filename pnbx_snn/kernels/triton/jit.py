"""What the Triton kernels of this package share: how they are compiled and launched, and how they see tensors.

Only what Triton's language builds in is used, none of its library functions: those are compiled or interpreted as it
was when ``triton`` was first imported, our kernels as it is when this package is.
"""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
from torch import Tensor

EXACT = {"enable_fp_fusion": False}
"""Launch option: a product and a sum are rounded each, as in the plain loop; so spikes are equal bit for bit."""

OLDEST = (3, 4)
"""Version of Triton from which on the kernels compile: 3.2 knows no gathers, 3.3 takes minutes over large ones."""

_BACKENDS = {"cuda": ("cuda", "hip"), "xpu": ("xpu",)}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel, or a function that kernels call; without the type checks that tests put around it."""
    return triton.jit(inspect.unwrap(function))


def has_driver(device_type: str) -> bool:
    """Whether Triton has found a driver of this device and is not too old."""
    if tuple(int(part) for part in triton.__version__.split(".")[:2]) < OLDEST:
        return False
    try:
        backend = triton.runtime.driver.active.get_current_target().backend
    except RuntimeError:  # no active driver
        return False
    return backend in _BACKENDS[device_type]


def on_device(tensor: Tensor) -> AbstractContextManager[Any]:
    """Return the context in which kernels are launched where the tensor is: Triton takes the current device."""
    if tensor.device.type == "cpu":  # interpreted
        return nullcontext()
    context: AbstractContextManager[Any] = torch.get_device_module(tensor.device).device(tensor.device)
    return context


def by_step(x: Tensor) -> tuple[Tensor, int]:
    """Return contiguous rows ``[T, units]`` and the distance of two in memory: 0 for one row that stands for all."""
    if len(x) > 1 and x.stride(0) == 0:
        return x[:1].reshape(1, -1).contiguous(), 0
    rows = x.reshape(len(x), -1).contiguous()
    return rows, rows.shape[1]


def by_unit(parameter: Tensor, like: Tensor) -> Tensor:
    """Return a parameter as one number a unit of a step ``[...]``, contiguous, in the step's dtype."""
    return parameter.to(like.dtype).expand(like.shape).contiguous()


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()
