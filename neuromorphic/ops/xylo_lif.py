"""``XyloLIF``: synapses and neurons as SynSense's Xylo computes them, saturation and the order of events included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ProgramError
from neuromorphic.integers.numbers import NumPy
from neuromorphic.integers.symbols import Bound, Range, uniform
from neuromorphic.ops.base import (
    MAX_SIZE,
    Wanted,
    checked_array,
    checked_integers,
    operation,
)
from neuromorphic.ops.shift_lif import HIGHEST, LOWEST, MOST_SPIKES, ShiftNeurons, check_neurons, fired, leaked


@operation
@dataclass(frozen=True, eq=False)
class XyloLIF(ShiftNeurons):
    """The neurons of :class:`ShiftLIF` with their synapses, exactly as Xylo: every partial sum saturates to 16 bits.

    1. ``i = sat16(i + weights[:, j] * x[j])`` for ``j = 0, 1, ...``: the sources one after the other, in their order
    2. ``i = leak(i, synapse_shift)``
    3. ``d = sat16(sat16(i - fall) + bias)``, where ``fall = v - leak(v, membrane_shift)``. Where ``fall`` is -32768,
       which is where ``v`` is and ``membrane_shift`` is 0, 16 bits hold no ``-fall``: -32768 stands for it
    4. ``u = sat16(v + d)``
    5. ``spikes = min(u // threshold, most_spikes)`` where ``u >= threshold``, else 0; ``v = u - spikes * threshold``

    Where no partial sum leaves 16 bits, this is a ``Dense`` of all sources and a ``ShiftLIF``, and the order says
    nothing. Whether that is proven, a program's bounds say: ``can_saturate`` is false there.

    Parameters
    ----------
    name : str
        Name of the operation.
    sources : tuple of str
        Events, in the order in which they are delivered.
    widths : tuple of int
        Units of each source.
    weights : NDArray[np.int8]
        ``[N, sum of widths]``, -128..127: of the units of the first source, then of the second, ...
    synapse_shift, membrane_shift : NDArray[np.int32]
        How slowly current and membrane leak: the part that leaks is ``2**-shift``, 0..15, ``[N]``.
    threshold : NDArray[np.int32]
        1..32767, ``[N]``.
    bias : NDArray[np.int32]
        16 bits, ``[N]``.
    most_spikes : int
        1..31: spikes that a neuron can fire in one step. On Xylo hidden neurons fire up to 31, output neurons 1.

    References
    ----------
    SynSense's simulator ``xylosim`` 0.1.3 (``xylosim.v2``: Xylo's second SNN core), to which it is held equal.
    """

    name: str
    sources: tuple[str, ...]
    widths: tuple[int, ...]
    weights: NDArray[np.int8]
    synapse_shift: NDArray[np.int32]
    membrane_shift: NDArray[np.int32]
    threshold: NDArray[np.int32]
    bias: NDArray[np.int32]
    most_spikes: int = MOST_SPIKES
    accepts: ClassVar[tuple[str, ...]] = ("events",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        object.__setattr__(self, "weights", checked_array(self.name, "weights", self.weights, np.int8, 2, -128, 127))
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ProgramError(f"{self.name}: sources must be one or more, each once, got {list(self.sources)}")
        widths = checked_integers(self.name, "widths", self.widths, len(self.sources), 1, MAX_SIZE)
        object.__setattr__(self, "widths", widths)
        check_neurons(self)
        if self.weights.shape != (self.size, sum(widths)):
            raise ProgramError(
                f"{self.name}: weights must be [{self.size}, {sum(widths)}], a row for each neuron and a column for "
                f"each unit of the sources, got {list(self.weights.shape)}"
            )

    def step(self, xp: Any, state: Any, *events: Any) -> Any:
        """Deliver the events in order, leak, integrate, count the spikes, and subtract their thresholds."""
        state.i = leaked(xp, self._delivered(xp, state.i, events), self.synapse_shift)
        fall = state.v - leaked(xp, state.v, self.membrane_shift)
        change = xp.clip(state.i + xp.where(fall > LOWEST, 0 - fall, LOWEST), LOWEST, HIGHEST)
        u = xp.clip(state.v + xp.clip(change + self.bias, LOWEST, HIGHEST), LOWEST, HIGHEST)
        state.spikes, state.v = fired(xp, u, self.threshold, self.most_spikes)
        return state.spikes

    def _delivered(self, xp: Any, i: Any, events: tuple[Any, ...]) -> Any:
        first = 0
        for x, width in zip(events, self.widths, strict=True):
            i = xp.deliver(self.weights[:, first : first + width], x, i, LOWEST, HIGHEST)
            first += width
        return i

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Bound the states in closed form; ``saturates`` says whether a partial sum could leave 16 bits.

        A state that leaks by ``2**-shift`` and gets at most ``most`` per step stays below ``(most + 1) << shift``, and
        one that gets at least ``-most`` stays at or above ``-(most << shift)``: there the leak takes what comes.
        """
        low, high = (np.concatenate(ends) for ends in zip(*inputs, strict=True))
        brought = np.stack([self.weights * low.astype(np.int64), self.weights * high.astype(np.int64)])
        drive = np.minimum(brought.min(axis=0), 0).sum(axis=1), np.maximum(brought.max(axis=0), 0).sum(axis=1)
        i = _settled(drive, self.synapse_shift, num_steps)
        after = _leaked_range(i, self.synapse_shift)
        v = _settled((after[0] + self.bias, after[1] + self.bias), self.membrane_shift, num_steps)
        once = np.maximum(after[1] + self.bias, 0) + self.threshold - 1  # where it always comes below the threshold
        v = v[0], np.where(once < (self.most_spikes + 1) * self.threshold, np.minimum(v[1], once), v[1])
        kept = _leaked_range(v, self.membrane_shift)
        change = after[0] - (v[1] - kept[1]), after[1] - (v[0] - kept[0])
        sums = (i, v, change, (change[0] + self.bias, change[1] + self.bias))
        if all(bool((least >= LOWEST).all() and (most <= HIGHEST).all()) for least, most in sums):
            return Bound(*v, {"i": after, "v": v})
        whole = uniform(self.size, LOWEST, HIGHEST)
        return Bound(*whole, {"i": whole, "v": whole}, saturates=True)

    @property
    def weight_bytes(self) -> int:
        """Bytes of its weights."""
        return self.weights.size

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """Events, one for each column of the weights."""
        return tuple(
            Wanted(source, ("events",), width) for source, width in zip(self.sources, self.widths, strict=True)
        )


def _settled(drive: Range, shift: NDArray[np.int32], num_steps: int) -> Range:
    """Return what a leaky state cannot leave, before it leaks, that gets ``drive`` in every step."""
    down, up = np.maximum(-drive[0], 0), np.maximum(drive[1], 0)
    low, high = down << shift, ((up + 1) << shift) - 1
    return -np.minimum(low, down * num_steps), np.where(up > 0, np.minimum(high, up * num_steps), 0)


def _leaked_range(x: Range, shift: NDArray[np.int32]) -> Range:
    """Return the range of a state after it has leaked, with 0, where it starts."""
    low, high = (leaked(NumPy(), end, shift) for end in x)
    return np.minimum(low, 0), np.maximum(high, 0)
