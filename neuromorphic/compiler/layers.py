"""Feed-forward stacks of spiking layers to programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

import pnbx_snn
from neuromorphic.compiler import folding
from neuromorphic.compiler.draft import Draft
from neuromorphic.errors import CompileError
from neuromorphic.ops import MaxPool, SpikePool
from neuromorphic.program import Program
from pnbx_snn.networks.classifier import SpikingClassifier
from pnbx_snn.networks.conv import SpikingConvNet

LayerParts = tuple[nn.Module, nn.Module | None, nn.Module]
Shape = folding.Shape


def check_layers(layers: Sequence[LayerParts], what: str, neurons: str) -> None:
    """Refuse a stack without layers, one that rounds spikes to int8, and neurons that are no :class:`pnbx_snn.LIF`."""
    if not layers:
        raise CompileError(f"{what} needs at least one spiking layer, got none")
    for number, (linear, _, neuron) in enumerate(layers, start=1):
        if number > 1 and folding.quantises_input(linear):
            raise CompileError(f'lif{number}: quantises its input to int8, but its input is spikes; use "spikes"')
        if not isinstance(neuron, pnbx_snn.LIF):
            raise CompileError(f"lif{number}: {type(neuron).__name__} cannot be {neurons}")


def compile_layers(
    layers: Sequence[LayerParts],
    readout: nn.Module | None = None,
    *,
    num_steps: int,
    input_scale: float | None = None,
    input_shape: Shape | None = None,
    pools: Sequence[int] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Program:
    """Compile a stack of ``linear -> BatchNorm -> LIF`` layers and an optional linear read-out.

    Parameters
    ----------
    layers : sequence of (linear, norm, neuron)
        ``BitLinear`` (ternary as trained) or ``nn.Linear`` (8 bits, or 15 where 8 are too coarse, one scale a neuron);
        ``BitConv2d`` and ``nn.Conv2d`` the same, one scale a channel; ``BatchNorm1d``, ``BatchNorm2d``, ``Identity`` or
        ``None``; :class:`pnbx_snn.LIF` of either primitive with any reset.
    readout : nn.Module, optional
        ``BitLinear`` or ``nn.Linear`` on the mean of the last layer's spikes over time.
    num_steps : int
        Steps a sample runs; bounds are proven for this many.
    input_scale : float, optional
        Real value of one input unit (int8); ``None``: spikes, or what the first ``BitLinear`` is calibrated to.
    input_shape : tuple of int, optional
        ``(channels, height, width)`` of the input, where the first layer is a convolution.
    pools : sequence of int, optional
        Side of the windows of a max pool behind each layer, 1 for none; behind convolutions alone.
    metadata : dict, optional
        Stored in the program.

    Returns
    -------
    Program
        Named ``input``, ``lif1_synapses``, ``lif1``, ``pool1``, ..., ``readout_synapses``, ``readout``.

    Raises
    ------
    CompileError
        When a part cannot be compiled; the message names it, the reason and what can be compiled instead.
    """
    check_layers(layers, "a program", "compiled; use pnbx_snn.LIF")
    image = None if input_shape is None else _checked_shape(input_shape)
    pools = [1] * len(layers) if pools is None else pools
    if len(pools) != len(layers):
        raise CompileError(f"pools must be one number for each of the {len(layers)} layers, got {len(pools)}")
    draft = Draft(folding.input_of(layers[0][0], "lif1", input_scale, image), num_steps)
    for number, ((linear, norm, neuron), pool) in enumerate(zip(layers, pools, strict=True), start=1):
        assert isinstance(neuron, pnbx_snn.LIF)
        name, source = f"lif{number}", draft.ops[-1]
        affine = folding.fold_affine(linear, norm, name, image)
        beta, theta, gain = folding.lif_parameters(neuron, affine.size)
        if isinstance(gain, np.ndarray):
            gain = gain.reshape(len(affine.gain), -1)[:, 0]  # of neurons that share weights, one decay
        where: dict[str, Any] = {"name": name, "source": source, "reset": folding.reset_of(neuron), "draft": draft}
        where["levels"] = neuron.levels
        draft.add(folding.compile_neurons(affine.scaled(gain), beta, theta, **where))
        window = affine.layout.conv
        image = None if window is None else (len(affine.gain), *window.output)
        if pool > 1:
            if image is None:
                raise CompileError(f"{name}: a pool reads images, which a convolution makes")
            sides = (pool, pool)
            largest = SpikePool if neuron.levels == 2 else MaxPool  # the OR of spikes, the maximum of graded events
            draft.add([largest(f"pool{number}", name, image, sides, sides)])
            image = (image[0], image[1] // pool, image[2] // pool)
    if readout is not None:
        folding.add_readout(readout, "readout", draft)
    return draft.program(metadata or {})


def _checked_shape(shape: Any) -> Shape:
    if not isinstance(shape, list | tuple) or len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise CompileError(f"input_shape must be (channels, height, width), got {shape!r}")
    return (shape[0], shape[1], shape[2])


def layers_of(model: SpikingClassifier | SpikingConvNet) -> list[LayerParts]:
    """Return the parts of each spiking layer of a classifier."""
    layers: list[Any] = list(model.layers)
    return [(layer.linear, layer.norm, layer.neuron) for layer in layers]


def images_of(model: SpikingClassifier | SpikingConvNet) -> dict[str, Any]:
    """Return the options of :func:`compile_layers` that say which images a convolutional network reads."""
    if isinstance(model, SpikingClassifier):
        return {}
    layers: list[Any] = list(model.layers)
    return {"input_shape": layers[0].input_shape, "pools": [layer.pool for layer in layers]}


def origin_of(source: str) -> dict[str, Any]:
    """Return the metadata of a program that say which class and which versions of packages it comes from."""
    versions = {"pnbx-snn": pnbx_snn.__version__, "torch": torch.__version__, "numpy": np.__version__}
    return {"source": source, "versions": versions}
