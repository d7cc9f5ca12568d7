"""What a format tells of itself, without importing what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pnbx_extras
from neuromorphic.errors import CompileError
from neuromorphic.executors.entry import Option


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format that programs are written in, as the registry :mod:`neuromorphic.formats` lists it.

    Parameters
    ----------
    name : str
        What ``neuromorphic export --to`` calls it.
    purpose : str
        Who reads it, as ``neuromorphic targets`` says it.
    suffix : str
        Of the file that is written where no name is given, such as ``".nir"``; empty for a folder.
    module : str
        Module with two functions, imported when one is asked for. ``check(program) -> str | None`` raises a
        :class:`~neuromorphic.errors.NeuromorphicError` with the first reason why the format cannot hold the program,
        and returns ``None`` where it holds the program exactly, else a sentence that says what differs.
        ``write(program, path, **options) -> str`` writes it, or raises the same error, and returns a sentence about
        what was written.
    extra : str
        Extra of this package that brings what the module imports, if one does.
    options : tuple of Option
        What ``write`` takes besides program and path, for the command line.
    """

    name: str
    purpose: str
    suffix: str
    module: str
    extra: str = ""
    options: tuple[Option, ...] = ()

    def load(self) -> Any:
        """Import and return the module of the format.

        Raises
        ------
        CompileError
            When a package that it needs is not installed; the message says how to install it.
        """
        try:
            return import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] == "neuromorphic":
                raise
            install = pnbx_extras.install(self.extra) if self.extra else f"pip install {error.name}"
            raise CompileError(f"--to {self.name} needs {error.name}: {install}") from error
