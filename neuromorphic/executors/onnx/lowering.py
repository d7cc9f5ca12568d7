"""The traced step of an operation as ONNX nodes: one rule for each primitive, and none for any operation.

A symbol becomes an int32 tensor ``[B, *shape]``, modulo ``2**32``: that is its value where its proven range fits int32,
and all that sums, products and masks need where it does not. Whatever needs more than that of a symbol which leaves
int32 (a shift, a limit, a comparison) asks for its limbs. Whole numbers of a large state that is shifted are float32,
which both runtimes shift as vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import CompileError
from neuromorphic.executors.onnx.graph import BOOL, INT32, INT64, Operand, Tensor
from neuromorphic.executors.onnx.integers import EXACT, LIMB, MASK, Integers, Limbs, num_digits
from neuromorphic.executors.onnx.products import Products, matrix_times_vector, product
from neuromorphic.ops.numbers import DECAY_BITS, DECAY_ONE
from neuromorphic.ops.symbols import Symbol

_INT32 = 1 << 31
_SHORT = 1 << 15  # a vector that leaves digits of a matrix some bits


class Lowering:
    """The nodes of one operation.

    Parameters
    ----------
    g : Integers
        Where to compute.
    op : str
        Its name, for messages.
    products : str
        See :func:`neuromorphic.executors.onnx.products.product`.
    inputs : sequence of Tensor
        What its sources give, int32.
    states : mapping of str to Tensor
        Its states before the step.
    real : container of str
        Those that are float32.
    roots : sequence of Symbol
        What is asked for: it counts as read once more than the graph of symbols shows.
    """

    def __init__(
        self,
        g: Integers,
        op: str,
        products: Products,
        inputs: Sequence[Tensor],
        states: Mapping[str, Tensor],
        real: frozenset[str],
        roots: Sequence[Symbol],
    ) -> None:
        self.g, self.op, self.products = g, op, products
        self.inputs, self.states, self.real_states = inputs, states, real
        self._tensors: dict[int, Tensor] = {}
        self._limbs: dict[int, Limbs] = {}
        self._reals: dict[int, Tensor] = {}
        self.reads = reads_of(roots)

    # Symbols as tensors ------------------------------------------------------------------------------------------

    def tensor(self, s: Symbol) -> Tensor:
        """Return a symbol as int32, modulo ``2**32``."""
        if id(s) not in self._tensors:
            fixed = fixed_value(s)
            if fixed is not None:
                self._tensors[id(s)] = self.g.constant(fixed.astype(np.int32))
            elif self._is_real(s):
                self._tensors[id(s)] = self.g.to_integer(self.real(s))
            else:
                self._tensors[id(s)] = RULES[s.kind](self, s)
        return self._tensors[id(s)]

    def real(self, s: Symbol) -> Tensor:
        """Return a symbol of at most 24 bits as float32."""
        if id(s) not in self._reals:
            fixed = fixed_value(s)
            if fixed is not None:
                self._reals[id(s)] = self.g.constant(fixed.astype(np.float32))
            else:
                is_real = self._is_real(s)
                self._reals[id(s)] = REAL_RULES[s.kind](self, s) if is_real else self.g.to_float(self.tensor(s))
        return self._reals[id(s)]

    def _is_real(self, s: Symbol) -> bool:
        if s.kind == "state":
            return s.facts["name"] in self.real_states
        if s.kind not in REAL_RULES or max(s.peak, *(a.peak for a in s.args)) > EXACT:
            return False
        return any(self._is_real(a) for a in s.args)

    def _shared(self, s: Symbol) -> bool:
        return self.reads[id(s)] > 1

    def _operands(self, s: Symbol, args: Sequence[Symbol]) -> list[Operand]:
        """Return tensors that broadcast to the shape of ``s``: constants as one integer where they are."""
        return [self._operand(a, s.shape, [b for b in args if b is not a]) for a in args]

    def _operand(self, a: Symbol, shape: tuple[int, ...], others: Sequence[Symbol]) -> Operand:
        fixed = fixed_value(a)
        if fixed is None:
            return self._ranked(self.tensor(a), a, len(shape))
        spread = any(b.shape == shape and fixed_value(b) is None for b in others)
        return int(fixed.flat[0]) if spread and (fixed == fixed.flat[0]).all() else self.tensor(a)

    def _ranked(self, tensor: Tensor, s: Symbol, rank: int) -> Tensor:
        missing = rank - len(s.shape)
        return self.g.reshape(tensor, -1, *[1] * missing, *s.shape) if missing else tensor

    # Sums --------------------------------------------------------------------------------------------------------

    def _terms(self, s: Symbol, sign: int = 1, *, root: bool = True) -> list[tuple[int, Symbol]]:
        """Return the symbols that a sum adds and subtracts, where nothing else reads its partial sums."""
        if s.kind not in ("add", "subtract") or (not root and self._shared(s)) or fixed_value(s) is not None:
            return [(sign, s)]
        a, b = s.args
        return [
            *self._terms(a, sign, root=False),
            *self._terms(b, sign if s.kind == "add" else -sign, root=False),
        ]

    def _sum(self, s: Symbol) -> Tensor:
        return self._total(s, self._terms(s))

    def _total(
        self,
        s: Symbol,
        terms: Sequence[tuple[int, Symbol]],
        limit: int = EXACT,
        replaced: Mapping[int, tuple[Tensor, int]] = MappingProxyType({}),
    ) -> Tensor:
        """Sum terms: integers first, constants, then what float32 computes.

        Where the sum is limited to ``limit``, float32 may add the last: it only rounds what is beyond the limit.
        """
        g = self.g
        parts: list[tuple[int, int, Operand, int]] = []  # when, sign, tensor, peak
        for sign, term in terms:
            others = [t for _, t in terms if t is not term]
            tensor, peak = replaced.get(id(term)) or (self._operand(term, s.shape, others), term.peak)
            when = 2 if tensor in g.soft else 1 if fixed_value(term) is not None else 0
            parts.append((when, sign, tensor, peak))
        parts.sort(key=lambda part: (part[0], -part[1]))
        shared = self._shared(s)
        soft_peak, hard_peak = (sum(p[3] for p in parts if (p[0] == 2) is soft) for soft in (True, False))
        if soft_peak and soft_peak + hard_peak > EXACT:
            if soft_peak > EXACT:  # each by itself, among the integers
                parts = [(0, sign, g.exact(tensor), peak) for _, sign, tensor, peak in parts]
            else:
                late = self._added([p for p in parts if p[0] == 2], shared=True)
                parts = [p for p in parts if p[0] < 2]
                if soft_peak + limit > EXACT:
                    late = g.exact(late)
                whole = g.op("Add", self._added(parts, shared=True), late)
                if late in g.soft:
                    g.soft.add(whole)
                if not shared:
                    g.wide.add(whole)
                return whole
        return self._added(parts, shared=shared)

    def _added(self, parts: Sequence[tuple[int, int, Operand, int]], *, shared: bool) -> Tensor:
        parts = sorted(parts, key=lambda part: part[1] < 0 and part is parts[0])  # not a negative one first
        _, sign, total, peak = parts[0]
        if sign < 0:
            total = self.g.integer("Sub", 0, total, peak=peak)
        for place, (_, sign, tensor, more) in enumerate(parts[1:], 2):
            peak += more
            if not (isinstance(tensor, int) and tensor == 0):
                kind = "Add" if sign > 0 else "Sub"
                total = self.g.integer(kind, total, tensor, peak=peak, shared=shared and place == len(parts))
        return self.g.constant(total)

    # Elementwise -------------------------------------------------------------------------------------------------

    def _multiply(self, s: Symbol) -> Tensor:
        a, b = self._operands(s, s.args)
        if 1 in (a, b):
            return self.g.constant(b if a == 1 else a)
        return self.g.integer("Mul", a, b, peak=max(s.peak, *(x.peak for x in s.args)), shared=self._shared(s))

    def _mask(self, s: Symbol) -> Tensor:
        x, mask = s.args
        if mask.peak >= _INT32:
            raise self._refused("a mask")
        return self.tensor(x) if 0 <= x.span[0] and x.peak <= mask.peak else self.g.bits(self.tensor(x), mask.peak)

    def _right(self, s: Symbol) -> Tensor:
        x, bits = s.args
        shift = fixed_value(bits)
        if shift is None:
            if s.peak > EXACT:
                raise self._refused("a shift by a variable")
            return self._shifted(s, EXACT)
        if x.peak >= _INT32:
            return self.limbs(x).floor(int(shift.flat[0]))
        if x.span[0] >= 0:
            return self._nonnegative_shift(x, int(shift.flat[0]))
        return self.g.floor_shift(self.tensor(x), int(shift.flat[0]), x.peak)

    def _nonnegative_shift(self, x: Symbol, bits: int) -> Tensor:
        if x.peak <= EXACT:
            return self.g.toward_zero(self.tensor(x), bits, x.peak)
        return self.g.floor_shift(self.tensor(x), bits, x.peak)

    def _toward_zero(self, s: Symbol) -> Tensor:
        (x,), bits = s.args, s.facts["bits"]
        if x.peak <= EXACT:
            return self.g.toward_zero(self.tensor(x), bits, x.peak)
        if x.kind == "multiply":
            weighed = self._weighed_by_constant(s) or self._weighed(s)
            if weighed:
                return weighed
        if x.peak >= _INT32 or (x.kind == "sum" and self._vector_of(x.args[0])):
            return self.limbs(x).toward_zero(bits)
        return self.g.toward_zero(self.tensor(x), bits, x.peak)

    def _weighed_by_constant(self, s: Symbol) -> Tensor:
        """Return ``x * c / 2**bits`` toward zero: of ``c = high * 2**bits + low``, ``x * high + x * low / 2**bits``."""
        g, ((product,), bits) = self.g, (s.args, s.facts["bits"])
        for x, factor in (product.args, product.args[::-1]):
            fixed = fixed_value(factor)
            if fixed is not None and x.peak << bits <= EXACT:  # both parts have the sign of c: so has what is lost
                high = np.sign(fixed) * (np.abs(fixed) >> bits)
                tensor, low = self._ranked(self.tensor(x), x, len(s.shape)), fixed - (high << bits)
                high, low = (plain(part) if x.shape == s.shape else part.astype(np.int32) for part in (high, low))
                rest = g.quotient(g.integer("Mul", tensor, low, peak=EXACT), 1 << bits)
                if not np.any(high):
                    return rest
                peak = max(s.peak, factor.peak >> bits)
                whole = g.integer("Mul", tensor, high, peak=peak)
                return g.integer("Add", whole, rest, peak=peak, shared=self._shared(s))
        return ""

    def _weighed(self, s: Symbol) -> Tensor:
        """Return a product with a Q0.12 number, shifted by at least 12 bits toward zero."""
        ((product,), bits) = s.args, s.facts["bits"]
        for place, factor in enumerate(product.args if bits >= DECAY_BITS else ()):
            x = product.args[1 - place]
            narrow = x.peak < EXACT >> 1 or (x.peak < _INT32 and factor.span[0] >= 0)
            if factor.peak <= DECAY_ONE and narrow and fixed_value(x) is None:
                operands = self._operands(product, product.args)
                weighed = self.g.weigh(self.g.constant(operands[1 - place]), operands[place], x.peak)
                return self.g.toward_zero(weighed, bits - DECAY_BITS, product.peak >> DECAY_BITS)
        return ""

    def _clip(self, s: Symbol) -> Tensor:
        (x,), least, most = s.args, s.facts["least"], s.facts["most"]
        if least <= x.span[0] and x.span[1] <= most:
            return self.tensor(x)
        return self._clipped(x, least, most, shared=self._shared(s))

    def _clipped(self, x: Symbol, least: int, most: int, *, shared: bool = False) -> Tensor:
        g, limit = self.g, max(abs(least), abs(most))
        alone = x.kind in ("add", "subtract") and not self._shared(x) and fixed_value(x) is None
        inside = x.peak < _INT32
        bits = x.args[1] if x.kind == "right" else None
        if bits is not None and fixed_value(bits) is None and fixed_value(x) is None:
            wide = self._shifted(x, limit)
        elif alone and not self._is_real(x) and (inside or self._cut(x, least, most)):
            replaced = {} if inside else self._cut(x, least, most)
            wide = self._total(x, self._terms(x), limit, replaced)
        elif inside:
            wide = self.tensor(x)
        elif bits is not None:
            wide = self.limbs(x.args[0]).floor(bits.peak, limit)
        elif x.kind == "toward_zero":
            wide = self.limbs(x.args[0]).toward_zero(x.facts["bits"], limit)
        else:
            wide = self.limbs(x).floor(0, limit)
        return g.integer("Clip", wide, least, most, peak=0, shared=shared)  # what is soft is exact, or beyond the limit

    def _cut(self, x: Symbol, least: int, most: int) -> dict[int, tuple[Tensor, int]]:
        """Limit the widest term of a sum to what the limits of the sum let through whatever the other terms are."""
        terms = self._terms(x)
        sign, widest = max(terms, key=lambda term: term[1].peak)
        low = sum(min(s * end for end in t.span) for s, t in terms if t is not widest)
        high = sum(max(s * end for end in t.span) for s, t in terms if t is not widest)
        ends = sorted((sign * (least - high), sign * (most - low)))
        peak = max(map(abs, ends))
        if peak + max(abs(low), abs(high)) >= _INT32 or [t for _, t in terms].count(widest) > 1:
            return {}
        return {id(widest): (self._clipped(widest, *ends), peak)}

    def _shifted(self, s: Symbol, limit: int) -> Tensor:
        """Return ``x >> bits`` for bits that differ by element, of a number of at most 43 bits, limited to ``limit``.

        It is ``high * 4096 + low``; what a shift needs comes from a table. ``high`` is first limited to where the
        result is above the limit anyway, so that what is divided has 24 significant bits.
        """
        g, (x, bits) = self.g, s.args
        if x.peak >> LIMB >= _INT32 or limit > EXACT or s.span[0] < -EXACT or bits.span[1] > 31:
            raise self._refused("a shift by a variable")
        at = np.arange(32)
        right, left = np.maximum(at - LIMB, 0), np.maximum(LIMB - at, 0)
        tables = {
            "cap": np.minimum(1 << np.maximum(limit.bit_length() + right - left, 0), _INT32 - 1),
            "mask": -(1 << right),
            "right": 1 << right,
            "left": 1 << left,
            "low": 1 << np.minimum(at, LIMB),
        }
        index = self._operand(bits, s.shape, ())
        of = {name: g.op("Gather", g.constant(table.astype(np.int32)), index) for name, table in tables.items()}
        low = g.bits(self.tensor(x), MASK)
        high = self.limbs(x).floor(LIMB) if x.peak >= _INT32 else g.floor_shift(self.tensor(x), LIMB, x.peak)
        kept = g.op("BitwiseAnd", g.op("Min", g.exact(high), of["cap"]), of["mask"])
        shifted = g.op("Mul", g.quotient(kept, of["right"]), of["left"])
        return g.softened(g.op("Add", shifted, g.quotient(low, of["low"])))

    def _absolute(self, s: Symbol) -> Tensor:
        (x,) = s.args
        if x.peak >= _INT32:
            raise self._refused("a magnitude")
        return self.g.integer("Abs", self.tensor(x), peak=x.peak, shared=self._shared(s))

    def _compared(self, s: Symbol) -> Tensor:
        """Return a comparison as booleans."""
        g, (a, b) = self.g, s.args
        strict = s.kind == "greater"
        if max(a.peak, b.peak) <= EXACT:
            x, y = (g.narrow(g.constant(t)) for t in self._operands(s, s.args))
            return g.op("Greater" if strict else "GreaterOrEqual", x, y)
        if strict:  # a > b: b - a is negative; a >= b: a - b is not
            a, b = b, a
        if a.peak + b.peak < _INT32:
            apart = g.sealed(g.op("Sub", *(g.exact(t) for t in self._operands(s, (a, b)))))
        else:
            apart = (self.limbs(a) + self.limbs(b).mapped(lambda t: g.op("Sub", 0, g.exact(t)))).carried()[1][-1]
        less = g.op("Less", g.exact(apart), 0)
        return less if strict else g.op("Equal", g.cast(less, INT32), 0)

    def _comparison(self, s: Symbol) -> Tensor:
        return self.g.softened(self.g.cast(self._compared(s), INT32))

    def _condition(self, s: Symbol) -> Tensor:
        if s.kind in ("greater", "greater_equal") and fixed_value(s) is None:
            return self._compared(s)
        return self.g.cast(self.tensor(s), BOOL)

    def _where(self, s: Symbol) -> Tensor:
        condition, x, y = s.args
        ends = [fixed_value(a) for a in (x, y)]
        if condition.shape == s.shape and all(
            e is not None and (e == n).all() for e, n in zip(ends, (1, 0), strict=True)
        ):
            return self.tensor(condition)
        chosen = self._condition(condition)
        if s.peak > EXACT and not self._shared(condition):  # no chain from a comparison to numbers of more bits
            chosen = self.g.cast(self.g.sealed(self.g.cast(chosen, INT32)), BOOL)
        chosen = self._ranked(chosen, condition, len(s.shape))
        return self.g.integer(
            "Where", chosen, *self._operands(s, (x, y)), peak=max(x.peak, y.peak), shared=self._shared(s)
        )

    # Whole arrays ------------------------------------------------------------------------------------------------

    def _take(self, s: Symbol) -> Tensor:
        index, table = s.args
        return self.g.op("Gather", self.g.constant(table.facts["array"].astype(np.int32)), self.tensor(index))

    def _product(self, s: Symbol) -> Tensor:
        weights, x = s.args
        return product(self.g, weights.facts["array"], self.tensor(x), *x.span, self.products)

    def _reshape(self, s: Symbol) -> Tensor:
        return self._shaped(s, s.shape)

    def _shaped(self, s: Symbol, shape: tuple[int, ...]) -> Tensor:
        """Return a symbol with another shape; a round trip through a shape costs nothing."""
        while s.kind == "reshape" and fixed_value(s) is None and s.shape != shape:
            s = s.args[0]
        if s.kind == "roll" and fixed_value(s) is None:
            size = int(np.prod(s.shape))
            places = np.arange(size, dtype=np.int32).reshape(s.shape)
            places = np.roll(places, (s.facts["rows"], s.facts["columns"]), (-2, -1)).ravel()
            rolled = self.g.op("Gather", self._shaped(s.args[0], (size,)), places, axis=1)
            return rolled if shape == (size,) else self.g.reshape(rolled, -1, *shape)
        if s.shape == shape and s.kind != "reshape":
            return self.tensor(s)
        x = s.args[0] if s.kind == "reshape" else s
        return self.tensor(x) if x.shape == shape else self.g.reshape(self.tensor(x), -1, *shape)

    def _repeat(self, s: Symbol) -> Tensor:
        (x,), times = s.args, s.facts["times"]
        spread = self.g.op("Expand", self.g.reshape(self.tensor(x), -1, *x.shape, 1), np.array([times], dtype=np.int64))
        return self.g.reshape(spread, -1, *s.shape)

    def _accumulated(self, s: Symbol) -> Tensor:
        (x,) = s.args
        if x.peak * x.shape[-1] <= EXACT:
            axes = np.array([-1], dtype=np.int64)
            return self.g.sealed(self.g.op("ReduceSum", self.g.narrow(self.tensor(x)), axes, keepdims=0))
        if self._vector_of(x) is not None:
            return self.limbs(s).floor(0)
        return self.g.reshape(self.g.halved_sum(self.tensor(x), x.shape[-1]), -1, *s.shape)

    def _vector_of(self, x: Symbol) -> tuple[Symbol, Symbol] | None:
        """Return a matrix and the vector that weighs each of its rows, if that is what is summed."""
        if x.kind == "multiply" and len(x.shape) == 2:
            for matrix, vector in (x.args, x.args[::-1]):
                if matrix.shape == x.shape and vector.shape == (1, x.shape[1]) and vector.peak <= _SHORT:
                    if matrix.peak < _INT32 and fixed_value(matrix) is None and fixed_value(vector) is None:
                        return matrix, vector
        return None

    def _argmax(self, s: Symbol) -> Tensor:
        """Return the place of the first of the largest: by its highest digit, then by the next."""
        g, (x,) = self.g, s.args
        places, last = np.arange(x.shape[0], dtype=np.int32), np.array([1], dtype=np.int64)
        tensor, out = self.tensor(x), x.shape[0]
        digits = [tensor] if x.peak <= EXACT else g.digits(tensor, x.peak)
        candidates: Operand = places
        for place, digit in reversed(list(enumerate(digits))):
            if place < len(digits) - 1:  # only what was best so far
                digit = g.where(g.op("Equal", candidates, out), -1, digit)
            best = g.op("ReduceMax", g.narrow(digit), last, keepdims=1)
            candidates = g.where(g.op("Equal", digit, best), places, out)
        return g.sealed(g.op("ReduceMin", candidates, last, keepdims=1))

    def _row(self, s: Symbol) -> Tensor:
        g, (matrix, index) = self.g, s.args
        fixed = fixed_value(matrix)
        if fixed is None:
            return self._row_of(self.tensor(matrix), index)
        bytes_suffice = fixed.min() >= -128 and fixed.max() <= 127
        table = np.ascontiguousarray(fixed.astype(np.int8 if bytes_suffice else np.int32))
        chosen = g.op("Gather", g.constant(table), g.reshape(self.tensor(index), -1))
        return g.cast(chosen, INT32) if bytes_suffice else chosen

    def _row_of(self, matrix: Tensor, index: Symbol) -> Tensor:
        fixed = fixed_value(index)
        if fixed is not None:
            return self.g.op("Gather", matrix, int(fixed[0]), axis=1)
        return self.g.op("GatherND", matrix, self.g.cast(self.tensor(index), INT64), batch_dims=1)

    def _set_row(self, s: Symbol) -> Tensor:
        matrix, index, row = s.args
        return self._with_row(s, self.tensor(matrix), index, self.tensor(row))

    def _with_row(self, s: Symbol, matrix: Tensor, index: Symbol, row: Tensor) -> Tensor:
        rows, columns = s.shape
        here = self.g.op("Equal", self.tensor(index), np.arange(rows, dtype=np.int32))
        return self.g.where(self.g.reshape(here, -1, rows, 1), self.g.reshape(row, -1, 1, columns), matrix)

    # Whole numbers of a large state, in float32 ------------------------------------------------------------------

    def _real_sum(self, s: Symbol) -> Tensor:
        return self.g.op("Add" if s.kind == "add" else "Sub", *(self.real(a) for a in s.args))

    def _real_right(self, s: Symbol) -> Tensor:
        scale = np.array(2.0 ** -s.args[1].peak, dtype=np.float32)
        return (
            self.g.op("Floor", self.g.op("Mul", self.real(s.args[0]), scale))
            if s.args[1].peak
            else self.real(s.args[0])
        )

    def _real_row(self, s: Symbol) -> Tensor:
        return self._row_of(self.real(s.args[0]), s.args[1])

    def _real_set_row(self, s: Symbol) -> Tensor:
        return self._with_row(s, self.real(s.args[0]), s.args[1], self.real(s.args[2]))

    # Leaves ------------------------------------------------------------------------------------------------------

    def _input(self, s: Symbol) -> Tensor:
        return self.inputs[s.facts["number"]]

    def _state(self, s: Symbol) -> Tensor:
        return self.states[s.facts["name"]]

    # More than 32 bits -------------------------------------------------------------------------------------------

    def limbs(self, s: Symbol) -> Limbs:
        """Return a symbol whole, whatever its range."""
        if id(s) not in self._limbs:
            self._limbs[id(s)] = self._cut_up(s)
        return self._limbs[id(s)]

    def _cut_up(self, s: Symbol) -> Limbs:
        g, fixed = self.g, fixed_value(s)
        if s.kind == "sum" and fixed is None:
            (x,) = s.args
            found = self._vector_of(x)
            if found is not None:
                (matrix, vector), width = found, x.shape[1]
                return matrix_times_vector(g, self.tensor(matrix), matrix.peak, self.tensor(vector), vector.peak, width)
        if fixed is not None or s.peak < _INT32:
            return Limbs(g, {LIMB * i: [g.constant(digit)] for i, digit in enumerate(self._digits(s))})
        if s.kind in ("add", "subtract"):
            a, b = (self.limbs(x) for x in s.args)
            return a + (b if s.kind == "add" else b.mapped(lambda t: g.op("Sub", 0, g.exact(t))))
        if s.kind == "multiply":
            return self._long_product(s)
        if s.kind == "sum":
            (x,) = s.args
            digits = [g.reshape(g.halved_sum(d, x.shape[-1]), -1, *s.shape) for d in self.limbs(x).digits(x.peak)]
            return Limbs.of(g, digits)
        if s.kind in ("toward_zero", "right"):
            x, bits = self.limbs(s.args[0]), s.facts["bits"] if s.kind == "toward_zero" else s.args[1].peak
            shifted = Limbs.of(g, x.digits(s.peak + 1, bits))
            up = x.correction(bits) if s.kind == "toward_zero" else ""
            return shifted + Limbs.of(g, [up]) if up else shifted
        raise self._refused(s.kind)

    def _digits(self, s: Symbol) -> list[Operand]:
        """Return digits of 12 bits: of a constant each with its sign."""
        fixed = fixed_value(s)
        if fixed is None:
            found = self.g.digits(self.tensor(s), s.peak) if s.peak < _INT32 else self.limbs(s).digits(s.peak)
            return list(found)
        size, sign = np.abs(fixed), np.sign(fixed)
        return [(sign * (size >> LIMB * i & MASK)).astype(np.int32) for i in range(num_digits(s.peak))]

    def _long_product(self, s: Symbol) -> Limbs:
        a, b = s.args
        if fixed_value(a) is not None or (fixed_value(b) is None and a.peak > b.peak):
            a, b = b, a
        whole = a.peak <= 1 << 16  # a digit of b times it has 28 bits
        first: list[Operand] = [self.tensor(a)] if whole else self._digits(a)
        columns: dict[int, list[Tensor]] = {}
        for i, x in enumerate(first):
            for j, y in enumerate(self._digits(b)):
                if isinstance(y, str) or np.any(y):  # zeros add nothing
                    ranked = [
                        self._ranked(t, z, len(s.shape)) if isinstance(t, str) else t for t, z in ((x, a), (y, b))
                    ]
                    columns.setdefault(LIMB * (i + j), []).append(self.g.integer("Mul", *ranked, peak=_INT32))
        return Limbs(self.g, columns)

    def _refused(self, what: str) -> CompileError:
        return CompileError(f"{self.op}: {what} of more than 32 bits cannot be exported to ONNX")


def fixed_value(s: Symbol) -> NDArray[np.int64] | None:
    """Return the value of a symbol that has only one."""
    if s.low is not s.high and not np.array_equal(s.low, s.high):
        return None
    return np.broadcast_to(s.low, s.shape)


def plain(value: NDArray[np.int64]) -> Operand:
    """Return a constant as int32, or as one integer where all are equal."""
    return int(value.flat[0]) if (value == value.flat[0]).all() else value.astype(np.int32)


def reads_of(roots: Sequence[Symbol]) -> Counter[int]:
    """Return how often each symbol is read, by its identity."""
    reads = Counter(map(id, roots))
    waiting, seen = list(roots), set()
    while waiting:
        symbol = waiting.pop()
        if id(symbol) not in seen:
            seen.add(id(symbol))
            reads.update(map(id, symbol.args))
            waiting += symbol.args
    return reads


Rule = Callable[[Lowering, Symbol], Tensor]
RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "input": Lowering._input,
        "state": Lowering._state,
        "add": Lowering._sum,
        "subtract": Lowering._sum,
        "multiply": Lowering._multiply,
        "right": Lowering._right,
        "and": Lowering._mask,
        "toward_zero": Lowering._toward_zero,
        "clip": Lowering._clip,
        "absolute": Lowering._absolute,
        "greater": Lowering._comparison,
        "greater_equal": Lowering._comparison,
        "where": Lowering._where,
        "take": Lowering._take,
        "product": Lowering._product,
        "sum": Lowering._accumulated,
        "argmax": Lowering._argmax,
        "row": Lowering._row,
        "set_row": Lowering._set_row,
        "roll": Lowering._reshape,
        "repeat": Lowering._repeat,
        "reshape": Lowering._reshape,
    }
)
"""What makes the nodes of each primitive; a constant is known by its range."""
REAL_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "state": Lowering._state,
        "add": Lowering._real_sum,
        "subtract": Lowering._real_sum,
        "right": Lowering._real_right,
        "row": Lowering._real_row,
        "set_row": Lowering._real_set_row,
    }
)
"""Those that float32 computes where the state they come from is float32."""
