"""snnTorch and Norse networks to NIR graphs that keep what NIR's own tools lose, and to programs.

The network is run once on a sample while its tensors are followed (:mod:`neuromorphic.compiler.module_trace`), so
classes as the tutorials write them work as they are. What NIR has no field for is metadata: the step ``dt``, each
neuron's reset, whether it comes a step late, and whose step it is (:mod:`neuromorphic.compiler.module_nodes`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from neuromorphic.compiler.module_agreement import agreement
from neuromorphic.compiler.module_layers import layer_node
from neuromorphic.compiler.module_nodes import (
    LAYERS,
    NORMS,
    Nodes,
    features_of,
    is_leaf,
    neuron_nodes,
    refuse_unless_supported,
)
from neuromorphic.compiler.module_tensors import INPUT, Source
from neuromorphic.compiler.module_timing import Timing, check_ends, is_neuron, timing_of
from neuromorphic.compiler.module_trace import STATES, Edge, Leaf, Trace, trace
from neuromorphic.compiler.nir_files import nir_package
from neuromorphic.compiler.nir_graphs import compile_nir
from neuromorphic.compiler.notes import Notes
from neuromorphic.compiler.weight_integers import FINE_BITS
from neuromorphic.errors import CompileError
from neuromorphic.neuron_ops import LIF
from neuromorphic.ops import Readout
from neuromorphic.pathway_ops import LI
from neuromorphic.program import Program
from pnbx_snn.linear import BitLinear

DEFAULT_DT = 1e-4
MAX_COUNT = 4095
"""Largest whole number that an input takes as it is unless its range is stated."""
FINE_COUNT = MAX_COUNT
"""Levels either side of an input whose scale nobody stated, where 127 agree too little."""


def graph_of(module: nn.Module, sample: Tensor, *, dt: float | None = None) -> Any:
    """Return the NIR graph of a network.

    Parameters
    ----------
    module : nn.Module
        A network of ``nn.Linear``, ``Conv1d``, ``Conv2d``, ``AvgPool2d``, ``BatchNorm`` (folded into the layer before
        it), ``Flatten``, ``Dropout``, ``Identity``; snnTorch's ``Leaky``, ``RLeaky``, ``Synaptic``, ``RSynaptic``;
        Norse's ``LIFBoxCell``, ``LIFCell``, ``LIF``, ``LICell``, ``LI``, ``LIBoxCell``, ``LIFRecurrentCell``,
        ``LIFRecurrent``; ``pnbx_snn``'s ``LIF``, ``Leaky``, ``BitLinear``. It is run in evaluation mode.
    sample : Tensor
        What the network is called with; one sample in the batch is enough. A network with a loop over time must run
        two steps or more where it is recurrent.
    dt : float, optional
        Seconds a step; ``None``: that of Norse's neurons, else 1e-4. It scales time constants and changes no spike.

    Returns
    -------
    nir.NIRGraph
        ``metadata["dt"]``; neurons with ``metadata`` ``reset_mechanism`` (``"zero"``, ``"subtract"``, ``"none"``),
        ``reset_delay`` and ``primitive`` (``"leaky"``: snnTorch's step, ``"lif_box"``: Norse's). The late reset to zero
        of snnTorch's neurons other than ``Leaky`` is ``"zero_with_input"``. Potentials count from Norse's ``v_leak``.
        What is read a step late comes through a ``Delay``, except for weights from a neuron to itself: a plain loop.

    Raises
    ------
    CompileError
        When a module or an option of it cannot be written, or a module's input has no known origin; by name.

    Examples
    --------
    >>> import snntorch, torch
    >>> net = nn.Sequential(nn.Linear(4, 3), snntorch.Leaky(beta=0.75, init_hidden=True))
    >>> graph = graph_of(net, torch.zeros(1, 4))
    >>> graph.edges
    [('input', '0'), ('0', '1'), ('1', 'output')]
    >>> graph.nodes["1"].metadata["reset_mechanism"], graph.nodes["1"].metadata["reset_delay"]
    ('subtract', True)
    """
    return _traced(module, sample, dt).build()


def _traced(module: nn.Module, sample: Tensor, dt: float | None) -> _Graph:
    """Run a network on a sample and return what was seen, ready to become a graph."""
    nir_package()
    if not isinstance(sample, Tensor) or sample.ndim < 2 or sample.numel() == 0:
        got = f"shape {list(sample.shape)}" if isinstance(sample, Tensor) else type(sample).__name__
        raise CompileError(f"sample must be a tensor with an axis for the batch and one for the features, got {got}")
    leaves: dict[str, nn.Module] = {}
    for name, leaf in _leaves(module, ""):
        if not any(leaf is other for other in leaves.values()):
            leaves[name] = leaf
    with as_evaluated(module):
        for name, leaf in leaves.items():
            _early_check(name, leaf)
        found = trace(module, sample.detach().contiguous(), leaves, _checked_features)
    if found.input_features is None:
        raise CompileError("no module reads the sample; the network must hand it, or a step of it, to a module")
    modules: list[Any] = [leaf.module for leaf in found.leaves.values()]
    steps = [part.dt for part in modules if hasattr(part, "dt")]
    seconds = float(dt if dt is not None else steps[0] if steps else DEFAULT_DT)
    if not 0.0 < seconds < math.inf:
        raise CompileError(f"dt must be a positive number of seconds, got {dt}")
    return _Graph(found, timing_of(found, sample), seconds)


def compile_module(
    module: nn.Module,
    sample: Tensor,
    *,
    num_steps: int | None = None,
    dt: float | None = None,
    input_scale: float | None = None,
    input_range: tuple[int, int] | None = None,
    weight_bits: int | None = None,
) -> Program:
    """Compile a network by way of its NIR graph: :func:`graph_of`, then ``compile_nir``; then compare the two.

    Parameters
    ----------
    module, sample, dt
        As for :func:`graph_of`. On the same sample the program is compared with the network: give one of full length,
        with as many samples as shall be counted.
    num_steps : int, optional
        Steps a sample runs; bounds are proven for this many. ``None``: those of the sample. No other number is allowed,
        unless a call is one step and the neurons' states last from call to call, hidden or returned.
    input_scale, input_range
        Of the input's integers, as for ``compile_nir``; ``None``: what a ``BitLinear`` with ``input_range="int8"`` was
        calibrated to, else what the sample holds: spikes, whole numbers as they are, or fractions, of which the largest
        is worth 127 units.
    weight_bits : {8, 15}, optional
        As for ``compile_nir``; ``None`` also takes 15 where 8 agree too little on the sample.

    Returns
    -------
    Program
        Bit for bit the same on every executor. ``metadata["agreement"]`` says how near it is to the network on the
        sample: ``steps``, ``samples``, ``spikes_equal`` (fraction of all neuron-steps), ``layers`` (the same of each),
        ``readouts`` (largest error of each sum or membrane, relative to its largest value) and, where the network ends
        in a sum, ``labels_equal``.

    Raises
    ------
    CompileError
        As :func:`graph_of`, and when integers cannot hold the graph, or ``num_steps`` is not the sample's.

    Warns
    -----
    CompileWarning
        When spikes of a layer or labels agree in less than 99 %, or a read-out is off by more than 5 %.
    """
    traced = _traced(module, sample, dt)
    graph = traced.build()
    steps = traced.timing.num_steps
    if num_steps is not None and num_steps != steps and not (steps == 1 and traced.goes_on()):
        raise CompileError(
            f"num_steps is {num_steps}, but the network runs {steps} {'step' if steps == 1 else 'steps'} on this "
            f"sample; leave num_steps out, or give a sample that runs {num_steps}"
        )
    num_steps = steps if num_steps is None else num_steps
    chosen = False
    if input_scale is None and "input_scale" in graph.metadata:
        input_scale = graph.metadata["input_scale"]
        input_range = input_range or (graph.metadata["input_low"], graph.metadata["input_high"])
    elif input_scale is None and input_range is None:
        input_scale, input_range = _port_of(sample)
        chosen = True
    options: dict[str, Any] = {"num_steps": num_steps, "input_scale": input_scale, "input_range": input_range}
    program, notes = _measured(module, sample, traced, compile_nir(graph, weight_bits=weight_bits, **options))
    if notes.warnings and (weight_bits is None or (chosen and input_scale is not None)):
        if chosen and input_scale is not None:
            options |= {"input_scale": input_scale * 127 / FINE_COUNT, "input_range": (-FINE_COUNT, FINE_COUNT)}
        finer = compile_nir(graph, weight_bits=weight_bits or FINE_BITS, **options)
        finer, better = _measured(module, sample, traced, finer)
        if len(better.warnings) < len(notes.warnings):
            program, notes = finer, better
            if weight_bits is None:
                notes.insert(0, "Weights have 15 bits: with 8 the program was too far from the network on the sample.")
    if chosen and (program.input.scale != 1.0 or (program.input.low, program.input.high) != (0, 1)):
        traced.notes.append(_port_chosen(sample, program))
    sentences = [*program.metadata["assumptions"], *traced.notes.give(stacklevel=2), *notes.give(stacklevel=2)]
    return replace(program, metadata={**program.metadata, "assumptions": sentences})


def _measured(module: nn.Module, sample: Tensor, traced: _Graph, program: Program) -> tuple[Program, Notes]:
    """Return a program with its agreement, and what to say of that."""
    notes = Notes()
    with as_evaluated(module):
        found = agreement(module, sample, program, traced, notes)
    return replace(program, metadata={**program.metadata, "agreement": found}), notes


def _port_of(sample: Tensor) -> tuple[float | None, tuple[int, int] | None]:
    """Choose the scale and the range of an input that nobody stated: spikes, whole numbers, or fractions."""
    sample = sample.detach().to(torch.float64)
    low, high = float(sample.min()), float(sample.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise CompileError("the sample holds NaN or infinity")
    if not bool((sample == sample.round()).all()) or max(-low, high) > MAX_COUNT:
        return max(-low, high) / 127.0, (-127, 127)
    if low >= 0 and high <= 1:
        return None, None
    return None, (min(int(low), 0), max(int(high), 1))


def _port_chosen(sample: Tensor, program: Program) -> str:
    """Say which input was chosen for a sample whose scale and range nobody stated."""
    low, high, port = float(sample.min()), float(sample.max()), program.input
    if port.scale == 1.0:
        return f"The sample holds whole numbers in {low:.0f}..{high:.0f}: the input takes these as they are."
    return (
        f"The sample holds numbers in {low:.4g}..{high:.4g} and no input_scale was given: one input unit is "
        f"{port.scale:.6g}, so that the largest is {port.high}; what lies beyond is clipped."
    )


def _leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that become nodes, by name."""
    if is_leaf(module):
        yield (name or type(module).__name__.lower()), module
        return
    for key, child in module.named_children():
        yield from _leaves(child, f"{name}.{key}" if name else key)


def _early_check(name: str, leaf: nn.Module) -> None:
    """Refuse neurons by their options before the run, which may fail because of them."""
    if isinstance(leaf, snntorch.SpikingNeuron):
        refuse_unless_supported(f"{name} ({type(leaf).__name__})", leaf)


def _checked_features(where: str, leaf: nn.Module, tensor: Tensor) -> tuple[int, ...]:
    refuse_unless_supported(where, leaf)
    return features_of(where, leaf, tensor)


@contextmanager
def as_evaluated(module: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode and snnTorch's hidden states to zero, and both back afterwards."""
    modes = {part: part.training for part in module.modules()}
    hidden = [
        (part, name, getattr(part, name))
        for part in module.modules()
        if isinstance(part, snntorch.SpikingNeuron)
        for name in STATES
        if isinstance(getattr(part, name, None), Tensor)
    ]
    for part, name, state in hidden:
        setattr(part, name, state.new_empty(0))
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
        for part, name, state in hidden:
            setattr(part, name, state)


class _Graph:
    """NIR nodes and edges of what a trace saw."""

    def __init__(self, found: Trace, timing: Timing, dt: float) -> None:
        self.found, self.timing, self.notes = found, timing, Notes()
        self.leaves, self.dt = found.leaves, dt
        assert found.input_features is not None
        self.input_features = found.input_features
        self.edges = {name: self._settled(leaf) for name, leaf in self.leaves.items()}
        self.made: dict[str, Nodes] = {}
        self.nodes: dict[str, Any] = {}
        self.links: list[tuple[str, str]] = []
        self.metadata: dict[str, Any] = {"dt": dt}

    def build(self) -> Any:
        nir = nir_package()
        self.nodes[INPUT] = nir.Input(input_type=np.array(self.input_features))
        norms = {name: self._layer_before(leaf) for name, leaf in self.leaves.items() if isinstance(leaf.module, NORMS)}
        for name, leaf in self.leaves.items():
            if name not in norms:
                norm = next((self.leaves[key].module for key, layer in norms.items() if layer == name), None)
                self.made[name] = self._nodes(leaf, norm)
                self.nodes.update(self.made[name].nodes)
                self.links += self.made[name].edges
        self.made.update({name: self.made[layer] for name, layer in norms.items()})
        for name, leaf in self.leaves.items():
            if name not in norms:
                for edge in sorted(self.edges[name], key=lambda edge: edge.node):
                    self._join(edge, leaf)
        read = {
            edge.node
            for name, edges in self.edges.items()
            for edge in edges
            if edge.delay == 0 or not self._loops(name, edge.node)
        }
        ends = [name for name in self.leaves if name not in read]
        for name in ends:
            output = "output" if len(ends) == 1 else f"output_{_key(name)}"
            self.nodes[output] = nir.Output(output_type=np.array(self.leaves[name].features_out))
            self.links.append((self.made[name].exit, output))
        if not ends:
            raise CompileError("every module feeds another one; a network needs a module whose output it returns")
        check_ends(
            self.found, self.timing, [*ends, *(norm for norm, layer in norms.items() if layer in ends)], self.notes
        )
        return nir.NIRGraph(self.nodes, self.links, metadata=self.metadata)

    def _nodes(self, leaf: Leaf, norm: nn.Module | None) -> Nodes:
        name = _key(leaf.name)
        if not isinstance(leaf.module, LAYERS):
            return neuron_nodes(name, leaf.where, leaf.module, leaf.features_in, self.dt)
        if isinstance(leaf.module, BitLinear) and leaf.module.input_range == "int8":
            if self.edges[leaf.name] != {Edge(INPUT, 0)}:
                raise CompileError(
                    f'{leaf.where}: quantises its input to int8, but its input is no sample; use input_range="spikes"'
                )
            self.metadata |= {"input_scale": float(leaf.module.input_scale), "input_low": -128, "input_high": 127}
        return Nodes(name, name, {name: layer_node(leaf.where, leaf.module, leaf.features_in, norm)})

    def goes_on(self) -> bool:
        """Say whether the next call goes on where one ended: states are hidden or returned, or there are none."""
        neurons = [leaf.module for leaf in self.leaves.values() if is_neuron(leaf.module)]
        sources = [entry.source for _, entry in self.found.returned_tensors if entry is not None]
        states = any(part.port for source in sources if isinstance(source, Source) for part in source.parts)
        return states or all(getattr(neuron, "init_hidden", False) for neuron in neurons)

    @property
    def ends(self) -> set[str]:
        """Return the names of nodes at an end of the network."""
        return {source for source, node in self.links if isinstance(self.nodes[node], nir_package().Output)}

    def modules(self, program: Program) -> dict[str, nn.Module]:
        """Return the modules whose outputs can be compared, by the name of their operation: neurons and read-outs."""
        ends = {source: node for source, node in self.links if isinstance(self.nodes[node], nir_package().Output)}
        named = {}
        for name, leaf in self.leaves.items():
            if name in self.made:
                made = self.made[name].exit
                named[made] = named[ends.get(made, made)] = leaf.module
        return {
            op.name: named[op.name] for op in program.ops if isinstance(op, LIF | LI | Readout) and op.name in named
        }

    def _layer_before(self, norm: Leaf) -> str:
        """Return the layer into which a norm folds."""
        edges = self.edges[norm.name]
        before = next(iter(edges)).node if len(edges) == 1 else ""
        layer = self.leaves.get(before)
        readers = [name for name, edges in self.edges.items() if any(edge.node == before for edge in edges)]
        folds = layer is not None and isinstance(layer.module, LAYERS) and not isinstance(layer.module, nn.AvgPool2d)
        if not folds or readers != [norm.name] or Edge(before, 0) not in edges:
            raise CompileError(
                f"{norm.where}: folds only into a linear or convolution layer right before it that feeds nothing else"
            )
        return before

    def _settled(self, leaf: Leaf) -> frozenset[Edge]:
        """Return the edges of every call but the first, in which a loop has not come round yet."""
        edges = [frozenset(self._timed(leaf, edge) for edge in call) for call in leaf.edges]
        last = edges[-1]
        if not last:
            raise CompileError(
                f"{leaf.where}: its input has no known origin: it is zero and comes from no module; if a loop feeds "
                "it, the sample must run for two steps or more"
            )
        late = all(edge.delay == 1 for edge in last - edges[0])
        if any(call != last for call in edges[1:]) or not edges[0] <= last or not late:
            raise CompileError(
                f"{leaf.where}: is fed by different modules in different calls; make a module of its own for each, "
                "even where they share weights"
            )
        return last

    def _timed(self, leaf: Leaf, edge: Edge) -> Edge:
        if edge.node != INPUT and edge.delay > 0 and self.leaves[edge.node].calls == 1:
            return Edge(edge.node, 0)  # computed once, before the loop over time
        if edge.delay not in (0, 1):
            raise CompileError(
                f"{leaf.where}: reads {self.leaves[edge.node].where} as it was {edge.delay} steps ago; "
                "one step is known"
            )
        return edge

    def _join(self, edge: Edge, leaf: Leaf) -> None:
        """Link two modules, with a Flatten or a Delay between them where one is needed."""
        nir = nir_package()
        entry = self.made[leaf.name].entry
        if edge.node == INPUT:
            source, features = INPUT, self.input_features
        else:
            source, features = self.made[edge.node].exit, self.leaves[edge.node].features_out
        if edge.delay and not self._is_own_loop(leaf.name, edge.node):
            name = f"{entry}_late_{source}"
            self.nodes[name] = nir.Delay(delay=np.full(features, self.dt))
            self.links.append((source, name))
            source = name
        if features != leaf.features_in:
            if leaf.features_in != (math.prod(features),):
                raise CompileError(
                    f"{leaf.where}: its input of shape {list(leaf.features_in)} is reshaped from {list(features)}; "
                    "NIR can only flatten"
                )
            name = f"{entry}_flat" if len(self.edges[leaf.name]) == 1 else f"{entry}_flat_{source}"
            self.nodes[name] = nir.Flatten(input_type={"input": np.array(features)}, start_dim=0)
            self.links.append((source, name))
            source = name
        self.links.append((source, entry))

    def _is_own_loop(self, name: str, source: str) -> bool:
        """Say whether a layer reads a module and feeds that module only."""
        readers = [reader for reader, edges in self.edges.items() if any(edge.node == name for edge in edges)]
        return isinstance(self.leaves[name].module, LAYERS) and readers == [source]

    def _loops(self, start: str, end: str) -> bool:
        """Say whether ``start`` feeds ``end`` within a step."""
        reached, waiting = {start}, [start]
        while waiting:
            node = waiting.pop()
            after = {name for name, edges in self.edges.items() if Edge(node, 0) in edges} - reached
            reached |= after
            waiting += after
        return end in reached


def _key(name: str) -> str:
    """Return a module's name as a NIR node's."""
    key = name.replace(".", "_")
    return f"{key}_" if key in (INPUT, "output") else key
