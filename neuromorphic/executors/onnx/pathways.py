"""Operations beside the membrane as ONNX nodes: synapses, scales, delays, gates, linear states, messages."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.onnx.graph import Operand, Tensor
from neuromorphic.executors.onnx.integers import (
    EXACT,
    Wide,
    digits,
    num_digits,
    product_columns,
    saturate,
    toward_zero,
    weigh,
)
from neuromorphic.executors.onnx.products import product
from neuromorphic.executors.onnx.step import Step, plain
from neuromorphic.ops import Delay, Dense, Gate, GatedState, Multiply, Resonator, Scale, Torus
from neuromorphic.ops.gate import SIGMOID
from neuromorphic.ops.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.ops.torus import NEIGHBOURS


def dense(s: Step, op: Dense, x: Tensor) -> Tensor:
    """Synapses."""
    return s.graph.mul(product(s.graph, op.weights, x, *s.range(op.source), s.products), 1 << op.shift)


def scale(s: Step, op: Scale, x: Tensor) -> Tensor:
    """Return ``tz(x * factor, shift)``: in limbs where the product leaves int32."""
    g, peak = s.graph, s.peak(op.source)
    largest = int(np.abs(op.factor.astype(np.int64)).max())
    if op.shift == 0 or peak * largest < 1 << 31:
        return toward_zero(g, g.mul(x, plain(op.factor)), op.shift, peak * largest)
    sign = g.mul(g.op("Sign", x), plain(np.sign(op.factor)))
    parts = digits(g, g.op("Abs", x), num_digits(peak))
    columns = product_columns(g, parts, np.abs(op.factor.astype(np.int64)), largest)
    return g.mul(sign, Wide(g, columns).floor(op.shift))


def delayed(s: Step, op: Delay) -> Tensor:
    """Events as they were: the oldest of a queue."""
    if op.steps == 1:
        return s.state(op, "queue", op.size)
    return s.graph.sealed(s.graph.op("Gather", s.state(op, "queue", op.steps, op.size), 0, axis=1))


def enqueue(s: Step, op: Delay, x: Tensor) -> None:
    """Add the newest events to the queue of a delay.

    OpenVINO gathers, reshapes and joins a single sample in place. In a loop a queue then is changed, by the events of
    the next step, before it is handed on; so what goes into it and comes out of it passes a node that copies.
    """
    if op.steps > 1:
        g = s.graph
        x = g.sealed(x)
        kept, axis = (np.array([n], dtype=np.int64) for n in (op.steps, 1))
        rest = g.op("Slice", s.states[f"{op.name}.queue"].input, np.array([1], dtype=np.int64), kept, axis)
        x = g.op("Concat", rest, g.reshape(x, -1, 1, op.size), axis=1)
    s.hold(op, "queue", x)


def gate(s: Step, op: Gate, x: Tensor) -> Tensor:
    """Look the sigmoid up, in a table of both sides."""
    g, last = s.graph, len(SIGMOID) - 1
    if s.peak(op.source) > EXACT:  # beyond it the table ends whatever the offset, and the sum stays in int32
        x = g.clip(x, -EXACT, EXACT)
    at = g.add(g.clip(g.add(x, plain(op.offset)), -last, last), last)
    table = np.concatenate((DECAY_ONE - SIGMOID[:0:-1], SIGMOID)).astype(np.int32)
    return g.op("Gather", g.constant(table), at)


def multiply(s: Step, op: Multiply, x: Tensor, gates: Tensor) -> Tensor:
    """Values weighed by a gate."""
    peak = s.peak(op.source)
    return toward_zero(s.graph, s.graph.sealed(weigh(s.graph, x, gates, peak)), op.shift, peak)


def gated(s: Step, op: GatedState, x: Tensor, gates: Tensor) -> Tensor:
    """Gated moving averages."""
    g = s.graph
    held = weigh(g, s.state(op, "s", op.size), gates, STATE_MAX)
    taken = weigh(g, x, g.sub(DECAY_ONE, gates), s.peak(op.source))
    after = saturate(g, g.add(held, taken))
    s.hold(op, "s", after)
    s.keep(op, "s", after)
    return after


def resonator(s: Step, op: Resonator, x: Tensor) -> Tensor:
    """Damped oscillators."""
    g = s.graph
    re, im = s.state(op, "re", op.size), s.state(op, "im", op.size)

    def times(value: Tensor, factor: Operand) -> Tensor:
        return weigh(g, value, factor, STATE_MAX)

    cosine, sine = plain(op.cosine), plain(op.sine)
    if s.peak(op.source) > 2 * EXACT:  # beyond it the state saturates anyway, and the sum stays in int32
        x = g.clip(x, -2 * EXACT, 2 * EXACT)
    turned = saturate(g, g.add(g.sealed(g.sub(times(re, cosine), times(im, sine))), x))
    imaginary = saturate(g, g.add(times(re, sine), times(im, cosine)))
    for name, value in (("re", turned), ("im", imaginary)):
        s.hold(op, name, value)
        s.keep(op, name, value)
    return turned


def torus(s: Step, op: Torus, x: Tensor) -> Tensor:
    """Sum over the eight neighbours: what each hears is looked up by tables of places.

    A gather of all eight, summed over an axis, is one node less; OpenVINO 2026.4 answered zeros for some samples.
    """
    g = s.graph
    grid = np.arange(op.size, dtype=np.int32).reshape(op.rows, op.columns)
    heard = []
    for k, (row, column) in enumerate(NEIGHBOURS):
        one = g.op("Gather", x, np.roll(grid, (-row, -column), (0, 1)).ravel(), axis=1)  # [B, N]
        heard.append(one if op.edges is None else g.mul(one, plain(op.edges[k])))
    return g.add(*heard)
