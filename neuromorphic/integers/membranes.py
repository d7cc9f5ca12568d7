"""The worst case of a leaky state: what interval arithmetic on its step proves, at once for any number of steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE, STATE_MAX
from neuromorphic.integers.resets import NO_RESET, Reset
from neuromorphic.integers.symbols import Bound, Range, require_int32

_ITERATIONS = 4096  # steps that are followed one by one; beyond them a state is where it settles
_NEVER = 1 << 62  # where a state settles that leaks nothing
_FEW = 512  # of so many ends those that are equal are looked for
_STRETCHES_A_STEP = 12  # take as long in Python as one step of all in NumPy
_LOOKS = 16  # steps after which it is looked whether all have settled


def bound_membrane(
    op: Any,
    inputs: list[Range],
    num_steps: int,
    *,
    decay: NDArray[np.integer[Any]],
    thresholds: Range | None = None,
    reset: Reset = NO_RESET,
) -> Bound:
    """Bound ``u = sat(tz(v * decay, 12) + (n << shift) + bias)`` with its reset, from ``v = 0``.

    Parameters
    ----------
    op : LIF, LI or Readout
        Whose ``shift`` and ``bias`` count.
    inputs
        Ranges of the currents; ``n`` is their sum.
    num_steps
        Steps of a sample.
    decay
        Q0.12, ``[N]``.
    thresholds
        Lowest and highest threshold; ``None``: there is none.
    reset
        What happens at the threshold.

    Returns
    -------
    Bound
        Of ``u`` before it saturates.

    Raises
    ------
    BoundError
        When the sum of the currents, or ``u`` before it saturates, could leave int32.
    """
    low, high = (np.stack([source[side] for source in inputs]).sum(axis=0) for side in (0, 1))
    require_int32(f"{op.name}: the summed current", low, high)
    drive = tuple(np.left_shift(side, op.shift) + op.bias.astype(np.int64) for side in (low, high))
    room = np.int64(2 * STATE_MAX)  # what a decayed state and a held threshold can add to it
    require_int32(f"{op.name}: the state before saturation", drive[0] - room, drive[1] + room)
    follow = _settled if num_steps > _ITERATIONS else _followed
    low, high = follow(decay.astype(np.int64), (drive[0], drive[1]), num_steps, theta=thresholds, reset=reset)
    saturates = bool((high > STATE_MAX).any() or (low < -STATE_MAX).any())
    held = np.maximum(low, -STATE_MAX), np.minimum(high, STATE_MAX)
    return Bound(low, high, {next(iter(op.states())): held}, saturates)


def _followed(decay: NDArray[np.int64], drive: Range, num_steps: int, *, theta: Range | None, reset: Reset) -> Range:
    """Make the steps one by one, in the end as if: both ends grow from zero, the lower one below no threshold.

    A state that is held is ``h``, one that is above the threshold is reset, and both ends are monotone in it, so that
    what the last step makes of the last ``h`` is the farthest of all.
    """
    down, up, size = -drive[0], drive[1], decay.size
    first, lost = np.full((2, size), STATE_MAX), np.zeros((2, size), dtype=np.int64)
    if theta is not None:
        down = down + theta[1] if reset.before == "lower" else down
        if to_zero(reset):
            first[1], lost[1] = theta[1], 2 * STATE_MAX  # whatever exceeds the threshold counts as zero
        elif reset == Reset("nothing", "subtract"):
            first[1], lost[1] = theta[1], theta[0]
    gain = np.maximum(np.stack([down, up]), 0)
    keep = np.broadcast_to(decay, gain.shape)
    held = _held(keep.reshape(-1), gain.reshape(-1), first.reshape(-1), lost.reshape(-1), num_steps - 1)
    farthest = np.right_shift(held.reshape(gain.shape) * keep, np.int64(DECAY_BITS)) + gain
    return -farthest[0], farthest[1]


def _held(
    decay: NDArray[np.int64],
    gain: NDArray[np.int64],
    first: NDArray[np.int64],
    lost: NDArray[np.int64],
    num_steps: int,
) -> NDArray[np.int64]:
    """Return what :func:`grown` does, of many: by it where few differ, else step by step."""
    if decay.size <= _FEW:
        rows = list(zip(decay.tolist(), gain.tolist(), first.tolist(), lost.tolist(), strict=True))
        ends = dict.fromkeys(rows, 0)
        if sum(_stretches(*row[:2], num_steps) for row in ends) <= _STRETCHES_A_STEP * num_steps:
            for row in ends:
                ends[row] = grown(*row, num_steps)
            return np.array([ends[row] for row in rows], dtype=np.int64)
    held, more, rest = (np.zeros_like(decay) for _ in range(3))
    for step in range(num_steps):
        np.multiply(held, decay, out=more)
        more >>= np.int64(DECAY_BITS)
        more += gain
        np.minimum(more, STATE_MAX, out=more)
        np.subtract(more, lost, out=rest)
        np.maximum(rest, first, out=rest)
        np.minimum(more, rest, out=more)
        held, more = more, held
        if step % _LOOKS == 0 and np.array_equal(held, more):
            break
    return held


def _stretches(decay: int, gain: int, num_steps: int) -> int:
    """Return about how many stretches :func:`grown` makes.

    They are no more than the values of the leak, which ends where it takes the gain; than steps until a state has all
    but settled; and than steps to the limit of a state, of gains that are larger than any leak of a 4096th.
    """
    leak = DECAY_ONE - decay
    settled = 16 * DECAY_ONE // leak if leak else 1
    return min(num_steps, gain, settled, 2 * STATE_MAX // gain + 1 if gain >= DECAY_ONE else num_steps)


def grown(decay: int, gain: int, first: int, lost: int, num_steps: int) -> int:
    """Return ``h`` after so many steps from zero, exact; a stretch of steps that gain the same is made at once.

    A step is ``x = min((h * decay >> 12) + gain, STATE_MAX)``, then ``h = min(x, max(first, x - lost))``: what is above
    ``first`` loses ``lost``, but nothing below ``first``. What decays, ``ceil(h * (4096 - decay) / 4096)``, stays the
    same while ``h`` crosses no multiple of ``4096 / (4096 - decay)``.
    """
    held, left, leak = 0, num_steps, DECAY_ONE - decay
    while left > 0:
        above = held >= first
        end = max(first, STATE_MAX - lost) if above else first
        leaked = held - (held * decay >> DECAY_BITS)
        more = gain - leaked - (lost if above else 0)
        if more <= 0 or held >= end:
            break
        steps = min(left, -(-(end - held) // more))
        if leak:
            steps = min(steps, ((leaked << DECAY_BITS) // leak - held) // more + 1)
        held, left = held + steps * more, left - steps
        if above:
            held = min(held, end)
        else:
            held = min(held, STATE_MAX)
            held = min(held, max(first, held - lost))
    return held


def to_zero(reset: Reset) -> bool:
    """Whether a membrane above its threshold counts as zero, at once or in the next step."""
    return reset.after == "zero" or reset.before in ("forget", "lose")


def _settled(decay: NDArray[np.int64], drive: Range, num_steps: int, *, theta: Range | None, reset: Reset) -> Range:
    """Say where :func:`_followed` settles, or what it cannot exceed in ``num_steps`` steps."""
    up, down = drive[1], -drive[0]
    if theta is not None and reset.before == "lower":
        down = down + theta[1]
    before = num_steps - 1  # what is held before the last step
    held_high, held_low = (
        np.minimum(_settles_at(decay, d), np.maximum(d, 0) * before).clip(max=STATE_MAX) for d in (up, down)
    )
    if theta is not None:
        if to_zero(reset):
            held_high = np.minimum(held_high, theta[1])
        elif reset == Reset("nothing", "subtract"):  # from the threshold on it gains what is left of the drive
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
