"""Images: convolutions, and the largest value of windows."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.onnx.convolutions import convolution
from neuromorphic.executors.onnx.graph import Tensor
from neuromorphic.executors.onnx.lowering import Lowering
from neuromorphic.integers.numbers import num_windows
from neuromorphic.integers.symbols import Symbol

_LOWEST = -(1 << 31)


def convolve(to: Lowering, s: Symbol) -> Tensor:
    """Sum constant weights times windows."""
    (weights, x), (_, *size) = s.args, s.args[1].shape
    return convolution(to.g, weights.facts["array"], to.tensor(x), (size[0], size[1]), *x.span, to.products, **s.facts)


def window_max(to: Lowering, s: Symbol) -> Tensor:
    """Take the largest of each window: first along its rows, then along its columns.

    Both runtimes take the larger of two int32 exactly; ``MaxPool`` is float32.
    """
    g, (x,) = to.g, s.args
    _, *size = x.shape
    kernel, stride, padding = s.facts["kernel"], s.facts["stride"], s.facts["padding"]
    largest = to.tensor(x)
    if any(padding):
        largest = g.op("Pad", largest, np.array([0, 0, *padding] * 2, dtype=np.int64), _LOWEST)
    counts = num_windows((size[0], size[1]), kernel, stride, padding)
    for axis in (0, 1):
        parts = []
        for place in range(kernel[axis]):
            ends = (place, place + stride[axis] * (counts[axis] - 1) + 1, 2 + axis, stride[axis])
            parts.append(g.op("Slice", largest, *(np.array([end], dtype=np.int64) for end in ends)))
        largest = parts[0]
        for part in parts[1:]:
            largest = g.integer("Max", largest, part, peak=x.peak, shared=to.is_shared(s))
    return largest
