"""How far a search is: a line for every trial that ends, and on a terminal a bar beneath them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

from pnbx_snn.cli.progress import metrics_line
from pnbx_snn.console import err, say

if TYPE_CHECKING:
    from pnbx_snn.search.records import Record


@contextmanager
def search_progress(
    most: int, objectives: Sequence[str], *, quiet: bool = False
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield what :func:`pnbx_snn.search.processes.run` is to tell. All of it goes to standard error."""
    if quiet:
        yield lambda _: None
        return
    if not err.is_terminal:
        yield lambda event: _line(event, objectives)
        return
    words = TextColumn("{task.fields[told]}", table_column=Column(no_wrap=True, overflow="ellipsis"))
    with Progress(TextColumn("trials"), MofNCompleteColumn(), BarColumn(20), words, console=err, transient=True) as bar:
        task = bar.add_task("search", total=most, told="")
        running: dict[int, str] = {}

        def told(event: Mapping[str, Any]) -> None:
            _line(event, objectives)
            if event["what"] == "end":
                running.pop(event["record"].number, None)
                bar.update(task, completed=event["ended"])
            elif event["what"] in ("batch", "epoch"):
                running[event["number"]] = f"{event['number']}: epoch {event['epoch']}/{event['epochs']}"
                if event["what"] == "epoch" and len(running) == 1:
                    running[event["number"]] += f", {metrics_line(event)}"
            bar.update(task, told=" | ".join(running.values()))

        yield told


def _line(event: Mapping[str, Any], objectives: Sequence[str]) -> None:
    """Say how a trial ended, or that nothing is left to draw; nothing of other events."""
    if event["what"] == "nothing left":
        say("nothing new can be drawn from the space any more", err)
    if event["what"] != "end":
        return
    from pnbx_snn.search.objectives import ABOUT
    from pnbx_snn.search.result import shown

    record: Record = event["record"]
    values = [f"{shown(name, record.measured[name])} {ABOUT[name].column}" for name in objectives if record.measured]
    how = {"complete": "", "stopped": "stopped ", "failed": "failed: "}[record.state]
    say(f"trial {record.number}: {', '.join(values)}{', ' * bool(values and record.why)}{how}{record.why}", err)
