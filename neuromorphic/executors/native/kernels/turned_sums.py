"""Sums of 64 output channels side by side, written channel by channel."""

from __future__ import annotations

from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.image_instructions import put_turned
from neuromorphic.executors.native.kernels.vectors import get_int, put_int
from neuromorphic.executors.native.sizes import OUTPUTS_A_ROW


@kernel
def put_windows(ints, sums, count, channels, target, stride, shift, more):  # type: ignore[no-untyped-def]
    """Write sums ``[count, 64]`` of some windows to ``[channels, windows]``, shifted to the left; with ``more`` add."""
    whole, in_eights = count & ~7 if more == 0 else 0, channels & ~7
    for c in range(0, in_eights, 8):
        for i in range(0, whole, 8):
            put_turned(ints, sums + i * OUTPUTS_A_ROW + c, OUTPUTS_A_ROW, target + c * stride + i, stride, shift)
    for c in range(channels):
        for i in range(whole if c < in_eights else 0, count):
            where = target + c * stride + i
            value = get_int(ints, sums + i * OUTPUTS_A_ROW + c) << shift << more
            put_int(ints, where, value + get_int(ints, where) if more else value)
