"""Inputs from a ``.npy`` file that nobody vouches for."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import InputError
from neuromorphic.files.npy_header import check_sizes, mapped_values, read_npy_header
from neuromorphic.files.regular_files import open_regular

MAX_FILE_BYTES = 1 << 40
MAX_INPUT_BYTES = 4 << 30  # taken into memory at once; the file may be larger


def read_inputs(path: str | os.PathLike[str], samples: slice | None = None) -> NDArray[Any]:
    """Read inputs from a ``.npy`` file; nothing is unpickled, and sizes are checked before memory is taken.

    Parameters
    ----------
    path : path
        One array of numbers, ``[T, B, N]`` or ``[B, N]``.
    samples : slice, optional
        Which samples, along the axis B.

    Returns
    -------
    NDArray
        As the file holds them; :meth:`neuromorphic.program.Program.prepare_inputs` checks them.

    Raises
    ------
    InputError
        When the file is missing, no regular file, no such array, cut short or followed by other bytes, or more than 4
        GiB are asked for at once.

    Examples
    --------
    >>> read_inputs("nowhere.npy")
    Traceback (most recent call last):
    neuromorphic.errors.InputError: nowhere.npy: no such file
    """
    with open_regular(path, InputError, max_bytes=MAX_FILE_BYTES) as (file, size):
        if file.read(2) == b"PK":
            raise InputError(f"{path}: holds several arrays (.npz); give one .npy array")
        file.seek(0)
        try:
            header = read_npy_header(file)
            check_sizes(header, size)
            values = mapped_values(file, header)
        except ValueError as error:
            raise InputError(f"{path}: not a readable .npy array without pickled objects ({error})") from error
        if samples is not None:
            if values.ndim < 2:
                raise InputError(f"{path}: --samples needs [T, B, N] or [B, N], got {list(values.shape)}")
            values = values[..., samples, :]
        if values.nbytes > MAX_INPUT_BYTES:
            raise InputError(
                f"{path}: {values.nbytes} bytes, at most {MAX_INPUT_BYTES} are read at once; use --samples"
            )
        return np.array(values)
