"""One file format for everything this package stores: an uncompressed ``.npz`` with a JSON header, and no pickle.

Layout: a zip archive without compression holding ``header.json`` (UTF-8) and one ``.npy`` per array. The
header carries ``kind``, ``format_version``, the name, dtype and shape of every array, the caller's own ``body`` and a
SHA-256 over all of it. Reading believes nothing: names, types and sizes are checked against the file's length before
memory is taken, and members may not be compressed, so a small file cannot ask for a large allocation.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import FileFormatError, StorageError

HEADER = "header.json"
MAX_HEADER_BYTES = 16 << 20
ALLOWED_DTYPES = ("uint8", "int8", "int32", "int64", "float32", "float64")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # one timestamp for all, so that equal content is equal bytes


def _digest(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    sha = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(arrays):
        sha.update(name.encode())
        sha.update(np.ascontiguousarray(arrays[name]).data)
    return sha.hexdigest()


def _npy_bytes(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises
    ------
    StorageError
        When the file cannot be written (full disk, no permission); an older file of that name is untouched.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); a file already there is untouched"
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def complete_header(
    kind: str, version: int, body: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """Return the header a container of this content carries, its SHA-256 included."""
    header: dict[str, Any] = {
        "kind": kind,
        "format_version": version,
        "arrays": {name: [array.dtype.name, list(array.shape)] for name, array in arrays.items()},
        "body": dict(body),
    }
    header["sha256"] = _digest(header, arrays)
    return header


def write_container(
    path: str | os.PathLike[str], kind: str, version: int, body: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> str:
    """Write a container atomically.

    Parameters
    ----------
    path : str or PathLike
        Where to write; an existing file is replaced only when the new one is complete.
    kind : str
        What the file is, for example ``"pnbx-program"``.
    version : int
        Version of the body's layout.
    body : Mapping[str, Any]
        JSON-able content of the header.
    arrays : Mapping[str, NDArray]
        Arrays of the allowed dtypes.

    Returns
    -------
    str
        The SHA-256 stored in the file.

    Raises
    ------
    StorageError
        When the file cannot be written.
    """
    header = complete_header(kind, version, body, arrays)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(HEADER, _EPOCH), text)
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), _npy_bytes(array))
    write_atomically(Path(path), buffer.getvalue())
    return str(header["sha256"])


def _stored_member(archive: zipfile.ZipFile, name: str, where: str) -> zipfile.ZipInfo:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise FileFormatError(f"{where}: member {name} is compressed; only uncompressed members are read")
    return info


def _read_array(archive: zipfile.ZipFile, name: str, dtype: str, shape: tuple[int, ...], where: str) -> NDArray[Any]:
    info = _stored_member(archive, name, where)
    want = np.dtype(dtype)
    size = math.prod(shape) * want.itemsize
    with archive.open(info) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise FileFormatError(f"{where}: member {name} is not a version 1.0 .npy array")
        got_shape, fortran, got_dtype = np.lib.format.read_array_header_1_0(member)
        if got_dtype != want or got_shape != shape or fortran:
            raise FileFormatError(
                f"{where}: array {name.removesuffix('.npy')} should be {dtype}{list(shape)} as the header says, "
                f"got {got_dtype}{list(got_shape)}"
            )
        if size > info.file_size:
            raise FileFormatError(f"{where}: array {name} announces {size} bytes, the file holds {info.file_size}")
        content = member.read(size)
    if len(content) != size:
        raise FileFormatError(f"{where}: array {name} ends after {len(content)} of {size} bytes (truncated file)")
    return np.frombuffer(content, dtype=want).reshape(shape)


def _read_header(archive: zipfile.ZipFile, kind: str, version: int, where: str) -> dict[str, Any]:
    info = _stored_member(archive, HEADER, where)
    if info.file_size > MAX_HEADER_BYTES:
        raise FileFormatError(f"{where}: header of {info.file_size} bytes, at most {MAX_HEADER_BYTES} are read")
    header = json.loads(archive.read(info).decode())
    if not isinstance(header, dict) or header.get("kind") != kind:
        got = header.get("kind") if isinstance(header, dict) else type(header).__name__
        raise FileFormatError(f"{where}: expected a file of kind {kind!r}, got {got!r}")
    if not isinstance(header.get("format_version"), int) or header["format_version"] > version:
        raise FileFormatError(
            f"{where}: format version {header.get('format_version')!r}, this version of the package reads up to "
            f"{version}; upgrade pnbx-snn to read it"
        )
    return header


def read_container(path: str | os.PathLike[str], kind: str, version: int) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Read a container and check everything about it.

    Returns
    -------
    tuple[dict, dict, str]
        The header's body, the arrays by name (read-only) and the file's SHA-256.

    Raises
    ------
    FileFormatError
        When the file is missing, truncated, altered, newer than ``version``, or not of this kind.
    """
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            header = _read_header(archive, kind, version, where)
            arrays: dict[str, Any] = {}
            for name, (dtype, shape) in header["arrays"].items():
                if dtype not in ALLOWED_DTYPES or any(type(n) is not int or n < 0 for n in shape):
                    raise FileFormatError(f"{where}: array {name!r} has dtype {dtype!r} and shape {shape!r}")
                arrays[name] = _read_array(archive, f"{name}.npy", dtype, tuple(shape), where)
            if set(archive.namelist()) != {HEADER, *(f"{name}.npy" for name in arrays)}:
                raise FileFormatError(f"{where}: members do not match the header: {sorted(archive.namelist())}")
    except FileFormatError:
        raise
    except FileNotFoundError as error:
        raise FileFormatError(f"{where}: no such file") from error
    except OSError as error:
        raise FileFormatError(f"{where}: cannot be read ({error.strerror or error})") from error
    # A damaged zip or header shows itself in many ways; to the reader they all mean one thing.
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        TypeError,
        EOFError,
        AttributeError,
        OverflowError,
        RuntimeError,  # a member said to be encrypted, a header nested too deeply
        struct.error,
    ) as error:
        raise FileFormatError(f"{where}: not a readable {kind} file, truncated or altered ({error})") from error
    sha = header.pop("sha256", None)
    if sha != _digest(header, arrays):
        raise FileFormatError(f"{where}: content does not match its SHA-256; the file was altered or damaged")
    return header["body"], arrays, str(sha)
