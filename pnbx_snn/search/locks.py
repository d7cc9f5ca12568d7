"""Locks between processes that end with the process, however it ends."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from pnbx_snn.errors import StorageError
from pnbx_snn.files.atomic_write import file_locks, make_folder


class FileLock:
    """Holds a file, which is made where it is not there: one process at a time, also one object at a time in a process.

    On Windows, which has no such locks, nothing is held: one process may search there.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "lock"
    >>> with FileLock(path):
    ...     FileLock(path).acquire(wait=False)
    False
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self, wait: bool = True) -> bool:
        """Hold the file, after waiting for it; with ``wait=False`` return at once whether it is held now.

        A :class:`StorageError` if the file cannot be made.
        """
        fcntl = file_locks()
        make_folder(self._path.parent)
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StorageError(f"{self._path}: the lock cannot be made ({error.strerror})") from error
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(file)
            return False
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> FileLock:
        """Hold the file inside, also where it is held already."""
        if self._file is None:
            self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
