"""Shifts: down, toward zero, by a constant or by a number for each element."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.onnx.graph import Operand, Tensor
from neuromorphic.executors.onnx.integers import EXACT, LIMB, MASK
from neuromorphic.executors.onnx.lowering import INT32_END, Lowering, fixed_value, is_number, plain
from neuromorphic.executors.onnx.rules.wide import limbs, matrix_and_vector
from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE
from neuromorphic.integers.symbols import Symbol


def right(to: Lowering, s: Symbol) -> Tensor:
    """Shift down, by a constant or by a number for each element."""
    x, bits = s.args
    if not is_number(bits):
        return shifted(to, s, EXACT)
    if x.peak >= INT32_END:
        return limbs(to, x).floor(bits.peak)
    shift = to.g.toward_zero if x.span[0] >= 0 and x.peak <= EXACT else to.g.floor_shift
    return shift(to.tensor(x), bits.peak, x.peak)


def toward_zero(to: Lowering, s: Symbol) -> Tensor:
    """Divide by a power of two, rounding toward zero."""
    (x,), bits = s.args, s.facts["bits"]
    if x.kind == "multiply" and x.peak > EXACT:
        weighed = _weighed_by_constant(to, s, x, bits) or _weighed(to, x, bits)
        if weighed:
            return weighed
    if x.peak >= INT32_END or matrix_and_vector(to, x):
        return limbs(to, x).toward_zero(bits)
    return to.g.toward_zero(to.tensor(x), bits, x.peak)


def _weighed_by_constant(to: Lowering, s: Symbol, x: Symbol, bits: int) -> Tensor:
    """Return ``y * c / 2**bits`` toward zero: of ``c = high * 2**bits + low``, ``y * high + y * low / 2**bits``."""
    g = to.g
    for y, factor in (x.args, x.args[::-1]):
        c = fixed_value(factor)
        if c is not None and y.peak << bits <= EXACT:  # both parts have the sign of c: so has what is lost
            high = np.sign(c) * (np.abs(c) >> bits)
            parts = high, c - (high << bits)
            whole, low = (plain(p) if y.shape == s.shape else p.astype(np.int32) for p in parts)
            tensor, peak = to.ranked(to.tensor(y), y, len(s.shape)), max(s.peak, factor.peak >> bits)
            rest = g.quotient(g.integer("Mul", tensor, low, peak=EXACT), 1 << bits)
            if not high.any():
                return rest
            return g.integer("Add", g.integer("Mul", tensor, whole, peak=peak), rest, peak=peak)
    return ""


def _weighed(to: Lowering, x: Symbol, bits: int) -> Tensor:
    """Return a product with a Q0.12 number, shifted by at least 12 bits toward zero."""
    for place, factor in enumerate(x.args if bits >= DECAY_BITS else ()):
        y = x.args[1 - place]
        narrow = y.peak < EXACT >> 1 or (y.peak < INT32_END and factor.span[0] >= 0)
        if factor.peak <= DECAY_ONE and narrow and fixed_value(y) is None:
            operands = to.operands(x, x.args)
            weighed = to.g.weigh(to.g.constant(operands[1 - place]), operands[place], y.peak)
            return to.g.toward_zero(weighed, bits - DECAY_BITS, x.peak >> DECAY_BITS)
    return ""


def shifted(to: Lowering, s: Symbol, limit: int) -> Tensor:
    """Return ``x >> bits`` for bits that differ by element, of a number of at most 43 bits, limited to ``limit``.

    It is ``high * 4096 + low``; what a shift needs comes from a table. ``high`` is first limited to where the
    result is above the limit anyway, so that what is divided has 24 significant bits.
    """
    g, (x, bits) = to.g, s.args
    if x.peak >> LIMB >= INT32_END or s.span[0] < -EXACT or (s.peak > EXACT and limit >= EXACT):
        raise to.refused("a shift by a variable")
    at, places = np.arange(bits.span[1] + 1), fixed_value(bits)
    index = to.operand(bits, s.shape) if places is None else ""
    tensor = to.ranked(to.tensor(x), x, len(s.shape))

    def of(table: NDArray[np.int64]) -> Operand:
        entries = table.astype(np.int32)
        return g.op("Gather", entries, index) if places is None else entries[places]

    if x.peak <= EXACT:
        power = 1 << np.minimum(at, 25)
        return g.quotient(g.op("BitwiseAnd", tensor, of(-power)), of(power))
    right, left = np.maximum(at - LIMB, 0), np.maximum(LIMB - at, 0)
    cap = np.minimum(1 << np.maximum(limit.bit_length() + right - left, 0), INT32_END - 1)
    high = limbs(to, x).floor(LIMB) if x.peak >= INT32_END else g.floor_shift(tensor, LIMB, x.peak)
    kept = g.op("BitwiseAnd", g.op("Min", g.exact(high), of(cap)), of(-(1 << right)))
    shifted = g.op("Mul", g.quotient(kept, of(1 << right)), of(1 << left))
    low = g.quotient(g.bits(tensor, MASK), of(1 << np.minimum(at, LIMB)))
    return g.softened(g.op("Add", shifted, low))
