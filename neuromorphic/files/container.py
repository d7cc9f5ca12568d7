"""One file format for everything this package stores: an uncompressed ``.npz`` with a JSON header, and no pickle.

Layout: a zip archive without compression holding ``header.json`` (UTF-8) and one ``.npy`` per array. The
header carries ``kind``, ``format_version``, the name, dtype and shape of every array, the caller's own ``body`` and a
SHA-256 over all of it, which any language can compute: see :mod:`neuromorphic.files.canonical` and
docs/program-format.md. Reading believes nothing: names, types and sizes are checked against the file's length before
memory is taken, members may not be compressed, and they fill the file to its last byte. What cannot be read back is not
written.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import FileFormatError, StorageError
from neuromorphic.files.atomic_write import write_atomically
from neuromorphic.files.canonical import (
    MAX_DEPTH,
    canonical_json,
    canonical_order,
    check_depth,
    plain_json,
    read_json,
)
from neuromorphic.files.npy_header import check_sizes, read_npy_header
from neuromorphic.files.regular_files import open_regular

HEADER = "header.json"
MAX_HEADER_BYTES = 16 << 20
MAX_FILE_BYTES = 2 << 30
MAX_NAME_BYTES = 4096
ALLOWED_DTYPES = ("uint8", "int8", "int32", "int64", "float32", "float64")
CANONICAL_SINCE = {"pnbx-program": 4, "pnbx-recording": 2}
"""From which format version a kind of file is signed by its canonical text; before, by Python's own JSON."""
_EPOCH = (1980, 1, 1, 0, 0, 0)  # one timestamp for all, so that equal content is equal bytes
_UTF8, _UNREADABLE = 0x800, 0x61  # flags of a member: its name's encoding; encrypted, a patch
_ZIP_END, _ZIP64_END = 22, 76  # bytes of the records that end an archive
# A damaged zip or header shows itself in many ways; RuntimeError: a member said to be encrypted, too deep a header.
_DAMAGES: tuple[type[Exception], ...] = (zipfile.BadZipFile, struct.error, KeyError, ValueError, TypeError, EOFError)
_DAMAGES += (AttributeError, OverflowError, RuntimeError)


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _digest(text: str, arrays: Mapping[str, NDArray[Any]], names: list[str]) -> str:
    sha = hashlib.sha256(text.encode())
    for name in names:
        sha.update(name.encode())
        sha.update(_little_endian(arrays[name]).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def _digests(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Yield the digests that a header may carry: one, but for files of old versions."""
    if header["format_version"] >= CANONICAL_SINCE.get(header["kind"], 1):
        check_depth(header, "header", MAX_DEPTH + 8)
        yield _digest(canonical_json(header), arrays, canonical_order(arrays))
        return
    # Keys were sorted before integers among them became text, so a file can hold them in another order.
    for sort_keys in (True, False):
        yield _digest(json.dumps(header, sort_keys=sort_keys, separators=(",", ":")), arrays, sorted(arrays))


def complete_header(
    kind: str, version: int, body: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """Return the header a container of this content carries, its SHA-256 included; a body is checked as plain JSON."""
    header: dict[str, Any] = {
        "kind": kind,
        "format_version": version,
        "arrays": {name: [array.dtype.name, list(array.shape)] for name, array in arrays.items()},
        "body": plain_json(body, "body", levels=MAX_DEPTH + 4),
    }
    header["sha256"] = next(_digests(header, arrays))
    return header


def write_container(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    body: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    *,
    max_bytes: int = MAX_FILE_BYTES,
) -> str:
    """Write a container atomically.

    Parameters
    ----------
    path : str or PathLike
        Where to write; an existing file is replaced only when the new one is complete.
    kind, version : str, int
        What the file is, for example ``"pnbx-program"``, and the version of its body's layout.
    body : Mapping[str, Any]
        JSON-able content of the header.
    arrays : Mapping[str, NDArray]
        Arrays of :data:`ALLOWED_DTYPES`.
    max_bytes : int
        Largest file that is read back.

    Returns
    -------
    str
        The SHA-256 stored in the file.

    Raises
    ------
    StorageError
        When the file cannot be written, or could not be read back.
    """
    try:
        for name, array in arrays.items():
            if array.dtype.name not in ALLOWED_DTYPES:
                raise ValueError(f"array {name!r} is {array.dtype}, files hold {', '.join(ALLOWED_DTYPES)}")
            if not 0 < len(name.encode()) <= MAX_NAME_BYTES or any(letter in name for letter in "\0/\\"):
                raise ValueError(
                    f"the name of an array must be text of 1 to {MAX_NAME_BYTES} bytes without slashes, "
                    f"got {name[:80]!r}"
                )
        header = complete_header(kind, version, body, arrays)
    except ValueError as error:
        raise StorageError(f"{path}: not written: {error}") from error
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    total = len(text) + sum(array.nbytes for array in arrays.values())
    if len(text) > MAX_HEADER_BYTES or total > max_bytes:
        raise StorageError(
            f"{path}: not written: a header of {len(text)} bytes, {total} in all; "
            f"at most {MAX_HEADER_BYTES} and {max_bytes} are read back"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(HEADER, _EPOCH), text)
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, _little_endian(array), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), member.getvalue())
    write_atomically(Path(path), buffer.getvalue())
    return str(header["sha256"])


def _stored_member(archive: zipfile.ZipFile, name: str, where: str) -> zipfile.ZipInfo:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise FileFormatError(f"{where}: member {name} is compressed; only uncompressed members are read")
    return info


def _read_array(
    file: BinaryIO, info: zipfile.ZipInfo, start: int, dtype: str, shape: tuple[int, ...], where: str
) -> Any:
    """Read the array of a member that begins at ``start``: thousands of small ones in a tenth of zipfile's time."""
    name = info.filename
    want = np.dtype(dtype).newbyteorder("<")
    size = math.prod(shape) * want.itemsize
    file.seek(start)
    try:
        got = read_npy_header(file)
        check_sizes(got, info.file_size)
    except ValueError as error:
        raise FileFormatError(f"{where}: member {name} is not a usable .npy array: {error}") from error
    if got.version != (1, 0) or got.dtype != want or got.shape != shape or got.fortran_order:
        raise FileFormatError(
            f"{where}: array {name.removesuffix('.npy')} should be {dtype}{list(shape)} as the header says, "
            f"in C order and version 1.0, got {got.dtype}{list(got.shape)}"
        )
    file.seek(start)
    checksum = zlib.crc32(file.read(got.num_bytes))
    content = file.read(size)
    if len(content) != size or zlib.crc32(content, checksum) != info.CRC:
        raise FileFormatError(f"{where}: array {name} is damaged: its checksum is another")
    return np.frombuffer(content, dtype=want).reshape(shape)


def _starts(archive: zipfile.ZipFile, file: BinaryIO, size: int, where: str) -> dict[str, int]:
    """Return where members begin; refuse an archive with bytes that are no part of it, and members that share bytes."""
    file.seek(size - _ZIP_END)
    record = file.read(_ZIP_END)
    if record[:4] != b"PK\5\6" or record[20:] != b"\0\0":
        raise FileFormatError(f"{where}: has bytes after the end of its archive; they are no part of the format")
    end, room = 0, 0
    starts: dict[str, int] = {}
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        file.seek(info.header_offset)
        signature, flags, name_bytes, extra_bytes = struct.unpack("<4s2xH18xHH", file.read(30))
        if not end <= info.header_offset <= end + room:
            raise FileFormatError(f"{where}: member {info.filename[:80]} does not begin where the one before it ends")
        written = file.read(name_bytes)
        name = written.decode("utf-8" if flags & _UTF8 or written.isascii() else "cp437")
        if signature != b"PK\3\4" or name != info.orig_filename or (flags | info.flag_bits) & _UNREADABLE:
            raise zipfile.BadZipFile(f"member {info.filename[:80]} has another name or is encrypted")
        starts[info.filename] = info.header_offset + 30 + name_bytes + extra_bytes
        end = starts[info.filename] + info.compress_size
        room = 24 if info.flag_bits & 8 else 0  # some writers repeat size and checksum after a member
    directory = struct.unpack("<I", record[12:16])[0]
    gap = size - _ZIP_END - archive.start_dir - directory
    if not end <= archive.start_dir <= end + room or (gap not in (0, _ZIP64_END) and directory != 0xFFFFFFFF):
        raise FileFormatError(f"{where}: has bytes between its members and the end of its archive")
    return starts


def _read_header(archive: zipfile.ZipFile, kind: str, version: int, where: str) -> dict[str, Any]:
    info = _stored_member(archive, HEADER, where)
    if info.file_size > MAX_HEADER_BYTES:
        raise FileFormatError(f"{where}: header of {info.file_size} bytes, at most {MAX_HEADER_BYTES} are read")
    header = read_json(archive.read(info))
    if not isinstance(header, dict) or header.get("kind") != kind:
        got = header.get("kind") if isinstance(header, dict) else type(header).__name__
        raise FileFormatError(f"{where}: expected a file of kind {kind!r}, got {got!r}")
    found = header.get("format_version")
    if type(found) is not int or found < 1:  # true is an int to Python
        raise FileFormatError(f"{where}: format_version must be a whole number of 1 or more, got {found!r}")
    if found > version:
        raise FileFormatError(
            f"{where}: format version {found}, this version of the package reads up to "
            f"{version}; upgrade pnbx-snn to read it"
        )
    return header


def _without_nan(value: Any) -> Any:
    """Return JSON of an old version without what JSON does not know: NaN and infinity become null."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_container(
    path: str | os.PathLike[str], kind: str, version: int, *, max_bytes: int = MAX_FILE_BYTES
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Read a container and check everything about it.

    Parameters
    ----------
    path : str or PathLike
        The file, of at most ``max_bytes``.
    kind, version : str, int
        What it must be, and the newest version of the body's layout that the caller knows.

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
    with open_regular(path, FileFormatError, max_bytes=max_bytes) as (file, size):
        try:
            header, arrays = _read(file, size, kind, version, where)
            sha = header.pop("sha256", None)
            if sha not in _digests(header, arrays):
                raise FileFormatError(f"{where}: content does not match its SHA-256; the file was altered or damaged")
            signed = header["format_version"] >= CANONICAL_SINCE.get(kind, 1)  # and holds no NaN
            return header["body"] if signed else _without_nan(header["body"]), arrays, str(sha)
        except FileFormatError:
            raise
        except _DAMAGES as error:
            raise FileFormatError(f"{where}: not a readable {kind} file, truncated or altered ({error})") from error


def _read(file: BinaryIO, size: int, kind: str, version: int, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    with zipfile.ZipFile(file) as archive:
        starts = _starts(archive, file, size, where)
        header = _read_header(archive, kind, version, where)
        members = [HEADER, *(f"{name}.npy" for name in header["arrays"])]
        if sorted(archive.namelist()) != sorted(members):
            raise FileFormatError(
                f"{where}: members do not match the header: {sorted(archive.namelist())[:20]}, told {members[:20]}"
            )
        arrays: dict[str, NDArray[Any]] = {}
        for name, (dtype, shape) in header["arrays"].items():
            if dtype not in ALLOWED_DTYPES or any(type(n) is not int or n < 0 for n in shape):
                raise FileFormatError(f"{where}: array {name!r} has dtype {dtype!r} and shape {shape!r}")
            info = _stored_member(archive, f"{name}.npy", where)
            arrays[name] = _read_array(file, info, starts[info.filename], dtype, tuple(shape), where)
    return header, arrays
