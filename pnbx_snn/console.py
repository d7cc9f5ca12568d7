"""What the ``pnbx-snn`` command says of its own doings: errors, signals, the progress of a download."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

out = Console()
err = Console(stderr=True)


def say(text: str, console: Console = out, style: str | None = None) -> None:
    """Print a text as it is, without rich's markup, colours and line breaks."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


class _Said(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), err)


@contextmanager
def listening(name: str) -> Iterator[logging.Handler]:
    """Show inside what a part of the library says of long work, as lines on standard error.

    It is said by the handler that this yields: one whose level is raised leaves it unsaid, and heard, so that the
    library does not turn to the terminal instead.
    """
    logger, handler = logging.getLogger(name), _Said()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def fail(message: str, code: int) -> NoReturn:
    """Say on standard error what went wrong, and leave with this exit code."""
    say(f"error: {message}", err, "red")
    raise typer.Exit(code)


@contextmanager
def loading() -> Iterator[None]:
    """Import torch and what stands on it inside, which takes seconds.

    Ctrl-C ends the process at once: an exception in the middle of an import may be swallowed, or come out as another
    one. Without torch (an installation that only runs programs) the message says so.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not in the background of a script, where it is ignored
        signal.signal(signal.SIGINT, _leave)
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        fail("this command needs torch, which is not installed here; `neuromorphic` runs programs without it", 1)
    finally:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"interrupted before anything was started\n")
    os._exit(130)


class Stopped(BaseException):
    """A signal asked the training to stop. No Exception: nothing on the way may take it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else "terminated")
        self.signal = number


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise :class:`Stopped` inside."""

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        raise Stopped(number)

    # A signal that the parent told us to ignore (a job in the background of a script) stays ignored.
    asked = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in asked}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def download_progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield a callback that shows, file by file, how much of a download is there."""
    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=err, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show_bytes(file: str, size: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=total)
            bar.update(tasks[file], completed=size)

        yield show_bytes
