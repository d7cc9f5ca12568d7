"""Run a program with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from neuromorphic.errors import ExecutorError
from neuromorphic.executors.onnx.products import Products
from neuromorphic.executors.onnx.stepper import Runner, Runtime, execute_steps
from neuromorphic.program import Program
from neuromorphic.recording import Recording

_SUFFIX = "ExecutionProvider"
_ERRORS = (
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NotImplemented,
    state.RuntimeException,
    RuntimeError,
)
_REMOTE = ("AzureExecutionProvider",)
"""Providers that call a service instead of computing."""


def providers() -> list[str]:
    """Return the names by which ``device=`` asks for what ONNX Runtime has here, for example ``["cpu"]``."""
    return [name.removesuffix(_SUFFIX).lower() for name in ort.get_available_providers() if name not in _REMOTE]


def execute(
    program: Program,
    inputs: NDArray[np.int32],
    *,
    device: str = "cpu",
    threads: int = 1,
    products: Products = "int8",
    record: Iterable[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run a program as an ONNX model, step by step: see :func:`neuromorphic.executors.onnx.stepper.execute_steps`.

    ``device`` is an execution provider: ``"cpu"``, ``"cuda"``, ``"openvino"``, ... Only ``"cpu"`` was checked.
    """
    runtime = onnxruntime_runtime(device, threads)
    return execute_steps(program, inputs, products, runtime, record=record, progress=progress)


def onnxruntime_runtime(device: str = "cpu", threads: int = 1) -> Runtime:
    """Return what compiles models for an execution provider of ONNX Runtime.

    Raises
    ------
    ExecutorError
        For a provider that is not here.
    """
    known = {name.removesuffix(_SUFFIX).lower(): name for name in ort.get_available_providers()}
    device = device.lower()
    if device not in providers():
        raise ExecutorError(f"onnxruntime: device must be one of {', '.join(providers())}, got {device!r}")

    def compiled(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Runner, list[str]]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        try:
            session = ort.InferenceSession(model.SerializeToString(), options, providers=[known[device]])
        except _ERRORS as error:
            raise ExecutorError(f"onnxruntime: device {device} cannot take the program: {error}") from error
        names = [value.name for value in session.get_outputs()]

        def run(given: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
            try:
                return dict(zip(names, session.run(names, given), strict=True))
            except _ERRORS as error:
                raise ExecutorError(f"onnxruntime: device {device} cannot run the program: {error}") from error

        return run, list(session.get_providers())

    return Runtime("onnxruntime", compiled, {"device": device, "onnxruntime": ort.__version__})
