"""What a user sees while a command works: a bar on a terminal, and in a pipe a line every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
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
    if err.is_terminal:
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=err, transient=True, expand=True) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    counts: list[tuple[int, int]] = []

    def line(seconds: float) -> str:
        if not counts:
            return f"{label}: {seconds:.0f} s"
        done, total = counts[-1]
        left = f", about {seconds / done * (total - done):.0f} s left" if 0 < done < total else ""
        return f"{label}: {done}/{total} {unit}, {seconds:.0f} s{left}"

    with _lines(line):
        yield lambda done, total: counts.__setitem__(slice(None), [(done, total)])


@contextmanager
def status(label: str) -> Iterator[Callable[[str], None]]:
    """Yield a callback that is told what is being done: beside a spinner, or as lines where there is no terminal."""
    if err.is_terminal:
        with err.status(label) as spinner:
            yield spinner.update
        return
    doing = [label]
    with _lines(lambda seconds: f"{doing[0]} ({seconds:.0f} s)"):
        yield lambda text: doing.__setitem__(0, text)


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
