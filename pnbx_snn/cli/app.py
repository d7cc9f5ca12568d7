"""The Typer application that the commands register with, and the options that they share."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import pnbx_snn
from pnbx_snn.console import fail, listening, say
from pnbx_snn.errors import ConfigError, PnbxError
from pnbx_snn.training.run_files import METRICS_NAME, check_run

if TYPE_CHECKING:
    from pnbx_snn.data.split import Part as SplitPart
    from pnbx_snn.data.split import Split
    from pnbx_snn.networks.base import Network
    from pnbx_snn.training.config import Config
    from pnbx_snn.training.settings import DataConfig

PICTURES = (".png", ".pdf", ".svg", ".jpg", ".webp")
RASTERS = (*PICTURES, ".html", ".gif", ".mp4")


class Commands(typer.core.TyperGroup):
    """Every command says what went wrong in one message, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a :class:`PnbxError` becomes its message and exit code 1, or 2 for a configuration."""
        try:
            with listening("pnbx_snn.kernels") as ctx.obj:
                return super().invoke(ctx)
        except PnbxError as error:
            fail(str(error), 2 if isinstance(error, ConfigError) else 1)


app = typer.Typer(
    name="pnbx-snn",
    cls=Commands,
    help="Train spiking classifiers with ternary weights, measure them and look at their spikes.\n\n"
    "A first round:\n\n"
    "- `pnbx-snn train digits --out runs/digits`\n"
    "- `pnbx-snn eval runs/digits`\n"
    "- `pnbx-snn raster runs/digits --sample 0 -o raster.png`\n\n"
    "Exit codes: 0 done, 1 an error, 2 wrong usage or configuration, 130 and 143 stopped by Ctrl-C and SIGTERM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _show_version(asked: bool) -> bool:
    if not asked:
        return asked
    try:
        torch = f"torch {version('torch')}"
    except PackageNotFoundError:
        torch = "without torch"
    say(f"pnbx-snn {pnbx_snn.__version__} (Python {platform.python_version()}, {torch})")
    raise typer.Exit


def _be_quiet(ctx: Any, asked: bool) -> bool:
    if asked:
        ctx.obj.setLevel(logging.WARNING)
    return asked


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the versions and leave.")
    ] = False,
) -> None: ...


def training_folder(text: str) -> Any:
    """Return an argument that names the folder of a training, also of one that is still running."""
    return typer.Argument(help=text, metavar="RUN", callback=lambda path: check_run(path, needs=METRICS_NAME))


def ends_in(*endings: str) -> Callable[[Path], Path]:
    """Return what refuses a file to be written that has another ending, or a folder that is not there."""

    def checked(path: Path) -> Path:
        if path.suffix.lower() not in endings:
            fail(f"-o must end in one of {', '.join(endings)}, got {path}", 2)
        if not path.parent.is_dir():
            fail(f"{path}: cannot be written: {path.parent} is no folder", 1)
        return path

    return checked


Run = Annotated[
    Path,
    typer.Argument(
        help="A folder written by `pnbx-snn train` (or a packed file).", metavar="RUN", callback=lambda p: check_run(p)
    ),
]
Part = Annotated[Literal["test", "validation"], typer.Option(help="Which images; do not tune on the test set.")]
Picture = Annotated[
    Path,
    typer.Option("-o", "--output", help="The picture: .png, .pdf, .svg.", metavar="FILE", callback=ends_in(*PICTURES)),
]
RasterFile = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        help="A picture (.png, .pdf, .svg), a page to zoom in (.html), an animation (.gif, .mp4).",
        metavar="FILE",
        callback=ends_in(*RASTERS),
    ),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder of the data sets; default: data.folder, or $PNBX_DATA.",
        metavar="DIR",
        exists=True,
        file_okay=False,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", callback=_be_quiet, help="Say nothing but errors: no progress and no summary.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


def load(run: Path) -> tuple[Network, Config]:
    """Load the network of a run's folder or of a packed file."""
    from pnbx_snn.training.checkpoint import load_run
    from pnbx_snn.training.packed import load_packed

    return load_packed(run)[:2] if run.is_file() else load_run(run)


def data_section(config: Config, folder: Path | None) -> DataConfig:
    """Return the section ``[data]`` with the folder that the command line names, if it names one."""
    return config.data if folder is None else config.data.model_copy(update={"folder": str(folder)})


def load_with_data(run: Path, folder: Path | None, part: SplitPart) -> tuple[Network, Config, Split]:
    """Load a network and a part of the data that it was trained for."""
    from pnbx_snn.data.catalog import load_split

    model, config = load(run)
    return model, config, load_split(data_section(config, folder), part)


def main() -> None:
    """Entry point of the ``pnbx-snn`` command."""
    app()
