"""Import Lava, on Pythons newer than the 3.10 it was published for too.

lava-nc 0.10.0 has one thing that Python 3.11 refuses: ``magma/compiler/var_model.py`` gives dataclass fields an
instance of another dataclass as default, and since 3.11 a default must be hashable. Dataclasses made while Lava is
being imported are therefore given the identity hash that ordinary objects have; Lava hashes none of them.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any

LAVA_MODULES = (
    "lava.magma.core.process.process",
    "lava.magma.core.run_configs",
    "lava.magma.compiler.compiler",
    "lava.magma.runtime.runtime",
)


@contextmanager
def hashable_dataclasses() -> Iterator[None]:
    """Within this context a new dataclass that would be unhashable hashes by identity."""
    original = dataclasses.dataclass

    def dataclass(cls: type | None = None, /, **options: Any) -> Any:
        def decorate(target: type) -> type:
            made: type = original(target, **options)
            if made.__dict__.get("__hash__", 0) is None:
                made.__hash__ = object.__hash__  # type: ignore[assignment]
            return made

        return decorate if cls is None else decorate(cls)

    replaceable: Any = dataclasses
    replaceable.dataclass = dataclass
    try:
        yield
    finally:
        replaceable.dataclass = original


def import_lava() -> bool:
    """Import what this package uses of Lava.

    Returns
    -------
    bool
        Whether the shim was needed.

    Raises
    ------
    ImportError
        When lava-nc or something it needs is not installed.
    """
    needed = sys.version_info >= (3, 11)
    with hashable_dataclasses() if needed else nullcontext():
        for name in LAVA_MODULES:
            import_module(name)
    return needed
