"""``Delta``, ``Sigma`` and ``ReLU``: neurons that send changes of a value, and add the changes up again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.integers.numbers import INT32_MAX
from neuromorphic.integers.symbols import Bound, Range, require_int32
from neuromorphic.ops.base import (
    MAX_SHIFT,
    MAX_SIZE,
    OneSource,
    Operation,
    State,
    Variable,
    checked_array,
    checked_integer,
    operation,
    total,
)


@operation
@dataclass(frozen=True, eq=False)
class Delta(OneSource):
    """The change of a value, sent when it is large enough.

    1. ``change = x - sent``, where ``sent`` is the value when the last change was sent, 0 at first
    2. where ``|change| >= threshold``: the output is ``change >> shift``, rounded down, and ``sent = x``
    3. elsewhere the output is 0

    With ``shift`` 0 all that was sent adds up to ``sent``. A right shift loses the low bits of each change for good, as
    in Lava 0.10: what was sent adds up to less than the value, by up to one unit for each change.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events or values.
    threshold : NDArray[np.int32]
        Smallest change that is sent, 0 or more, ``[N]``.
    shift : int
        Right shift of what is sent, rounding down, 0..16.

    References
    ----------
    Lava 0.10 ``lava/proc/sdn/models.py``, ``PyDeltaModelFixed``, without ``cum_error``: its ``act - residue`` is
    ``sent``, and its documentation says ``>`` where its code says ``>=``.
    """

    name: str
    source: str
    threshold: NDArray[np.int32]
    shift: int = 0
    kind: ClassVar[str] = "values"
    accepts: ClassVar[tuple[str, ...]] = ("events", "values")

    def __post_init__(self) -> None:
        threshold = checked_array(self.name, "threshold", self.threshold, np.int32, 1, 0, INT32_MAX)
        object.__setattr__(self, "threshold", threshold)
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)

    def states(self) -> dict[str, State]:
        """Return the values that were sent last, zero at first."""
        return {"sent": State((self.size,))}

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Compare with what was sent last, and send what changed."""
        change = x - state.sent
        sends = xp.absolute(change) >= self.threshold
        state.sent = xp.where(sends, x, state.sent)
        state.delta = xp.where(sends, change, 0) >> self.shift
        return state.delta

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Use that a change leads from one value to another, or from 0; it must fit int32 before it is shifted."""
        held = np.minimum(inputs[0][0], 0), np.maximum(inputs[0][1], 0)
        low, high = held[0] - held[1], held[1] - held[0]
        require_int32(f"{self.name}: the change", low, high)
        return Bound(low >> self.shift, high >> self.shift, {"sent": held})

    @property
    def size(self) -> int:
        """Number of units."""
        return int(self.threshold.shape[0])

    @property
    def variables(self) -> tuple[Variable, ...]:
        """What is sent in the step."""
        return (Variable("delta", "int32", self.size),)


@operation
@dataclass(frozen=True)
class Sigma(Operation):
    """The sum of all that arrived so far: ``s = sat(s + n)``; the output is ``s``.

    ``n`` is the sum of the sources. The state saturates at 24 bits, the precision that Lava declares; Lava 0.10 does
    not enforce it: there the sum goes on to 32 bits and wraps around.

    Parameters
    ----------
    name : str
        Name of the operation.
    sources : tuple of str
        Values; they are added.
    size : int
        Number of units.

    References
    ----------
    Lava 0.10 ``lava/proc/sdn/models.py``, ``PySigmaModelFixed``.
    """

    name: str
    sources: tuple[str, ...]
    size: int
    kind: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        checked_integer(self.name, "size", self.size, 1, MAX_SIZE)

    def states(self) -> dict[str, State]:
        """Return the sum, zero at first."""
        return {"s": State((self.size,))}

    def step(self, xp: Any, state: Any, *values: Any) -> Any:
        """Add what arrives."""
        state.s = xp.saturate(state.s + total(values))
        return state.s

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The sum after the step."""
        return (Variable("s", "int32", self.size),)


@operation
@dataclass(frozen=True, eq=False)
class ReLU(OneSource):
    """What is positive of a value and a constant: ``y = max(x + bias, 0)``.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Values.
    bias : NDArray[np.int32]
        Added to them, ``[N]``.

    References
    ----------
    Lava 0.10 ``lava/proc/sdn/models.py``, ``activation_dynamics``.
    """

    name: str
    source: str
    bias: NDArray[np.int32]
    kind: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        bias = checked_array(self.name, "bias", self.bias, np.int32, 1, -INT32_MAX, INT32_MAX)
        object.__setattr__(self, "bias", bias)

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Add the constant, and let nothing negative through."""
        y = x + self.bias
        return xp.where(y > 0, y, 0)

    @property
    def size(self) -> int:
        """Number of units."""
        return int(self.bias.shape[0])
