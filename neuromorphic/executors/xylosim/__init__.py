"""Run a program on SynSense's simulator of Xylo, where that is installed; it is no dependency of this package."""

from __future__ import annotations

from neuromorphic.executors.entry import Entry
from neuromorphic.ops import OP_TYPES

KNOWN = ("Input", "XyloLIF", "Delay")
ENTRIES = (
    Entry(
        name="xylosim",
        purpose="SynSense's simulator of Xylo",
        module="neuromorphic.executors.xylosim.executor",
        needs=("xylosim",),
        lacks=tuple(sorted(set(OP_TYPES) - set(KNOWN))),
    ),
)
