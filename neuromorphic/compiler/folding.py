"""Scales and norms into thresholds, biases and shifts.

One layer is ``linear -> BatchNorm -> LIF``. In evaluation mode its current is, per neuron, ``I = a * acc + c``, where
``acc`` is the exact integer sum of ternary (or 8-bit) weights times events, ``a`` gathers every scale (weight scale,
input scale, BatchNorm gain) and ``c`` every offset. Instead of multiplying ``acc`` by ``a``, the membrane is counted in
units of ``a``: with ``V = v * 2**shift / a``

    V = decay(V) + (acc << shift) + c * 2**shift / a,      spike when V > floor(theta * 2**shift / a)

so scales move into threshold, bias and shift, and the weights stay ternary. Where ``a`` is negative the row of weights
changes sign. ``shift`` is the largest one for which the bounds prove that no membrane saturates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neuromorphic.bounds import prove
from neuromorphic.errors import BoundError, CompileError
from neuromorphic.fixed_point import DECAY_ONE, STATE_MAX
from neuromorphic.neuron_ops import LIF
from neuromorphic.op_fields import MAX_SHIFT
from neuromorphic.ops import Dense, Input, Op, Readout
from neuromorphic.program import Program
from pnbx_snn.linear import BitLinear

Float64 = NDArray[np.float64]

# A neuron whose input, at its worst for a whole sample, moves it by less than this fraction of its threshold is driven
# by its bias alone: counted in its own tiny units, its threshold would cost the whole layer fractional bits.
NEGLIGIBLE_INPUT = 1.0 / 64


@dataclass(frozen=True)
class Affine:
    """Integer weights and the real current they stand for: ``I = gain * (weights @ events) + offset``."""

    weights: NDArray[np.int8]  # [out, in]
    gain: Float64  # [out]
    offset: Float64  # [out]

    def scaled(self, factor: Float64 | float) -> Affine:
        """Return the current times a factor, one or one per neuron, 0 or more."""
        return replace(self, gain=self.gain * factor, offset=self.offset * factor)


def to_numpy(tensor: torch.Tensor) -> Float64:
    """Return a tensor as float64."""
    return tensor.detach().cpu().to(torch.float64).numpy()


def quantised_weights(linear: nn.Module, where: str) -> tuple[NDArray[np.int8], float]:
    """Integer weights and the real value of one unit: ternary as trained, or 8 bits with one scale a layer."""
    if isinstance(linear, BitLinear):
        if not bool(torch.isfinite(linear.weight).all()):
            raise CompileError(f"{where}: weights hold NaN or infinity; the network was not trained to an end")
        return linear.ternary_weight().cpu().numpy().astype(np.int8), float(linear.gamma())
    if isinstance(linear, nn.Linear):
        weight = to_numpy(linear.weight)
        peak = float(np.abs(weight).max())
        scale = peak / 127.0 if peak > 0 else 1.0
        return np.rint(weight / scale).astype(np.int8), scale
    raise CompileError(
        f"{where}: {type(linear).__name__} cannot be compiled; a layer is BitLinear (ternary) or nn.Linear (8 bits)"
    )


def _bias(linear: nn.Module, size: int) -> Float64:
    bias = getattr(linear, "bias", None)
    return np.zeros(size) if bias is None else to_numpy(bias)


def fold_norm(norm: nn.Module | None, size: int, where: str) -> tuple[Float64, Float64]:
    """Return gain and offset of a norm in evaluation mode, ``[size]`` each."""
    if norm is None or isinstance(norm, nn.Identity):
        return np.ones(size), np.zeros(size)
    if not isinstance(norm, nn.BatchNorm1d):
        raise CompileError(
            f"{where}: {type(norm).__name__} needs a division at run time and cannot be folded; use nn.BatchNorm1d"
        )
    if norm.running_mean is None or norm.running_var is None:
        raise CompileError(f"{where}: BatchNorm keeps no running statistics; train with track_running_stats=True")
    gain = 1.0 / np.sqrt(to_numpy(norm.running_var) + norm.eps)
    if norm.affine:
        gain = gain * to_numpy(norm.weight)
    offset = -to_numpy(norm.running_mean) * gain + (to_numpy(norm.bias) if norm.affine else 0.0)
    return _finite(where, "BatchNorm", gain), _finite(where, "BatchNorm", offset)


def fold_affine(linear: nn.Module, norm: nn.Module | None, event_scale: float, where: str) -> Affine:
    """Return what a linear layer and its norm make of events worth ``event_scale`` each."""
    weights, unit = quantised_weights(linear, where)
    norm_gain, norm_offset = fold_norm(norm, weights.shape[0], where)
    gain = _finite(where, "weights", unit * event_scale * norm_gain)
    offset = _finite(where, "bias", _bias(linear, weights.shape[0]) * norm_gain + norm_offset)
    flip = np.where(gain < 0, -1, 1).astype(np.int8)
    return Affine(weights * flip[:, None], np.abs(gain), offset)


def _finite(where: str, what: str, values: Float64) -> Float64:
    if not np.isfinite(values).all():
        raise CompileError(f"{where}: {what} hold NaN or infinity; the network was not trained to an end")
    return values


def per_neuron(value: Any, size: int) -> Float64:
    """Return a number or tensor as ``[size]``."""
    return np.broadcast_to(to_numpy(torch.as_tensor(value)).reshape(-1), (size,)).copy()


def neuron_units(
    gain: Float64, offset: Float64, peak: Float64, beta: Float64, theta: Float64, num_steps: int
) -> tuple[NDArray[np.bool_], Float64]:
    """Return which neurons their bias alone drives, and integer units per real unit of membrane at shift 0.

    ``peak`` is the largest current a step can bring, in integers; ``gain`` what one of them is worth. ``[out]`` each.
    """
    memory = 1.0 / np.maximum(1.0 - beta, 1.0 / num_steps)  # steps over which a membrane gathers
    negligible = gain * peak * memory <= NEGLIGIBLE_INPUT * theta
    too_fine = np.maximum(theta, np.abs(offset)) > STATE_MAX * gain
    dead = negligible | too_fine
    own_yardstick = 128.0 / np.maximum(np.abs(offset), theta)
    return dead, np.where(dead, own_yardstick, 1.0 / np.where(dead, 1.0, gain))


def finest(
    at_shift: Callable[[int], Sequence[Op] | None], saturates: Callable[[Sequence[Op]], bool]
) -> tuple[Sequence[Op], int, bool] | None:
    """Find the operations with most fractional bits whose state cannot saturate, else those with none.

    Returns them, their bits, and whether their state can saturate; ``None`` where none fit.
    ``at_shift`` returns ``None`` where the parameters of an operation do not fit; ``saturates`` says whether the state
    of the last operation can meet its limit. Either raises ``BoundError`` where an accumulator does not fit.
    """
    for shift in range(MAX_SHIFT, -1, -1):
        try:
            ops = at_shift(shift)
            meets_limit = ops is not None and saturates(ops)
        except BoundError:
            continue
        if ops is not None and (shift == 0 or not meets_limit):
            return ops, shift, meets_limit
    return None


def lif_of(
    name: str,
    sources: Sequence[str],
    *,
    beta: Float64,
    theta: Float64,
    offset: Float64,
    units: Float64,
    bits: int,
    shift: int,
    reset: str,
) -> LIF | None:
    """Return neurons whose state counts ``units * 2**bits`` for one real unit; ``None`` where that leaves 24 bits."""
    scaled = units * 2.0**bits
    threshold, bias = np.floor(theta * scaled), np.rint(offset * scaled)
    if threshold.max() > STATE_MAX or np.abs(bias).max() > STATE_MAX:
        return None
    return LIF(
        name,
        tuple(sources),
        decay=np.rint(beta * DECAY_ONE).astype(np.int32),
        threshold=threshold.astype(np.int32),
        bias=bias.astype(np.int32),
        shift=shift,
        reset=reset,
    )


def check_thresholds(name: str, theta: Float64) -> None:
    """Refuse thresholds that are not positive."""
    if not (theta > 0).all():
        raise CompileError(
            f"{name}: threshold of neuron {int(np.argmin(theta))} is {theta.min():.4g}; only positive ones compile"
        )


def too_fine_error(name: str, theta: Float64, offset: Float64, units: Float64) -> CompileError:
    """Return the error for neurons whose threshold or bias no shift brings into 24 bits."""
    worst = int(np.argmax(np.maximum(theta, np.abs(offset)) * units))
    return CompileError(
        f"{name}: neuron {worst} needs a threshold of {theta[worst] * units[worst]:.3g} and a bias of "
        f"{offset[worst] * units[worst]:.3g} units, a state holds {STATE_MAX}; its weights are too small "
        "against its threshold (a BatchNorm gain near zero?)"
    )


def _proven(prefix: Sequence[Op], num_steps: int) -> Callable[[Sequence[Op]], bool]:
    return lambda ops: prove(Program((*prefix, *ops), num_steps=num_steps))[-1].can_saturate


def compile_neurons(
    affine: Affine,
    beta: Float64,
    theta: Float64,
    *,
    reset: str,
    name: str,
    source: Op,
    prefix: Sequence[Op],
    num_steps: int,
) -> list[Op]:
    """Return synapses and neurons for a current ``I = affine(events)``; ``prefix`` are the operations before them."""
    check_thresholds(name, theta)
    largest = max(-source.low, source.high) if isinstance(source, Input) else 1
    peak = np.abs(affine.weights.astype(np.int64)).sum(axis=1) * float(largest)
    dead, units = neuron_units(affine.gain, affine.offset, peak, beta, theta, num_steps)
    synapse = Dense(f"{name}_synapses", source.name, np.where(dead[:, None], 0, affine.weights).astype(np.int8))

    def at_shift(shift: int) -> list[Op] | None:
        lif = lif_of(
            name,
            (synapse.name,),
            beta=beta,
            theta=theta,
            offset=affine.offset,
            units=units,
            bits=shift,
            shift=shift,
            reset=reset,
        )
        return None if lif is None else [lif]

    found = finest(at_shift, _proven((*prefix, synapse), num_steps))
    if found is None:
        raise too_fine_error(name, theta, affine.offset, units)
    return [synapse, *found[0]]  # a membrane that saturates even at shift 0 has a meaning: it stays at its limit


def compile_readout(linear: nn.Module, name: str, source: Op, prefix: Sequence[Op], num_steps: int) -> list[Op]:
    """Return synapses and running sum of a linear readout."""
    weights, unit = quantised_weights(linear, name)
    if unit <= 0:
        raise CompileError(f"{name}: the weight scale is {unit}; all weights are zero")
    offset = _bias(linear, weights.shape[0])
    synapse = Dense(f"{name}_synapses", source.name, weights)

    def at_shift(shift: int) -> list[Op] | None:
        scaled = np.rint(offset / unit * 2.0**shift)
        if np.abs(scaled).max() > STATE_MAX:
            return None
        return [Readout(name, (synapse.name,), bias=scaled.astype(np.int32), shift=shift)]

    found = finest(at_shift, _proven((*prefix, synapse), num_steps))
    if found is not None and not found[2]:
        return [synapse, *found[0]]
    raise sum_error(name, num_steps)


def sum_error(name: str, num_steps: int) -> CompileError:
    """Return the error for a running sum that no shift keeps in 24 bits."""
    return CompileError(
        f"{name}: its sum over {num_steps} steps leaves 24 bits; compile for fewer steps or use a smaller bias"
    )
