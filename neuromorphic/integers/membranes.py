"""The worst case of a leaky state: what interval arithmetic on its step proves, at once for any number of steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE, STATE_MAX, NumPy
from neuromorphic.integers.resets import NO_RESET, Reset
from neuromorphic.integers.symbols import Bound, Range, require_int32

_ITERATIONS = 4096  # steps that are followed one by one; beyond them a state is where it settles
_NEVER = 1 << 62  # where a state settles that leaks nothing


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
    """Make the steps one by one, until nothing changes."""
    held_low, held_high = np.zeros_like(decay), np.zeros_like(decay)
    low, high = held_low, held_high
    for _ in range(num_steps):
        new_low = NumPy().toward_zero(held_low * decay, DECAY_BITS) + drive[0]
        new_high = NumPy().toward_zero(held_high * decay, DECAY_BITS) + drive[1]
        if theta is not None and reset.before == "lower":
            new_low = new_low - theta[1]
        low, high = np.minimum(low, new_low), np.maximum(high, new_high)
        next_low, next_high = np.clip(low, -STATE_MAX, STATE_MAX), np.clip(high, -STATE_MAX, STATE_MAX)
        if theta is not None:
            if to_zero(reset):
                next_high = np.minimum(next_high, theta[1])  # whatever exceeds the threshold counts as zero
            elif reset == Reset("nothing", "subtract"):
                next_high = np.minimum(next_high, np.maximum(theta[1], next_high - theta[0]))
        if np.array_equal(next_low, held_low) and np.array_equal(next_high, held_high):
            break
        held_low, held_high = next_low, next_high
    return low, high


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
