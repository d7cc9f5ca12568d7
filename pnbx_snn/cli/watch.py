"""The command that looks at a training while it runs, or afterwards."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pnbx_snn import console
from pnbx_snn.cli.app import DataFolder, app, data_section, ends_in, load, training_folder
from pnbx_snn.cli.progress import metrics_line
from pnbx_snn.console import fail, out, say
from pnbx_snn.errors import PnbxError
from pnbx_snn.files.atomic_write import is_locked, write_atomically
from pnbx_snn.training.run_files import CHECKPOINT_NAME, METRICS_NAME
from pnbx_snn.training.run_log import read_metrics
from pnbx_snn.wording import counted

CHART_HEIGHT, RASTER_HEIGHT = 5, 4  # in letters, as the next
LONGEST_LINE = 120


class _Seen(NamedTuple):
    """A run at one moment: its epochs, how many it is to have, whether a process trains it, and one sample's spikes."""

    run: Path
    rows: list[dict[str, Any]]
    epochs: int
    is_running: bool
    sample: dict[str, Any] | None

    @property
    def state(self) -> str:
        """Say in a line how far it is."""
        done = self.rows[-1]["epoch"] if self.rows else 0
        spent_s = sum(row.get("seconds", 0.0) for row in self.rows)
        spent = f"{timedelta(seconds=round(spent_s))} trained"
        if done >= self.epochs:
            return f"{self.run}: all of {counted(self.epochs, 'epoch')} done, {spent}"
        if not self.is_running:
            return f"{self.run}: stopped after epoch {done} of {self.epochs}, {spent}; `--resume` goes on"
        recent = [row.get("seconds", 0.0) for row in self.rows[-10:]]
        left_s = sum(recent) / len(recent) * (self.epochs - done) if recent else 0.0
        left = f", {timedelta(seconds=round(left_s))} left" if recent else ""
        return f"{self.run}: epoch {done} of {self.epochs}, {spent}{left}"


@app.command()
def watch(
    run: Annotated[Path, training_folder("A folder in which `pnbx-snn train` works or has worked.")],
    page: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="An HTML page that loads itself again, instead.",
            metavar="FILE",
            callback=lambda path: path and ends_in(".html", ".htm")(path),
        ),
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="Number of the validation sample whose spikes are shown.")] = 0,
    raster: Annotated[bool, typer.Option(help="Show spikes of the last checkpoint; without them torch rests.")] = True,
    every_s: Annotated[float, typer.Option("--every", min=0.5, help="Seconds between two looks.")] = 2.0,
    data: DataFolder = None,
) -> None:
    """Watch a training: its curves, the firing rate of each layer, and the spikes of one sample.

    It ends when the training does, or with Ctrl-C, which leaves the training alone. In a pipe it looks once.

    For example:

    - `pnbx-snn watch runs/digits`
    - `pnbx-snn watch runs/digits -o watch.html`
    """
    looks = _looks(run, _Sample(run, sample, data) if raster else None, every_s)
    try:
        if page is not None:
            _write_pages(looks, page, every_s)
        elif out.is_terminal:
            with Live(console=out, auto_refresh=False) as live:
                for seen in looks:
                    live.update(_picture(seen, min(out.width, LONGEST_LINE)), refresh=True)
        else:
            out.print(_picture(next(looks), min(out.width, LONGEST_LINE)))
    except KeyboardInterrupt:
        say("")


def _looks(run: Path, sample: _Sample | None, every_s: float) -> Iterator[_Seen]:
    """Yield what there is to see, again and again, the last time when nobody trains any longer."""
    try:
        epochs = tomllib.loads((run / "config.toml").read_text())["train"]["epochs"]
    except (OSError, ValueError, LookupError) as error:
        fail(f"{run}/config.toml: is not the configuration that `pnbx-snn train` leaves there ({error})", 1)
    while True:
        is_running = is_locked(run)  # asked first: the last epoch is written before the lock goes
        rows = read_metrics(run / METRICS_NAME)
        yield _Seen(run, rows, epochs, is_running, sample.look() if sample else None)
        if not is_running:
            return
        time.sleep(every_s)


class _Sample:
    """Looks at what one validation sample evokes in the network of the last checkpoint."""

    def __init__(self, run: Path, number: int, data: Path | None) -> None:
        self._run, self._number, self._data = run, number, data
        self._split: Any = None
        self._seen_ns = 0
        self._shown: dict[str, Any] | None = None

    def look(self) -> dict[str, Any] | None:
        """Return what :func:`pnbx_snn.metrics.analysis.one_sample` does, and the epoch; ``None`` without spikes."""
        path = self._run / CHECKPOINT_NAME
        if not path.exists() or path.stat().st_mtime_ns == self._seen_ns:
            return self._shown
        self._seen_ns = path.stat().st_mtime_ns
        with console.loading():
            from pnbx_snn.data.catalog import load_split
            from pnbx_snn.metrics.analysis import one_sample
            from pnbx_snn.training.checkpoint import read_meta
        model, config = load(self._run)
        if not model.layer_names:
            return None
        if self._split is None:
            try:
                self._split = load_split(data_section(config, self._data), "validation")
            except PnbxError as error:
                fail(f"{error} (--no-raster needs no data)", 1)
        if self._number >= len(self._split.labels):
            fail(f"--sample must be in [0, {len(self._split.labels) - 1}], got {self._number}", 2)
        self._shown = {**one_sample(model, self._split, self._number), "epoch": read_meta(path).epoch}
        return self._shown


def _sample_title(shown: dict[str, Any]) -> str:
    what = f"validation sample {shown['sample']}, a {shown['label']}, read as {shown['read']}"
    return f"{what}, after epoch {shown['epoch']}"


def _picture(seen: _Seen, width: int) -> Group:
    """Draw what was seen with letters."""
    from pnbx_snn.cli import letters

    parts: list[Any] = [Text(seen.state, style="bold")]
    if seen.rows:
        parts.append(Text(metrics_line(seen.rows[-1])))
        charts = Table.grid(padding=(0, 1))
        half = (width - 1) // 2
        accuracy = [("accuracy_train", "cyan"), ("accuracy_validation", "magenta")]
        charts.add_row(
            _chart(seen, "accuracy, %", accuracy, half, percent=True), _chart(seen, "loss", [("loss", "yellow")], half)
        )
        parts.append(charts)
        names = list(seen.sample["layers"]) if seen.sample else []
        rates = list(zip(*(row.get("firing_rate_layers", []) for row in seen.rows), strict=True))
        for number, values in enumerate(rates):
            name = names[number] if number < len(names) else f"layer {number + 1}"
            line = f"{name:14.14} fires {100 * values[-1]:5.1f} %  {letters.sparkline(values, width=width - 32)}"
            parts.append(Text(line, no_wrap=True))
    if seen.sample is not None:
        parts.append(Text(_sample_title(seen.sample), style="bold"))
        parts.append(Text("(a block is a step, a dot in it a neuron that spikes)"))
        for name, spikes in seen.sample["layers"].items():
            lines = letters.raster(spikes.reshape(len(spikes), -1), width=width - 16, height=RASTER_HEIGHT)
            for number, line in enumerate(lines):
                parts.append(Text(f"{name if number == 0 else '':14.14} {line}", no_wrap=True))
    return Group(*parts)


def _chart(seen: _Seen, title: str, keys: list[tuple[str, str]], width: int, *, percent: bool = False) -> Group:
    """Draw some of the metrics over the epochs, with a frame."""
    from pnbx_snn.cli import letters

    factor = 100.0 if percent else 1.0
    series = [([factor * row[key] for row in seen.rows if row.get(key) is not None], style) for key, style in keys]
    top = 100.0 if percent else max(series[0][0]) or 1.0
    heading = Text(f"       {title}")
    for key, style in keys[1:]:
        if any(row.get(key) is not None for row in seen.rows):
            heading.append(f" (train, {key.partition('_')[2]})", style)
    lines = letters.curves(series, top=top, width=width - 8, height=CHART_HEIGHT)
    labels = [f"{top:6.3g}┤", *["      │"] * (CHART_HEIGHT - 2), "     0┤"]
    last = str(seen.rows[-1]["epoch"])
    axis = Text(f"       epoch 1{last:>{max(1, width - 8 - 7)}}", no_wrap=True)
    return Group(heading, *(Text(label) + line for label, line in zip(labels, lines, strict=True)), axis)


def _write_pages(looks: Iterator[_Seen], path: Path, every_s: float) -> None:
    """Write what was seen as a page, each time that an epoch is new, until nobody trains any longer."""
    with console.loading():
        from pnbx_snn import plot, report
        from pnbx_snn.metrics import page
    before = ""
    for seen in looks:
        now = json.dumps([seen.state, seen.sample and seen.sample["epoch"]])
        if now == before:
            continue
        parts: list[page.Table | page.Figure] = []
        if seen.rows:
            with report.drawing():
                curves = plot.training(seen.rows).figure
                parts.append(page.Figure("Training", "curves of accuracy, firing rate and loss", png=_png(curves)))
        if seen.sample is not None:
            with report.drawing():
                figure = plot.raster_layers(seen.sample["layers"], input=seen.sample["input"])
                title = _sample_title(seen.sample)
                parts.append(
                    page.Figure(title[0].upper() + title[1:], "raster of its spikes by layer", png=_png(figure))
                )
        lead = [seen.state, metrics_line(seen.rows[-1]) if seen.rows else "no epoch is trained yet"]
        refresh_s = max(1, round(every_s)) if seen.is_running else 0
        section = page.Section("now", "Curves and spikes", [], parts, {})
        html = page.render(f"pnbx-snn watch {seen.run}", lead, [section], refresh_s=refresh_s)
        write_atomically(path, html.encode(), what="page")
        if not before:
            say(
                f"wrote {path}"
                + ("; it is written anew while the training runs (Ctrl-C ends this)" if refresh_s else "")
            )
        before = now


def _png(figure: Any) -> bytes:
    import io

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
