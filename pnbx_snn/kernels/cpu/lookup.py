"""Real numbers times ternary weights on a CPU by tables: one addition for three weights.

Compiled by numba at the first call and kept in its cache. Importing this module needs numba.

Four weights of -1, 0 and 1 in a column have 81 forms, so four rows of numbers have 81 signed sums. These stand in a
table, for 32 samples at once, and each output adds the entry that its four weights name. Tables of eight rows fit the
first-level cache.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pnbx_snn.kernels.cpu.bit_vectors import (
    add_floats,
    load_floats,
    no_floats,
    store_floats,
    subtract_floats,
)
from pnbx_snn.kernels.cpu.compiled import Shared, array, num_threads
from pnbx_snn.kernels.cpu.memory import empty
from pnbx_snn.kernels.cpu.vectors import aligned_zeros

LANES = 32
EACH = 3
"""Rows of a table."""
FORMS = 27
GROUPS = 8
"""Tables in use at once."""
BLOCK = EACH * GROUPS


@Shared
def _name(thread, threads, weight, first, codes):  # type: ignore[no-untyped-def]
    """Write ``13 + w0 + 3 w1 + 9 w2`` of each three rows to ``[blocks, M, 8]``, from group ``first`` on."""
    D, M = weight.shape
    for g in range(thread, (D + EACH - 1) // EACH, threads):
        form, factor = np.full(M, weight.dtype.type(FORMS // 2)), weight.dtype.type(1)
        for d in range(EACH * g, min(D, EACH * g + EACH)):
            row = weight[d]
            for m in range(M):
                form[m] += factor * row[m]
            factor *= weight.dtype.type(3)
        block, place = (first + g) // GROUPS, (first + g) % GROUPS
        for m in range(M):
            codes[block, m, place] = np.uint8(form[m])


@Shared
def _look_up(thread, threads, x, codes, out):  # type: ignore[no-untyped-def]
    """Sum numbers ``[R, D]`` with the signs that the codes name, ``[R, M]``."""
    R, M = out.shape
    D = x.shape[1]
    for piece in range(thread, (R + LANES - 1) // LANES, threads):
        r0, size = piece * LANES, min(LANES, R - piece * LANES)
        rows, tables = aligned_zeros(BLOCK * LANES, x), aligned_zeros(GROUPS * FORMS * LANES, x)
        sums = aligned_zeros(M * LANES, x)
        for block in range(codes.shape[0]):
            for r in range(size):
                for d in range(BLOCK):
                    rows[d * LANES + r] = x[r0 + r, BLOCK * block + d] if BLOCK * block + d < D else 0
            for q in range(GROUPS):
                middle, at = (q * FORMS + FORMS // 2) * LANES, q * EACH * LANES
                store_floats(tables, middle, no_floats())
                apart, known = LANES, 0  # all signs of the rows so far stand around the middle
                for d in range(EACH):
                    value = load_floats(rows, at + d * LANES)
                    for i in range(-known, known + 1):
                        entry = load_floats(tables, middle + i * LANES)
                        store_floats(tables, middle + i * LANES + apart, add_floats(entry, value))
                        store_floats(tables, middle + i * LANES - apart, subtract_floats(entry, value))
                    known += apart // LANES
                    apart *= 3
            names = codes[block].reshape(-1)
            for m in range(M):
                total = load_floats(sums, m * LANES)
                for q in range(GROUPS):
                    name = np.int64(names[np.uint64(m * GROUPS + q)])
                    total = add_floats(total, load_floats(tables, (name + q * FORMS) * LANES))
                store_floats(sums, m * LANES, total)
        for m0 in range(0, M, 16):
            for r in range(size):
                for m in range(m0, min(M, m0 + 16)):
                    out[r0 + r, m] = sums[m * LANES + r]


def tables_fit(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether a gradient like ``x`` ``[R, M]`` of these weights ``[D_j, M]`` is large enough to pay for the tables."""
    return len(x) >= 64 and x.shape[1] >= 256 and sum(map(len, weights)) >= 96


def by_tables(inputs: Sequence[Tensor], weights: Sequence[Tensor], scales: Sequence[Tensor]) -> Tensor:
    """Sum ``scale * input @ weight`` of inputs ``[R, D_j]`` and ternary weights ``[D_j, M]``: ``[R, M]``."""
    groups = [-(-len(weight) // EACH) for weight in weights]
    rows, M = len(inputs[0]), weights[0].shape[1]
    codes = torch.full((-(-sum(groups) // GROUPS), M, GROUPS), FORMS // 2, dtype=torch.uint8)
    x, first = empty((rows, EACH * sum(groups)), torch.float32), 0
    for values, weight, scale, size in zip(inputs, weights, scales, groups, strict=True):
        begin, end = EACH * first, EACH * first + values.shape[1]
        torch.mul(values, scale, out=x[:, begin:end])
        x[:, end : begin + EACH * size] = 0
        _name(num_threads(), array(weight.contiguous()), first, array(codes))
        first += size
    out = empty((rows, M), torch.float32)
    _look_up(num_threads(), array(x), array(codes), array(out))
    return out
