"""Fast weights and memory slots as ONNX nodes."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.onnx.graph import FLOAT, Graph, Tensor
from neuromorphic.executors.onnx.integers import (
    EXACT,
    LIMB,
    Wide,
    digits,
    floor_shift,
    saturate,
    toward_zero,
    weigh,
)
from neuromorphic.executors.onnx.products import product
from neuromorphic.executors.onnx.step import Step
from neuromorphic.ops import FastWeights, Slots
from neuromorphic.ops.fast_weights import KEY_BITS, KEY_ONE
from neuromorphic.ops.numbers import INT32_MAX, STATE_MAX
from neuromorphic.ops.slots import MEMORY_BITS

_BLOCK = 512
_FINGERPRINT = (1 << 31) - 1


def fast_weights(s: Step, op: FastWeights, x: Tensor) -> Tensor:
    """Clip the key, write the pair of keys, read."""
    g, r = s.graph, op.size
    F, previous = s.state(op, "F", r, r), s.state(op, "key", r)
    key = g.clip(x, -KEY_ONE, KEY_ONE)
    shift = 2 * KEY_BITS + op.rate_bits - op.frac

    def of_row(t: Tensor) -> Tensor:
        return g.reshape(t, -1, r, 1)

    def of_column(t: Tensor) -> Tensor:
        return g.reshape(t, -1, 1, r)

    if op.rule == "hebbian":
        written = toward_zero(g, g.mul(of_row(key), of_column(previous)), shift, KEY_ONE * KEY_ONE)
    else:
        held = _read(g, F, previous, r, op.frac)
        if s.peak(op.name) + KEY_ONE > INT32_MAX:  # beyond it the target saturates anyway, and the difference fits
            held = g.clip(held, -2 * EXACT, 2 * EXACT)
        target = saturate(g, g.sub(key, held))
        written = _written(g, of_row(target), of_column(previous), shift)
    F = saturate(g, g.add(weigh(g, F, op.decay, STATE_MAX), written))
    s.hold(op, "F", F)
    s.hold(op, "key", key)
    if s.wanted(op, "F"):
        s.keep(op, "F", g.reshape(F, -1, r * r))
    s.keep(op, "key", key)
    return _read(g, F, key, r, op.frac)


def _read(g: Graph, F: Tensor, key: Tensor, r: int, frac: int) -> Tensor:
    """Return ``tz(sum_j F[i, j] * key[j], frac)``: digits of ``F``, so narrow that their sums are exact in float32."""
    width = min(r, _BLOCK)
    bits = EXACT.bit_length() - 1 - KEY_BITS - (width - 1).bit_length()
    parts = digits(g, F, -(-24 // bits), bits)
    column = g.reshape(g.cast(key, FLOAT), -1, r, 1)
    columns: list[list[Tensor]] = []
    sizes = np.array([min(width, r - at) for at in range(0, r, width)], dtype=np.int64)
    keys = g.ops("Split", column, sizes, outputs=len(sizes), axis=1) if len(sizes) > 1 else (column,)
    for part in parts:
        real = g.cast(part, FLOAT)
        blocks = g.ops("Split", real, sizes, outputs=len(sizes), axis=2) if len(sizes) > 1 else (real,)
        sums = [g.op("MatMul", block, piece) for block, piece in zip(blocks, keys, strict=True)]
        columns.append([g.rounded(g.reshape(total, -1, r)) for total in sums])
    return Wide(g, columns, bits).toward_zero(frac)


def _written(g: Graph, target: Tensor, previous: Tensor, shift: int) -> Tensor:
    """Return ``tz(target * previous, shift)`` of 24 bits times 13, or what saturates as surely."""
    sign = g.mul(g.op("Sign", target), g.op("Sign", previous))
    size, key = g.op("Abs", target), g.op("Abs", previous)
    lows = g.mul(g.bits(size, (1 << LIMB) - 1), key)
    high = g.add(g.mul(floor_shift(g, size, LIMB), key), floor_shift(g, lows, LIMB))
    if shift >= LIMB:
        return g.mul(sign, floor_shift(g, high, shift - LIMB))
    high = g.op("Min", high, 1 << (13 + shift))
    low = g.quotient(g.bits(lows, (1 << LIMB) - 1), 1 << shift)
    return g.mul(sign, g.add(g.mul(high, 1 << (LIMB - shift)), low))


def slots(s: Step, op: Slots, events: Tensor) -> Tensor:
    """Ask all slots, read the best, then let all fade and the best learn.

    The fast half is float32: whole numbers of at most 23 bits, which both runtimes shift as vectors.
    """
    g, (num_slots, size) = s.graph, op.keys.shape
    scores = product(g, op.keys, events, 0, 1, s.products)  # [B, M], below 2**24
    last = np.array([1], dtype=np.int64)
    best_score = g.op("ReduceMax", scores, last, keepdims=1)
    places = np.arange(num_slots, dtype=np.int32)
    candidates = g.where(g.op("Equal", scores, best_score), places, num_slots)
    winner = g.op("ReduceMin", candidates, last, keepdims=1)  # [B, 1], the first of equals
    chosen = g.reshape(winner, -1)
    fast = op.fast.astype(np.float32) if op.fast is not None and op.fast.any() else None
    E = ""
    if op.plastic:
        E = s.state(op, "fast", num_slots, size, dtype=FLOAT)
        E = E if fast is None else g.op("Add", E, fast)
    y = g.mul(g.whole(g.op("Gather", g.constant(op.keys), chosen)), op.gain)
    if op.plastic:
        hot = g.reshape(g.cast(g.op("Equal", winner, places), FLOAT), -1, 1, num_slots)
        best = g.reshape(g.op("MatMul", hot, E), -1, size)
        y = g.add(y, g.rounded(_halved(g, best, op.shift)))
        learned = g.op("Mul", g.cast(events, FLOAT), np.array(1 << (MEMORY_BITS - op.rate_bits), dtype=np.float32))
        learned = g.op("Sub", learned, _halved(g, best, op.rate_bits))
        change = g.op("Mul", g.reshape(hot, -1, num_slots, 1), g.reshape(learned, -1, 1, size))
        E = g.op("Add", g.op("Sub", E, _halved(g, E, op.decay_bits)), change)
        s.hold(op, "fast", E if fast is None else g.op("Sub", E, fast))
    elif op.fast is not None:
        y = g.add(y, g.op("Gather", g.constant(op.fast >> np.int32(op.shift)), chosen))
    s.keep(op, "winner", winner)
    s.keep(op, "read", y)
    if s.wanted(op, "E"):
        s.keep(op, "E", _fingerprint(s, op, g.rounded(E) if op.plastic else ""))
    return y


def _halved(g: Graph, x: Tensor, bits: int) -> Tensor:
    """Return ``x >> bits`` of whole numbers in float32 that are not negative."""
    return g.op("Floor", g.op("Mul", x, np.array(2.0**-bits, dtype=np.float32))) if bits else x


def _fingerprint(s: Step, op: Slots, E: Tensor) -> Tensor:
    """Sum ``E[i] * (i + 1)`` modulo ``2**31``: halves are added to each other, since sums over axes may be float32."""
    g, count = s.graph, op.keys.size
    place = (np.arange(1, count + 1, dtype=np.int64) & _FINGERPRINT).astype(np.int32)
    if not E:
        fixed = 0 if op.fast is None else int((op.fast.ravel().astype(object) * np.arange(1, count + 1)).sum())
        first = g.op("Slice", s.x, *(np.array([n], dtype=np.int64) for n in (0, 1, 1)))  # [B, 1]
        return g.add(g.bits(first, 0), fixed & _FINGERPRINT)
    total = g.mul(g.reshape(E, -1, count), place)
    odd: list[Tensor] = []
    while count > 1:
        half, rest = divmod(count, 2)
        sizes = np.array([half, half, rest][: 2 + rest], dtype=np.int64)
        first, second, *left = g.ops("Split", total, sizes, outputs=len(sizes), axis=1)
        total, count = g.add(first, second), half
        odd += left
    return g.bits(g.add(total, *odd), _FINGERPRINT)
