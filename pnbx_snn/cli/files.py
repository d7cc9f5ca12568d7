"""Commands that list, write and fetch files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pnbx_snn import console
from pnbx_snn.cli.app import DataFolder, Run, app, data_section
from pnbx_snn.configs import config_path, known_configs
from pnbx_snn.configs import summary as summary_of
from pnbx_snn.console import fail, say
from pnbx_snn.data.download import Downloadable


@app.command()
def config(
    name: Annotated[str | None, typer.Argument(help="One of them; without a name, all are listed.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it to a new file.", metavar="FILE")
    ] = None,
) -> None:
    """List the configurations that come with the package, or print one to start from.

    For example:

    - `pnbx-snn config`
    - `pnbx-snn config digits > my.toml`
    - `pnbx-snn config digits -o my.toml` and then `pnbx-snn train my.toml`
    """
    if name is None:
        if output is not None:
            fail("-o is for one configuration: pnbx-snn config NAME -o FILE", 2)
        width = max(map(len, known_configs()))
        for known, path in known_configs().items():
            say(f"{known:{width}}  {summary_of(path)}")
        return
    text = config_path(name).read_text()
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        with output.open("x") as file:
            file.write(text)
    except FileExistsError:
        fail(f"{output}: is there already; take another name", 1)
    except OSError as error:
        fail(f"{output}: could not be written ({error.strerror})", 1)
    say(f"wrote {output}. Next: pnbx-snn train {shlex.quote(str(output))}")


@app.command()
def pack(
    run: Run,
    file: Annotated[
        Path,
        typer.Option("-o", "--output", help="A .safetensors file, or a folder for the Hub's format.", metavar="FILE"),
    ],
    data: DataFolder = None,
    coding: Annotated[
        Literal["auto", "bits2", "runs"],
        typer.Option(help="Of ternary weights: two bits each, runs of zeros, or what is shorter for each matrix."),
    ] = "auto",
    measure: Annotated[bool, typer.Option(help="Measure on the test samples and keep the numbers in the file.")] = True,
) -> None:
    """Write a trained network as one small file, its ternary weights in two bits each or fewer.

    `pnbx-snn eval`, `raster` and `info` take the file in place of a run. A name without a suffix becomes a folder in
    the format of the Hugging Face Hub, with a model card; `pnbx_snn.training.pretrained.from_pretrained` reads it.

    For example:

    - `pnbx-snn pack runs/mnist -o mnist.safetensors --data DIR`
    - `pnbx-snn pack runs/mnist -o mnist-ternary --data DIR`
    """
    with console.loading():
        from pnbx_snn.data.catalog import load_split
        from pnbx_snn.training.checkpoint import load_run
        from pnbx_snn.training.evaluate import evaluate
        from pnbx_snn.training.packed import pack_run
        from pnbx_snn.training.pretrained import WEIGHTS, save_pretrained
    measured: dict[str, Any] = {}
    model, config = load_run(run)
    if measure:
        measured = {"part": "test", **evaluate(model, load_split(data_section(config, data), "test"))}
    if file.suffix:
        size = pack_run(run, file, coding=coding, measured=measured, loaded=(model, config))
    else:
        size = (save_pretrained(run, file, coding=coding, measured=measured) / WEIGHTS).stat().st_size
    accuracy = f", test accuracy {measured['accuracy']:.2%}" if measured else ""
    say(f"wrote {file}: {size:,} bytes{accuracy}")


@app.command()
def download(
    name: Annotated[Downloadable, typer.Argument(help="Which data set.")],
    data: Annotated[Path, typer.Option("--data", help="The folder to put it in.", metavar="DIR")],
) -> None:
    """Fetch a public data set and check it; files that are there and right are kept.

    For example:

    - `pnbx-snn download mnist --data data`
    """
    with console.loading():
        from pnbx_snn.data.catalog import download as fetch
    with console.download_progress() as progress:
        fetch(name, data, progress=progress)
    say(f"{name} is in {data}. Next: pnbx-snn train {name} --data {shlex.quote(str(data))}")
