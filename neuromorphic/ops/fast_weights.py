"""``FastWeights``: a matrix that the activity writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from neuromorphic.errors import BoundError
from neuromorphic.integers.membranes import grown
from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE, INT32_MAX, STATE_MAX
from neuromorphic.integers.symbols import Bound, Range, uniform
from neuromorphic.ops.base import OneSource, State, Variable, checked_choice, checked_integer, operation

KEY_BITS = 12
KEY_ONE = 1 << KEY_BITS
"""Keys are Q0.12 in -4096..4096."""
FAST_RULES = ("hebbian", "delta")


@operation
@dataclass(frozen=True)
class FastWeights(OneSource):
    """A matrix ``F`` into which the pair (key, previous key) is written, and which is then read with the key.

    1. ``k = clip(x, -4096, 4096)``
    2. with the previous key ``p``, ``target = k`` (``"hebbian"``) or
       ``target = sat(k - tz(sum_j F[i, j] * p[j], frac))`` (``"delta"``)
    3. ``F[i, j] = sat(tz(F[i, j] * decay, 12) + tz(target[i] * p[j], 24 + rate_bits - frac))``
    4. ``y[i] = tz(sum_j F[i, j] * k[j], frac)``, then ``p = k``

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Values in Q.12, clipped to keys.
    size : int
        Rank r.
    decay : int
        Q0.12, 0..4096.
    rate_bits : int
        A pair is written with the weight ``2**-rate_bits``, 0..12.
    frac : int
        Fractional bits of the matrix, 0..22.
    rule : str
        ``"hebbian"`` or ``"delta"``.

    References
    ----------
    Ba et al. 2016, arXiv:1610.06258; Schlag et al. 2021, arXiv:2102.11174 (delta rule); in integers: own.
    """

    name: str
    source: str
    size: int
    decay: int
    rate_bits: int
    frac: int
    rule: str = "hebbian"
    kind: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        checked_integer(self.name, "size", self.size, 1, 4096)
        checked_integer(self.name, "decay", self.decay, 0, DECAY_ONE)
        checked_integer(self.name, "rate_bits", self.rate_bits, 0, KEY_BITS)
        checked_integer(self.name, "frac", self.frac, 0, 22)
        checked_choice(self.name, "rule", self.rule, FAST_RULES)

    def states(self) -> dict[str, State]:
        """Return the matrix, row by row, and the previous key, zeros at first."""
        return {"F": State((self.size * self.size,)), "key": State((self.size,))}

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Write, then read."""
        r = self.size
        key = xp.clip(x, -KEY_ONE, KEY_ONE)
        F, previous = xp.reshape(state.F, r, r), xp.reshape(state.key, 1, r)
        target = key if self.rule == "hebbian" else xp.saturate(key - self._read(xp, F, previous))
        pair = xp.toward_zero(xp.reshape(target, r, 1) * previous, self.pair_shift)
        F = xp.saturate(xp.toward_zero(F * self.decay, DECAY_BITS) + pair)
        state.F, state.key = xp.reshape(F, r * r), key
        return self._read(xp, F, xp.reshape(key, 1, r))

    def _read(self, xp: Any, F: Any, key: Any) -> Any:
        return xp.toward_zero(xp.sum(F * key), self.frac)

    @property
    def pair_shift(self) -> int:
        """Bits by which the product of two keys is shifted to the right."""
        return 2 * KEY_BITS + self.rate_bits - self.frac

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Follow the largest entry that full keys can write."""
        held = self._held(num_steps)
        peak = held * KEY_ONE * self.size >> self.frac
        if peak > INT32_MAX:
            raise BoundError(
                f"{self.name}: the value of neuron 0 can reach {peak}, int32 holds {INT32_MAX}; "
                "lower the shift, the fan-in or the input range"
            )
        ends = {"F": (np.asarray(-held), np.asarray(held)), "key": (np.asarray(-KEY_ONE), np.asarray(KEY_ONE))}
        low, high = uniform(self.size, -peak, peak)
        return Bound(low, high, ends)

    def _held(self, num_steps: int) -> int:
        """Return how large an entry of the matrix can be after so many steps."""
        if self.rule != "hebbian":
            return STATE_MAX
        written = (1 << 2 * KEY_BITS) >> self.pair_shift  # at most, of two full keys
        return grown(self.decay, written, STATE_MAX, 0, num_steps)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The matrix after the write, row by row, and the key."""
        return (Variable("F", "int32", self.size * self.size), Variable("key", "int32", self.size))
