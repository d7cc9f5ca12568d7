"""The operations of a program as graphs of symbols, in the order in which their parts run in a step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from neuromorphic.bounds import event_range, flowing_range, prove_ranges
from neuromorphic.integers.symbols import Bound, Range, Symbol, Symbols, Traced, constant, trace
from neuromorphic.ops import Delay, Input, Operation
from neuromorphic.program import Program

VALUE = ""
"""Among the outcomes of a part, the name of what flows to the readers of the operation."""


@dataclass(frozen=True)
class Part:
    """What one function of the network computes: an operation, or one of the two phases of a ``Delay``.

    Attributes
    ----------
    op : Operation
        Whose part it is.
    outcomes : dict
        What it computes, by name: :data:`VALUE`, the new states, and the variables that are recorded.
    states : dict
        Ranges of the states of the operation that change.
    steady : bool
        Whether it depends on the input of the step alone: it need not run where that is the last one.
    """

    op: Operation
    outcomes: dict[str, Symbol]
    states: dict[str, Range]
    steady: bool = False


def parts_of(program: Program, wanted: Iterable[str], recorded: Iterable[str]) -> list[Part]:
    """Trace the operations that are wanted, and those on which they depend, on their proven ranges.

    Parameters
    ----------
    program : Program
        What is traced.
    wanted : iterable of str
        Operations whose value is needed.
    recorded : iterable of str
        Variables that are recorded, ``"op.variable"``.
    """
    recorded = set(recorded)
    needed = _needed(program, {*wanted, *(name.rpartition(".")[0] for name in recorded)})
    bounds = prove_ranges(program)
    ops = [op for op in program.ops if op.name in needed and not isinstance(op, Input)]
    steady, parts = {program.input.name}, []
    for op in ops:
        if not isinstance(op, Delay):
            traced, states = _traced(program, op, bounds)
            after = {n: s for n, s in traced.after.items() if n in states or f"{op.name}.{n}" in recorded}
            if not op.states() and steady.issuperset(op.sources):
                steady.add(op.name)
            parts.append(Part(op, {VALUE: traced.value, **after}, states, op.name in steady))
    read, written = [], []
    for op in ops:
        if isinstance(op, Delay):
            state, states = _leaves(program, op)
            read.append(Part(op, {VALUE: constant(op.read(Symbols(), state))}, states))
            op.step(Symbols(), state, Symbol("input", (), (op.size,), *event_range(program, op.name), number=0))
            written.append(Part(op, {n: constant(s) for n, s in vars(state).items() if n in states}, states))
    return [*read, *parts, *written]


def symbols_in_order(roots: Iterable[Symbol]) -> Iterator[Symbol]:
    """Yield every symbol that these depend on once, each after its arguments; of a fixed value only itself."""
    seen: set[int] = set()
    waiting = [(symbol, False) for symbol in reversed(list(roots))]
    while waiting:
        symbol, ready = waiting.pop()
        if ready:
            yield symbol
        elif id(symbol) not in seen:
            seen.add(id(symbol))
            waiting.append((symbol, True))
            if not is_fixed(symbol):
                waiting += [(a, False) for a in reversed(symbol.args)]


def is_fixed(symbol: Symbol) -> bool:
    """Whether a symbol has only one value."""
    return symbol.low is symbol.high or np.array_equal(symbol.low, symbol.high)


def _needed(program: Program, names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += program[name].sources
    return found


def _traced(program: Program, op: Operation, bounds: dict[str, Bound]) -> tuple[Traced, dict[str, Range]]:
    """Return the step of an operation, and the ranges of the states that some step changes; others are constants."""
    inputs = [flowing_range(program, source, bounds) for source in op.sources]
    held = op.states()
    states = {name: _shaped(low, high, held[name].shape) for name, (low, high) in bounds[op.name].states.items()}
    traced = trace(op, inputs, states)
    still = [name for name in states if traced.after[name].facts.get("name") == name]
    for name in still:
        first = np.asarray(held[name].first, dtype=np.int64)
        states[name] = _shaped(first, first, held[name].shape)
    return trace(op, inputs, states) if still else traced, _changing(states)


def _leaves(program: Program, op: Delay) -> tuple[SimpleNamespace, dict[str, Range]]:
    """Return the states of a delay, and the ranges of those that change."""
    low, high = program.undelayed(op.name)[0].event_range
    ends, held = {"ring": (min(low, 0), max(high, 0)), "place": (0, op.steps - 1)}, op.states()
    states = {name: _shaped(np.asarray(ends[name][0]), np.asarray(ends[name][1]), held[name].shape) for name in held}
    leaves = {name: Symbol("state", (), held[name].shape, *states[name], name=name) for name in held}
    return SimpleNamespace(**leaves), _changing(states)


def _shaped(low: np.ndarray, high: np.ndarray, shape: tuple[int, ...]) -> Range:
    return np.broadcast_to(low, shape), np.broadcast_to(high, shape)


def _changing(states: dict[str, Range]) -> dict[str, Range]:
    return {name: (low, high) for name, (low, high) in states.items() if not np.array_equal(low, high)}
