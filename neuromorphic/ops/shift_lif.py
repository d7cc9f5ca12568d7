"""``ShiftLIF``: neurons that leak by a bit shift and fire several spikes in one step, as SynSense's Xylo has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ops.base import (
    Operation,
    State,
    Variable,
    check_lengths,
    checked_array,
    checked_integer,
    operation,
    total,
)

LOWEST, HIGHEST = -(1 << 15), (1 << 15) - 1
"""Ends of the 16 bits of its states."""
MOST_SPIKES = 31
MOST_LEAK = 15
PARAMETERS = (
    ("synapse_shift", 0, MOST_LEAK),
    ("membrane_shift", 0, MOST_LEAK),
    ("threshold", 1, HIGHEST),
    ("bias", LOWEST, HIGHEST),
)
"""Parameters of each neuron, and their ends."""
VARIABLES = (("spikes", "uint8"), ("i", "int32"), ("v", "int32"))


class ShiftNeurons(Operation):
    """Neurons with a current and a membrane of 16 bits that leak by shifts and fire up to ``most_spikes`` a step."""

    threshold: NDArray[np.int32]
    most_spikes: int
    kind: ClassVar[str] = "events"

    def states(self) -> dict[str, State]:
        """Return current and membrane, zero at first."""
        return {"i": State((self.size,)), "v": State((self.size,))}

    @property
    def event_range(self) -> tuple[int, int]:
        """Up to ``most_spikes``."""
        return (0, self.most_spikes)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.threshold.shape[0])

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Spikes, synaptic current and membrane after the step."""
        return tuple(Variable(name, dtype, self.size) for name, dtype in VARIABLES)


@operation
@dataclass(frozen=True, eq=False)
class ShiftLIF(ShiftNeurons):
    """Neurons with a synaptic current ``i`` and a membrane ``v``, both of 16 bits and saturating, in this order.

    1. ``i = leak(sat16(i + n), synapse_shift)``, where ``n`` is the sum of the sources
    2. ``u = sat16(leak(v, membrane_shift) + i + bias)``
    3. ``spikes = min(u // threshold, most_spikes)`` where ``u >= threshold``, else 0
    4. ``v = u - spikes * threshold``

    ``leak(x, k)`` is ``x - (x >> k)``, and at most ``x - 1`` where ``x > 0``. The number of spikes is found bit by bit,
    with five comparisons where ``most_spikes`` is 31: nothing is divided. Unlike in a :class:`LIF`, a membrane exactly
    at the threshold spikes.

    Xylo saturates ``i`` after each single synapse, and the change of ``v`` before it is added; this operation saturates
    their sums. The two are equal where no partial sum leaves 16 bits; where one can, :class:`XyloLIF` is Xylo's neuron.

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
    most_spikes : int
        1..31: spikes that a neuron can fire in one step. What is left of its membrane stays.

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
    most_spikes: int = MOST_SPIKES

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        check_neurons(self)

    def step(self, xp: Any, state: Any, *currents: Any) -> Any:
        """Integrate, leak, count the spikes, and subtract their thresholds."""
        state.i = leaked(xp, xp.clip(state.i + total(currents), LOWEST, HIGHEST), self.synapse_shift)
        u = xp.clip(leaked(xp, state.v, self.membrane_shift) + state.i + self.bias, LOWEST, HIGHEST)
        state.spikes, state.v = fired(xp, u, self.threshold, self.most_spikes)
        return state.spikes


def check_neurons(op: Any) -> None:
    """Check the parameters that neurons of this family share, and freeze their arrays."""
    for name, low, high in PARAMETERS:
        object.__setattr__(op, name, checked_array(op.name, name, getattr(op, name), np.int32, 1, low, high))
    check_lengths(op.name, **{name: getattr(op, name) for name, _, _ in PARAMETERS})
    checked_integer(op.name, "most_spikes", op.most_spikes, 1, MOST_SPIKES)


def leaked(xp: Any, x: Any, shift: Any) -> Any:
    """Return ``x - (x >> shift)``, where ``x > 0`` at least one less, in a form whose range intervals can prove."""
    rest = x - (x >> shift)
    return xp.where(x > 0, xp.where(rest >= x, x - 1, rest), rest)


def fired(xp: Any, u: Any, threshold: Any, most: int) -> tuple[Any, Any]:
    """Return how often membranes fire, at most ``most`` times, and what is left of them, by halving what is possible.

    Of 31 the parts are 16, 8, 4, 2 and 1; of any number the rest can reach what its part leaves out.
    """
    spikes: Any = 0
    while most:
        part = (most + 1) // 2
        most -= part
        lost = threshold * part
        fires = u >= lost
        u = xp.where(fires, u - lost, u)
        spikes = xp.where(fires, part, 0) + spikes
    return spikes, u
