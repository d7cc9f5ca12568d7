"""The weights of a netx file: which integers they may be, which a program holds how, which lava-dl reads wrongly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST, HIGHEST_POSITIVE = -256, 254, 255
"""Weights of a matrix; the last is for a matrix without a negative weight."""
_INT8 = 127  # a Dense holds -127..127


def out_of_range(weights: NDArray[np.int64]) -> str:
    """Say which weight lava-dl would clip, ``""`` if none."""
    low, high = int(weights.min()), int(weights.max())
    top = HIGHEST if low < 0 else HIGHEST_POSITIVE
    if low >= LOWEST and high <= top:
        return ""
    return f"weights reach {high if high > top else low}, netx holds {LOWEST}..{top}"


def misread(weights: NDArray[np.int64]) -> str:
    """Say what keeps lava-dl from reading these weights as they are, ``""`` if nothing does.

    lava-dl scales a matrix by the power of two that fills eight bits. It fails on a matrix of zeros (the logarithm of
    an infinite scale), and scales one without a positive weight whose lowest is a power of two to -256, which Lava
    clips to -255 and then floors: {-1, -1} becomes {0, 0}.

    References
    ----------
    lava-dl ``lava/lib/dl/netx/utils.py``: ``optimize_weight_bits``; Lava 0.10 ``lava/utils/weightutils.py``:
    ``clip_weights``, ``truncate_weights``. Found by running both on 100,000 matrices.
    """
    low, high = int(weights.min()), int(weights.max())
    if low == 0 and high == 0:
        return "all its weights are 0, and lava-dl fails on such a layer"
    if high <= 0 and (-low & (-low - 1)) == 0:
        return f"no weight is positive and the lowest, {low}, is a power of two: lava-dl would clip it"
    return ""


def as_int8(weights: NDArray[np.int64]) -> list[tuple[NDArray[np.int8], int]]:
    """Write weights of -256..255 as one or two matrices of -127..127 with a shift each; their sum is exact."""
    shift, most = 0, int(np.abs(weights).max())
    while most >> shift > _INT8:
        shift += 1
    if not (weights % (1 << shift)).any():
        return [((weights >> shift).astype(np.int8), shift)]
    halves = np.clip(np.sign(weights) * (np.abs(weights) >> 1), -_INT8, _INT8)
    return [(halves.astype(np.int8), 1), ((weights - 2 * halves).astype(np.int8), 0)]
