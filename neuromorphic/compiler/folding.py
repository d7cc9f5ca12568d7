"""Layers of ``pnbx_snn`` and torch to operations: norms and scales fold into the neurons behind them.

One layer is ``linear -> BatchNorm -> LIF``. In evaluation mode its current is, per neuron, ``I = a * acc + c``, where
``acc`` is the exact integer sum of weights times events, ``a`` gathers every scale (of weights and input, BatchNorm's)
and ``c`` every offset. :mod:`neuromorphic.compiler.spiking` counts the membrane in units of ``a``, so ternary weights
stay ternary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neuromorphic.compiler.currents import Currents, Source, Synapses
from neuromorphic.compiler.notes import Notes
from neuromorphic.compiler.spiking import MOST_ERROR, SHOWN_ERROR, Ranges, decay_error, finest, spiking_population
from neuromorphic.compiler.weight_integers import Float64, Plane, integers_of, sum_of
from neuromorphic.errors import CompileError
from neuromorphic.ops import Input, Operation, Readout
from neuromorphic.ops.numbers import DECAY_ONE, STATE_MAX
from pnbx_snn.layers.bitlinear import BitLinear


@dataclass(frozen=True)
class Affine:
    """Integer weights and the real current they stand for: ``I = gain * (weights @ events) + offset``.

    ``weights`` are the sum of the planes, each times its unit. A negative ``gain`` turns a row around.
    """

    planes: list[Plane]  # [out, in]
    gain: Float64  # [out]
    offset: Float64  # [out]

    def whole(self) -> tuple[Float64, Float64]:
        """Return the weights as whole numbers, ``[out, in]``, and the real current of one, 0 or more, ``[out]``."""
        unit = np.where(self.planes[-1].unit > 0, self.planes[-1].unit, 1.0)
        weights = sum_of(self.planes) / unit[:, None] * np.where(self.gain < 0, -1.0, 1.0)[:, None]
        return np.rint(weights), np.abs(self.gain) * unit

    def scaled(self, factor: Float64 | float) -> Affine:
        """Return the current times a factor, one or one per neuron, 0 or more."""
        return replace(self, gain=self.gain * factor, offset=self.offset * factor)


def to_numpy(tensor: torch.Tensor) -> Float64:
    """Return a tensor as float64."""
    return tensor.detach().cpu().to(torch.float64).numpy()


def ternary_weights(linear: BitLinear, where: str) -> tuple[NDArray[np.int8], float]:
    """Return ternary weights as trained, and the real value of one unit."""
    if not bool(torch.isfinite(linear.weight).all()):
        raise CompileError(f"{where}: weights hold NaN or infinity; the network was not trained to an end")
    return linear.ternary_weight().cpu().numpy().astype(np.int8), float(linear.gamma())


def quantised_weights(linear: nn.Module, where: str, *, own_units: bool) -> list[Plane]:
    """Return integer weights: ternary as trained, else 8 or 15 bits; ``own_units`` for each row, or one for all."""
    if isinstance(linear, BitLinear):
        weights, unit = ternary_weights(linear, where)
        return [Plane(weights, np.full(len(weights), unit))]
    if isinstance(linear, nn.Linear):
        return integers_of([to_numpy(linear.weight)], [1.0], [where], own_units=own_units)[0]
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


def fold_affine(linear: nn.Module, norm: nn.Module | None, where: str) -> Affine:
    """Return what a linear layer and its norm make of events."""
    planes = quantised_weights(linear, where, own_units=True)
    size = len(planes[0].weights)
    norm_gain, norm_offset = fold_norm(norm, size, where)
    return Affine(planes, norm_gain, _finite(where, "bias", _bias(linear, size) * norm_gain + norm_offset))


def _finite(where: str, what: str, values: Float64) -> Float64:
    if not np.isfinite(values).all():
        raise CompileError(f"{where}: {what} hold NaN or infinity; the network was not trained to an end")
    return values


def per_neuron(value: Any, size: int) -> Float64:
    """Return a number or tensor as ``[size]``."""
    return np.broadcast_to(to_numpy(torch.as_tensor(value)).reshape(-1), (size,)).copy()


def compile_neurons(
    affine: Affine,
    beta: Float64,
    theta: Float64,
    *,
    reset: str,
    name: str,
    source: Operation,
    ranges: Ranges,
    notes: Notes,
) -> list[Operation]:
    """Return synapses and neurons for a current ``I = affine(events)``; ``ranges`` are the operations before them."""
    error = decay_error(beta, ranges.num_steps)
    if error.max() >= SHOWN_ERROR:
        worst = int(np.argmax(error))
        say = notes.warn if error[worst] > MOST_ERROR else notes.append
        say(
            f"{name}: the decay of neuron {worst}, {beta[worst]:.6g}, is {round(beta[worst] * DECAY_ONE)} of "
            f"{DECAY_ONE} in Q0.12: its membrane is up to {error[worst]:.2%} off within {ranges.num_steps} steps."
        )
    given = event_source(source)
    synapses = tuple(Synapses(given, plane.weights, plane.unit, fine=plane.fine) for plane in affine.planes)
    ops, _ = spiking_population(
        Currents(name, synapses, own_units=True),
        beta=beta,
        theta=theta,
        gain=affine.gain,
        offset=affine.offset,
        reset=reset,
        ranges=ranges,
        notes=notes,
    )
    return ops


def event_source(op: Operation) -> Source:
    """Return what synapses that read an input or spikes must know of them."""
    if isinstance(op, Input):
        return Source(op.name, op.size, "events", max(-op.low, op.high), op.scale)
    return Source(op.name, op.size, "events", 1, 1.0)


def compile_readout(linear: nn.Module, name: str, source: Operation, ranges: Ranges) -> list[Operation]:
    """Return synapses and running sum of a linear readout, all its units alike."""
    planes = quantised_weights(linear, name, own_units=False)
    synapses = tuple(Synapses(event_source(source), plane.weights, plane.unit, fine=plane.fine) for plane in planes)
    if not any(plane.unit.any() for plane in planes):
        raise CompileError(f"{name}: all weights are zero")
    return running_sum(Currents(name, synapses), _bias(linear, len(planes[0].weights)), ranges)[0]


def running_sum(currents: Currents, offset: Float64, ranges: Ranges) -> tuple[list[Operation], float]:
    """Return synapses and a running sum ``y = y + I + offset``, and the real value of its unit.

    Raises
    ------
    CompileError
        When no number of fractional bits keeps the sum in 24 bits.
    """
    unit = float(currents.unit[0])

    def at_bits(bits: int) -> list[Operation] | None:
        scaled = np.rint(offset / unit * 2.0**bits)
        if np.abs(scaled).max() > STATE_MAX:
            return None
        made, outputs, shift = currents.ops(bits)
        return [*made, Readout(currents.name, tuple(outputs), bias=scaled.astype(np.int32), shift=shift)]

    found = finest(at_bits, ranges.saturates)
    if found is not None and not found[2]:
        return list(found[0]), unit / 2.0 ** found[1]
    raise CompileError(
        f"{currents.name}: its sum over {ranges.num_steps} steps leaves 24 bits; compile for fewer steps or use a "
        "smaller bias"
    )
