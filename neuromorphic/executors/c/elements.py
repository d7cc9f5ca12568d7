"""The body of a loop in C while it is written: which local holds which element of which symbol."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from math import prod

import numpy as np

from neuromorphic.errors import CompileError
from neuromorphic.executors.c.arrays import Array, Arrays
from neuromorphic.executors.c.graphs import is_fixed
from neuromorphic.executors.c.rules import RULES
from neuromorphic.executors.c.text import (
    Digit,
    Index,
    axes,
    flat,
    indented,
    leading,
    literal,
    register,
    repeats,
    size_of,
)
from neuromorphic.integers.symbols import Symbol


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
        self._known: dict[Hashable, str] = dict(outer._known) if outer else {}
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

    def once(self, key: Hashable, write: Callable[[], str]) -> str:
        """Return the local of a key, which is written where it is first asked for."""
        if key not in self._known:
            self._known[key] = write()
        return self._known[key]

    def value(self, s: Symbol, index: Index) -> str:
        """Return an element: a number or a local. ``index`` has the digits of the shape of ``s``."""
        if is_fixed(s) and (size_of(s.shape) == 1 or int(s.low.min()) == int(s.low.max())):
            return literal(int(s.low.flat[0]))
        if is_fixed(s):
            return self._constant(s, index)
        if id(s) not in self.stored:
            return self.compute(s, index)
        name = self.stored[id(s)].name
        return self.once((id(s), index), lambda: self.local(f"{name}[{flat(index)}]", register(s.span)))

    def _constant(self, s: Symbol, index: Index) -> str:
        """Return an element of a constant; of a channel of equal ones that a loop goes through, one is held."""
        values = np.broadcast_to(s.low, s.shape).ravel()
        index = leading(index, values.size, repeats(values))
        held = values[:: values.size // prod(n for _, n in index)]
        return self.once(
            (id(s), index), lambda: self.local(f"{self.arrays.constant(held)}[{flat(index)}]", register(s.span))
        )

    def compute(self, s: Symbol, index: Index) -> str:
        """Return an element of a symbol that this loop computes, even if it is stored then."""
        if is_fixed(s) or s.kind in ("state", "input"):
            return self.value(s, index)
        if s.kind not in RULES:
            raise CompileError(f"C has no rule for the primitive {s.kind!r}")
        return self.once((id(s), index), lambda: RULES[s.kind](self, s, index))

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
