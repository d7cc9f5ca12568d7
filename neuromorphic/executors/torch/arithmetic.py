"""The integer arithmetic of :mod:`neuromorphic.fixed_point` and its companions in torch, on any device.

Everything is int64 but the matrix products, which run in float32 where every partial sum is a whole number below 2**24:
exact on every device, with or without TF32 or bfloat16 (a digit has 8 bits at most). The tests hold all of it equal to
the reference.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuromorphic.ops.fast_weights import KEY_BITS, KEY_ONE
from neuromorphic.ops.gate import SIGMOID
from neuromorphic.ops.homeostatic_lif import GAIN_BITS, OCTAVE, RATE_BITS
from neuromorphic.ops.numbers import DECAY_BITS, DECAY_ONE, STATE_MAX
from neuromorphic.ops.slots import MEMORY_BITS
from neuromorphic.ops.torus import NEIGHBOURS

EXACT_BITS = 24
DIGIT_BITS = 8
MAX_COLUMNS = 1 << 15
_FINGERPRINT = (1 << 31) - 1


def toward_zero(x: Tensor, bits: int) -> Tensor:
    """Divide by ``2**bits``, rounding toward zero."""
    return torch.sign(x) * (x.abs() >> bits)


def saturate(x: Tensor) -> Tensor:
    """Clip to the 24-bit state range."""
    return x.clamp(-STATE_MAX, STATE_MAX)


class Product:
    """``y = weights @ x`` in exact integers, for ``|x| <= peak``.

    Parameters
    ----------
    weights : NDArray[np.int8]
        ``[out, in]``.
    peak : int
        Largest magnitude of the inputs, proven.
    device : torch.device
        Where to multiply.

    Notes
    -----
    Inputs are cut into digits and columns into blocks, so small that ``in * max|w| * 2**digit < 2**24``.
    """

    def __init__(self, weights: NDArray[np.int8], peak: int, device: torch.device) -> None:
        heaviest = max(int(np.abs(weights.astype(np.int32)).max()), 1)
        real = torch.from_numpy(weights.astype(np.float32)).to(device)
        self.blocks = [block.T.contiguous() for block in torch.split(real, MAX_COLUMNS, dim=1)]  # [in, out]
        widest = self.blocks[0].shape[0] * heaviest
        self.bits = max(1, min(DIGIT_BITS, EXACT_BITS - widest.bit_length()))
        self.num_digits = max(1, -(-int(peak).bit_length() // self.bits))

    def __call__(self, x: Tensor) -> Tensor:
        """Return int64 ``[B, out]`` for int64 ``[B, in]``."""
        total = torch.zeros((), dtype=torch.int64, device=x.device)
        for block, part in zip(self.blocks, torch.split(x, MAX_COLUMNS, dim=1), strict=True):
            for i in range(self.num_digits):
                digit = part
                if self.num_digits > 1:
                    digit = torch.sign(part) * ((part.abs() >> (self.bits * i)) & ((1 << self.bits) - 1))
                summed = (digit.to(torch.float32) @ block).to(torch.int64) << (self.bits * i)
                total = total + summed
        return total


def lif_step(
    v: Tensor, current: Tensor, *, decay: Tensor, threshold: Tensor, bias: Tensor, shift: int, reset: str
) -> tuple[Tensor, Tensor]:
    """Return spikes and membrane of :func:`neuromorphic.fixed_point.lif_step`, int64."""
    drive = (current << shift) + bias
    none = torch.zeros_like(v)
    looks_back = reset in ("subtract_snntorch", "zero_delayed", "subtract_delayed", "zero_with_input")
    held = (v > threshold).to(torch.int64) if looks_back else none
    if reset == "zero_delayed":
        v = torch.where(held > 0, none, v)
    lowered = held * threshold if reset.startswith("subtract") else none
    u = saturate(toward_zero(v * decay, DECAY_BITS) + drive - lowered)
    if reset == "zero_with_input":
        u = torch.where(held > 0, none, u)
    fired = (u > threshold).to(torch.int64)
    if reset == "zero":
        return fired, torch.where(fired > 0, none, u)
    if reset in ("subtract", "subtract_snntorch"):
        return fired, saturate(u - fired * threshold + lowered)
    return fired, u


def integrate(v: Tensor, x: Tensor, *, decay: Tensor, bias: Tensor, shift: int) -> Tensor:
    """Leaky integrators; with a decay of 4096 running sums."""
    return saturate(toward_zero(v * decay, DECAY_BITS) + (x << shift) + bias)


def gate(x: Tensor, offset: Tensor, table: Tensor) -> Tensor:
    """Sigmoid in Q0.12 from ``table``, which is the reference's on the device."""
    y = x + offset
    found = table[y.abs().clamp(max=len(table) - 1)]
    return torch.where(y >= 0, found, DECAY_ONE - found)


def gated(s: Tensor, x: Tensor, gates: Tensor) -> Tensor:
    """Gated moving averages."""
    return saturate(toward_zero(s * gates, DECAY_BITS) + toward_zero(x * (DECAY_ONE - gates), DECAY_BITS))


def resonate(re: Tensor, im: Tensor, x: Tensor, *, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    """Damped oscillators: real and imaginary part."""

    def times(a: Tensor, b: Tensor) -> Tensor:
        return toward_zero(a * b, DECAY_BITS)

    turned = saturate(times(re, cosine) - times(im, sine) + x)
    return turned, saturate(times(re, sine) + times(im, cosine))


def torus_sums(x: Tensor, rows: int, columns: int, edges: Tensor | None) -> Tensor:
    """Add up the eight neighbours; ``edges`` is ``[8, rows, columns]``."""
    grid = x.reshape(-1, rows, columns)
    total = torch.zeros_like(grid)
    for k, (row, column) in enumerate(NEIGHBOURS):
        heard = torch.roll(grid, (-row, -column), dims=(1, 2))
        total += heard if edges is None else heard * edges[k]
    return total.reshape(x.shape)


def fast_weights_step(
    F: Tensor, previous: Tensor, x: Tensor, *, decay: int, rate_bits: int, frac: int, rule: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what was read, the matrix and the key."""

    def read(matrix: Tensor, key: Tensor) -> Tensor:
        return toward_zero((matrix * key.unsqueeze(1)).sum(dim=2), frac)

    key = x.clamp(-KEY_ONE, KEY_ONE)
    target = saturate(key - read(F, previous)) if rule == "delta" else key
    written = toward_zero(target.unsqueeze(2) * previous.unsqueeze(1), 2 * KEY_BITS + rate_bits - frac)
    F = saturate(toward_zero(F * decay, DECAY_BITS) + written)
    return read(F, key), F, key


def slots_step(
    E: Tensor,
    events: Tensor,
    scores: Tensor,
    *,
    keys: Tensor,
    gain: int,
    decay_bits: int,
    rate_bits: int,
    shift: int,
    plastic: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what was read, the fast half and the winner ``[B, 1]``, the first of equals."""
    slots = torch.arange(scores.shape[1], device=scores.device)
    winner = (scores * len(slots) - slots).argmax(dim=1)  # no two are equal
    sample = torch.arange(len(events), device=events.device)
    best = E[sample, winner]
    y = gain * keys[winner] + (best >> shift)
    if plastic:
        E = E - (E >> decay_bits)
        E[sample, winner] += (events << (MEMORY_BITS - rate_bits)) - (best >> rate_bits)
    return y, E, winner.unsqueeze(1)


def fingerprint(state: Tensor) -> Tensor:
    """Sum ``state[i] * (i + 1)`` modulo ``2**31`` of each sample."""
    flat = state.reshape(len(state), -1)
    place = torch.arange(1, flat.shape[1] + 1, device=state.device)
    return ((flat * place & _FINGERPRINT).sum(dim=1) & _FINGERPRINT).unsqueeze(1)


def moved_threshold(threshold: Tensor, offset: Tensor, per_domain: int, table: Tensor) -> Tensor:
    """Thresholds moved by the offset of their domain, ``[B, N]``; ``table`` is the reference's on the device."""
    of_neuron = offset.repeat_interleave(per_domain, dim=1)
    part = (of_neuron >> (RATE_BITS - 8)) & 255
    return ((threshold * table[part]) >> (15 - (of_neuron >> RATE_BITS))).clamp(max=STATE_MAX)


def control_step(
    control: Tensor,
    count: Tensor,
    *,
    shots: int,
    target: int,
    rate_gain: int,
    gains: tuple[int, int, int],
    integral_limits: tuple[int, int],
    offset_limits: tuple[int, int],
) -> Tensor:
    """One update of the controllers, ``[B, domains, 4]``."""
    average, integral, before, _ = control.unbind(2)
    rate = (count * ((1 << 32) // shots)) >> (32 - RATE_BITS)
    average = average + toward_zero((rate - average) * rate_gain, DECAY_BITS)
    error = average - target
    integral = (integral + error).clamp(*integral_limits)
    kp, ki, kd = gains
    wanted = toward_zero(kp * error + ki * integral + kd * (error - before), GAIN_BITS)
    return torch.stack((average, integral, error, wanted.clamp(*offset_limits)), dim=2)


def tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the sigmoid's and the octave's table on a device, int64."""
    sigmoid, octave = (torch.tensor(np.asarray(table, dtype=np.int64), device=device) for table in (SIGMOID, OCTAVE))
    return sigmoid, octave
