"""``Conv``: synapses that share their weights over an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ProgramError
from neuromorphic.integers.numbers import NumPy, Pair, num_windows
from neuromorphic.integers.symbols import Bound, Range, require_int32, window_sums
from neuromorphic.ops.base import (
    MAX_SHIFT,
    MAX_SIZE,
    Synapses,
    Wanted,
    checked_array,
    checked_integer,
    checked_integers,
    operation,
)
from neuromorphic.wording import counted

MAX_WINDOW = 4096
"""Most rows or columns of a kernel, a stride, a margin or a dilation."""
MAX_PLACES = 1 << 16
"""Most rows times columns of a kernel."""
MAX_PRODUCTS = 1 << 33
"""Most weights times inputs in a step, or values that a pool looks at: some seconds."""
Shape = tuple[int, int, int]
"""Of an image: channels, height, width."""


@operation
@dataclass(frozen=True, eq=False)
class Conv(Synapses):
    """Weights that all windows of an image share: a convolution as ``torch.nn.functional.conv2d`` computes it, exact.

    ``y[o, i, j] = (sum_ckl weights[o, c, k, l] * x[g + c, i * sy + k * dy - py, j * sx + l * dx - px]) << shift``,
    where ``g`` is the first channel of the group of ``o`` and what lies outside the image is 0.

    Values lie in the order channel, row, column. A convolution over one axis has height 1. A depthwise one has as many
    groups as channels.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events or values, an image ``[C, H, W]``.
    weights : NDArray[np.int8]
        ``[O, C / groups, kh, kw]``, -127..127; ternary when all values are in {-1, 0, 1}.
    input_shape : tuple of int
        ``(C, H, W)``.
    stride, padding, dilation : tuple of int
        ``(rows, columns)``.
    groups : int
        Channels are cut into so many groups, each with its own outputs; it divides ``C`` and ``O``.
    shift : int
        Left shift of the sum, 0..16; it loses nothing.
    """

    name: str
    source: str
    weights: NDArray[np.int8]
    input_shape: Shape
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    shift: int = 0
    kind: ClassVar[str] = "values"
    accepts: ClassVar[tuple[str, ...]] = ("events", "values")

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", checked_array(self.name, "weights", self.weights, np.int8, 4, -127, 127))
        check_windows(self, self.weights.shape[2:], self.dilation, self.weights.shape[1])
        checked_integer(self.name, "groups", self.groups, 1, self.input_shape[0])
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)
        outputs, inputs = self.weights.shape[:2]
        if inputs * self.groups != self.input_shape[0] or outputs % self.groups:
            raise ProgramError(
                f"{self.name}: {counted(self.groups, 'group')} of an image of "
                f"{counted(self.input_shape[0], 'channel')} need weights "
                f"[{self.groups} * n, {self.input_shape[0] / self.groups:g}, rows, columns], "
                f"got {list(self.weights.shape)}"
            )

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        """Sum weights times what arrives in every window."""
        image = xp.reshape(x, *self.input_shape)
        summed = xp.convolve(self.weights, image, **self._windows)
        return xp.reshape(summed << self.shift, self.size)

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Bound the sums, and refuse them by that name."""
        image = (inputs[0][0].reshape(self.input_shape), inputs[0][1].reshape(self.input_shape))
        low, high = (end.reshape(-1) for end in window_sums(self.weights, image, **self._windows))
        require_int32(f"{self.name}: the sum", low, high, self.shift)
        return Bound(low << self.shift, high << self.shift, {})

    def fan_in(self) -> NDArray[np.int64]:
        """Return how many weights of each window are not 0 and lie on the image."""
        present, ones = (self.weights != 0).astype(np.int8), np.ones((1, *self.input_shape), dtype=np.int64)
        counts: NDArray[np.int64] = NumPy().convolve(present, ones, **self._windows).reshape(-1)
        return counts

    @property
    def _windows(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    @property
    def output_shape(self) -> Shape:
        """Channels, height and width of what it gives."""
        kernel = self.weights.shape[2:]
        counts = num_windows(self.input_shape[1:], kernel, self.stride, self.padding, self.dilation)
        return (int(self.weights.shape[0]), *counts)

    @property
    def size(self) -> int:
        """Number of outputs."""
        return math.prod(self.output_shape)

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """Events or values, one for each place of the image."""
        return (Wanted(self.source, self.accepts, math.prod(self.input_shape)),)


def check_windows(op: Any, kernel: tuple[int, ...], dilation: Pair | None = None, channels: int = 1) -> None:
    """Check and freeze the fields of an operation that say where its windows lie, each over so many channels."""
    spans = [("input_shape", 3, 1, MAX_SIZE), ("stride", 2, 1, MAX_WINDOW), ("padding", 2, 0, MAX_WINDOW)]
    if dilation is not None:
        spans.append(("dilation", 2, 1, MAX_WINDOW))
    for name, count, low, high in spans:
        object.__setattr__(op, name, checked_integers(op.name, name, getattr(op, name), count, low, high))
    checked_integers(op.name, "kernel", tuple(int(n) for n in kernel), 2, 1, MAX_WINDOW)
    counts = num_windows(op.input_shape[1:], kernel, op.stride, op.padding, op.dilation if dilation else (1, 1))
    if min(counts) < 1:
        raise ProgramError(
            f"{op.name}: no window fits the image: kernel {list(kernel)} over {list(op.input_shape[1:])} with padding "
            f"{list(op.padding)}"
        )
    if max(math.prod(op.input_shape), op.size) > MAX_SIZE:
        raise ProgramError(
            f"{op.name}: images must have at most {MAX_SIZE} values, got {list(op.input_shape)} and "
            f"{list(op.output_shape)}"
        )
    places = math.prod(kernel)
    products = op.size * places * channels
    if places > MAX_PLACES or products > MAX_PRODUCTS:
        raise ProgramError(
            f"{op.name}: a kernel must have at most {MAX_PLACES} places and a step {MAX_PRODUCTS} products, "
            f"got {list(kernel)} and {products}"
        )
