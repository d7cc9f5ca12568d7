"""What convolutions and pools are to the compiled loop: their shape, their weights, and the room they compute in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.bit_planes import rows_for_images
from neuromorphic.executors.native.layout import Layout
from neuromorphic.executors.native.sizes import LARGEST, SUM, WEIGHED, WINDOWS_AT_ONCE
from neuromorphic.executors.native.window_lists import Windows, merged, num_planes, window_lists
from neuromorphic.ops import Conv

EVENTS_UP_TO = 0.75
"""Part of the inputs that fire up to which the list of spikes is faster than all products."""


def _shape(layout: Layout, op: Any, kernel: tuple[int, ...], **more: Any) -> int:
    """Place what a kernel must know of the windows; without more, of a pool."""
    (channels, height, width), outputs = op.input_shape, op.output_shape[0]
    groups = more.get("groups", channels)
    numbers = (
        *(channels // groups, height, width, outputs // groups, *op.output_shape[1:], groups, more.get("shift", 0)),
        *(*kernel, *op.stride, *op.padding, *more.get("dilation", (1, 1))),
    )
    return layout.params.place(np.array(numbers, dtype=np.int32))


def convolution(layout: Layout, op: Conv) -> None:
    """Lay out a ``Conv``: by rows of 64 outputs, or, where a group has few, along rows of the image."""
    layout.value(op, WINDOWS_AT_ONCE if layout.by_counting(op) else 0)
    if layout.by_counting(op):
        _count(layout, op)
        return
    shape = _shape(layout, op, op.weights.shape[2:], groups=op.groups, shift=op.shift, dilation=op.dilation)
    if not layout.by_rows(op):
        layout.row(rows.SLIDE_WINDOWS, op, shape, WEIGHED, layout.small.place(op.weights))
        return
    packed, ternary = rows_for_images(op.weights, op.groups), op.is_ternary
    place = layout.words.place(packed.view(np.uint64)) if ternary else layout.small.place(packed.view(np.int8))
    inputs = math.prod(op.input_shape)
    layout.row(
        rows.CONVOLVE,
        op,
        shape,
        place,
        int(ternary),
        layout.spare_ints,
        layout.spare,
        int(EVENTS_UP_TO * inputs),
        -(-inputs // 64),
    )


def _count(layout: Layout, op: Conv) -> None:
    windows, (weights, groups) = Windows.of(op), merged(op)
    lists, num_digits = window_lists(weights)
    shape = _shape(layout, op, op.weights.shape[2:], groups=groups, dilation=op.dilation)
    masks = -1 if windows.margin < 0 else layout.params.place(windows.masks(op).view(np.int32))
    numbers = (shape, layout.small.place(lists.view(np.int8)), masks, layout.spare, windows.words)
    numbers += (num_planes(op.weights) + op.shift, num_digits, max(windows.margin, 0), windows.pitch, windows.columns, op.shift)
    layout.row(rows.COUNT_WINDOWS, op, *numbers)


def pool(layout: Layout, op: Any) -> None:
    """Lay out a ``SumPool`` or a ``MaxPool``."""
    layout.value(op)
    kind = SUM if type(op).__name__ == "SumPool" else LARGEST
    layout.row(rows.SLIDE_WINDOWS, op, _shape(layout, op, op.kernel), kind)


def spike_pool(layout: Layout, op: Any) -> None:
    """Lay out a ``SpikePool``."""
    layout.row(rows.POOL_SPIKES, op, _shape(layout, op, op.kernel))
