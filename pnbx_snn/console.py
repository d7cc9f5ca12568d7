"""What the ``pnbx-snn`` command says of its own doings: errors, progress, how a training ended."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pnbx_snn.training.run_files import CHECKPOINT_NAME
from pnbx_snn.wording import counted

if TYPE_CHECKING:
    from pnbx_snn.training.run import TrainResult
    from pnbx_snn.training.trainer import Metrics

out = Console()
err = Console(stderr=True)


def say(text: str, console: Console = out, style: str | None = None) -> None:
    """Print a text as it is, without rich's markup, colours and line breaks."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


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
def epoch_progress(epochs: int, *, quiet: bool) -> Iterator[Callable[[Metrics], None] | None]:
    """Yield a callback that shows each epoch on standard error: a bar on a terminal, about ten lines elsewhere."""
    if quiet:
        yield None
        return
    if not err.is_terminal:
        every = max(1, epochs // 10)

        def show_line(metrics: Metrics) -> None:
            if metrics["epoch"] % every == 0 or metrics["epoch"] == epochs:
                say(f"epoch {metrics['epoch']} of {epochs}: {metrics_line(metrics)}", err)

        yield show_line
        return
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs {task.fields[note]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task("training", total=epochs, note="")
        yield lambda metrics: bar.update(task, completed=metrics["epoch"], note=metrics_line(metrics))


def show_stop(stopped: Stopped, folder: Path, arguments: Sequence[str]) -> None:
    """Say what is saved of a training that was stopped, and the command that goes on with it."""
    from pnbx_snn.training.checkpoint import read_meta

    path = folder / CHECKPOINT_NAME
    saved = f"epoch {read_meta(path).epoch} is saved in {folder}" if path.exists() else "no epoch is saved yet"
    say(f"{stopped}: {saved}. To go on:", err, "yellow")
    say(f"  {shlex.join(arguments)}", err)


def show_result(result: TrainResult, folder: Path) -> None:
    """Say how a training ended, and what to do next."""
    from pnbx_snn.training.kinds import KINDS

    if result.metrics is None:
        done = "the epoch is" if result.epoch == 1 else f"all {result.epoch} epochs are"
        say(f"Nothing to do: {done} trained.")
    else:
        say(f"Trained {counted(result.epoch, 'epoch')}: {metrics_line(result.metrics)}")
    command = KINDS[result.model.section].command
    say(f"Everything is in {folder}/. Next: {command} eval {shlex.quote(str(folder))}")


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


def metrics_line(metrics: Metrics) -> str:
    """Return the metrics of an epoch as one line."""
    accuracy = f"accuracy {metrics['accuracy_train']:.1%}"
    if metrics["accuracy_validation"] is not None:
        accuracy += f" (validation {metrics['accuracy_validation']:.1%})"
    rates = " ".join(f"{100 * rate:.1f}" for rate in metrics["firing_rate_layers"])
    return f"loss {metrics['loss']:.3f}  {accuracy}" + (f"  firing rates {rates} %" if rates else "")
