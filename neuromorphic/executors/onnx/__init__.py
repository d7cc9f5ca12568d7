"""Programs as ONNX graphs, and the executors that run those: ONNX Runtime and OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuromorphic.errors import ExecutorError
from neuromorphic.executors.entry import Entry, Option

if TYPE_CHECKING:
    from neuromorphic.recording import Recording

_CHECKED = ("cpu", "CPU")
_MATRIX_UNITS = "GPU_HW_MATMUL"
"""By this OpenVINO says that a GPU has matrix units, which on Intel's are XMX."""


def _known(device: str) -> str:
    return "ready" if device in _CHECKED else "there, never checked: verify first"


def _units(capabilities: tuple[str, ...]) -> str:
    int8 = "int8" if "INT8" in capabilities else "no int8"
    return f"{int8}, XMX, not measured" if _MATRIX_UNITS in capabilities else int8


def _onnxruntime_devices() -> list[tuple[str, str]]:
    from neuromorphic.executors.onnx.onnxruntime import providers

    return [(name, _known(name)) for name in providers()]


def _openvino_devices() -> list[tuple[str, str]]:
    from neuromorphic.executors.onnx.openvino import openvino_devices

    return [
        (name, f"{_known(name)} ({what}; {_units(capabilities)})") for name, what, capabilities in openvino_devices()
    ]


def _run_file(path: Path, inputs: Any, executor: str, **options: Any) -> Recording:
    try:
        from neuromorphic.executors.onnx.files import run_onnx
    except ModuleNotFoundError as error:
        raise ExecutorError(f"{path}: a .onnx file needs {error.name}: {ENTRIES[0].remedy}") from error
    return run_onnx(path, inputs, executor, **options)


_THREADS = Option("threads", "--threads", int, "threads, by default 1", minimum=1)

ENTRIES = (
    Entry(
        name="onnxruntime",
        purpose="the same program as an ONNX model",
        module="neuromorphic.executors.onnx.onnxruntime",
        needs=("onnx", "onnxruntime"),
        extra="onnx",
        options=(Option("device", "--device", str, "cpu, cuda, ..."), _THREADS),
        devices=_onnxruntime_devices,
        reads=".onnx",
        run_file=_run_file,
    ),
    Entry(
        name="openvino",
        purpose="the same, compiled by OpenVINO",
        module="neuromorphic.executors.onnx.openvino",
        needs=("onnx", "openvino"),
        extra="onnx",
        options=(Option("device", "--device", str, "CPU, GPU, NPU, AUTO"), _THREADS),
        devices=_openvino_devices,
        reads=".onnx",
        run_file=_run_file,
        note="Intel XMX (int8): not measured; to find out: "
        "neuromorphic verify PROGRAM INPUTS --executor openvino --device GPU",
    ),
)
EXECUTORS = tuple(entry.name for entry in ENTRIES)
