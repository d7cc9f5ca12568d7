"""The C compiler of a machine: found, asked, and its errors told."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from neuromorphic.errors import ExecutorError
from neuromorphic.executors.entry import Finding

VARIABLE = "CC"
NAMES = ("cc", "gcc", "clang")
_SHOWN_LINES = 12
_LIMIT_S = 600


def find_compiler() -> list[str]:
    """Return the command of the compiler: what the environment variable ``CC`` says, else cc, gcc or clang.

    Raises
    ------
    ExecutorError
        When there is none.
    """
    wanted = os.environ.get(VARIABLE, "").strip()
    if wanted:
        command = _split(wanted)
        if shutil.which(command[0]) is None:
            raise ExecutorError(f"c: the environment variable CC is {wanted!r}, and {command[0]!r} is no program here")
        return command
    for name in NAMES:
        if shutil.which(name) is not None:
            return [name]
    raise ExecutorError(
        f"c: no C compiler found ({', '.join(NAMES)}); install one (Debian and Ubuntu: apt install gcc libc6-dev), "
        "or name one in the environment variable CC"
    )


def _split(wanted: str) -> list[str]:
    try:
        return shlex.split(wanted)
    except ValueError as error:
        raise ExecutorError(f"c: the environment variable CC is {wanted!r}: {error}") from error


def findings() -> list[Finding]:
    """Return what ``neuromorphic doctor`` shows."""
    try:
        command = find_compiler()
    except ExecutorError as error:
        return [Finding("compiler", None, usable=False, detail=str(error).removeprefix("c: "))]
    path = Path(shutil.which(command[0]) or command[0])
    source = VARIABLE if os.environ.get(VARIABLE, "").strip() else "PATH"
    try:
        told = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [Finding(source, path, usable=False, detail=f"does not tell its version: {error}")]
    version = (told.stdout.splitlines() or [""])[0]
    return [Finding(source, path, usable=told.returncode == 0, detail=version or told.stderr[:200])]


def compile_c(sources: Sequence[str], output: str, folder: Path, flags: Sequence[str]) -> None:
    """Compile and link, in a folder.

    Raises
    ------
    ExecutorError
        When there is no compiler, or it fails: with the first lines that it says.
    """
    command = find_compiler()
    try:
        done = subprocess.run(
            [*command, *flags, "-o", output, *sources],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ExecutorError(f"c: {command[0]} did not end within {_LIMIT_S} s") from error
    except OSError as error:
        raise ExecutorError(f"c: {command[0]} cannot be started ({error.strerror or error})") from error
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").strip().splitlines()[:_SHOWN_LINES]
        raise ExecutorError("\n".join([f"c: {shlex.join(command)} failed with status {done.returncode}:", *said]))
