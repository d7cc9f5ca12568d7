"""How much memory a model of a program may ask for, found from its shapes before anything runs it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
from onnx import helper, shape_inference

from neuromorphic.program import MAX_VALUES

NODES = frozenset(
    "Abs Add ArgMax BitwiseAnd Cast Clip Concat ConstantOfShape Div Equal Expand Floor Gather Greater Identity Less MatMul "
    "MatMulInteger Min Mul ReduceMax ReduceMin Reshape Scan Shape Sign Slice Split Sub Where".split()
)
"""The operators that programs are written with."""
FREE_AXES = ("B", "T")


def check_budget(model: onnx.ModelProto) -> None:
    """Refuse a model with another operator, or with a tensor whose size is unknown or over the budget of a program.

    Sizes are those of one sample and one step, all other axes being numbers.

    Raises
    ------
    ValueError
        The message names the tensor.
    """
    for graph in _graphs(model.graph):
        for node in graph.node:
            if node.op_type not in NODES or node.domain:
                raise ValueError(f"node {node.name!r} is a {node.domain}{node.op_type}, which no program is written with")
        alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        for dim in _dims(alone.graph):
            if dim.dim_param in FREE_AXES:
                dim.dim_value = 1
        try:
            inferred = shape_inference.infer_shapes(alone, data_prop=True).graph
        except Exception as error:  # its errors have no common class but this
            raise ValueError(f"its shapes do not follow from each other ({error})") from error
        _check_graph(inferred)


def _check_graph(graph: onnx.GraphProto) -> None:
    outside = {value.name for value in (*graph.input, *graph.output)}
    values = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}
    total = 0
    for name, kind in values.items():
        if not kind.HasField("shape") or not all(dim.HasField("dim_value") for dim in kind.shape.dim):
            raise ValueError(f"the size of {name!r} does not follow from the model")
        size = math.prod(dim.dim_value for dim in kind.shape.dim)
        total += size if name in outside else 0  # what a node gives comes and goes, these are there together
        if max(size, total) > MAX_VALUES:
            raise ValueError(f"{name!r} brings one sample to {max(size, total)} values; at most {MAX_VALUES} are allowed")
    for node in graph.node:
        unknown = [name for name in node.output if name and name not in values]
        if unknown and node.op_type != "Scan":  # what a Scan gives is an output, whose shape is told
            raise ValueError(f"the size of {unknown[0]!r} does not follow from the model")


def _dims(graph: onnx.GraphProto) -> Iterator[onnx.TensorShapeProto.Dimension]:
    del graph.value_info[:]  # what a file says of values within is not believed
    for value in (*graph.input, *graph.output):
        yield from value.type.tensor_type.shape.dim


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
