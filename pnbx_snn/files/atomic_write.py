"""Writing that survives a crash: a file is the old or the new one, whole, and one process at a time has a folder."""

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pnbx_snn.errors import StorageError

_ABANDONED_S = 3600.0

logger = logging.getLogger(__name__)


def write_atomically(path: str | Path, data: bytes, *, what: str = "file") -> None:
    """Replace a file in one step: at any moment the old or a new one is there, whole, however many write it at once.

    A :class:`StorageError`, with ``what`` as the name of the file, if it cannot be written; the old one is then
    untouched.
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


def make_folder(path: str | Path) -> Path:
    """Make a folder, and those above it, where it is not there; a :class:`StorageError` if it cannot be made."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: the folder cannot be made ({error.strerror})") from error
    return path


@contextmanager
def locked_folder(path: str | Path) -> Iterator[None]:
    """Make a folder and hold it for one process: two trainings in one folder would mix their files.

    A :class:`StorageError` if it cannot be made, or another process holds it. On Windows, which has no such locks, a
    warning says that the folder is not held.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        fcntl = file_locks()
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


def is_locked(path: str | Path) -> bool:
    """Return whether a process holds a folder with :func:`locked_folder`; on Windows, where none can, no."""
    fcntl = file_locks()
    if fcntl is None:
        return False
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(folder)
    return False


def file_locks() -> Any:
    """Return the module of file locks, or None on Windows, which has none: all else here works there."""
    try:
        import fcntl
    except ModuleNotFoundError:
        return None
    return fcntl
