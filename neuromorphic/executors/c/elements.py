"""One element of a symbol as C: every primitive that works element by element, or that only moves elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from neuromorphic.errors import CompileError
from neuromorphic.executors.c.arrays import Array, Arrays
from neuromorphic.executors.c.graphs import is_fixed
from neuromorphic.executors.c.text import Digit, Index, axes, flat, indented, is_wide, literal, register, size_of
from neuromorphic.integers.symbols import Symbol

_WORD = 31


class Elements:
    """The body of a loop while it is written: statements, and which local holds which element.

    Parameters
    ----------
    arrays : Arrays
        Where constants go.
    stored : Mapping
        The array of each symbol that lies in memory, by its identity.
    outer : Elements, optional
        The body around this one, whose locals are seen here.
    """

    def __init__(self, arrays: Arrays, stored: Mapping[int, Array], outer: Elements | None = None) -> None:
        self.arrays, self.stored = arrays, stored
        self.lines: list[str] = []
        self._known: dict[tuple[int, Index], str] = dict(outer._known) if outer else {}
        self._count: list[int] = outer._count if outer else [0]

    def local(self, text: str, type_: str = "int32_t") -> str:
        """Give a value a name."""
        name = self.new("x")
        self.lines.append(f"const {type_} {name} = {text};")
        return name

    def new(self, letter: str) -> str:
        """Return a name that no other local has."""
        self._count[0] += 1
        return f"{letter}{self._count[0]}"

    def value(self, s: Symbol, index: Index) -> str:
        """Return an element: a number or a local. ``index`` has the digits of the shape of ``s``."""
        if is_fixed(s) and (size_of(s.shape) == 1 or int(s.low.min()) == int(s.low.max())):
            return literal(int(s.low.flat[0]))
        key = (id(s), index)
        if key not in self._known:
            if is_fixed(s):
                values = np.broadcast_to(s.low, s.shape)
                found = self.local(f"{self.arrays.constant(values)}[{flat(index)}]", register(s.span))
            elif id(s) in self.stored:
                found = self.local(f"{self.stored[id(s)].name}[{flat(index)}]", register(s.span))
            else:
                found = self.compute(s, index)
            self._known[key] = found
        return self._known[key]

    def compute(self, s: Symbol, index: Index) -> str:
        """Return an element of a symbol that this loop computes, even if it is stored then."""
        key = (id(s), index)
        if key not in self._known:
            if s.kind not in RULES:
                raise CompileError(f"C has no rule for the primitive {s.kind!r}")
            self._known[key] = RULES[s.kind](self, s, index)
        return self._known[key]

    def operand(self, a: Symbol, s: Symbol, index: Index) -> str:
        """Return what of an argument meets an element of the result, by NumPy's rules of broadcasting."""
        if a.shape == s.shape:
            return self.value(a, index)
        digits = axes(index, s.shape)[len(s.shape) - len(a.shape) :]
        return self.value(a, tuple(d for axis, n in zip(digits, a.shape, strict=True) if n > 1 for d in axis))

    def operands(self, s: Symbol, index: Index) -> list[str]:
        """Return what of each argument meets an element."""
        return [self.operand(a, s, index) for a in s.args]

    def inner(self, digit: Digit, body: Callable[[Elements], None]) -> None:
        """Add a loop whose body sees the locals that there are."""
        scope = Elements(self.arrays, self.stored, self)
        body(scope)
        name, n = digit
        self.lines += [f"for (int32_t {name} = 0; {name} < {n}; {name}++) {{", *indented(scope.lines), "}"]

    # One element -------------------------------------------------------------------------------------------------

    def _arithmetic(self, s: Symbol, index: Index) -> str:
        a, b = self.operands(s, index)
        wide = "(int64_t)" if is_wide(s) and not any(map(is_wide, s.args)) else ""
        return self.local(f"{wide}{a} {_SIGNS[s.kind]} {b}", register(s.span))

    def _comparison(self, s: Symbol, index: Index) -> str:
        a, b = self.operands(s, index)
        return self.local(f"{a} {_SIGNS[s.kind]} {b}")

    def _where(self, s: Symbol, index: Index) -> str:
        condition, x, y = self.operands(s, index)
        if (x, y) == ("1", "0"):
            return condition
        return self.local(f"{condition} ? {x} : {y}", register(s.span))

    def _and(self, s: Symbol, index: Index) -> str:
        x, mask = self.operands(s, index)
        return self.local(f"{x} & {mask}", register(s.span))

    def _absolute(self, s: Symbol, index: Index) -> str:
        (x,) = self.operands(s, index)
        return self.local(f"{x} < 0 ? -{x} : {x}", register(s.span))

    def _clip(self, s: Symbol, index: Index) -> str:
        (x,), (a,) = self.operands(s, index), s.args
        least, most = s.facts["least"], s.facts["most"]
        text = f"{x} > {literal(most)} ? {literal(most)} : {x}" if a.span[1] > most else x
        if a.span[0] < least:
            text = f"{x} < {literal(least)} ? {literal(least)} : {text}"
        return x if text == x else self.local(text, register(s.span))

    def _right(self, s: Symbol, index: Index) -> str:
        """Shift, rounding down."""
        (x, bits), (a, by) = self.operands(s, index), s.args
        if by.span[1] > _WORD and not is_wide(a):
            x = self.local(x, "int64_t")
        return self.local(self._floor(x, bits, a.span[0] < 0), register(s.span))

    def _toward_zero(self, s: Symbol, index: Index) -> str:
        (a,), bits = s.args, s.facts["bits"]
        if a.kind == "multiply" and is_wide(a) and not is_fixed(a):
            found = self._split_product(a, bits, index)
            if found:
                return found
        x = self.value(a, index)
        if a.span[0] >= 0 and (bits < _WORD or is_wide(a)):
            return self.local(f"{x} >> {bits}", register(s.span))
        return self.local(f"{x} / {literal(1 << bits)}", register(s.span))

    def _split_product(self, product: Symbol, bits: int, index: Index) -> str:
        """Return ``tz(x * y, bits)`` in 32 bits, or nothing where it does not fit.

        With ``x = high * 2**k + low`` and ``0 <= low < 2**k``, the product divided by ``2**k`` and rounded down is
        ``high * y + (low * y >> k)``. Rounded toward zero it is that of a product larger by ``2**k - 1`` where it is
        negative. What is left of the bits is divided then.
        """
        x, y = product.args if product.args[0].peak >= product.args[1].peak else product.args[::-1]
        first = min(bits, _WORD - 1 - y.peak.bit_length())
        if first <= 0 or max(x.peak, y.peak) >> _WORD or product.peak >> first >> _WORD - 1:
            return ""
        a, b = (self.operand(part, product, index) for part in (x, y))
        term = f"({a} & {(1 << first) - 1}) * {b}"
        if product.span[0] < 0:
            signs = [text for part, text in ((x, a), (y, b)) if part.span[0] < 0]
            negative = f"{signs[0]} < 0" if len(signs) == 1 else f"({signs[0]} ^ {signs[1]}) < 0"
            term += f" + ({negative} ? {(1 << first) - 1} : 0)"
        low = self._floor(self.local(term), str(first), y.span[0] < 0)
        found = self.local(f"{self._floor(a, str(first), x.span[0] < 0)} * {b} + {low}")
        return found if bits == first else self.local(f"{found} / {1 << (bits - first)}")

    def _floor(self, x: str, bits: str, may_be_negative: bool) -> str:
        """Return ``x >> bits``; of a negative number C leaves that open, so its complement is shifted."""
        return f"({x} < 0 ? ~(~{x} >> {bits}) : {x} >> {bits})" if may_be_negative else f"({x} >> {bits})"

    def _take(self, s: Symbol, index: Index) -> str:
        place, table = s.args
        name = self.arrays.constant(table.facts["array"])
        return self.local(f"{name}[{self.value(place, index)}]", register(s.span))

    # Elsewhere ---------------------------------------------------------------------------------------------------

    def _reshape(self, s: Symbol, index: Index) -> str:
        return self.value(s.args[0], index)

    def _roll(self, s: Symbol, index: Index) -> str:
        moved: list[Digit] = []
        by = (0,) * (len(s.shape) - 2) + (s.facts["rows"], s.facts["columns"])
        for axis, n, steps in zip(axes(index, s.shape), s.shape, by, strict=True):
            moved += [(self._moved(flat(axis), -steps % n, n), n)] if steps % n else axis
        return self.value(s.args[0], tuple(moved))

    def _moved(self, place: str, steps: int, n: int) -> str:
        """Return a place so many steps on, round the end."""
        key = (-steps, ((place, n),))
        if key not in self._known:
            self._known[key] = self.local(f"{place} < {n - steps} ? {place} + {steps} : {place} - {n - steps}")
        return self._known[key]

    def _repeat(self, s: Symbol, index: Index) -> str:
        *others, last = axes(index, s.shape)
        times, n = s.facts["times"], s.args[0].shape[-1]
        (whole, _) = axes(last, (n, times))
        return self.value(s.args[0], tuple(d for axis in (*others, whole) for d in axis))

    def _row(self, s: Symbol, index: Index) -> str:
        matrix, row = s.args
        return self.value(matrix, (*self._row_digit(matrix, row, ()), *index))

    def _row_digit(self, matrix: Symbol, row: Symbol, index: Index) -> Index:
        rows = matrix.shape[0]
        return ((self.value(row, index), rows),) if rows > 1 else ()

    def _pick(self, s: Symbol, index: Index) -> str:
        matrix, row = s.args
        return self.value(matrix, (*self._row_digit(matrix, row, index if row.shape == s.shape else ()), *index))

    # Loops -------------------------------------------------------------------------------------------------------

    def _sum(self, s: Symbol, index: Index) -> str:
        (x,), n = s.args, s.args[0].shape[-1]
        low, high = x.range
        span = int(np.minimum(low, 0).sum(-1).min()), int(np.maximum(high, 0).sum(-1).max())  # of partial sums
        total, digit = self.new("sum"), (self.new("j"), n)
        self.lines.append(f"{register(span)} {total} = 0;")

        def add(scope: Elements) -> None:
            scope.lines.append(f"{total} += {scope.value(x, (*index, digit) if n > 1 else index)};")

        self.inner(digit, add)
        return total

    def _delivered(self, s: Symbol, index: Index) -> str:
        """Add what the events bring in their order, and limit after each."""
        (weights, counts, start), total = s.args, self.new("sum")
        digit, least, most = (self.new("j"), counts.shape[0]), literal(s.facts["least"]), literal(s.facts["most"])
        self.lines.append(f"int32_t {total} = {self.value(start, index)};")

        def add(scope: Elements) -> None:
            source: Index = (digit,) if counts.shape[0] > 1 else ()
            brought = f"{scope.value(weights, (*index, *source))} * {scope.value(counts, source)}"
            scope.lines.append(f"{total} += {brought};")
            scope.lines.append(f"{total} = {total} > {most} ? {most} : {total} < {least} ? {least} : {total};")

        self.inner(digit, add)
        return total

    def _window_max(self, s: Symbol, index: Index) -> str:
        """Go through a window, past what lies outside of the image."""
        (x,), best = s.args, self.new("best")
        channel, *places = axes(index, s.shape)
        self.lines.append(f"{register(x.span)} {best} = {literal(x.span[0])};")

        def row(scope: Elements) -> None:
            y = self._inside(scope, 0, s, places, digits)
            scope.inner(digits[1], lambda inner: column(inner, y))

        def column(scope: Elements, y: Index) -> None:
            here = scope.value(x, (*channel, *y, *self._inside(scope, 1, s, places, digits)))
            scope.lines += [f"if ({here} > {best})", f"    {best} = {here};"]

        digits = [(self.new("k"), n) for n in s.facts["kernel"]]
        self.inner(digits[0], row)
        return best

    def _inside(self, scope: Elements, axis: int, s: Symbol, places: list[Index], digits: list[Digit]) -> Index:
        """Return the place in the image along an axis; outside, the loop goes on."""
        stride, padding, n = s.facts["stride"][axis], s.facts["padding"][axis], s.args[0].shape[1 + axis]
        may_lie_outside = padding > 0 or (s.shape[1 + axis] - 1) * stride + digits[axis][1] > n
        if n == 1 and not may_lie_outside:
            return ()
        name = scope.local(f"({flat(places[axis])}) * {stride} + {digits[axis][0]} - {padding}")
        if may_lie_outside:
            scope.lines += [f"if ({name} < 0 || {name} >= {n})", "    continue;"]
        return ((name, n),) if n > 1 else ()

    def _argmax(self, s: Symbol, index: Index) -> str:
        (x,), n = s.args, s.args[0].shape[-1]
        best, place, digit = self.new("best"), self.new("at"), (self.new("j"), n)
        self.lines += [f"{register(x.span)} {best} = {literal(x.span[0])};", f"int32_t {place} = 0;"]

        def compare(scope: Elements) -> None:
            here = scope.value(x, (digit,) if n > 1 else ())
            scope.lines += [f"if ({here} > {best}) {{", f"    {best} = {here};", f"    {place} = {digit[0]};", "}"]

        self.inner(digit, compare)
        return place


_SIGNS = MappingProxyType({"add": "+", "subtract": "-", "multiply": "*", "greater": ">", "greater_equal": ">="})
RULES: Mapping[str, Callable[[Elements, Symbol, Index], str]] = MappingProxyType(
    {
        "add": Elements._arithmetic,
        "subtract": Elements._arithmetic,
        "multiply": Elements._arithmetic,
        "greater": Elements._comparison,
        "greater_equal": Elements._comparison,
        "where": Elements._where,
        "and": Elements._and,
        "absolute": Elements._absolute,
        "clip": Elements._clip,
        "right": Elements._right,
        "toward_zero": Elements._toward_zero,
        "take": Elements._take,
        "reshape": Elements._reshape,
        "roll": Elements._roll,
        "repeat": Elements._repeat,
        "row": Elements._row,
        "pick": Elements._pick,
        "window_max": Elements._window_max,
        "sum": Elements._sum,
        "deliver": Elements._delivered,
        "argmax": Elements._argmax,
    }
)
"""How each primitive is computed, for an element; products, and rows that are replaced, are whole loops of their own."""
