"""An integer program as an ONNX model: one step with its states going in and out, or all steps in a ``Scan``.

Of a classifier of static images there is a third form, which holds the image and gives the label.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper

from neuromorphic.errors import CompileError
from neuromorphic.executors.onnx.graph import INT32, UINT8, Graph, Tensor
from neuromorphic.executors.onnx.products import PRODUCTS, Products
from neuromorphic.executors.onnx.step import DTYPES, INPUT, State, Step
from neuromorphic.ops import Readout
from neuromorphic.program import Program

Form = Literal["step", "scan", "image"]
FORMS: tuple[Form, ...] = ("step", "scan", "image")
FORMAT_VERSION = 1
OPSETS = (18, 21)
"""Lowest and highest opset written: 18 brought ``BitwiseAnd``; beyond 21 nobody has looked."""
IR_VERSION = 10
PREFIX = "pnbx."
DIGEST = "sha256"


def to_onnx(
    program: Program,
    *,
    form: Form = "step",
    products: Products = "int8",
    record: Iterable[str] | None = None,
    opset: int = OPSETS[0],
    num_steps: int | None = None,
) -> onnx.ModelProto:
    """Return a program as an ONNX model that computes the same integers.

    The step form takes ``x`` ``[B, N]`` and a tensor ``state.<op>.<field>`` ``[B, ...]`` for each state, zeros before
    the first step, and gives a tensor ``<op>.<variable>`` for each variable of a recording and the next states: which
    output is which state's next value is in the metadata. The scan form takes ``x`` ``[T, B, N]`` and gives all
    variables as ``[T, B, ...]``. The image form takes ``x`` ``[B, N]``, holds it for ``num_steps`` steps and gives the
    read-out's last sums ``[B, classes]`` and ``labels`` ``[B]``.

    Parameters
    ----------
    program : Program
        What to export.
    form : str
        ``"step"``, ``"scan"`` or ``"image"``.
    products : str
        Matrix products as ``"int8"`` (``MatMulInteger``) or ``"float32"``: both exact; which is faster differs.
    record : iterable of str, optional
        Variables to give, ``"op.variable"``; by default all. The image form gives its own.
    opset : int
        18 to 21.
    num_steps : int, optional
        Steps from states of zeros for which the bounds are proven, and that the image form takes; by default the
        program's. The model is valid for no more; :data:`neuromorphic.bounds.ANY_STEPS` is any number.

    Returns
    -------
    onnx.ModelProto
        Its ``metadata_props``, all with the prefix ``pnbx.``: ``format_version``, ``program_sha256``,
        ``num_steps``, ``form``, ``products``, ``input``, ``states`` and ``variables``, the last three as JSON, and
        ``sha256`` of the model without it.

    Raises
    ------
    CompileError
        For an operation that cannot be exported, a form, product or opset that is none, or the image of a program
        without a read-out.
    BoundError
        When the program could overflow.

    Examples
    --------
    >>> import numpy as np
    >>> from neuromorphic import LIF, Dense, Input, Program
    >>> one = np.ones(1, dtype=np.int32)
    >>> fc = Dense("fc", "x", np.array([[1, 1]], dtype=np.int8))
    >>> lif = LIF("lif", ("fc",), decay=4096 * one, threshold=2 * one, bias=0 * one, shift=0)
    >>> model = to_onnx(Program((Input("x", 2), fc, lif), num_steps=4))
    >>> [value.name for value in model.graph.input], [value.name for value in model.graph.output]
    (['x', 'state.lif.v'], ['lif.spikes', 'lif.v'])
    """
    for name, value, allowed in (("form", form, FORMS), ("products", products, PRODUCTS)):
        if value not in allowed:
            raise CompileError(f"onnx: {name} must be one of {', '.join(allowed)}, got {value!r}")
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise CompileError(f"onnx: opset must be in {OPSETS[0]}..{OPSETS[1]} (18 brought BitwiseAnd), got {opset!r}")
    num_steps = program.num_steps if num_steps is None else num_steps
    if form == "image":
        record = [f"{_readout(program, record).name}.y"]
    step = Step(replace(program, num_steps=num_steps), products, list(program.variables_to_record(record, "onnx")))
    graph, carried = _step_graph(step) if form == "step" else (_sequence_graph(step, form), {})
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSION,
        producer_name="neuromorphic",
        doc_string="An integer program of PNB-X; run it in float32 precision, every number in it is whole and exact.",
    )
    port = program.input
    facts = {
        "format_version": str(FORMAT_VERSION),
        "program_sha256": program.sha256,
        "num_steps": str(num_steps),
        "form": form,
        "products": products,
        "input": json.dumps(
            {"name": INPUT, "size": port.size, "low": port.low, "high": port.high, "scale": port.scale}
        ),
        "states": json.dumps(
            [
                {"input": state.input, "output": carried[name], "shape": state.shape, "dtype": DTYPES[state.dtype]}
                for name, state in step.states.items()
                if name in carried
            ]
        ),
        "variables": json.dumps(list(step.variables)),
    }
    for key, fact in facts.items():
        model.metadata_props.add(key=PREFIX + key, value=fact)
    model.metadata_props.add(key=PREFIX + DIGEST, value=digest(model))
    onnx.checker.check_model(model)
    return model


def digest(model: onnx.ModelProto) -> str:
    """Return the SHA-256 of a model without the property that holds it."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    others = [item for item in model.metadata_props if item.key != PREFIX + DIGEST]
    del bare.metadata_props[:]
    bare.metadata_props.extend(others)
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def _readout(program: Program, record: Iterable[str] | None) -> Readout:
    found: list[Readout] = program.of_type(Readout)
    if len(found) != 1:
        raise CompileError(
            f"onnx: form 'image' is for a program with one Readout, got {len(found)}; the scan form takes any program"
        )
    if record is not None:
        raise CompileError("onnx: form 'image' gives labels and the read-out's sums; leave record out")
    return found[0]


def _value(name: str, dtype: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def _variable_value(program: Program, name: str, *leading: str) -> onnx.ValueInfoProto:
    op_name, variable = name.rsplit(".", 1)
    found = next(v for v in program[op_name].variables if v.name == variable)
    return _value(name, UINT8 if found.dtype == "uint8" else INT32, *leading, found.size)


def _step_graph(step: Step) -> tuple[onnx.GraphProto, dict[str, str]]:
    """Return the graph of one step, and for each state the output that holds its next value."""
    program, states = step.program, step.states
    inputs = [_value(INPUT, INT32, "B", program.input.size)]
    inputs += [_value(state.input, state.dtype, "B", *state.shape) for state in states.values()]
    outputs = {name: (tensor, _variable_value(program, name, "B")) for name, tensor in step.variables.items()}
    carried = {}
    for name, state in states.items():
        carried[name] = name if step.variables.get(name) == step.next[name] else f"next.{name}"
        outputs.setdefault(carried[name], (step.next[name], _value(f"next.{name}", state.dtype, "B", *state.shape)))
    return step.graph.build("step", inputs, outputs), carried


def _zeros(g: Graph, state: State, batch: Tensor) -> Tensor:
    shape = g.op("Concat", batch, np.array(state.shape, dtype=np.int64), axis=0)
    kind = TensorProto.FLOAT if state.dtype == TensorProto.FLOAT else TensorProto.INT32
    return g.op("ConstantOfShape", shape, value=helper.make_tensor("zero", kind, [1], [0]))


def _sequence_graph(step: Step, form: Form) -> onnx.GraphProto:
    """Return the graph of all steps: a ``Scan`` whose body is the step."""
    program, states = step.program, step.states
    inner = [_value(state.input, state.dtype, "B", *state.shape) for state in states.values()]
    inner.append(_value(INPUT, INT32, "B", program.input.size))
    given = {
        f"next.{name}": (step.next[name], _value(f"next.{name}", state.dtype, "B", *state.shape))
        for name, state in states.items()
    }
    for name, tensor in step.variables.items() if form == "scan" else ():
        value = _variable_value(program, name, "B")
        value.name = f"step.{name}"
        given[value.name] = (tensor, value)
    body = step.graph.build("body", inner, given)
    g, sequence = Graph(step.graph), INPUT
    one = np.array([1], dtype=np.int64)
    if form == "image":
        sequence = g.op("Expand", INPUT, np.array([program.num_steps, 1, 1], dtype=np.int64))  # [T, B, N]
    batch = g.op("Slice", g.op("Shape", sequence), one, one + 1)
    zeros = [_zeros(g, state, batch) for state in states.values()]
    results = g.ops("Scan", *zeros, sequence, outputs=len(given), body=body, num_scan_inputs=1)
    if form == "image":
        (name,) = step.variables
        y = results[list(states).index(name)]
        sums = {name: (y, _variable_value(program, name, "B"))}
        labels = g.op("ArgMax", y, axis=1, keepdims=0)  # the lowest index of equals
        outputs = {**sums, "labels": (labels, _value("labels", TensorProto.INT64, "B"))}
        return g.build(form, [_value(INPUT, INT32, "B", program.input.size)], outputs)
    outputs = {
        name: (tensor, _variable_value(program, name, "T", "B"))
        for name, tensor in zip(step.variables, results[len(states) :], strict=True)
    }
    return g.build(form, [_value(INPUT, INT32, "T", "B", program.input.size)], outputs)
