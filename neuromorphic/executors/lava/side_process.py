"""The Lava side process: start it, talk to it, and end it with all that it started.

It leads a session of its own. To end it is to end that whole process group: first with SIGTERM, which leaves Python's
resource tracker alive to remove the shared memory, then with SIGKILL. A process that is stopped (Ctrl-Z, a debugger)
takes no notice of SIGTERM until SIGCONT; killed at once, its group would leave its shared memory behind.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neuromorphic.errors import ExecutorError
from neuromorphic.executors.lava.environment import WORKER, LavaPython, clean_environment

GRACE_S = 5.0
POLL_S = 0.2
MAX_MESSAGE_BYTES = 1 << 20
_NUMBER = (int, float)
MESSAGES: dict[str, dict[str, Any]] = {
    "ready": {},
    "progress": {"done": int, "total": int},
    "done": {"files": dict, "run_seconds": _NUMBER, "build_seconds": _NUMBER, "steps": int, "processes": int},
    "error": {"text": str},
}
"""What a worker may say, and the types of what is read of it."""


def living_members(group: int) -> list[int]:
    """Return the processes of a group that have not ended (a zombie has)."""
    members = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, member_of = entry.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):  # it ended while we looked
            continue
        if int(member_of) == group and state not in "ZX":
            members.append(int(entry.parent.name))
    return members


def _ended_within(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    """Wait until nothing of a worker's group lives."""
    deadline = time.monotonic() + limit_s
    while process.poll() is None or living_members(process.pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _end(process: subprocess.Popen[bytes], folder: str, owner: int) -> None:
    """End a worker and all that it started, and remove its folder. Safe to call at any time."""
    if os.getpid() != owner:  # a fork of the process that started it
        return
    try:
        for numbers, grace in (((signal.SIGTERM, signal.SIGCONT), GRACE_S), ((signal.SIGKILL,), 1.0)):
            try:
                for number in numbers:
                    os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            if _ended_within(process, grace):
                break
        process.wait()
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        shutil.rmtree(folder, ignore_errors=True)


def _message(line: bytes, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Return a message that has what is read of it."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _nonsense(line) from error
    kind = found.get("type") if isinstance(found, dict) else None
    if kind not in kinds or not all(isinstance(found.get(name), of) for name, of in MESSAGES[kind].items()):
        raise _nonsense(line)
    return dict(found)


def _nonsense(line: bytes) -> ExecutorError:
    said = line[:200].decode("utf8", "backslashreplace")
    return ExecutorError(
        f"lava: the side process said {said!r}, which is none of its messages; the interpreter must be a Python that "
        "runs the worker and prints nothing else"
    )


class SideProcess:
    """One running ``worker/worker.py``, in which Lava runs.

    It is ended by :attr:`end`, and without that when this object or this process ends.

    Parameters
    ----------
    python : LavaPython
        The interpreter that runs it.

    Attributes
    ----------
    folder : Path
        A temporary folder for jobs, removed at the end.
    pid : int
        Its process id, which is also its process group.

    Raises
    ------
    ExecutorError
        When the interpreter cannot be started.
    """

    def __init__(self, python: LavaPython) -> None:
        owner = os.getpid()
        self.folder = Path(tempfile.mkdtemp(prefix="pnbx-lava-"))
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        try:
            with (self.folder / "stderr.txt").open("wb") as errors:
                self._process = subprocess.Popen(
                    [str(python.path), str(WORKER), "serve", str(self.folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                    env=clean_environment() | threads,
                )
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ExecutorError(f"lava: {python.path} cannot be started ({error.strerror or error})") from error
        self._received = b""
        self.pid = self._process.pid
        self.end = weakref.finalize(self, _end, self._process, str(self.folder), owner)

    def send(self, message: dict[str, str]) -> None:
        """Send one line; that the worker has died is noticed by :meth:`replies`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def replies(self, deadline: float, *kinds: str) -> Iterator[dict[str, Any]]:
        """Yield the worker's messages as they come.

        Parameters
        ----------
        deadline : float
            Until when to wait, as :func:`time.monotonic` counts.
        *kinds : str
            The messages that may come now, of :data:`MESSAGES`; an error always may.

        Raises
        ------
        ExecutorError
            When the worker has failed or died, or says something else; carries its error text.
        TimeoutError
            At the deadline (:func:`time.monotonic`).
        """
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while True:
            while b"\n" in self._received:  # what comes after a message waits for the next call
                line, _, self._received = self._received.partition(b"\n")
                message = _message(line, (*kinds, "error"))
                if message["type"] == "error":
                    raise ExecutorError(f"lava: {message['text'].strip()}")
                yield message
            if len(self._received) > MAX_MESSAGE_BYTES:
                raise _nonsense(self._received)
            if (self.folder / "error.txt").exists():
                raise ExecutorError(self._obituary())
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            if select.select([pipe], [], [], min(remaining, POLL_S))[0]:
                received = os.read(pipe, 1 << 16)
                if not received:
                    raise ExecutorError(self._obituary())
                self._received += received

    def _obituary(self) -> str:
        error = self.folder / "error.txt"
        if error.exists():
            return f"lava: {error.read_text(errors='replace').strip()}"
        code = self._process.wait()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        said = (self.folder / "stderr.txt").read_text(errors="replace").strip().splitlines()[-20:]
        return "\n".join([f"lava: the side process {how} without a reason", *said])
