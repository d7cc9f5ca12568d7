"""ONNX models as files: written, read back with every check there is, and run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

import pnbx_extras
from neuromorphic.errors import ExecutorError, FileFormatError, InputError, ProgramError
from neuromorphic.executors.onnx import EXECUTORS
from neuromorphic.executors.onnx.budget import check_budget
from neuromorphic.executors.onnx.model import (
    DIGEST,
    FORMAT_VERSION,
    OPSETS,
    PREFIX,
    Form,
    digest,
    to_onnx,
)
from neuromorphic.executors.onnx.products import PRODUCTS, Products
from neuromorphic.executors.onnx.stepper import Runtime, facts_of, run_model
from neuromorphic.files.atomic_write import write_atomically
from neuromorphic.files.regular_files import read_regular
from neuromorphic.ops import Input
from neuromorphic.program import Program
from neuromorphic.recording import Recording
from neuromorphic.wording import counted

MAX_BYTES = (1 << 31) - 1
"""What one protocol buffer may hold."""


def save_onnx(
    program: Program,
    path: str | os.PathLike[str],
    *,
    form: Form = "step",
    products: Products = "int8",
    opset: int = OPSETS[0],
    num_steps: int | None = None,
) -> Path:
    """Write a program as an ONNX model, whole or not at all.

    Parameters
    ----------
    program : Program
        What to write.
    path : path
        Where.
    form, products, opset, num_steps
        See :func:`neuromorphic.executors.onnx.model.to_onnx`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CompileError, BoundError
        As :func:`~neuromorphic.executors.onnx.model.to_onnx`.
    StorageError
        When the file cannot be written.
    """
    model = to_onnx(program, form=form, products=products, opset=opset, num_steps=num_steps)
    write_atomically(Path(path), model.SerializeToString())
    return Path(path)


def load_onnx(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """Read a model that :func:`save_onnx` wrote.

    Raises
    ------
    FileFormatError
        When the file is missing, truncated, altered, newer than this package, or not of a program.
    """
    content = read_regular(path, FileFormatError, max_bytes=MAX_BYTES)
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise FileFormatError(f"{path}: not a readable ONNX model, truncated or altered ({error})") from error
    texts = {item.key: item.value for item in model.metadata_props}
    if PREFIX + DIGEST not in texts:
        raise FileFormatError(
            f"{path}: not the whole model of a program: it lacks {PREFIX}{DIGEST}, "
            "which `neuromorphic export --to onnx` writes"
        )
    version = texts.get(f"{PREFIX}format_version", "")
    if version not in map(str, range(1, FORMAT_VERSION + 1)):
        raise FileFormatError(
            f"{path}: format version {version!r}, this version of the package reads up to {FORMAT_VERSION}"
        )
    if digest(model) != texts[PREFIX + DIGEST]:
        raise FileFormatError(f"{path}: content does not match its SHA-256; the file was altered or damaged")
    _check_self_contained(model, path)
    return model


def _tensors_and_nodes(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto | onnx.NodeProto]:
    yield from graph.initializer
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors_and_nodes(attribute.g)


def _check_self_contained(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Refuse what would make a runtime open other files or libraries."""
    for item in _tensors_and_nodes(model.graph):
        if isinstance(item, onnx.NodeProto) and item.domain:
            raise FileFormatError(
                f"{path}: node {item.name!r} is of the domain {item.domain!r}; programs use ONNX's own"
            )
        if isinstance(item, onnx.TensorProto) and item.data_location == onnx.TensorProto.EXTERNAL:
            raise FileFormatError(f"{path}: tensor {item.name!r} lies in another file; programs keep theirs inside")


def _check_facts(graph: onnx.GraphProto, facts: dict[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError unless what the facts say of the graph is what it is."""
    ports, outputs = {value.name: value.type.tensor_type for value in graph.input}, {v.name for v in graph.output}
    if facts["form"] not in ("step", "scan", "image") or facts["products"] not in PRODUCTS:
        raise ValueError(f"form {facts['form']!r}, products {facts['products']!r}")
    missing = {*facts["variables"], *(state["output"] for state in facts["states"])} - outputs
    if missing:
        raise KeyError(*missing)
    named = [facts["input"]["name"], *(state["input"] for state in facts["states"])]
    if sorted(named) != sorted(ports):
        raise ValueError(f"inputs {sorted(ports)}, told {named}")
    for state in facts["states"]:
        port = ports[state["input"]]
        is_so = ([dim.dim_value for dim in port.shape.dim[1:]], onnx.helper.tensor_dtype_to_np_dtype(port.elem_type))
        told = (state["shape"], np.dtype(state["dtype"]))
        if told != is_so:
            raise ValueError(f"{state['input']} is {is_so}, told {told}")


def run_onnx(
    path: str | os.PathLike[str],
    inputs: NDArray[Any],
    executor: str = "onnxruntime",
    *,
    device: str = "cpu",
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run the model in a file, a step or a scan.

    Parameters
    ----------
    path : path
        What :func:`save_onnx` wrote.
    inputs : NDArray
        ``[T, B, N]`` or ``[B, N]``, integers or floats, as :meth:`Program.prepare_inputs` takes them.
    executor : str
        ``"onnxruntime"`` or ``"openvino"``.
    device, threads
        As the executor takes them.
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    Recording
        Equal to the program's on the reference.

    Raises
    ------
    FileFormatError
        When the file is missing, damaged, not of a program or of the form ``image``.
    InputError
        When the inputs do not fit, or are of more steps than the model was proven for.
    ExecutorError
        For an executor or a device that is not here.
    """
    model = load_onnx(path)
    runtime = _runtime(executor, device, threads)
    try:
        facts = facts_of(model)
        form, port, num_steps = facts["form"], facts["input"], facts["num_steps"]
        only = Program((Input(port["name"], port["size"], port["low"], port["high"], port["scale"]),), num_steps)
        _check_facts(model.graph, facts)
    except (KeyError, TypeError, ValueError, ProgramError) as error:  # JSON's errors are ValueErrors
        raise FileFormatError(f"{path}: not a usable model of a program ({error})") from error
    if form == "image":
        raise FileFormatError(f"{path}: its form is 'image', which leaves no recording; export --form step or scan")
    try:
        check_budget(model)
    except ValueError as error:
        raise FileFormatError(f"{path}: not a usable model of a program ({error})") from error
    codes = only.prepare_inputs(inputs)
    if len(codes) > num_steps:
        raise InputError(
            f"{path}: inputs have {counted(len(codes), 'step')}, the model was proven for {num_steps}; "
            f"export it with --steps {len(codes)}"
        )
    recording = run_model(model, codes, runtime, progress=progress)
    told = {"program_sha256": facts["program_sha256"], **recording.metadata}
    return Recording(recording.variables, recording.executor, told)


def _runtime(executor: str, device: str, threads: int) -> Runtime:
    if executor not in EXECUTORS:
        raise ExecutorError(f"an ONNX model runs on {' or '.join(EXECUTORS)}, got {executor!r}")
    try:
        if executor == "onnxruntime":
            from neuromorphic.executors.onnx.onnxruntime import onnxruntime_runtime

            return onnxruntime_runtime(device, threads)
        from neuromorphic.executors.onnx.openvino import openvino_runtime

        return openvino_runtime(device, threads)
    except ModuleNotFoundError as error:
        raise ExecutorError(f"executor {executor!r} needs {error.name}: {pnbx_extras.install('onnx')}") from error
