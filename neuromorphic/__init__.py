"""Spiking networks as integer programs that run bit for bit alike on every executor.

Importing this package loads NumPy and the standard library only.
"""

from __future__ import annotations

from neuromorphic.bounds import OpBound, prove
from neuromorphic.execution import run, verify
from neuromorphic.ops import LIF, Dense, Input, Readout
from neuromorphic.program import Program
from neuromorphic.recording import Comparison, Divergence, Recording, compare, first_divergence

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
    "first_divergence",
    "prove",
    "run",
    "verify",
]
