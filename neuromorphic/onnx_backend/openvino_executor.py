"""Run a program with OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import openvino as ov
from numpy.typing import NDArray

from neuromorphic.errors import ExecutorError
from neuromorphic.onnx_backend.products import Products
from neuromorphic.onnx_backend.stepper import Runner, execute_steps
from neuromorphic.program import Program
from neuromorphic.recording import Recording


def openvino_devices() -> list[tuple[str, str]]:
    """Return the devices that OpenVINO finds, each with its full name."""
    core = ov.Core()
    return [(name, str(core.get_property(name, "FULL_DEVICE_NAME"))) for name in core.available_devices]


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
    """Run a program as an ONNX model that OpenVINO has compiled, step by step.

    Parameters
    ----------
    program : Program
        What to run.
    inputs : NDArray[np.int32]
        ``[T, B, N]``, as :meth:`Program.prepare_inputs` returns them.
    device : str
        ``"CPU"``, ``"GPU"``, ``"GPU.1"``, ``"NPU"`` or ``"AUTO"``. Only ``"CPU"`` was checked. Everywhere
        float32 is asked for, since half precision would round.
    threads : int
        Threads on a CPU.
    products : str
        ``"int8"`` or ``"float32"``: both exact.
    record : iterable of str, optional
        Variables to keep, ``"op.variable"``; by default all.
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    Recording
        Equal to the reference's, of the variables asked for.

    Raises
    ------
    ExecutorError
        For a device that is not here or cannot run the program, or a variable that the program does not have.
    """
    core = ov.Core()
    device = device.upper()
    if device != "AUTO" and device not in core.available_devices:
        raise ExecutorError(
            f"openvino: device must be one of {', '.join([*core.available_devices, 'AUTO'])}, got {device!r}"
        )

    def compiled(model: onnx.ModelProto) -> Runner:
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if device == "CPU":
            settings.update(INFERENCE_NUM_THREADS=threads, NUM_STREAMS=1)
        try:
            network = core.compile_model(core.read_model(model.SerializeToString()), device, settings)
        except RuntimeError as error:
            raise ExecutorError(f"openvino: device {device} cannot compile the program: {error}") from error
        request = network.create_infer_request()
        names = [output.get_any_name() for output in network.outputs]

        def run(given: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
            results = request.infer(dict(given))
            return {name: results[place] for place, name in enumerate(names)}

        return run

    return execute_steps(
        program,
        inputs,
        "openvino",
        products,
        compiled,
        record=record,
        progress=progress,
        facts={"device": device, "openvino": ov.__version__},
    )
