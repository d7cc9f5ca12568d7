"""MNIST from its IDX files, each of them checked before anything is allocated for it."""

import gzip
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from pnbx_snn.data.files import find_file, reading
from pnbx_snn.data.split import Part, Split, check_part
from pnbx_snn.errors import DataError

SIDE = 28
NUM_CLASSES = 10
NUM_VALIDATION = 5_000
"""The last images of the training file; the order of that file is the same for everybody."""

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
        Images and labels in the order of the files: pixels / 255, digits 0 to 9.

    Notes
    -----
    Shapes: images ``[n, 784]``, labels ``[n]``.

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
        _check_size(path, size, num_bytes, compressed=compressed)
        with gzip.open(path) if compressed else path.open("rb") as file:
            _check_header(path, file.read(header_bytes), shape)
            # One byte more than allowed shows whether more follows, and lets gzip reach and check its checksum.
            data = file.read(num_bytes - header_bytes + 1)
    if len(data) != num_bytes - header_bytes:
        problem = "is cut short" if len(data) < num_bytes - header_bytes else "goes on after its data"
        raise DataError(f"{path}: {problem}: must have {num_bytes} bytes uncompressed")
    return np.frombuffer(bytearray(data), dtype=np.uint8).reshape(shape)


def _check_size(path: Path, size: int, num_bytes: int, *, compressed: bool) -> None:
    if compressed and size > num_bytes + _GZIP_OVERHEAD_BYTES:
        raise DataError(f"{path}: is no file of MNIST: compressed must be smaller than {num_bytes} bytes, got {size}")
    if not compressed and size != num_bytes:
        raise DataError(f"{path}: is cut short or no file of MNIST: must have {num_bytes} bytes, got {size}")


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
