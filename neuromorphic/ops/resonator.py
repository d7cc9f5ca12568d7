"""``Resonator``: damped oscillators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ProgramError
from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE, STATE_MAX
from neuromorphic.integers.symbols import Bound, Range
from neuromorphic.ops.base import OneSource, State, Variable, check_lengths, checked_array, operation

_NEVER = 1 << 62  # where a state settles that loses nothing


@operation
@dataclass(frozen=True, eq=False)
class Resonator(OneSource):
    """Damped oscillators, which are complex leaky integrators; the output is the real part.

    On the right stand the parts before the step:
    ``re = sat(tz(re * cosine, 12) - tz(im * sine, 12) + x)``, ``im = sat(tz(re * sine, 12) + tz(im * cosine, 12))``.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Values.
    cosine, sine : NDArray[np.int32]
        Real and imaginary part of the factor per step, Q0.12 in -4096..4096, ``[N]``; their squares add up to at most
        ``4096**2``.

    References
    ----------
    Lava 0.10 ``lava/proc/rf/models.py``: the rounding of each product.
    """

    name: str
    source: str
    cosine: NDArray[np.int32]
    sine: NDArray[np.int32]
    kind: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        for name in ("cosine", "sine"):
            part = checked_array(self.name, name, getattr(self, name), np.int32, 1, -DECAY_ONE, DECAY_ONE)
            object.__setattr__(self, name, part)
        check_lengths(self.name, cosine=self.cosine, sine=self.sine)
        squares = self._squares()
        if int(squares.max()) > DECAY_ONE**2:
            raise ProgramError(
                f"{self.name}: cosine**2 + sine**2 must be at most {DECAY_ONE**2} or it would grow, "
                f"got {int(squares.max())} at {int(squares.argmax())}"
            )

    def _squares(self) -> NDArray[np.int64]:
        squares: NDArray[np.int64] = self.cosine.astype(np.int64) ** 2 + self.sine.astype(np.int64) ** 2
        return squares

    def states(self) -> dict[str, State]:
        """Real and imaginary part, zero at first."""
        return {"re": State((self.size,)), "im": State((self.size,))}

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Turn and shorten the state, and add the input to its real part."""
        re, im = state.re, state.im
        turned = xp.toward_zero(re * self.cosine, DECAY_BITS) - xp.toward_zero(im * self.sine, DECAY_BITS)
        state.re = xp.saturate(turned + x)
        state.im = xp.saturate(
            xp.toward_zero(re * self.sine, DECAY_BITS) + xp.toward_zero(im * self.cosine, DECAY_BITS)
        )
        return state.re

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Bound ``|z|`` by ``(|x| + 2) * min(1 / (1 - r), num_steps)``, ``r`` the length of the factor, in integers.

        The rounding of four products lengthens ``z`` by less than 2. ``1 / (1 - r)`` is ``(1 + r) / (1 - r**2)``, for
        which ``r`` is rounded up at 26 bits and ``r**2`` is exact.
        """
        square = self._squares()  # (4096 r)**2
        length = np.sqrt((square << 28).astype(np.float64)).astype(np.int64)  # 2**26 r, to one of its neighbours
        length += length * length < square << 28
        left = np.int64(DECAY_ONE**2) - square
        peak = np.maximum(np.abs(inputs[0][0]), np.abs(inputs[0][1])) + 2
        settled = -(-peak * ((1 << 26) + length) // (4 * np.maximum(left, 1)))
        most = np.minimum(np.where(left > 0, settled, _NEVER), peak * num_steps)
        held = (-np.minimum(most, STATE_MAX), np.minimum(most, STATE_MAX))
        return Bound(*held, {"re": held, "im": held}, bool((most > STATE_MAX).any()))

    @property
    def size(self) -> int:
        """Number of oscillators."""
        return int(self.cosine.shape[0])

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Real and imaginary part after the step."""
        return (Variable("re", "int32", self.size), Variable("im", "int32", self.size))
