"""Oracles of the integer arithmetic in Python's own unbounded integers, written from the equations."""

from neuromorphic.integers.numbers import STATE_MAX


def clip24(x: int) -> int:
    return max(-STATE_MAX, min(STATE_MAX, x))


def toward_zero(x: int, bits: int) -> int:
    return -((-x) >> bits) if x < 0 else x >> bits


def lif_oracle(v, current, decay, threshold, bias, shift, reset):
    """One neuron in Python integers, written from the docstring's equation."""
    r = reset in ("subtract_snntorch", "subtract_delayed") and v > threshold
    if reset == "zero_delayed" and v > threshold:
        v = 0
    u = clip24(toward_zero(v * decay, 12) + current * 2**shift + bias - r * threshold)
    if reset == "zero_with_input" and v > threshold:
        u = 0
    spike = u > threshold
    if reset == "zero":
        return spike, 0 if spike else u
    if reset == "subtract":
        return spike, clip24(u - spike * threshold)
    if reset == "subtract_snntorch":
        return spike, clip24(u - (spike - r) * threshold)
    return spike, u
