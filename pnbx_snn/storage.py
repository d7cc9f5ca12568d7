"""Files that survive a crash and do not lie: atomic writes, and tensors with a JSON description and a checksum.

The tensor file is safetensors. Its metadata has one entry, ``pnbx_snn``: a sha256, a blank, and a JSON object that
holds ``format_version`` and whatever the caller adds. The sha256 is over that JSON and every tensor's name, type, shape
and bytes. One entry, because safetensors writes several in random order, and equal contents should be equal files.
"""

import contextlib
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from jaxtyping import Shaped
from safetensors import SafetensorError
from torch import Tensor

from pnbx_snn.errors import CheckpointError, PnbxTypeError, StorageError
from pnbx_snn.regular_files import open_regular

FORMAT_VERSION = 1
MAX_HEADER_BYTES = 16 << 20
"""Far more than the names of any model need; a larger length means that the file is something else."""

MAX_FILE_BYTES = 16 << 30

Tensors = dict[str, Shaped[Tensor, "..."]]

_ENTRY = "pnbx_snn"
_ABANDONED_S = 3600.0

logger = logging.getLogger(__name__)


def write_atomically(path: str | Path, data: bytes, *, what: str = "file") -> None:
    """Replace a file in one step: at any moment the old or a new one is there, whole, however many write it at once.

    Raises
    ------
    StorageError
        If it cannot be written, with ``what`` as its name; the old file is then untouched.
    """
    path = Path(path)
    # A name of its own for every write; a short one, as the path's may have the most letters that a name can have.
    temporary = path.with_name(f".pnbx-{secrets.token_hex(8)}.tmp")
    try:
        _remove_abandoned(path.parent)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        kept = f"the previous {what} is untouched" if path.is_file() else f"there was no {what} before"
        raise StorageError(f"{path}: {what} could not be written ({error.strerror}); {kept}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    # The new file is in place; syncing the folder makes that survive a power cut, where the file system can.
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _remove_abandoned(folder: Path) -> None:
    """Remove what writers left that were killed: no write takes so long."""
    for path in folder.glob(".pnbx-*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()
        except FileNotFoundError:  # another writer was faster
            continue


def write_tensors(path: str | Path, tensors: Tensors, description: dict[str, Any], *, what: str = "checkpoint") -> None:
    """Write tensors, copied to the CPU, and a description in plain JSON to one file, atomically.

    Raises
    ------
    StorageError
        If it cannot be written, with ``what`` as its name.
    PnbxTypeError
        If the description is not plain JSON.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "a.safetensors"
    >>> write_tensors(path, {"a": torch.zeros(2)}, {"epoch": 3})
    >>> read_tensors(path)
    ({'format_version': 1, 'epoch': 3}, {'a': tensor([0., 0.])})
    """
    try:
        body = json.dumps({"format_version": FORMAT_VERSION, **description}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PnbxTypeError(f"{path}: the description of a {what} must be plain JSON ({error})") from error
    # Copies: two names of one tensor are two tensors in the file, and no view keeps more than it shows.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = safetensors.torch.save(copies, {_ENTRY: f"{_sha256(body, copies)} {body}"})
    write_atomically(path, data, what=what)


def read_tensors(path: str | Path) -> tuple[dict[str, Any], Tensors]:
    """Read a file of :func:`write_tensors` and check its size, header, format version and sha256.

    Returns
    -------
    description, tensors

    Raises
    ------
    CheckpointError
        If the file is missing, cut short, altered, of a newer format, or something else.
    """
    path = Path(path)
    with open_regular(path, CheckpointError, max_bytes=MAX_FILE_BYTES) as (file, size):
        body, digest = _read_header(path, file, size)
        description = _description(path, body)
        file.seek(0)
        data = file.read(size)
    try:
        tensors: Tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: is cut short or altered ({error})") from error
    if _sha256(body, tensors) != digest:
        raise CheckpointError(f"{path}: is altered: its sha256 is not the one written into it")
    return description, tensors


def read_description(path: str | Path) -> dict[str, Any]:
    """Read the description alone, without the tensors; the sha256 is not checked.

    Raises
    ------
    CheckpointError
        As :func:`read_tensors`, as far as the header shows it.
    """
    path = Path(path)
    with open_regular(path, CheckpointError, max_bytes=MAX_FILE_BYTES) as (file, size):
        return _description(path, _read_header(path, file, size)[0])


@contextmanager
def locked_folder(path: str | Path) -> Iterator[None]:
    """Make a folder and hold it for one process: two trainings in one folder would mix their files.

    On Windows, which has no such locks, a warning says that the folder is not held.

    Raises
    ------
    StorageError
        If it cannot be made, or another process holds it.

    Examples
    --------
    >>> folder = getfixture("tmp_path") / "run"
    >>> with locked_folder(folder):
    ...     folder.is_dir()
    True
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        fcntl = _fcntl()
        folder = os.open(path, os.O_RDONLY) if fcntl else None
    except OSError as error:
        raise StorageError(f"{path}: the folder cannot be made or opened ({error.strerror})") from error
    if fcntl is None or folder is None:
        logger.warning("%s: cannot be locked on this system; see that only one training runs in it", path)
        yield
        return
    try:
        try:
            # The kernel releases the lock with the process, however it ends.
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(f"{path}: cannot be locked; another training is running in it") from error
        yield
    finally:
        os.close(folder)


def _fcntl() -> Any:
    """Return the module of file locks, or None on Windows, which has none: all else here works there."""
    try:
        import fcntl
    except ModuleNotFoundError:
        return None
    return fcntl


def _read_header(path: Path, file: BinaryIO, size: int) -> tuple[str, str]:
    """Return the description's text and the sha256, before anything large is read."""
    if size == 0:
        raise CheckpointError(f"{path}: is empty")
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > MAX_HEADER_BYTES:
        raise CheckpointError(f"{path}: is no checkpoint: it does not start as a safetensors file does")
    if length > size - 8:
        raise CheckpointError(f"{path}: is cut short or no checkpoint: its header has {length} bytes, the file {size}")
    try:
        header = json.loads(file.read(length))
        entries = header.pop("__metadata__", {})
        end = max([0, *(tensor["data_offsets"][1] for tensor in header.values())])
        entry = entries.get(_ENTRY)
    except (ValueError, RecursionError, AttributeError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path}: is altered or no checkpoint: its header cannot be read") from error
    if not isinstance(entry, str):
        raise CheckpointError(f"{path}: is a safetensors file, but not a checkpoint of pnbx-snn")
    if end != size - 8 - length:
        raise CheckpointError(
            f"{path}: is cut short or altered: its header speaks of {8 + length + end} bytes, the file has {size}"
        )
    digest, _, body = entry.partition(" ")
    return body, digest


def _description(path: Path, body: str) -> dict[str, Any]:
    try:
        description = json.loads(body)
        format_version = description["format_version"]
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path}: is altered: its description cannot be read") from error
    if not isinstance(description, dict) or type(format_version) is not int or format_version < 1:
        raise CheckpointError(f"{path}: is altered: format_version must be a whole number, got {format_version!r}")
    if format_version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: was written by a newer pnbx-snn (format {format_version}, this one reads up to "
            f"{FORMAT_VERSION}); update pnbx-snn"
        )
    return description


def _sha256(body: str, tensors: Tensors) -> str:
    digest = hashlib.sha256(body.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
