"""What the compiled loops of this package share: numba at the first call, its cache, and torch's number of threads."""

import inspect
import types
from collections.abc import Callable
from typing import Any

import numba
import torch
from torch import Tensor


class Compiled:
    """A kernel twice: for several threads, and for one, which then starts no others (and survives a fork)."""

    def __init__(self, function: Callable[..., None]) -> None:
        function = inspect.unwrap(function)  # tests wrap every function of the package in type checks
        self._parallel = self._compile(function, parallel=True)
        self._serial = self._compile(function, parallel=False)

    def __call__(self, *arguments: Any) -> None:
        """Run with as many threads as torch would take."""
        threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        if threads == 1:
            self._serial(*arguments)
            return
        numba.set_num_threads(threads)
        self._parallel(*arguments)

    @staticmethod
    def _compile(function: Callable[..., None], *, parallel: bool) -> Callable[..., None]:
        # A copy of its own: numba names the files of its cache by the function.
        named = types.FunctionType(function.__code__, function.__globals__, f"{function.__name__}_{parallel}")
        try:
            kernel: Callable[..., None] = numba.njit(parallel=parallel, cache=True)(named)
        except RuntimeError:  # nowhere to keep the cache: a read-only installation without a home
            kernel = numba.njit(parallel=parallel)(named)
        return kernel


def inlined(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function into the kernels that call it."""
    inlined: Callable[..., None] = numba.njit(inline="always")(inspect.unwrap(function))
    return inlined


def array(tensor: Tensor) -> Any:
    """Return a CPU tensor as a NumPy array on the same memory."""
    return tensor.detach().numpy()
