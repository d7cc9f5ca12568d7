"""``Torus``: messages from the neighbours of a neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ProgramError
from neuromorphic.ops.base import MAX_SIZE, OneSource, checked_array, checked_integer, operation, total

MIN_SIDE = 3
NEIGHBOURS = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0))
"""Offsets (row, column) of the eight neighbours, in the order of their edges."""


@operation
@dataclass(frozen=True, eq=False)
class Torus(OneSource):
    """Sums over the eight neighbours of each neuron on a torus, each multiplied by its edge if there are edges.

    Neuron ``n`` sits in row ``n // columns`` and column ``n % columns``;
    ``y[r, c] = sum_k edge[k, r, c] * x[(r + i_k) mod rows, (c + j_k) mod columns]`` over the offsets ``(i_k, j_k)`` =
    (-1,-1), (-1,0), (-1,1), (0,-1), (0,1), (1,-1), (1,0), (1,1) in this order; without ``edges`` they are 1.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events.
    rows, columns : int
        3 at least.
    edges : NDArray[np.int8], optional
        ``[8, N]``, ternary; ``None``: all 1.
    """

    name: str
    source: str
    rows: int
    columns: int
    edges: NDArray[np.int8] | None = None
    kind: ClassVar[str] = "values"
    accepts: ClassVar[tuple[str, ...]] = ("events",)

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            checked_integer(self.name, name, getattr(self, name), MIN_SIDE, MAX_SIZE // MIN_SIDE)
        if self.edges is not None:
            edges = checked_array(self.name, "edges", self.edges, np.int8, 2, -1, 1)
            if edges.shape != (len(NEIGHBOURS), self.size):
                raise ProgramError(f"{self.name}: edges must be [8, {self.size}], got {list(edges.shape)}")
            object.__setattr__(self, "edges", edges)

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Let every neuron hear its neighbours."""
        grid = xp.reshape(x, self.rows, self.columns)
        heard = [xp.reshape(xp.roll(grid, -row, -column), self.size) for row, column in NEIGHBOURS]
        if self.edges is not None:
            heard = [spikes * self.edges[k] for k, spikes in enumerate(heard)]
        return total(tuple(heard))

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.rows * self.columns
