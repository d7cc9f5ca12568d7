"""Files of NumPy arrays, ``.npz`` or a folder of ``.npy``: headers first, nothing unpickled or larger than said."""

import math
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pnbx_snn.data.files import reading
from pnbx_snn.errors import DataError
from pnbx_snn.wording import counted

MAX_BYTES = 8 << 30
"""Of all arrays of a data set together: they are held in memory."""
MAX_ARRAYS = 16
MAX_HEADER_BYTES = 4096

_MAGIC = b"\x93NUMPY"
# What numpy.save writes of an array of plain numbers, and nothing else: no Python is evaluated.
_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[a-zA-Z]\d{0,4})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18},? ?){0,8})\), ?\}\s*"
)


class Header(NamedTuple):
    """What a file says of an array before it is read."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    header_bytes: int

    @property
    def num_bytes(self) -> int:
        """Bytes of the array itself."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_headers(path: Path, *, kinds: str = "fiub") -> dict[str, Header]:
    """Read the headers of all arrays and check their sizes against the file's.

    ``kinds`` are those of the dtypes that may be there, as NumPy abbreviates them. A :class:`DataError` if there is no
    such file or folder, it is something else, cut short or altered, an array is no plain array of numbers, or all of
    them together are larger than :data:`MAX_BYTES`.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; data.path names a .npz or a folder of .npy")
    headers: dict[str, Header] = {}
    for name in _array_names(path):
        with _opened(path, name) as (file, size):
            headers[name] = _read_header(_where(path, name), name, file, size, kinds)
    total = sum(header.num_bytes for header in headers.values())
    if total > MAX_BYTES:
        raise DataError(f"{path}: the arrays take {total} bytes, at most {MAX_BYTES} are held in memory")
    return headers


def read_named(path: Path, header: Header) -> NDArray[Any]:
    """Read one array after :func:`read_headers`, C-ordered and in the byte order of this machine."""
    with _opened(path, header.name) as (file, _):
        file.read(header.header_bytes)
        data = file.read(header.num_bytes + 1)  # one more: lets a zip file reach and check its checksum
    if len(data) != header.num_bytes:
        raise DataError(
            f"{_where(path, header.name)}: is cut short: {len(data)} of {counted(header.num_bytes, 'byte')}"
        )
    array = np.frombuffer(data, dtype=header.dtype)
    array = array.reshape(header.shape, order="F" if header.fortran_order else "C")
    return np.ascontiguousarray(array.astype(header.dtype.newbyteorder("="), copy=False))


def _array_names(path: Path) -> list[str]:
    if path.is_dir():
        names = sorted(entry.stem for entry in path.iterdir() if entry.suffix == ".npy")
        if not names:
            raise DataError(f"{path}: holds no .npy file; wanted are x.npy and y.npy")
    else:
        with reading(path, "npz"), zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist()]
        for member in members:
            if not member.endswith(".npy"):
                raise DataError(f"{path}: is no .npz of numpy: holds {member!r:.80}")
        names = [member.removesuffix(".npy") for member in members]
        if len(set(names)) < len(names):
            raise DataError(f"{path}: holds two arrays of one name")
    if len(names) > MAX_ARRAYS:
        raise DataError(f"{path}: holds {len(names)} arrays, at most {MAX_ARRAYS} belong to a data set")
    return names


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[Any, int]]:
    """Open an array's file or member, with the size that it says it has."""
    if path.is_dir():
        file = path / f"{name}.npy"
        with reading(file, "npy") as size, file.open("rb") as opened:
            yield opened, size
        return
    with reading(path, "npz"), zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"{_where(path, name)}: is a link")
        with archive.open(info) as member:
            yield member, info.file_size


def _read_header(where: str, name: str, file: Any, size: int, kinds: str) -> Header:
    start = file.read(8)
    version = tuple(start[6:])
    if start[:6] != _MAGIC or version not in ((1, 0), (2, 0), (3, 0)):
        raise DataError(f"{where}: is no array of numpy.save or numpy.savez")
    width = 2 if version == (1, 0) else 4
    length = int.from_bytes(file.read(width), "little")
    if length > MAX_HEADER_BYTES:
        raise DataError(f"{where}: its header says it has {length} bytes, at most {MAX_HEADER_BYTES} are read")
    text = file.read(length)
    found = _HEADER.fullmatch(text)
    if found is None:
        raise DataError(f"{where}: must be an array of numbers in numpy's format, got the header {text[:80]!r}")
    descr, order, shape = found.groups()
    try:
        dtype = np.dtype(descr.decode())
    except TypeError as error:
        raise DataError(f"{where}: must hold numbers, got dtype {descr.decode()}") from error
    if dtype.kind not in kinds:
        pickled = " (pickled Python objects are never read)" if dtype.kind == "O" else ""
        raise DataError(f"{where}: must hold numbers, got dtype {descr.decode()}{pickled}")
    header = Header(
        name, dtype, tuple(int(n) for n in re.findall(rb"\d+", shape)), order == b"True", 8 + width + length
    )
    if size != header.header_bytes + header.num_bytes:
        raise DataError(
            f"{where}: is cut short or altered: {list(header.shape)} of {descr.decode()} take "
            f"{header.header_bytes + header.num_bytes} bytes, got {size}"
        )
    return header


def _where(path: Path, name: str) -> str:
    return str(path / f"{name}.npy") if path.is_dir() else f"{path}, {name}"
