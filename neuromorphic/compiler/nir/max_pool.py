"""A node that NIR does not have: the max pool of a network of torch, on its way to a program."""

from __future__ import annotations

from dataclasses import dataclass

import nir
import numpy as np
from numpy.typing import NDArray


@dataclass(eq=False)
class MaxPool2d(nir.NIRNode):  # type: ignore[misc]
    """The largest value of each window, ``(rows, columns)`` each; what lies outside is never the largest."""

    kernel_size: NDArray[np.int64]
    stride: NDArray[np.int64]
    padding: NDArray[np.int64]

    def __post_init__(self) -> None:
        self.input_type, self.output_type = {"input": None}, {"output": None}
