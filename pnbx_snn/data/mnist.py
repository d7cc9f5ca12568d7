"""MNIST from its IDX files, each of them checked before anything is allocated for it."""

import gzip
import hashlib
import io
import logging
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from pnbx_snn.data.download import Mirror
from pnbx_snn.data.files import find_file, reading
from pnbx_snn.data.split import Part, Split, check_part
from pnbx_snn.errors import DataError
from pnbx_snn.storage import write_atomically

_log = logging.getLogger(__name__)

SIDE = 28
NUM_CLASSES = 10
NUM_VALIDATION = 5_000
"""The last images of the training file; the order of that file is the same for everybody."""

FILES = {
    "train-images-idx3-ubyte": (16 + 60_000 * 784, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (8 + 60_000, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (16 + 10_000 * 784, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (8 + 10_000, "27ae3e4e09519cfbb04c329615203637"),
}
"""Bytes and md5 of the uncompressed files."""
MAX_FILE_BYTES = 16 << 20

_COUNTS = {"train": 60_000, "t10k": 10_000}
_UINT8 = 0x08
_GZIP_OVERHEAD_BYTES = 1 << 16
"""Deflate stores what it cannot compress with 5 bytes for each 16 KiB; a header may hold a name."""


def load_mnist(folder: str | Path, *, part: Part) -> Split:
    """Load a part of the 70,000 handwritten 28x28 digits of MNIST from files. Nothing is downloaded.

    Parameters
    ----------
    folder
        Where the four files are, or the folder above if theirs is called ``mnist``:
        ``{train,t10k}-{images-idx3,labels-idx1}-ubyte``, as they are or as ``.gz``.
    part
        ``"train"`` (the first 55,000 training images) and ``"validation"`` (the last 5,000) are for choosing;
        ``"train_all"`` (60,000) is both, for the last training; ``"test"`` (10,000) is for the last measurement and
        never for choosing.

    Returns
    -------
    Split
        Images ``[n, 784]`` and labels ``[n]`` in the order of the files: pixels / 255, digits 0 to 9.

    Notes
    -----
    The files are not trusted: magic number, element type, dimensions and size must be those of MNIST, and no more than
    that is ever decompressed.

    Raises
    ------
    DataError
        If a file is missing (the message says how to get it), cut short, altered or something else.
    PnbxValueError
        If the part is not one of the four.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition"; LeCun, Cortes
    and Burges, "The MNIST database of handwritten digits" (CC BY-SA 3.0), which describes the IDX format.

    Examples
    --------
    >>> load_mnist("nowhere", part="test")
    Traceback (most recent call last):
    pnbx_snn.errors.DataError: nowhere/mnist/t10k-labels-idx1-ubyte[.gz]: no such file; to get it: ...
    """
    check_part("load_mnist", part)
    name = "t10k" if part == "test" else "train"
    count = _COUNTS[name]
    # Labels first: they are small, so a wrong folder is noticed before the images are read.
    path = _find(folder, f"{name}-labels-idx1-ubyte")
    labels = _read_idx(path, (count,))
    if labels.max() >= NUM_CLASSES:
        raise DataError(f"{path}: labels must be digits 0 to 9, got {labels.max()} at {int(labels.argmax())}")
    images = _read_idx(_find(folder, f"{name}-images-idx3-ubyte"), (count, SIDE, SIDE))

    first_validation = _COUNTS["train"] - NUM_VALIDATION
    chosen = {"train": slice(first_validation), "validation": slice(first_validation, None)}.get(part, slice(None))
    return Split(
        images=torch.from_numpy(images[chosen]).to(torch.float32).flatten(1).div_(255.0),
        labels=torch.from_numpy(labels[chosen]).to(torch.int64),
    )


def _find(folder: str | Path, name: str) -> Path:
    return find_file(Path(folder), "mnist", name, endings=("", ".gz"))


def _read_idx(path: Path, shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
    """Read an IDX file of unsigned bytes that must have this shape."""
    header_bytes = 4 + 4 * len(shape)
    num_bytes = header_bytes + int(np.prod(shape))
    compressed = path.suffix == ".gz"
    with reading(path, "gzip") as size:
        if compressed and size > num_bytes + _GZIP_OVERHEAD_BYTES:
            raise DataError(
                f"{path}: is no file of MNIST: compressed must be smaller than {num_bytes} bytes, got {size}"
            )
        if not compressed and size != num_bytes:
            raise DataError(f"{path}: is cut short or no file of MNIST: must have {num_bytes} bytes, got {size}")
        with gzip.open(path) if compressed else path.open("rb") as file:
            _check_header(path, file.read(header_bytes), shape)
            # One byte more than allowed shows whether more follows, and lets gzip reach and check its checksum.
            data = file.read(num_bytes - header_bytes + 1)
    if len(data) != num_bytes - header_bytes:
        problem = "is cut short" if len(data) < num_bytes - header_bytes else "goes on after its data"
        raise DataError(f"{path}: {problem}: must have {num_bytes} bytes uncompressed")
    return np.frombuffer(bytearray(data), dtype=np.uint8).reshape(shape)


def _check_header(path: Path, header: bytes, shape: tuple[int, ...]) -> None:
    if len(header) < 4 + 4 * len(shape):
        raise DataError(f"{path}: is cut short: has {len(header)} bytes, its header alone {4 + 4 * len(shape)}")
    if header[:2] != b"\0\0":
        raise DataError(f"{path}: is no IDX file: must start with two zero bytes, got {header[:2].hex()}")
    if header[2] != _UINT8:
        raise DataError(f"{path}: elements must be unsigned bytes (type 0x08), got type {header[2]:#04x}")
    if header[3] != len(shape):
        raise DataError(f"{path}: must have {len(shape)} dimensions, got {header[3]}")
    got = tuple(np.frombuffer(header[4:], dtype=">u4").tolist())
    if got != shape:
        raise DataError(f"{path}: must have the shape {list(shape)}, got {list(got)}")


def download_mnist(folder: Path, mirror: Mirror) -> list[Path]:
    """Put the four files of MNIST into a folder; those that are there and right stay."""
    return [_download_file(name, folder, mirror) for name in FILES]


def _download_file(name: str, folder: Path, mirror: Mirror) -> Path:
    num_bytes, md5 = FILES[name]
    plain, path = folder / name, folder / f"{name}.gz"
    if plain.exists():
        if not _is_mnist(plain, num_bytes, md5):
            raise DataError(f"{plain}: is not MNIST's (its md5 must be {md5}); move it away to have it downloaded")
        return plain
    if path.exists() and _is_mnist(path, num_bytes, md5):
        return path
    data = mirror.read(path.name, max_bytes=MAX_FILE_BYTES)
    try:
        with gzip.open(io.BytesIO(data)) as file:
            got = _md5(file, num_bytes)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{mirror.base_url}{path.name}: is cut short, altered or no gzip file ({error})") from error
    if got != md5:
        raise DataError(f"{mirror.base_url}{path.name}: is not MNIST's: its md5 uncompressed must be {md5}, is {got}")
    write_atomically(path, data, what="data file")
    return path


def _is_mnist(path: Path, num_bytes: int, md5: str) -> bool:
    try:
        with reading(path, "gzip"), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _md5(file, num_bytes) == md5
    except DataError as problem:
        _log.info("%s", problem)
        return False


def _md5(file: io.BufferedIOBase, num_bytes: int) -> str:
    """Return the md5 of at most this many bytes and one more, which makes a longer file a wrong one."""
    return hashlib.md5(file.read(num_bytes + 1), usedforsecurity=False).hexdigest()
