"""Where the two commands start: what must hold before anything large is imported.

Importing takes time, in which Ctrl-C would print the traceback of whatever was being imported. And a terminal
or pipe whose encoding has no bullets and frames (``LC_ALL=C``) must not end ``--help``.
"""

import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from types import FrameType

import pnbx_extras

SAME_EVERYWHERE = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
"""Make torch and MKL choose the kernels that every x86-64 processor has, so that a training ends with the same weights
on all of them; the demo takes five percent longer. Both are read once, before the first operation of torch."""


def neuromorphic() -> None:
    """Entry point of the ``neuromorphic`` command."""
    _start("neuromorphic.cli")


def pnbx_snn() -> None:
    """Entry point of the ``pnbx-snn`` command."""
    if missing := pnbx_extras.missing("train", "pnbx-snn"):
        sys.exit(f"error: {missing}")
    _start("pnbx_snn.cli", add_demo)


def add_demo() -> None:
    """Give ``pnbx-snn`` the command that uses both packages, first of all: ``pnbx_snn`` itself never deploys."""
    from pathlib import Path
    from typing import Annotated

    import typer

    from neuromorphic.errors import NeuromorphicError
    from pnbx_snn.cli import app
    from pnbx_snn.console import fail, loading

    @app.command()
    def demo(
        out: Annotated[Path, typer.Option(help="Folder of everything that it leaves.", metavar="DIR")] = Path(
            "runs/demo"
        ),
    ) -> None:
        """Show everything in a minute or two: train on digits, draw spikes, compile, run on Lava, compare every spike.

        A second call goes on from what the folder holds. Exit code 1 if a goal of its table is missed.
        """
        for name, value in SAME_EVERYWHERE.items():
            os.environ.setdefault(name, value)
        with loading():
            import pnbx_demo
        try:
            reached = pnbx_demo.run_demo(out)
        except NeuromorphicError as error:
            fail(str(error), 1)
        except KeyboardInterrupt:
            fail("interrupted; the same command goes on from the last saved epoch", 130)
        if not reached:
            raise typer.Exit(1)

    app.registered_commands.insert(0, app.registered_commands.pop())


def _start(module: str, prepare: Callable[[], None] = lambda: None) -> None:
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a question mark for what the encoding has not, names of files included
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not in the background of a script, where it is ignored
        signal.signal(signal.SIGINT, _leave)
    main = import_module(module).main
    prepare()
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, before)
    main()


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End at once: an exception in the middle of an import may be swallowed, or come out as another one."""
    os.write(2, b"interrupted before anything was started\n")
    os._exit(130)
