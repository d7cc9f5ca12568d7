"""The Typer application that the commands register with, and what they share."""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from neuromorphic.cli.waiting import err
from neuromorphic.errors import NeuromorphicError

out = Console()


def _show_warning(message: Warning | str, *_: Any) -> None:
    """Print a warning as one line: a user of the command has no use for the line of code it comes from."""
    err.print("[bold yellow]warning:[/]", escape(" ".join(str(message).split())), soft_wrap=True, highlight=False)


IN_HELP = ("compile", "info", "inputs", "run", "verify", "raster", "export", "targets", "setup-lava", "doctor")
"""Order of the commands in ``--help``: that in which a newcomer needs them; others follow."""


class _Said(logging.Handler):
    """What the library says of long work, as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        err.print(escape(record.getMessage()), soft_wrap=True, highlight=False)


@contextmanager
def _listening() -> Iterator[None]:
    logger, handler = logging.getLogger("neuromorphic.executors.native"), _Said()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class _Commands(typer.core.TyperGroup):
    """Every command says what went wrong in one message, without a traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: (*IN_HELP, name).index(name))

    def invoke(self, ctx: Any) -> Any:
        with warnings.catch_warnings(), _listening():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            try:
                return super().invoke(ctx)
            except NeuromorphicError as error:
                err.print("[bold red]error:[/]", escape(str(error)), soft_wrap=True, highlight=False)
                raise typer.Exit(1) from None
            except KeyboardInterrupt:
                err.print("interrupted; whatever was written before is whole")
                raise typer.Exit(130) from None


app = typer.Typer(
    name="neuromorphic",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

ProgramFile = Annotated[Path, typer.Argument(help="A program written by `neuromorphic compile`.", metavar="PROGRAM")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


def _show_version(asked: bool) -> None:
    if not asked:
        return
    found = [f"Python {platform.python_version()}"]
    for package in ("numpy", "numba", "torch"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    try:
        own = version("pnbx-snn")
    except PackageNotFoundError:
        own = "0+source"
    out.print(f"neuromorphic {own} ({', '.join(found)})", soft_wrap=True, highlight=False)
    raise typer.Exit


@app.callback()
def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the versions and exit.")
    ] = False,
) -> None:
    """Compile a trained spiking network to an integer program and run it with bit-identical results on every executor.

    A first round:

    - `neuromorphic compile runs/digits -o program.npz`
    - `neuromorphic info program.npz`
    - `neuromorphic run program.npz runs/digits -o recording.npz`
    - `neuromorphic verify program.npz runs/digits --executor native`

    Where a command takes INPUTS, give a .npy file or the folder of a run, whose test samples are then taken.

    Exit codes: 0 done, 1 a check failed or an error, 2 wrong usage, 130 stopped by Ctrl-C.
    """


def main() -> None:
    """Entry point of the ``neuromorphic`` command."""
    app()
