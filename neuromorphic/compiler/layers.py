"""Feed-forward stacks of spiking layers to programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

import pnbx_snn
from neuromorphic.compiler.folding import compile_neurons, compile_readout, fold_affine, per_neuron, quantised_weights
from neuromorphic.compiler.notes import Notes
from neuromorphic.compiler.spiking import Ranges
from neuromorphic.errors import CompileError
from neuromorphic.ops import Input, Operation
from neuromorphic.program import Program
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.networks.classifier import SpikingClassifier, SpikingLayer

LayerParts = tuple[nn.Module, nn.Module | None, nn.Module]


def _lif(layer: LayerParts, name: str, source: Operation, ranges: Ranges, notes: Notes) -> None:
    linear, norm, neuron = layer
    if not isinstance(neuron, pnbx_snn.LIF):
        raise CompileError(f"{name}: {type(neuron).__name__} cannot be compiled; use pnbx_snn.LIF")
    affine = fold_affine(linear, norm, name)
    size = len(affine.gain)
    beta = np.clip(per_neuron(neuron.beta, size), 0.0, 1.0)
    if neuron.primitive == "lif_box":  # Norse scales its input by (1 - beta)
        affine = affine.scaled(1.0 - beta)
    ranges.add(
        compile_neurons(
            affine,
            beta,
            per_neuron(neuron.threshold, size),
            reset="subtract_snntorch" if (neuron.primitive, neuron.reset) == ("leaky", "subtract") else neuron.reset,
            name=name,
            source=source,
            ranges=ranges,
            notes=notes,
        )
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
        ``BitLinear`` (ternary as trained) or ``nn.Linear`` (8 bits, or 15 where 8 are too coarse, one scale a neuron);
        ``BatchNorm1d``, ``Identity`` or ``None``; :class:`pnbx_snn.LIF` of either primitive with any reset.
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
    inputs = quantised_weights(first, "lif1", own_units=True)[0].weights.shape[1]
    ranges, notes = Ranges(Input("input", inputs, low=low, high=high, scale=scale), num_steps), Notes()
    for number, layer in enumerate(layers, start=1):
        _lif(layer, f"lif{number}", ranges.ops[-1], ranges, notes)
    if readout is not None:
        ranges.add(compile_readout(readout, "readout", ranges.ops[-1], ranges))
    sentences = notes.give()
    about = {**(metadata or {}), **({"assumptions": sentences} if sentences else {})}
    return Program(tuple(ranges.ops), num_steps=num_steps, metadata=about)


def compile_classifier(model: SpikingClassifier) -> Program:
    """Compile a trained :class:`pnbx_snn.SpikingClassifier`; see :func:`compile_layers`."""
    versions = {"pnbx-snn": pnbx_snn.__version__, "torch": torch.__version__, "numpy": np.__version__}
    metadata = {"source": "pnbx_snn.SpikingClassifier", "versions": versions}
    layers = [(layer.linear, layer.norm, layer.neuron) for layer in model.layers if isinstance(layer, SpikingLayer)]
    return compile_layers(layers, model.readout, num_steps=model.num_steps, metadata=metadata)
