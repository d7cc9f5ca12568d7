"""``Delays``: events, each unit some steps late, by a number of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import BoundError, ProgramError
from neuromorphic.integers.numbers import INT32_MAX
from neuromorphic.integers.symbols import Bound, Range
from neuromorphic.ops.base import OneSource, State, checked_array, checked_integer, operation

MAX_STEPS = 63
"""Longest delay of an axon on Loihi: 6 bits."""


@operation
@dataclass(frozen=True, eq=False)
class Delays(OneSource):
    """Events that every unit sends on some steps later: ``y[t, i] = x[t - steps[i], i]``, 0 before the first.

    Unlike a ``Delay`` it stands behind its source and can pass events on in the same step, so it closes no loop.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events, or values such as the changes that a ``Delta`` sends.
    steps : NDArray[np.int32]
        0..63, ``[N]``.
    low, high : int
        Range of the events, which its source must stay in: 0 and 1 for spikes.

    References
    ----------
    Delays of axons in lava-dl's slayer (``slayer/axon/delay.py``) and of NIR's ``Delay``, in whole steps.
    """

    name: str
    source: str
    steps: NDArray[np.int32]
    low: int = 0
    high: int = 1
    kind: ClassVar[str] = "events"
    accepts: ClassVar[tuple[str, ...]] = ("events", "values")

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", checked_array(self.name, "steps", self.steps, np.int32, 1, 0, MAX_STEPS))
        assert self.num_rows  # counted here: where steps are constants of a back end, they cannot be counted
        checked_integer(self.name, "low", self.low, -INT32_MAX, 0)
        checked_integer(self.name, "high", self.high, 0, INT32_MAX)
        if self.low == self.high:
            raise ProgramError(f"{self.name}: low and high must be a range of events, got {self.low}..{self.high}")

    def states(self) -> dict[str, State]:
        """Return a ring of the last events, and the row of the newest."""
        return {"ring": State((self.num_rows, self.size)), "place": State((1,), counts_steps=True)}

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Write the newest events, and read from every column those that are due."""
        place, rows = state.place, self.num_rows
        state.ring = xp.set_row(state.ring, place, x)
        due = place + (rows - self.steps)
        after = place + 1
        state.place = xp.where(after >= rows, 0, after)
        return xp.pick(state.ring, xp.where(due >= rows, due - rows, due))

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Refuse a source whose events leave the range; what leaves the ring is what arrived, and zeros."""
        lowest, highest = int(inputs[0][0].min()), int(inputs[0][1].max())
        if lowest < self.low or highest > self.high:
            raise BoundError(
                f"{self.name}: {self.source} must give events in {self.low}..{self.high}, got {lowest}..{highest}"
            )
        low, high = np.minimum(inputs[0][0], 0), np.maximum(inputs[0][1], 0)
        held = tuple(np.broadcast_to(end, (self.num_rows, self.size)) for end in (low, high))
        place = (np.zeros(1, dtype=np.int64), np.full(1, self.num_rows - 1, dtype=np.int64))
        return Bound(low, high, {"ring": held, "place": place})  # type: ignore[dict-item]

    @cached_property
    def num_rows(self) -> int:
        """Steps that it remembers, the present one included."""
        return int(self.steps.max()) + 1

    @property
    def event_range(self) -> tuple[int, int]:
        """What its source may give."""
        return (self.low, self.high)

    @property
    def size(self) -> int:
        """Number of units."""
        return int(self.steps.shape[0])
