"""What the linear nodes of a NIR graph make of a tensor, with their parameters checked.

A node is applied, never written down as a matrix: that of a whole chain comes from pushing unit vectors through it (see
:mod:`neuromorphic.compiler.nir.signals`). Convolutions are torch's own; pools are convolutions with one weight.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from neuromorphic.compiler.nir.nodes import (
    MAX_WEIGHTS,
    WHOLE,
    Map,
    Node,
    Shape,
    check_shape,
    integers,
    numbers,
    shape_of,
    shape_taken,
    text_of,
)
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.compiler.windows import Window
from neuromorphic.ops.base import MAX_SIZE
from neuromorphic.ops.delay import MAX_DELAY


def linear_map(node: Node, shape: Shape, dt: float) -> Map:
    """Return what a linear node does to an input of ``shape``; parameters that do not fit it are refused."""
    if node.kind in ("Pass", "Output"):
        shape = shape_taken(node, shape, shape_of(node, (node.nir.output_type or {}).get("output"), "its shape"))
        return Map(shape, shape, lambda x: x)
    if node.kind == "Flatten":
        return _flatten(node, shape)
    if node.kind == "Scale":
        scale = numbers(node, "scale")
        shape = shape_taken(node, shape, scale.shape or shape)
        factor = torch.from_numpy(scale)
        return Map(shape, shape, lambda x: x * factor, weights=scale)
    if node.kind == "Delay":
        return _delay(node, shape, dt)
    if node.kind in ("Affine", "Linear"):
        return _affine(node, shape)
    return _with_leading_ones(node, shape)


def _with_leading_ones(node: Node, shape: Shape) -> Map:
    """Return a convolution or pool, of an input that may lack the channels or have axes of 1 before them."""
    axes = 2 if node.kind == "Conv1d" else 3
    lead = shape[: max(0, len(shape) - axes)]
    if max(lead, default=1) > 1 or len(shape) < axes - 1:
        wanted = "[channels, length]" if axes == 2 else "[channels, height, width]"
        raise node.refuse(f"takes an input {wanted}, gets shape {list(shape)}")
    inner = _convolution(node, (1, *shape) if len(shape) < axes else shape[len(lead) :])
    return replace(
        inner,
        shape_out=(*lead, *inner.shape_out),
        apply=lambda x: inner.apply(x).reshape(-1, *lead, *inner.shape_out),
        offset=None if inner.offset is None else inner.offset.reshape(*lead, *inner.shape_out),
    )


def _flatten(node: Node, shape: Shape) -> Map:
    declared = (node.nir.input_type or {}).get("input")
    if declared is not None and not np.any(declared) and np.size(declared) == len(shape) + 1:
        shape = (1, *shape)  # sinabs writes [0, 0, 0, 0], and counts the batch among the axes
    elif declared is not None:
        shape = shape_taken(node, shape, shape_of(node, declared, "input_type"))
    ends = []
    for field in ("start_dim", "end_dim"):
        value = float(numbers(node, field).reshape(-1)[0])
        if value != int(value) or not -len(shape) <= value < len(shape):
            raise node.refuse(f"{field} must be an axis of {list(shape)}, got {value:g}")
        ends.append(int(value) % len(shape))
    start, end = ends
    if start > end:
        raise node.refuse(f"start_dim {start} comes after end_dim {end}")
    flat = (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
    return Map(shape, flat, lambda x: x.reshape(-1, *flat))


def _delay(node: Node, shape: Shape, dt: float) -> Map:
    delay = numbers(node, "delay")
    shape = shape_taken(node, shape, delay.shape or shape)
    steps = delay / dt
    off = np.abs(steps - np.rint(steps)) > WHOLE * np.maximum(np.abs(steps), 1.0)
    if off.any() or steps.min() < -WHOLE or np.rint(steps.max()) > MAX_DELAY:
        worst = float(steps[off].flat[0] if off.any() else steps.min() if steps.min() < 0 else steps.max())
        raise node.refuse(
            f"a delay of {worst * dt:.6g} s is {worst:.6g} steps of dt = {dt:.6g} s; whole ones in 0..{MAX_DELAY} "
            "compile"
        )
    whole = torch.from_numpy(np.broadcast_to(np.rint(steps), shape).astype(np.int64))
    return Map(shape, shape, lambda x: x, steps=whole)


def _affine(node: Node, shape: Shape) -> Map:
    array = numbers(node, "weight")
    if array.ndim != 2:
        raise node.refuse(f"weight must be [out, in], got shape {list(array.shape)}")
    shape = shape_taken(node, shape, (array.shape[1],))
    weight, offset = torch.from_numpy(array), None
    if node.kind == "Affine":
        offset = _bias(node, len(array))
    return Map(shape, (array.shape[0],), lambda x: x @ weight.T, offset, weights=array)


def _bias(node: Node, size: int) -> torch.Tensor:
    """Return one bias for each row of weights."""
    bias = numbers(node, "bias")
    if bias.shape not in ((), (size,)):
        raise node.refuse(f"bias must have shape [{size}], got {list(bias.shape)}")
    return torch.from_numpy(np.broadcast_to(bias, (size,)).copy())


def _convolution(node: Node, shape: Shape) -> Map:
    dims = 1 if node.kind == "Conv1d" else 2
    offset = None
    if node.kind in ("SumPool2d", "AvgPool2d"):
        kernel = integers(node, "kernel_size", dims, 1)
        if shape[0] * math.prod(kernel) > MAX_WEIGHTS:
            raise node.refuse(f"a kernel of {kernel} is too large")
        one = 1.0 if node.kind == "SumPool2d" else 1.0 / math.prod(kernel)
        weight, groups, dilation = np.full((1, 1, *kernel), one).repeat(shape[0], axis=0), shape[0], [1] * dims
    else:
        weight, groups = numbers(node, "weight"), integers(node, "groups", 1, 1)[0]
        dilation = integers(node, "dilation", dims, 1)
        if weight.ndim != dims + 2 or weight.shape[0] % groups or weight.shape[1] * groups != shape[0]:
            raise node.refuse(
                f"weight [out, in / groups, ...] of shape {list(weight.shape)} with groups = {groups} does not fit an "
                f"input of shape {list(shape)}"
            )
        if node.nir.input_shape is not None:
            check_shape(node, shape, (shape[0], *shape_of(node, node.nir.input_shape, "input_shape")))
        offset = _bias(node, len(weight)).reshape(-1, *[1] * dims)
    stride = integers(node, "stride", dims, 1)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    before, after = _padding(node, dims, stride, [r - 1 for r in reach])
    padded = [size + b + a for size, b, a in zip(shape[1:], before, after, strict=True)]
    if shape[0] * math.prod(padded) > MAX_WEIGHTS or any(r > p for r, p in zip(reach, padded, strict=True)):
        raise node.refuse(
            f"a kernel that reaches {reach} does not fit an input of {list(shape[1:])} padded to {padded}"
        )
    out = (weight.shape[0], *((p - r) // s + 1 for p, r, s in zip(padded, reach, stride, strict=True)))
    if math.prod(out) > MAX_SIZE:
        raise node.refuse(f"its output of shape {list(out)} has more than {MAX_SIZE} units")
    kernels = torch.from_numpy(np.ascontiguousarray(weight))
    pads = [width for pair in zip(reversed(before), reversed(after), strict=True) for width in pair]
    convolve: Any = torch.nn.functional.conv1d if dims == 1 else torch.nn.functional.conv2d

    def apply(x: torch.Tensor) -> torch.Tensor:
        wide = torch.nn.functional.pad(x, pads)
        result: torch.Tensor = convolve(wide, kernels, stride=stride, dilation=dilation, groups=groups)
        return result

    wide, window = _shared_window(weight, shape, stride, before, after, dilation, groups)
    return Map(shape, out, apply, None if offset is None else offset.expand(out).clone(), weights=wide, window=window)


def _shared_window(
    weight: Float64,
    shape: Shape,
    stride: list[int],
    before: list[int],
    after: list[int],
    dilation: list[int],
    groups: int,
) -> tuple[Float64, Window | None]:
    """Return kernels ``[O, C / groups, kh, kw]`` and where their windows lie; ``None`` where one side has more zeros.

    One zero more at the end is a row of zeros at the start of the kernel, and as many zeros at both sides.
    """
    for axis, (less, more, apart) in enumerate(zip(before, after, dilation, strict=True)):
        if more != less:
            if more - less != apart:
                return weight, None
            weight = np.pad(weight, [(0, 0)] * (2 + axis) + [(1, 0)] + [(0, 0)] * (len(before) - 1 - axis))
    if weight.ndim == 3:  # one axis is a row
        weight, shape = weight[:, :, None], (shape[0], 1, shape[1])
        stride, after, dilation = [1, *stride], [0, *after], [1, *dilation]
    sides: list[Any] = [shape[1:], weight.shape[2:], stride, after, dilation]
    size, window, step, zeros, margin = [(int(rows), int(columns)) for rows, columns in sides]
    return weight, Window(size, window, step, zeros, margin, groups)


def _padding(node: Node, dims: int, stride: list[int], span: list[int]) -> tuple[list[int], list[int]]:
    """Return zeros before and after each axis."""
    padding = node.nir.padding
    padding = text_of(padding) if isinstance(padding, bytes) else padding
    if not isinstance(padding, str):
        both = integers(node, "padding", dims, 0)
        return both, both
    if padding == "valid":
        return [0] * dims, [0] * dims
    if padding != "same":
        raise node.refuse(f"padding must be 'same', 'valid' or whole numbers, got {padding!r}")
    if max(stride) > 1:
        raise node.refuse(f"padding 'same' needs stride 1, got {stride}")
    return [s // 2 for s in span], [s - s // 2 for s in span]
