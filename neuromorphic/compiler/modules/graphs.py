"""snnTorch and Norse networks to NIR graphs with what NIR's own tools lose.

The network is run once on a sample while its tensors are followed (:mod:`neuromorphic.compiler.modules.trace`), so
classes as the tutorials write them work as they are. What NIR has no field for is metadata: the step ``dt``, each
neuron's reset, whether it comes a step late, and whose step it is (:mod:`neuromorphic.compiler.modules.neurons`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import snntorch
from torch import Tensor, nn

from neuromorphic.compiler.folding import quantises_input
from neuromorphic.compiler.modules.layers import POOLS, layer_node
from neuromorphic.compiler.modules.neurons import LAYERS, NORMS, Nodes, is_leaf, neuron_nodes, refuse_unless_supported
from neuromorphic.compiler.modules.outputs import NetworkOutput, check_ends, check_returned
from neuromorphic.compiler.modules.sources import INPUT
from neuromorphic.compiler.modules.timing import Timing, is_neuron, timing_of
from neuromorphic.compiler.modules.trace import STATES, Edge, Leaf, Trace, trace
from neuromorphic.compiler.nir.readable import readable
from neuromorphic.compiler.nir.readers import reaches
from neuromorphic.compiler.nir.time_step import DEFAULT_DT, checked_dt
from neuromorphic.compiler.notes import Notes
from neuromorphic.errors import CompileError
from neuromorphic.formats.nir import nir_package
from neuromorphic.ops import LI, LIF, Readout
from neuromorphic.program import Program
from neuromorphic.wording import counted


def graph_of(module: nn.Module, sample: Tensor, *, dt: float | None = None) -> Any:
    """Return the NIR graph of a network.

    Parameters
    ----------
    module : nn.Module
        A network of ``nn.Linear``, ``Conv1d``, ``Conv2d``, ``AvgPool2d``, ``AdaptiveAvgPool2d``, ``MaxPool2d`` (which a
        program has and NIR has not), ``BatchNorm`` (folded into the layer before it), ``Flatten``, ``Dropout``,
        ``Identity``; between them pools as functions, ``torch.cat`` of features, sums and constant factors; snnTorch's
        ``Leaky``, ``RLeaky``, ``Synaptic``, ``RSynaptic``,
        ``Lapicque``; Norse's ``LIFBoxCell``, ``LIFCell``, ``LIF``, ``LICell``, ``LI``, ``LIBoxCell``, ``LILinearCell``,
        ``LIFRecurrentCell``, ``LIFRecurrent``, ``LSNNCell``, ``LSNN``, ``LSNNRecurrentCell``, ``LSNNRecurrent``;
        ``pnbx_snn``'s ``LIF``, ``Leaky``, ``BitLinear``, ``BitConv2d``, ``Delays``. It is run in evaluation mode.
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
    >>> graph_of(net, torch.zeros(1, 4)).edges
    [('input', '0'), ('0', '1'), ('1', 'output')]
    """
    return readable(traced_graph(module, sample, dt).build())


def traced_graph(module: nn.Module, sample: Tensor, dt: float | None) -> ModuleGraph:
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
            if isinstance(leaf, snntorch.SpikingNeuron):  # whose options may make the run fail
                refuse_unless_supported(f"{name} ({type(leaf).__name__})", leaf)
        found = trace(module, sample.detach().contiguous(), leaves)
    if found.input_features is None:
        raise CompileError("no module reads the sample; the network must hand it, or a step of it, to a module")
    modules: list[Any] = [leaf.module for leaf in found.leaves.values()]
    steps = [part.dt for part in modules if hasattr(part, "dt")]
    seconds = checked_dt(dt if dt is not None else steps[0] if steps else DEFAULT_DT)
    notes = Notes()
    outputs = check_returned(found, notes)
    return ModuleGraph(found, timing_of(found, sample), outputs, seconds, notes)


def _leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that become nodes, by name."""
    if is_leaf(module):
        yield (name or type(module).__name__.lower()), module
        return
    for key, child in module.named_children():
        yield from _leaves(child, f"{name}.{key}" if name else key)


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


class ModuleGraph:
    """NIR nodes and edges of what a trace saw."""

    def __init__(self, found: Trace, timing: Timing, outputs: list[NetworkOutput], dt: float, notes: Notes) -> None:
        self.found, self.timing, self.outputs, self.notes = found, timing, outputs, notes
        self.leaves, self.dt, self.input_features = found.leaves, dt, found.input_features or ()
        self.edges = {name: self._steady_edges(leaf) for name, leaf in self.leaves.items()}
        self.made: dict[str, Nodes] = {}
        self.nodes: dict[str, Any] = {}
        self.links: list[tuple[str, str]] = []
        self.metadata: dict[str, Any] = {"dt": dt}

    def build(self) -> Any:
        """Return the NIR graph."""
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
        now = [(edge.node, name) for name, edges in self.edges.items() for edge in edges if edge.delay == 0]
        read = {
            edge.node
            for name, edges in self.edges.items()
            for edge in edges
            if edge.delay == 0 or not (name == edge.node or reaches(now, name, edge.node))  # else it closes a loop
        }
        ends = [name for name in self.leaves if name not in read]
        for name in ends:
            output = "output" if len(ends) == 1 else f"output_{_key(name)}"
            self.nodes[output] = nir.Output(output_type=np.array(self.leaves[name].features_out))
            self.links.append((self.made[name].exit, output))
        if not ends:
            raise CompileError("every module feeds another one; a network needs a module whose output it returns")
        folded = [norm for norm, layer in norms.items() if layer in ends]
        check_ends(self.found, self.timing, self.outputs, [*ends, *folded], self.notes)
        return nir.NIRGraph(self.nodes, self.links, metadata=self.metadata)

    def _nodes(self, leaf: Leaf, norm: nn.Module | None) -> Nodes:
        name = _key(leaf.name)
        if not isinstance(leaf.module, LAYERS):
            return neuron_nodes(name, leaf.where, leaf.module, leaf.features_in, self.dt)
        if quantises_input(leaf.module):
            if self.edges[leaf.name] != {Edge(INPUT, 0)}:
                raise CompileError(
                    f'{leaf.where}: quantises its input to int8, but its input is no sample; use input_range="spikes"'
                )
            scale = float(leaf.module.input_scale)  # type: ignore[arg-type]
            self.metadata |= {"input_scale": scale, "input_low": -128, "input_high": 127}
        return Nodes(name, name, {name: layer_node(leaf.where, leaf.module, leaf.features_in, norm)})

    def goes_on(self) -> bool:
        """Return whether the next call goes on where one ended: states are hidden or returned, or there are none."""
        neurons = [leaf.module for leaf in self.leaves.values() if is_neuron(leaf.module)]
        hidden = all(getattr(neuron, "init_hidden", False) for neuron in neurons)
        return hidden or any(output.is_state for output in self.outputs)

    @property
    def membranes(self) -> set[str]:
        """Return the names of neurons whose states the network returns."""
        return {self.made[output.node].exit for output in self.outputs if output.is_state}

    def operations(self, program: Program) -> dict[str, str]:
        """Return the modules whose values can be compared, neurons and read-outs, by the name of their operation."""
        outputs = {source: node for source, node in self.links if isinstance(self.nodes[node], nir_package().Output)}
        known = {op.name for op in program.ops if isinstance(op, LIF | LI | Readout)}
        found = {}
        for name in self.leaves:  # a norm comes after the layer that it folds into
            if name in self.made:
                made = self.made[name].exit
                found[made if made in known else outputs.get(made, "")] = name
        return {op: name for op, name in found.items() if op in known}

    def _layer_before(self, norm: Leaf) -> str:
        """Return the layer into which a norm folds."""
        edges = self.edges[norm.name]
        before = next(iter(edges)).node if len(edges) == 1 else ""
        layer = self.leaves.get(before)
        readers = [name for name, edges in self.edges.items() if any(edge.node == before for edge in edges)]
        folds = layer is not None and isinstance(layer.module, LAYERS) and not isinstance(layer.module, POOLS)
        if not folds or readers != [norm.name] or Edge(before, 0) not in edges:
            raise CompileError(
                f"{norm.where}: folds only into a linear or convolution layer right before it that feeds nothing else"
            )
        return before

    def _steady_edges(self, leaf: Leaf) -> frozenset[Edge]:
        """Return the edges of every call but the first, in which a loop has not come round yet."""
        edges = [frozenset(self._edge_of_step(leaf, edge) for edge in call) for call in leaf.edges]
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

    def _edge_of_step(self, leaf: Leaf, edge: Edge) -> Edge:
        if edge.node != INPUT and edge.delay > 0 and self.leaves[edge.node].calls == 1:
            return replace(edge, delay=0)  # computed once, before the loop over time
        if edge.delay not in (0, 1):
            raise CompileError(
                f"{leaf.where}: reads {self.leaves[edge.node].where} as it was {counted(edge.delay, 'step')} ago; "
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
        if edge.factor != 1.0:
            name = f"{entry}_times_{source}"
            self.nodes[name] = nir.Scale(scale=np.full(features, edge.factor))
            self.links.append((source, name))
            source = name
        if edge.place is not None:
            source, features = self._placed(edge.place, source, features, entry, leaf)
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

    def _placed(
        self, place: tuple[int, int, int], source: str, features: tuple[int, ...], entry: str, leaf: Leaf
    ) -> tuple[str, tuple[int, ...]]:
        """Put features where they lie among others: by a matrix of zeros and ones, of the channels of an image."""
        nir = nir_package()
        start, size, total = place
        inner = math.prod(features[1:])
        image = len(features) in (2, 3) and leaf.features_in == (total // inner, *features[1:]) and start % inner == 0
        if not image and len(features) > 1:
            flat = f"{entry}_flat_{source}"
            self.nodes[flat] = nir.Flatten(input_type={"input": np.array(features)}, start_dim=0)
            self.links.append((source, flat))
            source, inner, features = flat, 1, (size,)
        matrix = np.eye(total // inner, size // inner, -(start // inner))
        name, kernel = f"{entry}_place_{source}", matrix.reshape(*matrix.shape, *(1,) * (len(features) - 1))
        rest = (1, 0, 1, 1, np.zeros(len(matrix)))
        if len(features) == 1:
            self.nodes[name] = nir.Linear(weight=matrix)
        elif len(features) == 2:
            self.nodes[name] = nir.Conv1d(features[1], kernel, *rest)
        else:
            self.nodes[name] = nir.Conv2d(features[1:], kernel, *rest)
        self.links.append((source, name))
        return name, (len(matrix), *features[1:])

    def _is_own_loop(self, name: str, source: str) -> bool:
        """Return whether a layer reads a module and feeds that module only."""
        readers = [reader for reader, edges in self.edges.items() if any(edge.node == name for edge in edges)]
        return isinstance(self.leaves[name].module, LAYERS) and readers == [source]


def _key(name: str) -> str:
    """Return a module's name as a NIR node's."""
    key = name.replace(".", "_")
    return f"{key}_" if key in (INPUT, "output") else key
