"""The two programs that an emulated microcontroller takes, found and started: GCC for Arm, and QEMU."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from neuromorphic.errors import ExecutorError
from neuromorphic.executors.entry import Finding

GCC, QEMU = "arm-none-eabi-gcc", "qemu-system-arm"
INSTALL = "apt install --no-install-recommends gcc-arm-none-eabi qemu-system-arm"
_SHOWN_LINES = 12


class TooLargeError(ExecutorError):
    """A firmware does not fit the board's memory."""


def findings() -> list[Finding]:
    """Return what ``neuromorphic doctor`` shows."""
    return [_finding(name) for name in (GCC, QEMU)] if all(map(shutil.which, (GCC, QEMU))) else [_missing()]


def _missing() -> Finding:
    absent = [name for name in (GCC, QEMU) if shutil.which(name) is None]
    return Finding("PATH", None, usable=False, detail=f"no {' and no '.join(absent)}")


def _finding(name: str) -> Finding:
    path = Path(shutil.which(name) or name)
    try:
        told = subprocess.run([name, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("PATH", path, usable=False, detail=f"does not tell its version: {error}")
    version = (told.stdout.splitlines() or [""])[0]
    return Finding("PATH", path, usable=told.returncode == 0, detail=version or told.stderr[:200])


def check_tools() -> None:
    """Raise an :class:`ExecutorError` that says how to install what is missing."""
    for name in (GCC, QEMU):
        if shutil.which(name) is None:
            raise ExecutorError(f"executor 'qemu' needs {name}, which is not on PATH: {INSTALL}")


def call(command: Sequence[str], folder: Path) -> str:
    """Run a tool in a folder and return what it says.

    Raises
    ------
    ExecutorError
        When it fails: with the first lines that it says; a :class:`TooLargeError` where memory does not suffice.
    """
    done = subprocess.run(
        list(command),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode != 0:
        full = re.search(r"region `(\w+)' overflowed by (\d+) bytes", said)
        if full:
            raise TooLargeError(
                f"qemu: the network needs {int(full[2]):,} bytes of {full[1]} more than this core's board has"
            )
        shown = said.splitlines()[:_SHOWN_LINES]
        raise ExecutorError("\n".join([f"qemu: {command[0]} failed with status {done.returncode}:", *shown]))
    return said
