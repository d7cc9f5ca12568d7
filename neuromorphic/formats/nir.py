"""A NIR file as a graph. :mod:`neuromorphic.files.hdf5` reads it in a process of its own, with limits."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np

import pnbx_extras
from neuromorphic.errors import CompileError
from neuromorphic.executors.entry import Option
from neuromorphic.files.hdf5 import read_tree
from neuromorphic.formats.entry import Format

MAX_DEPTH = 32
MAX_EDGES = 1 << 16

FORMATS = (
    Format(
        name="nir",
        purpose="NIR graphs, for other simulators and chips",
        suffix=".nir",
        module="neuromorphic.compiler.nir.writing",
        extra="nir",
        options=(
            Option(
                "round_trip",
                "--round-trip",
                Literal["exact", "close"],
                "exact (default): refuse what would compile back to other integers; close: do not ask",
            ),
            Option(
                "form",
                "--nir-form",
                Literal["portable", "integer"],
                "portable (default): scales in the weights, as snnTorch, Norse and SpikingJelly read them; integer: "
                "whole weights, scales in the neurons",
            ),
        ),
    ),
)


def nir_package() -> Any:
    """Return the ``nir`` package; a :class:`~neuromorphic.errors.CompileError` says how to install it."""
    try:
        import nir
    except ImportError as error:
        raise CompileError(
            f"NIR graphs need the package nir, which is not installed: {pnbx_extras.install('nir')}"
        ) from error
    return nir


def _unchecked(data: dict[str, Any]) -> dict[str, Any]:
    """Ask nir for graphs as they are: shapes are checked here, and nir would add nodes to what it checks."""
    nodes = data.get("nodes")
    if data.get("type") != "NIRGraph" or not isinstance(nodes, dict):
        return data
    inner = {key: _unchecked(node) if isinstance(node, dict) else node for key, node in nodes.items()}
    return {**data, "nodes": inner, "type_check": False}


def read_nir(path: str | os.PathLike[str]) -> Any:
    """Read a NIR graph from a file that nobody vouches for.

    The file is HDF5, at most 256 MiB, at most ``2**27`` array elements. The shapes of the ``nir.NIRGraph`` are not
    checked yet; :func:`neuromorphic.compiler.compile_nir` does so.

    Raises
    ------
    CompileError
        When the package ``nir`` is missing, or the file is missing, too large, no HDF5, damaged, or no graph.
    """
    nir = nir_package()
    data = read_tree(path, "NIR", CompileError)
    if data.get("type") != "NIRGraph":
        raise CompileError(f"{path}: holds a {data.get('type')!r}; only a NIRGraph can be compiled")
    try:
        with np.errstate(all="ignore"):  # nir divides by strides that are checked later
            return nir.dict2NIRNode(_unchecked(data))
    except Exception as error:  # what nir raises on unfit fields has no common class
        raise CompileError(f"{path}: not a readable NIR file ({type(error).__name__}: {error})") from error
