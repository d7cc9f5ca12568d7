"""Matrix products in exact integers: of constant weights as int8 or as float32, and of two states."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.onnx.graph import FLOAT, UINT8, Tensor
from neuromorphic.executors.onnx.integers import EXACT, Integers, Limbs

Products = Literal["int8", "float32"]
PRODUCTS: tuple[Products, ...] = ("int8", "float32")
MAX_COLUMNS = 1 << 15
_EXACT_BITS = 24
_BLOCK = 512


def product(g: Integers, weights: NDArray[np.int8], x: Tensor, low: int, high: int, products: Products) -> Tensor:
    """Return ``weights @ x`` as int32 for ``x`` in ``low..high``; the result must fit.

    Inputs are made non-negative and cut into unsigned digits, so narrow that every sum stays below ``2**24``: OpenVINO
    takes ``MatMulInteger`` as float32. A digit also has at most 7 bits where weights are heavy, since two products of 8
    bits each overflow the 16-bit sums of processors without VNNI, on which ONNX Runtime then saturates.

    Parameters
    ----------
    g : Integers
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
    return by_digits(
        g, weights, x, low, high, lambda digit: digit_product(g, weights, typed_digit(g, digit, products), products)
    )


def by_digits(
    g: Integers, rows: NDArray[np.int8], x: Tensor, low: int, high: int, part: Callable[[Tensor], Tensor], axes: int = 0
) -> Tensor:
    """Return the sum of what ``part`` makes of the digits of ``x``, each at its place: see :func:`product`.

    Parameters
    ----------
    g, low, high
        As of :func:`product`.
    rows : NDArray[np.int8]
        The weights of each output, ``[out, in]``.
    x : Tensor
        int32, ``[B, ...]``.
    part : callable
        Gives the sums of a digit, int32, ``[B, out, ...]``.
    axes : int
        How many axes those have behind that of outputs.
    """
    wide = np.abs(rows.astype(np.int64))
    heaviest, row = max(int(wide.max()), 1), max(int(wide.sum(axis=1).max()), 1)
    bits = min(8 if heaviest <= 64 else 7, _EXACT_BITS - row.bit_length())
    offset = min(low, 0)
    if offset:
        x = g.integer("Sub", x, offset, peak=high - 2 * offset)
    span = max(high, 0) - offset
    count = max(1, -(-span.bit_length() // bits))
    total = ""
    for i in range(count):
        digit = x if count == 1 else g.bits(g.floor_shift(x, bits * i), (1 << bits) - 1)
        whole = g.mul(part(digit), 1 << (bits * i))
        total = g.add(total, whole) if total else whole
    if offset:
        more = (rows.astype(np.int64).sum(axis=1) * offset).astype(np.int32)
        total = g.add(total, more.reshape(-1, *[1] * axes))
    return total


def typed_digit(g: Integers, digit: Tensor, products: Products) -> Tensor:
    """Return a digit in the type in which it is multiplied."""
    return g.cast(g.narrow(digit), UINT8 if products == "int8" else FLOAT)


def digit_product(g: Integers, weights: NDArray[np.int8], digit: Tensor, products: Products) -> Tensor:
    """Return the sums ``[B, ..., out]`` of a typed digit ``[B, ..., in]`` as int32."""
    transposed = np.ascontiguousarray(weights.T)  # [in, out]
    if products == "int8":
        return g.sealed(g.op("MatMulInteger", digit, transposed))
    real = g.op("Mul", g.op("Cast", transposed, to=FLOAT), np.array(1, dtype=np.float32))
    return g.sealed(g.to_integer(g.op("MatMul", digit, real)))


def matrix_times_vector(g: Integers, matrix: Tensor, peak: int, vector: Tensor, vector_peak: int, width: int) -> Limbs:
    """Return the sums of ``matrix`` ``[B, rows, width]`` times ``vector`` ``[B, 1, width]`` over the last axis.

    The matrix is cut into digits so narrow that their sums are exact in float32.
    """
    block = min(width, _BLOCK)
    bits = EXACT.bit_length() - 1 - (vector_peak - 1).bit_length() - (block - 1).bit_length()
    sizes = np.array([min(block, width - at) for at in range(0, width, block)], dtype=np.int64)

    def blocks(x: Tensor, axis: int) -> tuple[Tensor, ...]:
        return g.ops("Split", x, sizes, outputs=len(sizes), axis=axis) if len(sizes) > 1 else (x,)

    columns: dict[int, list[Tensor]] = {}
    keys = blocks(g.reshape(g.to_float(vector), -1, width, 1), 1)
    for i, digit in enumerate(g.digits(matrix, peak, bits)):
        pairs = zip(blocks(g.to_float(digit), 2), keys, strict=True)
        sums = [g.op("MatMul", part, key) for part, key in pairs]
        columns[bits * i] = [g.sealed(g.to_integer(g.reshape(s, 0, -1))) for s in sums]
    return Limbs(g, columns)
