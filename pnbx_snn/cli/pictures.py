"""Commands that draw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pnbx_snn import console
from pnbx_snn.cli.app import DataFolder, Part, Picture, RasterFile, Run, app, load_with_data, training_folder
from pnbx_snn.console import fail, say
from pnbx_snn.training.run_files import METRICS_NAME


@app.command()
def raster(
    run: Run,
    picture: RasterFile,
    sample: Annotated[int, typer.Option(min=0, help="Number of the sample in its part.")] = 0,
    part: Part = "test",
    data: DataFolder = None,
) -> None:
    """Draw the spikes that one sample evokes in every layer.

    For example:

    - `pnbx-snn raster runs/digits --sample 0 -o raster.png`
    - `pnbx-snn raster runs/digits --sample 0 -o raster.html`
    """
    with console.loading():
        from pnbx_snn import plot, report
        from pnbx_snn.metrics.analysis import one_sample
    model, _, split = load_with_data(run, data, part)
    if not model.layer_names:
        fail(f"{run}: a [{model.section}] has no spikes to draw", 2)
    if sample >= len(split.labels):
        fail(f"--sample must be in [0, {len(split.labels) - 1}] for --part {part}, got {sample}", 2)
    shown = one_sample(model, split, sample)
    title = f"{part} sample {sample}, a {shown['label']}, read as {shown['read']}"
    with report.drawing():
        say(f"wrote {plot.write_raster(picture, shown['layers'], input=shown['input'], title=title)}")


@app.command()
def training(
    run: Annotated[Path, training_folder("A folder written by `pnbx-snn train`.")],
    picture: Picture,
) -> None:
    """Draw accuracy, firing rate and loss over the epochs of a training, also of one that is still running.

    For example:

    - `pnbx-snn training runs/digits -o training.png`
    """
    with console.loading():
        from pnbx_snn import plot, report
        from pnbx_snn.training.run_log import read_metrics
    metrics = read_metrics(run / METRICS_NAME)
    with report.drawing():
        figure: Any = plot.training(metrics).figure
        say(f"wrote {plot.save(figure, picture)}")
