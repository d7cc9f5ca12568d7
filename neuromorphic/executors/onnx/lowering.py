"""The traced step of an operation as ONNX nodes: one rule for each primitive, and none for any operation.

A symbol becomes an int32 tensor ``[B, *shape]``, modulo ``2**32``: that is its value where its proven range fits int32,
and all that sums, products and masks need where it does not. What needs more of a symbol that leaves int32 (a shift, a
limit, a comparison) asks for its limbs. Whole numbers of a large state that is shifted are float32, which both runtimes
shift as vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import CompileError
from neuromorphic.executors.onnx.graph import BOOL, INT32, INT64, Operand, Tensor
from neuromorphic.executors.onnx.integers import EXACT, LIMB, MASK, Integers, Limbs, num_digits
from neuromorphic.executors.onnx.products import Products, matrix_times_vector, product
from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE
from neuromorphic.integers.symbols import Symbol, Traced

_INT32 = 1 << 31
_SHORT = 1 << 15  # a vector that leaves digits of a matrix some bits
_SUMS = ("add", "subtract")


class Term(NamedTuple):
    """What a sum adds (``sign`` 1) or subtracts (-1): a tensor, its largest magnitude, and what becomes of it."""

    tensor: Operand
    peak: int
    sign: int
    order: int  # integers 0, constants 1, what float32 computes 2


@dataclass
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
        Its states before the step; those named in ``real_states`` are float32.
    reads : Counter
        How often each symbol is read, by its identity: see :func:`reads_of`.
    """

    g: Integers
    op: str
    products: Products
    inputs: Sequence[Tensor]
    states: Mapping[str, Tensor]
    real_states: frozenset[str]
    reads: Counter[int]
    _tensors: dict[int, Tensor] = field(default_factory=dict)
    _reals: dict[int, Tensor] = field(default_factory=dict)
    _limbs: dict[int, Limbs] = field(default_factory=dict)

    # Symbols as tensors ------------------------------------------------------------------------------------------

    def tensor(self, s: Symbol) -> Tensor:
        """Return a symbol as int32, modulo ``2**32``; a constant without the axis of samples."""
        if id(s) not in self._tensors:
            fixed = fixed_value(s)
            if fixed is not None:
                made = self.g.constant(fixed.astype(np.int32))
            else:
                made = self.g.to_integer(self.real(s)) if self._is_real(s) else RULES[s.kind](self, s)
            self._tensors[id(s)] = made
        return self._tensors[id(s)]

    def real(self, s: Symbol) -> Tensor:
        """Return a symbol of at most 24 bits as float32."""
        if id(s) not in self._reals:
            fixed = fixed_value(s)
            if fixed is not None:
                made = self.g.constant(fixed.astype(np.float32))
            else:
                made = REAL_RULES[s.kind](self, s) if self._is_real(s) else self.g.to_float(self.tensor(s))
            self._reals[id(s)] = made
        return self._reals[id(s)]

    def _is_real(self, s: Symbol) -> bool:
        if s.kind == "state":
            return s.facts["name"] in self.real_states
        exact = s.kind in REAL_RULES and max(s.peak, *(a.peak for a in s.args)) <= EXACT
        by_variable = s.kind == "right" and fixed_value(s.args[1]) is None
        return exact and not by_variable and any(self._is_real(a) for a in s.args)

    def _shared(self, s: Symbol) -> bool:
        return self.reads[id(s)] > 1

    def _operands(self, s: Symbol, args: Sequence[Symbol]) -> list[Operand]:
        """Return tensors that broadcast to the shape of ``s``, a constant as one integer where that is enough."""
        return [self._operand(a, s.shape, [b for b in args if b is not a]) for a in args]

    def _operand(self, a: Symbol, shape: tuple[int, ...], others: Sequence[Symbol] = ()) -> Operand:
        fixed = fixed_value(a)
        if fixed is None:
            return self._ranked(self.tensor(a), a, len(shape))
        enough = any(b.shape == shape and fixed_value(b) is None for b in others)
        return int(fixed.flat[0]) if enough and (fixed == fixed.flat[0]).all() else self.tensor(a)

    def _ranked(self, tensor: Tensor, s: Symbol, rank: int) -> Tensor:
        missing = rank - len(s.shape)
        return self.g.reshape(tensor, -1, *[1] * missing, *s.shape) if missing else tensor

    def _leaf(self, s: Symbol) -> Tensor:
        return self.inputs[s.facts["number"]] if s.kind == "input" else self.states[s.facts["name"]]

    # Sums --------------------------------------------------------------------------------------------------------

    def _terms(self, s: Symbol, sign: int = 1, *, inner: bool = False) -> Iterator[tuple[int, Symbol]]:
        """Yield the symbols that a sum adds and subtracts, where nothing else reads its partial sums."""
        if s.kind not in _SUMS or (inner and self._shared(s)) or fixed_value(s) is not None:
            yield sign, s
        else:
            yield from self._terms(s.args[0], sign, inner=True)
            yield from self._terms(s.args[1], sign if s.kind == "add" else -sign, inner=True)

    def _sum(self, s: Symbol) -> Tensor:
        return self._total(s, list(self._terms(s)))

    def _total(
        self,
        s: Symbol,
        terms: Sequence[tuple[int, Symbol]],
        limit: int = EXACT,
        cut: Mapping[int, tuple[Tensor, int]] = MappingProxyType({}),
    ) -> Tensor:
        """Sum terms: integers first, constants, then what float32 computes.

        Where the sum is limited to ``limit``, float32 may add the last: it only rounds what is beyond the limit.
        """
        g, parts = self.g, []
        for sign, term in terms:
            others = [t for _, t in terms if t is not term]
            tensor, peak = cut.get(id(term)) or (self._operand(term, s.shape, others), term.peak)
            order = 2 if tensor in g.soft else 0 if fixed_value(term) is None else 1
            parts.append(Term(tensor, peak, sign, order))
        soft = [part for part in parts if part.order == 2]
        hard = [part for part in parts if part.order < 2]
        soft_peak = sum(part.peak for part in soft)
        shared = self._shared(s)
        if not soft or soft_peak + sum(part.peak for part in hard) <= EXACT:
            return self._added(parts, shared=shared)
        if soft_peak > EXACT or not hard:
            return self._added([part._replace(tensor=g.exact(part.tensor), order=0) for part in parts], shared=shared)
        late = self._added(soft, shared=True)
        if soft_peak + limit > EXACT:
            late = g.exact(late)
        total = g.op("Add", self._added(hard, shared=True), late)
        if late in g.soft:
            g.soft.add(total)
        if not shared:
            g.wide.add(total)
        return total

    def _added(self, parts: Sequence[Term], *, shared: bool) -> Tensor:
        added = [part for part in parts if part.sign > 0]
        first = min(added, key=lambda part: part.order) if added else Term(0, 0, 1, 1)
        total, peak = first.tensor, first.peak
        for part in sorted((p for p in parts if p is not first), key=lambda part: part.order):
            peak += part.peak
            if not (isinstance(part.tensor, int) and part.tensor == 0):
                kind = "Add" if part.sign > 0 else "Sub"
                total = self.g.integer(kind, total, part.tensor, peak=peak, shared=shared)
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
        return self.tensor(x) if x.span[0] >= 0 and x.peak <= mask.peak else self.g.bits(self.tensor(x), mask.peak)

    def _right(self, s: Symbol) -> Tensor:
        x, bits = s.args
        if not _is_number(bits):
            return self._shifted(s, EXACT)
        if x.peak >= _INT32:
            return self.limbs(x).floor(bits.peak)
        shift = self.g.toward_zero if x.span[0] >= 0 and x.peak <= EXACT else self.g.floor_shift
        return shift(self.tensor(x), bits.peak, x.peak)

    def _toward_zero(self, s: Symbol) -> Tensor:
        (x,), bits = s.args, s.facts["bits"]
        if x.kind == "multiply" and x.peak > EXACT:
            weighed = self._weighed_by_constant(s, x, bits) or self._weighed(x, bits)
            if weighed:
                return weighed
        if x.peak >= _INT32 or self._matrix_and_vector(x):
            return self.limbs(x).toward_zero(bits)
        return self.g.toward_zero(self.tensor(x), bits, x.peak)

    def _weighed_by_constant(self, s: Symbol, x: Symbol, bits: int) -> Tensor:
        """Return ``y * c / 2**bits`` toward zero: of ``c = high * 2**bits + low``, ``y * high + y * low / 2**bits``."""
        g = self.g
        for y, factor in (x.args, x.args[::-1]):
            c = fixed_value(factor)
            if c is not None and y.peak << bits <= EXACT:  # both parts have the sign of c: so has what is lost
                high = np.sign(c) * (np.abs(c) >> bits)
                parts = high, c - (high << bits)
                whole, low = (plain(p) if y.shape == s.shape else p.astype(np.int32) for p in parts)
                tensor, peak = self._ranked(self.tensor(y), y, len(s.shape)), max(s.peak, factor.peak >> bits)
                rest = g.quotient(g.integer("Mul", tensor, low, peak=EXACT), 1 << bits)
                if not high.any():
                    return rest
                return g.integer("Add", g.integer("Mul", tensor, whole, peak=peak), rest, peak=peak)
        return ""

    def _weighed(self, x: Symbol, bits: int) -> Tensor:
        """Return a product with a Q0.12 number, shifted by at least 12 bits toward zero."""
        for place, factor in enumerate(x.args if bits >= DECAY_BITS else ()):
            y = x.args[1 - place]
            narrow = y.peak < EXACT >> 1 or (y.peak < _INT32 and factor.span[0] >= 0)
            if factor.peak <= DECAY_ONE and narrow and fixed_value(y) is None:
                operands = self._operands(x, x.args)
                weighed = self.g.weigh(self.g.constant(operands[1 - place]), operands[place], y.peak)
                return self.g.toward_zero(weighed, bits - DECAY_BITS, x.peak >> DECAY_BITS)
        return ""

    def _clip(self, s: Symbol) -> Tensor:
        (x,), least, most = s.args, s.facts["least"], s.facts["most"]
        if least <= x.span[0] and x.span[1] <= most:
            return self.tensor(x)
        return self._clipped(x, least, most, shared=self._shared(s))

    def _clipped(self, x: Symbol, least: int, most: int, *, shared: bool = False) -> Tensor:
        limit, inside = max(abs(least), abs(most)), x.peak < _INT32
        terms = list(self._terms(x)) if x.kind in _SUMS and not self._shared(x) and not self._is_real(x) else []
        if not inside and limit > 1 << 30:
            raise self._refused(f"a limit of {limit}")
        cut = {} if inside or not terms else self._cut(terms, least, most)
        if x.kind == "right" and not _is_number(x.args[1]) and fixed_value(x) is None:
            wide = self._shifted(x, limit)
        elif cut or (terms and inside):
            wide = self._total(x, terms, limit, cut)
        elif inside:
            wide = self.tensor(x)
        elif x.kind == "right":
            wide = self.limbs(x.args[0]).floor(x.args[1].peak, limit)
        elif x.kind == "toward_zero":
            wide = self.limbs(x.args[0]).toward_zero(x.facts["bits"], limit)
        else:
            wide = self.limbs(x).floor(0, limit)
        return self.g.clip(wide, least, most, shared=shared)

    def _cut(self, terms: Sequence[tuple[int, Symbol]], least: int, most: int) -> dict[int, tuple[Tensor, int]]:
        """Limit the widest term of a sum to what the limits of the sum let through whatever the other terms are."""
        sign, widest = max(terms, key=lambda term: term[1].peak)
        ends = [sorted(other * end for end in t.span) for other, t in terms if t is not widest]
        low, high = (sum(end[side] for end in ends) for side in (0, 1))
        limits = sorted((sign * (least - high), sign * (most - low)))
        peak = max(map(abs, limits))
        if peak > 1 << 30 or peak + max(abs(low), abs(high)) >= _INT32 or len(ends) < len(terms) - 1:
            return {}
        return {id(widest): (self._clipped(widest, *limits), peak)}

    def _shifted(self, s: Symbol, limit: int) -> Tensor:
        """Return ``x >> bits`` for bits that differ by element, of a number of at most 43 bits, limited to ``limit``.

        It is ``high * 4096 + low``; what a shift needs comes from a table. ``high`` is first limited to where the
        result is above the limit anyway, so that what is divided has 24 significant bits.
        """
        g, (x, bits) = self.g, s.args
        if x.peak >> LIMB >= _INT32 or s.span[0] < -EXACT or (s.peak > EXACT and limit >= EXACT):
            raise self._refused("a shift by a variable")
        at, places = np.arange(bits.span[1] + 1), fixed_value(bits)
        index = self._operand(bits, s.shape) if places is None else ""
        tensor = self._ranked(self.tensor(x), x, len(s.shape))

        def of(table: NDArray[np.int64]) -> Operand:
            entries = table.astype(np.int32)
            return g.op("Gather", entries, index) if places is None else entries[places]

        if x.peak <= EXACT:
            power = 1 << np.minimum(at, 25)
            return g.quotient(g.op("BitwiseAnd", tensor, of(-power)), of(power))
        right, left = np.maximum(at - LIMB, 0), np.maximum(LIMB - at, 0)
        cap = np.minimum(1 << np.maximum(limit.bit_length() + right - left, 0), _INT32 - 1)
        high = self.limbs(x).floor(LIMB) if x.peak >= _INT32 else g.floor_shift(tensor, LIMB, x.peak)
        kept = g.op("BitwiseAnd", g.op("Min", g.exact(high), of(cap)), of(-(1 << right)))
        shifted = g.op("Mul", g.quotient(kept, of(1 << right)), of(1 << left))
        low = g.quotient(g.bits(tensor, MASK), of(1 << np.minimum(at, LIMB)))
        return g.softened(g.op("Add", shifted, low))

    def _absolute(self, s: Symbol) -> Tensor:
        (x,) = s.args
        if x.peak >= _INT32:
            raise self._refused("a magnitude")
        return self.g.integer("Abs", self.tensor(x), peak=x.peak, shared=self._shared(s))

    def _comparison(self, s: Symbol) -> Tensor:
        return self.g.softened(self.g.cast(self._compared(s), INT32))

    def _compared(self, s: Symbol) -> Tensor:
        """Return a comparison as booleans."""
        g, (a, b), strict = self.g, s.args, s.kind == "greater"
        if max(a.peak, b.peak) <= EXACT:
            x, y = (g.narrow(g.constant(t)) for t in self._operands(s, s.args))
            return g.op("Greater" if strict else "GreaterOrEqual", x, y)
        if strict:  # a > b: b - a is negative; a >= b: a - b is not
            a, b = b, a
        if a.peak + b.peak < _INT32:
            apart = g.sealed(g.op("Sub", *(g.exact(t) for t in self._operands(s, (a, b)))))
        else:
            apart = (self.limbs(a) + self.limbs(b).negative()).carried()[1][-1]
        less = g.op("Less", g.exact(apart), 0)
        return less if strict else g.op("Equal", g.cast(less, INT32), 0)

    def _where(self, s: Symbol) -> Tensor:
        g, (condition, x, y) = self.g, s.args
        ends = fixed_value(x), fixed_value(y)
        if condition.shape == s.shape and all(
            e is not None and (e == n).all() for e, n in zip(ends, (1, 0), strict=True)
        ):
            return self.tensor(condition)
        compared = condition.kind in ("greater", "greater_equal") and fixed_value(condition) is None
        chosen = self._compared(condition) if compared else g.cast(self.tensor(condition), BOOL)
        if max(x.peak, y.peak) > EXACT and not self._shared(condition):  # no chain from float32 to more bits
            chosen = g.cast(g.sealed(g.cast(chosen, INT32)), BOOL)
        chosen = self._ranked(chosen, condition, len(s.shape))
        return g.integer("Where", chosen, *self._operands(s, (x, y)), peak=max(x.peak, y.peak), shared=self._shared(s))

    # Whole arrays ------------------------------------------------------------------------------------------------

    def _take(self, s: Symbol) -> Tensor:
        index, table = s.args
        return self.g.op("Gather", table.facts["array"].astype(np.int32), self.tensor(index))

    def _product(self, s: Symbol) -> Tensor:
        weights, x = s.args
        return product(self.g, weights.facts["array"], self.tensor(x), *x.span, self.products)

    def _delivered(self, s: Symbol) -> Tensor:
        """Return limited sums in their order, by pairs: what two do, one after the other, is what one can do.

        ``x -> min(max(x + a, low), high)`` twice is such a step again. Beyond what the limits are apart, ``a`` does no
        more: so it stays small.
        """
        g, (weights, counts, start), (least, most) = self.g, s.args, (s.facts["least"], s.facts["most"])
        (outputs, width), far = weights.shape, most - least
        arriving = self.g.reshape(self.tensor(counts), -1, 1, width)
        a = g.integer("Mul", arriving, weights.facts["array"].astype(np.int32), peak=weights.peak * counts.peak)
        a = g.clip(a, -far, far)
        low, high = (g.add(g.op("Mul", a, 0), end) for end in (least, most))
        while width > 1:
            parts = [[_every_second(g, x, first, width) for first in (0, 1)] for x in (a, low, high)]
            (a1, a2), (low1, low2), (high1, high2) = parts
            ends = [g.op("Min", g.op("Max", g.op("Add", end, a2), low2), high2) for end in (low1, high1)]
            made = [g.clip(g.op("Add", a1, a2), -far, far), *ends]
            if width % 2:
                last = [g.op("Slice", x, *_ends(width - 1, width)) for x in (a, low, high)]
                made = [g.op("Concat", *pair, axis=2) for pair in zip(made, last, strict=True)]
            a, low, high = made
            width = (width + 1) // 2
        a, low, high = (g.reshape(x, -1, outputs) for x in (a, low, high))
        return g.sealed(g.op("Min", g.op("Max", g.op("Add", self.tensor(start), a), low), high))

    def _reshape(self, s: Symbol) -> Tensor:
        return self._shaped(s, s.shape)

    def _shaped(self, s: Symbol, shape: tuple[int, ...]) -> Tensor:
        """Return a symbol with another shape; a way through other shapes and back costs nothing."""
        while s.kind == "reshape" and fixed_value(s) is None:
            s = s.args[0]
        found, tensor = s.shape, ""
        if s.kind == "roll" and fixed_value(s) is None:
            places = np.arange(np.prod(s.shape), dtype=np.int32).reshape(s.shape)
            places = np.roll(places, (s.facts["rows"], s.facts["columns"]), (-2, -1)).ravel()
            found, tensor = places.shape, self.g.op("Gather", self._shaped(s.args[0], places.shape), places, axis=1)
        tensor = tensor or self.tensor(s)
        return tensor if found == shape else self.g.reshape(tensor, -1, *shape)

    def _repeat(self, s: Symbol) -> Tensor:
        (x,), times = s.args, np.array([s.facts["times"]], dtype=np.int64)
        return self.g.reshape(self.g.op("Expand", self.g.reshape(self.tensor(x), -1, *x.shape, 1), times), -1, *s.shape)

    def _accumulated(self, s: Symbol) -> Tensor:
        (x,) = s.args
        if x.peak * x.shape[-1] <= EXACT:
            axes = np.array([-1], dtype=np.int64)
            return self.g.sealed(self.g.op("ReduceSum", self.g.narrow(self.tensor(x)), axes, keepdims=0))
        if self._matrix_and_vector(s):
            return self.limbs(s).floor(0)
        return self.g.reshape(self.g.halved_sum(self.tensor(x), x.shape[-1]), -1, *s.shape)

    def _matrix_and_vector(self, s: Symbol) -> tuple[Symbol, ...]:
        """Return a matrix and the vector that weighs each of its rows, if those are what is summed."""
        (x, *_) = s.args or (s,)
        if s.kind == "sum" and x.kind == "multiply" and len(x.shape) == 2 and x.peak * x.shape[1] > EXACT:
            for matrix, vector in (x.args, x.args[::-1]):
                fits = matrix.peak < _INT32 and vector.peak <= _SHORT
                shapes = matrix.shape == x.shape and vector.shape == (1, x.shape[1])
                if fits and shapes and fixed_value(matrix) is None and fixed_value(vector) is None:
                    return matrix, vector
        return ()

    def _argmax(self, s: Symbol) -> Tensor:
        """Return the place of the first of the largest: by the highest digit, then by the next."""
        g, (x,) = self.g, s.args
        none, last = x.shape[0], np.array([1], dtype=np.int64)
        places = np.arange(none, dtype=np.int32)
        candidates: Operand = places
        for digit in [self.tensor(x)] if x.peak <= EXACT else reversed(self._digits(x)):
            if candidates is not places:  # only what was best so far
                digit = g.where(g.op("Equal", candidates, none), -1, digit)
            best = g.op("ReduceMax", g.narrow(g.constant(digit)), last, keepdims=1)
            candidates = g.where(g.op("Equal", digit, best), places, none)
        return g.sealed(g.op("ReduceMin", candidates, last, keepdims=1))

    def _row(self, s: Symbol) -> Tensor:
        matrix, index = s.args
        fixed = fixed_value(matrix)
        if fixed is None:
            return self._row_of(self.tensor(matrix), index)
        table = fixed.astype(np.int8 if matrix.peak < 128 else np.int32)
        return self.g.cast(self.g.op("Gather", table, self.g.reshape(self.tensor(index), -1)), INT32)

    def _row_of(self, matrix: Tensor, index: Symbol) -> Tensor:
        fixed = fixed_value(index)
        if fixed is not None:
            return self.g.op("Gather", matrix, int(fixed[0]), axis=1)
        return self.g.op("GatherND", matrix, self.g.cast(self.tensor(index), INT64), batch_dims=1)

    def _set_row(self, s: Symbol) -> Tensor:
        matrix, index, row = s.args
        return self._with_row(s, self.tensor(matrix), index, self.tensor(row))

    def _with_row(self, s: Symbol, matrix: Tensor, index: Symbol, row: Tensor) -> Tensor:
        g, (rows, columns) = self.g, s.shape
        place, row = g.reshape(self.tensor(index), -1, 1, 1), g.reshape(row, -1, 1, columns)
        if any(fixed_value(a) is not None for a in s.args):  # without the axis of samples
            return g.where(g.op("Equal", place, np.arange(rows, dtype=np.int32).reshape(1, -1, 1)), row, matrix)
        places = g.op("Expand", place, np.array([1, 1, columns], dtype=np.int64))
        return g.op("ScatterElements", matrix, places, row, axis=1)

    # Whole numbers of a large state, in float32 ------------------------------------------------------------------

    def _real_sum(self, s: Symbol) -> Tensor:
        return self.g.op("Add" if s.kind == "add" else "Sub", *(self.real(a) for a in s.args))

    def _real_right(self, s: Symbol) -> Tensor:
        power = (2.0 ** -s.args[1].low).astype(np.float32)
        return self.g.op("Floor", self.g.op("Mul", self.real(s.args[0]), power))

    def _real_row(self, s: Symbol) -> Tensor:
        return self._row_of(self.real(s.args[0]), s.args[1])

    def _real_set_row(self, s: Symbol) -> Tensor:
        return self._with_row(s, self.real(s.args[0]), s.args[1], self.real(s.args[2]))

    # More than 32 bits -------------------------------------------------------------------------------------------

    def limbs(self, s: Symbol) -> Limbs:
        """Return a symbol whole, whatever its range."""
        if id(s) not in self._limbs:
            self._limbs[id(s)] = self._whole(s)
        return self._limbs[id(s)]

    def _whole(self, s: Symbol) -> Limbs:
        g, found = self.g, self._matrix_and_vector(s)
        if found:
            (matrix, vector), width = found, s.args[0].shape[1]
            return matrix_times_vector(g, self.tensor(matrix), matrix.peak, self.tensor(vector), vector.peak, width)
        if fixed_value(s) is not None or s.peak < _INT32:
            return Limbs.of(g, self._digits(s))
        if s.kind in _SUMS:
            a, b = (self.limbs(x) for x in s.args)
            return a + (b if s.kind == "add" else b.negative())
        if s.kind == "multiply":
            return self._long_product(s)
        x = s.args[0]
        if s.kind == "sum":
            digits = self.limbs(x).digits(x.peak)
            return Limbs.of(g, [g.reshape(g.halved_sum(d, x.shape[-1]), -1, *s.shape) for d in digits])
        if s.kind in ("toward_zero", "right") and (s.kind == "toward_zero" or _is_number(s.args[1])):
            bits = s.facts["bits"] if s.kind == "toward_zero" else s.args[1].peak
            up = self.limbs(x).correction(bits) if s.kind == "toward_zero" else ""
            shifted = Limbs.of(g, self.limbs(x).digits(s.peak + 1, bits))
            return shifted + Limbs.of(g, [up]) if up else shifted
        raise self._refused(s.kind)

    def _digits(self, s: Symbol) -> list[Operand]:
        """Return digits of 12 bits: of a constant each with its sign."""
        fixed = fixed_value(s)
        if fixed is None:
            return [*(self.g.digits(self.tensor(s), s.peak) if s.peak < _INT32 else self.limbs(s).digits(s.peak))]
        size, sign = np.abs(fixed), np.sign(fixed)
        return [(sign * (size >> LIMB * i & MASK)).astype(np.int32) for i in range(num_digits(s.peak))]

    def _long_product(self, s: Symbol) -> Limbs:
        a, b = s.args
        if fixed_value(a) is not None or (fixed_value(b) is None and a.peak > b.peak):
            a, b = b, a
        short = a.peak <= 1 << 16  # a digit of b times it has 28 bits
        columns: dict[int, list[Tensor]] = {}
        for i, x in enumerate([self.tensor(a)] if short else self._digits(a)):
            for j, y in enumerate(self._digits(b)):
                if isinstance(y, str) or np.any(y):  # zeros add nothing
                    pair = [self._ranked(t, z, len(s.shape)) if isinstance(t, str) else t for t, z in ((x, a), (y, b))]
                    columns.setdefault(LIMB * (i + j), []).append(self.g.integer("Mul", *pair, peak=_INT32))
        return Limbs(self.g, columns)

    def _refused(self, what: str) -> CompileError:
        return CompileError(f"{self.op}: {what} of more than 32 bits cannot be exported to ONNX")


def fixed_value(s: Symbol) -> NDArray[np.int64] | None:
    """Return the value of a symbol that has only one."""
    return np.broadcast_to(s.low, s.shape) if s.low is s.high or np.array_equal(s.low, s.high) else None


def _is_number(s: Symbol) -> bool:
    """Whether a symbol is one number, the same for all elements."""
    return s.span[0] == s.span[1]


def _ends(first: int, end: int, step: int = 1) -> tuple[Operand, ...]:
    """Return what a ``Slice`` of the last of three axes takes."""
    return tuple(np.array([number], dtype=np.int64) for number in (first, end, 2, step))


def _every_second(g: Integers, x: Tensor, first: int, width: int) -> Tensor:
    """Return every second entry of the last of three axes, as many from 0 as from 1."""
    return g.op("Slice", x, *_ends(first, width // 2 * 2, 2))


def plain(value: NDArray[np.int64]) -> Operand:
    """Return a constant as int32, or as one integer where all are equal."""
    return int(value.flat[0]) if (value == value.flat[0]).all() else value.astype(np.int32)


def reads_of(asked: Traced) -> Counter[int]:
    """Return how often each symbol is read, by its identity; what is asked for is read once more."""
    args = (a for symbol in asked.symbols() for a in symbol.args)
    return Counter(map(id, [asked.value, *asked.after.values(), *args]))


Rule = Callable[[Lowering, Symbol], Tensor]
RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "input": Lowering._leaf,
        "state": Lowering._leaf,
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
        "deliver": Lowering._delivered,
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
        "state": Lowering._leaf,
        "add": Lowering._real_sum,
        "subtract": Lowering._real_sum,
        "right": Lowering._real_right,
        "row": Lowering._real_row,
        "set_row": Lowering._real_set_row,
    }
)
"""Those that float32 computes where the state they come from is float32."""
