"""Events times ternary weights on a CPU, without a multiplication, and the gradient of those weights.

Compiled by numba at the first call and kept in its cache. Importing this module needs numba;
:mod:`pnbx_snn.kernels.ternary` does without where it is not installed.

Forward: weights are two planes of bits, ``w > 0`` and ``w >= 0``, whose sum is ``w + 1``. Of each active input both
rows of bits are fed to full adders that count, in as many places at once as a register has bits, how many bits were
set (vertical counters in carry-save form). In the end the number of active inputs is subtracted. The sums are exact.

Backward: the gradient of the weights of one input is the sum of the output gradients of the samples in which it was
active. Lists of those samples, and tiles of gradients that stay in the cache.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pnbx_snn.kernels.cpu.bit_vectors import (
    above_zero,
    add_floats,
    add_plane,
    as_floats,
    both,
    either,
    load_floats,
    load_words,
    lowest_bit,
    most,
    no_floats,
    no_words,
    not_below_zero,
    odd,
    ones_of,
    other_than_0_and_1,
    set_bits,
    start,
    store_floats,
    store_words,
)
from pnbx_snn.kernels.cpu.compiled import Shared, array, inlined, num_threads
from pnbx_snn.kernels.cpu.dense import product
from pnbx_snn.kernels.cpu.lookup import by_tables, tables_fit
from pnbx_snn.kernels.cpu.memory import empty
from pnbx_snn.kernels.cpu.vectors import aligned_zeros

__all__ = ["DENSEST", "by_tables", "count", "exact_sums", "gather", "pack", "product", "tables_fit"]

BLOCK = 256
"""Outputs that are counted at once."""
SAMPLES = 256
"""Of a tile of gradients."""
PLANES = 10
AT_ONCE = 480
"""Active inputs that ten planes count without overflow: two bits each, at most 1023, and a multiple of eight."""
TILE = 32
"""Outputs of a tile of gradients."""
MOST_TOGETHER = 4096
"""Sums of tiles that are made together, in tiles and inputs: half of a second-level cache."""
ROWS = 16
"""Samples of a piece of work."""
DENSEST = 0.6
"""Share of active inputs up to which lists are faster than a matrix product (measured on AVX2: 0.7)."""


@Shared
def _pack(thread, threads, x, bits, active):  # type: ignore[no-untyped-def]
    """Bits of 0 and 1 ``[R, K]`` in words ``[R, W]``; how many of each piece are set, or -1 if it is not 0 and 1."""
    R, K = x.shape
    flat = x.reshape(-1)
    whole = K // 64
    for piece in range(thread, len(active), threads):
        other, n = np.uint64(0), 0
        for r in range(piece * ROWS, min(R, (piece + 1) * ROWS)):
            for w in range(whole):
                other |= other_than_0_and_1(flat, r * K + w * 64)
                word = ones_of(flat, r * K + w * 64)
                bits[r, w] = word
                n += set_bits(word)
            if whole * 64 < K:
                word = np.uint64(0)
                for k in range(whole * 64, K):
                    if x[r, k] == 1:
                        word |= np.uint64(1) << np.uint64(k & 63)
                    elif x[r, k] != 0:
                        other = np.uint64(1)
                bits[r, whole] = word
                n += set_bits(word)
            if other:
                break
        active[piece] = -1 if other else n


@inlined
def _turn(tile):  # type: ignore[no-untyped-def]
    """Transpose 64 x 64 bits in place."""
    half, mask = 32, np.uint64(0x00000000FFFFFFFF)
    while half:
        shift = np.uint64(half)
        for i in range(0, 64, 2 * half):
            for j in range(i, i + half):
                a, b = tile[j], tile[j + half]
                swap = ((a >> shift) ^ b) & mask
                tile[j] = a ^ (swap << shift)
                tile[j + half] = b ^ swap
        half >>= 1
        mask ^= mask << np.uint64(half)


@Shared
def _planes(thread, threads, weight, first, planes):  # type: ignore[no-untyped-def]
    """Bits of a weight ``[N, K]`` from output ``first`` (a multiple of 64) on, as ``[blocks, K + 1, 2, words]``."""
    N, K = weight.shape
    flat, groups = weight.reshape(-1), (K + 63) // 64
    for g in range(thread, groups, threads):
        tile, last = np.zeros((2, 64), np.uint64), np.zeros(64, weight.dtype)
        for n0 in range(0, N, 64):
            block, word = (first + n0) // BLOCK, (first + n0) % BLOCK // 64
            for j in range(64):
                if n0 + j >= N:
                    tile[0, j], tile[1, j] = 0, 0
                    continue
                at = (n0 + j) * K + g * 64
                if g * 64 + 64 <= K:
                    tile[0, j], tile[1, j] = above_zero(flat, at), not_below_zero(flat, at)
                else:
                    for k in range(K - g * 64):
                        last[k] = flat[at + k]
                    tile[0, j], tile[1, j] = above_zero(last, 0), not_below_zero(last, 0)
            for plane in range(2):
                _turn(tile[plane])
                for k in range(min(64, K - g * 64)):
                    planes[block, g * 64 + k, plane, word] = tile[plane, k]


@inlined
def _active(bits, row, found):  # type: ignore[no-untyped-def]
    """Write the places of the set bits of a row to ``found`` and return their number."""
    n = 0
    for w in range(bits.shape[1]):
        word = bits[row, w]
        while word:
            found[n] = w * 64 + lowest_bit(word)
            word &= word - np.uint64(1)
            n += 1
    return n


@inlined
def _add_two(rows, base, found, q, size, ones, twos):  # type: ignore[no-untyped-def]
    """Add both bits of two active inputs to the counters of ones and twos; return these and the carry to fours."""
    p0, p1 = (base + found[q]) * 2 * size, (base + found[q + 1]) * 2 * size
    a, b, c, d = load_words(rows, p0), load_words(rows, p0 + size), load_words(rows, p1), load_words(rows, p1 + size)
    t0, ones = most(ones, a, b), odd(ones, a, b)
    t1, ones = most(ones, c, d), odd(ones, c, d)
    return ones, odd(twos, t0, t1), most(twos, t0, t1)


@Shared
def _count(thread, threads, bits, planes, sums):  # type: ignore[no-untyped-def]
    """Sum the weights of the active inputs, ``[R, N]``."""
    R, N = sums.shape
    blocks, K = planes.shape[0], planes.shape[1] - 1
    rows, out, size = planes.reshape(-1), sums.reshape(-1), BLOCK // 64
    for piece in range(thread, (R + ROWS - 1) // ROWS, threads):
        found, counts = np.empty(K + 8, np.int64), np.empty(PLANES * size, np.uint64)
        words, tail = counts.view(np.uint32), np.empty(TILE, sums.dtype)
        for r in range(piece * ROWS, min(R, (piece + 1) * ROWS)):
            n = _active(bits, r, found)
            for q in range(n, n + 8):
                found[q] = K  # an input without any bit
            for block in range(blocks):
                base = block * (K + 1)
                for begin in range(0, max(n, 1), AT_ONCE):
                    end = min(n, begin + AT_ONCE)
                    c0, c1, c2, c3, c4 = no_words(), no_words(), no_words(), no_words(), no_words()
                    c5, c6, c7, c8, c9 = no_words(), no_words(), no_words(), no_words(), no_words()
                    for q in range(begin, end, 8):
                        c0, c1, f0 = _add_two(rows, base, found, q, size, c0, c1)
                        c0, c1, f1 = _add_two(rows, base, found, q + 2, size, c0, c1)
                        e0, c2 = most(c2, f0, f1), odd(c2, f0, f1)
                        c0, c1, f0 = _add_two(rows, base, found, q + 4, size, c0, c1)
                        c0, c1, f1 = _add_two(rows, base, found, q + 6, size, c0, c1)
                        e1, c2 = most(c2, f0, f1), odd(c2, f0, f1)
                        x, c3 = most(c3, e0, e1), odd(c3, e0, e1)
                        x, c4 = both(c4, x), either(c4, x)
                        x, c5 = both(c5, x), either(c5, x)
                        x, c6 = both(c6, x), either(c6, x)
                        x, c7 = both(c7, x), either(c7, x)
                        x, c8 = both(c8, x), either(c8, x)
                        c9 = either(c9, x)
                    store_words(counts, 0, c0)
                    store_words(counts, size, c1)
                    store_words(counts, 2 * size, c2)
                    store_words(counts, 3 * size, c3)
                    store_words(counts, 4 * size, c4)
                    store_words(counts, 5 * size, c5)
                    store_words(counts, 6 * size, c6)
                    store_words(counts, 7 * size, c7)
                    store_words(counts, 8 * size, c8)
                    store_words(counts, 9 * size, c9)
                    for part in range(BLOCK // TILE):
                        n0 = block * BLOCK + part * TILE
                        if n0 >= N:
                            break
                        total = start(begin - end)
                        for plane in range(PLANES):
                            total = add_plane(words[plane * 2 * size + part], plane, total)
                        values, at = as_floats(total), r * N + n0
                        if n0 + TILE <= N:
                            if begin:
                                values = add_floats(values, load_floats(out, at))
                            store_floats(out, at, values)
                        else:
                            store_floats(tail, 0, values)
                            for j in range(N - n0):
                                out[at + j] = tail[j] + (out[at + j] if begin else 0)


@Shared
def _list_samples(thread, threads, bits, K, ends, samples):  # type: ignore[no-untyped-def]
    """Of each piece of SAMPLES samples and each input, the samples (within the piece) in which it was active.

    ``ends`` ``[pieces, K + 1]`` says where a list begins and ends in ``samples`` ``[pieces, SAMPLES * K]``.
    """
    R, W = bits.shape
    for piece in range(thread, len(ends), threads):
        turned, n = np.zeros((SAMPLES // 64, 64), np.uint64), 0
        ends[piece, 0] = 0
        for w in range(W):
            for quarter in range(SAMPLES // 64):
                for j in range(64):
                    r = piece * SAMPLES + quarter * 64 + j
                    turned[quarter, j] = bits[r, w] if r < R else np.uint64(0)
                _turn(turned[quarter])
            for j in range(min(64, K - w * 64)):
                for quarter in range(SAMPLES // 64):
                    word = turned[quarter, j]
                    while word:
                        samples[piece, n] = quarter * 64 + lowest_bit(word)
                        word &= word - np.uint64(1)
                        n += 1
                ends[piece, w * 64 + j + 1] = n


@inlined
def _add_active(tiles, first, mine, begin, end, total):  # type: ignore[no-untyped-def]
    """Add the rows of a tile that a list names to a sum."""
    other = no_floats()  # two sums: an addition takes three cycles
    q = begin
    while q + np.uint64(3) < end:
        total = add_floats(total, load_floats(tiles, first + np.int64(mine[q]) * TILE))
        other = add_floats(other, load_floats(tiles, first + np.int64(mine[q + np.uint64(1)]) * TILE))
        total = add_floats(total, load_floats(tiles, first + np.int64(mine[q + np.uint64(2)]) * TILE))
        other = add_floats(other, load_floats(tiles, first + np.int64(mine[q + np.uint64(3)]) * TILE))
        q += np.uint64(4)
    while q < end:
        total = add_floats(total, load_floats(tiles, first + np.int64(mine[q]) * TILE))
        q += np.uint64(1)
    return add_floats(total, other)


@Shared
def _gather(thread, threads, grad, ends, samples, together, grad_weight):  # type: ignore[no-untyped-def]
    """Gradient of a weight ``[N, K]`` from that of its sums, ``[R, N]``; some tiles together read longer rows."""
    N, K = grad_weight.shape
    R, flat = grad.shape[0], grad.reshape(-1)
    width = together * TILE
    for job in range(thread, (N + width - 1) // width, threads):
        n0 = job * width
        size = min(width, N - n0)
        parts, whole = (size + TILE - 1) // TILE, size // TILE
        tiles, totals = aligned_zeros(parts * SAMPLES * TILE, grad), aligned_zeros(parts * K * TILE, grad)
        for piece in range(len(ends)):
            for r in range(min(SAMPLES, R - piece * SAMPLES)):
                row = (piece * SAMPLES + r) * N + n0
                for part in range(whole):
                    store_floats(tiles, (part * SAMPLES + r) * TILE, load_floats(flat, row + part * TILE))
                for j in range(whole * TILE, size):
                    tiles[(whole * SAMPLES + r) * TILE + j - whole * TILE] = flat[row + j]
            mine, limits = samples[piece], ends[piece]
            for part in range(parts):
                begin = np.uint64(0)
                for k in range(K):
                    end = np.uint64(limits[k + 1])
                    if begin < end:
                        at = (part * K + k) * TILE
                        total = load_floats(totals, at)
                        store_floats(totals, at, _add_active(tiles, part * SAMPLES * TILE, mine, begin, end, total))
                    begin = end
        for part in range(parts):
            for k0 in range(0, K, 16):
                for j in range(min(TILE, size - part * TILE)):
                    for k in range(k0, min(K, k0 + 16)):
                        grad_weight[n0 + part * TILE + j, k] = totals[(part * K + k) * TILE + j]


def pack(x: Tensor, bits: Tensor) -> int:
    """Write the bits of ``x`` ``[R, K]``; return how many are set, or -1 if ``x`` holds anything but 0 and 1."""
    active = np.zeros(-(-len(x) // ROWS), np.int64)
    _pack(num_threads(), array(x.contiguous()), array(bits).view(np.uint64), active)
    return -1 if (active < 0).any() else int(active.sum())


def count(bits: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """Sum ternary weights ``[N_j, K]`` over the active inputs of each row, ``[R, N_j]``."""
    K = weights[0].shape[1]
    ends = np.cumsum([-(-len(weight) // 64) * 64 for weight in weights])  # each matrix begins with a new word
    planes = np.zeros((-(-int(ends[-1]) // BLOCK), K + 1, 2, BLOCK // 64), np.uint64)
    sums = empty((len(bits), int(ends[-1])), torch.float32)
    parts = []
    for weight, end in zip(weights, ends, strict=True):
        first = int(end) - -(-len(weight) // 64) * 64
        _planes(num_threads(), array(weight.contiguous()), first, planes)
        parts.append(sums[:, first : first + len(weight)])
    _count(num_threads(), array(bits).view(np.uint64), planes, array(sums))
    return parts


def exact_sums(x: Tensor, bits: Tensor, weights: Sequence[Tensor], *, codes: bool) -> tuple[list[Tensor] | None, int]:
    """Write the bits of ``x``; return the sums and how many inputs are active, or None and -1 if not all are 0 or 1.

    It makes no difference whether they are ``codes``.
    """
    active = pack(x, bits)
    return (count(bits, weights) if active >= 0 else None), active


def gather(bits: Tensor, K: int, grads: Sequence[Tensor]) -> list[Tensor]:
    """Gradients ``[N_j, K]`` of the weights, from those of their sums ``[R, N_j]``."""
    pieces = -(-len(bits) // SAMPLES)
    ends, samples = np.empty((pieces, K + 1), np.int64), np.empty((pieces, SAMPLES * K), np.uint8)
    _list_samples(num_threads(), array(bits).view(np.uint64), K, ends, samples)
    found = []
    for grad in grads:
        found.append(empty((grad.shape[1], K), torch.float32))
        shares = -(-grad.shape[1] // (TILE * num_threads()))
        _gather(num_threads(), array(grad), ends, samples, max(1, min(shares, MOST_TOGETHER // K)), array(found[-1]))
    return found
