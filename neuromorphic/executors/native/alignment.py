"""Arrays that begin at a line of the processor's cache: a vector that crosses two of them is loaded twice."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

LINE_BYTES = 64


def aligned_zeros(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Return zeros from a line of the cache on."""
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.zeros(num_bytes + LINE_BYTES, dtype=np.uint8)
    start = -room.ctypes.data % LINE_BYTES
    return room[start : start + num_bytes].view(dtype).reshape(shape)


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy from a line of the cache on."""
    copy = aligned_zeros(array.shape, array.dtype.type)
    copy[...] = array
    return copy
