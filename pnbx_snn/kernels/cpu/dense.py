"""Products of real matrices in float32 on a CPU, with the same bits on every processor that has fused multiply-adds.

Compiled by numba at the first call and kept in its cache. Importing this module needs numba.

Each number of the result is one chain of fused multiply-adds in the order of the inner axis, whatever the vectors'
width and the number of threads. torch's own products take AVX2 at most on processors of AMD, half of what AVX-512 can
do, and differ between processors.
"""

from typing import Any

import numpy as np
import torch
from numba.core.registry import cpu_target
from torch import Tensor

from pnbx_snn.kernels.cpu.compiled import Shared, array, inlined, num_threads
from pnbx_snn.kernels.cpu.memory import empty
from pnbx_snn.kernels.cpu.vectors import aligned_zeros, fill, lanes_of, load, multiply_add, store

_target: Any = cpu_target.target_context.codegen()
_FEATURES = _target._tm_features.split(",")
FUSED = "+fma" in _FEATURES
"""Whether the processor has them: without, each would be a call."""
WIDE = 4 if "+avx512f" in _FEATURES else 1
"""Registers of 64 bytes of a row: six rows take 24 of 32 registers, or with AVX2, in halves, 12 of 16."""
ROWS = 6
INNER = 256
"""Steps of the inner axis that are packed at once, into the second-level cache."""
CHUNK = 16 * ROWS
"""Rows of a piece of work."""
NARROWEST = 64
"""Columns below which vectors would be half empty."""


@inlined
def _pack(a, first, step_row, step_inner, size, inner, left):  # type: ignore[no-untyped-def]
    """Copy rows to sixes whose numbers of one step of the inner axis lie together, in the order of memory."""
    whole = size // ROWS
    if step_row == 1:
        for k in range(inner):
            at = np.uint64(first + k * step_inner)
            for block in range(whole):
                to = np.uint64((block * INNER + k) * ROWS)
                for i in range(np.uint64(ROWS)):
                    left[to + i] = a[at + i]
                at += np.uint64(ROWS)
    else:
        for m in range(whole * ROWS):
            to, at = np.uint64(m // ROWS * INNER * ROWS + m % ROWS), np.uint64(first + m * step_row)
            for _ in range(inner):
                left[to] = a[at]
                to += np.uint64(ROWS)
                at += np.uint64(step_inner)
    for m in range(whole * ROWS, size):
        for k in range(inner):
            left[(whole * INNER + k) * ROWS + m % ROWS] = a[first + m * step_row + k * step_inner]


@inlined
def _micro(left, right, first, inner, sums, at, step, adds):  # type: ignore[no-untyped-def]
    """Write six rows of sums, or add to them."""
    lanes = lanes_of(WIDE, sums)
    a = b = c = d = e = f = fill(WIDE, sums.dtype.type(0))
    if adds:
        a, b, c = load(WIDE, sums, at), load(WIDE, sums, at + step), load(WIDE, sums, at + 2 * step)
        d, e, f = load(WIDE, sums, at + 3 * step), load(WIDE, sums, at + 4 * step), load(WIDE, sums, at + 5 * step)
    for k in range(inner):
        row, one = load(WIDE, right, k * lanes), np.uint64(first + k * ROWS)
        a = multiply_add(fill(WIDE, left[one]), row, a)
        b = multiply_add(fill(WIDE, left[one + np.uint64(1)]), row, b)
        c = multiply_add(fill(WIDE, left[one + np.uint64(2)]), row, c)
        d = multiply_add(fill(WIDE, left[one + np.uint64(3)]), row, d)
        e = multiply_add(fill(WIDE, left[one + np.uint64(4)]), row, e)
        f = multiply_add(fill(WIDE, left[one + np.uint64(5)]), row, f)
    store(sums, at, a, 0)
    store(sums, at + step, b, 0)
    store(sums, at + 2 * step, c, 0)
    store(sums, at + 3 * step, d, 0)
    store(sums, at + 4 * step, e, 0)
    store(sums, at + 5 * step, f, 0)


@Shared
def _multiply(thread, threads, a, step_row, step_inner, b, out):  # type: ignore[no-untyped-def]
    """Write the product to ``out``; row ``m`` and inner ``k`` of ``a`` are at ``m * step_row + k * step_inner``."""
    M, N = out.shape
    K, lanes = b.shape[0], lanes_of(WIDE, out)
    flat, to = b.reshape(-1), out.reshape(-1)
    pieces = (M + CHUNK - 1) // CHUNK
    for piece in range(pieces * thread // threads, pieces * (thread + 1) // threads):
        m0, size = piece * CHUNK, min(CHUNK, M - piece * CHUNK)
        left, right = aligned_zeros(CHUNK * INNER, out), aligned_zeros(INNER * lanes, out)
        sums = aligned_zeros(ROWS * lanes, out)
        for k0 in range(0, K, INNER):
            inner = min(INNER, K - k0)
            _pack(a, m0 * step_row + k0 * step_inner, step_row, step_inner, size, inner, left)
            for n0 in range(0, N, lanes):
                width = min(lanes, N - n0)
                for k in range(inner):
                    at = (k0 + k) * N + n0
                    if width == lanes:
                        store(right, k * lanes, load(WIDE, flat, at), 0)
                    else:
                        for n in range(width):
                            right[k * lanes + n] = flat[at + n]
                for m in range(0, size, ROWS):
                    rows, at = min(ROWS, size - m), (m0 + m) * N + n0
                    if rows == ROWS and width == lanes:
                        _micro(left, right, m * INNER, inner, to, at, N, k0)
                        continue
                    for i in range(rows if k0 else 0):
                        for n in range(width):
                            sums[i * lanes + n] = to[at + i * N + n]
                    _micro(left, right, m * INNER, inner, sums, 0, lanes, k0)
                    for i in range(rows):
                        for n in range(width):
                            to[at + i * N + n] = sums[i * lanes + n]


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` of float32 matrices of any strides; of narrow ones, and without such instructions, by torch."""
    rows, columns = a.shape[0], b.shape[1]
    if not FUSED or rows < CHUNK or columns < NARROWEST or a.shape[1] < ROWS:
        return a @ b
    steps = a.stride()
    flat = torch.as_strided(a, ((rows - 1) * steps[0] + (a.shape[1] - 1) * steps[1] + 1,), (1,))
    out = empty((rows, columns), torch.float32)
    _multiply(num_threads(), array(flat), *steps, array(b.contiguous()), array(out))
    return out
