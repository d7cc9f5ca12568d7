"""``AdaptiveLIF``: neurons whose thresholds rise with every spike and decay back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.integers.membranes import bound_membrane
from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE, STATE_MAX
from neuromorphic.integers.resets import RESETS
from neuromorphic.integers.symbols import Bound, Range
from neuromorphic.ops.base import State, Variable, check_lengths, checked_array, checked_choice, operation, total
from neuromorphic.ops.li import LI
from neuromorphic.ops.lif import LIF

INPUT_STEPS = ("same", "previous")


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class AdaptiveLIF(LIF):
    """LIF neurons whose thresholds rise by a jump with every spike and decay back to where they rest.

    Each neuron holds ``a``, by how much its threshold is raised. A step does this in order:

    1. ``a = tz(a * adaptation_decay, 12)``
    2. the step of a ``LIF`` with the threshold ``min(threshold + a, 2^23 - 1)``; with ``input_step = "previous"`` its
       ``n`` is the sum of the sources in the step before, 0 in the first
    3. ``a = sat(a + spike * adaptation_jump)``

    Parameters
    ----------
    name, sources, decay, threshold, bias, shift, reset
        Of a ``LIF``; ``threshold`` is that of a neuron that has not spiked.
    adaptation_decay : NDArray[np.int32]
        Q0.12, 0..4096, ``[N]``.
    adaptation_jump : NDArray[np.int32]
        0..STATE_MAX, in state units, ``[N]``.
    input_step : str
        ``"same"``, or ``"previous"``: the membrane sees the current of the step before.

    References
    ----------
    Bellec et al. 2018, Long short-term memory and learning-to-learn in networks of spiking neurons, arXiv:1803.09574.
    With ``input_step="previous"`` behind an ``LI`` it is Norse 1.1's ``LSNNCell`` (``functional/lsnn.py``).
    """

    adaptation_decay: NDArray[np.int32]
    adaptation_jump: NDArray[np.int32]
    input_step: str = "same"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, high in (("adaptation_decay", DECAY_ONE), ("adaptation_jump", STATE_MAX)):
            object.__setattr__(self, name, checked_array(self.name, name, getattr(self, name), np.int32, 1, 0, high))
        fields = {"adaptation_decay": self.adaptation_decay, "adaptation_jump": self.adaptation_jump}
        check_lengths(self.name, threshold=self.threshold, **fields)
        checked_choice(self.name, "input_step", self.input_step, INPUT_STEPS)

    def states(self) -> dict[str, State]:
        """Return the membrane, by how much thresholds are raised, and the current if it is read a step late."""
        late = {"current": State((self.size,))} if self.input_step == "previous" else {}
        return {**super().states(), "a": State((self.size,)), **late}

    def step(self, xp: Any, state: Any, *currents: Any) -> Any:
        """Let the thresholds decay, fire, and raise those of the neurons that did."""
        current = total(currents)
        if self.input_step == "previous":
            state.current, current = current, state.current
        raised = xp.toward_zero(state.a * self.adaptation_decay, DECAY_BITS)
        spikes = self.fire(xp, state, xp.saturate(raised + self.threshold), current)
        state.a = xp.saturate(raised + spikes * self.adaptation_jump)
        return spikes

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Follow the membrane as that of a ``LIF`` whose threshold is anywhere between its rest and its highest."""
        if self.input_step == "previous":  # there is no current in the first step
            inputs = [(np.minimum(low, 0), np.maximum(high, 0)) for low, high in inputs]
        jump = self.adaptation_jump.astype(np.int64)
        every = LI(self.name, self.sources, self.adaptation_decay, 0 * self.adaptation_jump)  # a spike in every step
        raised = bound_membrane(every, [(np.zeros_like(jump), jump)], num_steps, decay=self.adaptation_decay)
        lowest = self.threshold.astype(np.int64)
        thresholds = (lowest, np.minimum(lowest + raised.states["v"][1], STATE_MAX))
        reset = RESETS[self.reset]
        bound = bound_membrane(self, inputs, num_steps, decay=self.decay, thresholds=thresholds, reset=reset)
        states = {**bound.states, "a": raised.states["v"]}
        if self.input_step == "previous":
            low, high = (np.sum([source[side] for source in inputs], axis=0) for side in (0, 1))
            states["current"] = (np.broadcast_to(low, (self.size,)), np.broadcast_to(high, (self.size,)))
        return bound._replace(states=states)

    @property
    def threshold_range(self) -> Range:
        """From that of a neuron which has not spiked to the largest there is."""
        return self.threshold.astype(np.int64), np.full(self.size, STATE_MAX, dtype=np.int64)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Spikes, the membrane after the step, and by how much the threshold of the next one is raised."""
        return (*super().variables, Variable("a", "int32", self.size))
