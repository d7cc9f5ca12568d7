"""``LI``, leaky integrators that never spike, and ``Readout``, running sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.integers.membranes import bound_membrane
from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE, STATE_MAX
from neuromorphic.integers.symbols import Bound, Range
from neuromorphic.ops.base import (
    MAX_SHIFT,
    Operation,
    State,
    Variable,
    check_lengths,
    checked_array,
    checked_integer,
    operation,
    total,
)


@operation
@dataclass(frozen=True, eq=False)
class LI(Operation):
    """Leaky integrators that never spike: ``v = sat(tz(v * decay, 12) + (n << shift) + bias)``; the output is ``v``.

    ``n`` is the sum of the sources.

    Parameters
    ----------
    name : str
        Name of the operation.
    sources : tuple of str
        Values; they are added.
    decay, bias : NDArray[np.int32]
        Q0.12 in 0..4096, and state units within 24 bits, ``[N]``.
    shift : int
        Fractional bits of the state relative to the input, 0..16.
    """

    name: str
    sources: tuple[str, ...]
    decay: NDArray[np.int32]
    bias: NDArray[np.int32]
    shift: int = 0
    kind: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        for name, low, high in (("decay", 0, DECAY_ONE), ("bias", -STATE_MAX, STATE_MAX)):
            object.__setattr__(self, name, checked_array(self.name, name, getattr(self, name), np.int32, 1, low, high))
        check_lengths(self.name, decay=self.decay, bias=self.bias)
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)

    def states(self) -> dict[str, State]:
        """Return the integral, zero at first."""
        return {"v": State((self.size,))}

    def step(self, xp: Any, state: Any, *currents: Any) -> Any:
        """Leak, and add the input."""
        held = xp.toward_zero(state.v * self.decay, DECAY_BITS)
        state.v = xp.saturate(held + (total(currents) << self.shift) + self.bias)
        return state.v

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Follow the state to its worst case; it flows onward once it has saturated."""
        bound = bound_membrane(self, inputs, num_steps, decay=self.decay)
        return bound._replace(low=bound.states["v"][0], high=bound.states["v"][1])

    @property
    def size(self) -> int:
        """Number of integrators."""
        return int(self.decay.shape[0])

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The state after the step."""
        return (Variable("v", "int32", self.size),)


@operation
@dataclass(frozen=True, eq=False)
class Readout(Operation):
    """A running sum per class: ``y = sat(y + (n << shift) + bias)``, where ``n`` is the sum of the sources.

    The label of a sample is the argmax of ``y`` after the last step, or after step ``lengths[b] - 1`` where ``run`` was
    given lengths; of equal values the lowest index wins. Of several read-outs the last one in program order decides.

    Parameters
    ----------
    name : str
        Name of the operation.
    sources : tuple of str
        Values; they are added.
    bias : NDArray[np.int32]
        Added every step, in the units of the sum, ``[N]``.
    shift : int
        Fractional bits of the sum relative to the current, 0..16.
    """

    name: str
    sources: tuple[str, ...]
    bias: NDArray[np.int32]
    shift: int
    kind: ClassVar[str] = "sum"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        bias = checked_array(self.name, "bias", self.bias, np.int32, 1, -STATE_MAX, STATE_MAX)
        object.__setattr__(self, "bias", bias)
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)

    def states(self) -> dict[str, State]:
        """Return the sum, zero at first."""
        return {"y": State((self.size,))}

    def step(self, xp: Any, state: Any, *currents: Any) -> Any:
        """Add the input and the bias."""
        state.y = xp.saturate(state.y + (total(currents) << self.shift) + self.bias)
        return state.y

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Follow the sum to its worst case, before it saturates."""
        return bound_membrane(self, inputs, num_steps, decay=np.full(self.size, DECAY_ONE))

    @property
    def size(self) -> int:
        """Number of classes."""
        return int(self.bias.shape[0])

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The running sum."""
        return (Variable("y", "int32", self.size),)
