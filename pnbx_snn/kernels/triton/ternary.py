"""Events and bytes times ternary weights on a GPU: two bits a weight and one an event cross the memory; sums are exact.

Weights lie in memory as :func:`pnbx_snn.training.packed.pack_sign_bits` packs them: four to a byte, row by row, 00 for
0, 01 for 1, 10 for -1. A program unpacks them to bytes on the way to the units that multiply bytes and add in 32 bits.

Where the CPU looks up sums for the gradients, a GPU multiplies matrices: that is left to torch.
"""

from collections.abc import Sequence

import torch
import triton.language as tl
from torch import Tensor

from pnbx_snn.kernels.triton.jit import kernel, on_device

DENSEST = -1.0
"""Share of active inputs up to which gradients are gathered: never."""
BLOCK = 256
FEW_ROWS, ROWS, OUTPUTS, INPUTS = 16, 64, 64, 64
"""Sizes of a tile; not tuned on a GPU."""


@kernel
def _pack_weights(weight, codes, size, BLOCK: tl.constexpr):
    byte = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    packed = tl.full((BLOCK,), 0, tl.int32)
    for j in tl.static_range(4):
        at = byte.to(tl.int64) * 4 + j
        w = tl.load(weight + at, mask=at < size, other=0.0)
        code = (w > 0).to(tl.int32) + 2 * (w < 0).to(tl.int32)
        packed = packed | (code << (2 * j))
    tl.store(codes + byte, packed.to(tl.uint8), mask=byte < (size + 3) // 4)


@kernel
def _pack_events(x, bits, other, R, K, row_bytes, BLOCK: tl.constexpr):
    """Eight inputs a byte, the first in the lowest bit; ``other`` becomes 1 if one of them is neither 0 nor 1."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = at // row_bytes
    inside = row < R
    packed = tl.full((BLOCK,), 0, tl.int32)
    for j in tl.static_range(8):
        k = at % row_bytes * 8 + j
        there = inside & (k < K)
        value = tl.load(x + row.to(tl.int64) * K + k, mask=there, other=0.0)
        packed = packed | ((value == 1.0).to(tl.int32) << j)
        tl.store(other + tl.full((BLOCK,), 0, tl.int32), 1, mask=there & (value != 0.0) & (value != 1.0))
    tl.store(bits + at, packed.to(tl.uint8), mask=inside)


@kernel
def _product(
    x, codes, y, R, N, K, row_bytes, EVENTS: tl.constexpr, ROWS: tl.constexpr, OUTPUTS: tl.constexpr,
    INPUTS: tl.constexpr,
):  # fmt: skip
    """Rows of ``x`` are events, eight to a byte, or signed bytes."""
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    n = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    sums = tl.full((ROWS, OUTPUTS), 0, tl.int32)
    rows = x + r[:, None].to(tl.int64) * row_bytes
    for first in range(0, K, INPUTS):
        k = first + tl.arange(0, INPUTS)
        there = (r < R)[:, None] & (k < K)[None, :]
        if EVENTS:
            byte = tl.load(rows + (k >> 3)[None, :], mask=there, other=0).to(tl.int32)
            values = ((byte >> (k & 7)[None, :]) & 1).to(tl.int8)
        else:
            values = tl.load(rows + k[None, :], mask=there, other=0)
        at = n[None, :].to(tl.int64) * K + k[:, None]
        byte = tl.load(codes + (at >> 2), mask=(n < N)[None, :] & (k < K)[:, None], other=0).to(tl.int32)
        two = (byte >> ((at & 3) << 1).to(tl.int32)) & 3
        weights = ((two & 1) - (two >> 1)).to(tl.int8)
        sums = tl.dot(values, weights, sums, out_dtype=tl.int32)
    tl.store(y + r[:, None].to(tl.int64) * N + n[None, :], sums, mask=(r < R)[:, None] & (n < N)[None, :])


def pack_weights(weight: Tensor) -> Tensor:
    """Pack -1, 0 and 1 of any floating dtype as :func:`pnbx_snn.training.packed.pack_sign_bits` does, on the device."""
    flat = weight.reshape(-1).contiguous()
    codes = torch.empty((len(flat) + 3) // 4, dtype=torch.uint8, device=weight.device)
    with on_device(weight):
        _pack_weights[_grid(len(codes))](flat, codes, len(flat), BLOCK=BLOCK)
    return codes


def pack(x: Tensor, bits: Tensor) -> bool:
    """Write the bits of ``x`` ``[R, K]``; return whether it holds nothing but 0 and 1."""
    as_bytes = bits.view(torch.uint8)
    other = torch.zeros(1, dtype=torch.int32, device=x.device)
    with on_device(x):
        _pack_events[_grid(as_bytes.numel())](x.contiguous(), as_bytes, other, *x.shape, as_bytes.shape[1], BLOCK=BLOCK)
    return other.item() == 0


def count(bits: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """Sum ternary weights ``[N_j, K]`` over the active inputs of each row, ``[R, N_j]``."""
    as_bytes = bits.view(torch.uint8)
    return [_multiply(as_bytes, pack_weights(w), *w.shape, events=True).to(w.dtype) for w in weights]


def exact_sums(x: Tensor, bits: Tensor, weights: Sequence[Tensor], *, codes: bool) -> tuple[list[Tensor] | None, int]:
    """Return the sums and -1: rows ``[R, K]`` of codes as bytes, others as bits; None where they are other numbers.

    Codes are whole numbers in -128 .. 127. No active inputs are counted: no gradient is gathered from lists of them.
    """
    if not codes:
        return (count(bits, weights) if pack(x, bits) else None), -1
    values = x.to(torch.int8)
    if not torch.equal(values.to(x.dtype), x):
        return None, -1
    return [packed_product(values, pack_weights(w), *w.shape).to(x.dtype) for w in weights], -1


def packed_product(x: Tensor, codes: Tensor, N: int, K: int) -> Tensor:
    """Multiply int8 rows ``[R, K]`` with packed weights ``[N, K]``: int32 ``[R, N]``."""
    return _multiply(x.contiguous(), codes.contiguous(), N, K, events=False)


def tables_fit(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether the gradient of ``x`` is looked up in tables: never."""
    return False


def _multiply(x: Tensor, codes: Tensor, N: int, K: int, *, events: bool) -> Tensor:
    R = len(x)
    y = torch.empty(R, N, dtype=torch.int32, device=x.device)
    rows = FEW_ROWS if R <= FEW_ROWS else ROWS
    with on_device(x):
        _product[((R + rows - 1) // rows, (N + OUTPUTS - 1) // OUTPUTS)](
            x, codes, y, R, N, K, x.shape[1], EVENTS=events, ROWS=rows, OUTPUTS=OUTPUTS, INPUTS=INPUTS,
            num_warps=4 if R <= FEW_ROWS else 8,
        )  # fmt: skip
    return y


def _grid(size: int) -> tuple[int]:
    return ((size + BLOCK - 1) // BLOCK,)
