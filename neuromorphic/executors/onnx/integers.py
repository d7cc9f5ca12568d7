"""Exact integer arithmetic from what ONNX Runtime and OpenVINO both compute.

OpenVINO's CPU plug-in adds, subtracts, multiplies, limits, selects and masks int32 as int32, but it divides, compares
and sums over axes in float32 (measured, see ``docs/onnx.md``); and it fuses a chain of nodes that each have one reader,
and computes a chain with a division or a conversion to float32 in it in float32 throughout. So, in every model:

* sums and products may wrap modulo ``2**32`` wherever the result is known to fit;
* a division is by a power of two, of a number with at most 24 significant bits: a shift masks what it drops;
* a mask that changes no bit, a *seal*, which is never fused, stands between float32 and more than 24 bits. Of a tensor
  that is not sealed, :class:`Integers` knows whether its chain is *soft* (computed in float32, exact because all of it
  has at most 24 bits) or *wide* (has more bits somewhere, so it must not become float32);
* what leaves int32 is cut into limbs, digits of a few bits each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuromorphic.executors.onnx.graph import FLOAT, INT32, Graph, Operand, Tensor
from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE

EXACT = 1 << 24
"""Whole numbers up to here are exact in float32."""
LIMB = 12
MASK = (1 << LIMB) - 1
_HALF = 15
_HUGE = 1 << 31


class Integers(Graph):
    """A graph with integer arithmetic. ``peak`` is always the largest magnitude that a tensor is proven to have."""

    def __init__(self) -> None:
        super().__init__()
        self.soft: set[Tensor] = set()
        self.wide: set[Tensor] = set()

    def sealed(self, x: Tensor) -> Tensor:
        """Return an int32 as it is, behind a mask that changes no bit."""
        return self.bits(x, -1)

    def exact(self, x: Operand) -> Tensor:
        """Return an operand for a node of more than 24 bits."""
        x = self.constant(x)
        return self.sealed(x) if x in self.soft else x

    def narrow(self, x: Tensor) -> Tensor:
        """Return an operand for a node that is computed in float32."""
        return self.sealed(x) if x in self.wide else x

    def integer(self, kind: str, *operands: Operand, peak: int, shared: bool = False) -> Tensor:
        """Add a node that int32 computes; ``peak`` is that of operands and result, ``shared``: it has two readers."""
        inputs = [self.exact(x) if peak > EXACT else self.constant(x) for x in operands]
        result = self.op(kind, *inputs)
        if self.soft.intersection(inputs):
            self.soft.add(result)
        if not shared and (peak > EXACT or self.wide.intersection(inputs)):
            self.wide.add(result)
        return result

    def clip(self, x: Tensor, least: int, most: int, *, shared: bool = True) -> Tensor:
        """Limit to ``least..most``; what float32 computed of ``x`` is exact, or beyond the limits: it needs no seal.

        OpenVINO holds the limits of a ``Clip`` in float32, and makes one of a ``Max`` and a ``Min`` in either order.
        """
        if all(int(np.float32(limit)) == limit for limit in (least, most)):
            return self.integer("Clip", x, least, most, peak=0, shared=shared)
        raised = self.sealed(self.integer("Max", x, least, peak=_HUGE))
        return self.sealed(self.integer("Min", raised, most, peak=_HUGE))

    def softened(self, x: Tensor) -> Tensor:
        """Mark the result of a node that float32 computes."""
        self.soft.add(x)
        return x

    def to_float(self, x: Tensor) -> Tensor:
        """Return whole numbers of at most 24 bits as float32."""
        return self.cast(self.narrow(x), FLOAT)

    def to_integer(self, x: Tensor) -> Tensor:
        """Return whole numbers in float32 as int32."""
        return self.softened(self.cast(x, INT32))

    def quotient(self, x: Tensor, divisor: Operand) -> Tensor:
        """Divide toward zero a number of at most 24 significant bits."""
        return self.softened(self.op("Div", self.narrow(x), divisor))

    def floor_shift(self, x: Tensor, bits: int, peak: int = 1 << 31) -> Tensor:
        """Return ``x >> bits``, rounding down."""
        if bits == 0:
            return x
        if bits > 30:
            return self.floor_shift(self.floor_shift(x, _HALF, peak), bits - _HALF, peak >> _HALF)
        if bits >= 8 or peak <= EXACT:  # what is left has 24 bits at most
            return self.quotient(self.bits(x, -(1 << bits)), 1 << bits)
        high, low = self.floor_shift(x, _HALF), self.bits(x, (1 << _HALF) - 1)
        high = self.op("Mul", self.exact(high), 1 << (_HALF - bits))
        return self.op("Add", high, self.exact(self.quotient(low, 1 << bits)))

    def toward_zero(self, x: Tensor, bits: int, peak: int) -> Tensor:
        """Return ``x / 2**bits``, rounding toward zero."""
        if bits == 0:
            return x
        if peak <= EXACT:
            return self.quotient(x, 1 << bits)
        size = self.exact(self.floor_shift(self.op("Abs", self.exact(x)), bits, peak))
        return self.op("Mul", self.op("Sign", self.exact(x)), size)

    def weigh(self, x: Tensor, factor: Operand, peak: int) -> Tensor:
        """Return ``x * factor / 4096`` toward zero, for a factor in -4096..4096, in 0..4096 if peak is over 2**23."""
        if peak < EXACT >> 1:  # high and low part have the sign of x: rounding toward zero commutes with their sum
            x = self.narrow(x)
            high = self.quotient(x, DECAY_ONE)
            low = self.op("Sub", x, self.op("Mul", high, DECAY_ONE))
            low = self.quotient(self.op("Mul", low, factor), DECAY_ONE)
            return self.softened(self.op("Add", self.op("Mul", high, factor), low))
        size = self.op("Abs", self.exact(x))
        low = self.exact(self.quotient(self.op("Mul", self.bits(size, MASK), factor), DECAY_ONE))
        high = self.op("Mul", self.exact(self.floor_shift(size, DECAY_BITS)), factor)
        return self.op("Mul", self.op("Sign", self.exact(x)), self.op("Add", high, low))

    def digits(self, x: Tensor, peak: int, bits: int = LIMB) -> list[Tensor]:
        """Return ``x`` as ``sum(digit << (bits * i))``: all in ``0..2**bits - 1`` but the last, which has the sign."""
        count = num_digits(peak, bits)
        low = [self.bits(self.floor_shift(x, bits * i, peak), (1 << bits) - 1) for i in range(count - 1)]
        return [*low, self.floor_shift(x, bits * (count - 1), peak)]

    def halved_sum(self, x: Tensor, count: int) -> Tensor:
        """Sum over the last axis, ``count`` long, modulo ``2**32``: halves are added to each other."""
        total, odd = self.exact(x), []
        while count > 1:
            half, rest = divmod(count, 2)
            sizes = np.array([half, half, rest][: 2 + rest], dtype=np.int64)
            first, second, *left = self.ops("Split", total, sizes, outputs=len(sizes), axis=-1)
            total, count = self.op("Add", first, second), half
            odd += left
        return self.add(total, *odd)


def num_digits(peak: int, bits: int = LIMB) -> int:
    """Return how many digits hold numbers up to ``peak``."""
    return max(1, -(-peak.bit_length() // bits))


class Limbs:
    """A number of more than 32 bits: what to add up at each of some places, ``sum(t << place)``.

    The sums of each place must stay in int32.
    """

    def __init__(self, g: Integers, columns: dict[int, list[Tensor]]) -> None:
        self.g, self.columns = g, columns
        self._carried: tuple[list[int], list[Tensor]] | None = None

    @classmethod
    def of(cls, g: Integers, digits: Sequence[Operand]) -> Limbs:
        """Return the number of these digits of 12 bits."""
        return cls(g, {LIMB * i: [g.constant(digit)] for i, digit in enumerate(digits)})

    def __add__(self, other: Limbs) -> Limbs:
        places = {*self.columns, *other.columns}
        return Limbs(self.g, {p: [*self.columns.get(p, ()), *other.columns.get(p, ())] for p in places})

    def negative(self) -> Limbs:
        """Return ``-x``."""
        g = self.g
        return Limbs(g, {place: [g.op("Sub", 0, g.exact(t)) for t in terms] for place, terms in self.columns.items()})

    def carried(self) -> tuple[list[int], list[Tensor]]:
        """Return places, and limbs that fill the bits from one to the next; the last has the rest and the sign."""
        if self._carried is None:
            g, last = self.g, max(self.columns)
            places = sorted({*range(0, last, LIMB), *self.columns})
            limbs: list[Tensor] = []
            carry: list[Tensor] = []
            for place, after in zip(places, [*places[1:], 0], strict=True):
                terms = [g.exact(t) for t in (*self.columns.get(place, ()), *carry)]
                total = g.add(*terms) if terms else g.constant(0)
                if after:
                    carry = [g.floor_shift(total, after - place)]
                    total = g.bits(total, (1 << (after - place)) - 1)
                limbs.append(total)
            self._carried = places, limbs
        return self._carried

    def floor(self, shift: int, limit: int | None = None) -> Tensor:
        """Return ``x >> shift`` modulo ``2**32``, or clipped to what is beyond ``limit``, at most ``2**30``."""
        g, (places, limbs) = self.g, self.carried()
        total = g.exact(g.floor_shift(limbs[-1], max(shift - places[-1], 0)))
        for i in reversed(range(len(limbs) - 1)):
            room = places[i + 1] - max(places[i], shift)
            if room <= 0:
                break
            if limit is not None:
                most = (limit >> room) + 2  # times 2**room it is beyond the limit
                total = g.clip(total, -most, most)
            limb = g.exact(g.floor_shift(limbs[i], max(shift - places[i], 0), EXACT))
            total = g.add(g.mul(total, 1 << room), limb)
        g.wide.add(total)
        return total

    def toward_zero(self, shift: int, limit: int | None = None) -> Tensor:
        """Return ``x / 2**shift`` toward zero, within the same limits."""
        total, up = self.floor(shift, limit), self.correction(shift)
        return self.g.add(total, up) if up else total

    def correction(self, shift: int) -> Tensor:
        """Return what rounding toward zero adds to rounding down: 1 where a negative number loses a bit."""
        g, (places, limbs) = self.g, self.carried()
        dropped = []
        for place, after, limb in zip(places, [*places[1:], 1 << 30], limbs, strict=True):
            if place < shift:
                part = g.bits(limb, (1 << min(shift - place, 31)) - 1) if after > shift else limb
                dropped.append(g.op("Min", part, 1))
        if not dropped:
            return ""
        negative = g.cast(g.op("Less", g.exact(limbs[-1]), 0), INT32)
        return g.mul(negative, g.op("Min", g.add(*dropped), 1))

    def digits(self, peak: int, shift: int = 0) -> list[Tensor]:
        """Return ``x >> shift`` of that peak as digits of 12 bits, the last with the sign."""
        g, count = self.g, num_digits(peak)
        low = [g.bits(self.floor(shift + LIMB * i), MASK) for i in range(count - 1)]
        return [*low, self.floor(shift + LIMB * (count - 1))]
