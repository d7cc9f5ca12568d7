"""The integer arithmetic of gates, linear states, fast weights, memory slots and messages, defined once.

As :mod:`neuromorphic.fixed_point`, whose number formats it shares: every executor must equal these functions bit for
bit. ``tz(x, k)`` is :func:`neuromorphic.fixed_point.shift_right_toward_zero`, ``sat`` the clip to 24 bits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from neuromorphic.fixed_point import apply_decay, saturate, shift_right_toward_zero
from neuromorphic.ops.numbers import DECAY_BITS, DECAY_ONE

GATE_INPUT_BITS = 8
"""Fractional bits of a gate's input."""
KEY_BITS = 12
KEY_ONE = 1 << KEY_BITS
"""Keys of fast weights are Q0.12 in -4096..4096."""
MEMORY_BITS = 22
"""Fractional bits of the fast half of memory slots, whose values lie in 0..1."""
_TABLE_SIZE = 1 << 12


def _sigmoid_table() -> NDArray[np.int32]:
    values = [math.floor(DECAY_ONE / (1.0 + math.exp(-i / (1 << GATE_INPUT_BITS))) + 0.5) for i in range(_TABLE_SIZE)]
    table = np.array(values, dtype=np.int32)
    table.setflags(write=False)
    return table


SIGMOID = _sigmoid_table()
"""``SIGMOID[i] = floor(4096 * sigmoid(i / 256) + 1/2)``, ``i`` in 0..4095. No entry lies near a tie, so any correct
exponential gives the same integers."""


def scale_values(x: NDArray[np.int32], factor: NDArray[np.int32], shift: int) -> NDArray[np.int32]:
    """Multiply by a constant per unit: ``tz(x * factor, shift)``, the product taken in int64.

    Parameters
    ----------
    x : NDArray[np.int32]
        ``[B, N]``.
    factor : NDArray[np.int32]
        ``[N]``.
    shift : int
        0..47.

    Returns
    -------
    NDArray[np.int32]
        ``[B, N]``. That it fits is proven by :mod:`neuromorphic.bounds` before anything runs.

    Examples
    --------
    >>> scale_values(np.array([[-3, 3]], dtype=np.int32), np.array([5, 5], dtype=np.int32), 2).tolist()
    [[-3, 3]]
    """
    product = x.astype(np.int64) * factor.astype(np.int64)
    return shift_right_toward_zero(product, shift).astype(np.int32)


def gate(x: NDArray[np.int32], offset: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sigmoid of ``(x + offset) / 256`` in Q0.12, from :data:`SIGMOID`.

    With ``y = x + offset`` and ``a = min(|y|, 4095)`` it is ``SIGMOID[a]`` where ``y >= 0`` and ``4096 - SIGMOID[a]``
    elsewhere.

    Parameters
    ----------
    x : NDArray[np.int32]
        In units of 1/256, ``[B, N]``.
    offset : NDArray[np.int32]
        In units of 1/256, ``[N]``.

    Returns
    -------
    NDArray[np.int32]
        0..4096, ``[B, N]``.

    Examples
    --------
    >>> gate(np.array([[0, 256, -256, 99999]], dtype=np.int32), np.zeros(4, dtype=np.int32)).tolist()
    [[2048, 2994, 1102, 4096]]
    """
    y = x.astype(np.int64) + offset.astype(np.int64)
    found = SIGMOID[np.minimum(np.abs(y), np.int64(_TABLE_SIZE - 1))]
    return np.where(y >= 0, found, np.int32(DECAY_ONE) - found).astype(np.int32)


def multiply(x: NDArray[np.int32], gates: NDArray[np.int32], shift: int) -> NDArray[np.int32]:
    """Let a gate weigh values: ``tz(x * gate, 12 + shift)``.

    Examples
    --------
    >>> multiply(np.array([[-1000]], dtype=np.int32), np.array([[2048]], dtype=np.int32), 1).tolist()
    [[-250]]
    """
    product = x.astype(np.int64) * gates.astype(np.int64)
    return shift_right_toward_zero(product, DECAY_BITS + shift).astype(np.int32)


def integrate_step(
    v: NDArray[np.int32], x: NDArray[np.int32], *, decay: NDArray[np.int32], bias: NDArray[np.int32], shift: int
) -> NDArray[np.int32]:
    """One step of a leaky integrator that never spikes: ``v = sat(tz(v * decay, 12) + (x << shift) + bias)``.

    Parameters
    ----------
    v, x : NDArray[np.int32]
        State and input, ``[B, N]``.
    decay, bias : NDArray[np.int32]
        Q0.12 in 0..4096, and state units, ``[N]``.
    shift : int
        Fractional bits of the state relative to the input.

    Examples
    --------
    >>> one = lambda x: np.array([x], dtype=np.int32)
    >>> integrate_step(one([100]), one([3]), decay=one(2048), bias=one(-1), shift=2).tolist()
    [[61]]
    """
    drive = np.left_shift(x.astype(np.int64), np.int64(shift)) + bias.astype(np.int64)
    return saturate(apply_decay(v, decay) + drive)


def gated_step(s: NDArray[np.int32], x: NDArray[np.int32], gates: NDArray[np.int32]) -> NDArray[np.int32]:
    """One step of a gated moving average: ``s = sat(tz(s * f, 12) + tz(x * (4096 - f), 12))`` with the gate ``f``.

    Parameters
    ----------
    s, x : NDArray[np.int32]
        State and input, ``[B, N]``.
    gates : NDArray[np.int32]
        0..4096, ``[B, N]``.

    References
    ----------
    Martin and Cundy 2018, arXiv:1709.04057, in integers.

    Examples
    --------
    >>> one = lambda x: np.array([[x]], dtype=np.int32)
    >>> gated_step(one(1000), one(-200), one(3072)).tolist()
    [[700]]
    """
    held = shift_right_toward_zero(s.astype(np.int64) * gates.astype(np.int64), DECAY_BITS)
    taken = shift_right_toward_zero(x.astype(np.int64) * (np.int64(DECAY_ONE) - gates.astype(np.int64)), DECAY_BITS)
    return saturate(held + taken)


def resonate_step(
    re: NDArray[np.int32],
    im: NDArray[np.int32],
    x: NDArray[np.int32],
    *,
    cosine: NDArray[np.int32],
    sine: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """One step of a damped oscillator, a complex leaky integrator.

    ``re' = sat(tz(re * c, 12) - tz(im * s, 12) + x)``, ``im' = sat(tz(re * s, 12) + tz(im * c, 12))``.

    Parameters
    ----------
    re, im, x : NDArray[np.int32]
        State and input, ``[B, N]``.
    cosine, sine : NDArray[np.int32]
        Real and imaginary part of the factor per step in Q0.12, ``[N]``.

    References
    ----------
    Lava 0.10 ``lava/proc/rf/models.py``: the rounding of each product.

    Examples
    --------
    >>> one = lambda x: np.array([[x]], dtype=np.int32)
    >>> half = np.array([2048], dtype=np.int32)
    >>> [part.tolist() for part in resonate_step(one(100), one(-60), one(7), cosine=half, sine=half)]
    [[[87]], [[20]]]
    """
    turned = saturate(apply_decay(re, cosine) - apply_decay(im, sine) + x.astype(np.int64))
    return turned, saturate(apply_decay(re, sine) + apply_decay(im, cosine))


def torus_sums(
    spikes: NDArray[np.int32], rows: int, columns: int, edges: NDArray[np.int8] | None = None
) -> NDArray[np.int32]:
    """Sum what the eight neighbours of each neuron on a torus send, each weighed by its edge if there are edges.

    Neuron ``n`` sits in row ``n // columns`` and column ``n % columns``. The neighbours are numbered in the order of
    :data:`NEIGHBOURS`: ``edges[k, n]`` weighs what neuron ``n`` hears from the neighbour at that (row, column) offset.

    Parameters
    ----------
    spikes : NDArray[np.int32]
        ``[B, N]``.
    rows, columns : int
        ``rows * columns = N``, 3 at least.
    edges : NDArray[np.int8], optional
        ``[8, N]``; ``None``: all 1.

    Returns
    -------
    NDArray[np.int32]
        ``[B, N]``.

    Examples
    --------
    >>> spikes = np.zeros((1, 9), dtype=np.int32)
    >>> spikes[0, 4] = 1  # the middle of a 3 x 3 torus: everybody else's neighbour
    >>> torus_sums(spikes, 3, 3).tolist()
    [[1, 1, 1, 1, 0, 1, 1, 1, 1]]
    """
    grid = spikes.reshape(-1, rows, columns).astype(np.int32)
    total = np.zeros_like(grid)
    for k, (row, column) in enumerate(NEIGHBOURS):
        heard = np.roll(grid, (-row, -column), axis=(1, 2))
        total += heard if edges is None else heard * edges[k].astype(np.int32).reshape(rows, columns)
    return total.reshape(spikes.shape)


NEIGHBOURS = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0))
"""Offsets (row, column) of the eight neighbours, in the order of their edges."""


def fast_weights_step(
    F: NDArray[np.int32],
    previous: NDArray[np.int32],
    x: NDArray[np.int32],
    *,
    decay: int,
    rate_bits: int,
    frac: int,
    rule: str,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """One step of fast weights: clip the key, write the pair (key, previous key), read.

    With ``k = clip(x, -4096, 4096)``:

    * the target is ``k`` (``"hebbian"``) or ``sat(k - tz(sum_j F[i, j] * previous[j], frac))`` (``"delta"``);
    * ``F[i, j] = sat(tz(F[i, j] * decay, 12) + tz(target[i] * previous[j], 24 + rate_bits - frac))``;
    * ``y[i] = tz(sum_j F[i, j] * k[j], frac)``.

    Parameters
    ----------
    F : NDArray[np.int32]
        Fast weights with ``frac`` fractional bits, ``[B, r, r]``.
    previous, x : NDArray[np.int32]
        The last key, and the input in Q.12, ``[B, r]``.
    decay : int
        Q0.12.
    rate_bits, frac : int
        A pair is written with the weight ``2**-rate_bits``; ``frac <= 24 + rate_bits``.
    rule : str
        ``"hebbian"`` or ``"delta"``.

    Returns
    -------
    tuple of NDArray[np.int32]
        The read ``y`` in Q.12 ``[B, r]``, the new ``F``, the key.

    References
    ----------
    Ba et al. 2016, arXiv:1610.06258; Schlag et al. 2021, arXiv:2102.11174 (delta rule); in integers: own.

    Examples
    --------
    >>> F, key = np.zeros((1, 2, 2), dtype=np.int32), np.array([[4096, 0]], dtype=np.int32)
    >>> x = np.array([[0, 4096]], dtype=np.int32)
    >>> y, F, key = fast_weights_step(F, key, x, decay=4096, rate_bits=1, frac=20, rule="hebbian")
    >>> (F[0] / 2**20).tolist()  # the second key follows the first
    [[0.0, 0.0], [0.5, 0.0]]
    """
    key = np.clip(x, np.int32(-KEY_ONE), np.int32(KEY_ONE)).astype(np.int32)
    wide = F.astype(np.int64)
    target = key.astype(np.int64)
    if rule == "delta":
        target = saturate(target - _read(wide, previous, frac)).astype(np.int64)
    pair = target[:, :, np.newaxis] * previous.astype(np.int64)[:, np.newaxis, :]
    written = shift_right_toward_zero(pair, 2 * KEY_BITS + rate_bits - frac)
    F = saturate(shift_right_toward_zero(wide * np.int64(decay), DECAY_BITS) + written)
    return _read(F.astype(np.int64), key, frac).astype(np.int32), F, key


def _read(F: NDArray[np.int64], key: NDArray[np.int32], frac: int) -> NDArray[np.int64]:
    total = (F * key.astype(np.int64)[:, np.newaxis, :]).sum(axis=2, dtype=np.int64)
    return shift_right_toward_zero(total, frac)


def slots_step(
    E: NDArray[np.int32],
    events: NDArray[np.int32],
    *,
    keys: NDArray[np.int8],
    gain: int,
    decay_bits: int,
    rate_bits: int,
    shift: int,
    plastic: bool,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """One step of winner-take-all memory: ask all slots, read the best, then let all fade and the best learn.

    * ``w = argmax_m sum_h keys[m, h] * events[h]``, the first of equals;
    * ``y = gain * keys[w] + (E[w] >> shift)``;
    * if ``plastic``: ``E[m] -= E[m] >> decay_bits`` for all slots, and with the old ``E[w]``
      ``E[w] += (events << (22 - rate_bits)) - (E[w] >> rate_bits)``.

    ``E`` is never negative, so the shifts round toward zero.

    Parameters
    ----------
    E : NDArray[np.int32]
        Fast half with 22 fractional bits, 0..2**22, ``[B, M, H]``.
    events : NDArray[np.int32]
        0 or 1, ``[B, H]``.
    keys : NDArray[np.int8]
        Slow half, ternary, ``[M, H]``.
    gain, shift : int
        What an entry of ``keys`` is worth in the output, and the bits that the output has less than ``E``.
    decay_bits, rate_bits : int
        2..12 and 1..12.
    plastic : bool
        ``False``: the fast half never changes.

    Returns
    -------
    tuple of NDArray[np.int32]
        The read ``[B, H]``, the new ``E``, the winner ``[B, 1]``.

    Examples
    --------
    >>> E, keys = np.zeros((1, 2, 3), dtype=np.int32), np.array([[1, 0, 0], [0, 1, 1]], dtype=np.int8)
    >>> options = dict(keys=keys, gain=8, decay_bits=6, rate_bits=2, shift=19, plastic=True)
    >>> events = np.array([[0, 1, 0]], dtype=np.int32)
    >>> y, E, winner = slots_step(E, events, **options)
    >>> y.tolist(), winner.tolist()
    ([[0, 8, 8]], [[1]])
    >>> slots_step(E, events, **options)[0].tolist()  # a quarter of the pattern has been learned
    [[0, 10, 8]]
    """
    scores = events.astype(np.int64) @ keys.astype(np.int64).T  # [B, M]
    winner = np.argmax(scores, axis=1)
    sample = np.arange(len(events))
    best = E[sample, winner]  # [B, H]
    y = np.int32(gain) * keys[winner].astype(np.int32) + np.right_shift(best, np.int32(shift))
    if plastic:
        E = E - np.right_shift(E, np.int32(decay_bits))
        E[sample, winner] += np.left_shift(events.astype(np.int32), np.int32(MEMORY_BITS - rate_bits)) - np.right_shift(
            best, np.int32(rate_bits)
        )
    return y.astype(np.int32), E, winner.astype(np.int32)[:, np.newaxis]


def fingerprint(state: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sum ``state[i] * (i + 1)`` modulo ``2**31`` over a flattened state of each sample: ``[B, ...]`` to ``[B, 1]``.

    A recording keeps it in place of a state of hundreds of thousands of values a step.

    Examples
    --------
    >>> fingerprint(np.array([[5, 0, 1]], dtype=np.int32)).tolist()
    [[8]]
    """
    flat = state.reshape(len(state), -1)
    place = np.arange(1, flat.shape[1] + 1, dtype=np.int64)
    total = (flat.astype(np.int64) * place & np.int64((1 << 31) - 1)).sum(axis=1, dtype=np.int64)
    kept: NDArray[np.int32] = (total & np.int64((1 << 31) - 1)).astype(np.int32)
    return kept[:, np.newaxis]
