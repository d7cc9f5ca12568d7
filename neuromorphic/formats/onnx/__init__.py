"""A program as an ONNX model; :mod:`neuromorphic.executors.onnx` writes and runs it."""

from __future__ import annotations

from typing import Literal

from neuromorphic.executors.entry import Option
from neuromorphic.formats.entry import Format

FORMATS = (
    Format(
        name="onnx",
        purpose="ONNX Runtime, OpenVINO and other runtimes",
        suffix=".onnx",
        module="neuromorphic.formats.onnx.writing",
        extra="onnx",
        options=(
            Option(
                "form",
                "--form",
                Literal["step", "scan", "image"],
                "step (default): one step, states in and out; scan: all steps, [T, B, N]; image: [B, N] held for all "
                "steps, labels out",
            ),
            Option(
                "products",
                "--products",
                Literal["int8", "float32"],
                "int8 (default): MatMulInteger; float32: MatMul; both exact",
            ),
            Option("opset", "--opset", int, "opset, 18 (default) to 21"),
            Option("num_steps", "--steps", int, "steps it is proven for; else the program's", minimum=1),
        ),
    ),
)
