"""Bytes and seconds of codings of ternary weights, beside the entropy that no code of single weights can beat."""

from __future__ import annotations

import lzma
import math
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pnbx_snn.files.zero_runs import pack_runs, unpack_runs
from pnbx_snn.training.packed import pack_sign_bits, unpack_sign_bits

SHARES = (0.4, 0.5, 0.75, 0.9, 0.95)
SIZES = (256 * 128, 1_000_000)
STATE, RENEWED = 1 << 16, 16
"""Of the arithmetic coder: the least state, and the bits that go out at once; its frequencies have 16 bits."""
Weights = NDArray[np.int8]


def base3(weights: Weights) -> NDArray[np.uint8]:
    """Return five weights a byte."""
    digits = np.concatenate([weights + 1, np.ones(-len(weights) % 5, np.int8)]).reshape(-1, 5).astype(np.int64)
    return (digits @ 3 ** np.arange(5)).astype(np.uint8)


_FIVE = (np.arange(243)[:, None] // 3 ** np.arange(5) % 3 - 1).astype(np.int8)
"""The five weights of every byte."""


def frequencies(count: int, size: int) -> tuple[list[int], list[int]]:
    """Return how likely each five weights are, in 65,536ths, and their sums, if ``count`` of ``size`` are not 0."""
    share = min(max(count / size, 1e-6), 1 - 1e-6)
    likely = np.where(_FIVE == 0, 1 - share, share / 2).prod(axis=1)
    counts = np.maximum(1, np.floor(likely * (STATE - 243))).astype(np.int64)
    counts[int(counts.argmax())] += STATE - counts.sum()
    return counts.tolist(), [0, *np.cumsum(counts).tolist()[:-1]]


def pack_arithmetic(weights: Weights) -> bytes:
    """Return five weights after the other in one range-ANS state (Duda 2013, arXiv:1311.2540), counts in front."""
    count, (counts, sums) = int(np.count_nonzero(weights)), frequencies(int(np.count_nonzero(weights)), len(weights))
    state, out = STATE, []
    for symbol in base3(weights).tolist()[::-1]:
        if state >= counts[symbol] << RENEWED:
            out.append(state & 0xFFFF)
            state >>= RENEWED
        state = (state // counts[symbol] << 16) + state % counts[symbol] + sums[symbol]
    words = np.array(out[::-1], "<u2").tobytes()
    return count.to_bytes(4, "little") + state.to_bytes(4, "little") + words


def unpack_arithmetic(packed: bytes, size: int) -> Weights:
    """Undo :func:`pack_arithmetic`."""
    count, state = (int.from_bytes(packed[i : i + 4], "little") for i in (0, 4))
    words = iter(np.frombuffer(packed, "<u2", offset=8).tolist())
    counts, sums = frequencies(count, size)
    symbols = np.repeat(np.arange(243), counts).tolist()
    found = bytearray(-(-size // 5))
    for i in range(len(found)):
        low = state & 0xFFFF
        symbol = symbols[low]
        found[i] = symbol
        state = counts[symbol] * (state >> 16) + low - sums[symbol]
        if state < STATE:
            state = state << RENEWED | next(words)
    return _FIVE[np.frombuffer(found, np.uint8)].reshape(-1)[:size]


def _unpack_base3(packed: bytes, size: int) -> Weights:
    return _FIVE[np.frombuffer(packed, np.uint8)].reshape(-1)[:size]


RAW: Any = [{"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}]
CODINGS: dict[str, tuple[Callable[[Weights], bytes], Callable[[bytes, int], Weights]]] = {
    "two bits": (
        lambda w: pack_sign_bits(torch.from_numpy(w)).numpy().tobytes(),
        lambda b, n: unpack_sign_bits(torch.frombuffer(bytearray(b), dtype=torch.uint8), torch.Size([n])).numpy(),
    ),
    "base 3": (lambda w: base3(w).tobytes(), _unpack_base3),
    "runs": (lambda w: pack_runs(w).tobytes(), lambda b, n: unpack_runs(np.frombuffer(b, np.uint8), n)),
    "arithmetic": (pack_arithmetic, unpack_arithmetic),
    "base 3, zlib": (lambda w: zlib.compress(base3(w).tobytes(), 9), lambda b, n: _unpack_base3(zlib.decompress(b), n)),
    "base 3, LZMA": (
        lambda w: lzma.compress(base3(w).tobytes(), lzma.FORMAT_RAW, filters=RAW),
        lambda b, n: _unpack_base3(lzma.decompress(b, lzma.FORMAT_RAW, filters=RAW), n),
    ),
}


def measure(size: int, zeros: float, *, seed: int = 0) -> dict[str, tuple[int, float]]:
    """Return bytes and seconds to decode of each coding, of random weights; the best of three; all come back equal."""
    rng = np.random.default_rng(seed)
    weights = np.zeros(size, np.int8)
    places = rng.choice(size, round((1 - zeros) * size), replace=False)
    weights[places] = rng.choice(np.array([-1, 1], np.int8), len(places))
    found = {}
    for name, (pack, unpack) in CODINGS.items():
        packed, times = pack(weights), []
        for _ in range(3):
            started = time.process_time()
            again = unpack(packed, size)
            times.append(time.process_time() - started)
        assert np.array_equal(again, weights), name
        found[name] = (len(packed), min(times))
    return found


def table() -> str:
    """Return a Markdown table: bytes as a multiple of the entropy's, and milliseconds of a processor to decode."""
    lines = [f"| weights | zeros | entropy, bytes | {' | '.join(CODINGS)} |", "| --- " * (len(CODINGS) + 3) + "|"]
    for size in SIZES:
        for zeros in SHARES:
            share = (zeros, (1 - zeros) / 2, (1 - zeros) / 2)
            entropy = -sum(p * math.log2(p) for p in share) * size / 8
            found = measure(size, zeros)
            cells = [f"{bytes_ / entropy:.3f}, {1e3 * s:.1f} ms" for bytes_, s in found.values()]
            lines.append(f"| {size:,} | {zeros:.0%} | {entropy:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)
