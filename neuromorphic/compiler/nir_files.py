"""A NIR file, read with care: in a process of its own, within limits of time and memory.

A ``.nir`` file is HDF5: groups for graphs and nodes, datasets for their parameters. One that comes from elsewhere may
be truncated, altered, or made to fill the memory, and HDF5's C library hangs on some damaged files (one flipped bit in
the heap of a string is enough). So :mod:`neuromorphic.compiler.nir_reader` reads it in a process that can be ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from neuromorphic.errors import CompileError
from neuromorphic.regular_files import check_regular

MAX_FILE_BYTES = 256 << 20
MAX_DEPTH = 32
MAX_EDGES = 1 << 16
TIME_LIMIT_S = 60.0
READER = Path(__file__).with_name("nir_reader.py")
TEXT, ARRAY, REFUSED = "text/", "array/", 3  # as in nir_reader, which needs h5py
INSTALL = 'pip install "pnbx-snn[nir]" (or: pip install nir)'


def nir_package() -> Any:
    """Return the ``nir`` package.

    Raises
    ------
    CompileError
        When it is not installed; the message says how to install it.
    """
    try:
        import nir
    except ImportError as error:
        raise CompileError(f"NIR graphs need the package nir, which is not installed: {INSTALL}") from error
    return nir


def _tree(node: Any, arrays: Any) -> Any:
    """Put arrays and text back into the tree that the reader left."""
    if TEXT in node:
        text = node[TEXT]
        return text if isinstance(text, str) else [tuple(pair) for pair in text]
    if ARRAY in node:
        return arrays[f"array{node[ARRAY]}"][()]
    return {key: _tree(child, arrays) for key, child in node.items()}


def _read_apart(path: Path) -> dict[str, Any]:
    """Let another process read the file; return what is in its group ``node``."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "tree.npz"
        command = [sys.executable, "-P", str(READER), str(path), str(target)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIME_LIMIT_S,
                check=False,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # its threads would take from the memory limit
            )
        except subprocess.TimeoutExpired as error:
            raise CompileError(f"{path}: not a readable NIR file (not read within {TIME_LIMIT_S:g} s)") from error
        if done.returncode == REFUSED:
            raise CompileError(f"{path}: {done.stdout.decode('utf8', 'replace')}")
        if done.returncode != 0:
            last = done.stderr.decode("utf8", "replace").strip().rsplit("\n", 1)[-1]
            raise CompileError(f"{path}: not a readable NIR file (its reader ended with {done.returncode}: {last})")
        with np.load(target, allow_pickle=False) as arrays:
            found: dict[str, Any] = _tree(json.loads(bytes(arrays["tree"])), arrays)
    return found


def _unchecked(data: dict[str, Any]) -> dict[str, Any]:
    """Ask nir for graphs as they are: shapes are checked here, and nir would add nodes to what it checks."""
    nodes = data.get("nodes")
    if data.get("type") != "NIRGraph" or not isinstance(nodes, dict):
        return data
    inner = {key: _unchecked(node) if isinstance(node, dict) else node for key, node in nodes.items()}
    return {**data, "nodes": inner, "type_check": False}


def read_nir(path: str | os.PathLike[str]) -> Any:
    """Read a NIR graph from a file that nobody vouches for.

    Parameters
    ----------
    path : str or Path
        A ``.nir`` file: HDF5, at most 256 MiB, at most ``2**27`` array elements.

    Returns
    -------
    nir.NIRGraph
        Its shapes are not checked yet; :func:`neuromorphic.compiler.compile_nir` does so.

    Raises
    ------
    CompileError
        When the package ``nir`` is missing, or the file is missing, too large, no HDF5, damaged, or no graph.
    """
    nir = nir_package()
    file = check_regular(path, CompileError, max_bytes=MAX_FILE_BYTES)
    try:
        data = _read_apart(file)
        if data.get("type") != "NIRGraph":
            raise CompileError(f"{path}: holds a {data.get('type')!r}; only a NIRGraph can be compiled")
        with np.errstate(all="ignore"):  # nir divides by strides that are checked later
            return nir.dict2NIRNode(_unchecked(data))
    except CompileError:
        raise
    except Exception as error:  # what nir raises on unfit fields has no common class
        raise CompileError(f"{path}: not a readable NIR file ({type(error).__name__}: {error})") from error
