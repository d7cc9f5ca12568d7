"""A program while it grows: its operations, the range of each, and how many fractional bits the next one may have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.compiler.notes import Notes
from neuromorphic.errors import BoundError
from neuromorphic.integers.numbers import STATE_MAX
from neuromorphic.integers.symbols import Bound, Range, uniform
from neuromorphic.ops import Delay, Delays, Input, Operation
from neuromorphic.ops.base import MAX_SHIFT
from neuromorphic.program import Program


class Draft:
    """The operations of a program so far, the range of each, and the sentences that its user should read."""

    def __init__(self, entry: Input, num_steps: int, notes: Notes | None = None) -> None:
        self.ops: list[Operation] = [entry]
        self.num_steps = num_steps
        self.notes = Notes() if notes is None else notes
        self.ranges: dict[str, Range] = {entry.name: uniform(entry.size, entry.low, entry.high)}

    def declare_spikes(self, name: str, size: int, highest: int = 1) -> None:
        """State that an operation, which may come later, puts out spikes, or events of up to ``highest``."""
        self.ranges[name] = uniform(size, 0, highest)

    def event_range(self, name: str) -> tuple[int, int]:
        """Return the lowest and highest event of an operation."""
        low, high = self.ranges[name]
        return int(low.min()), int(high.max())

    def add(self, ops: Sequence[Operation]) -> None:
        """Add operations and prove their ranges."""
        for op in ops:
            if isinstance(op, Delay | Delays):
                self.ranges[op.name] = self.ranges[op.source]
            elif op.kind == "events":
                self.declare_spikes(op.name, op.size, op.event_range[1])
            else:
                bound = op.bound([self.ranges[source] for source in op.sources], self.num_steps)
                self.ranges[op.name] = (bound.low, bound.high)
            self.ops.append(op)

    def bound_last(self, ops: Sequence[Operation]) -> tuple[Bound, list[Range]]:
        """Return the bound of the last of some operations that are not added yet, and the ranges of its sources."""
        ranges = dict(self.ranges)
        for op in ops:
            sources = [ranges[source] for source in op.sources]
            bound = op.bound(sources, self.num_steps)
            ranges[op.name] = (bound.low, bound.high)
        return bound, sources

    def finest(
        self, at_bits: Callable[[int], Sequence[Operation] | None], *, least: int = 0
    ) -> tuple[list[Operation], int, bool] | None:
        """Find the operations with most fractional bits whose last state cannot saturate, else those with ``least``.

        ``at_bits`` returns the operations for a number of bits, or ``None`` where their parameters do not fit. Returned
        are the operations, their bits, and whether the state can saturate; ``None`` where no number of bits fits.
        """
        fitting: tuple[list[Operation], int, bool] | None = None
        for bits in range(MAX_SHIFT, least - 1, -1):
            try:
                ops = at_bits(bits)
                saturates = ops is not None and self.bound_last(ops)[0].saturates
            except BoundError:
                continue
            if ops is not None:
                fitting = (list(ops), bits, saturates)
                if not saturates:
                    return fitting
        return fitting

    def program(self, metadata: dict[str, Any]) -> Program:
        """Issue the warnings and return the program, its notes in ``metadata["assumptions"]``."""
        sentences = self.notes.issue()
        assumptions = {"assumptions": sentences} if sentences else {}
        return Program(tuple(self.ops), num_steps=self.num_steps, metadata={**metadata, **assumptions})


def state_integers(values: NDArray[np.float64]) -> NDArray[np.int32] | None:
    """Return values rounded to integers, or ``None`` where one does not fit a state of 24 bits."""
    rounded = np.rint(values)
    return rounded.astype(np.int32) if np.abs(rounded).max() <= STATE_MAX else None
