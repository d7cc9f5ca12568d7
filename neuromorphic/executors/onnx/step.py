"""One step of a program while its graph is built: ranges, states, and what a recording keeps."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromorphic.bounds import OpBound
from neuromorphic.executors.onnx.graph import FLOAT, INT32, UINT8, Graph, Tensor
from neuromorphic.executors.onnx.products import Products
from neuromorphic.ops import Input, Operation
from neuromorphic.program import Program

DTYPES: dict[int, str] = {INT32: "int32", FLOAT: "float32", UINT8: "uint8"}


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
    bounds : list of OpBound
        Its proven ranges.
    products : str
        See :func:`neuromorphic.executors.onnx.products.product`.
    record : container of str
        Variables that are computed, ``"op.variable"``.
    """

    def __init__(
        self, program: Program, bounds: list[OpBound], products: Products, record: Container[str], x: Tensor
    ) -> None:
        self.graph = Graph()
        self.program, self.products, self.record, self.x = program, products, record, x
        self.ranges = {bound.name: (bound.low, bound.high) for bound in bounds}
        self.states: dict[str, State] = {}
        self.next: dict[str, Tensor] = {}
        self.variables: dict[str, Tensor] = {}

    def range(self, source: str) -> tuple[int, int]:
        """Return the lowest and highest value that a source gives."""
        op, _ = self.program.undelayed(source)
        if isinstance(op, Input):
            return op.low, op.high
        return (0, 1) if op.kind == "events" else self.ranges[op.name]

    def peak(self, source: str) -> int:
        """Return the largest magnitude that a source gives."""
        low, high = self.range(source)
        return max(-low, high)

    def state(self, op: Operation, field: str, *shape: int, dtype: int = INT32) -> Tensor:
        """Return a state as the step finds it."""
        state = State(f"{op.name}.{field}", shape, dtype)
        self.states[state.name] = state
        return state.input

    def hold(self, op: Operation, field: str, value: Tensor) -> None:
        """Say what a state is after the step.

        OpenVINO's loop takes what comes in and goes out untouched from the wrong step, so it passes a node.
        """
        if value == self.x or value in {state.input for state in self.states.values()}:
            value = self.graph.sealed(value)
        self.next[f"{op.name}.{field}"] = value

    def keep(self, op: Operation, variable: str, value: Tensor) -> None:
        """Say what a variable is in this step."""
        if self.wanted(op, variable):
            self.variables[f"{op.name}.{variable}"] = value

    def wanted(self, op: Operation, variable: str) -> bool:
        """Whether a variable is recorded."""
        return f"{op.name}.{variable}" in self.record

    def prune(self) -> None:
        """Drop nodes and states on which nothing recorded depends: OpenVINO forgets the names of unused inputs."""
        while True:
            needed = self.graph.keep_only([*self.variables.values(), *self.next.values()])
            unread = [name for name, state in self.states.items() if state.input not in needed]
            if not unread:
                return
            for name in unread:
                del self.states[name], self.next[name]

    def sum(self, currents: tuple[Tensor, ...]) -> Tensor:
        """Add up what sources give."""
        return self.graph.add(*currents)


def plain(value: NDArray[np.integer]) -> NDArray[np.int32] | int:
    """Return a constant as int32, or as one integer where all are equal."""
    array = np.asarray(value, dtype=np.int32)
    return int(array.flat[0]) if (array == array.flat[0]).all() else array
