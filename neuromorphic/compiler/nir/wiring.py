"""How the nodes of a NIR graph are connected: sub-graphs flattened, edges and shapes checked, loops cut.

NIR's recurrence has no explicit delay, so a loop is given one: the edge that closes it, found by a depth-first search
from the input along the edges in their order, acts one step later. A loop with a ``Delay`` of a step or more needs
none.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import replace
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.compiler.nir import nodes as linear_nodes
from neuromorphic.compiler.nir.maps import linear_map
from neuromorphic.compiler.nir.neurons import SPIKING
from neuromorphic.compiler.nir.nodes import LINEAR, NEURONS, PASSING, POOLS, Map, Node, Shape, numbers
from neuromorphic.compiler.nir.portable import unfold
from neuromorphic.compiler.nir.readers import reaches
from neuromorphic.compiler.notes import Notes
from neuromorphic.errors import CompileError
from neuromorphic.formats.nir import MAX_DEPTH, MAX_EDGES
from neuromorphic.ops.delays import MAX_STEPS

Edge = tuple[str, str]
NEURON_FIELDS = ("tau", "tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "v_reset", "w_in", "threshold")


class Wiring:
    """A graph as nodes and edges whose shapes fit; delays are whole numbers of steps of ``dt`` seconds."""

    def __init__(self, graph: Any, dt: float) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.notes = Notes()
        self.origins: dict[str, str] = {}
        self._flatten(graph, ())
        self.after: dict[str, list[str]] = {name: [] for name in self.nodes}
        self.before: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, target in self.edges:
            self.after[source].append(target)
            self.before[target].append(source)
        self.input = self._input()
        self._refuse_linear_loops()
        order, _ = self.search(self.after, [self.input])
        self.order = {name: place for place, name in enumerate(order)}
        for name, node in self.nodes.items():
            if name not in self.order:
                raise node.refuse("nothing connects it with the input")
        self.shapes: dict[str, Shape] = {}
        self.maps: dict[str, Map] = {}
        self.taken: dict[str, Shape] = {}  # of max pools
        self._fit_shapes(order, dt)
        self.late = self._closing_edges()
        self.steps: dict[str, NDArray[np.int32]] = {}
        self._separate_delays()

    def _flatten(self, graph: Any, path: tuple[str, ...]) -> dict[str, tuple[str, str]]:
        """Add a graph and its sub-graphs; return by which names edges enter and leave each node."""
        where = ".".join(path) or "the graph"
        nodes, edges = getattr(graph, "nodes", None), getattr(graph, "edges", None)
        if type(graph).__name__ != "NIRGraph" or not isinstance(nodes, dict) or not nodes:
            raise CompileError(f"{where}: must be a nir.NIRGraph with nodes, got {type(graph).__name__}")
        if len(path) > MAX_DEPTH:
            raise CompileError(f"{where}: sub-graphs are nested deeper than {MAX_DEPTH}")
        ends = {key: self._node(key, node, path) for key, node in nodes.items()}
        seen = set()
        for pair in edges if isinstance(edges, (list, tuple)) else [edges]:
            edge = tuple(pair) if isinstance(pair, (list, tuple)) else pair
            if not isinstance(edge, tuple) or len(edge) != 2 or not all(isinstance(name, str) for name in edge):
                raise CompileError(f"{where}: an edge must be (source, target), got {edge!r}")
            if edge in seen:
                raise CompileError(f"{where}: edge {edge!r} stands twice")
            if len(self.edges) >= MAX_EDGES:
                raise CompileError(f"{where}: more than {MAX_EDGES} edges")
            seen.add(edge)
            for name in edge:
                if name not in ends:
                    raise CompileError(
                        f"{where}: edge {edge!r} names {name!r}, which is no node; nodes are {list(ends)}"
                    )
            self.edges.append((ends[edge[0]][1], ends[edge[1]][0]))
        return ends

    def _node(self, key: Any, node: Any, path: tuple[str, ...]) -> tuple[str, str]:
        kind, full = type(node).__name__, (*path, str(key))
        if kind == "NIRGraph":
            inner = self._flatten(node, full)
            ends = []
            for what in ("Input", "Output"):
                found = [end for key, end in inner.items() if type(node.nodes[key]).__name__ == what]
                if len(found) != 1:
                    raise CompileError(f"{'.'.join(full)}: a sub-graph has exactly one {what}, got {len(found)}")
                ends.append(found[0])
            return ends[0][0], ends[1][1]
        name = "".join(c if c.isalnum() else "_" for c in "_".join(full))  # as operations may be named
        name = name if any(c.isalnum() for c in name) else f"node{name}"
        if kind not in (*LINEAR[1:], *NEURONS, *POOLS, "Input"):
            raise CompileError(
                f"{name} ({kind}): has no integer operations here; what has is {', '.join(LINEAR[1:])}, "
                f"{', '.join(NEURONS)}, Input and sub-graphs (NIRGraph)"
            )
        if name in self.origins:
            raise CompileError(
                f"{'.'.join(full)}: its operation would be named {name}, as that of {self.origins[name]}"
            )
        self.origins[name] = ".".join(full)
        if path and kind in ("Input", "Output"):
            kind = "Pass"
        self.nodes[name] = unfold(Node(name, kind, node))
        return name, name

    def _input(self) -> str:
        found = [name for name, node in self.nodes.items() if node.kind == "Input"]
        if len(found) != 1:
            raise CompileError(f"a graph has exactly one Input, got {len(found)}" + (f": {found}" if found else ""))
        if self.before[found[0]]:
            raise self.nodes[found[0]].refuse(f"{self.before[found[0]][0]} leads into it")
        return found[0]

    def search(self, after: dict[str, list[str]], roots: Iterable[str]) -> tuple[list[str], list[Edge]]:
        """Search depth first; return nodes so that all but closing edges point onward, and the closing edges."""
        done: list[str] = []
        closing: list[Edge] = []
        state: dict[str, int] = {}  # 1: on the path, 2: left
        for root in roots:
            path = [] if root in state else [(root, iter(after[root]))]
            state.setdefault(root, 1)
            while path:
                name, rest = path[-1]
                following = next(rest, None)
                if following is None:
                    path.pop()
                    state[name] = 2
                    done.append(name)
                elif state.get(following) == 1:
                    closing.append((name, following))
                elif following not in state:
                    state[following] = 1
                    path.append((following, iter(after[following])))
        return done[::-1], closing

    def _refuse_linear_loops(self) -> None:
        linear = {
            name: [n for n in self.after[name] if self.nodes[n].is_linear]
            for name, node in self.nodes.items()
            if node.is_linear
        }
        _, closing = self.search(linear, linear)
        if closing:
            source, target = closing[0]
            raise self.nodes[target].refuse(f"lies in a loop through {source} in which no neuron is")

    def _fit_shapes(self, order: list[str], dt: float) -> None:
        for name in order:
            node = self.nodes[name]
            if node.kind == "Input":
                self.shapes[name] = linear_nodes.shape_of(node, (node.nir.input_type or {}).get("input"), "its shape")
                continue
            shape = self.shapes[next(source for source in self.before[name] if source in self.shapes)]
            if node.is_linear:
                self.maps[name] = linear_map(node, shape, dt)
                self.shapes[name] = self.maps[name].shape_out
            elif node.kind in POOLS:
                self.taken[name] = shape
                self.shapes[name] = (shape[0], *linear_nodes.max_window(node, shape).output)
            else:
                self.shapes[name] = self._population(node, shape)
        for source, target in self.edges:
            got, wanted = self.shapes[source], self.shape_in(target)
            linear_nodes.shape_taken(self.nodes[target], got, wanted)
            if got != wanted:
                self.note(
                    f"{target} takes {list(wanted)} where {source} gives {list(got)}: axes of 1 count for nothing."
                )

    def shape_in(self, name: str) -> Shape:
        """Return the shape that a node takes."""
        return self.maps[name].shape_in if name in self.maps else self.taken.get(name, self.shapes[name])

    def _population(self, node: Node, shape: Shape) -> Shape:
        fields = [field for field in NEURON_FIELDS if getattr(node.nir, field, None) is not None]
        shapes = {numbers(node, field).shape for field in fields} - {()}
        if len(shapes) > 1:
            raise node.refuse(f"its parameters must have one shape, got {sorted(map(list, shapes))}")
        if not shapes:
            self.notes.append(f"{node.name}: its parameters are single numbers; each of its neurons has them.")
            return shape
        own = shapes.pop()
        return shape if linear_nodes.same_but_for_ones(own, shape) and len(shape) > len(own) else own

    def _separate_delays(self) -> None:
        """Make delays of each unit's own length, which read events and lie in no loop, nodes that are not linear."""
        for name in [name for name, m in self.maps.items() if m.steps is not None]:
            steps = self.maps[name].steps.numpy().astype(np.int32).reshape(-1)  # type: ignore[union-attr]
            before = self.nodes[name]
            while before.is_linear and len(self.before[before.name]) == 1 and before.kind in ("Delay", *PASSING):
                before = self.nodes[self.before[before.name][0]]
                if before.kind == "Delay":
                    break
            events = before.kind in (*SPIKING, "Input") and not reaches(self.edges, name, name)
            if events and steps.min() < steps.max() <= MAX_STEPS:
                self.steps[name] = steps
                self.nodes[name] = replace(self.nodes[name], kind="Delays")
                del self.maps[name]

    @property
    def delays(self) -> set[str]:
        """Names of the nodes that delay all their values by a step or more."""
        return {name for name, m in self.maps.items() if m.steps is not None and int(m.steps.min()) >= 1}

    def _closing_edges(self) -> set[Edge]:
        """Return the edges that act one step later: those that close a loop which no ``Delay`` makes causal."""
        delays = self.delays
        after = {name: [n for n in self.after[name] if n not in delays] for name in self.nodes}
        _, closing = self.search(after, [self.input, *sorted(delays, key=self.order.__getitem__)])
        for source, target in closing:
            self.notes.append(f"{source} -> {target} closes a loop: it acts one step later.")
        return set(closing)

    def populations(self) -> list[Node]:
        """Return neurons, max pools and delays so that each stands after those that it reads without a delay."""
        delayed = self.delays
        sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(self.nodes, ()))
        for source, target in self.edges:
            if (source, target) not in self.late and target not in delayed:
                sorter.add(target, source)
        sorter.prepare()  # closing edges cut every loop
        found: list[Node] = []
        ready: list[tuple[int, str]] = []
        while sorter.is_active():
            for name in sorter.get_ready():
                heapq.heappush(ready, (self.order[name], name))
            _, name = heapq.heappop(ready)
            found.append(self.nodes[name])
            sorter.done(name)
        return [node for node in found if node.kind in (*NEURONS, *POOLS, "Delays")]

    def readouts(self) -> list[Node]:
        """Return the linear nodes at the ends of the graph that do more than name a population or the input."""
        ends = [node for name, node in self.nodes.items() if not self.after[name] and node.is_linear]
        return [node for node in ends if not self._renames(node)]

    def _renames(self, node: Node) -> bool:
        while node.kind in PASSING and len(self.before[node.name]) == 1:
            node = self.nodes[self.before[node.name][0]]
        return not node.is_linear

    def note(self, text: str) -> None:
        """Store a sentence about what is assumed, once."""
        if text not in self.notes:
            self.notes.append(text)
