"""``ShiftLIF``: neurons that leak by a bit shift and fire several spikes in one step, as SynSense's Xylo has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ops.base import Operation, State, Variable, check_lengths, checked_array, operation, total

LOWEST, HIGHEST = -(1 << 15), (1 << 15) - 1
"""Ends of the 16 bits of its states."""
MOST_SPIKES = 31
MOST_LEAK = 15


@operation
@dataclass(frozen=True, eq=False)
class ShiftLIF(Operation):
    """Neurons with a synaptic current ``i`` and a membrane ``v``, both of 16 bits and saturating, in this order.

    1. ``i = leak(sat16(i + n), synapse_shift)``, where ``n`` is the sum of the sources
    2. ``u = sat16(leak(v, membrane_shift) + i + bias)``
    3. ``spikes = min(u // threshold, 31)`` where ``u >= threshold``, else 0: up to 31 spikes in one step
    4. ``v = u - spikes * threshold``

    ``leak(x, k)`` is ``x - (x >> k)``, and at most ``x - 1`` where ``x > 0``. The number of spikes is found bit by bit,
    with five comparisons: nothing is divided. Unlike in a :class:`LIF`, a membrane exactly at the threshold spikes.

    Xylo saturates ``i`` after each single synapse; this operation saturates their sum. The two are equal where no
    partial sum leaves 16 bits.

    Parameters
    ----------
    name : str
        Name of the operation.
    sources : tuple of str
        Values; they are added.
    synapse_shift, membrane_shift : NDArray[np.int32]
        How slowly current and membrane leak: the part that leaks is ``2**-shift``, 0..15, ``[N]``.
    threshold : NDArray[np.int32]
        1..32767, ``[N]``.
    bias : NDArray[np.int32]
        16 bits, ``[N]``.

    References
    ----------
    SynSense's simulator ``xylosim`` (Xylo, version 2), on whose networks the step was compared.
    """

    name: str
    sources: tuple[str, ...]
    synapse_shift: NDArray[np.int32]
    membrane_shift: NDArray[np.int32]
    threshold: NDArray[np.int32]
    bias: NDArray[np.int32]
    kind: ClassVar[str] = "events"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        for name, low, high in (
            ("synapse_shift", 0, MOST_LEAK),
            ("membrane_shift", 0, MOST_LEAK),
            ("threshold", 1, HIGHEST),
            ("bias", LOWEST, HIGHEST),
        ):
            object.__setattr__(self, name, checked_array(self.name, name, getattr(self, name), np.int32, 1, low, high))
        shifts = {"synapse_shift": self.synapse_shift, "membrane_shift": self.membrane_shift}
        check_lengths(self.name, **shifts, threshold=self.threshold, bias=self.bias)

    def states(self) -> dict[str, State]:
        """Return current and membrane, zero at first."""
        return {"i": State((self.size,)), "v": State((self.size,))}

    def step(self, xp: Any, state: Any, *currents: Any) -> Any:
        """Integrate, leak, count the spikes, and subtract their thresholds."""
        state.i = _leaked(xp, xp.clip(state.i + total(currents), LOWEST, HIGHEST), self.synapse_shift)
        left = xp.clip(_leaked(xp, state.v, self.membrane_shift) + state.i + self.bias, LOWEST, HIGHEST)
        state.spikes = 0
        for spikes in (16, 8, 4, 2, 1):
            lost = self.threshold * spikes
            fires = left >= lost
            left = xp.where(fires, left - lost, left)
            state.spikes = xp.where(fires, spikes, 0) + state.spikes
        state.v = left
        return state.spikes

    @property
    def event_range(self) -> tuple[int, int]:
        """Up to 31 spikes."""
        return (0, MOST_SPIKES)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.threshold.shape[0])

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Spikes, synaptic current and membrane after the step."""
        names = (("spikes", "uint8"), ("i", "int32"), ("v", "int32"))
        return tuple(Variable(name, dtype, self.size) for name, dtype in names)


def _leaked(xp: Any, x: Any, shift: Any) -> Any:
    """Return ``x - (x >> shift)``, where ``x > 0`` at least one less, in a form whose range intervals can prove."""
    rest = x - (x >> shift)
    return xp.where(x > 0, xp.where(rest >= x, x - 1, rest), rest)
