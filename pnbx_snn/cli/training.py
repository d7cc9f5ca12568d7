"""Commands that train."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from pnbx_snn import console
from pnbx_snn.cli.app import DataFolder, Quiet, app
from pnbx_snn.cli.progress import show_result, show_stop, training_progress
from pnbx_snn.configs import config_path
from pnbx_snn.console import Stopped


@app.command()
def train(
    config: Annotated[
        str, typer.Argument(help="A name that `pnbx-snn config` lists, or a TOML file.", metavar="CONFIG")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one key; may be given more than once.", metavar="SECTION.KEY=VALUE"),
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run; default: runs/NAME for NAME.toml.", metavar="DIR")
    ] = None,
    data: DataFolder = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a network. Checkpoint, metrics and TensorBoard events go into one folder.

    Stop it with Ctrl-C whenever you like: the last checkpoint stays, and `--resume` goes on from it to the very same
    weights as if it had never stopped (on one thread, bit for bit).

    For example:

    - `pnbx-snn train digits`
    - `pnbx-snn train digits --set train.epochs=10 --set model.hidden=[128,128] --out runs/small`
    - `pnbx-snn train digits --out runs/digits --resume`
    - `pnbx-snn train mnist --data DIR --set train.seed=1 --out runs/mnist1`
    - `torchrun --standalone --nproc_per_node 2 -m pnbx_snn.cli train digits`
    """
    overrides = [*(set_ or []), *([] if data is None else [f"data.folder={json.dumps(str(data))}"])]
    file = config_path(config)
    folder = Path("runs") / file.stem if out_dir is None else out_dir
    with console.loading():
        from pnbx_snn.training.config import load_config
        from pnbx_snn.training.run import train as run_training
    settings = load_config(file, overrides)
    try:
        with console.stoppable(), training_progress(settings.train.epochs, quiet=quiet) as show:
            result = run_training(settings, folder, resume=resume, progress=show, batch_progress=show)
    except Stopped as stopped:
        changes = [word for text in set_ or () for word in ("--set", text)]
        changes += [] if data is None else ["--data", str(data)]
        arguments = [*settings.kind.command.split(), "train", config, *changes, "--out", str(folder), "--resume"]
        show_stop(stopped, folder, arguments)
        raise typer.Exit(128 + stopped.signal) from None
    if not quiet and os.environ.get("RANK", "0") == "0":  # of several processes the first one speaks
        show_result(result, folder)
