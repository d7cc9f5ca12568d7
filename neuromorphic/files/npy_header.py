"""The header of a ``.npy`` array, read strictly: NumPy evaluates it as Python text, which fails in many ways."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
MAX_HEADER_BYTES = 1 << 16  # longer ones belong to structured arrays, which hold nothing that is read here
_NAMES = ("descr", "fortran_order", "shape")
_ENTRY = re.compile(
    r"\s*'(descr|fortran_order|shape)'\s*:\s*(?:'([<>|=]?[a-zA-Z?]\d{0,4})'|(True|False)|\(([\dL,\s]*)\))\s*,?\s*",
    re.ASCII,
)


class NpyHeader(NamedTuple):
    """What the header of a ``.npy`` array says, and how many bytes it has."""

    version: tuple[int, int]
    dtype: np.dtype[np.generic]
    fortran_order: bool
    shape: tuple[int, ...]
    num_bytes: int


def read_npy_header(file: BinaryIO) -> NpyHeader:
    """Read the header of a ``.npy`` array of numbers, and leave the file where its values begin.

    Raises
    ------
    ValueError
        When it is none; objects and structures are refused too, so nothing is ever unpickled.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> np.save(file, np.zeros((3, 4), dtype=np.float32))
    >>> _ = file.seek(0)
    >>> read_npy_header(file)
    NpyHeader(version=(1, 0), dtype=dtype('float32'), fortran_order=False, shape=(3, 4), num_bytes=128)
    """
    start = file.read(8)
    if len(start) < 8 or start[:6] != _MAGIC:
        raise ValueError("it does not start as one")
    version = (start[6], start[7])
    if version not in _LENGTH_BYTES:
        raise ValueError(f"its format has the version {version[0]}.{version[1]}; 1.0, 2.0 and 3.0 are read")
    field = file.read(_LENGTH_BYTES[version])
    length = int.from_bytes(field, "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header has {length} bytes, at most {MAX_HEADER_BYTES} are read")
    header = file.read(length)
    if len(field) < _LENGTH_BYTES[version] or len(header) < length:
        raise ValueError("it ends within its header")
    descr, fortran_order, shape = _entries(header.decode("latin1"))
    try:
        dtype: np.dtype[np.generic] = np.dtype(descr)
    except TypeError as error:
        raise ValueError(f"its values are of the unknown type {descr!r}") from error
    if dtype.hasobject:
        raise ValueError("its values are pickled objects")
    return NpyHeader(version, dtype, fortran_order, shape, 8 + len(field) + length)


@lru_cache(maxsize=256)  # many arrays of a file have one header
def _entries(text: str) -> tuple[str, bool, tuple[int, ...]]:
    wrong = ValueError(f"its header is not that of an array of numbers: {text.strip()[:80]!r}")
    inner = text.strip().replace('"', "'")
    found: dict[str, re.Match[str]] = {}
    if inner[:1] != "{" or inner[-1:] != "}":
        raise wrong
    inner = inner[1:-1]
    while inner:
        match = _ENTRY.match(inner)
        if match is None or match[1] in found:
            raise wrong
        found[match[1]] = match
        inner = inner[match.end() :]
    descr, order, shape = (found[name][i] if name in found else None for i, name in enumerate(_NAMES, start=2))
    if descr is None or order is None or shape is None:
        raise wrong
    sizes = [size.strip().removesuffix("L") for size in shape.split(",")]  # Python 2 wrote 3L
    sizes = sizes[:-1] if sizes[-1] == "" else sizes
    if len(sizes) > 32 or not all(size.isdecimal() and len(size) < 20 for size in sizes):
        raise wrong
    return descr, order == "True", tuple(map(int, sizes))


def check_sizes(header: NpyHeader, size: int) -> None:
    """Refuse, with a ``ValueError``, a file of ``size`` bytes that is cut short or goes on after its array."""
    announced = header.num_bytes + math.prod(header.shape) * header.dtype.itemsize  # hostile shapes overflow NumPy's
    if announced != size:
        problem = "is cut short" if size < announced else "goes on after its array"
        raise ValueError(f"it {problem}: its header speaks of {announced} bytes, the file has {size}")


def mapped_values(file: BinaryIO, header: NpyHeader) -> NDArray[np.generic]:
    """Return the values, read from the disk as they are used."""
    if 0 in header.shape:
        return np.empty(header.shape, dtype=header.dtype)
    order: Literal["F", "C"] = "F" if header.fortran_order else "C"
    return np.memmap(file, header.dtype, "r", header.num_bytes, header.shape, order)
