"""What the compiled loops of this package share: numba, its cache, torch's number of threads, memory for results."""

import inspect
import types
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

_HUGE = 4 << 20  # bytes from which NumPy asks for huge pages


class Compiled:
    """A kernel twice: for several threads, and for one, which then starts no others (and survives a fork).

    Division follows IEEE, as in torch: by zero it gives infinity or NaN and raises nothing. Nothing is contracted to
    a fused multiply-add. A function may have free variables if they are numbers: they are constants of the kernel.

    Parameters
    ----------
    function
        What to compile; its outer loops are ``numba.prange``.
    tag
        Tells apart kernels made from the same function with other free variables.
    """

    def __init__(self, function: Callable[..., None], tag: str = "") -> None:
        function = inspect.unwrap(function)  # tests wrap every function of the package in type checks
        self._parallel = _compile(function, f"{function.__name__}{tag}_parallel", parallel=True)
        self._serial = _compile(function, f"{function.__name__}{tag}_serial")

    def __call__(self, *arguments: Any) -> None:
        """Run with as many threads as torch would take."""
        threads = num_threads()
        if threads == 1:
            self._serial(*arguments)
            return
        numba.set_num_threads(threads)
        self._parallel(*arguments)


class Shared:
    """A kernel whose threads each do their share: ``function(thread, threads, *arguments)``.

    Otherwise as :class:`Compiled`; its loops are compiled once, not once for one thread and once, for twice as long,
    for several.
    """

    def __init__(self, function: Callable[..., None], tag: str = "") -> None:
        function = inspect.unwrap(function)
        name = f"{function.__name__}{tag}"
        self._share = _compile(function, f"{name}_share")

        def threaded(threads, *arguments):  # type: ignore[no-untyped-def]
            for thread in numba.prange(threads):
                share(thread, threads, *arguments)  # type: ignore[name-defined]

        threaded = inspect.unwrap(threaded)
        # As if it stood in the file of the function: numba compiles a cached kernel again when its file changes.
        code = threaded.__code__.replace(co_filename=function.__code__.co_filename)
        threaded = types.FunctionType(code, {**function.__globals__, "numba": numba, "share": self._share})
        self._threaded = _compile(threaded, f"{name}_threaded", parallel=True)

    def __call__(self, threads: int, *arguments: Any) -> None:
        """Run with this number of threads, at most :func:`num_threads`."""
        if threads == 1:
            self._share(0, 1, *arguments)
            return
        numba.set_num_threads(threads)
        self._threaded(threads, *arguments)


def _compile(function: Callable[..., None], name: str, *, parallel: bool = False) -> Callable[..., None]:
    # A copy of its own: numba names the files of its cache by the qualified name, and neither the names nor the
    # keys in them say whether a kernel is parallel.
    named = types.FunctionType(function.__code__, function.__globals__, name, None, function.__closure__)
    named.__qualname__ = name
    try:
        kernel: Callable[..., None] = numba.njit(parallel=parallel, cache=True, error_model="numpy")(named)
    except RuntimeError:  # nowhere to keep the cache: a read-only installation without a home
        kernel = numba.njit(parallel=parallel, error_model="numpy")(named)
    return kernel


def num_threads() -> int:
    """Return the number of threads a kernel will take: torch's, unless numba has been given fewer."""
    return min(torch.get_num_threads(), int(numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function into the kernels that call it."""
    # Without entries from Python and C, which nobody takes: a quarter less to compile.
    options: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    bare = numba.njit(error_model="numpy", **options)
    inlined: Callable[..., Any] = bare(inspect.unwrap(function))
    return inlined


def array(tensor: Tensor) -> Any:
    """Return a CPU tensor as a NumPy array on the same memory."""
    return tensor.detach().numpy()


def empty_like(tensor: Tensor) -> Tensor:
    """Return contiguous memory for a result, of the shape and dtype of ``tensor``, with huge pages if it is large.

    A fresh page costs more than what a kernel does with it: two results of 16 MiB took 10.1 ms to be filled for the
    first time from ``torch.empty`` (4 KiB pages) and 3.8 ms from NumPy, which asks Linux for pages of 2 MiB.
    """
    num_bytes = tensor.numel() * tensor.element_size()
    if num_bytes < _HUGE:
        return torch.empty_like(tensor, memory_format=torch.contiguous_format)
    memory = np.empty(num_bytes + 64, np.uint8)
    start = -memory.ctypes.data % 64  # as torch aligns
    return torch.from_numpy(memory[start : start + num_bytes]).view(tensor.dtype).view(tensor.shape)
