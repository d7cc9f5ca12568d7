"""What a user sees while a command works: a bar on a terminal, and in a pipe a line every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

err = Console(stderr=True)
QUIET_S = 2.0
"""Work that takes less writes no line into a pipe."""
EVERY_S = 5.0


@contextmanager
def progress_bar(label: str, unit: str = "steps") -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (done, total) that shows how far the work is: as a bar, or as lines where there is no terminal.

    The bar fits 80 columns: the label is cut where it would not.
    """
    started = time.monotonic()

    def told(done: int, total: int) -> tuple[str, str]:
        left = (time.monotonic() - started) / done * (total - done) if done else 0.0
        return f"{done}/{total} {unit}", f"about {left:.0f} s left" if 0 < done < total else ""

    if err.is_terminal:
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        with Progress(*columns, console=err, transient=True, expand=True) as bar:
            task = bar.add_task(label, total=None, count="", left="")

            def show(done: int, total: int) -> None:
                count, left = told(done, total)
                bar.update(task, completed=done, total=total, count=count, left=left)

            yield show
        return
    said = [label]

    def note(done: int, total: int) -> None:
        said[1:] = filter(None, told(done, total))

    with _lines(lambda seconds: ", ".join([": ".join(said[:2]), f"{seconds:.0f} s", *said[2:]])):
        yield note


@contextmanager
def status(label: str) -> Iterator[Callable[[str], None]]:
    """Yield a callback that is told what is being done: beside a spinner, or as lines where there is no terminal."""
    if err.is_terminal:
        with err.status(label) as spinner:
            yield spinner.update
        return
    doing = [label]

    def note(text: str) -> None:
        doing[0] = text

    with _lines(lambda seconds: f"{doing[0]}, {seconds:.0f} s"):
        yield note


@contextmanager
def _lines(line: Callable[[float], str]) -> Iterator[None]:
    """Write what ``line`` says after so many seconds, again and again until the work is done."""
    done, started = threading.Event(), time.monotonic()

    def write() -> None:
        wait = QUIET_S
        while not done.wait(wait):
            err.print(line(time.monotonic() - started), soft_wrap=True, markup=False, highlight=False)
            wait = EVERY_S

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()
