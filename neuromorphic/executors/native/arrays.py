"""How an array of NumPy lies in memory: compiled code looks at it by itself, which takes less time than asking Python.

What NumPy's C interface promises is an address, two numbers of 32 bits and so on after the head of every object.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from neuromorphic.errors import ExecutorError

# Words of 64 bits from the start of the object. Of two of them only the lower half counts.
_HEAD = object.__basicsize__ // 8
AT_TYPE, AT_DATA, AT_NUM_DIMENSIONS, AT_SHAPE, AT_DTYPE, AT_FLAGS = (_HEAD + i for i in (-1, 0, 1, 2, 5, 6))
CARRAY = 0x1 | 0x100 | 0x400
"""Of the flags: without gaps, aligned, writable."""

TYPES = id(np.ndarray), id(np.dtype(np.int32)), id(np.dtype(np.uint64))
"""An array, and the types of items that compiled code takes, by where they lie: none of them ever goes."""


def as_expected(array: np.ndarray[Any, Any]) -> bool:
    """Whether an array lies in memory as compiled code thinks."""
    words = (ctypes.c_int64 * (AT_FLAGS + 1)).from_address(id(array))
    addresses = (words[AT_TYPE], words[AT_DATA], words[AT_DTYPE])
    if addresses != (id(type(array)), array.ctypes.data, id(array.dtype)):
        return False
    if words[AT_NUM_DIMENSIONS] & 0xFFFFFFFF != array.ndim:
        return False
    shape = (ctypes.c_int64 * array.ndim).from_address(words[AT_SHAPE]) if array.ndim else ()
    return tuple(shape) == array.shape and (words[AT_FLAGS] & CARRAY == CARRAY) == array.flags.carray


_probes = (np.zeros((2, 3), dtype=np.int32), np.zeros((3, 1), dtype=np.uint64), np.zeros((4, 2), dtype=np.int32)[::2])
if not all(as_expected(probe) for probe in _probes):
    raise ExecutorError(
        "native: arrays lie otherwise in memory in this Python; the executor numpy gives the same numbers"
    )
