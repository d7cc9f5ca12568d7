"""``LIF``: leaky integrate-and-fire neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.integers.membranes import bound_membrane
from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE, STATE_MAX
from neuromorphic.integers.resets import RESETS
from neuromorphic.integers.symbols import Bound, Range
from neuromorphic.ops.base import (
    MAX_SHIFT,
    Operation,
    State,
    Variable,
    check_lengths,
    checked_array,
    checked_choice,
    checked_integer,
    operation,
    total,
)


@operation
@dataclass(frozen=True, eq=False)
class LIF(Operation):
    """Leaky integrate-and-fire neurons. A step does this in order, where ``n`` is the sum of the sources.

    1. ``r = v > threshold``, with the membrane before the step
    2. ``v = 0`` where ``r``, if the reset forgets (``zero_delayed``)
    3. ``u = sat(tz(v * decay, 12) + (n << shift) + bias - l)``, where ``l`` is 0, or the threshold where ``r`` if the
       reset lowers (``subtract_snntorch``, ``subtract_delayed``)
    4. ``u = 0`` where ``r``, if the reset loses the input (``zero_with_input``)
    5. ``spike = u > threshold``: a membrane exactly at the threshold does not spike
    6. the new ``v`` is 0 where the neuron spiked (``zero``), ``sat(u - spike * threshold + l)`` (``subtract``,
       ``subtract_snntorch``), or ``u`` (all others)

    What each reset does is one line of the table :data:`neuromorphic.integers.resets.RESETS`. ``subtract_snntorch`` is
    snnTorch's ``Leaky(reset_mechanism="subtract", reset_delay=False)``: it differs from ``subtract`` only where a
    membrane is still above the threshold after its reset, by an input of more than two thresholds.
    ``subtract_delayed`` and ``zero_delayed`` are snnTorch's ``Leaky(reset_delay=True)``, which resets one step late.
    ``zero_with_input`` is the late reset to zero of snnTorch's other neurons.

    Parameters
    ----------
    name : str
        Name of the operation.
    sources : tuple of str
        Values; they are added.
    decay : NDArray[np.int32]
        Q0.12, 0..4096, ``[N]``.
    threshold : NDArray[np.int32]
        0..STATE_MAX, in state units, ``[N]``.
    bias : NDArray[np.int32]
        Within the 24-bit state range, in state units, ``[N]``.
    shift : int
        Fractional bits of the state relative to the current, 0..16.
    reset : str
        One of :data:`neuromorphic.integers.resets.RESETS`.

    References
    ----------
    Lava 0.10 ``LIF`` fixed-point model with ``du=4095`` (``shift=6``, ``reset="zero"``); snnTorch 1.0 ``Leaky``,
    ``RLeaky``, ``Synaptic``.
    """

    name: str
    sources: tuple[str, ...]
    decay: NDArray[np.int32]
    threshold: NDArray[np.int32]
    bias: NDArray[np.int32]
    shift: int
    reset: str = "zero"
    kind: ClassVar[str] = "events"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        for name, low, high in (("decay", 0, DECAY_ONE), ("threshold", 0, STATE_MAX), ("bias", -STATE_MAX, STATE_MAX)):
            object.__setattr__(self, name, checked_array(self.name, name, getattr(self, name), np.int32, 1, low, high))
        check_lengths(self.name, decay=self.decay, threshold=self.threshold, bias=self.bias)
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)
        checked_choice(self.name, "reset", self.reset, tuple(RESETS))

    def states(self) -> dict[str, State]:
        """Return the membrane, zero at first."""
        return {"v": State((self.size,))}

    def step(self, xp: Any, state: Any, *currents: Any) -> Any:
        """Integrate, compare, spike, reset."""
        return self.fire(xp, state, self.threshold, total(currents))

    def fire(self, xp: Any, state: Any, threshold: Any, current: Any) -> Any:
        """Make a step with these thresholds."""
        before, after = RESETS[self.reset]
        v = state.v
        above = v > threshold if before != "nothing" else None  # before the step
        if before == "forget":
            v = xp.where(above, 0, v)
        u = xp.toward_zero(v * self.decay, DECAY_BITS) + (current << self.shift) + self.bias
        lowered = xp.where(above, threshold, 0) if before == "lower" else None
        u = xp.saturate(u - lowered if before == "lower" else u)
        if before == "lose":
            u = xp.where(above, 0, u)
        spiked = u > threshold
        if after == "zero":
            u = xp.where(spiked, 0, u)
        elif after == "subtract":
            u = xp.where(spiked, u - threshold, u)
            u = xp.saturate(u + lowered) if before == "lower" else u
        state.v = u
        state.spikes = xp.where(spiked, 1, 0)
        return state.spikes

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Follow the membrane to its worst case; the bound is that before it saturates and is reset."""
        return bound_membrane(
            self, inputs, num_steps, decay=self.decay, thresholds=self.threshold_range, reset=RESETS[self.reset]
        )

    @property
    def threshold_range(self) -> Range:
        """Lowest and highest threshold of every neuron."""
        return self.threshold.astype(np.int64), self.threshold.astype(np.int64)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.threshold.shape[0])

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Spikes, and the membrane after the step."""
        return (Variable("spikes", "uint8", self.size), Variable("v", "int32", self.size))
