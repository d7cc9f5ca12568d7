"""The primitives on symbols: every value carries its proven range, and what it was computed from.

One run of a step on symbols gives a small expression graph. The proof of a program reads the ranges in it; back ends
that write a model (ONNX) read the graph as well. Ranges are for one sample, ``low`` and ``high`` by element; they hold
for any inputs and states inside the ranges of the leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import BoundError
from neuromorphic.integers.numbers import INT32_MAX, STATE_MAX, STATE_MIN, NumPy, Pair

Range = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Lowest and highest value of every element."""
_FAR = 1 << 40  # where an end that does not settle is moved to: beyond every limit of a state
_PATIENCE = 64  # steps that are followed one by one before that
_BLOCK = 1 << 20  # weights that are taken to a wider type at a time


class Bound(NamedTuple):
    """The proven ranges of an operation.

    Attributes
    ----------
    low, high
        Of what flows to its readers; of an operation that gives events or a sum, of its state before it saturates and
        is reset. By element, or one value for all.
    states
        Of what it carries from step to step, by name.
    saturates
        Whether a state can meet its 24-bit limit.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    states: dict[str, Range]
    saturates: bool = False


class Symbol:
    """A value of one sample: the primitive and the symbols that made it, its shape and its range."""

    __array_ufunc__ = None  # an array that meets a symbol leaves the operator to the symbol

    def __init__(self, kind: str, args: tuple[Symbol, ...], shape: tuple[int, ...], low: Any, high: Any, **facts: Any):
        self.kind, self.args, self.shape, self.facts = kind, args, tuple(shape), facts
        self.low = np.asarray(low, dtype=np.int64)
        self.high = self.low if high is low else np.asarray(high, dtype=np.int64)

    @cached_property
    def span(self) -> tuple[int, int]:
        """Lowest and highest value of all elements."""
        return int(self.low.min()), int(self.high.max())

    @property
    def peak(self) -> int:
        """Largest magnitude."""
        low, high = self.span
        return max(-low, high)

    @property
    def range(self) -> Range:
        """Its range with an entry for each element."""
        return np.broadcast_to(self.low, self.shape), np.broadcast_to(self.high, self.shape)

    def __getitem__(self, place: Any) -> Symbol:
        """Return a row, or another part, of a constant."""
        return constant(self.facts["array"][place])

    def __add__(self, other: Any) -> Symbol:
        other = constant(other)
        _fits_int64(self.peak + other.peak)
        return _elementwise("add", self, other, self.low + other.low, self.high + other.high)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Symbol:
        other = constant(other)
        _fits_int64(self.peak + other.peak)
        low, high = self.low - other.high, self.high - other.low
        if other.kind == "right" and other.args[0] is self:  # x - (x >> k) never falls where x rises
            low, high = self.low - (self.low >> other.args[1].low), self.high - (self.high >> other.args[1].low)
        return _elementwise("subtract", self, other, low, high)

    def __rsub__(self, other: Any) -> Symbol:
        return constant(other) - self

    def __mul__(self, other: Any) -> Symbol:
        other = constant(other)
        if self.peak * other.peak >= 1 << 63:  # of different elements, perhaps
            _fits_int64(
                int(np.max(np.maximum(-self.low, self.high) * np.maximum(-other.low, other.high).astype(float)))
            )
        return _elementwise("multiply", self, other, *_corners(np.multiply, self, other))

    __rmul__ = __mul__

    def __lshift__(self, bits: int) -> Symbol:
        return self * (1 << bits)

    def __rshift__(self, bits: Any) -> Symbol:
        bits = constant(bits)
        assert bits.span[0] >= 0
        assert bits.span[1] < 63
        return _elementwise("right", self, bits, *_corners(np.right_shift, self, bits))

    def __and__(self, mask: int) -> Symbol:
        low, high = (0, np.minimum(self.high, mask)) if self.span[0] >= 0 else (0, mask)
        if np.array_equal(self.low, self.high):
            return Symbol("and", (self, constant(mask)), self.shape, self.low & mask, self.low & mask)
        return Symbol("and", (self, constant(mask)), self.shape, low, high)

    def __gt__(self, other: Any) -> Symbol:
        return _comparison("greater", self, constant(other))

    def __ge__(self, other: Any) -> Symbol:
        return _comparison("greater_equal", self, constant(other))


class Symbols:
    """The primitives on symbols; what each computes is said by :class:`neuromorphic.integers.numbers.NumPy`."""

    def constant(self, array: NDArray[Any]) -> Symbol:
        """Return the symbol of a constant."""
        return constant(array)

    def toward_zero(self, x: Symbol, bits: int) -> Symbol:
        """Divide by ``2**bits``, rounding toward zero."""
        low, high = (np.sign(end) * (np.abs(end) >> np.int64(bits)) for end in (x.low, x.high))
        return Symbol("toward_zero", (x,), x.shape, low, high, bits=bits) if bits else x

    def clip(self, x: Symbol, low: int, high: int) -> Symbol:
        """Limit to ``low..high``. It stays in the graph where it changes nothing: whether it does is a question."""
        return Symbol("clip", (x,), x.shape, x.low.clip(low, high), x.high.clip(low, high), least=low, most=high)

    def saturate(self, x: Symbol) -> Symbol:
        """Limit to the 24 bits of a state."""
        return self.clip(x, STATE_MIN, STATE_MAX)

    def absolute(self, x: Symbol) -> Symbol:
        """Return ``|x|``."""
        most = np.maximum(np.abs(x.low), np.abs(x.high))
        least = np.where((x.low <= 0) & (x.high >= 0), 0, np.minimum(np.abs(x.low), np.abs(x.high)))
        return Symbol("absolute", (x,), x.shape, least, most)

    def where(self, condition: Symbol, x: Any, y: Any) -> Symbol:
        """Choose; a branch that cannot be taken does not count, and in each the condition narrows the ranges."""
        first, second = constant(x), constant(y)
        shape = np.broadcast_shapes(condition.shape, first.shape, second.shape)
        if condition.span == (1, 1) and first.shape == shape:
            return first
        if condition.span == (0, 0) and second.shape == shape:
            return second
        never, always = condition.high == 0, condition.low == 1
        (x_low, x_high), (y_low, y_high) = _assuming(first, condition, True), _assuming(second, condition, False)
        low = np.where(always, x_low, np.where(never, y_low, np.minimum(x_low, y_low)))
        high = np.where(always, x_high, np.where(never, y_high, np.maximum(x_high, y_high)))
        return Symbol("where", (condition, first, second), shape, low, high)

    def take(self, table: NDArray[Any], index: Symbol) -> Symbol:
        """Return the entries of a constant table."""
        first, last = index.span
        assert 0 <= first <= last < len(table), "an index that is not proven to lie in the table"
        part = table[first : last + 1].astype(np.int64)
        rising = bool((np.diff(part) >= 0).all())
        low, high = (table[index.low], table[index.high]) if rising else (part.min(), part.max())
        return Symbol("take", (index, constant(table)), index.shape, low, high)

    def product(self, weights: Symbol, x: Symbol) -> Symbol:
        """Sum weights times values, which must fit int32."""
        low, high = sums(weights.facts["array"], x.range)
        require_int32("the sum", low, high)
        return Symbol("product", (weights, x), weights.shape[:1], low, high)

    def convolve(
        self, weights: Symbol, image: Symbol, stride: Pair, padding: Pair, dilation: Pair = (1, 1), groups: int = 1
    ) -> Symbol:
        """Sum weights times the values of every window, which must fit int32."""
        facts = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        low, high = window_sums(weights.facts["array"], image.range, **facts)
        require_int32("the sum", low.reshape(-1), high.reshape(-1))
        return Symbol("convolve", (weights, image), low.shape, low, high, **facts)

    def window_max(self, image: Symbol, kernel: Pair, stride: Pair, padding: Pair) -> Symbol:
        """Return the largest value of each window."""
        low, high = (NumPy().window_max(end[np.newaxis], kernel, stride, padding)[0] for end in image.range)
        return Symbol("window_max", (image,), low.shape, low, high, kernel=kernel, stride=stride, padding=padding)

    def pick(self, matrix: Symbol, index: Symbol) -> Symbol:
        """Return of every column the entry in a row of its own."""
        _check_row(matrix, index)
        if np.array_equal(index.low, index.high):
            low, high = (NumPy().pick(end[np.newaxis], index.low)[0] for end in matrix.range)
        else:
            first, last = index.span
            low, high = (end[first : last + 1] for end in matrix.range)
            low, high = low.min(axis=0), high.max(axis=0)
        return Symbol("pick", (matrix, index), matrix.shape[1:], low, high)

    def deliver(self, weights: Symbol, counts: Symbol, start: Symbol, low: int, high: int) -> Symbol:
        """Add what events bring in their order, limiting every partial sum."""
        brought = _corners(np.multiply, weights, counts)  # [out, in]
        lowest, highest = start.range
        for down, up in zip(brought[0].T, brought[1].T, strict=True):
            lowest, highest = (lowest + down).clip(low, high), (highest + up).clip(low, high)
        return Symbol("deliver", (weights, counts, start), start.shape, lowest, highest, least=low, most=high)

    def roll(self, grid: Symbol, rows: int, columns: int) -> Symbol:
        """Move ``[rows, columns]`` round its edges."""
        low, high = (np.roll(end, (rows, columns), (-2, -1)) for end in grid.range)
        return Symbol("roll", (grid,), grid.shape, low, high, rows=rows, columns=columns)

    def argmax(self, x: Symbol) -> Symbol:
        """Return the place of the largest."""
        fixed = np.array_equal(x.low, x.high)
        low, high = (int(x.range[0].argmax()),) * 2 if fixed else (0, x.shape[-1] - 1)
        return Symbol("argmax", (x,), (1,), low, high)

    def row(self, matrix: Symbol, index: Symbol) -> Symbol:
        """Return one row."""
        _check_row(matrix, index)
        first, last = index.span
        low, high = (end[first : last + 1] for end in matrix.range)
        return Symbol("row", (matrix, index), matrix.shape[1:], low.min(axis=0), high.max(axis=0))

    def set_row(self, matrix: Symbol, index: Symbol, row: Symbol) -> Symbol:
        """Replace one row."""
        _check_row(matrix, index)
        low, high = np.minimum(matrix.low, row.low), np.maximum(matrix.high, row.high)
        return Symbol("set_row", (matrix, index, row), matrix.shape, low, high)

    def sum(self, x: Symbol) -> Symbol:
        """Sum over the last axis."""
        _fits_int64(x.peak * x.shape[-1])
        low, high = (end.sum(axis=-1, dtype=np.int64) for end in x.range)
        return Symbol("sum", (x,), x.shape[:-1], low, high)

    def repeat(self, x: Symbol, times: int) -> Symbol:
        """Repeat every value."""
        low, high = (np.repeat(end, times, axis=-1) for end in x.range)
        return Symbol("repeat", (x,), (*x.shape[:-1], x.shape[-1] * times), low, high, times=times)

    def reshape(self, x: Symbol, *shape: int) -> Symbol:
        """Give it another shape."""
        low, high = (end.reshape(shape) for end in x.range)
        return x if x.shape == shape else Symbol("reshape", (x,), shape, low, high)


@dataclass(frozen=True)
class Traced:
    """One step of an operation as a graph: what it gives, and its states and recorded variables after it."""

    value: Symbol
    after: dict[str, Symbol]

    def symbols(self) -> Iterator[Symbol]:
        """Yield every symbol of the graph once."""
        waiting, seen = [self.value, *self.after.values()], set()
        while waiting:
            symbol = waiting.pop()
            if id(symbol) not in seen:
                seen.add(id(symbol))
                waiting += symbol.args
                yield symbol


def trace(op: Any, inputs: list[Range], states: dict[str, Range]) -> Traced:
    """Run one step on symbols.

    Parameters
    ----------
    op
        Any operation with a step.
    inputs
        The range of each of its sources.
    states
        The range of each of its states before the step.

    Raises
    ------
    BoundError
        When an intermediate result could leave int64, or a product int32.
    """
    shapes = {name: state.shape for name, state in op.states().items()}
    held = SimpleNamespace(
        **{name: Symbol("state", (), shapes[name], low, high, name=name) for name, (low, high) in states.items()}
    )
    given = [
        Symbol("input", (), np.broadcast_shapes(low.shape, high.shape), low, high, number=i)
        for i, (low, high) in enumerate(inputs)
    ]
    try:
        value = op.placed(constant).step(Symbols(), held, *given)
    except BoundError as error:
        raise BoundError(f"{op.name}: {error}") from error
    return Traced(constant(value), {name: constant(found) for name, found in vars(held).items()})


def bound_by_step(op: Any, inputs: list[Range], num_steps: int) -> Bound:
    """Find ranges of the states that no step leaves, by running the step on ranges until they stop growing.

    An end that still moves after 64 steps is moved beyond every limit at once; what limits it brings it back. So the
    proof takes the same time for any ``num_steps``.

    Raises
    ------
    BoundError
        When an accumulator could overflow, or a state grows without a limit.
    """
    first = {
        name: (np.broadcast_to(np.asarray(start, dtype=np.int64), shape),) * 2
        for name, (shape, start, _) in op.states().items()
    }
    ranges: dict[str, Range] = dict(first)
    for step in range(num_steps):
        traced = trace(op, inputs, ranges)
        grown = {name: _hull(ranges[name], traced.after[name].range) for name in ranges}
        if all(np.array_equal(a, b) for name in ranges for a, b in zip(ranges[name], grown[name], strict=True)):
            break
        if step >= 2 * _PATIENCE:
            raise BoundError(f"{op.name}: a state grows without a limit; limit it, for example with xp.saturate")
        if step >= _PATIENCE:
            for name, (low, high) in grown.items():
                held = ranges[name]
                grown[name] = (np.where(low < held[0], -_FAR, low), np.where(high > held[1], _FAR, high))
            after = trace(op, inputs, grown).after
            grown = {name: _hull(first[name], after[name].range) for name in grown}
        ranges = grown
    found = {name: traced.after[name].range for name in ranges}
    for name, (low, high) in found.items():
        require_int32(f"{op.name}: the state {name}", low, high)
    low, high = traced.value.range
    if op.kind == "events":
        lowest, highest = op.event_range
        assert lowest <= int(low.min()), op
        assert int(high.max()) <= highest, op
        low, high = found.get("v", next(iter(found.values()), traced.value.range))
    else:
        require_int32(f"{op.name}: the value", low, high)
    return Bound(low, high, {name: _hull(first[name], span) for name, span in found.items()}, _saturates(traced))


def constant(value: Any) -> Symbol:
    """Return a symbol as it is, and the symbol of a number or an array."""
    if isinstance(value, Symbol):
        return value
    array = np.asarray(value)
    return Symbol("constant", (), array.shape, array, array, array=array)


def _saturates(traced: Traced) -> bool:
    """Whether some value that is limited to 24 bits can be larger."""
    return any(
        symbol.kind == "clip" and symbol.facts["most"] == STATE_MAX and symbol.args[0].peak > STATE_MAX
        for symbol in traced.symbols()
    )


def _hull(a: Range, b: Range) -> Range:
    return np.minimum(a[0], b[0]), np.maximum(a[1], b[1])


def _elementwise(kind: str, a: Symbol, b: Symbol, low: NDArray[Any], high: NDArray[Any]) -> Symbol:
    return Symbol(kind, (a, b), np.broadcast_shapes(a.shape, b.shape), low, high)


def _comparison(kind: str, a: Symbol, b: Symbol) -> Symbol:
    compare = np.greater if kind == "greater" else np.greater_equal
    return _elementwise(kind, a, b, compare(a.low, b.high), compare(a.high, b.low))


def _corners(function: Any, a: Symbol, b: Symbol) -> Range:
    first, second = ((x.low,) if x.low is x.high else (x.low, x.high) for x in (a, b))
    results = [function(x, y) for x in first for y in second]
    return reduce(np.minimum, results), reduce(np.maximum, results)


def _assuming(x: Symbol, condition: Symbol, holds: bool) -> Range:
    """Return the range of a value where a comparison holds, or does not: what makes a reset provable."""
    low, high = x.low, x.high
    if condition.kind in ("greater", "greater_equal"):
        a, b = condition.args
        apart = int(condition.kind == "greater") if holds else int(condition.kind == "greater_equal")
        if x is a:
            low, high = (np.maximum(low, b.low + apart), high) if holds else (low, np.minimum(high, b.high - apart))
        elif x is b:
            low, high = (low, np.minimum(high, a.high - apart)) if holds else (np.maximum(low, a.low + apart), high)
        elif x.kind == "subtract" and x.args[0] is a and _is_same(x.args[1], b) and holds:
            low = np.maximum(low, apart)
    return np.minimum(low, high), np.maximum(low, high)  # of a branch that cannot be taken, anything


def _is_same(a: Symbol, b: Symbol) -> bool:
    """Whether two symbols are one, or two constants that are equal."""
    return a is b or (a.kind == b.kind == "constant" and np.array_equal(a.facts["array"], b.facts["array"]))


def _check_row(matrix: Symbol, index: Symbol) -> None:
    assert 0 <= index.span[0] <= index.span[1] < matrix.shape[0], "a row that is not proven to exist"


def _fits_int64(peak: int) -> None:
    if peak >= 1 << 63:
        raise BoundError(f"an intermediate result can reach {peak}, int64 holds {(1 << 63) - 1}")


@lru_cache(maxsize=1024)
def uniform(size: int, low: int, high: int) -> Range:
    """Return one range for all units, in the memory of one."""
    low_end, high_end = (np.broadcast_to(np.int64(end), (size,)) for end in (low, high))
    return low_end, high_end


def require_int32(what: str, low: NDArray[Any], high: NDArray[Any], shift: int = 0) -> None:
    """Refuse what leaves int32 once it is shifted to the left, as a Python integer: that cannot wrap."""
    peaks = np.maximum(np.abs(low), np.abs(high))
    worst = int(peaks.max()) << shift
    if worst > INT32_MAX:
        raise BoundError(
            f"{what} of neuron {int(np.argmax(peaks))} can reach {worst}, int32 holds {INT32_MAX}; "
            "lower the shift, the fan-in or the input range"
        )


def sums(weights: NDArray[Any], x: Range) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the lowest and highest ``weights @ x``, exact: in floats, int64 or Python integers, whichever holds it.

    Of ``m = x[0] + x[1]`` and ``d = x[1] - x[0]`` the ends are ``(weights @ m -+ |weights| @ d) / 2``.
    """
    heaviest = int(np.abs(weights.astype(np.int16)).max())
    widest = 2 * heaviest * weights.shape[1] * int(max(np.abs(x[0]).max(), np.abs(x[1]).max()))
    kinds: tuple[tuple[int, Any], ...] = ((24, np.float32), (53, np.float64), (63, np.int64))
    wide: Any = next((kind for bits, kind in kinds if widest < 1 << bits), object)
    both, apart = (end.astype(wide) for end in (x[0] + x[1], x[1] - x[0]))
    rows = max(1, _BLOCK // weights.shape[1])
    ends: list[tuple[Any, Any]] = []
    for start in range(0, len(weights), rows):
        block = weights[start : start + rows].astype(wide)
        middle, reach = block @ both, np.abs(block) @ apart
        ends.append((middle - reach, middle + reach))
    low, high = (np.concatenate(parts) // 2 for parts in zip(*ends, strict=True))
    return (low, high) if wide is object else (low.astype(np.int64), high.astype(np.int64))


def window_sums(weights: NDArray[Any], x: Range, **windows: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the lowest and highest sums of :meth:`NumPy.convolve` over an image ``[C, H, W]``, exact in int64.

    ``windows`` are stride, padding, dilation and groups.

    Raises
    ------
    BoundError
        When a sum could leave int64.
    """
    _fits_int64(
        2 * int(np.abs(weights.astype(np.int16)).max()) * weights[0].size * int(max(-x[0].min(), x[1].max(), 1))
    )
    middle, reach = (
        NumPy().convolve(array, end[np.newaxis], **windows)[0]
        for array, end in ((weights, x[0] + x[1]), (np.abs(weights), x[1] - x[0]))
    )
    return (middle - reach) // 2, (middle + reach) // 2  # as of sums
