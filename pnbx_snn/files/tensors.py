"""Tensors in a file with a JSON description and a checksum: what checkpoints and packed networks are.

The file is safetensors. Its metadata has one entry, ``pnbx_snn``: a sha256, a blank, and a JSON object that holds
``format_version`` and whatever the caller adds. The sha256 is over that JSON and every tensor's name, type, shape and
bytes. One entry, because safetensors writes several in random order, and equal contents should be equal files.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from jaxtyping import Shaped
from safetensors import SafetensorError
from torch import Tensor

from pnbx_snn.errors import CheckpointError, PnbxTypeError
from pnbx_snn.files.atomic_write import write_atomically
from pnbx_snn.files.regular_files import open_regular

FORMAT_VERSION = 2
"""The newest that is read. 2: packed networks with runs of zeros, see :mod:`pnbx_snn.files.zero_runs`."""
MAX_HEADER_BYTES = 16 << 20
"""Far more than the names of any model need; a larger length means that the file is something else."""
MAX_FILE_BYTES = 16 << 30

_ENTRY = "pnbx_snn"

Tensors = dict[str, Shaped[Tensor, "..."]]


def write_tensors(
    path: str | Path,
    tensors: Tensors,
    description: dict[str, Any],
    *,
    what: str = "checkpoint",
    format_version: int = 1,
) -> None:
    """Write tensors, copied to the CPU, and a description in plain JSON to one file, atomically.

    Versions of this package that know no ``format_version`` so new refuse the file by that number.

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
        body = json.dumps({"format_version": format_version, **description}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PnbxTypeError(f"{path}: the description of a {what} must be plain JSON ({error})") from error
    # Copies: two names of one tensor are two tensors in the file, and no view keeps more than it shows.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = safetensors.torch.save(copies, {_ENTRY: f"{_sha256(body, copies)} {body}"})
    write_atomically(path, data, what=what)


def read_tensors(path: str | Path) -> tuple[dict[str, Any], Tensors]:
    """Read description and tensors of :func:`write_tensors`; check size, header, format version and sha256.

    A :class:`CheckpointError` if the file is missing, cut short, altered, of a newer format, or something else.
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
    """Read the description alone: what is wrong beyond the header is not seen, nor is the sha256 checked."""
    path = Path(path)
    with open_regular(path, CheckpointError, max_bytes=MAX_FILE_BYTES) as (file, size):
        return _description(path, _read_header(path, file, size)[0])


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
