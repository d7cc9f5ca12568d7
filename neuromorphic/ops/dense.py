"""``Dense``: synapses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.integers.symbols import Bound, Range, require_int32, sums
from neuromorphic.ops.base import MAX_SHIFT, Synapses, Wanted, checked_array, checked_integer, operation


@operation
@dataclass(frozen=True, eq=False)
class Dense(Synapses):
    """Weights times events or values: ``y[i] = (sum_j weights[i, j] * x[j]) << shift``, exact.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events or values.
    weights : NDArray[np.int8]
        ``[out, in]``, -127..127; ternary when all values are in {-1, 0, 1}.
    shift : int
        Left shift of the sum, 0..16; it loses nothing.
    """

    name: str
    source: str
    weights: NDArray[np.int8]
    shift: int = 0
    kind: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", checked_array(self.name, "weights", self.weights, np.int8, 2, -127, 127))
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Sum weights times what arrives."""
        return xp.product(self.weights, x) << self.shift

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Bound the sum, exact for any ranges, and refuse it by that name."""
        low, high = sums(self.weights, inputs[0])
        require_int32(f"{self.name}: the sum", low, high, self.shift)
        low, high = (np.left_shift(end.astype(np.int64), np.int64(self.shift)) for end in (low, high))
        return Bound(low, high, {})

    def fan_in(self) -> NDArray[np.int64]:
        """Return how many weights of each row are not 0."""
        counts: NDArray[np.int64] = (self.weights != 0).sum(axis=1, dtype=np.int64)
        return counts

    @property
    def size(self) -> int:
        """Number of outputs."""
        return int(self.weights.shape[0])

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """Events or values, one for each column of the weights."""
        return (Wanted(self.source, ("events", "values"), int(self.weights.shape[1])),)
