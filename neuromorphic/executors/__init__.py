"""The registry of executors. Everything that lists, checks or starts executors reads it.

An executor is added by one module or package, its room, and one line here. The room's ``ENTRIES`` say what it runs and
what that needs; it imports nothing but NumPy and the standard library until a program is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

from neuromorphic.errors import ExecutorError
from neuromorphic.executors.entry import Entry
from neuromorphic.recording import Recording

ROOMS = (
    "neuromorphic.executors.reference",
    "neuromorphic.executors.lava",
    "neuromorphic.executors.native",
    "neuromorphic.executors.torch",
    "neuromorphic.executors.onnx",
    "neuromorphic.executors.c",
    "neuromorphic.executors.qemu",
    "neuromorphic.executors.xylosim",
)

EXECUTORS: Mapping[str, Entry] = MappingProxyType(
    {entry.name: entry for room in ROOMS for entry in import_module(room).ENTRIES}
)
NAMES = tuple(EXECUTORS)


def find_executor(name: str) -> Entry:
    """Return the entry of an executor.

    Raises
    ------
    ExecutorError
        When there is no executor of that name.
    """
    if name not in EXECUTORS:
        raise ExecutorError(f"executor must be one of {', '.join(EXECUTORS)}, got {name!r}")
    return EXECUTORS[name]


def get_executor(name: str) -> Callable[..., Recording]:
    """Return the ``execute(program, inputs, **options) -> Recording`` function of an executor.

    Parameters
    ----------
    name : str
        One of ``NAMES``.

    Raises
    ------
    ExecutorError
        When there is no executor of that name, or what it needs is not installed.
    """
    return find_executor(name).load()
