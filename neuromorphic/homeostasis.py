"""The integer arithmetic of thresholds that follow the firing rate: a PID controller for each domain of neurons.

As :mod:`neuromorphic.fixed_point`, whose number formats it shares: every executor must equal these functions bit for
bit. Rates and errors have 16 fractional bits, in spikes per neuron and step; offsets have 16 too, in octaves.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from neuromorphic.fixed_point import shift_right_toward_zero
from neuromorphic.ops.numbers import DECAY_BITS, STATE_MAX

RATE_BITS = 16
RATE_ONE = 1 << RATE_BITS
GAIN_BITS = 12
_TABLE_BITS = 8
_FACTOR_BITS = 15
_COUNT_BITS = 32


def _octave_table() -> NDArray[np.int64]:
    size = 1 << _TABLE_BITS
    table = np.array([math.floor(2.0 ** (_FACTOR_BITS + i / size) + 0.5) for i in range(size)], dtype=np.int64)
    table.setflags(write=False)
    return table


OCTAVE = _octave_table()
"""``OCTAVE[i] = floor(2**15 * 2**(i / 256) + 1/2)``, ``i`` in 0..255. No entry lies near a tie."""


def moved_threshold(threshold: NDArray[np.int32], offset: NDArray[np.int32], per_domain: int) -> NDArray[np.int32]:
    """Return thresholds moved by the offset of their domain: ``threshold * 2**offset``, from :data:`OCTAVE`.

    With ``o = offset[n // per_domain]``, ``k = o >> 16`` and ``f = (o >> 8) & 255``:
    ``min(threshold * OCTAVE[f] >> (15 - k), STATE_MAX)``.

    Parameters
    ----------
    threshold : NDArray[np.int32]
        0..STATE_MAX, ``[N]``.
    offset : NDArray[np.int32]
        In octaves with 16 fractional bits, at least -16 and below 16 octaves, ``[B, domains]``.
    per_domain : int
        Neurons of a domain.

    Returns
    -------
    NDArray[np.int32]
        ``[B, N]``.

    Examples
    --------
    >>> offset = np.array([[0, 1 << 16, -(1 << 15)]], dtype=np.int32)  # as it is, doubled, by the root of a half
    >>> moved_threshold(np.array([1000, 1000, 1000], dtype=np.int32), offset, 1).tolist()
    [[1000, 2000, 707]]
    """
    of_neuron = np.repeat(offset.astype(np.int64), per_domain, axis=1)  # [B, N]
    factor = OCTAVE[np.right_shift(of_neuron, np.int64(RATE_BITS - _TABLE_BITS)) & np.int64((1 << _TABLE_BITS) - 1)]
    octaves = np.right_shift(of_neuron, np.int64(RATE_BITS))
    moved = np.right_shift(threshold.astype(np.int64) * factor, np.int64(_FACTOR_BITS) - octaves)
    limited: NDArray[np.int32] = np.minimum(moved, np.int64(STATE_MAX)).astype(np.int32)
    return limited


def control_step(
    control: NDArray[np.int32],
    count: NDArray[np.int32],
    *,
    shots: int,
    target: int,
    rate_gain: int,
    gains: tuple[int, int, int],
    integral_limits: tuple[int, int],
    offset_limits: tuple[int, int],
) -> NDArray[np.int32]:
    """One update of the controllers from the spikes that their domains fired since the last one.

    * ``rate = count * (2**32 // shots) >> 16``
    * ``average += tz((rate - average) * rate_gain, 12)``
    * ``error' = average - target``
    * ``integral = clip(integral + error', *integral_limits)``
    * ``offset = clip(tz(kp * error' + ki * integral + kd * (error' - error), 12), *offset_limits)``

    Parameters
    ----------
    control : NDArray[np.int32]
        Average, integral, error and offset of every domain, ``[B, domains, 4]``.
    count : NDArray[np.int32]
        Spikes, 0..shots, ``[B, domains]``.
    shots : int
        Neurons of a domain times steps of a period: the most spikes it can fire.
    target : int
        Wanted rate, 16 fractional bits.
    rate_gain : int
        How fast the average follows, Q0.12.
    gains : tuple of int
        ``kp, ki, kd``: octaves per rate, 12 fractional bits.
    integral_limits, offset_limits : tuple of int
        Lowest and highest.

    Returns
    -------
    NDArray[np.int32]
        ``[B, domains, 4]``.

    References
    ----------
    :class:`pnbx_snn.Glia` in integers.

    Examples
    --------
    >>> control = np.array([[[16384, 0, 0, 0]]], dtype=np.int32)  # a quarter, as wanted
    >>> options = dict(shots=64, target=16384, rate_gain=4096, gains=(4096, 0, 0))
    >>> limits = dict(integral_limits=(-65536, 65536), offset_limits=(-65536, 65536))
    >>> control_step(control, np.array([[32]], dtype=np.int32), **options, **limits).tolist()
    [[[32768, 16384, 16384, 16384]]]
    """
    average, integral, before, _ = (control[:, :, i].astype(np.int64) for i in range(4))
    one_spike = np.int64((1 << _COUNT_BITS) // shots)
    rate = np.right_shift(count.astype(np.int64) * one_spike, np.int64(_COUNT_BITS - RATE_BITS))
    average = average + shift_right_toward_zero((rate - average) * np.int64(rate_gain), DECAY_BITS)
    error = average - np.int64(target)
    integral = np.clip(integral + error, np.int64(integral_limits[0]), np.int64(integral_limits[1]))
    kp, ki, kd = (np.int64(gain) for gain in gains)
    wanted = shift_right_toward_zero(kp * error + ki * integral + kd * (error - before), GAIN_BITS)
    offset = np.clip(wanted, np.int64(offset_limits[0]), np.int64(offset_limits[1]))
    return np.stack((average, integral, error, offset), axis=2).astype(np.int32)
