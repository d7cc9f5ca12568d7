"""Which module feeds which: a network is run once, and its tensors are followed from module to module."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from neuromorphic.compiler.modules.layers import pool_of
from neuromorphic.compiler.modules.neurons import features_of, is_spiking, refuse_unless_supported
from neuromorphic.compiler.modules.sources import INPUT, Entry, Lost, Part, Source, rows_of, tensors_of
from neuromorphic.compiler.modules.tensors import Following
from neuromorphic.errors import CompileError

STATES = ("spk", "syn", "mem")
"""States that snnTorch's neurons store themselves where they are told to."""


@dataclass(frozen=True)
class Edge:
    """``node`` feeds a module, ``delay`` steps late, times a factor and at a place, as a part says it."""

    node: str
    delay: int
    factor: float = 1.0
    place: tuple[int, int, int] | None = None


@dataclass
class Leaf:
    """A module that becomes a node, and what the run showed of it."""

    name: str
    module: nn.Module
    calls: int = 0
    features_in: tuple[int, ...] = ()
    features_out: tuple[int, ...] = ()
    edges: list[frozenset[Edge]] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)  # of its input, call by call
    input_rows: list[Tensor] = field(default_factory=list)  # rows of the sample, where it reads that
    hidden: dict[str, Tensor] = field(default_factory=dict)  # states that it stores itself, as the last call left them

    @property
    def rows(self) -> list[int]:
        """Rows of features that each call reads."""
        return [math.prod(shape) // math.prod(self.features_in) for shape in self.shapes]

    @property
    def where(self) -> str:
        """Its name in the network and its type, for messages."""
        return f"{self.name} ({type(self.module).__name__})"


class Trace(Following):  # type: ignore[no-untyped-call]
    """What was seen of the leaves of a network; see :func:`trace`."""

    def __init__(self) -> None:
        super().__init__()
        self.leaves: dict[str, Leaf] = {}
        self.input_features: tuple[int, ...] | None = None
        self.returned_tensors: list[tuple[Tensor, Entry | None]] = []
        self.functions: dict[Any, Leaf] = {}  # that were called as modules
        self.steps: dict[Any, Source] = {}  # what they gave

    def enter(self, leaf: Leaf, given: Any) -> None:
        """Note what a leaf is called with."""
        self.inside += 1
        leaf.calls += 1
        tensors = list(tensors_of(given))
        if not tensors:
            raise CompileError(f"{leaf.where}: is called without a tensor")
        refuse_unless_supported(leaf.where, leaf.module)
        features = features_of(leaf.where, leaf.module, tensors[0])
        if leaf.calls > 1 and features != leaf.features_in:
            raise CompileError(
                f"{leaf.where}: is called with features {list(leaf.features_in)} and {list(features)}; "
                "give it one shape, or make two modules of it"
            )
        leaf.features_in = features
        leaf.shapes.append(tuple(tensors[0].shape))
        leaf.edges.append(self._edges(leaf, tensors[0]))
        self._check_states(leaf, tensors[1:])
        for name, state in hidden_states(leaf.module).items():
            if leaf.calls > 1 and not torch.equal(state, leaf.hidden[name]):
                raise CompileError(
                    f"{leaf.where}: its hidden state {name!r} was changed between its steps {leaf.calls - 1} and "
                    f"{leaf.calls}; a neuron's state is its own, and a reset belongs between two calls of the network"
                )

    def leave(self, leaf: Leaf, lead: int, returned: Any) -> None:
        """Note what a leaf returns."""
        leaf.outputs = list(tensors_of(returned))
        leaf.features_out = tuple(leaf.outputs[0].shape[lead:])
        for port, tensor in reversed(list(enumerate(leaf.outputs))):  # the output last: it may also be a state
            self.remember(tensor, Source((Part(leaf.name, leaf.calls, port),), tensor.numel()))
        leaf.hidden = {name: state.clone() for name, state in hidden_states(leaf.module).items()}
        self.inside -= 1

    def _edges(self, leaf: Leaf, tensor: Tensor) -> frozenset[Edge]:
        entry = self.find(tensor)
        if entry is None:
            if not bool(tensor.any()):
                return frozenset()  # zeros: what a loop has not computed yet; the next call must say more
            raise CompileError(
                f"{leaf.where}: its input has no known origin: it comes from no module and not from the sample"
            )
        source = entry.readable
        if source is None:
            assert isinstance(entry.source, Lost)
            raise CompileError(
                f"{leaf.where}: its input has no known origin: {entry.source.reason}. Only modules become nodes; "
                "between them views, reshapes, torch.stack over steps, torch.cat, sums, constant factors and pools are "
                "followed"
            )
        edges = [self._edge(leaf, part, entry, source, tensor) for part in source.parts]
        if len({edge.node for edge in edges}) < len(edges):
            raise CompileError(f"{leaf.where}: its input adds the output of a module to itself; scale its weights")
        return frozenset(edges)

    def _edge(self, leaf: Leaf, part: Part, entry: Entry, source: Source, tensor: Tensor) -> Edge:
        if part.port:
            raise CompileError(
                f"{leaf.where}: its input is a state of {self.leaves[part.node].where}; spikes travel between "
                "modules, and a membrane that is read is a leaky integrator (norse.torch.LIBoxCell)"
            )
        width = math.prod(leaf.features_in)
        rows = rows_of(entry.indices(tensor), width)
        if part.node == INPUT:
            if part.place is not None:
                raise CompileError(
                    f"{leaf.where}: its input holds the sample beside features of modules; add it instead"
                )
            self._check_input(leaf, rows, width)
            return Edge(INPUT, 0, part.factor)
        producer = self.leaves[part.node]
        own = math.prod(producer.features_out)
        edge = Edge(part.node, 0, part.factor, part.place)
        if rows is not None and (own if part.place is None else part.place[1:]) == (
            width if part.place is None else (own, width)
        ):
            total = source.numel // width
            if len(rows) % total == 0 and torch.equal(rows, torch.arange(total).repeat(len(rows) // total)):
                return replace(edge, delay=0 if part.call is None else leaf.calls - part.call)
            in_order = (part.call or 1) == 1 and int(rows[0]) == (leaf.calls - 1) * len(rows)
            if in_order and torch.equal(rows, torch.arange(len(rows)) + rows[0]):
                return edge  # one step of a sequence, the next one at every call
        raise CompileError(
            f"{leaf.where}: its input is a part of the output of {producer.where}, or that output in another order "
            "or at another step; NIR joins whole outputs"
        )

    def _is_positive(self, part: Part) -> bool:
        """Return whether a part is spikes, 0 or 1, times a positive factor."""
        spikes = part.node != INPUT and not part.port and is_spiking(self.leaves[part.node].module)
        return spikes and part.factor > 0

    def follow_module(self, name: str, args: Any, out: Any) -> bool:
        """Follow a function of torch as the module that does the same; a step calls it once for each input."""
        entry = self.find(args[0]) if args and isinstance(args[0], Tensor) else None
        source = None if entry is None else entry.readable
        if entry is None or source is None:
            return False
        if name == "relu" and all(self._is_positive(part) for part in source.parts):
            self.remember(out, entry.source, entry.indices(args[0]))
            return True
        module = pool_of(name, args, out)
        if module is None:
            return False
        result = out[0] if isinstance(out, tuple) else out
        made_of = "_".join(part.node.replace(".", "_") for part in source.parts)
        key = (repr(module), *(replace(part, call=None) for part in source.parts))
        step = (key, source.parts[0].call, int(entry.indices(args[0]).reshape(-1)[0]))
        if step in self.steps:
            self.remember(result, self.steps[step])
            return True
        if key not in self.functions:
            again = sum(other[1:] == key[1:] for other in self.functions)
            self.functions[key] = Leaf(
                f"{made_of}_{name.strip('_').removesuffix('_with_indices')}{again or ''}", module
            )
        leaf = self.functions[key]
        self.leaves.setdefault(leaf.name, leaf)
        self.names[leaf.name] = leaf.where
        self.enter(leaf, args[0])
        self.leave(leaf, args[0].ndim - len(leaf.features_in), result)
        made = self.find(result)
        assert made is not None
        assert isinstance(made.source, Source)
        self.steps[step] = made.source
        return True

    def _check_input(self, leaf: Leaf, rows: Tensor | None, width: int) -> None:
        """Note which rows of the sample a leaf reads."""
        if rows is None or width != math.prod(self.input_features or leaf.features_in):
            raise CompileError(
                f"{leaf.where}: its input is a part of the sample's features, or they are in another order; "
                "a graph has one input, read as a whole"
            )
        if self.input_features is None:
            self.input_features = leaf.features_in
        leaf.input_rows.append(rows)

    def _check_states(self, leaf: Leaf, given: list[Tensor]) -> None:
        """Refuse a state that is not the one which the module returned a step before, or not zero at first."""
        before = leaf.outputs[len(leaf.outputs) - len(given) :]
        for number, tensor in enumerate(given):
            if leaf.calls == 1:
                if tensor.numel() and bool(tensor.any()):
                    raise CompileError(f"{leaf.where}: starts from a state that is not zero; a program starts at zero")
                continue
            entry = self.find(tensor)
            own = self.find(before[number]) if len(before) == len(given) else None
            if entry is None or own is None or entry.source != own.source or not entry.is_whole(tensor):
                raise CompileError(
                    f"{leaf.where}: in its step {leaf.calls} it is not given the state that it returned in the step "
                    "before; a neuron's state is its own, and a reset between samples belongs between two calls of "
                    "the network"
                )


def hidden_states(module: nn.Module) -> dict[str, Tensor]:
    """Return the states that one of snnTorch's neurons stores itself."""
    if not getattr(module, "init_hidden", False):
        return {}
    states = {name: getattr(module, name, None) for name in STATES}
    return {name: state for name, state in states.items() if isinstance(state, Tensor)}


def _parameters(module: nn.Module) -> dict[str, Tensor]:
    """Return what a module computes with, its states left out."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: tensor.detach().clone() for name, tensor in tensors.items() if name.split(".")[-1] not in STATES}


def _check_untouched(leaf: Leaf, raw: list[Tensor], now: list[Tensor]) -> None:
    """Refuse a hook of the user's that changes what a module returns."""
    if len(raw) != len(now) or any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(raw, now, strict=True)):
        raise CompileError(
            f"{leaf.where}: a forward hook changes what it returns, which no graph can say; do so in its weights, or "
            "in a module of its own"
        )


def trace(module: nn.Module, sample: Tensor, leaves: dict[str, nn.Module]) -> Trace:
    """Run a network on a sample and return what was seen; ``leaves`` are its modules that become nodes, by name."""
    found = Trace()
    handles = []
    for name, part in leaves.items():
        leaf = Leaf(name, part)

        def enter(_: nn.Module, args: Any, kwargs: Any, leaf: Leaf = leaf) -> None:
            found.leaves.setdefault(leaf.name, leaf)
            found.names[leaf.name] = leaf.where
            found.enter(leaf, (args, kwargs))

        raw: list[Tensor] = []

        def first(_: nn.Module, args: Any, returned: Any, raw: list[Tensor] = raw) -> None:
            raw[:] = [tensor.clone() for tensor in tensors_of(returned)]

        def leave(_: Any, args: Any, kwargs: Any, returned: Any, leaf: Leaf = leaf, raw: list[Tensor] = raw) -> None:
            _check_untouched(leaf, raw, list(tensors_of(returned)))
            found.leave(leaf, next(tensors_of((args, kwargs))).ndim - len(leaf.features_in), returned)

        handles.append(part.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(part.register_forward_hook(first, prepend=True))
        handles.append(part.register_forward_hook(leave, with_kwargs=True))
    for name, part in module.named_modules():
        if part is module or any(part is leaf for leaf in leaves.values()):
            continue
        where = f"{name} ({type(part).__name__})"
        handles.append(part.register_forward_pre_hook(lambda *_, where=where: found.within.append(where)))
        handles.append(part.register_forward_hook(lambda *_: found.within.pop() and None))
    before = {name: _parameters(part) for name, part in leaves.items()}
    try:
        with torch.no_grad(), found:
            found.inside += 1
            found.remember(sample, Source((Part(INPUT),), sample.numel()))
            found.inside -= 1
            returned = module(sample)
            found.inside += 1
            found.returned_tensors = [(tensor, found.find(tensor)) for tensor in tensors_of(returned)]
    finally:
        for handle in handles:
            handle.remove()
    for leaf in found.leaves.values():
        after = _parameters(leaf.module)
        for name, tensor in before.get(leaf.name, {}).items():
            if not torch.equal(tensor.nan_to_num(), after[name].nan_to_num()):
                raise CompileError(f"{leaf.where}: its {name} changes while the network runs; a program's stay")
    return found
