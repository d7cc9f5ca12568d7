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


@dataclass(frozen=True)
class Part:
    """What one function of the network computes: an operation, or one of the two phases of a ``Delay``.

    Attributes
    ----------
    op : Operation
        Whose part it is.
    value : Symbol or None
        What flows to its readers; ``None``: nothing (a ``Delay`` writes its ring after all others).
    after : dict
        The new states, and the variables that are recorded, by name.
    states : dict
        Ranges of the states.
    steady : bool
        Whether it depends on the input of the step alone: it need not run where that is the last one.
    """

    op: Operation
    value: Symbol | None
    after: dict[str, Symbol]
    states: dict[str, Range]
    steady: bool = False


def parts_of(program: Program, wanted: Iterable[str], recorded: Iterable[str]) -> list[Part]:
    """Trace the operations that are wanted or that those depend on.

    Parameters
    ----------
    program : Program
        What is traced, on its proven ranges.
    wanted : iterable of str
        Operations whose value is needed.
    recorded : iterable of str
        Variables that are recorded, ``"op.variable"``.
    """
    recorded = set(recorded)
    needed = _needed(program, {*wanted, *(name.rpartition(".")[0] for name in recorded)})
    bounds = prove_ranges(program)
    ops = [op for op in program.ops if op.name in needed and not isinstance(op, Input)]
    steady = {program.input.name}
    parts = []
    for op in ops:
        if not isinstance(op, Delay):
            traced = _traced(program, op, bounds)
            held = op.states()
            after = {n: s for n, s in traced.after.items() if n in held or f"{op.name}.{n}" in recorded}
            if not held and steady.issuperset(op.sources):
                steady.add(op.name)
            parts.append(Part(op, traced.value, after, _ranges(op, bounds), op.name in steady))
    delays = [op for op in ops if isinstance(op, Delay)]
    read = [Part(op, _read(program, op), {}, _delay_ranges(program, op)) for op in delays]
    written = [Part(op, None, _written(program, op), _delay_ranges(program, op)) for op in delays]
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


def _ranges(op: Operation, bounds: dict[str, Bound]) -> dict[str, Range]:
    held = op.states()
    return {
        name: (np.broadcast_to(low, held[name].shape), np.broadcast_to(high, held[name].shape))
        for name, (low, high) in bounds[op.name].states.items()
    }


def _traced(program: Program, op: Operation, bounds: dict[str, Bound]) -> Traced:
    """Return the step of an operation on its proven ranges; a state that no step changes is a constant."""
    inputs = [flowing_range(program, source, bounds) for source in op.sources]
    states = _ranges(op, bounds)
    traced = trace(op, inputs, states)
    still = [name for name in states if traced.after[name].facts.get("name") == name]
    for name in still:
        state = op.states()[name]
        states[name] = (np.broadcast_to(np.asarray(state.first, dtype=np.int64), state.shape),) * 2
    return trace(op, inputs, states) if still else traced


def _delay_ranges(program: Program, op: Delay) -> dict[str, Range]:
    low, high = program.undelayed(op.name)[0].event_range
    low, high = min(low, 0), max(high, 0)
    ends = {"ring": (low, high), "place": (0, op.steps - 1)}
    return {
        name: tuple(np.broadcast_to(np.int64(end), op.states()[name].shape) for end in ends[name])  # type: ignore[misc]
        for name in ends
    }


def _leaves(program: Program, op: Delay) -> SimpleNamespace:
    ranges, shapes = _delay_ranges(program, op), op.states()
    return SimpleNamespace(**{n: Symbol("state", (), shapes[n].shape, *ranges[n], name=n) for n in ranges})


def _read(program: Program, op: Delay) -> Symbol:
    return constant(op.read(Symbols(), _leaves(program, op)))


def _written(program: Program, op: Delay) -> dict[str, Symbol]:
    state = _leaves(program, op)
    low, high = event_range(program, op.name)
    op.step(Symbols(), state, Symbol("input", (), (op.size,), low, high, number=0))
    return {name: constant(found) for name, found in vars(state).items()}
