"""A trained network to an integer program. The only file here that sees torch and ``pnbx_snn``.

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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import pnbx_snn
from neuromorphic.bounds import prove
from neuromorphic.errors import BoundError, CompileError
from neuromorphic.execution import run
from neuromorphic.fixed_point import DECAY_ONE, STATE_MAX
from neuromorphic.ops import LIF, MAX_SHIFT, Dense, Input, Op, Readout
from neuromorphic.program import Program
from pnbx_snn.checkpoint import load_run
from pnbx_snn.errors import PnbxError
from pnbx_snn.linear import BitLinear
from pnbx_snn.model import SpikingClassifier, SpikingLayer
from pnbx_snn.tasks import load_split

Float64 = NDArray[np.float64]
LayerParts = tuple[nn.Module, nn.Module | None, nn.Module]

# A neuron whose input, at its worst for a whole sample, moves it by less than this fraction of its threshold is driven
# by its bias alone: counted in its own tiny units, its threshold would cost the whole layer fractional bits.
NEGLIGIBLE_INPUT = 1.0 / 64


@dataclass(frozen=True)
class _Affine:
    """Integer weights and the real current they stand for: ``I = gain * (weights @ events) + offset``."""

    weights: NDArray[np.int8]  # [out, in]
    gain: Float64  # [out]
    offset: Float64  # [out]


def _numpy(tensor: torch.Tensor) -> Float64:
    return tensor.detach().cpu().to(torch.float64).numpy()


def _quantised_weights(linear: nn.Module, where: str) -> tuple[NDArray[np.int8], float]:
    """Integer weights and the real value of one unit: ternary as trained, or 8 bits with one scale a layer."""
    if isinstance(linear, BitLinear):
        return linear.ternary_weight().cpu().numpy().astype(np.int8), float(linear.gamma())
    if isinstance(linear, nn.Linear):
        weight = _numpy(linear.weight)
        peak = float(np.abs(weight).max())
        scale = peak / 127.0 if peak > 0 else 1.0
        return np.rint(weight / scale).astype(np.int8), scale
    raise CompileError(
        f"{where}: {type(linear).__name__} cannot be compiled; a layer is BitLinear (ternary) or nn.Linear (8 bits)"
    )


def _bias(linear: nn.Module, size: int) -> Float64:
    bias = getattr(linear, "bias", None)
    return np.zeros(size) if bias is None else _numpy(bias)


def _affine(linear: nn.Module, norm: nn.Module | None, event_scale: float, where: str) -> _Affine:
    weights, unit = _quantised_weights(linear, where)
    gain = np.full(weights.shape[0], unit * event_scale)
    offset = _bias(linear, weights.shape[0])
    if isinstance(norm, nn.BatchNorm1d):
        if norm.running_mean is None or norm.running_var is None:
            raise CompileError(f"{where}: BatchNorm keeps no running statistics; train with track_running_stats=True")
        scale = 1.0 / np.sqrt(_numpy(norm.running_var) + norm.eps)
        if norm.affine:
            scale = scale * _numpy(norm.weight)
        offset = (offset - _numpy(norm.running_mean)) * scale + (_numpy(norm.bias) if norm.affine else 0.0)
        gain = gain * scale
    elif norm is not None and not isinstance(norm, nn.Identity):
        raise CompileError(
            f"{where}: {type(norm).__name__} needs a division at run time and cannot be folded; use nn.BatchNorm1d"
        )
    for name, value in (("weights", gain), ("bias or BatchNorm", offset)):
        if not np.isfinite(value).all():
            raise CompileError(f"{where}: {name} hold NaN or infinity; the network was not trained to an end")
    flip = np.where(gain < 0, -1, 1).astype(np.int8)
    return _Affine(weights * flip[:, None], np.abs(gain), offset)


def _per_neuron(value: Any, size: int) -> Float64:
    return np.broadcast_to(_numpy(torch.as_tensor(value)).reshape(-1), (size,)).copy()


def _units(affine: _Affine, beta: Float64, theta: Float64, source: Op, num_steps: int) -> tuple[_Affine, Float64]:
    """Integer units per real unit of membrane at shift 0, with rows of negligible input emptied."""
    largest = max(-source.low, source.high) if isinstance(source, Input) else 1
    peak = np.abs(affine.weights.astype(np.int64)).sum(axis=1) * largest
    memory = 1.0 / np.maximum(1.0 - beta, 1.0 / num_steps)  # steps over which a membrane gathers
    negligible = affine.gain * peak * memory <= NEGLIGIBLE_INPUT * theta
    too_fine = np.maximum(theta, np.abs(affine.offset)) > STATE_MAX * affine.gain
    dead = negligible | too_fine
    emptied = replace(affine, weights=np.where(dead[:, None], 0, affine.weights).astype(np.int8))
    own_yardstick = 128.0 / np.maximum(np.abs(affine.offset), theta)
    return emptied, np.where(dead, own_yardstick, 1.0 / np.where(dead, 1.0, affine.gain))


def _finest(prefix: tuple[Op, ...], at_shift: Callable[[int], Op | None], num_steps: int) -> tuple[Op, bool] | None:
    """Find the op with most fractional bits whose state cannot saturate, or the one at shift 0; say whether it can.

    ``at_shift`` returns ``None`` where the op's own parameters do not fit.
    """
    for shift in range(MAX_SHIFT, -1, -1):
        op = at_shift(shift)
        if op is None:
            continue
        try:
            saturates = prove(Program((*prefix, op), num_steps=num_steps))[-1].can_saturate
        except BoundError:
            continue
        if shift == 0 or not saturates:
            return op, saturates
    return None


def _lif(
    layer: LayerParts, name: str, source: Op, event_scale: float, prefix: Sequence[Op], num_steps: int
) -> list[Op]:
    linear, norm, neuron = layer
    if not isinstance(neuron, pnbx_snn.LIF):
        raise CompileError(f"{name}: {type(neuron).__name__} cannot be compiled; use pnbx_snn.LIF")
    affine = _affine(linear, norm, event_scale, name)
    size = affine.weights.shape[0]
    beta = np.clip(_per_neuron(neuron.beta, size), 0.0, 1.0)
    theta = _per_neuron(neuron.threshold, size)
    if (theta <= 0).any():
        raise CompileError(
            f"{name}: threshold of neuron {int(np.argmin(theta))} is {theta.min():.4g}; only positive ones compile"
        )
    if neuron.primitive == "lif_box":  # Norse scales its input by (1 - beta)
        input_factor = 1.0 - beta
        affine = replace(affine, gain=affine.gain * input_factor, offset=affine.offset * input_factor)
    affine, units = _units(affine, beta, theta, source, num_steps)
    reset = "subtract_snntorch" if (neuron.primitive, neuron.reset) == ("leaky", "subtract") else neuron.reset
    synapse = Dense(f"{name}_synapses", source.name, affine.weights)

    def at_shift(shift: int) -> LIF | None:
        scaled = units * 2.0**shift
        threshold, bias = np.floor(theta * scaled), np.rint(affine.offset * scaled)
        if threshold.max() > STATE_MAX or np.abs(bias).max() > STATE_MAX:
            return None
        return LIF(
            name,
            (synapse.name,),
            decay=np.rint(beta * DECAY_ONE).astype(np.int32),
            threshold=threshold.astype(np.int32),
            bias=bias.astype(np.int32),
            shift=shift,
            reset=reset,
        )

    found = _finest((*prefix, synapse), at_shift, num_steps)
    if found is not None:  # a membrane that saturates even at shift 0 has a meaning: it stays at its limit
        return [synapse, found[0]]
    worst = int(np.argmax(np.maximum(theta, np.abs(affine.offset)) * units))
    raise CompileError(
        f"{name}: neuron {worst} needs a threshold of {theta[worst] * units[worst]:.3g} and a bias of "
        f"{affine.offset[worst] * units[worst]:.3g} units, a state holds {STATE_MAX}; its weights are too small "
        "against its threshold (a BatchNorm gain near zero?)"
    )


def _readout(linear: nn.Module, name: str, source: Op, prefix: Sequence[Op], num_steps: int) -> list[Op]:
    weights, unit = _quantised_weights(linear, name)
    if unit <= 0:
        raise CompileError(f"{name}: the weight scale is {unit}; all weights are zero")
    offset = _bias(linear, weights.shape[0])
    synapse = Dense(f"{name}_synapses", source.name, weights)

    def at_shift(shift: int) -> Readout | None:
        scaled = np.rint(offset / unit * 2.0**shift)
        if np.abs(scaled).max() > STATE_MAX:
            return None
        return Readout(name, (synapse.name,), bias=scaled.astype(np.int32), shift=shift)

    found = _finest((*prefix, synapse), at_shift, num_steps)
    if found is not None and not found[1]:
        return [synapse, found[0]]
    raise CompileError(
        f"{name}: its sum over {num_steps} steps leaves 24 bits; compile for fewer steps or use a smaller bias"
    )


def compile_layers(
    layers: Sequence[LayerParts],
    readout: nn.Module | None = None,
    *,
    num_steps: int,
    input_scale: float | None = None,
    metadata: dict[str, Any] | None = None,
) -> Program:
    """Compile a stack of ``linear -> BatchNorm -> LIF`` layers and an optional linear read-out.

    Parameters
    ----------
    layers : sequence of (linear, norm, neuron)
        ``BitLinear`` (ternary as trained) or ``nn.Linear`` (quantised to 8 bits, one scale a layer); ``BatchNorm1d``,
        ``Identity`` or ``None``; :class:`pnbx_snn.LIF` of either primitive with any reset.
    readout : nn.Module, optional
        ``BitLinear`` or ``nn.Linear`` on the mean of the last layer's spikes over time.
    num_steps : int
        Steps a sample runs; bounds are proven for this many.
    input_scale : float, optional
        Real value of one input unit (int8) where the first linear layer does not know it itself; ``None`` means that
        the input is spikes, unless the first layer is a ``BitLinear`` with ``input_range="int8"``.
    metadata : dict, optional
        Stored in the program.

    Returns
    -------
    Program
        Named ``input``, ``lif1_synapses``, ``lif1``, ..., ``readout_synapses``, ``readout``.

    Raises
    ------
    CompileError
        When a part cannot be compiled; the message names it, the reason and what can be compiled instead.
    """
    if not layers:
        raise CompileError("a program needs at least one spiking layer, got none")
    first = layers[0][0]
    if isinstance(first, BitLinear) and first.input_range == "int8":
        input_scale = float(first.input_scale)
        if input_scale <= 0:
            raise CompileError("lif1: its input scale is not calibrated; call calibrate(x) with training inputs first")
    for number, (linear, _, _) in enumerate(layers[1:], start=2):
        if isinstance(linear, BitLinear) and linear.input_range == "int8":
            raise CompileError(f'lif{number}: quantises its input to int8, but its input is spikes; use "spikes"')
    scale = 1.0 if input_scale is None else float(input_scale)
    low, high = (0, 1) if input_scale is None else (-128, 127)
    ops: list[Op] = [Input("input", _quantised_weights(first, "lif1")[0].shape[1], low=low, high=high, scale=scale)]
    for number, layer in enumerate(layers, start=1):
        event_scale = scale if number == 1 else 1.0
        ops += _lif(layer, f"lif{number}", ops[-1], event_scale, tuple(ops), num_steps)
    if readout is not None:
        ops += _readout(readout, "readout", ops[-1], tuple(ops), num_steps)
    return Program(tuple(ops), num_steps=num_steps, metadata=metadata or {})


def compile_model(model: nn.Module) -> Program:
    """Compile a trained network.

    Parameters
    ----------
    model : nn.Module
        A :class:`pnbx_snn.SpikingClassifier`, its input scale calibrated.

    Returns
    -------
    Program
        See :func:`compile_layers`.

    Raises
    ------
    CompileError
        When the network, or a part of it, cannot be compiled.
    """
    if not isinstance(model, SpikingClassifier):
        raise CompileError(
            f"{type(model).__name__} cannot be compiled as a whole; compile a pnbx_snn.SpikingClassifier, "
            "or hand its layers to compile_layers"
        )
    versions = {"pnbx-snn": pnbx_snn.__version__, "torch": torch.__version__, "numpy": np.__version__}
    metadata = {"source": "pnbx_snn.SpikingClassifier", "versions": versions}
    layers = [(layer.linear, layer.norm, layer.neuron) for layer in model.layers if isinstance(layer, SpikingLayer)]
    return compile_layers(layers, model.readout, num_steps=model.num_steps, metadata=metadata)


def measure_agreement(
    model: SpikingClassifier, program: Program, inputs: torch.Tensor, labels: torch.Tensor
) -> dict[str, Any]:
    """Measure how far the program's answers are from the network's on the same inputs.

    Parameters
    ----------
    model : SpikingClassifier
        The trained network.
    program : Program
        Its program.
    inputs : Tensor
        ``[T, B, N]`` as the network sees them: real currents or spikes.
    labels : Tensor
        ``[B]``.

    Returns
    -------
    dict
        ``samples``, ``accuracy_network``, ``accuracy_program``, ``labels_equal`` (fraction), ``spikes_equal`` (fraction
        of all neuron-steps), ``firing_rate`` of the program.
    """
    model.eval()
    with torch.no_grad():
        output = model(inputs)
    recording = run(program, inputs.cpu().numpy())
    network_labels = output.logits.argmax(dim=1).cpu().numpy()
    program_labels, truth = recording.labels(), labels.cpu().numpy()
    network_spikes = [s.cpu().numpy() for s in output.spikes]
    program_spikes = list(recording.spikes().values())
    equal = sum(int((a == b).sum()) for a, b in zip(network_spikes, program_spikes, strict=True))
    total = sum(a.size for a in program_spikes)
    return {
        "samples": len(truth),
        "accuracy_network": float((network_labels == truth).mean()),
        "accuracy_program": float((program_labels == truth).mean()),
        "labels_equal": float((network_labels == program_labels).mean()),
        "spikes_equal": equal / total,
        "firing_rate": sum(int(a.sum()) for a in program_spikes) / total,
    }


def compile_run(run_dir: str | Path) -> Program:
    """Compile the network of a training run and store how well the program agrees with it.

    The agreement is measured on the run's validation images, never on its test images.

    Parameters
    ----------
    run_dir : str or Path
        A folder left by ``pnbx-snn train``.

    Returns
    -------
    Program
        With ``metadata["agreement"]`` and ``metadata["run"]``.

    Raises
    ------
    CompileError
        When the run cannot be read or the network not be compiled.
    """
    try:
        model, config = load_run(Path(run_dir))
    except PnbxError as error:
        raise CompileError(str(error)) from error
    if not isinstance(model, SpikingClassifier):
        raise CompileError(
            f"{run_dir}: a {type(model).__name__} cannot be compiled; what can is a SpikingClassifier ([model] in the "
            "configuration)"
        )
    program = compile_model(model)
    split = load_split(config.data, "validation")
    inputs = model.encode(split.images, generator=torch.Generator().manual_seed(0))
    agreement = {"part": "validation", **measure_agreement(model, program, inputs, split.labels)}
    metadata = {**program.metadata, "run": Path(run_dir).name, "config": config.model_dump(), "agreement": agreement}
    return replace(program, metadata=metadata)
