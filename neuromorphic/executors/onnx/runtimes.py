"""Which runtimes of ONNX models are installed, and on which devices they would run."""

from __future__ import annotations

from importlib.util import find_spec

EXECUTORS = ("onnxruntime", "openvino")
INSTALL = "pip install 'pnbx-snn[onnx]'"
XMX_COMMAND = "neuromorphic verify PROGRAM INPUTS --executor openvino --device GPU"
_CHECKED = ("cpu", "CPU")
_MATRIX_UNITS = "GPU_HW_MATMUL"
"""By this OpenVINO says that a GPU has matrix units, which on Intel's are XMX."""


def runtimes() -> dict[str, list[tuple[str, str]] | None]:
    """Return for each executor its devices, each with what is known of it; ``None`` where a package is missing."""
    found: dict[str, list[tuple[str, str]] | None] = dict.fromkeys(EXECUTORS)
    if find_spec("onnx") is None:
        return found
    if find_spec("onnxruntime") is not None:
        from neuromorphic.executors.onnx.onnxruntime import providers

        found["onnxruntime"] = [(name, _known(name)) for name in providers()]
    if find_spec("openvino") is not None:
        from neuromorphic.executors.onnx.openvino import openvino_devices

        found["openvino"] = [
            (name, f"{_known(name)} ({what}; {_units(capabilities)})")
            for name, what, capabilities in openvino_devices()
        ]
    return found


def _known(device: str) -> str:
    return "ready" if device in _CHECKED else "there, never checked: verify first"


def _units(capabilities: tuple[str, ...]) -> str:
    int8 = "int8" if "INT8" in capabilities else "no int8"
    return f"{int8}, XMX, not measured" if _MATRIX_UNITS in capabilities else int8
