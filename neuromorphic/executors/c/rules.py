"""How an element of each primitive is computed in C.

A rule writes its statements into a loop (:class:`~neuromorphic.executors.c.elements.Elements`) and returns the local
that holds the element. Products, convolutions and rows that are replaced are loops of their own: see ``kernels``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from neuromorphic.executors.c.graphs import is_fixed
from neuromorphic.executors.c.tables import look_up
from neuromorphic.executors.c.text import Digit, Index, axes, flat, is_wide, literal, register
from neuromorphic.integers.symbols import Symbol

if TYPE_CHECKING:
    from neuromorphic.executors.c.elements import Elements

_WORD = 31
_SIGNS = MappingProxyType({"add": "+", "subtract": "-", "multiply": "*", "greater": ">", "greater_equal": ">="})


def _arithmetic(scope: Elements, s: Symbol, index: Index) -> str:
    a, b = scope.operands(s, index)
    wide = "(int64_t)" if is_wide(s) and not any(map(is_wide, s.args)) else ""
    return scope.local(f"{wide}{a} {_SIGNS[s.kind]} {b}", register(s.span))


def _comparison(scope: Elements, s: Symbol, index: Index) -> str:
    a, b = scope.operands(s, index)
    return scope.local(f"{a} {_SIGNS[s.kind]} {b}")


def _where(scope: Elements, s: Symbol, index: Index) -> str:
    condition, x, y = scope.operands(s, index)
    if (x, y) == ("1", "0"):
        return condition
    return scope.local(f"{condition} ? {x} : {y}", register(s.span))


def _mask(scope: Elements, s: Symbol, index: Index) -> str:
    x, mask = scope.operands(s, index)
    return scope.local(f"{x} & {mask}", register(s.span))


def _absolute(scope: Elements, s: Symbol, index: Index) -> str:
    (x,) = scope.operands(s, index)
    return scope.local(f"{x} < 0 ? -{x} : {x}", register(s.span))


def _clip(scope: Elements, s: Symbol, index: Index) -> str:
    (x,), (a,) = scope.operands(s, index), s.args
    least, most = s.facts["least"], s.facts["most"]
    text = f"{x} > {literal(most)} ? {literal(most)} : {x}" if a.span[1] > most else x
    if a.span[0] < least:
        text = f"{x} < {literal(least)} ? {literal(least)} : {text}"
    return x if text == x else scope.local(text, register(s.span))


def _right(scope: Elements, s: Symbol, index: Index) -> str:
    """Shift, rounding down."""
    (x, bits), (a, by) = scope.operands(s, index), s.args
    if by.span[1] > _WORD and not is_wide(a):
        x = scope.local(x, "int64_t")
    return scope.local(_floor(x, bits, a.span[0] < 0), register(s.span))


def _toward_zero(scope: Elements, s: Symbol, index: Index) -> str:
    (a,), bits = s.args, s.facts["bits"]
    if a.kind == "multiply" and is_wide(a) and not is_fixed(a):
        found = _split_product(scope, a, bits, index)
        if found:
            return found
    x = scope.value(a, index)
    if a.span[0] >= 0 and (bits < _WORD or is_wide(a)):
        return scope.local(f"{x} >> {bits}", register(s.span))
    return scope.local(f"{x} / {literal(1 << bits)}", register(s.span))


def _split_product(scope: Elements, product: Symbol, bits: int, index: Index) -> str:
    """Return ``tz(x * y, bits)`` in 32 bits, or nothing where it does not fit.

    With ``x = high * 2**k + low`` and ``0 <= low < 2**k``, the product divided by ``2**k`` and rounded down is
    ``high * y + (low * y >> k)``. Rounded toward zero it is that of a product larger by ``2**k - 1`` where it is
    negative. What is left of the bits is divided then.
    """
    x, y = product.args if product.args[0].peak >= product.args[1].peak else product.args[::-1]
    first = min(bits, _WORD - 1 - y.peak.bit_length())
    if first <= 0 or max(x.peak, y.peak) >> _WORD or ((product.peak >> first) + y.peak) >> _WORD:
        return ""
    a, b = (scope.operand(part, product, index) for part in (x, y))
    term = f"({a} & {(1 << first) - 1}) * {b}"
    if product.span[0] < 0:
        signs = [text for part, text in ((x, a), (y, b)) if part.span[0] < 0]
        negative = f"{signs[0]} < 0" if len(signs) == 1 else f"({signs[0]} ^ {signs[1]}) < 0"
        term += f" + ({negative} ? {(1 << first) - 1} : 0)"
    low = _floor(scope.local(term), str(first), y.span[0] < 0)
    found = scope.local(f"{_floor(a, str(first), x.span[0] < 0)} * {b} + {low}")
    return found if bits == first else scope.local(f"{found} / {1 << (bits - first)}")


def _floor(x: str, bits: str, may_be_negative: bool) -> str:
    """Return ``x >> bits``; of a negative number C leaves that open, so its complement is shifted."""
    return f"({x} < 0 ? ~(~{x} >> {bits}) : {x} >> {bits})" if may_be_negative else f"({x} >> {bits})"


def _take(scope: Elements, s: Symbol, index: Index) -> str:
    place, table = s.args
    return scope.local(look_up(scope, table.facts["array"], scope.value(place, index)), register(s.span))


def _reshape(scope: Elements, s: Symbol, index: Index) -> str:
    return scope.value(s.args[0], index)


def _roll(scope: Elements, s: Symbol, index: Index) -> str:
    moved: list[Digit] = []
    by = (0,) * (len(s.shape) - 2) + (s.facts["rows"], s.facts["columns"])
    for axis, n, steps in zip(axes(index, s.shape), s.shape, by, strict=True):
        moved += [(_moved(scope, flat(axis), -steps % n, n), n)] if steps % n else axis
    return scope.value(s.args[0], tuple(moved))


def _moved(scope: Elements, place: str, steps: int, n: int) -> str:
    """Return a place so many steps on, round the end."""
    text = f"{place} < {n - steps} ? {place} + {steps} : {place} - {n - steps}"
    return scope.once((-steps, ((place, n),)), lambda: scope.local(text))


def _repeat(scope: Elements, s: Symbol, index: Index) -> str:
    *others, last = axes(index, s.shape)
    times, n = s.facts["times"], s.args[0].shape[-1]
    (whole, _) = axes(last, (n, times))
    return scope.value(s.args[0], tuple(d for axis in (*others, whole) for d in axis))


def _row(scope: Elements, s: Symbol, index: Index) -> str:
    matrix, row = s.args
    return scope.value(matrix, (*_row_digit(scope, matrix, row, ()), *index))


def _row_digit(scope: Elements, matrix: Symbol, row: Symbol, index: Index) -> Index:
    rows = matrix.shape[0]
    return ((scope.value(row, index), rows),) if rows > 1 else ()


def _pick(scope: Elements, s: Symbol, index: Index) -> str:
    matrix, row = s.args
    return scope.value(matrix, (*_row_digit(scope, matrix, row, index if row.shape == s.shape else ()), *index))


def _sum(scope: Elements, s: Symbol, index: Index) -> str:
    (x,), n = s.args, s.args[0].shape[-1]
    low, high = x.range
    span = int(np.minimum(low, 0).sum(-1).min()), int(np.maximum(high, 0).sum(-1).max())  # of partial sums
    total, digit = scope.new("sum"), (scope.new("j"), n)
    scope.lines.append(f"{register(span)} {total} = 0;")

    def add(scope: Elements) -> None:
        scope.lines.append(f"{total} += {scope.value(x, (*index, digit) if n > 1 else index)};")

    scope.inner(digit, add)
    return total


def _deliver(scope: Elements, s: Symbol, index: Index) -> str:
    """Add what the sources bring in their order, and limit every sum."""
    (weights, counts, start), n = s.args, s.args[1].shape[0]
    least, most, brought = s.facts["least"], s.facts["most"], weights.peak * counts.peak
    wide = register((least - brought, most + brought))
    total, digit = scope.new("sum"), (scope.new("j"), n)
    scope.lines.append(f"{wide} {total} = {scope.value(start, index)};")

    def add(scope: Elements) -> None:
        count = scope.value(counts, (digit,) if n > 1 else ())
        weight = scope.value(weights, (*index, digit) if n > 1 else index)
        cast = "(int64_t)" if wide == "int64_t" else ""
        scope.lines += [
            f"{total} += {cast}{weight} * {count};",
            f"{total} = {total} < {literal(least)} ? {literal(least)} : {total};",
            f"{total} = {total} > {literal(most)} ? {literal(most)} : {total};",
        ]

    scope.inner(digit, add)
    return total


def _window_max(scope: Elements, s: Symbol, index: Index) -> str:
    """Go through a window, past what lies outside of the image."""
    (x,), best = s.args, scope.new("best")
    channel, *places = axes(index, s.shape)
    scope.lines.append(f"{register(x.span)} {best} = {literal(x.span[0])};")

    def row(scope: Elements) -> None:
        y = _inside(scope, 0, s, places, digits)
        scope.inner(digits[1], lambda inner: column(inner, y))

    def column(scope: Elements, y: Index) -> None:
        here = scope.value(x, (*channel, *y, *_inside(scope, 1, s, places, digits)))
        scope.lines += [f"if ({here} > {best})", f"    {best} = {here};"]

    digits = [(scope.new("k"), n) for n in s.facts["kernel"]]
    scope.inner(digits[0], row)
    return best


def _inside(scope: Elements, axis: int, s: Symbol, places: list[Index], digits: list[Digit]) -> Index:
    """Return the place in the image along an axis; outside, the loop goes on."""
    stride, padding, n = s.facts["stride"][axis], s.facts["padding"][axis], s.args[0].shape[1 + axis]
    may_lie_outside = padding > 0 or (s.shape[1 + axis] - 1) * stride + digits[axis][1] > n
    if n == 1 and not may_lie_outside:
        return ()
    name = scope.local(f"({flat(places[axis])}) * {stride} + {digits[axis][0]} - {padding}")
    if may_lie_outside:
        scope.lines += [f"if ({name} < 0 || {name} >= {n})", "    continue;"]
    return ((name, n),) if n > 1 else ()


def _argmax(scope: Elements, s: Symbol, index: Index) -> str:
    (x,), n = s.args, s.args[0].shape[-1]
    best, place, digit = scope.new("best"), scope.new("at"), (scope.new("j"), n)
    scope.lines += [f"{register(x.span)} {best} = {literal(x.span[0])};", f"int32_t {place} = 0;"]

    def compare(scope: Elements) -> None:
        here = scope.value(x, (digit,) if n > 1 else ())
        scope.lines += [f"if ({here} > {best}) {{", f"    {best} = {here};", f"    {place} = {digit[0]};", "}"]

    scope.inner(digit, compare)
    return place


RULES: Mapping[str, Callable[[Elements, Symbol, Index], str]] = MappingProxyType(
    {
        "add": _arithmetic,
        "subtract": _arithmetic,
        "multiply": _arithmetic,
        "greater": _comparison,
        "greater_equal": _comparison,
        "where": _where,
        "and": _mask,
        "absolute": _absolute,
        "clip": _clip,
        "right": _right,
        "toward_zero": _toward_zero,
        "take": _take,
        "reshape": _reshape,
        "roll": _roll,
        "repeat": _repeat,
        "row": _row,
        "pick": _pick,
        "sum": _sum,
        "deliver": _deliver,
        "window_max": _window_max,
        "argmax": _argmax,
    }
)
"""The rule of each primitive."""
