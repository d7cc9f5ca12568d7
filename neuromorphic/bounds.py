"""Proof, before anything runs, that no accumulator of a program can overflow, and where a state could saturate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import BoundError
from neuromorphic.fixed_point import DECAY_BITS, INT32_MAX, STATE_MAX, shift_right_toward_zero
from neuromorphic.ops import LIF, Dense, Input, Op
from neuromorphic.program import Program

_ITERATIONS = 4096  # a membrane of any Q0.12 decay below 4096/4096 has settled to the bit long before


@dataclass(frozen=True)
class OpBound:
    """The proven range of what an operation puts out or holds.

    ``low`` and ``high`` bound a ``Dense``'s current, a ``LIF``'s membrane before its reset or a ``Readout``'s sum;
    ``can_saturate`` says whether the 24-bit limit can be reached within the program's ``num_steps``.
    """

    name: str
    low: int
    high: int
    can_saturate: bool


Interval = tuple[NDArray[np.int64], NDArray[np.int64]]


def _dense_interval(op: Dense, source: Interval) -> Interval:
    weights = op.weights.astype(np.int64)
    positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
    low = np.asarray(positive @ source[0] + negative @ source[1], dtype=np.int64)
    high = np.asarray(positive @ source[1] + negative @ source[0], dtype=np.int64)
    return np.left_shift(low, np.int64(op.shift)), np.left_shift(high, np.int64(op.shift))


def _require_int32(name: str, what: str, low: NDArray[np.int64], high: NDArray[np.int64]) -> None:
    worst = int(max(np.abs(low).max(), np.abs(high).max()))
    if worst > INT32_MAX:
        neuron = int(np.argmax(np.maximum(np.abs(low), np.abs(high))))
        raise BoundError(
            f"{name}: {what} of neuron {neuron} can reach {worst}, int32 holds {INT32_MAX}; "
            "lower the shift, the fan-in or the input range"
        )


def _state_interval(op: Op, drive: Interval, num_steps: int) -> tuple[Interval, bool]:
    """Worst case of a state over ``num_steps`` steps from zero, and whether it can meet the 24-bit limit."""
    decay = op.decay.astype(np.int64) if isinstance(op, LIF) else np.full(op.size, 1 << DECAY_BITS, dtype=np.int64)
    theta = op.threshold.astype(np.int64) if isinstance(op, LIF) else None
    held_low, held_high = np.zeros(op.size, dtype=np.int64), np.zeros(op.size, dtype=np.int64)
    low, high = held_low, held_high
    for _ in range(min(num_steps, _ITERATIONS)):
        new_low = shift_right_toward_zero(held_low * decay, DECAY_BITS) + drive[0]
        new_high = shift_right_toward_zero(held_high * decay, DECAY_BITS) + drive[1]
        if isinstance(op, LIF) and op.reset == "subtract_snntorch":
            new_low = new_low - op.threshold.astype(np.int64)
        low, high = np.minimum(low, new_low), np.maximum(high, new_high)
        next_low, next_high = np.clip(low, -STATE_MAX, STATE_MAX), np.clip(high, -STATE_MAX, STATE_MAX)
        if theta is not None and isinstance(op, LIF):
            if op.reset == "zero":
                next_high = np.minimum(next_high, theta)  # whatever exceeds the threshold is reset
            elif op.reset == "subtract":
                next_high = np.minimum(next_high, np.maximum(theta, next_high - theta))
        if np.array_equal(next_low, held_low) and np.array_equal(next_high, held_high):
            break
        held_low, held_high = next_low, next_high
    saturates = bool((high > STATE_MAX).any() or (low < -STATE_MAX).any())
    return (low, high), saturates


def prove(program: Program, *, strict: bool = False) -> list[OpBound]:
    """Prove that every accumulator stays in int32, by interval arithmetic over the weights and input range.

    Parameters
    ----------
    program : Program
        Any program.
    strict : bool
        Also refuse a program in which a state could reach its 24-bit limit within ``num_steps`` steps.

    Returns
    -------
    list of OpBound
        One per operation except the input, in program order.

    Raises
    ------
    BoundError
        When an accumulator could overflow, or, in strict mode, a state could saturate.

    References
    ----------
    Interval arithmetic over Loihi's 24-bit membrane; nengo-loihi raises on the same conditions at run time.

    Examples
    --------
    >>> ops = (Input("x", 2, low=-128, high=127), Dense("fc", "x", np.array([[1, -1]], dtype=np.int8)))
    >>> prove(Program(ops, num_steps=1))
    [OpBound(name='fc', low=-255, high=255, can_saturate=False)]
    """
    events: dict[str, Interval] = {}
    bounds: list[OpBound] = []
    for op in program.ops:
        saturates = False
        if isinstance(op, Input):
            events[op.name] = (np.full(op.size, op.low, dtype=np.int64), np.full(op.size, op.high, dtype=np.int64))
            continue
        if isinstance(op, Dense):
            interval = events[op.name] = _dense_interval(op, events[op.source])
            _require_int32(op.name, "the sum", *interval)
        else:
            low, high = (np.stack([events[s][side] for s in op.sources]).sum(axis=0) for side in (0, 1))
            _require_int32(op.name, "the summed current", low, high)
            drive = tuple(np.left_shift(side, op.shift) + op.bias.astype(np.int64) for side in (low, high))
            room = np.int64(2 * STATE_MAX)  # what a decayed state and a held threshold can add to it
            _require_int32(op.name, "the state before saturation", drive[0] - room, drive[1] + room)
            interval, saturates = _state_interval(op, (drive[0], drive[1]), program.num_steps)
            events[op.name] = (np.zeros(op.size, dtype=np.int64), np.ones(op.size, dtype=np.int64))
        bound = OpBound(op.name, int(interval[0].min()), int(interval[1].max()), saturates)
        if strict and saturates:
            raise BoundError(
                f"{op.name}: a state can reach {max(-bound.low, bound.high)} within {program.num_steps} steps and "
                f"saturate at {STATE_MAX}; lower its shift, or run without strict"
            )
        bounds.append(bound)
    return bounds
