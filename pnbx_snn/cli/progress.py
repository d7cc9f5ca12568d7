"""How far a training is, in a line that fits 80 columns, and how it ended."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from pnbx_snn.console import Stopped, err, say
from pnbx_snn.training.run_files import CHECKPOINT_NAME
from pnbx_snn.wording import counted

if TYPE_CHECKING:
    from pnbx_snn.training.run import TrainResult

SHORTEST_S, LONGEST_S = 5.0, 30.0
"""Seconds between two lines: a hundredth of the whole training, but not less and not more than this."""

Show = Callable[[Mapping[str, Any]], None]


@contextmanager
def training_progress(epochs: int, *, quiet: bool = False) -> Iterator[Show | None]:
    """Yield what :func:`pnbx_snn.training.run.train` is to call as ``progress`` and ``batch_progress``.

    On a terminal a bar moves with every batch, beside the numbers of the last epoch (of the first one: so far).
    Elsewhere a line comes every few seconds. All of it goes to standard error.
    """
    if quiet:
        yield None
    elif err.is_terminal:
        words = TextColumn("{task.fields[told]}", table_column=Column(no_wrap=True))
        columns = (TextColumn("epoch {task.fields[epoch]}/{task.total:g}"), BarColumn(None), words)
        with Progress(
            *columns, TimeRemainingColumn(), TextColumn("left"), console=err, transient=True, expand=True
        ) as bar:
            task = bar.add_task("training", total=epochs, epoch=0, told="")
            first: list[int] = []

            def show(metrics: Mapping[str, Any]) -> None:
                bar.update(task, completed=_done(metrics), epoch=metrics["epoch"])
                first.append(metrics["epoch"])
                if "batch" not in metrics or metrics["epoch"] == first[0]:
                    bar.update(task, told=_short_line(metrics))

            yield show
    else:
        yield _Lines(epochs).show


class _Lines:
    """Prints a line when enough time has passed, within an epoch only if that takes long, and after the last epoch."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._first: tuple[float, float] | None = None  # when, and epochs done: the first batch compiles kernels
        self._last = self._epoch_started = time.monotonic()

    def show(self, metrics: Mapping[str, Any]) -> None:
        now, done, is_epoch = time.monotonic(), _done(metrics), "batch" not in metrics
        if self._first is None:
            self._first = now, done
            return
        per_epoch_s = (now - self._first[0]) / (done - self._first[1]) if done > self._first[1] else 0.0
        every_s = min(max(SHORTEST_S, per_epoch_s * self._epochs / 100), LONGEST_S)
        is_due = now - (self._last if is_epoch else max(self._last, self._epoch_started)) >= every_s
        is_last = is_epoch and metrics["epoch"] == self._epochs
        if is_epoch:
            self._epoch_started = now
        if not (is_due or is_last):
            return
        self._last = now
        within = "" if is_epoch else f" ({100 * metrics['batch'] // metrics['num_batches']} %)"
        left = "" if is_last else f", {timedelta(seconds=round(per_epoch_s * (self._epochs - done)))} left"
        say(f"epoch {metrics['epoch']} of {self._epochs}{within}: {_short_line(metrics)}{left}", err)


def _done(metrics: Mapping[str, Any]) -> float:
    """Return how many epochs are done; of the present one, the share of its batches."""
    share = metrics["batch"] / metrics["num_batches"] if "batch" in metrics else 1.0
    return float(metrics["epoch"] - 1 + share)


def _short_line(metrics: Mapping[str, Any]) -> str:
    """Return what fits beside a bar."""
    words = [f"acc {100 * metrics['accuracy_train']:.1f} %", f"loss {metrics['loss']:.3f}"]
    if metrics.get("accuracy_validation") is not None:
        words.insert(1, f"val {100 * metrics['accuracy_validation']:.1f} %")
    if metrics["firing_rate"] is not None:
        words.append(f"rate {100 * metrics['firing_rate']:.1f} %")
    return " ".join(words)


def metrics_line(metrics: Mapping[str, Any]) -> str:
    """Return accuracy, loss and firing rate, of an epoch or so far."""
    words = [f"accuracy {100 * metrics['accuracy_train']:.1f} %"]
    if metrics.get("accuracy_validation") is not None:
        words[0] += f" (validation {100 * metrics['accuracy_validation']:.1f} %)"
    words.append(f"loss {metrics['loss']:.3f}")
    if metrics["firing_rate"] is not None:
        words.append(f"rate {100 * metrics['firing_rate']:.1f} %")
    return ", ".join(words)


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
