"""What the registry of formats asks of ONNX. It needs the package ``onnx``."""

from __future__ import annotations

import os
from typing import Any

from neuromorphic.executors.onnx.files import save_onnx
from neuromorphic.executors.onnx.model import OPSETS, to_onnx
from neuromorphic.program import Program


def check(program: Program) -> None:
    """Raise the error of :func:`~neuromorphic.executors.onnx.model.to_onnx` for a program that is no model."""
    to_onnx(program)


def write(program: Program, path: str | os.PathLike[str], **options: Any) -> str:
    """Write a model with :func:`~neuromorphic.executors.onnx.files.save_onnx`; return its size and form."""
    size = save_onnx(program, path, **options).stat().st_size
    form, opset = options.get("form", "step"), options.get("opset", OPSETS[0])
    return f"{size:,} bytes, one {form}, opset {opset}, checked"
