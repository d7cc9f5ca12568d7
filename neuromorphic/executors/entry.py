"""What an executor tells of itself, without importing what it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from neuromorphic.errors import ExecutorError

if TYPE_CHECKING:
    from neuromorphic.program import Program
    from neuromorphic.recording import Recording


@dataclass(frozen=True)
class Option:
    """A keyword of ``execute``, or of a format's ``write``, that the command line offers as ``flag``.

    Those that share a flag share its type: ``str``, ``int``, ``float``, ``Path`` or a ``Literal`` of what is allowed.
    """

    name: str
    flag: str
    type: Any
    help: str
    minimum: float | None = None


@dataclass(frozen=True)
class Finding:
    """One place that was looked at, whether the executor runs there, and which versions do or why not."""

    source: str
    path: Path | None
    usable: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An executor, as the registry :mod:`neuromorphic.executors` lists it.

    Parameters
    ----------
    name : str
        What ``run(program, inputs, name)`` and ``--executor`` call it.
    purpose : str
        What it is for, as the table in ``docs/where_it_runs.md`` says it.
    module : str
        Module whose ``execute(program, inputs, **options) -> Recording`` runs a program; imported when it is asked for.
    needs : tuple of str
        Modules it imports besides NumPy.
    extra : str
        Extra of this package that brings them, if one does.
    setup : str
        Command that makes what it needs, where pip does not.
    options : tuple of Option
        What ``execute`` takes besides ``progress`` and ``record``, for the command line.
    lacks : tuple of str
        Operations that it does not run, by the names of their classes.
    devices : callable, optional
        Returns name and description of each device that is here; called only when ``needs`` are installed.
    device_state : str
        How ``neuromorphic doctor`` words the description of a device.
    interpreters : callable, optional
        Looks for other Pythons that the executor can run in, or for compilers; it is ready where one is usable.
    looks_for : str
        What these are, as ``neuromorphic doctor`` says it.
    expected : bool
        Whether ``neuromorphic doctor`` exits with 1 where none is usable.
    reads : str
        Suffix of files that it runs without a program, such as ``".onnx"``.
    run_file : callable, optional
        ``run_file(path, inputs, name, **options) -> Recording``, runs such a file.
    check : callable, optional
        ``check(program)`` raises the first reason why a program of operations that it knows cannot run on it.
    few : int
        Samples that the command line takes of a training run where nobody says which: what runs in seconds.
    note : str
        A sentence that ``neuromorphic doctor`` adds.
    """

    name: str
    purpose: str
    module: str
    needs: tuple[str, ...] = ()
    extra: str = ""
    setup: str = ""
    options: tuple[Option, ...] = ()
    lacks: tuple[str, ...] = ()
    devices: Callable[[], list[tuple[str, str]]] | None = None
    device_state: str = "{}"
    interpreters: Callable[[], Sequence[Finding]] | None = None
    looks_for: str = "Python"
    expected: bool = False
    reads: str = ""
    run_file: Callable[..., Recording] | None = None
    check: Callable[[Program], None] | None = None
    few: int = 500
    note: str = ""

    @property
    def installed(self) -> bool:
        """Whether the modules it needs can be found."""
        return all(find_spec(module) is not None for module in self.needs)

    @property
    def ready(self) -> bool:
        """Whether it would run here; where it needs another Python, that is started to ask."""
        return self.installed and (not self.interpreters or any(found.usable for found in self.interpreters()))

    @property
    def remedy(self) -> str:
        """What to type where it is missing."""
        return f"run {self.setup}" if self.setup else self.install_of(*self.needs)

    def install_of(self, *modules: str) -> str:
        """Return the line that installs modules it needs."""
        import pnbx_extras  # here, as the side process of Lava finds this package and nothing beside it

        return pnbx_extras.install(self.extra) if self.extra else f"pip install {' '.join(modules)}"

    def load(self) -> Callable[..., Recording]:
        """Import and return the executor's ``execute``.

        Raises
        ------
        ExecutorError
            When what it needs is not installed or does not load; the message says how to install it.
        """
        try:
            module = import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] == "neuromorphic":
                raise
            raise ExecutorError(f"executor {self.name!r} needs {error.name}: {self.install_of(error.name)}") from error
        except ImportError as error:
            if not self.extra:
                raise
            raise ExecutorError(
                f"executor {self.name!r} cannot load what it needs, perhaps too old: {error}; {self.remedy}"
            ) from error
        return cast("Callable[..., Recording]", module.execute)
