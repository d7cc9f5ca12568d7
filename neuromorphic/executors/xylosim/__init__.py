"""Run a program on SynSense's simulator of Xylo, where that is installed; it is no dependency of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuromorphic.executors.entry import Entry
from neuromorphic.ops import OP_TYPES

if TYPE_CHECKING:
    from neuromorphic.program import Program


def _check(program: Program) -> None:
    from neuromorphic.executors.xylosim.network import xylo_network

    xylo_network(program)


KNOWN = ("Input", "XyloLIF", "Delay")
ENTRIES = (
    Entry(
        name="xylosim",
        purpose="SynSense's simulator of Xylo",
        module="neuromorphic.executors.xylosim.executor",
        needs=("xylosim",),
        check=_check,
        lacks=tuple(sorted(set(OP_TYPES) - set(KNOWN))),
    ),
)
