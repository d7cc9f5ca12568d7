"""The guard before every reader: an ordinary file of a bounded size, or one clear error, before a byte is read.

What :mod:`pnbx_snn.regular_files` does; neither package imports the other.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from neuromorphic.errors import NeuromorphicError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe, whose end nobody knows; write it to a file first"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
# Not blocking, because opening a pipe waits for a writer that may never come. Windows knows neither flag's partner.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


@contextmanager
def open_regular(
    path: str | os.PathLike[str], error: type[NeuromorphicError], *, max_bytes: int
) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file that nobody vouches for, and yield it with its size in bytes; symbolic links are followed.

    Raises
    ------
    NeuromorphicError
        Of the class ``error``, also for what the system says while the file is read: when there is no such file, it is
        a folder, pipe, device or socket, it has more than ``max_bytes``, or it cannot be read.

    Examples
    --------
    >>> from neuromorphic.errors import FileFormatError
    >>> with open_regular("/dev/zero", FileFormatError, max_bytes=100):
    ...     pass
    Traceback (most recent call last):
    neuromorphic.errors.FileFormatError: /dev/zero: cannot be read: must be a regular file, is a device
    """
    if "\0" in str(path):
        raise error(f"{path!r}: no such file: a name cannot hold a zero byte")
    try:
        _check_kind(path, Path(path).stat().st_mode, error)  # opening a device can already do something
        with os.fdopen(os.open(path, _FLAGS), "rb") as file:
            status = os.fstat(file.fileno())  # of what was opened, whatever has happened to the name since
            _check_kind(path, status.st_mode, error)
            if status.st_size > max_bytes:
                raise error(f"{path}: has {status.st_size} bytes, at most {max_bytes} are read")
            yield file, status.st_size
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise error(f"{path}: no such file") from problem
    except NeuromorphicError:  # some are OSErrors too
        raise
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror or problem})") from problem


def read_regular(path: str | os.PathLike[str], error: type[NeuromorphicError], *, max_bytes: int) -> bytes:
    """Return the content of a file that nobody vouches for; see :func:`open_regular`."""
    with open_regular(path, error, max_bytes=max_bytes) as (file, size):
        return file.read(size)


def _check_kind(path: str | os.PathLike[str], mode: int, error: type[NeuromorphicError]) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "something else")
        raise error(f"{path}: cannot be read: must be a regular file, is {kind}")


def check_regular(path: str | os.PathLike[str], error: type[NeuromorphicError], *, max_bytes: int) -> Path:
    """Return the path of a file that a library opens itself, once it has passed :func:`open_regular`."""
    with open_regular(path, error, max_bytes=max_bytes):
        return Path(path)
