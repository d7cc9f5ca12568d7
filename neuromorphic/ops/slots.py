"""``Slots``: winner-take-all memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import BoundError, ProgramError
from neuromorphic.integers.numbers import STATE_MAX
from neuromorphic.integers.symbols import Bound, Range, uniform
from neuromorphic.ops.base import OneSource, State, Variable, checked_array, checked_flag, checked_integer, operation

MEMORY_BITS = 22
"""Fractional bits of the fast half, whose values lie in 0..1."""
_FINGERPRINT = (1 << 31) - 1


@operation
@dataclass(frozen=True, eq=False)
class Slots(OneSource):
    """A memory of spike patterns: the slot that matches best is read; then all slots fade and the best one learns.

    1. ``w = argmax_m sum_h keys[m, h] * x[h]``; of equal sums the lowest index wins
    2. ``y = gain * keys[w] + (E[w] >> shift)``
    3. if ``plastic``, with the old ``E[w]``: ``E[m] -= E[m] >> decay_bits`` for all ``m``, then
       ``E[w] += (x << (22 - rate_bits)) - (E[w] >> rate_bits)``

    ``E`` has 22 fractional bits and stays in 0..2^22. A recording stores its fingerprint, the sum of ``E[i] * (i + 1)``
    over the flattened slots modulo 2^31, in place of hundreds of thousands of values per step.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Spikes.
    keys : NDArray[np.int8]
        Slow half, ternary, ``[M, H]``.
    gain : int
        What an entry of ``keys`` is worth in the output.
    shift : int
        Bits that the output has less than the fast half, 0..22.
    decay_bits, rate_bits : int
        2..12 and 1..12.
    fast : NDArray[np.int32], optional
        Fast half at the start of every sample, 0..2**22, ``[M, H]``; ``None``: zeros.
    plastic : bool
        ``False``: the fast half stays as it is.
    """

    name: str
    source: str
    keys: NDArray[np.int8]
    gain: int
    shift: int
    decay_bits: int = 6
    rate_bits: int = 2
    fast: NDArray[np.int32] | None = None
    plastic: bool = True
    kind: ClassVar[str] = "values"
    accepts: ClassVar[tuple[str, ...]] = ("events",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", checked_array(self.name, "keys", self.keys, np.int8, 2, -1, 1))
        checked_integer(self.name, "gain", self.gain, -STATE_MAX, STATE_MAX)
        checked_integer(self.name, "shift", self.shift, 0, MEMORY_BITS)
        checked_integer(self.name, "decay_bits", self.decay_bits, 2, 12)
        checked_integer(self.name, "rate_bits", self.rate_bits, 1, 12)
        checked_flag(self.name, "plastic", self.plastic)
        if self.fast is not None:
            fast = checked_array(self.name, "fast", self.fast, np.int32, 2, 0, 1 << MEMORY_BITS)
            if fast.shape != self.keys.shape:
                raise ProgramError(
                    f"{self.name}: fast must be {list(self.keys.shape)} like keys, got {list(fast.shape)}"
                )
            object.__setattr__(self, "fast", fast)

    def states(self) -> dict[str, State]:
        """Return the fast half."""
        return {"slots": State(self.keys.shape, 0 if self.fast is None else self.fast)}

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Ask, read, fade and learn."""
        E = state.slots
        state.winner = xp.argmax(xp.product(self.keys, x))
        best = xp.row(E, state.winner)
        state.read = xp.row(self.keys, state.winner) * self.gain + (best >> self.shift)
        if self.plastic:
            learned = (
                best - (best >> self.decay_bits) + (x << (MEMORY_BITS - self.rate_bits)) - (best >> self.rate_bits)
            )
            E = xp.set_row(E - (E >> self.decay_bits), state.winner, learned)
        state.slots = E
        marks = xp.reshape(E, self.keys.shape[0] * self.size) * xp.constant(_places(self.keys.shape[0] * self.size))
        state.E = xp.reshape(xp.sum(marks & _FINGERPRINT), 1) & _FINGERPRINT
        return state.read

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Use that the fast half stays in 0..2**22, which was checked for all of its values."""
        low, high = int(inputs[0][0].min()), int(inputs[0][1].max())
        if (low, high) != (0, 1):
            raise BoundError(f"{self.name}: its source must give spikes, 0 or 1, got events in {low}..{high}")
        fast = (1 << MEMORY_BITS) >> self.shift if self.plastic or self.fast is not None else 0
        gain = abs(self.gain)
        low_end, high_end = uniform(self.size, -gain, gain + fast)
        full = 1 << MEMORY_BITS if self.plastic or self.fast is not None else 0
        return Bound(low_end, high_end, {"slots": (np.asarray(0), np.asarray(full))})

    @property
    def weight_bytes(self) -> int:
        """Bytes of its keys, which are ternary, when packed."""
        return -(-self.keys.size // 4)

    @property
    def size(self) -> int:
        """Number of outputs, H."""
        return int(self.keys.shape[1])

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The winner, what was read, and the fingerprint of the fast half after the step."""
        return (Variable("winner", "int32", 1), Variable("read", "int32", self.size), Variable("E", "int32", 1))


@cache
def _places(size: int) -> NDArray[np.int64]:
    """Return 1..size, the same array every time: a back end holds a constant by its identity."""
    return np.arange(1, size + 1, dtype=np.int64)
