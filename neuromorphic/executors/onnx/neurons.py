"""Neurons, integrators and read-outs as ONNX nodes."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.onnx.graph import UINT8, Operand, Tensor
from neuromorphic.executors.onnx.integers import (
    LIMB,
    Wide,
    digits,
    floor_shift,
    num_digits,
    product_columns,
    saturate,
    weigh,
)
from neuromorphic.executors.onnx.products import product
from neuromorphic.executors.onnx.step import Step, plain
from neuromorphic.ops import LI, LIF, HomeostaticLIF, Readout
from neuromorphic.ops.homeostatic_lif import OCTAVE, RATE_BITS, RATE_ONE
from neuromorphic.ops.numbers import STATE_MAX

_LOOK_BACK = ("subtract_snntorch", "zero_delayed", "subtract_delayed", "zero_with_input")
_MOST = (1 << 31) - 1
_COUNT_BITS = 32


def lif(s: Step, op: LIF, *currents: Tensor) -> Tensor:
    """Spikes of neurons whose thresholds stay."""
    return _fire(s, op, plain(op.threshold), currents)


def _fire(s: Step, op: LIF, theta: Operand, currents: tuple[Tensor, ...]) -> Tensor:
    g, v = s.graph, s.state(op, "v", op.size)
    drive = g.add(g.mul(s.sum(currents), 1 << op.shift), plain(op.bias))
    looked = g.op("Greater", v, theta) if op.reset in _LOOK_BACK else ""
    if op.reset == "zero_delayed":
        v = g.where(looked, 0, v)
    lowered = g.mul(g.whole(looked), theta) if looked and op.reset.startswith("subtract") else ""
    if lowered:
        drive = g.sub(drive, lowered)
    u = saturate(g, g.add(weigh(g, v, plain(op.decay), STATE_MAX), drive))
    if op.reset == "zero_with_input":
        u = g.where(looked, 0, u)
    fired = g.op("Greater", u, theta)
    spikes, after = g.whole(fired), u
    if op.reset == "zero":
        after = g.where(fired, 0, u)
    elif op.reset in ("subtract", "subtract_snntorch"):
        after = g.sub(u, g.mul(spikes, theta))
        after = saturate(g, g.add(after, lowered) if lowered else after)
    s.hold(op, "v", after)
    s.keep(op, "v", after)
    if s.wanted(op, "spikes"):
        s.keep(op, "spikes", g.cast(spikes, UINT8))
    return spikes


def integrator(s: Step, op: LI | Readout, *currents: Tensor) -> Tensor:
    """Leaky integrators and running sums."""
    g, name = s.graph, op.variables[0].name
    v = s.state(op, name, op.size)
    drive = g.add(g.mul(s.sum(currents), 1 << op.shift), plain(op.bias))
    held = weigh(g, v, plain(op.decay), STATE_MAX) if isinstance(op, LI) else v
    after = saturate(g, g.add(held, drive))
    s.hold(op, name, after)
    s.keep(op, name, after)
    return after


def homeostatic(s: Step, op: HomeostaticLIF, *currents: Tensor) -> Tensor:
    """Spikes of neurons whose thresholds follow their firing rate."""
    g, domains = s.graph, op.num_domains
    before = {  # kept relative to their start, so that all states begin with zeros
        field: g.add(s.state(op, field, domains), plain(op.control[:, i]))
        for i, field in enumerate(op.fields_of_control)
    }
    spikes = _fire(s, op, _moved_threshold(s, op, before["offset"]), currents)
    belongs = np.repeat(np.eye(domains, dtype=np.int8), op.per_domain, axis=1)  # [domains, N]
    fired = product(g, belongs, spikes, 0, 1, s.products)
    count = g.add(s.state(op, "count", domains), fired)
    place = g.add(s.state(op, "place", 1), 1)
    due = g.op("Equal", place, op.period)
    after = _control(s, op, before, count)
    for i, field in enumerate(op.fields_of_control):
        value = g.where(due, after[field], before[field])
        s.hold(op, field, g.sub(value, plain(op.control[:, i])))
        if field == "offset":
            s.keep(op, "offset", value)
    s.hold(op, "count", g.where(due, 0, count))
    s.hold(op, "place", g.where(due, 0, place))
    return spikes


def _moved_threshold(s: Step, op: HomeostaticLIF, offset: Tensor) -> Tensor:
    """Return ``min(threshold * OCTAVE[f] >> (15 - k), STATE_MAX)``, ``[B, N]``.

    The product has up to 39 bits: ``high * 4096 + low``. How far it is shifted, 0..31, differs by domain, so whatever a
    shift needs comes from a table of 32; ``high`` is first limited to where the result is above the limit anyway.
    """
    g = s.graph
    above = g.add(offset, 16 << RATE_BITS)  # not negative
    octave = g.quotient(above, RATE_ONE)
    part = g.quotient(g.sub(above, g.mul(octave, RATE_ONE)), RATE_ONE // len(OCTAVE))
    factor = _of_domain(s, op, g.op("Gather", g.constant(OCTAVE.astype(np.int32)), part))
    shift = g.sub(31, octave)  # 15 - k, where octave is k + 16
    at = np.arange(32)
    right, left = np.maximum(at - LIMB, 0), np.maximum(LIMB - at, 0)
    tables = {
        "cap": np.minimum(1 << (23 + right - left), _MOST),
        "mask": -(1 << right),
        "right": 1 << right,
        "left": 1 << left,
        "low": 1 << np.minimum(at, LIMB),
    }
    of = {name: _of_domain(s, op, g.op("Gather", g.constant(t.astype(np.int32)), shift)) for name, t in tables.items()}
    threshold = op.threshold.reshape(1, op.num_domains, op.per_domain)
    lows = g.mul(factor, plain(threshold & np.int32((1 << LIMB) - 1)))
    highs = g.add(g.mul(factor, plain(threshold >> np.int32(LIMB))), floor_shift(g, lows, LIMB))
    kept = g.op("BitwiseAnd", g.op("Min", highs, of["cap"]), of["mask"])
    high = g.mul(g.quotient(kept, of["right"]), of["left"])
    low = g.quotient(g.bits(lows, (1 << LIMB) - 1), of["low"])
    shape = np.zeros((1, op.num_domains, op.per_domain), dtype=np.int32)  # where all thresholds were one integer
    moved = g.op("Min", g.add(g.op("Add", high, shape), low), STATE_MAX)
    return g.reshape(moved, -1, op.size)


def _of_domain(s: Step, op: HomeostaticLIF, value: Tensor) -> Tensor:
    return s.graph.reshape(value, -1, op.num_domains, 1)


def _control(s: Step, op: HomeostaticLIF, before: dict[str, Tensor], count: Tensor) -> dict[str, Tensor]:
    """Return what one update makes of the controllers; see :func:`neuromorphic.homeostasis.control_step`."""
    g, shots = s.graph, op.per_domain * op.period
    one_spike = (1 << _COUNT_BITS) // shots
    columns = product_columns(g, digits(g, count, num_digits(shots)), one_spike, one_spike)
    rate = Wide(g, columns).floor(_COUNT_BITS - RATE_BITS)
    moved = g.sealed(weigh(g, g.sub(rate, before["average"]), op.rate_gain, 2 * RATE_ONE))
    average = g.add(before["average"], moved)
    error = g.sub(average, op.target)
    integral = g.clip(g.add(before["integral"], error), *op.integral_limits)
    terms = zip(op.gains, (error, integral, g.sub(error, before["error"])), strict=True)
    parts = [product_columns(g, digits(g, value, 3), gain, max(op.gains)) for gain, value in terms]
    summed = [[tensor for part in parts for tensor in part[i]] for i in range(len(parts[0]))]
    offset = g.clip(Wide(g, summed).toward_zero(LIMB, 1 << 21), *op.offset_limits)
    return {"average": average, "integral": integral, "error": error, "offset": offset}
