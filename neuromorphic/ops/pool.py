"""``SumPool``, ``MaxPool`` and ``SpikePool``: one value for each window of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from neuromorphic.errors import BoundError, ProgramError
from neuromorphic.integers.numbers import Pair, num_windows
from neuromorphic.integers.symbols import Bound, Range, bound_by_step
from neuromorphic.ops.base import MAX_SIZE, OneSource, Wanted, checked_integers, operation
from neuromorphic.ops.conv import MAX_WINDOW, Conv, Shape, check_windows


@dataclass(frozen=True)
class Pool(OneSource):
    """The fields of all pools.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        An image ``[C, H, W]``, in the order channel, row, column. One axis is height 1.
    input_shape : tuple of int
        ``(C, H, W)``.
    kernel, stride, padding : tuple of int
        ``(rows, columns)``; at most half a window lies outside the image.
    """

    name: str
    source: str
    input_shape: Shape
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", checked_integers(self.name, "kernel", self.kernel, 2, 1, MAX_WINDOW))
        check_windows(self, self.kernel)
        if self.input_shape[0] * math.prod(self.kernel) > MAX_SIZE:
            raise ProgramError(
                f"{self.name}: channels times the places of the kernel must be at most {MAX_SIZE}, "
                f"got {self.input_shape[0]} and {list(self.kernel)}"
            )
        if any(2 * by > n for by, n in zip(self.padding, self.kernel, strict=True)):
            raise ProgramError(
                f"{self.name}: padding must be at most half of the kernel {list(self.kernel)}, got {list(self.padding)}"
            )

    @property
    def output_shape(self) -> Shape:
        """Channels, height and width of what it gives."""
        counts = num_windows(self.input_shape[1:], self.kernel, self.stride, self.padding)
        return (self.input_shape[0], *counts)

    @property
    def size(self) -> int:
        """Number of outputs."""
        return math.prod(self.output_shape)

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """One value for each place of the image."""
        return (Wanted(self.source, self.accepts, math.prod(self.input_shape)),)


@operation
@dataclass(frozen=True)
class SumPool(Pool):
    """The sum of each window of an image ``[C, H, W]``; what lies outside is 0.

    A mean is this sum whose divisor went into the thresholds or a ``Scale`` that reads it.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events or values, in the order channel, row, column. A pool over one axis has height 1.
    input_shape : tuple of int
        ``(C, H, W)``.
    kernel, stride, padding : tuple of int
        ``(rows, columns)``; at most half a window lies outside the image.
    """

    kind: ClassVar[str] = "values"
    accepts: ClassVar[tuple[str, ...]] = ("events", "values")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_ones", np.ones((self.input_shape[0], 1, *self.kernel), dtype=np.int8))

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Sum every window."""
        image, channels = xp.reshape(x, *self.input_shape), self.input_shape[0]
        summed = xp.convolve(self._ones, image, self.stride, self.padding, (1, 1), channels)  # type: ignore[attr-defined]
        return xp.reshape(summed, self.size)

    def as_conv(self) -> Conv:
        """Return the convolution that it is: of each channel alone, with weights of 1."""
        ones, groups = self._ones, self.input_shape[0]  # type: ignore[attr-defined]
        shape, stride, padding = self.input_shape, self.stride, self.padding
        return Conv(self.name, self.source, ones, shape, stride=stride, padding=padding, groups=groups)


@operation
@dataclass(frozen=True)
class MaxPool(Pool):
    """The largest value of each window of an image ``[C, H, W]``; what lies outside is never the largest.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events or values, in the order channel, row, column. A pool over one axis has height 1.
    input_shape : tuple of int
        ``(C, H, W)``.
    kernel, stride, padding : tuple of int
        ``(rows, columns)``; at most half a window lies outside the image.
    """

    kind: ClassVar[str] = "values"
    accepts: ClassVar[tuple[str, ...]] = ("events", "values")

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Return the largest of every window."""
        return _largest(self, xp, x)


@operation
@dataclass(frozen=True)
class SpikePool(Pool):
    """A spike wherever a window of an image ``[C, H, W]`` of spikes holds one: an exact OR, a max pool of spikes.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Spikes, 0 or 1, in the order channel, row, column. A pool over one axis has height 1.
    input_shape : tuple of int
        ``(C, H, W)``.
    kernel, stride, padding : tuple of int
        ``(rows, columns)``; at most half a window lies outside the image.
    """

    kind: ClassVar[str] = "events"
    accepts: ClassVar[tuple[str, ...]] = ("events",)

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Return 1 where a window holds a spike."""
        return _largest(self, xp, x)

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Refuse what is not spikes."""
        lowest, highest = int(inputs[0][0].min()), int(inputs[0][1].max())
        if lowest < 0 or highest > 1:
            raise BoundError(
                f"{self.name}: {self.source} must give spikes, 0 or 1, got events in {lowest}..{highest}; use a MaxPool"
            )
        return bound_by_step(self, inputs, num_steps)


def _largest(op: Pool, xp: Any, x: Any) -> Any:
    image = xp.reshape(x, *op.input_shape)
    return xp.reshape(xp.window_max(image, op.kernel, op.stride, op.padding), op.size)
