"""Numbers of more than 32 bits, as limbs."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.onnx.graph import Operand, Tensor
from neuromorphic.executors.onnx.integers import EXACT, LIMB, MASK, Limbs, num_digits
from neuromorphic.executors.onnx.lowering import INT32_END, SUMS, Lowering, fixed_value, is_number
from neuromorphic.executors.onnx.products import matrix_times_vector
from neuromorphic.integers.symbols import Symbol

_SHORT = 1 << 15  # a vector that leaves digits of a matrix some bits


def limbs(to: Lowering, s: Symbol) -> Limbs:
    """Return a symbol whole, whatever its range."""
    if id(s) not in to.whole:
        to.whole[id(s)] = _whole(to, s)
    return to.whole[id(s)]


def _whole(to: Lowering, s: Symbol) -> Limbs:
    g, found = to.g, matrix_and_vector(to, s)
    if found:
        (matrix, vector), width = found, s.args[0].shape[1]
        return matrix_times_vector(g, to.tensor(matrix), matrix.peak, to.tensor(vector), vector.peak, width)
    if fixed_value(s) is not None or s.peak < INT32_END:
        return Limbs.of(g, digits_of(to, s))
    if s.kind in SUMS:
        a, b = (limbs(to, x) for x in s.args)
        return a + (b if s.kind == "add" else b.negative())
    if s.kind == "multiply":
        return _long_product(to, s)
    x = s.args[0]
    if s.kind == "sum":
        digits = limbs(to, x).digits(x.peak)
        return Limbs.of(g, [g.reshape(g.halved_sum(d, x.shape[-1]), -1, *s.shape) for d in digits])
    if s.kind in ("toward_zero", "right") and (s.kind == "toward_zero" or is_number(s.args[1])):
        bits = s.facts["bits"] if s.kind == "toward_zero" else s.args[1].peak
        up = limbs(to, x).correction(bits) if s.kind == "toward_zero" else ""
        shifted = Limbs.of(g, limbs(to, x).digits(s.peak + 1, bits))
        return shifted + Limbs.of(g, [up]) if up else shifted
    raise to.refused(s.kind)


def matrix_and_vector(to: Lowering, s: Symbol) -> tuple[Symbol, ...]:
    """Return a matrix and the vector that weighs each of its rows, if those are what is summed."""
    (x, *_) = s.args or (s,)
    if s.kind == "sum" and x.kind == "multiply" and len(x.shape) == 2 and x.peak * x.shape[1] > EXACT:
        for matrix, vector in (x.args, x.args[::-1]):
            fits = matrix.peak < INT32_END and vector.peak <= _SHORT
            shapes = matrix.shape == x.shape and vector.shape == (1, x.shape[1])
            if fits and shapes and fixed_value(matrix) is None and fixed_value(vector) is None:
                return matrix, vector
    return ()


def digits_of(to: Lowering, s: Symbol) -> list[Operand]:
    """Return digits of 12 bits: of a constant each with its sign."""
    fixed = fixed_value(s)
    if fixed is None:
        return [*(to.g.digits(to.tensor(s), s.peak) if s.peak < INT32_END else limbs(to, s).digits(s.peak))]
    size, sign = np.abs(fixed), np.sign(fixed)
    return [(sign * (size >> LIMB * i & MASK)).astype(np.int32) for i in range(num_digits(s.peak))]


def _long_product(to: Lowering, s: Symbol) -> Limbs:
    a, b = s.args
    if fixed_value(a) is not None or (fixed_value(b) is None and a.peak > b.peak):
        a, b = b, a
    short = a.peak <= 1 << 16  # a digit of b times it has 28 bits
    columns: dict[int, list[Tensor]] = {}
    for i, x in enumerate([to.tensor(a)] if short else digits_of(to, a)):
        for j, y in enumerate(digits_of(to, b)):
            if isinstance(y, str) or np.any(y):  # zeros add nothing
                pair = [to.ranked(t, z, len(s.shape)) if isinstance(t, str) else t for t, z in ((x, a), (y, b))]
                columns.setdefault(LIMB * (i + j), []).append(to.g.integer("Mul", *pair, peak=INT32_END))
    return Limbs(to.g, columns)
