"""``GatedState``: gated moving averages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE, STATE_MAX
from neuromorphic.integers.symbols import Bound, Range
from neuromorphic.ops.base import MAX_SIZE, Gated, State, Variable, checked_integer, operation


@operation
@dataclass(frozen=True)
class GatedState(Gated):
    """Gated moving averages: ``s = sat(tz(s * gate, 12) + tz(x * (4096 - gate), 12))``; the output is ``s``.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Values that the state averages.
    gate : str
        A ``Gate``: how much of the state is held.
    size : int
        Number of states.

    References
    ----------
    Martin and Cundy 2018, arXiv:1709.04057, in integers.
    """

    name: str
    source: str
    gate: str
    size: int
    kind: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        checked_integer(self.name, "size", self.size, 1, MAX_SIZE)

    def states(self) -> dict[str, State]:
        """Return the average, zero at first."""
        return {"s": State((self.size,))}

    def step(self, xp: Any, state: Any, x: Any, gate: Any) -> Any:
        """Hold a part of the state, and take the rest from the input."""
        held = xp.toward_zero(state.s * gate, DECAY_BITS)
        taken = xp.toward_zero(x * (DECAY_ONE - gate), DECAY_BITS)
        state.s = xp.saturate(held + taken)
        return state.s

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Use that an average, which starts at zero, never leaves the hull of zero and its input."""
        low, high = np.minimum(inputs[0][0], 0), np.maximum(inputs[0][1], 0)
        saturates = bool((high > STATE_MAX).any() or (low < -STATE_MAX).any())
        held = np.maximum(low, -STATE_MAX), np.minimum(high, STATE_MAX)
        return Bound(*held, {"s": held}, saturates)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The state after the step."""
        return (Variable("s", "int32", self.size),)
