"""Our networks and programs to NIR graphs, for other tools; what a graph cannot hold is refused by name.

A layer is first ``Linear`` with its ternary weights as whole numbers and a neuron that holds all scales: with a decay
of ``beta``, a current ``a (W x) + c`` becomes ``r = a / (1 - beta)`` and ``v_leak = c / (1 - beta)``. A program's
neurons count in its own integers. That is ``form="integer"``; the default moves all scales into the weights, where
other tools look for them (:mod:`neuromorphic.compiler.nir.portable`). Resets, their delay, the step ``dt`` and the
input's integers are metadata.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import nn

import pnbx_snn
from neuromorphic.compiler import folding
from neuromorphic.compiler.folding import quantised_weights, to_numpy
from neuromorphic.compiler.glia import block_thresholds, encoder_thresholds
from neuromorphic.compiler.layers import LayerParts, check_layers, layers_of
from neuromorphic.compiler.nir.neurons import lif_node, reset_metadata
from neuromorphic.compiler.nir.portable import Form, portable
from neuromorphic.compiler.nir.program import RoundTrip, program_graph
from neuromorphic.compiler.nir.time_step import DEFAULT_DT, checked_dt
from neuromorphic.compiler.weight_integers import Float64, real_weights
from neuromorphic.errors import CompileError, StorageError
from neuromorphic.formats.nir import nir_package
from neuromorphic.program import Program
from pnbx_snn.layers.rnn import SpikingRNN
from pnbx_snn.layers.ssm import LTISSM
from pnbx_snn.networks.block import BitBrain
from pnbx_snn.networks.classifier import SpikingClassifier, SpikingLayer
from pnbx_snn.networks.pnbx import PNBX


def to_nir(
    model_or_program: nn.Module | Program | Sequence[LayerParts],
    *,
    dt: float = DEFAULT_DT,
    round_trip: RoundTrip = "exact",
    form: Form = "portable",
) -> Any:
    """Return the NIR graph of a network or program.

    Parameters
    ----------
    model_or_program
        A :class:`pnbx_snn.SpikingClassifier`, its input scale calibrated; a :class:`pnbx_snn.PNBX` whose pathways are
        ``ssm="real"`` and ``rnn="spiking"`` at most, without messages; a sequence of layers as ``compile_layers`` takes
        it; or a program of ``Input``, ``Dense``, ``Conv``, ``SumPool``, ``LIF``, ``LI``, ``Scale``, ``Delay``,
        ``Delays`` and ``Readout``.
    dt : float
        Seconds a step is taken for; it scales time constants and changes no spike.
    round_trip : {"exact", "close"}
        Of a program: ``"exact"`` compiles its graph back and refuses it unless all integers are the same, so that no
        spike differs; ``"close"`` does not ask. A network has no integers; its graph means the same in float64.
    form : {"portable", "integer"}
        Whether scales stand in the weights, where other tools look for them, or in the neurons.

    Returns
    -------
    nir.NIRGraph
        ``metadata``: ``dt``, ``num_steps``, and for graded inputs ``input_scale``, ``input_low``, ``input_high``: what
        ``compile_nir`` takes; in the portable form ``notes``: what other readers make of it, a sentence a line. It ends
        in weights where the network has a read-out: the label is the argmax of their sum over time.

    Raises
    ------
    CompileError
        When something cannot be written, by name.

    Examples
    --------
    >>> model = pnbx_snn.SpikingClassifier(in_features=4, hidden=[16], num_classes=3, num_steps=5)
    >>> model.calibrate(torch.rand(8, 4))
    >>> list(to_nir(model).nodes)
    ['input', 'lif1_synapses', 'lif1', 'readout_synapses', 'readout']
    """
    _check_form(form)
    model = model_or_program
    if isinstance(model, Program):
        return program_graph(model, dt, round_trip, form)
    network = _Network(dt)
    if isinstance(model, PNBX):
        graph = network.pnbx(model)
    elif isinstance(model, SpikingClassifier):
        network.metadata["num_steps"] = model.num_steps
        graph = network.layers(layers_of(model), model.readout)
    elif isinstance(model, SpikingLayer):
        graph = network.layers([(model.linear, model.norm, model.neuron)])
    elif isinstance(model, nn.Module):
        raise CompileError(
            f"{type(model).__name__} cannot be exported as a whole: what can is a pnbx_snn."
            "SpikingClassifier, PNBX or SpikingLayer, or a program; other networks go through graph_of(module, sample)"
        )
    else:
        graph = network.layers(list(model))
    return portable(graph) if form == "portable" else graph


def _check_form(form: str) -> None:
    if form not in get_args(Form):
        raise CompileError(f"form must be 'portable' or 'integer', got {form!r}")


def save_nir(graph: Any, path: str | os.PathLike[str], *, form: Form | None = None) -> None:
    """Write a graph of :func:`to_nir` or ``graph_of`` to a ``.nir`` file (HDF5), whole or not at all.

    An existing file is replaced. ``form`` is as for :func:`to_nir`; ``None``: that of ``graph.metadata["form"]``, else
    ``"portable"``. An ``"integer"`` graph is written as it is.

    Raises
    ------
    CompileError
        When the package ``nir`` is missing.
    StorageError
        When the file cannot be written.
    """
    nir = nir_package()
    form = graph.metadata.get("form", "portable") if form is None else form
    _check_form(form)
    if form == "portable":
        graph = portable(graph)
    target = Path(path)
    written = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        nir.write(written, graph)
        written.replace(target)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        written.unlink(missing_ok=True)


class _Network:
    """Nodes and edges of a network as they are made."""

    def __init__(self, dt: float) -> None:
        self.nir, self.dt = nir_package(), checked_dt(dt)
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.metadata: dict[str, Any] = {"dt": self.dt, "form": "integer"}

    def add(self, name: str, node: Any, *sources: str) -> str:
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def linear(self, name: str, layer: nn.Module, source: str, factor: Float64 | float = 1.0) -> str:
        """Add weights, each row times a factor."""
        weights = real_weights(quantised_weights(layer, name, own_units=False))
        weight = weights * np.broadcast_to(factor, (len(weights),))[:, None]
        bias = getattr(layer, "bias", None)
        if bias is None:
            return self.add(name, self.nir.Linear(weight=weight), source)
        return self.add(name, self.nir.Affine(weight=weight, bias=to_numpy(bias) * factor), source)

    def input(self, first: nn.Module, where: str) -> str:
        """Add the input that a first layer reads."""
        entry = folding.input_of(first, where)
        if folding.quantises_input(first):
            self.metadata |= {"input_scale": entry.scale, "input_low": entry.low, "input_high": entry.high}
        return self.add("input", self.nir.Input(input_type=np.array([entry.size])))

    def driven(
        self, name: str, affine: folding.Affine, source: str, beta: Float64, theta: Float64, metadata: dict[str, Any]
    ) -> str:
        """Add weights, whole numbers, and the neurons that they drive."""
        weights, unit = affine.whole_weights()
        synapses = self.add(f"{name}_synapses", self.nir.Linear(weight=weights), source)
        return self.add(name, lif_node(beta, theta, self.dt, metadata, gain=unit, offset=affine.offset), synapses)

    def finish(self, last: str, readout: nn.Module | None) -> Any:
        """Add the output and return the graph."""
        if readout is None:
            size = self.nodes[last].output_type["output"]
            self.add("output", self.nir.Output(output_type=np.array(size)), last)
        else:
            synapses = self.linear("readout_synapses", readout, last)
            classes = self.nodes[synapses].weight.shape[0]
            self.add("readout", self.nir.Output(output_type=np.array([classes])), synapses)
        return self.nir.NIRGraph(self.nodes, self.edges, metadata=self.metadata)

    def layers(self, layers: Sequence[LayerParts], readout: nn.Module | None = None) -> Any:
        """Return the graph of a stack of layers."""
        check_layers(layers, "a graph", "exported here; use pnbx_snn.LIF or graph_of")
        last = self.input(layers[0][0], "lif1")
        for number, (layer, norm, neuron) in enumerate(layers, start=1):
            assert isinstance(neuron, pnbx_snn.LIF)
            _check_binary(f"lif{number}", neuron.levels)
            affine = folding.fold_affine(layer, norm, f"lif{number}")
            beta, theta, gain = folding.lif_parameters(neuron, len(affine.gain))
            metadata = reset_metadata(neuron.reset, neuron.primitive)
            last = self.driven(f"lif{number}", affine.scaled(gain), last, beta, theta, metadata)
        return self.finish(last, readout)

    def pnbx(self, model: PNBX) -> Any:
        """Return the graph of a PNB-X network whose pathways are linear states or interneurons that spike."""
        if model.readout.kind != "mean":
            raise CompileError(
                f"readout: that of kind {model.readout.kind!r} is no sum over time; the mean over time can be exported"
            )
        if model.window is not None:
            raise CompileError(
                f"encoder: it sees {model.window.num_steps} steps at once; one with window = 1 can be exported"
            )
        if model.delays is not None:
            raise CompileError("encoder: its input is delayed; one with input_delays = 0 can be exported")
        self.metadata["num_steps"] = model.num_steps
        encoder, theta = model.encoder, encoder_thresholds(model)
        beta = np.full(model.d_hidden, encoder.beta)
        _check_binary("encoder", encoder.levels)
        last = self.input(encoder.linear, "encoder")
        affine = folding.fold_affine(encoder.linear, encoder.norm, "encoder").scaled(1.0 - beta)
        last = self.driven("encoder", affine, last, beta, theta, reset_metadata(encoder.reset, "lif_box"))
        for number, block in enumerate(model.blocks, start=1):
            assert isinstance(block, BitBrain)
            last = self.block(f"block{number}", block, last)
        return self.finish(last, model.readout)

    def block(self, name: str, block: BitBrain, events: str) -> str:
        """Add a block: its pathways and the membrane they drive."""
        if block.membrane.messages is not None:
            raise CompileError(
                f"{name}: messages between neighbours on a torus have no node in NIR; train with messages=False"
            )
        sources = [events] if block.skip else []
        norm_gain, norm_offset = folding.fold_norm(block.norm, block.d_hidden, name)
        for key, pathway in block.pathways.items():
            sources.append(self.pathway(f"{name}_{key}", name, pathway, events, norm_gain))
        theta, beta = block_thresholds(block), to_numpy(block.membrane.beta)
        offset = (1.0 - beta) * (norm_offset + to_numpy(block.membrane.bias))
        metadata, gain = reset_metadata(block.membrane.reset, "lif_box"), (1.0 - beta) * norm_gain
        return self.add(name, lif_node(beta, theta, self.dt, metadata, gain=gain, offset=offset), *sources)

    def pathway(self, name: str, block: str, part: nn.Module, events: str, norm_gain: Float64) -> str:
        """Add a pathway; return the node of its current."""
        if isinstance(part, LTISSM) and part.kind == "real":
            keep = part.eigenvalue().detach().cpu().to(torch.complex128).numpy().real
            one, zero = np.ones(part.d_ssm), np.zeros(part.d_ssm)
            state = self.nir.LI(tau=self.dt / (1.0 - keep), r=one, v_leak=zero)
            self.add(name, state, self.linear(f"{name}_B", part.B, events))
            return self.linear(f"{name}_C", part.C, name)
        if isinstance(part, SpikingRNN):
            beta, theta, _ = folding.lif_parameters(part.lif, part.d_rnn)
            metadata = reset_metadata(part.lif.reset, part.lif.primitive)
            late = self.add(f"{name}_last", self.nir.Delay(delay=np.full(len(norm_gain), self.dt)), block)
            heard = self.linear(f"{name}_U", part.U, late)
            driven = self.linear(f"{name}_W", part.W, events)
            self.add(name, lif_node(beta, theta, self.dt, metadata), driven, heard)
            # Its current comes after the norm, all others before it.
            return self.linear(f"{name}_V", part.V, name, 1.0 / norm_gain)
        why = {
            "SelectiveSSM": "its gates depend on the input; ssm='real' can be exported",
            "LTISSM": "its states rotate, and NIR's decay; ssm='real' can be exported",
            "MinGRU": "its gates depend on the input; rnn='spiking' or 'none' can be exported",
            "FastWeights": "its weights change while it runs; fast_weights='none' can be exported",
            "Hippocampus": "it searches and writes a memory; hippocampus='none' can be exported",
        }.get(type(part).__name__, "no node in NIR is like it")
        raise CompileError(f"{name} ({type(part).__name__}): {why}")


def _check_binary(name: str, levels: int) -> None:
    """Refuse graded events, which the neurons of NIR do not have."""
    if levels > 2:
        raise CompileError(f"{name}: no node of NIR gives graded events, of {levels} levels; spikes are 0 or 1")
