"""Exact integer arithmetic out of what ONNX Runtime and OpenVINO compute alike.

OpenVINO's CPU plug-in adds, subtracts, multiplies, compares for a minimum or maximum and masks int32 as int32, but it
divides, compares and sums over axes in float32 (measured, see ``docs/onnx.md``). So here

* sums and products may wrap modulo ``2**32`` wherever the result is known to fit;
* a division is by a power of two, of a number with at most 24 significant bits: a shift masks what it drops;
* what leaves int32 is cut into limbs, digits of a few bits each.

``floor`` shifts are those of two's complement, ``tz`` rounds toward zero as the reference does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.onnx.graph import Graph, Operand, Tensor
from neuromorphic.ops.numbers import DECAY_BITS, DECAY_ONE, STATE_MAX

EXACT = 1 << 24
"""Whole numbers up to here are exact in float32."""
LIMB = 12
_HALF = 15


def saturate(g: Graph, x: Tensor) -> Tensor:
    """Clip to the 24-bit state range."""
    return g.clip(x, -STATE_MAX, STATE_MAX)


def floor_shift(g: Graph, x: Tensor, bits: int) -> Tensor:
    """Return ``x >> bits`` of any int32."""
    if bits == 0:
        return x
    if bits > 30:
        return floor_shift(g, floor_shift(g, x, _HALF), bits - _HALF)
    if bits >= 8:  # what is left has 24 bits at most
        return g.sealed(g.quotient(g.bits(x, -(1 << bits)), 1 << bits))
    high, low = floor_shift(g, x, _HALF), g.bits(x, (1 << _HALF) - 1)
    return g.add(g.mul(high, 1 << (_HALF - bits)), g.sealed(g.quotient(low, 1 << bits)))


def toward_zero(g: Graph, x: Tensor, bits: int, peak: int) -> Tensor:
    """Return ``tz(x, bits)`` for ``|x| <= peak < 2**31``."""
    if bits == 0:
        return x
    if peak >> bits == 0:
        return g.mul(x, 0)
    if peak <= EXACT:
        return g.sealed(g.quotient(g.sealed(x), 1 << bits))
    return g.mul(g.op("Sign", x), floor_shift(g, g.op("Abs", x), bits))


def weigh(g: Graph, x: Tensor, factor: Operand, peak: int) -> Tensor:
    """Return ``tz(x * factor, 12)`` for ``|x| <= peak`` and a factor in -4096..4096, in 0..4096 if peak is over 2**23.

    Up to that peak the result may be fused with what follows (see :meth:`Graph.sealed`): that must be a sum which
    saturates as soon as what is added has more than 24 bits, or a seal.
    """
    if peak < EXACT >> 1:  # high and low part have the sign of x: rounding toward zero commutes with their sum
        high = g.quotient(x, DECAY_ONE)
        low = g.sub(x, g.mul(high, DECAY_ONE))
        return g.add(g.mul(high, factor), g.quotient(g.mul(low, factor), DECAY_ONE))
    size = g.op("Abs", x)
    low = g.sealed(g.quotient(g.mul(g.bits(size, DECAY_ONE - 1), factor), DECAY_ONE))
    return g.mul(g.op("Sign", x), g.add(g.mul(floor_shift(g, size, DECAY_BITS), factor), low))


def digits(g: Graph, x: Tensor, count: int, bits: int = LIMB) -> list[Tensor]:
    """Return ``x`` as ``sum(digit << (bits * i))``: all in ``0..2**bits - 1`` but the last, which has the sign."""
    low = [g.bits(floor_shift(g, x, bits * i), (1 << bits) - 1) for i in range(count - 1)]
    return [*low, floor_shift(g, x, bits * (count - 1))]


def num_digits(peak: int, bits: int = LIMB) -> int:
    """Return how many digits hold numbers up to ``peak``."""
    return max(1, -(-peak.bit_length() // bits))


def product_columns(g: Graph, x: Sequence[Tensor], factor: NDArray[np.int64] | int, peak: int) -> list[list[Tensor]]:
    """Return what to add up for each power of a limb: digits of ``x`` times those of a constant in ``0..peak``."""
    parts = num_digits(peak)
    columns: list[list[Tensor]] = [[] for _ in range(len(x) + parts - 1)]
    for j in range(parts):
        part = np.asarray((np.asarray(factor, dtype=np.int64) >> (LIMB * j)) & ((1 << LIMB) - 1), dtype=np.int32)
        if part.any():
            for i, digit in enumerate(x):
                columns[i + j].append(g.mul(digit, part))
    return columns


class Wide:
    """A number of more than 32 bits: limbs in ``0..2**bits - 1`` and, above them, a top that has the sign.

    Parameters
    ----------
    g : Graph
        Where to compute.
    columns : sequence of sequences of Tensor
        What to add up for each power of ``2**bits``; the sums must stay in int32.
    bits : int
        Bits of a limb.
    """

    def __init__(self, g: Graph, columns: Sequence[Sequence[Tensor]], bits: int = LIMB) -> None:
        self.g, self.bits = g, bits
        self.limbs: list[Tensor] = []
        carry: list[Tensor] = []
        for column in columns:
            terms = [*column, *carry]
            total = g.add(*terms) if terms else g.constant(0)
            self.limbs.append(g.bits(total, (1 << bits) - 1))
            carry = [floor_shift(g, total, bits)]
        self.top = carry[0]

    def floor(self, shift: int, limit: int | None = None) -> Tensor:
        """Return ``x >> shift``, which must fit in int32, or else is clipped to at least ``limit`` in magnitude."""
        g, whole, part = self.g, shift // self.bits, shift % self.bits
        if whole >= len(self.limbs):
            return floor_shift(g, self.top, shift - self.bits * len(self.limbs))
        total = self.top
        for i in reversed(range(whole, len(self.limbs))):
            room = self.bits if i > whole else self.bits - part
            if limit is not None:
                most = 2 * limit >> room
                total = g.clip(total, -most - 1, most + 1)
            limb = self.limbs[i] if i > whole else floor_shift(g, self.limbs[i], part)
            total = g.add(g.mul(total, 1 << room), limb)
        return total

    def toward_zero(self, shift: int, limit: int | None = None) -> Tensor:
        """Return ``tz(x, shift)``, within the same limits."""
        g, whole, part = self.g, shift // self.bits, shift % self.bits
        total = self.floor(shift, limit)
        dropped = self.limbs[:whole]
        if whole < len(self.limbs) and part:
            dropped = [*dropped, g.bits(self.limbs[whole], (1 << part) - 1)]
        elif whole >= len(self.limbs):
            rest = shift - self.bits * len(self.limbs)
            dropped = [*dropped, *([g.bits(self.top, (1 << rest) - 1)] if rest else [])]
        if not dropped:
            return total
        lost = g.op("Min", g.add(*dropped), 1)
        return g.add(total, g.mul(g.whole(g.op("Less", total, 0)), lost))
