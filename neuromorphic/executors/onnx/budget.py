"""How much memory a model of a program may ask for, found from its shapes before anything runs it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
from onnx import helper, shape_inference

from neuromorphic.program import MAX_VALUES

NODES = frozenset(
    (
        *("Abs", "Add", "ArgMax", "BitwiseAnd", "Cast", "Clip", "Concat", "Conv", "ConvInteger"),
        *("ConstantOfShape", "Div", "Equal", "Expand", "Floor", "Gather", "GatherElements", "GatherND", "Greater"),
        *("GreaterOrEqual", "Identity", "Less", "MatMul", "MatMulInteger", "Max", "Min", "Mul", "Pad", "ReduceMax"),
        *("ReduceMin", "ReduceSum", "Reshape", "Scan", "ScatterElements", "Shape", "Sign", "Slice", "Split"),
        *("Sub", "Transpose", "Where"),
    )
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
                raise ValueError(
                    f"node {node.name!r} is a {node.domain}{node.op_type}, which no program is written with"
                )
        alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        for dim in _dims(alone.graph):
            if dim.dim_param in FREE_AXES:
                dim.dim_value = 1
        try:
            # Values are not followed (data_prop): doubling one 40 times would fill the memory here.
            inferred = shape_inference.infer_shapes(alone).graph
        except Exception as error:  # its errors have no common class but this
            raise ValueError(f"its shapes do not follow from each other ({error})") from error
        _check_graph(inferred)


def _check_graph(graph: onnx.GraphProto) -> None:
    values = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}
    zeros = _sizes_of_zeros(graph)
    told = {name for node in graph.node if node.op_type == "Scan" for name in node.output}  # by the graph's outputs
    total = 0
    for name, kind in values.items():
        if name in told and not any(name == value.name for value in graph.output):
            continue
        if name in zeros:
            size = zeros[name]
        elif kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            size = math.prod(dim.dim_value for dim in kind.shape.dim)
        else:
            raise ValueError(f"the size of {name!r} does not follow from the model")
        total += size
        if size > MAX_VALUES or total > 4 * MAX_VALUES:
            raise ValueError(
                f"{name!r} has {size} values of one sample, with those before it {total}; "
                f"at most {MAX_VALUES} and {4 * MAX_VALUES} are allowed"
            )
    for node in graph.node:
        unknown = [name for name in node.output if name and name not in values and name not in told]
        if unknown:
            raise ValueError(f"the size of {unknown[0]!r} does not follow from the model")


def _sizes_of_zeros(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the sizes of the zeros a sequence begins with, ``[B, *shape]``: the batch of an input, and numbers."""
    made_by = {name: node for node in graph.node for name in node.output}
    numbers = {tensor.name: tensor for tensor in graph.initializer}
    ports = {value.name for value in graph.input}
    sizes = {}
    for node in graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] in numbers:
            continue
        shape = made_by.get(node.input[0], onnx.NodeProto())
        batch = made_by.get(shape.input[0] if shape.input else "", onnx.NodeProto())
        whole = made_by.get(batch.input[0] if batch.input else "", onnx.NodeProto())
        kinds = (shape.op_type, batch.op_type, whole.op_type)
        constant = all(name in numbers for name in shape.input[1:])
        if kinds != ("Concat", "Slice", "Shape") or whole.input[0] not in ports or not constant:
            raise ValueError(f"the size of {node.output[0]!r} does not follow from the model")
        told = [onnx.numpy_helper.to_array(numbers[name]).reshape(-1).tolist() for name in shape.input[1:]]
        sizes[node.output[0]] = math.prod(n for entries in told for n in entries)
    return sizes


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
