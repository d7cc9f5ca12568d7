"""A graph while it is built: tensors go by name, constants and equal nodes are kept once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Tensor = str
"""The name of a tensor of the graph."""
Operand = Tensor | int | NDArray[Any]
"""A tensor, or a constant: integers become int32."""

FLOAT, INT32, INT64, UINT8, BOOL = (
    TensorProto.FLOAT,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.BOOL,
)


def wrapped(value: int) -> int:
    """Return an integer modulo ``2**32`` as int32 holds it."""
    return ((value + (1 << 31)) & ((1 << 32) - 1)) - (1 << 31)


class Graph:
    """Nodes and constants of an ONNX graph; no tensor has the name of one of the graph that goes into it.

    Every method that computes returns the name of its result. Arithmetic is int32 and may wrap.
    """

    def __init__(self, inside: Graph | None = None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], tuple[Tensor, NDArray[Any]]] = {}
        self._known: dict[Any, tuple[Tensor, ...]] = {}
        self._count: int = inside._count if inside else 0

    def new_name(self, kind: str) -> Tensor:
        """Return a name that no tensor has."""
        self._count += 1
        return f"{kind.lower()}_{self._count}"

    def constant(self, value: Operand) -> Tensor:
        """Return the name of a constant, or of the tensor that it already is."""
        if isinstance(value, str):
            return value
        array = np.asarray(wrapped(value), dtype=np.int32) if isinstance(value, int) else np.ascontiguousarray(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = (self.new_name("constant"), array)
        return self._constants[key][0]

    def ops(self, kind: str, *inputs: Operand, outputs: int = 1, **attributes: Any) -> tuple[Tensor, ...]:
        """Add a node, or find the one that computes the same, and return its results."""
        names = tuple(self.constant(operand) for operand in inputs)
        key = (kind, names, outputs, repr(sorted((k, v) for k, v in attributes.items() if not k.startswith("body"))))
        if key not in self._known:
            results = tuple(self.new_name(kind) for _ in range(outputs))
            self.nodes.append(helper.make_node(kind, names, results, name=results[0], **attributes))
            self._known[key] = results
        return self._known[key]

    def op(self, kind: str, *inputs: Operand, **attributes: Any) -> Tensor:
        """Add a node of one result."""
        return self.ops(kind, *inputs, **attributes)[0]

    def add(self, first: Operand, *others: Operand) -> Tensor:
        """Sum."""
        total = self.constant(first)
        for other in others:
            if not (isinstance(other, int) and other == 0):
                total = self.op("Add", total, other)
        return total

    def mul(self, a: Tensor, b: Operand) -> Tensor:
        """Product."""
        return a if isinstance(b, int) and b == 1 else self.op("Mul", a, b)

    def bits(self, a: Tensor, mask: int) -> Tensor:
        """Return ``a & mask``."""
        return self.op("BitwiseAnd", a, mask)

    def where(self, condition: Tensor, a: Operand, b: Operand) -> Tensor:
        """Choose ``a`` where the condition, a bool, holds."""
        return self.op("Where", condition, a, b)

    def cast(self, a: Tensor, to: int) -> Tensor:
        """Change the type."""
        return self.op("Cast", a, to=to)

    def reshape(self, a: Tensor, *shape: int) -> Tensor:
        """Change the shape; 0 keeps an axis, -1 is what remains."""
        return self.op("Reshape", a, np.array(shape, dtype=np.int64))

    def needed(self, results: Iterable[Tensor]) -> set[Tensor]:
        """Return all tensors on which results depend, with them."""
        found = set(results)
        for node in reversed(self.nodes):
            if found.intersection(node.output):
                found.update(node.input)
        return found

    def build(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: dict[str, tuple[Tensor, onnx.ValueInfoProto]]
    ) -> onnx.GraphProto:
        """Return the graph; ``outputs`` says by which tensor each output, under its own name, is given."""
        needed = self.needed(tensor for tensor, _ in outputs.values())
        self.nodes = [node for node in self.nodes if needed.intersection(node.output)]
        renamed: dict[Tensor, str] = {}
        taken = {value.name for value in inputs}
        for output, (tensor, _) in outputs.items():
            if tensor in renamed or tensor in taken or tensor not in {n for node in self.nodes for n in node.output}:
                self.nodes.append(helper.make_node("Identity", [tensor], [output], name=output))
            else:
                renamed[tensor] = output
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [renamed.get(n, n) for n in names]
        used = {n for node in self.nodes for n in node.input}
        constants = [numpy_helper.from_array(array, n) for n, array in self._constants.values() if n in used]
        return helper.make_graph(self.nodes, name, list(inputs), [info for _, info in outputs.values()], constants)
