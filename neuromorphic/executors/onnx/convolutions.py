"""Convolutions with constant weights in exact integers: windows laid out and multiplied, or groups as ``Conv``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.onnx.graph import FLOAT, Tensor
from neuromorphic.executors.onnx.integers import Integers
from neuromorphic.executors.onnx.products import Products, by_digits, digit_product, typed_digit
from neuromorphic.integers.numbers import Pair, num_windows

_MAX_ROW = 1 << 20  # of the magnitudes of the weights of one sum: digits of inputs then have 3 bits


def convolution(
    g: Integers,
    weights: NDArray[np.int8],
    image: Tensor,
    size: Pair,
    low: int,
    high: int,
    products: Products,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Tensor:
    """Return the sums over windows as int32 ``[B, out, rows, columns]``; they must fit.

    Inputs are cut into digits as for :func:`neuromorphic.executors.onnx.products.product`, so that every partial sum is
    a whole number below ``2**24``. Then the windows are laid out, channels last, and multiplied by a matrix: exact on
    every device, and in ONNX Runtime several times faster than its ``ConvInteger``. ``Conv`` is not: other devices may
    choose Winograd's algorithm for it, which rounds, and OpenVINO 2026.4 gives wrong sums for one channel where one
    window fits a row and the stride is above 1. Only groups are left to it, and to ``ConvInteger``, since matrices of
    few rows are slow: none of 2500 random ones was wrong on either runtime.

    Parameters
    ----------
    g : Integers
        Where to compute.
    weights : NDArray[np.int8]
        ``[out, channels / groups, rows, columns]``.
    image : Tensor
        int32, ``[B, channels, height, width]``.
    size : tuple of int
        ``(height, width)``.
    low, high : int
        Range of the image, proven.
    products : str
        As of that function.
    stride, padding, dilation, groups
        As of :meth:`neuromorphic.integers.numbers.NumPy.convolve`.
    """
    rows = weights.reshape(len(weights), -1)
    if np.abs(rows.astype(np.int64)).sum(axis=1).max() > _MAX_ROW:  # two convolutions of half the weights
        first, used = rows.copy(), np.flatnonzero(rows.any(axis=0))
        first[:, used[len(used) // 2 :]] = 0
        halves = (part.reshape(weights.shape) for part in (first, rows - first))
        windows = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return g.add(*(convolution(g, half, image, size, low, high, products, **windows) for half in halves))  # type: ignore[arg-type]
    if any(padding):
        image = g.op("Pad", image, np.array([0, 0, *padding] * 2, dtype=np.int64), 0)
    kernel = weights.shape[2:]
    counts = num_windows(size, kernel, stride, padding, dilation)
    facts = {"strides": list(stride), "dilations": list(dilation), "group": groups}
    places = [
        (np.arange(n)[:, np.newaxis] * by + np.arange(k) * apart).astype(np.int32)
        for n, k, by, apart in zip(counts, kernel, stride, dilation, strict=True)
    ]

    def part(digit: Tensor) -> Tensor:
        typed = typed_digit(g, digit, products)
        if groups > 1 and products == "int8":
            return g.sealed(g.op("ConvInteger", typed, weights, **facts))
        if groups > 1:
            return g.sealed(g.to_integer(g.op("Conv", typed, g.op("Cast", weights, to=FLOAT), **facts)))
        laid = g.op("Transpose", typed, perm=[0, 2, 3, 1])  # [B, height, width, channels]
        laid = g.op("Gather", g.op("Gather", laid, places[0], axis=1), places[1], axis=3)
        laid = g.op("Transpose", laid, perm=[0, 1, 3, 2, 4, 5])  # [B, rows, columns, *kernel, channels]
        laid = g.reshape(laid, -1, counts[0] * counts[1], rows.shape[1])
        summed = digit_product(g, weights.transpose(0, 2, 3, 1).reshape(rows.shape), laid, products)
        return g.reshape(g.op("Transpose", summed, perm=[0, 2, 1]), -1, len(weights), *counts)

    return by_digits(g, rows, image, low, high, part, axes=2)
