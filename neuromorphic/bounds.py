"""Proof, before anything runs, that no accumulator of a program can overflow, and where a state could saturate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import BoundError, InputError
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

ANY_STEPS = INT32_MAX
"""A proof for this many steps holds for any number: until then whatever grows has met its 24-bit limit."""
_ITERATIONS = 4096  # steps of neurons that are followed one by one; beyond them a state is where it settles
_NEVER = 1 << 62  # where a state settles that leaks nothing
_BLOCK = 1 << 20  # weights that are taken to a wider type at a time
_TO_ZERO = ("zero", "zero_delayed", "zero_with_input")
_LOWERED = ("subtract_snntorch", "subtract_delayed")


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
    """Return one range for all units, in the memory of one."""
    low_end, high_end = (np.broadcast_to(np.int64(end), (size,)) for end in (low, high))
    return low_end, high_end


def _require_int32(name: str, what: str, low: NDArray[Any], high: NDArray[Any], shift: int = 0) -> None:
    """Refuse what leaves int32 once it is shifted to the left, as a Python integer: that cannot wrap."""
    peaks = np.maximum(np.abs(low), np.abs(high))
    worst = int(peaks.max()) << shift
    if worst > INT32_MAX:
        raise BoundError(
            f"{name}: {what} of neuron {int(np.argmax(peaks))} can reach {worst}, int32 holds {INT32_MAX}; "
            "lower the shift, the fan-in or the input range"
        )


def _sums(weights: NDArray[np.int8], x: Interval) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the lowest and highest ``weights @ x``, exact: in float64, int64 or Python integers, whichever holds it.

    Of ``m = x[0] + x[1]`` and ``d = x[1] - x[0]`` the ends are ``(weights @ m -+ |weights| @ d) / 2``.
    """
    heaviest = int(np.abs(weights.astype(np.int16)).max())
    widest = 2 * heaviest * weights.shape[1] * int(max(np.abs(x[0]).max(), np.abs(x[1]).max()))
    wide: Any = np.float64 if widest < 1 << 53 else np.int64 if widest < 1 << 63 else object
    both, apart = (end.astype(wide) for end in (x[0] + x[1], x[1] - x[0]))
    rows = max(1, _BLOCK // weights.shape[1])
    ends: list[tuple[Any, Any]] = []
    for start in range(0, len(weights), rows):
        block = weights[start : start + rows].astype(wide)
        middle, reach = block @ both, np.abs(block) @ apart
        ends.append((middle - reach, middle + reach))
    low, high = (np.concatenate(parts) // 2 for parts in zip(*ends, strict=True))
    return (low, high) if wide is object else _int64(low, high)


def _dense(op: Dense, x: Interval) -> Interval:
    sums = _sums(op.weights, x)
    _require_int32(op.name, "the sum", *sums, shift=op.shift)
    low, high = (np.left_shift(end.astype(np.int64), np.int64(op.shift)) for end in sums)
    return low, high


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
    peak = _held(op, num_steps) * KEY_ONE * op.size >> op.frac
    return _all(op.size, -peak, peak)


def _held(op: FastWeights, num_steps: int) -> int:
    """Return how large an entry of the matrix can be after so many steps."""
    if op.rule != "hebbian":
        return STATE_MAX
    written = (1 << 2 * KEY_BITS) >> (2 * KEY_BITS + op.rate_bits - op.frac)  # at most, of two full keys
    if op.decay == DECAY_ONE:
        return min(written * num_steps, STATE_MAX)
    held = 0
    for _ in range(num_steps):  # it settles, or meets its limit, within 40,000 steps
        after = min((held * op.decay >> DECAY_BITS) + written, STATE_MAX)
        if after == held:
            break
        held = after
    return held


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
    """Bound ``|z|`` by ``(|x| + 2) * min(1 / (1 - r), num_steps)`` with the length ``r`` of the factor, in integers.

    The rounding of four products lengthens ``z`` by less than 2. ``1 / (1 - r)`` is ``(1 + r) / (1 - r**2)``, for which
    ``r`` is rounded up at 26 bits and ``r**2`` is exact.
    """
    square = op.cosine.astype(np.int64) ** 2 + op.sine.astype(np.int64) ** 2  # (4096 r)**2
    length = np.sqrt((square << 28).astype(np.float64)).astype(np.int64)  # 2**26 r, rounded to one of its neighbours
    length += length * length < square << 28
    left = np.int64(DECAY_ONE**2) - square
    peak = np.maximum(np.abs(x[0]), np.abs(x[1])) + 2
    settled = -(-peak * ((1 << 26) + length) // (4 * np.maximum(left, 1)))
    bound = np.minimum(np.where(left > 0, settled, _NEVER), peak * num_steps)
    clipped = np.minimum(bound, STATE_MAX)
    return (-clipped, clipped), bool((bound > STATE_MAX).any())


def _state(
    decay: NDArray[np.int64], drive: Interval, num_steps: int, *, theta: Interval | None, reset: str
) -> tuple[Interval, bool]:
    """Worst case of a state over ``num_steps`` steps from zero, and whether it can meet the 24-bit limit."""
    follow = _settled_state if num_steps > _ITERATIONS else _followed_state
    low, high = follow(decay, drive, num_steps, theta=theta, reset=reset)
    saturates = bool((high > STATE_MAX).any() or (low < -STATE_MAX).any())
    return (low, high), saturates


def _followed_state(
    decay: NDArray[np.int64], drive: Interval, num_steps: int, *, theta: Interval | None, reset: str
) -> Interval:
    """Make the steps one by one, until nothing changes."""
    held_low, held_high = np.zeros_like(decay), np.zeros_like(decay)
    low, high = held_low, held_high
    for _ in range(num_steps):
        new_low = shift_right_toward_zero(held_low * decay, DECAY_BITS) + drive[0]
        new_high = shift_right_toward_zero(held_high * decay, DECAY_BITS) + drive[1]
        if theta is not None and reset in _LOWERED:
            new_low = new_low - theta[1]
        low, high = np.minimum(low, new_low), np.maximum(high, new_high)
        next_low, next_high = np.clip(low, -STATE_MAX, STATE_MAX), np.clip(high, -STATE_MAX, STATE_MAX)
        if theta is not None:
            if reset in _TO_ZERO:
                next_high = np.minimum(next_high, theta[1])  # whatever exceeds the threshold counts as zero
            elif reset == "subtract":
                next_high = np.minimum(next_high, np.maximum(theta[1], next_high - theta[0]))
        if np.array_equal(next_low, held_low) and np.array_equal(next_high, held_high):
            break
        held_low, held_high = next_low, next_high
    return low, high


def _settled_state(
    decay: NDArray[np.int64], drive: Interval, num_steps: int, *, theta: Interval | None, reset: str
) -> Interval:
    """Say where :func:`_followed_state` settles, or what it cannot exceed in ``num_steps`` steps."""
    up, down = drive[1], -drive[0]
    if theta is not None and reset in _LOWERED:
        down = down + theta[1]
    before = num_steps - 1  # what is held before the last step
    held_high, held_low = (
        np.minimum(_settles_at(decay, d), np.maximum(d, 0) * before).clip(max=STATE_MAX) for d in (up, down)
    )
    if theta is not None:
        if reset in _TO_ZERO:
            held_high = np.minimum(held_high, theta[1])
        elif reset == "subtract":  # from the threshold on it gains what is left of the drive
            more = up - theta[0]
            beyond = np.minimum(_settles_at(decay, more), theta[1] + np.maximum(more, 0) * before)
            beyond = np.minimum(beyond, STATE_MAX - theta[0])
            held_high = np.minimum(held_high, np.maximum(theta[1], beyond))
    high, low = (
        np.maximum(np.right_shift(held * decay, np.int64(DECAY_BITS)) + d, 0)
        for held, d in ((held_high, up), (held_low, down))
    )
    return -low, high


def _settles_at(decay: NDArray[np.int64], drive: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the limit of ``h = (h * decay >> 12) + drive`` from zero: the first ``h`` that a step does not raise.

    A step takes ``ceil(h * (4096 - decay) / 4096)`` away, which is ``drive`` or more as soon as
    ``h * (4096 - decay) > 4096 * (drive - 1)``.
    """
    lost = np.int64(DECAY_ONE) - decay
    limit = np.int64(DECAY_ONE) * (drive - 1) // np.maximum(lost, 1) + 1
    return np.where(drive > 0, np.where(lost > 0, limit, np.int64(_NEVER)), np.int64(0))


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
    intervals = {op.name: _events(program, op) for op in program.ops if op.kind == "events"}
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


def most_steps(program: Program, limit: int = ANY_STEPS) -> int:
    """Return for how many steps from zero every accumulator is proven to fit, :data:`ANY_STEPS` for any number.

    A state that saturates is no obstacle: it stays at its limit, on every executor alike. What a program gives onward
    stops growing there, so most programs are proven for any number of steps. One is not where the state of an ``LI``, a
    ``Resonator`` or ``FastWeights`` that still grows after ``num_steps`` steps is summed by another operation.

    Parameters
    ----------
    program : Program
        Any program.
    limit : int
        Where to stop looking.

    Returns
    -------
    int
        ``program.num_steps`` or more.

    Raises
    ------
    BoundError
        When not even ``program.num_steps`` steps are proven.

    Examples
    --------
    >>> one = np.ones(1, dtype=np.int32)
    >>> ops = (
    ...     Input("x", 1),
    ...     Dense("fc", "x", np.array([[1]], dtype=np.int8)),
    ...     LI("sum", ("fc",), decay=4096 * one, bias=0 * one),
    ...     Scale("large", "sum", factor=(1 << 20) * one),
    ... )
    >>> most_steps(Program(ops, num_steps=10))
    2047
    """
    if program.num_steps < limit and _is_proven(program, limit):
        return limit
    prove(program)
    if program.num_steps >= limit:
        return program.num_steps
    proven, refused = program.num_steps, limit
    while refused - proven > 1:
        middle = (proven + refused) // 2
        proven, refused = (middle, refused) if _is_proven(program, middle) else (proven, middle)
    return proven


def _is_proven(program: Program, num_steps: int) -> bool:
    try:
        prove(replace(program, num_steps=num_steps))
    except BoundError:
        return False
    return True


def proven_for(program: Program, num_steps: int) -> Program:
    """Return a program as one of at least ``num_steps`` steps, its bounds proven for them; executors run that.

    Parameters
    ----------
    program : Program
        Proven for its own ``num_steps``.
    num_steps : int
        Steps of the inputs.

    Returns
    -------
    Program
        The program itself if the inputs have no more steps than it has.

    Raises
    ------
    InputError
        When the inputs have more, and an accumulator could overflow in them.
    """
    if num_steps <= program.num_steps:
        return program
    longer = replace(program, num_steps=min(num_steps, ANY_STEPS))
    try:
        prove(longer)
    except BoundError as error:
        most = most_steps(program, num_steps)
        raise InputError(
            f"{program.input.name}: inputs have {num_steps} steps, the program is proven for at most {most} (it was "
            f"compiled for {program.num_steps}): in {num_steps} steps, {error}"
        ) from error
    return longer


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
    _require_int32(op.name, "the value", *interval)
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
