"""Proof, before anything runs, that no accumulator of a program can overflow, and where a state could saturate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import BoundError
from neuromorphic.fixed_point import DECAY_BITS, DECAY_ONE, INT32_MAX, STATE_MAX, shift_right_toward_zero
from neuromorphic.homeostasis import moved_threshold
from neuromorphic.neuron_ops import LIF, HomeostaticLIF
from neuromorphic.ops import Dense, Input, Op, Readout
from neuromorphic.pathway_arithmetic import KEY_BITS, KEY_ONE, MEMORY_BITS, gate
from neuromorphic.pathway_ops import (
    LI,
    Delay,
    FastWeights,
    Gate,
    GatedState,
    Multiply,
    Resonator,
    Scale,
    Slots,
    Torus,
)
from neuromorphic.program import Program

_ITERATIONS = 4096  # steps that are followed one by one; beyond them the bound is the geometric series


@dataclass(frozen=True)
class OpBound:
    """The proven range of what an operation puts out or holds.

    ``low`` and ``high`` bound what flows out, a ``LIF``'s membrane before its reset or a ``Readout``'s sum;
    ``can_saturate`` says whether the 24-bit limit can be reached within the program's ``num_steps``.
    """

    name: str
    low: int
    high: int
    can_saturate: bool

    @property
    def peak(self) -> int:
        """Largest magnitude."""
        return max(-self.low, self.high)


Interval = tuple[NDArray[np.int64], NDArray[np.int64]]


def _int64(*arrays: NDArray[np.integer]) -> Interval:
    low, high = (array.astype(np.int64) for array in arrays)
    return low, high


def _all(size: int, low: int, high: int) -> Interval:
    return np.full(size, low, dtype=np.int64), np.full(size, high, dtype=np.int64)


def _require_int32(name: str, what: str, low: NDArray[np.int64], high: NDArray[np.int64]) -> None:
    worst = int(max(np.abs(low).max(), np.abs(high).max()))
    if worst > INT32_MAX:
        neuron = int(np.argmax(np.maximum(np.abs(low), np.abs(high))))
        raise BoundError(
            f"{name}: {what} of neuron {neuron} can reach {worst}, int32 holds {INT32_MAX}; "
            "lower the shift, the fan-in or the input range"
        )


def _dense(op: Dense, x: Interval) -> Interval:
    weights = op.weights.astype(np.int64)
    positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
    low = np.asarray(positive @ x[0] + negative @ x[1], dtype=np.int64)
    high = np.asarray(positive @ x[1] + negative @ x[0], dtype=np.int64)
    return np.left_shift(low, np.int64(op.shift)), np.left_shift(high, np.int64(op.shift))


def _scale(op: Scale, x: Interval) -> Interval:
    ends = [shift_right_toward_zero(end * op.factor.astype(np.int64), op.shift) for end in x]
    return np.minimum(*ends), np.maximum(*ends)


def _gate(op: Gate, x: Interval) -> Interval:
    return _int64(*(gate(np.clip(end, -INT32_MAX, INT32_MAX).astype(np.int32), op.offset) for end in x))


def _multiply(op: Multiply, x: Interval, gates: Interval) -> Interval:
    ends = [shift_right_toward_zero(end * g, DECAY_BITS + op.shift) for end in x for g in gates]
    return np.minimum.reduce(ends), np.maximum.reduce(ends)


def _torus(op: Torus, x: Interval) -> Interval:
    low, high = min(int(x[0].min()), 0), max(int(x[1].max()), 0)
    if op.edges is None:
        return _all(op.size, 8 * low, 8 * high)
    up, down = ((op.edges == sign).sum(axis=0, dtype=np.int64) for sign in (1, -1))
    return up * low - down * high, up * high - down * low


def _fast_weights(op: FastWeights, num_steps: int) -> Interval:
    held = STATE_MAX
    if op.rule == "hebbian":  # every write adds at most one product of two full keys
        held, written = 0, (1 << 2 * KEY_BITS) >> (2 * KEY_BITS + op.rate_bits - op.frac)
        for _ in range(min(num_steps, _ITERATIONS)):
            held = min((held * op.decay >> DECAY_BITS) + written, STATE_MAX)
        if op.decay == DECAY_ONE:
            held = min(written * num_steps, STATE_MAX)
    peak = held * KEY_ONE * op.size >> op.frac
    return _all(op.size, -peak, peak)


def _slots(op: Slots) -> Interval:
    fast = (1 << MEMORY_BITS) >> op.shift if op.plastic or op.fast is not None else 0
    gain = abs(op.gain)
    return _all(op.size, -gain, gain + fast)


def _averaged(x: Interval) -> tuple[Interval, bool]:
    """Bound a moving average that starts at zero: it never leaves the hull of zero and its input."""
    low, high = np.minimum(x[0], 0), np.maximum(x[1], 0)
    saturates = bool((high > STATE_MAX).any() or (low < -STATE_MAX).any())
    return (np.maximum(low, -STATE_MAX), np.minimum(high, STATE_MAX)), saturates


def _resonator(op: Resonator, x: Interval, num_steps: int) -> tuple[Interval, bool]:
    magnitude = np.sqrt(op.cosine.astype(np.float64) ** 2 + op.sine.astype(np.float64) ** 2) / (1 << DECAY_BITS)
    peak = np.maximum(np.abs(x[0]), np.abs(x[1])).astype(np.float64) + 2.0  # 2: the rounding of four products
    memory = np.minimum(1.0 / np.maximum(1.0 - magnitude, 1e-12), float(num_steps))
    bound = np.ceil(peak * memory)
    clipped = np.minimum(bound, STATE_MAX).astype(np.int64)
    return (-clipped, clipped), bool((bound > STATE_MAX).any())


def _state(
    decay: NDArray[np.int64], drive: Interval, num_steps: int, *, theta: Interval | None, reset: str
) -> tuple[Interval, bool]:
    """Worst case of a state over ``num_steps`` steps from zero, and whether it can meet the 24-bit limit."""
    held_low, held_high = np.zeros_like(decay), np.zeros_like(decay)
    low, high = held_low, held_high
    for _ in range(min(num_steps, _ITERATIONS)):
        new_low = shift_right_toward_zero(held_low * decay, DECAY_BITS) + drive[0]
        new_high = shift_right_toward_zero(held_high * decay, DECAY_BITS) + drive[1]
        if theta is not None and reset in ("subtract_snntorch", "subtract_delayed"):
            new_low = new_low - theta[1]
        low, high = np.minimum(low, new_low), np.maximum(high, new_high)
        next_low, next_high = np.clip(low, -STATE_MAX, STATE_MAX), np.clip(high, -STATE_MAX, STATE_MAX)
        if theta is not None:
            if reset in ("zero", "zero_delayed", "zero_with_input"):
                next_high = np.minimum(next_high, theta[1])  # whatever exceeds the threshold counts as zero
            elif reset == "subtract":
                next_high = np.minimum(next_high, np.maximum(theta[1], next_high - theta[0]))
        if np.array_equal(next_low, held_low) and np.array_equal(next_high, held_high):
            break
        held_low, held_high = next_low, next_high
    else:
        if num_steps > _ITERATIONS:
            memory = np.minimum(num_steps, (1 << DECAY_BITS) // np.maximum((1 << DECAY_BITS) - decay, 1) + 1)
            memory = np.where(decay == 1 << DECAY_BITS, num_steps, memory)
            down = 0 if theta is None else theta[1]
            low = np.minimum(low, np.minimum(drive[0] - down, 0) * memory)
            high = np.maximum(high, np.maximum(drive[1], 0) * memory)
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
    intervals: dict[str, Interval] = {op.name: _events(program, op) for op in program.ops if op.kind == "events"}
    bounds: list[OpBound] = []
    for op in program.ops:
        if isinstance(op, (Input, Delay)):
            continue
        interval, saturates = bound_op(op, [intervals[source] for source in op.sources], program.num_steps)
        if op.kind != "events":
            intervals[op.name] = interval
        bound = OpBound(op.name, int(interval[0].min()), int(interval[1].max()), saturates)
        if strict and saturates:
            raise BoundError(
                f"{op.name}: a state can reach {bound.peak} within {program.num_steps} steps and "
                f"saturate at {STATE_MAX}; lower its shift, or run without strict"
            )
        bounds.append(bound)
    return bounds


def _events(program: Program, op: Op) -> Interval:
    op, _ = program.undelayed(op.name)  # zeros before anything arrives, and an input's range holds zero
    return _all(op.size, op.low, op.high) if isinstance(op, Input) else _all(op.size, 0, 1)


def bound_op(op: Op, sources: list[Interval], num_steps: int) -> tuple[Interval, bool]:
    """Bound one operation from what its sources give; :func:`prove` does so in program order.

    Parameters
    ----------
    op : Op
        Any but an ``Input`` or a ``Delay``.
    sources : list of Interval
        For each source the lowest and highest value of every unit, int64, ``[N]``.
    num_steps : int
        Steps of a sample.

    Returns
    -------
    tuple[Interval, bool]
        What the operation puts out or holds, and whether its state can meet the 24-bit limit.

    Raises
    ------
    BoundError
        When an accumulator could overflow.
    """
    if isinstance(op, (LIF, Readout, LI)):
        return _integrated(op, sources, num_steps)
    if isinstance(op, GatedState):
        return _averaged(sources[0])
    if isinstance(op, Resonator):
        return _resonator(op, sources[0], num_steps)
    if isinstance(op, Dense):
        interval = _dense(op, sources[0])
    elif isinstance(op, Scale):
        interval = _scale(op, sources[0])
    elif isinstance(op, Gate):
        interval = _gate(op, sources[0])
    elif isinstance(op, Multiply):
        interval = _multiply(op, *sources)
    elif isinstance(op, Torus):
        interval = _torus(op, sources[0])
    elif isinstance(op, FastWeights):
        interval = _fast_weights(op, num_steps)
    else:
        assert isinstance(op, Slots), op
        low, high = int(sources[0][0].min()), int(sources[0][1].max())
        if (low, high) != (0, 1):
            raise BoundError(f"{op.name}: its source must give spikes, 0 or 1, got events in {low}..{high}")
        interval = _slots(op)
    _require_int32(op.name, "the sum" if isinstance(op, Dense) else "the value", *interval)
    return interval, False


def _thresholds(op: LIF) -> Interval:
    if not isinstance(op, HomeostaticLIF):
        return op.threshold.astype(np.int64), op.threshold.astype(np.int64)
    ends = (np.full((1, 1), offset, dtype=np.int32) for offset in op.offset_limits)
    low, high = (moved_threshold(op.threshold, end, op.size)[0].astype(np.int64) for end in ends)
    return low, high


def _integrated(op: LIF | Readout | LI, sources: list[Interval], num_steps: int) -> tuple[Interval, bool]:
    low, high = (np.stack([source[side] for source in sources]).sum(axis=0) for side in (0, 1))
    _require_int32(op.name, "the summed current", low, high)
    drive = tuple(np.left_shift(side, op.shift) + op.bias.astype(np.int64) for side in (low, high))
    room = np.int64(2 * STATE_MAX)  # what a decayed state and a held threshold can add to it
    _require_int32(op.name, "the state before saturation", drive[0] - room, drive[1] + room)
    decay = np.full(op.size, 1 << DECAY_BITS, dtype=np.int64) if isinstance(op, Readout) else op.decay.astype(np.int64)
    theta = _thresholds(op) if isinstance(op, LIF) else None
    reset = op.reset if isinstance(op, LIF) else "none"
    (low, high), saturates = _state(decay, (drive[0], drive[1]), num_steps, theta=theta, reset=reset)
    if isinstance(op, LI):
        low, high = np.maximum(low, -STATE_MAX), np.minimum(high, STATE_MAX)
    return (low, high), saturates
