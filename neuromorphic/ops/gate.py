"""``Gate``, a sigmoid from a table, and ``Multiply``, values multiplied by it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE, STATE_MAX
from neuromorphic.ops.base import MAX_SHIFT, MAX_SIZE, Gated, OneSource, checked_array, checked_integer, operation

GATE_INPUT_BITS = 8
"""Fractional bits of a gate's input."""
_LAST = (1 << 12) - 1


def _sigmoid_table() -> NDArray[np.int32]:
    values = [math.floor(DECAY_ONE / (1.0 + math.exp(-i / (1 << GATE_INPUT_BITS))) + 0.5) for i in range(_LAST + 1)]
    return np.array(values, dtype=np.int32)


SIGMOID = _sigmoid_table()
"""``SIGMOID[i] = floor(4096 * sigmoid(i / 256) + 1/2)``, ``i`` in 0..4095. No entry lies near a tie, so any correct
exponential gives the same integers."""
BOTH_SIDES = np.concatenate((DECAY_ONE - SIGMOID[:0:-1], SIGMOID))
"""``BOTH_SIDES[i + 4095] = 4096 * sigmoid(i / 256)``, ``i`` in -4095..4095."""
SIGMOID.setflags(write=False)
BOTH_SIDES.setflags(write=False)


@operation
@dataclass(frozen=True, eq=False)
class Gate(OneSource):
    """A sigmoid of ``y / 256`` in Q0.12, from a table, with ``y = x + offset``.

    With ``a = min(|y|, 4095)`` the gate is ``S[a]`` where ``y >= 0`` and ``4096 - S[a]`` elsewhere, and
    ``S[i] = floor(4096 / (1 + e^(-i/256)) + 1/2)`` for ``i`` in 0..4095. The entries lie at least 0.00017 from a
    tie, so any correct exponential leads to the same integers: ``S[0] = 2048``, ``S[256] = 2994``, ``S[2048] = 4095``
    and ``S[4095] = 4096``.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Values in units of 1/256.
    offset : NDArray[np.int32]
        Added to them, ``[N]``.
    """

    name: str
    source: str
    offset: NDArray[np.int32]
    kind: ClassVar[str] = "gate"

    def __post_init__(self) -> None:
        offset = checked_array(self.name, "offset", self.offset, np.int32, 1, -STATE_MAX, STATE_MAX)
        object.__setattr__(self, "offset", offset)

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Look the sigmoid up."""
        return xp.take(BOTH_SIDES, xp.clip(x + self.offset, -_LAST, _LAST) + _LAST)

    @property
    def size(self) -> int:
        """Number of gates."""
        return int(self.offset.shape[0])


@operation
@dataclass(frozen=True)
class Multiply(Gated):
    """Values multiplied by a gate: ``y = tz(x * gate, 12 + shift)``.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Values.
    gate : str
        A ``Gate``.
    size : int
        Number of units.
    shift : int
        Right shift of the result, rounding toward zero, 0..16.
    """

    name: str
    source: str
    gate: str
    size: int
    shift: int = 0
    kind: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        checked_integer(self.name, "size", self.size, 1, MAX_SIZE)
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)

    def step(self, xp: Any, state: Any, x: Any, gate: Any) -> Any:
        """Multiply, and shift toward zero."""
        return xp.toward_zero(x * gate, DECAY_BITS + self.shift)
