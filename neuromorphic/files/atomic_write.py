"""Files that are whole or absent. What :mod:`pnbx_snn.files.atomic_write` does; neither package imports the other."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

from neuromorphic.errors import StorageError

_ABANDONED_S = 3600.0


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, however many write it at once: the last one stays.

    Raises
    ------
    StorageError
        When the file cannot be written (full disk, no permission); an older file of that name is untouched.
    """
    # A name of its own for every write; a short one, as the path's may have the most letters that a name can have.
    temporary = path.with_name(f".pnbx-{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); a file already there is untouched"
        ) from error
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
