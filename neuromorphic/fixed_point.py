"""The integer arithmetic of a program, defined once.

Every executor must equal these functions bit for bit. They are written to be read: NumPy, one rule a line, every dtype
named (NumPy 1.26 and 2 disagree on what happens to small integers that meet Python integers).

Number formats
    * a *state* (membrane potential, running sum) is a 24-bit signed value held in int32; it saturates at
      ``STATE_MIN .. STATE_MAX``, symmetric, as Lava's and Loihi's membrane does;
    * a *decay* is unsigned Q0.12: ``decay / 4096`` is the factor by which a membrane shrinks in one step;
    * a *current* is the exact int32 sum of weights times events; a compile-time proof keeps it inside int32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STATE_BITS = 24
STATE_MAX = (1 << (STATE_BITS - 1)) - 1
STATE_MIN = -STATE_MAX
DECAY_BITS = 12
DECAY_ONE = 1 << DECAY_BITS
INT32_MAX = (1 << 31) - 1

RESETS = ("zero", "subtract", "none", "subtract_snntorch", "zero_delayed", "subtract_delayed", "zero_with_input")
_LOOK_BACK = ("subtract_snntorch", "zero_delayed", "subtract_delayed", "zero_with_input")
"""Resets that ask what the membrane was before the step."""
_EXACT_FLOAT = 1 << 53


def shift_right_toward_zero(x: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Divide by ``2**bits``, rounding toward zero: ``sign(x) * (|x| >> bits)``.

    Parameters
    ----------
    x : NDArray[np.int64]
        Any shape.
    bits : int
        Non-negative shift.

    Returns
    -------
    NDArray[np.int64]
        Same shape.

    References
    ----------
    Lava 0.10 ``lava/proc/lif/models.py``, ``subthr_dynamics``: the rounding of Loihi's decay.

    Examples
    --------
    >>> shift_right_toward_zero(np.array([-5, 5], dtype=np.int64), 1).tolist()
    [-2, 2]
    """
    wide = x.astype(np.int64)
    return np.sign(wide) * np.right_shift(np.abs(wide), np.int64(bits))


def apply_decay(v: NDArray[np.int32], decay: NDArray[np.int32]) -> NDArray[np.int64]:
    """Leak one step: ``v * decay >> 12`` rounded toward zero, the product taken in int64.

    Parameters
    ----------
    v : NDArray[np.int32]
        State, ``[B, N]``.
    decay : NDArray[np.int32]
        Q0.12 factors in 0..4096, ``[N]``.

    Returns
    -------
    NDArray[np.int64]
        ``[B, N]``, not yet added to or saturated.

    Examples
    --------
    >>> apply_decay(np.array([[1000, -1000]], dtype=np.int32), np.array([3686, 3686], dtype=np.int32)).tolist()
    [[899, -899]]
    """
    return shift_right_toward_zero(v.astype(np.int64) * decay.astype(np.int64), DECAY_BITS)


def saturate(x: NDArray[np.int64]) -> NDArray[np.int32]:
    """Clip to the 24-bit state range ``STATE_MIN .. STATE_MAX``.

    Examples
    --------
    >>> saturate(np.array([1 << 30, -(1 << 30), 5], dtype=np.int64)).tolist()
    [8388607, -8388607, 5]
    """
    return np.clip(x, np.int64(STATE_MIN), np.int64(STATE_MAX)).astype(np.int32)


def dense(weights: NDArray[np.int8], events: NDArray[np.int32], shift: int) -> NDArray[np.int32]:
    """Exact sum of weights times events, then an exact left shift.

    Equation: ``current[b, i] = (sum_j weights[i, j] * events[b, j]) << shift``.

    Parameters
    ----------
    weights : NDArray[np.int8]
        ``[out, in]``; ternary or 8-bit.
    events : NDArray[np.int32]
        ``[B, in]``; 0/1 spikes or graded integers.
    shift : int
        Non-negative; loses nothing because it goes left.

    Returns
    -------
    NDArray[np.int32]
        ``[B, out]``. That it fits is proven by :mod:`neuromorphic.bounds` before anything runs.

    Examples
    --------
    >>> w = np.array([[1, 0, -1]], dtype=np.int8)
    >>> dense(w, np.array([[3, 9, 1]], dtype=np.int32), 4).tolist()
    [[32]]
    """
    peak = int(np.abs(events.astype(np.int64)).max(initial=0)) * int(np.abs(weights.astype(np.int64)).max(initial=0))
    total: NDArray[np.int64]
    if peak * weights.shape[1] < _EXACT_FLOAT:  # no partial sum leaves what float64 holds exactly, and BLAS is fast
        total = (events.astype(np.float64) @ weights.astype(np.float64).T).astype(np.int64)
    else:
        total = events.astype(np.int64) @ weights.astype(np.int64).T
    shifted: NDArray[np.int64] = np.left_shift(total, np.int64(shift))
    return shifted.astype(np.int32)


def lif_step(
    v: NDArray[np.int32],
    current: NDArray[np.int32],
    *,
    decay: NDArray[np.int32],
    threshold: NDArray[np.int32],
    bias: NDArray[np.int32],
    shift: int,
    reset: str,
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """One step of the integer leaky integrate-and-fire neuron.

    Equation, in this order: ``u = sat24(tz(v * decay, 12) + (current << shift) + bias)``; ``spike = u > threshold``
    (strict: a tie is silent); then the reset, in the same step:

    * ``zero``: ``v = 0`` where it spiked;
    * ``subtract``: ``v = u - threshold`` where it spiked;
    * ``none``: ``v = u``;
    * ``subtract_snntorch``: the rule of snnTorch's ``Leaky(reset_mechanism="subtract", reset_delay=False)``, which
      looks at the membrane *before* the step: with ``r = v > threshold``, ``u`` is lowered by ``r * threshold`` before
      the comparison and ``v = sat24(u - (spike - r) * threshold)`` after it. It differs from ``subtract`` only where
      a membrane is still above threshold after its reset;
    * ``subtract_delayed`` and ``zero_delayed``: those of ``Leaky(reset_delay=True)``, which reset in the next step.
      With ``r = v > threshold``, ``u`` is lowered by ``r * threshold``, or ``v`` counts as 0 where ``r``; ``v = u``;
    * ``zero_with_input``: that of snnTorch's other neurons, which lose the input of the step too: ``u = 0`` where
      ``r``; ``v = u``.

    Parameters
    ----------
    v : NDArray[np.int32]
        State before the step, ``[B, N]``.
    current : NDArray[np.int32]
        Summed synaptic current, ``[B, N]``.
    decay, threshold, bias : NDArray[np.int32]
        Per neuron, ``[N]``; decay in Q0.12, threshold and bias in the units of ``v``.
    shift : int
        Fractional bits of the state relative to the current.
    reset : str
        One of ``RESETS``.

    Returns
    -------
    tuple[NDArray[np.uint8], NDArray[np.int32]]
        Spikes (0/1) and the state after the reset, both ``[B, N]``.

    References
    ----------
    Lava 0.10 ``LIF`` fixed-point model with ``du=4095`` (``shift=6``, ``reset="zero"``); snnTorch 1.0 ``Leaky``,
    ``RLeaky``, ``Synaptic``.

    Examples
    --------
    >>> one = lambda x: np.array([x], dtype=np.int32)
    >>> v = np.zeros((1, 1), dtype=np.int32)
    >>> args = dict(decay=one(2048), threshold=one(100), bias=one(0), shift=0, reset="zero")
    >>> for _ in range(3):
    ...     spikes, v = lif_step(v, np.array([[60]], dtype=np.int32), **args)
    ...     print(int(spikes[0, 0]), int(v[0, 0]))
    0 60
    0 90
    1 0
    """
    drive = np.left_shift(current.astype(np.int64), np.int64(shift)) + bias.astype(np.int64)
    theta = threshold.astype(np.int64)
    held = (v.astype(np.int64) > theta) if reset in _LOOK_BACK else np.zeros(v.shape, dtype=np.bool_)
    if reset == "zero_delayed":
        v = np.where(held, np.int32(0), v)
        held = np.zeros_like(held)
    u = saturate(apply_decay(v, decay) + drive - held * theta)  # [B, N]
    if reset == "zero_with_input":
        u = np.where(held, np.int32(0), u)
    fired = u.astype(np.int64) > theta
    after = u.astype(np.int64)
    if reset == "zero":
        after = np.where(fired, np.int64(0), after)
    elif reset in ("subtract", "subtract_snntorch"):
        after = after - fired * theta + held * theta
    return fired.astype(np.uint8), saturate(after)


def accumulate_step(
    y: NDArray[np.int32], current: NDArray[np.int32], *, bias: NDArray[np.int32], shift: int
) -> NDArray[np.int32]:
    """One step of the read-out's running sum: ``y = sat24(y + (current << shift) + bias)``.

    Parameters
    ----------
    y : NDArray[np.int32]
        Running sum before the step, ``[B, N]``.
    current : NDArray[np.int32]
        ``[B, N]``.
    bias : NDArray[np.int32]
        ``[N]``, in the units of ``y``.
    shift : int
        Fractional bits of ``y`` relative to the current.

    Returns
    -------
    NDArray[np.int32]
        ``[B, N]``.

    Examples
    --------
    >>> y = np.array([[7]], dtype=np.int32)
    >>> accumulate_step(y, np.array([[2]], dtype=np.int32), bias=np.array([-1], dtype=np.int32), shift=3).tolist()
    [[22]]
    """
    drive = np.left_shift(current.astype(np.int64), np.int64(shift)) + bias.astype(np.int64)
    return saturate(y.astype(np.int64) + drive)


def quantize_input(x: NDArray[np.floating], scale: float, low: int, high: int) -> NDArray[np.int32]:
    """Real inputs to integers, at the edge of a program: ``clip(rint(x / scale), low, high)``.

    Rounding is half to even in float32, the same as ``torch.round(x / scale)`` in training.

    Parameters
    ----------
    x : NDArray[np.floating]
        Any shape, finite.
    scale : float
        Real value of one integer unit, positive.
    low, high : int
        Inclusive integer range.

    Returns
    -------
    NDArray[np.int32]
        Same shape.

    Examples
    --------
    >>> quantize_input(np.array([0.0, 0.5, 9.0], dtype=np.float32), 1 / 127, -128, 127).tolist()
    [0, 64, 127]
    """
    quotient = x.astype(np.float32) / np.float32(scale)
    clipped: NDArray[np.float32] = np.clip(np.rint(quotient), low, high)
    return clipped.astype(np.int32)
