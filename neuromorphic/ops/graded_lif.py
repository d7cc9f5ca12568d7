"""``GradedLIF``: leaky integrate-and-fire neurons whose events have sizes, powers of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neuromorphic.integers.membranes import bound_membrane
from neuromorphic.integers.numbers import DECAY_BITS
from neuromorphic.integers.resets import RESETS
from neuromorphic.integers.symbols import Bound, Range
from neuromorphic.ops.base import checked_choice, checked_integer, operation, total
from neuromorphic.ops.lif import LIF

GRADED_RESETS = ("zero", "subtract", "none")
"""What an event may do to its membrane."""


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class GradedLIF(LIF):
    """LIF neurons whose events are 0, 1 or 2 (``levels = 3``), or 0, 1, 2 or 4 (``levels = 4``).

    A step does this in order, where ``n`` is the sum of the sources.

    1. ``u = sat(tz(v * decay, 12) + (n << shift) + bias)``
    2. ``event = (u > threshold) + (u > threshold << 1)``, and with four levels ``+ 2 * (u > threshold << 2)``: the
       largest power of two whose multiple of the threshold lies below the membrane
    3. the new ``v`` is 0 where the event is not (``zero``), ``u - event * threshold`` (``subtract``), or ``u``
       (``none``)

    An event of a power of two costs those that read it one shifted addition for each weight, and none of these steps
    multiplies either: multiples of a threshold are shifted.

    Parameters
    ----------
    name, sources, decay, threshold, bias, shift
        Of a ``LIF``; ``threshold`` is that of the smallest event.
    reset : str
        ``"zero"``, ``"subtract"`` or ``"none"``.
    levels : int
        Different events, 3 or 4.

    References
    ----------
    :func:`pnbx_snn.neurons.graded.graded_events` in integers.
    """

    levels: int

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_integer(self.name, "levels", self.levels, 3, 4)
        checked_choice(self.name, "reset", self.reset, GRADED_RESETS)

    @property
    def event_range(self) -> tuple[int, int]:
        """From 0 to the largest event."""
        return (0, 1 << (self.levels - 2))

    def step(self, xp: Any, state: Any, *currents: Any) -> Any:
        """Integrate, compare with all thresholds, reset."""
        drive = (total(currents) << self.shift) + self.bias
        u = xp.saturate(xp.toward_zero(state.v * self.decay, DECAY_BITS) + drive)
        fired = u > self.threshold
        event, lost, size = xp.where(fired, 1, 0), xp.where(fired, self.threshold, 0), 0
        for bits in range(1, self.levels - 1):
            threshold = self.threshold << bits
            above = u > threshold
            event = event + xp.where(above, 1 << size, 0)
            lost = lost + xp.where(above, self.threshold << size, 0)
            size = bits
        if self.reset == "zero":
            u = xp.where(fired, 0, u)
        elif self.reset == "subtract":
            u = u - lost
        state.v = u
        state.spikes = event
        return event

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Follow the membrane as that of a ``LIF``.

        A reset that subtracts leaves at most half of the highest threshold, or what exceeds it: what is above that half
        counts as if it lost the highest threshold, but came to no less than the half.
        """
        lowest = self.threshold.astype(np.int64)
        highest = lowest << (self.levels - 2)
        thresholds = (highest, highest >> 1) if self.reset == "subtract" else (lowest, lowest)
        reset = RESETS[self.reset]
        return bound_membrane(self, inputs, num_steps, decay=self.decay, thresholds=thresholds, reset=reset)
