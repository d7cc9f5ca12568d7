"""ONNX models as files."""

from __future__ import annotations

import os
from pathlib import Path

from neuromorphic.container import write_atomically
from neuromorphic.onnx_backend.model import OPSETS, Form, to_onnx
from neuromorphic.onnx_backend.products import Products
from neuromorphic.program import Program


def save_onnx(
    program: Program,
    path: str | os.PathLike[str],
    *,
    form: Form = "step",
    products: Products = "int8",
    opset: int = OPSETS[0],
) -> Path:
    """Write a program as an ONNX model, whole or not at all.

    Parameters
    ----------
    program : Program
        What to write.
    path : path
        Where.
    form, products, opset
        See :func:`neuromorphic.onnx_backend.model.to_onnx`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CompileError, BoundError
        As :func:`~neuromorphic.onnx_backend.model.to_onnx`.
    StorageError
        When the file cannot be written.
    """
    model = to_onnx(program, form=form, products=products, opset=opset)
    write_atomically(Path(path), model.SerializeToString())
    return Path(path)
