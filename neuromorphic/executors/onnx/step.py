"""One step of a program as a graph: its operations in order, its states, and what a recording stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuromorphic.bounds import flowing_range, prove_ranges
from neuromorphic.executors.onnx.graph import FLOAT, INT32, UINT8, Tensor
from neuromorphic.executors.onnx.integers import EXACT, Integers
from neuromorphic.executors.onnx.lowering import Lowering, fixed_value, reads_of
from neuromorphic.executors.onnx.products import Products
from neuromorphic.executors.onnx.rules.table import REAL_RULES, RULES
from neuromorphic.integers.symbols import Symbol, Traced, trace
from neuromorphic.ops import Delay, FastWeights, Input, Operation, Slots
from neuromorphic.program import Program

DTYPES: dict[int, str] = {INT32: "int32", FLOAT: "float32", UINT8: "uint8"}
INPUT = "x"


@dataclass(frozen=True)
class State:
    """What a step hands to the next one: ``[B, *shape]``, zeros before the first."""

    name: str
    shape: tuple[int, ...]
    dtype: int = INT32

    @property
    def input(self) -> str:
        """Name of the graph's input."""
        return f"state.{self.name}"


class Step:
    """The graph of one step.

    Parameters
    ----------
    program : Program
        What is built.
    products : str
        See :func:`neuromorphic.executors.onnx.products.product`.
    record : sequence of str
        Variables that are computed, ``"op.variable"``.

    Attributes
    ----------
    states, next : dict
        What comes in, and the tensor that goes out, by ``"op.field"``.
    variables : dict
        The tensor of every variable.
    """

    def __init__(self, program: Program, products: Products, record: Sequence[str]) -> None:
        self.graph = Integers()
        self.program, self.products, self.record = program, products, record
        self.states: dict[str, State] = {}
        self.next: dict[str, Tensor] = {}
        self.variables: dict[str, Tensor] = {}
        self._bounds = prove_ranges(program)
        values: dict[str, Tensor] = {program.input.name: INPUT}
        for op in program.of_type(Delay):
            values[op.name] = self._oldest(op)
        for op in program.ops:
            if not isinstance(op, (Input, Delay)):
                values[op.name] = self._lower(op, [values[source] for source in op.sources])
        for op in program.of_type(Delay):
            self._hold(f"{op.name}.queue", self._queue(op, values[op.source]))
        self.variables = {name: self.variables[name] for name in record}
        self._prune()

    def _lower(self, op: Operation, inputs: list[Tensor]) -> Tensor:
        """Add the nodes of an operation and return what flows to its readers."""
        g, held, found = self.graph, op.states(), {}
        wanted = {v.name: v for v in op.variables if f"{op.name}.{v.name}" in self.record}
        asked = _asked(self._traced(op), list(wanted))
        real = _shifted_matrices(asked)
        starts = {name: np.broadcast_to(np.asarray(held[name].first), held[name].shape) for name in held}
        for name in filter(asked.after.__contains__, held):
            port = _port(op, name, held[name].shape, FLOAT if name in real else INT32)
            self.states[port.name] = port
            found[name] = self._shaped(port.input, port.shape, held[name].shape)
            if starts[name].any():  # stored relative to its start, so that all states begin with zeros
                found[name] = g.op("Add", found[name], starts[name].astype(DTYPES[port.dtype]))
        lowering = Lowering(g, op.name, self.products, inputs, found, real, reads_of(asked), RULES, REAL_RULES)
        for name in found:
            port = _port(op, name, held[name].shape, FLOAT if name in real else INT32)
            after = asked.after[name]
            value = lowering.real(after) if name in real else self._batched(lowering, after)
            if starts[name].any():
                value = g.op("Sub", value, starts[name].astype(DTYPES[port.dtype]))
            self._hold(port.name, self._shaped(value, held[name].shape, port.shape))
        for name, variable in wanted.items():
            value = self._batched(lowering, asked.after[name])
            self.variables[f"{op.name}.{name}"] = g.cast(value, UINT8) if variable.dtype == "uint8" else value
        return self._batched(lowering, asked.value)

    def _shaped(self, tensor: Tensor, shape: tuple[int, ...], to: tuple[int, ...]) -> Tensor:
        return tensor if shape == to else self.graph.reshape(tensor, -1, *to)

    def _traced(self, op: Operation) -> Traced:
        """Return the step of an operation on its proven ranges; a state that no step changes is a constant."""
        inputs = [flowing_range(self.program, source, self._bounds) for source in op.sources]
        states = dict(self._bounds[op.name].states)
        for name, (low, high) in states.items():
            shape = op.states()[name].shape
            states[name] = np.broadcast_to(low, shape), np.broadcast_to(high, shape)
        traced = trace(op, inputs, states)
        still = [name for name in states if traced.after[name].facts.get("name") == name]
        for name in still:
            state = op.states()[name]
            states[name] = (np.broadcast_to(np.asarray(state.first, dtype=np.int64), state.shape),) * 2
        return trace(op, inputs, states) if still else traced

    def _batched(self, lowering: Lowering, symbol: Symbol) -> Tensor:
        """Return a symbol with the axis of samples, which a constant lacks."""
        tensor = lowering.tensor(symbol)
        if fixed_value(symbol) is None:
            return tensor
        return self.graph.op("Add", self.graph.reshape(self._zeros(), -1, *[1] * len(symbol.shape)), tensor)

    def _zeros(self) -> Tensor:
        """Return ``[B, 1]`` zeros."""
        one = np.array([1], dtype=np.int64)
        return self.graph.bits(self.graph.op("Slice", INPUT, one - 1, one, one), 0)

    def _oldest(self, op: Delay) -> Tensor:
        """Return events as they were: the oldest of a queue."""
        shape = (op.size,) if op.steps == 1 else (op.steps, op.size)
        queue = State(f"{op.name}.queue", shape)
        self.states[queue.name] = queue
        g = self.graph
        return queue.input if op.steps == 1 else g.sealed(g.op("Gather", queue.input, 0, axis=1))

    def _queue(self, op: Delay, x: Tensor) -> Tensor:
        """Return the queue of a delay with the newest events.

        OpenVINO gathers, reshapes and joins a single sample in place. In a loop a queue then is changed, by the events
        of the next step, before it is handed on; so what goes into it and comes out of it passes a node that copies.
        """
        if op.steps == 1:
            return x
        g, (first, after, axis) = self.graph, (np.array([n], dtype=np.int64) for n in (1, op.steps, 1))
        rest = g.op("Slice", self.states[f"{op.name}.queue"].input, first, after, axis)
        return g.op("Concat", rest, g.reshape(g.sealed(x), -1, 1, op.size), axis=1)

    def _hold(self, name: str, value: Tensor) -> None:
        """Say what a state is after the step.

        OpenVINO's loop takes what comes in and goes out untouched from the wrong step, so it passes a node.
        """
        if value == INPUT or value in {state.input for state in self.states.values()}:
            value = self.graph.sealed(value)
        self.next[name] = value

    def _prune(self) -> None:
        """Drop states on which nothing recorded depends: OpenVINO forgets the names of unused inputs."""
        while True:
            needed = self.graph.needed([*self.variables.values(), *self.next.values()])
            unread = [name for name, state in self.states.items() if state.input not in needed]
            for name in unread:
                del self.states[name], self.next[name]
            if not unread:
                break
        if INPUT not in needed and self.next:  # nothing depends on it
            name, value = next(iter(self.next.items()))
            zeros = self.graph.reshape(self._zeros(), -1, *[1] * len(self.states[name].shape))
            self.next[name] = self.graph.op("Add", value, self.graph.cast(zeros, self.states[name].dtype))


def _port(op: Operation, name: str, shape: tuple[int, ...], dtype: int) -> State:
    """Return a state as files know it: they are older than the name of one and the shape of another."""
    if isinstance(op, FastWeights) and name == "F":
        shape = (op.size, op.size)
    return State(f"{op.name}.{'fast' if isinstance(op, Slots) else name}", shape, dtype)


def _asked(traced: Traced, wanted: list[str]) -> Traced:
    """Return the graph of the value, of the variables wanted, and of the states on which those depend."""
    asked = Traced(traced.value, {name: traced.after[name] for name in wanted})
    while True:
        leaves = (s for s in asked.symbols() if s.kind == "state" and fixed_value(s) is None)
        read = {s.facts["name"] for s in leaves} - asked.after.keys()
        if not read:
            return asked
        asked.after.update({name: traced.after[name] for name in read})


def _shifted_matrices(asked: Traced) -> frozenset[str]:
    """Return the states that are whole matrices of at most 24 bits and are shifted: those are float32."""
    shifted = (symbol.args[0] for symbol in asked.symbols() if symbol.kind == "right")
    return frozenset(x.facts["name"] for x in shifted if x.kind == "state" and len(x.shape) == 2 and x.peak <= EXACT)
