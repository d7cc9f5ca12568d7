"""Matrix products with constant weights, in exact integers, as int8 or as float32."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.onnx.graph import FLOAT, UINT8, Graph, Tensor
from neuromorphic.executors.onnx.integers import floor_shift

Products = Literal["int8", "float32"]
PRODUCTS: tuple[Products, ...] = ("int8", "float32")
MAX_COLUMNS = 1 << 15
_EXACT_BITS = 24


def product(g: Graph, weights: NDArray[np.int8], x: Tensor, low: int, high: int, products: Products) -> Tensor:
    """Return ``weights @ x`` as int32 for ``x`` in ``low..high``; the result must fit.

    Inputs are made non-negative and cut into unsigned digits, so narrow that every sum stays below ``2**24``: OpenVINO
    takes ``MatMulInteger`` as float32. A digit also has at most 7 bits where weights are heavy, since two products of 8
    bits each overflow the 16-bit sums of processors without VNNI, on which ONNX Runtime then saturates.

    Parameters
    ----------
    g : Graph
        Where to compute.
    weights : NDArray[np.int8]
        ``[out, in]``.
    x : Tensor
        int32, ``[B, in]``.
    low, high : int
        Range of ``x``, proven.
    products : str
        ``"int8"``: ``MatMulInteger``. ``"float32"``: ``MatMul`` on weights kept as int8, of which OpenVINO reads a
        quarter of the bytes.
    """
    columns = weights.shape[1]
    if columns > MAX_COLUMNS:
        sizes = [min(MAX_COLUMNS, columns - at) for at in range(0, columns, MAX_COLUMNS)]
        parts = g.ops("Split", x, np.array(sizes, dtype=np.int64), outputs=len(sizes), axis=1)
        starts = np.cumsum([0, *sizes])
        blocks = (weights[:, a:b] for a, b in pairwise(starts))
        return g.add(*(product(g, w, part, low, high, products) for w, part in zip(blocks, parts, strict=True)))
    wide = np.abs(weights.astype(np.int64))
    heaviest, row = max(int(wide.max()), 1), max(int(wide.sum(axis=1).max()), 1)
    bits = min(8 if heaviest <= 64 else 7, _EXACT_BITS - row.bit_length())
    offset = min(low, 0)
    if offset:
        x = g.sub(x, offset)
    span = max(high, 0) - offset
    count = max(1, -(-span.bit_length() // bits))
    if count == 1 and (low, high) != (0, 1):
        x = g.sealed(x)  # what led to it may have more bits
    total = ""
    for i in range(count):
        digit = x if count == 1 else g.bits(floor_shift(g, x, bits * i), (1 << bits) - 1)
        part = g.mul(_digit_product(g, weights, digit, products), 1 << (bits * i))
        total = g.add(total, part) if total else part
    if offset:
        total = g.add(total, (weights.astype(np.int64).sum(axis=1) * offset).astype(np.int32))
    return total


def _digit_product(g: Graph, weights: NDArray[np.int8], digit: Tensor, products: Products) -> Tensor:
    transposed = np.ascontiguousarray(weights.T)  # [in, out]
    if products == "int8":
        return g.sealed(g.op("MatMulInteger", g.cast(digit, UINT8), transposed))
    real = g.op("Mul", g.op("Cast", transposed, to=FLOAT), np.array(1, dtype=np.float32))
    return g.rounded(g.op("MatMul", g.cast(digit, FLOAT), real))
