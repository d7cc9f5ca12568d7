"""Events that are delivered one after the other, each sum limited."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.onnx.graph import Operand, Tensor
from neuromorphic.executors.onnx.integers import Integers
from neuromorphic.executors.onnx.lowering import Lowering
from neuromorphic.integers.symbols import Symbol


def deliver(to: Lowering, s: Symbol) -> Tensor:
    """Return limited sums in their order, by pairs: what two do, one after the other, is what one can do.

    ``x -> min(max(x + a, low), high)`` twice is such a step again. Beyond what the limits are apart, ``a`` does no
    more: so it stays small.
    """
    g, (weights, counts, start), (least, most) = to.g, s.args, (s.facts["least"], s.facts["most"])
    (outputs, width), far = weights.shape, most - least
    arriving = g.reshape(to.tensor(counts), -1, 1, width)
    a = g.integer("Mul", arriving, weights.facts["array"].astype(np.int32), peak=weights.peak * counts.peak)
    a = g.clip(a, -far, far)
    low, high = (g.add(g.op("Mul", a, 0), end) for end in (least, most))
    while width > 1:
        parts = [[_every_second(g, x, first, width) for first in (0, 1)] for x in (a, low, high)]
        (a1, a2), (low1, low2), (high1, high2) = parts
        ends = [g.op("Min", g.op("Max", g.op("Add", end, a2), low2), high2) for end in (low1, high1)]
        made = [g.clip(g.op("Add", a1, a2), -far, far), *ends]
        if width % 2:
            last = [g.op("Slice", x, *_ends(width - 1, width)) for x in (a, low, high)]
            made = [g.op("Concat", *pair, axis=2) for pair in zip(made, last, strict=True)]
        a, low, high = made
        width = (width + 1) // 2
    a, low, high = (g.reshape(x, -1, outputs) for x in (a, low, high))
    return g.sealed(g.op("Min", g.op("Max", g.op("Add", to.tensor(start), a), low), high))


def _ends(first: int, end: int, step: int = 1) -> tuple[Operand, ...]:
    """Return what a ``Slice`` of the last of three axes takes."""
    return tuple(np.array([number], dtype=np.int64) for number in (first, end, 2, step))


def _every_second(g: Integers, x: Tensor, first: int, width: int) -> Tensor:
    """Return every second entry of the last of three axes, as many from 0 as from 1."""
    return g.op("Slice", x, *_ends(first, width // 2 * 2, 2))
