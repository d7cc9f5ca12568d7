"""What convolutions and pools are to the compiled loop: their shape, their weights, and the room they compute in."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.bit_planes import rows_for_images
from neuromorphic.executors.native.layout import Layout
from neuromorphic.executors.native.sizes import LARGEST, SUM, WEIGHED, WINDOWS_AT_ONCE
from neuromorphic.executors.native.window_costs import costs
from neuromorphic.executors.native.window_lists import Windows, as_conv, merged, num_planes, window_lists
from neuromorphic.ops import Conv, SpikePool, SumPool


def _shape(layout: Layout, op: Any, kernel: tuple[int, ...], *more: int, **other: Any) -> int:
    """Place what a kernel must know of the windows; without more, of a pool."""
    (channels, height, width), outputs = op.input_shape, op.output_shape[0]
    groups = other.get("groups", channels)
    numbers = (
        *(channels // groups, height, width, outputs // groups, *op.output_shape[1:], groups, other.get("shift", 0)),
        *(*kernel, *op.stride, *op.padding, *other.get("dilation", (1, 1)), *more),
    )
    return layout.params.place(np.array(numbers, dtype=np.int32))


def convolution(layout: Layout, op: Conv) -> None:
    """Lay out a ``Conv``: spikes by counting or by lists, values by rows of 64 outputs or along rows of the image."""
    windows = layout.counted(op)
    if windows is not None:
        _count(layout, op, windows)
        return
    layout.value(op)
    shape = _shape(layout, op, op.weights.shape[2:], groups=op.groups, shift=op.shift, dilation=op.dilation)
    if not layout.by_rows(op):
        layout.row(rows.SLIDE_WINDOWS, op, shape, WEIGHED, layout.small.place(op.weights))
    elif layout.is_spikes(op.source):
        layout.row(rows.LIST_WINDOWS, op, shape, *_rows(layout, op), layout.spare_ints, layout.spare, -1)
    else:
        layout.row(rows.CONVOLVE, op, shape, *_rows(layout, op), layout.spare_ints, layout.spare)


def _rows(layout: Layout, op: Conv) -> tuple[int, int]:
    """Place weights by rows of 64 outputs; return where, and whether they are ternary."""
    packed = rows_for_images(op.weights, op.groups)
    if op.is_ternary:
        return layout.words.place(packed.view(np.uint64)), 1
    return layout.small.place(packed.view(np.int8)), 0


def _count(layout: Layout, op: Conv, windows: Windows) -> None:
    """Lay out a convolution that counts, and lists beside it where they may take less."""
    layout.value(op, WINDOWS_AT_ONCE)
    weights, groups = merged(op)
    lists, num_digits = window_lists(weights)
    planes = num_planes(op.weights) + op.shift
    numbers = (windows.words, windows.margin, windows.pitch, windows.columns, planes, num_digits)
    same = {"shift": op.shift, "dilation": op.dilation}
    shape = _shape(layout, op, op.weights.shape[2:], *numbers, groups=groups, **same)
    masks, chosen, moves = _moves(layout, op, windows, weights.shape[1])
    both = costs(op, windows)
    where = -1 if both is None else layout.params.place(both)
    place = layout.small.place(lists.view(np.int8))
    layout.row(rows.COUNT_WINDOWS, op, shape, place, masks, layout.spare, where, chosen, moves, len(windows.parts))
    if both is not None:
        shape = _shape(layout, op, op.weights.shape[2:], groups=op.groups, **same)
        layout.row(rows.LIST_WINDOWS, op, shape, *_rows(layout, op), layout.spare_ints, layout.spare, where)


def pool(layout: Layout, op: Any) -> None:
    """Lay out a ``SumPool`` or a ``MaxPool``; the sum of spikes is a convolution."""
    windows = layout.counted(as_conv(op)) if isinstance(op, SumPool) else None
    if windows is not None:
        _count(layout, as_conv(op), windows)
        return
    layout.value(op)
    kind = SUM if isinstance(op, SumPool) else LARGEST
    layout.row(rows.SLIDE_WINDOWS, op, _shape(layout, op, op.kernel), kind)


def spike_pool(layout: Layout, op: SpikePool) -> None:
    """Lay out a ``SpikePool``: by moving the image, or window by window."""
    conv = as_conv(op)
    windows = Windows.of(conv)
    if windows is None:
        layout.row(rows.POOL_SPIKES, op, _shape(layout, op, op.kernel))
        return
    shape = _shape(layout, op, op.kernel, windows.words, windows.margin)
    masks, chosen, moves = _moves(layout, conv, windows, 1)
    shown = layout.params.place(windows.shown(conv).view(np.int32))
    layout.row(rows.POOL_MOVED, op, shape, layout.spare, masks, chosen, moves, shown, len(windows.parts))


def _moves(layout: Layout, op: Conv, windows: Windows, channels: int) -> tuple[int, int, int]:
    """Place what says how rows of windows are made of so many channels at once."""
    masks, chosen = (layout.params.place(x.view(np.int32)) for x in (windows.masks(op), windows.part_masks(op)))
    return masks, chosen, layout.params.place(windows.moved_bits(op, channels))
