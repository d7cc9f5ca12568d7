"""Ternary arrays at two bits a value, as files hold them: four to a byte, each plus 1, the first in the lowest bits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ProgramError

PER_BYTE = 4
_VALUES = ((np.arange(256)[:, None] >> (2 * np.arange(PER_BYTE)) & 3) - 1).astype(np.int8).view(np.int32)[:, 0]
"""The four values of every byte."""


def is_ternary(array: NDArray[np.int8]) -> bool:
    """Whether every value is -1, 0 or 1."""
    return int(array.min()) >= -1 and int(array.max()) <= 1


def pack_offset_binary(array: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return the values in C order, ``[ceil(size / 4)]``; what the last byte has over is 0.

    Examples
    --------
    >>> pack_offset_binary(np.array([[1, 0, -1], [1, -1, 0]], dtype=np.int8)).tolist()  # 10 01 00 10 from the right
    [134, 4]
    """
    codes = np.zeros(-(-array.size // PER_BYTE) * PER_BYTE, dtype=np.uint8)
    codes[: array.size] = (array.reshape(-1) + np.int8(1)).astype(np.uint8)
    four = codes.reshape(-1, PER_BYTE)
    packed: NDArray[np.uint8] = four[:, 0].copy()
    for i in range(1, PER_BYTE):
        packed |= four[:, i] << np.uint8(2 * i)
    return packed


def unpack_offset_binary(name: str, packed: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Return the int8 array of that shape; a ``ProgramError`` if the bytes are not those of one.

    Examples
    --------
    >>> unpack_offset_binary("w", np.array([134, 4], dtype=np.uint8), (2, 3)).tolist()
    [[1, 0, -1], [1, -1, 0]]
    """
    size = math.prod(shape)
    if packed.dtype != np.uint8 or packed.shape != (-(-size // PER_BYTE),):
        raise ProgramError(
            f"{name}: {list(shape)} ternary values must be uint8[{-(-size // PER_BYTE)}], "
            f"got {packed.dtype}{list(packed.shape)}"
        )
    values = _VALUES[packed].view(np.int8)
    ternary = values[:size]
    if int(ternary.max(initial=0)) > 1:
        raise ProgramError(f"{name}: ternary values are 0, 1 or 2 in two bits, got 3")
    if (values[size:] != -1).any():
        raise ProgramError(f"{name}: bits beyond the last of {size} ternary values must be 0")
    return ternary.reshape(shape)
