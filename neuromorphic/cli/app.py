"""The Typer application that the commands register with, and what they share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from neuromorphic.errors import NeuromorphicError

out = Console()
err = Console(stderr=True)


class _Commands(typer.core.TyperGroup):
    """Every command says what went wrong in one message, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
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
    help="Compile a trained spiking network to an integer program and run it with bit-identical results on every "
    "executor.\n\n"
    "A first round:\n\n"
    "- `neuromorphic compile runs/digits -o program.npz`\n"
    "- `neuromorphic info program.npz`\n"
    "- `neuromorphic run program.npz inputs.npy -o recording.npz`\n"
    "- `neuromorphic verify program.npz inputs.npy --executor lava`\n\n"
    "Exit codes: 0 done, 1 a check failed or an error, 2 wrong usage, 130 stopped by Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

ProgramFile = Annotated[Path, typer.Argument(help="A program written by `neuromorphic compile`.", metavar="PROGRAM")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


@contextmanager
def progress_bar(label: str, unit: str = "steps") -> Iterator[Any]:
    """Yield a callback (done, total) that draws a bar on standard error."""
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err, transient=True, disable=not err.is_terminal
    ) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def main() -> None:
    """Entry point of the ``neuromorphic`` command."""
    app()
