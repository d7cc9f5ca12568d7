"""Which kernels run on the tensors of a device: the one place of the library that chooses by a device's name."""

import functools
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

Subject = Literal["fast_weights", "gated_scan", "lif", "scan", "ternary"]

_COMPILERS = {"cpu": "cpu", "cuda": "triton", "xpu": "triton"}  # numba on a CPU
_interpreted = False


def kernels(subject: Subject, device_type: str) -> Any:
    """Return the module of a subject's kernels for ``tensor.device.type``; None where the caller has torch's loop.

    On ``"cpu"`` the kernels are numba's; on ``"cuda"`` and ``"xpu"`` they are Triton's, one source for both. None where
    the compiler is not installed, where Triton is older than 3.4 or finds no driver for the device, and on every other
    device.
    """
    if device_type == "cpu" and _interpreted:
        return _load(f"triton.{subject}")
    compiler = _COMPILERS.get(device_type)
    if compiler is None or (compiler == "triton" and not _driven(device_type)):
        return None
    return _load(f"{compiler}.{subject}")


def has_kernels(subject: Subject, device_type: str, together: int = 1) -> bool:
    """Whether :func:`kernels` has something, for ``together`` units that need each other in every step."""
    found = kernels(subject, device_type)
    return found is not None and together <= getattr(found, "MOST_TOGETHER", together)


# What torch.compiler.assume_constant_result sets. Asked for it, torch would import its compiler, which takes seconds.
has_kernels._dynamo_marked_constant = True  # type: ignore[attr-defined]


@contextmanager
def interpreted() -> Iterator[None]:
    """Run Triton's kernels on CPU tensors inside this context, for tests: needs ``TRITON_INTERPRET=1`` from the start.

    Forward and backward pass must lie in the same context: they keep for each other what only they understand.
    """
    global _interpreted
    before, _interpreted = _interpreted, True
    try:
        yield
    finally:
        _interpreted = before


@functools.cache
def _load(module: str) -> Any:
    try:
        return importlib.import_module(f"pnbx_snn.kernels.{module}")
    except ImportError:
        return None


@functools.cache
def _driven(device_type: str) -> bool:
    """Whether Triton is there and compiles for the device."""
    jit = _load("triton.jit")
    return jit is not None and jit.has_driver(device_type)
