"""The text of C: types from proven ranges, numbers, and the places of elements in loops."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.integers.symbols import Symbol

INT32_LIMIT = 1 << 31
STORAGE = (
    ("uint8_t", 0, 255),
    ("int8_t", -128, 127),
    ("uint16_t", 0, 65535),
    ("int16_t", -32768, 32767),
    ("uint32_t", 0, -1),
    ("int32_t", -INT32_LIMIT, INT32_LIMIT - 1),
    ("int64_t", -(1 << 63), (1 << 63) - 1),
)
"""Types of arrays, the first that fits is taken; the range of ``uint32_t`` is empty, as only weights have it."""
SIZES = {name: int("".join(c for c in name if c.isdigit())) // 8 for name, _, _ in STORAGE}

Digit = tuple[str, int]
Index = tuple[Digit, ...]
"""The place of an element, as digits ``(text, how many)`` in C order: a reshaped array has the same."""


def storage(*spans: tuple[int, int]) -> str:
    """Return the smallest type of an array that holds these ranges."""
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    return next(name for name, least, most in STORAGE if least <= low and high <= most)


def register(span: tuple[int, int]) -> str:
    """Return the type in which a value of a range is computed."""
    return "int32_t" if span[0] > -INT32_LIMIT and span[1] < INT32_LIMIT else "int64_t"


def is_wide(symbol: Symbol) -> bool:
    """Whether a symbol needs 64 bits."""
    return register(symbol.span) == "int64_t"


def literal(value: int) -> str:
    """Write a number, a negative one in parentheses."""
    text = str(value) if abs(value) < INT32_LIMIT else f"{value}LL"
    return f"({text})" if value < 0 else text


def size_of(shape: Sequence[int]) -> int:
    """Return how many elements a shape has."""
    return prod(shape)


def loops_of(shape: Sequence[int], letter: str = "i") -> Index:
    """Return a place whose digits are loop variables, one for each axis that has more than one element."""
    return tuple((f"{letter}{axis}", n) for axis, n in enumerate(shape) if n > 1)


def flat(index: Index) -> str:
    """Return a place as one number."""
    text = ""
    for digit, n in index:
        text = f"({text}) * {n} + {digit}" if " " in text else f"{text} * {n} + {digit}" if text else digit
    return text or "0"


def axes(index: Index, shape: Sequence[int]) -> list[Index]:
    """Share the digits of a place among the axes of a shape; where they do not fit, divide."""
    shared: list[Index] = []
    left = list(index)
    for n in shape:
        taken: list[Digit] = []
        while left and prod(m for _, m in taken) < n:
            taken.append(left.pop(0))
        if prod(m for _, m in taken) != n:
            return _divided(flat(index), shape)
        shared.append(tuple(taken))
    return shared


def repeats(values: NDArray[Any]) -> int:
    """Return the size of the equal blocks, one behind the other, in each of which a constant has one value.

    Examples
    --------
    >>> repeats(np.array([5, 5, 5, 5, 7, 7])), repeats(np.array([5, 5, 7]))
    (2, 1)
    """
    flat_values = values.ravel()
    changes = np.flatnonzero(np.diff(flat_values)) + 1
    return int(np.gcd.reduce([*changes, flat_values.size]))


def leading(index: Index, size: int, block: int) -> Index:
    """Return the first digits of a place among ``size``, as few as say in which of equal blocks it lies; else all."""
    for count in range(len(index)):
        if block % (size // prod(n for _, n in index[:count])) == 0:
            return index[:count]
    return index


def _divided(place: str, shape: Sequence[int]) -> list[Index]:
    found: list[Index] = []
    for axis, n in enumerate(shape):
        inner = prod(shape[axis + 1 :])
        text = f"({place})" if inner == 1 else f"(({place}) / {inner})"
        found.append(((text if axis == 0 else f"({text} % {n})", n),) if n > 1 else ())
    return found


def loop(index: Index, body: Sequence[str]) -> list[str]:
    """Wrap statements in the loops of a place, or in a block if it has none."""
    if not index:
        return ["{", *indented(body), "}"]
    lines = list(body)
    for digit, n in reversed(index):
        lines = [f"for (int32_t {digit} = 0; {digit} < {n}; {digit}++) {{", *indented(lines), "}"]
    return lines


def indented(lines: Sequence[str]) -> list[str]:
    """Move lines to the right."""
    return ["    " + line if line else line for line in lines]


def function(name: str, comment: str, body: Sequence[str], parameters: str = "void", *, static: bool = True) -> str:
    """Return a function that returns nothing."""
    told = [f"/* {comment} */"] if comment else []
    return "\n".join([*told, f"{'static ' if static else ''}void {name}({parameters})", "{", *indented(body), "}", ""])
