"""Weights that all windows of an image share: where the windows lie, and the operations that sum them.

A ``Layout`` says how the weights of one source are used: sums of windows before them, a convolution, sums of windows
after it. Every row of the weights is one channel of the result, so all neurons of a channel have the same unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.integers.numbers import Pair, num_windows
from neuromorphic.ops import Conv, Operation, SumPool


@dataclass(frozen=True)
class Window:
    """Where the windows of one convolution or pool lie in an image of ``size`` rows and columns."""

    size: Pair
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def output(self) -> Pair:
        """Rows and columns of what it gives."""
        return num_windows(self.size, self.kernel, self.stride, self.padding, self.dilation)

    @property
    def is_pointwise(self) -> bool:
        """Whether every place of the image is a window of its own."""
        return self.output == self.size and self.kernel == (1, 1) == self.stride

    @property
    def area(self) -> int:
        """Places in a window."""
        return self.kernel[0] * self.kernel[1]


@dataclass(frozen=True)
class Layout:
    """How weights ``[O, C / groups, kh, kw]`` are used, ``[C]`` where there is no convolution, or ``[out, in]``."""

    before: tuple[Window, ...] = ()
    conv: Window | None = None
    after: tuple[Window, ...] = ()

    @property
    def area(self) -> int:
        """Values that all pools together add up."""
        return math.prod(window.area for window in (*self.before, *self.after))

    def size_of(self, weights: NDArray[Any]) -> int:
        """Return how many values weights give."""
        if weights.ndim == 2:
            return len(weights)
        last = (*self.before, *(() if self.conv is None else (self.conv,)), *self.after)[-1]
        return int(len(weights) * math.prod(last.output))

    def weighted(self, name: str, source: str, weights: NDArray[np.int8], shift: int) -> Operation:
        """Return the convolution."""
        window = self.conv
        assert window is not None
        shape = (weights.shape[1] * window.groups, *window.size)
        where = (window.stride, window.padding, window.dilation, window.groups)
        return Conv(name, source, weights, shape, *where, shift)


PLAIN = Layout()
"""Of a matrix, or of one weight for each neuron."""


def sum_pools(name: str, source: str, channels: int, windows: Sequence[Window]) -> list[Operation]:
    """Return pools, each reading the one before it, the last with the name."""
    made: list[Operation] = []
    for number, window in enumerate(windows, start=1):
        own = name if number == len(windows) else f"{name}{number}"
        shape = (channels, *window.size)
        made.append(SumPool(own, source, shape, window.kernel, window.stride, window.padding))
        source = own
    return made
