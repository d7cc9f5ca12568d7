"""An HDF5 file that nobody vouches for, read with care: in a process of its own, within limits of time and memory.

NIR graphs and lava-dl's netx networks are HDF5: groups, and datasets for their parameters. One that comes from
elsewhere may be truncated, altered, or made to fill the memory, and HDF5's C library hangs on some damaged files (one
changed byte in a heap is enough). So :mod:`neuromorphic.files.hdf5_reader` reads it in a process that can be ended.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np

import pnbx_extras
from neuromorphic.errors import NeuromorphicError
from neuromorphic.files.regular_files import check_regular

MAX_FILE_BYTES = 256 << 20
TIME_LIMIT_S = 60.0
READER = Path(__file__).with_name("hdf5_reader.py")
TEXT, ARRAY, REFUSED = "text/", "array/", 3  # as in hdf5_reader, which needs h5py

Kind = Literal["NIR", "NIR data", "netx"]


def check_h5py(kind: Kind, error: type[NeuromorphicError]) -> None:
    """Raise ``error`` unless h5py is installed; the message says how to install it."""
    if importlib.util.find_spec("h5py") is None:
        raise error(f"a {kind} file needs the package h5py, which is not installed: {pnbx_extras.install('nir')}")


def read_tree(path: str | os.PathLike[str], kind: Kind, error: type[NeuromorphicError]) -> dict[str, Any]:
    """Read the groups of a file as dictionaries, its datasets as arrays and text.

    Parameters
    ----------
    path : str or PathLike
        A regular file, HDF5, at most 256 MiB.
    kind : str
        ``"NIR"`` reads what is in the group ``node``, ``"NIR data"`` what is in ``nodes`` with the attributes of its
        groups, ``"netx"`` what is in ``layer``. What else differs stands in
        :data:`neuromorphic.files.hdf5_reader.RULES`.

    Returns
    -------
    dict
        Groups by name; text as ``str``, the edges of a NIR graph as pairs of ``str``, all else as arrays.

    Raises
    ------
    NeuromorphicError
        ``error``: the file is missing, no regular file, too large, no HDF5, damaged, announces more than the limits,
        leads out of itself, or was not read in a minute.
    """
    check_h5py(kind, error)
    file = check_regular(path, error, max_bytes=MAX_FILE_BYTES)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "tree.npz"
        _read_apart(file, target, kind, error)
        try:
            with np.load(target, allow_pickle=False) as arrays:
                found: dict[str, Any] = _tree(json.loads(bytes(arrays["tree"])), arrays)
                return found
        except MemoryError as problem:
            raise error(f"{path}: not a readable {kind} file (its arrays do not fit into memory)") from problem


def _read_apart(path: Path, target: Path, kind: Kind, error: type[NeuromorphicError]) -> None:
    """Let another process read the file into ``target``."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(READER), kind, str(path), str(target), str(2 * TIME_LIMIT_S)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=False,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # its threads would take from the memory limit
        )
    except subprocess.TimeoutExpired as problem:
        raise error(f"{path}: not a readable {kind} file (not read within {TIME_LIMIT_S:g} s)") from problem
    if done.returncode == REFUSED:
        raise error(f"{path}: {done.stdout.decode('utf8', 'replace')}")
    if done.returncode != 0:
        last = done.stderr.decode("utf8", "replace").strip().rsplit("\n", 1)[-1]
        raise error(f"{path}: not a readable {kind} file (its reader ended with {done.returncode}: {last})")


def _tree(node: Any, arrays: Any) -> Any:
    """Put arrays and text back into the tree that the reader left."""
    if TEXT in node:
        text = node[TEXT]
        return text if isinstance(text, str) else [tuple(pair) for pair in text]
    if ARRAY in node:
        return arrays[f"array{node[ARRAY]}"][()]
    return {key: _tree(child, arrays) for key, child in node.items()}
