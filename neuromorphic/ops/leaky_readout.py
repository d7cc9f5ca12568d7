"""``LeakyReadout``: sums per class that forget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.integers.membranes import bound_membrane
from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE
from neuromorphic.integers.symbols import Bound, Range
from neuromorphic.ops.base import check_lengths, checked_array, operation, total
from neuromorphic.ops.li import Readout


@operation
@dataclass(frozen=True, eq=False)
class LeakyReadout(Readout):
    """A leaky sum per class: ``y = sat(tz(y * decay, 12) + (n << shift) + bias)``; ``n`` is the sum of the sources.

    The label is the argmax of ``y`` after the last step, as that of a ``Readout``. With a decay of 0 it is that of the
    last step alone.

    Parameters
    ----------
    name, sources, bias, shift
        As of a ``Readout``.
    decay : NDArray[np.int32]
        Q0.12, 0..4096, ``[N]``.
    """

    decay: NDArray[np.int32]

    def __post_init__(self) -> None:
        super().__post_init__()
        decay = checked_array(self.name, "decay", self.decay, np.int32, 1, 0, DECAY_ONE)
        object.__setattr__(self, "decay", decay)
        check_lengths(self.name, decay=self.decay, bias=self.bias)

    def step(self, xp: Any, state: Any, *currents: Any) -> Any:
        """Leak, and add the input and the bias."""
        held = xp.toward_zero(state.y * self.decay, DECAY_BITS)
        state.y = xp.saturate(held + (total(currents) << self.shift) + self.bias)
        return state.y

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Follow the sum to its worst case, before it saturates."""
        return bound_membrane(self, inputs, num_steps, decay=self.decay)
