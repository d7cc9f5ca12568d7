"""Run a program with OpenVINO."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import openvino as ov
from numpy.typing import NDArray

import pnbx_extras
from neuromorphic.errors import ExecutorError
from neuromorphic.executors.onnx.products import Products
from neuromorphic.executors.onnx.stepper import Runner, Runtime, execute_steps
from neuromorphic.program import Program
from neuromorphic.recording import Recording

logger = logging.getLogger(__name__)
SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "EXECUTION_MODE_HINT": "ACCURACY",
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    }
)
"""What keeps a device exact. Unasked, some round: to half precision, and, where weights are int8 and the processor has
VNNI or XMX, what meets them to 8 bits, by groups of 32."""


OLDEST = (2025, 4)
"""The oldest release that keeps every operation exact: 2024.6 and 2025.2 round sums of states in float32."""


def openvino_devices() -> list[tuple[str, str, tuple[str, ...]]]:
    """Return the devices that OpenVINO finds, each with its full name and its capabilities (``"INT8"``, ...)."""
    core = ov.Core()

    def told(name: str, key: str, otherwise: Any) -> Any:
        try:
            return core.get_property(name, key)
        except RuntimeError as error:
            logger.warning("openvino: device %s does not tell its %s: %s", name, key, error)
            return otherwise

    return [
        (name, str(told(name, "FULL_DEVICE_NAME", name)), tuple(told(name, "OPTIMIZATION_CAPABILITIES", ())))
        for name in core.available_devices
    ]


def execute(
    program: Program,
    inputs: NDArray[np.int32],
    *,
    device: str = "CPU",
    threads: int = 1,
    products: Products = "float32",
    record: Iterable[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run a program with OpenVINO, step by step: see :func:`neuromorphic.executors.onnx.stepper.execute_steps`.

    ``device`` is ``"CPU"``, ``"GPU"``, ``"GPU.1"``, ``"NPU"`` or ``"AUTO"``. Only ``"CPU"`` was checked, and ``"AUTO"``
    where it chose that. Everywhere :data:`SETTINGS` are asked for.
    """
    return execute_steps(program, inputs, products, openvino_runtime(device, threads), record=record, progress=progress)


def openvino_runtime(device: str = "CPU", threads: int = 1) -> Runtime:
    """Return what compiles models for a device of OpenVINO.

    Raises
    ------
    ExecutorError
        For a device that is not here, or a release of OpenVINO that is too old.
    """
    release = tuple(int(part) for part in ov.__version__.split("-")[0].split(".")[:2])
    if release < OLDEST:
        raise ExecutorError(
            f"openvino: release {ov.__version__} rounds what must be exact; {'.'.join(map(str, OLDEST))} or newer does "
            f"not: {pnbx_extras.install('onnx')}"
        )
    core = ov.Core()
    device = device.upper()
    if device != "AUTO" and device not in core.available_devices:
        raise ExecutorError(
            f"openvino: device must be one of {', '.join([*core.available_devices, 'AUTO'])}, got {device!r}"
        )

    def compiled(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Runner, list[str]]:
        settings = dict(SETTINGS)
        if device == "CPU":
            settings.update(INFERENCE_NUM_THREADS=threads, NUM_STREAMS=1)
        try:
            read = core.read_model(model.SerializeToString())
            read.reshape({name: list(shape) for name, shape in shapes.items()})  # faster than shapes that may change
            network = core.compile_model(read, device, settings)
            request = network.create_infer_request()
        except RuntimeError as error:
            raise ExecutorError(f"openvino: device {device} cannot compile the program: {error}") from error
        names = [value.name for value in model.graph.output]  # in order: a tensor that is folded away loses its name

        def run(given: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
            try:
                results = request.infer(dict(given))
            except RuntimeError as error:
                raise ExecutorError(f"openvino: device {device} cannot run the program: {error}") from error
            return {name: results[place] for place, name in enumerate(names)}

        return run, [str(name) for name in network.get_property("EXECUTION_DEVICES")]

    return Runtime("openvino", compiled, {"device": device, "openvino": ov.__version__})
