"""``Scale``: a constant factor for each unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.integers.numbers import INT32_MAX
from neuromorphic.ops.base import OneSource, checked_array, checked_integer, operation

MAX_SCALE_SHIFT = 47


@operation
@dataclass(frozen=True, eq=False)
class Scale(OneSource):
    """A constant factor for each unit: ``y = tz(x * factor, shift)``, the product in 64 bits.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events or values.
    factor : NDArray[np.int32]
        ``[N]``.
    shift : int
        Right shift of the product, rounding toward zero, 0..47.
    """

    name: str
    source: str
    factor: NDArray[np.int32]
    shift: int = 0
    kind: ClassVar[str] = "values"
    accepts: ClassVar[tuple[str, ...]] = ("events", "values")

    def __post_init__(self) -> None:
        factor = checked_array(self.name, "factor", self.factor, np.int32, 1, -INT32_MAX, INT32_MAX)
        object.__setattr__(self, "factor", factor)
        checked_integer(self.name, "shift", self.shift, 0, MAX_SCALE_SHIFT)

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Multiply, and shift toward zero."""
        return xp.toward_zero(x * self.factor, self.shift)

    @property
    def size(self) -> int:
        """Number of units."""
        return int(self.factor.shape[0])
