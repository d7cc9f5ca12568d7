"""Spiking networks as integer programs with bit-identical results on every executor.

Importing this package loads NumPy and the standard library only; :func:`compile` loads torch when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuromorphic.bounds import OpBound, prove
from neuromorphic.execution import load, run, verify
from neuromorphic.ops import LIF, Dense, Input, Readout
from neuromorphic.program import Program
from neuromorphic.recording import Comparison, Divergence, Recording, compare, first_divergence

if TYPE_CHECKING:
    from neuromorphic.compiler.dispatch import compile  # noqa: A004

__all__ = [
    "LIF",
    "Comparison",
    "Dense",
    "Divergence",
    "Input",
    "OpBound",
    "Program",
    "Readout",
    "Recording",
    "compare",
    "compile",
    "first_divergence",
    "load",
    "prove",
    "run",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "compile":
        from neuromorphic.compiler.dispatch import compile  # noqa: A004

        return compile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
