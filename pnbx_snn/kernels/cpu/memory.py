"""Large results in memory that is used again: to fill a fresh page costs more than what a kernel does with it.

Two results of 16 MiB took 10.1 ms to be filled for the first time from ``torch.empty`` (pages of 4 KiB), 3.8 ms from
NumPy, which asks Linux for pages of 2 MiB (from 4 MiB on). A training step makes and frees the same sizes over
and over: from the second on, a pass of LIF neurons takes a quarter less time.
"""

import ctypes
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGE = 1 << 18
"""Bytes from which a result is worth it: 60 page faults take longer than what a kernel does with so much."""
ALIGNMENT = 64
_free: deque[Any] = deque(maxlen=32)
"""What was given back last; beyond that, it goes back to the system."""


class _Lent:
    """Bytes that come back when the last tensor on them is gone."""

    def __init__(self, num_bytes: int) -> None:
        self.bytes = _take(num_bytes)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        interface: dict[str, Any] = self.bytes.__array_interface__
        return interface

    def __del__(self, free: deque[Any] = _free) -> None:  # the name may be gone when Python ends
        free.append(self.bytes)


def _take(num_bytes: int) -> Any:
    """Return an array of bytes: of those free and of this size, the last one given back, which caches may still hold.

    Other threads may do so too.
    """
    for _ in range(len(_free)):
        try:
            found = _free.pop()
        except IndexError:
            break
        if found.nbytes == num_bytes:
            return found
        _free.appendleft(found)
    return np.empty(num_bytes, np.uint8)


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return contiguous memory for a result.

    A result of 256 KiB or more lies on memory that is stored, once it is free, for the next of its size; at most 32
    such blocks are.

    Examples
    --------
    >>> first = empty((1 << 20,), torch.float32)
    >>> address = first.data_ptr()
    >>> del first
    >>> empty((1024, 1024), torch.float32).data_ptr() == address
    True
    """
    num_bytes = torch.Size(shape).numel() * dtype.itemsize
    if num_bytes < LARGE:
        return torch.empty(shape, dtype=dtype)
    memory = np.asarray(_Lent(num_bytes + ALIGNMENT))
    start = -memory.ctypes.data % ALIGNMENT  # as torch aligns
    return torch.from_numpy(memory[start : start + num_bytes]).view(dtype).view(shape)


def keep_freed_memory() -> None:
    """Let the C library keep what this process frees, up to 1 GiB, for what it asks for next; glibc only.

    Else it gives the end of its memory back after every step of a training, whose fresh pages took a sixth of the next.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for threshold in (_TRIM, _MAP):
            mallopt(threshold, 1 << 30)


_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
