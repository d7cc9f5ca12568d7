"""Where the two commands start: what must hold before anything large is imported.

Importing torch takes seconds, in which Ctrl-C would print the traceback of whatever was being imported. And a terminal
or pipe whose encoding has no bullets and frames (``LC_ALL=C``) must not end ``--help``.
"""

import os
import signal
import sys
from importlib import import_module
from types import FrameType


def neuromorphic() -> None:
    """Entry point of the ``neuromorphic`` command."""
    _start("neuromorphic.cli")


def pnbx_snn() -> None:
    """Entry point of the ``pnbx-snn`` command."""
    _start("pnbx_snn.cli")


def _start(module: str) -> None:
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a question mark for what the encoding has not, names of files included
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not in the background of a script, where it is ignored
        signal.signal(signal.SIGINT, _leave)
    main = import_module(module).main
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, before)
    main()


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End at once: an exception in the middle of an import may be swallowed, or come out as another one."""
    os.write(2, b"interrupted before anything was started\n")
    os._exit(130)
