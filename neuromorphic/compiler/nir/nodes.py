"""The nodes of a NIR graph, and the checks of their parameters.

What each of them does is in :mod:`neuromorphic.compiler.nir.maps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neuromorphic.compiler.weight_integers import LARGEST, SMALLEST, Float64
from neuromorphic.compiler.windows import Window
from neuromorphic.errors import CompileError
from neuromorphic.ops.base import MAX_SIZE

Shape = tuple[int, ...]

MAX_WEIGHTS = 1 << 26
"""Weights of one matrix, and values that a convolution pads to."""
WHOLE = 1e-6
"""How far a delay may be from a whole number of steps; relative, where it is longer than one step."""
PASSING = ("Pass", "Output", "Flatten")
ELEMENTWISE = (*PASSING, "Scale", "Delay")
WINDOWED = ("Conv1d", "Conv2d", "SumPool2d", "AvgPool2d")
LINEAR = (*ELEMENTWISE, "Affine", "Linear", *WINDOWED)
POOLS = ("MaxPool2d",)
"""Not in NIR: what a network of torch has, written by :mod:`neuromorphic.compiler.modules`."""
NEURONS = ("Threshold", "I", "LI", "IF", "LIF", "CubaLI", "CubaLIF")


@dataclass(frozen=True)
class Node:
    """A node by the name its operations get; ``kind`` is NIR's class, ``"Pass"`` for the ends of a sub-graph.

    What reaches it counts ``(I - surplus * factor) / factor`` where ``factor`` is not ``None``: see
    :func:`neuromorphic.compiler.nir.portable.unfold`.
    """

    name: str
    kind: str
    nir: Any
    factor: Float64 | None = None
    surplus: Float64 | None = None

    @property
    def is_linear(self) -> bool:
        """Whether it is linear in its input and has no state."""
        return self.kind in LINEAR

    def refuse(self, why: str) -> CompileError:
        """Return an error that names the node."""
        return CompileError(f"{self.name} ({self.kind}): {why}")


@dataclass(frozen=True)
class Map:
    """What a linear node does: ``y = apply(x) + offset``, later by ``steps``.

    ``apply`` takes ``[B, *shape_in]`` and returns ``[B, *shape_out]``, float64; ``steps`` is ``[*shape_out]``.
    ``weights`` are its own: factors, a matrix, or kernels ``[O, C / groups, kh, kw]`` of the windows ``window``, which
    is ``None`` where its margins are not alike on both sides.
    """

    shape_in: Shape
    shape_out: Shape
    apply: Callable[[torch.Tensor], torch.Tensor]
    offset: torch.Tensor | None = None
    steps: torch.Tensor | None = None
    weights: Float64 | None = None
    window: Window | None = None


def numbers(node: Node, field: str) -> Float64:
    """Return a parameter as float64, refusing what is missing, empty, no number, NaN, infinite or beyond 1e30."""
    value = getattr(node.nir, field, None)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise node.refuse(f"{field} is no array ({error})") from error
    if array.dtype.kind not in "fiub":
        raise node.refuse(f"{field} must be numbers, got {type(value).__name__} of {array.dtype}")
    if not 0 < array.size <= MAX_WEIGHTS:
        raise node.refuse(f"{field} must hold 1 to {MAX_WEIGHTS} numbers, got shape {list(array.shape)}")
    wide = array.astype(np.float64)
    if not np.isfinite(wide).all():
        raise node.refuse(f"{field} holds NaN or infinity ({int((~np.isfinite(wide)).sum())} of {wide.size} values)")
    if float(np.abs(wide).max()) > LARGEST:
        raise node.refuse(f"{field} holds {float(np.abs(wide).max()):.3g}; numbers up to {LARGEST:.0e} compile")
    return np.where(np.abs(wide) < SMALLEST, 0.0, wide)


def integers(node: Node, field: str, count: int, low: int) -> list[int]:
    """Return a parameter as ``count`` integers of at least ``low``; one number stands for all."""
    values = numbers(node, field).reshape(-1)
    if values.size not in (1, count) or not np.array_equal(values, np.rint(values)):
        raise node.refuse(f"{field} must be {count} whole numbers or one, got {getattr(node.nir, field)!r}")
    if values.min() < low or values.max() > MAX_SIZE:
        raise node.refuse(f"{field} must lie in {low}..{MAX_SIZE}, got {values.min():g}..{values.max():g}")
    return [int(value) for value in np.broadcast_to(values, (count,))]


def shape_of(node: Node, value: Any, what: str) -> Shape:
    """Return a shape, refusing what is none or announces more than a layer may have."""
    try:
        sizes = np.asarray(value)
        whole = tuple(int(size) for size in sizes.reshape(-1)) if sizes.dtype.kind in "iuf" else ()
    except (TypeError, ValueError, OverflowError) as error:
        raise node.refuse(f"{what} is no shape ({error})") from error
    if not whole or min(whole) < 1 or math.prod(whole) > MAX_SIZE:
        raise node.refuse(f"{what} must be sizes of 1 or more, {MAX_SIZE} units in all, got {value!r}")
    return whole


def check_shape(node: Node, got: Shape, wanted: Shape) -> None:
    """Refuse an input of another shape than the node takes."""
    if got != wanted:
        hint = "; a Flatten is missing" if math.prod(got) == math.prod(wanted) else ""
        raise node.refuse(f"takes an input of shape {list(wanted)}, gets {list(got)}{hint}")


def same_but_for_ones(one: Shape, other: Shape) -> bool:
    """Return whether two shapes differ by axes of 1 only, so that their units can stand in one order only."""
    return [size for size in one if size != 1] == [size for size in other if size != 1]


def shape_taken(node: Node, got: Shape, wanted: Shape) -> Shape:
    """Return the shape that a node takes, refusing an input that is another but for axes of 1."""
    if not same_but_for_ones(got, wanted):
        check_shape(node, got, wanted)
    return wanted


def rounded_mantissa(values: Float64, bits: int) -> Float64:
    """Return the nearest numbers whose mantissa has ``bits`` bits."""
    mantissa, exponent = np.frexp(values)
    short: Float64 = np.ldexp(np.rint(mantissa * 2.0**bits) / 2.0**bits, exponent)
    return short


def text_of(value: Any) -> str | None:
    """Return text as a file (bytes) or a graph holds it; ``None`` stays ``None``."""
    if isinstance(value, bytes):
        return value.decode("utf8", "replace")
    return None if value is None else str(value)


@dataclass(frozen=True)
class MaxWindow(Window):
    """The windows of a max pool over an image of some channels."""

    channels: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of the image."""
        return (self.channels, *self.size)


def max_window(node: Node, shape: Shape) -> MaxWindow:
    """Return the windows of a max pool over an image ``[C, H, W]``."""
    if len(shape) != 3:
        raise node.refuse(f"takes an input [channels, height, width], gets shape {list(shape)}")
    kernel, stride = (integers(node, field, 2, 1) for field in ("kernel_size", "stride"))
    padding = integers(node, "padding", 2, 0)
    if any(2 * by > n for by, n in zip(padding, kernel, strict=True)):
        raise node.refuse(f"padding must be at most half of the kernel {kernel}, got {padding}")
    sides, step, zeros = ((int(a), int(b)) for a, b in (kernel, stride, padding))
    window = MaxWindow((shape[1], shape[2]), sides, step, zeros, channels=shape[0])
    if min(window.output) < 1:
        raise node.refuse(f"a kernel of {kernel} does not fit an input of {list(shape[1:])}")
    return window
