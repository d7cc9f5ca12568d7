"""A part of a step as a C function: which symbols become arrays, which share a loop, and where new states go.

A *kernel* is a symbol that a loop computes into an array: an outcome of the part (the value, a new state, a recorded
variable), and whatever sums or searches others. All symbols between kernels are locals in the body of a loop. Kernels
of one size that read each other at their own element only share a loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import gcd

import numpy as np

from neuromorphic.executors.c.arrays import Array, Arrays, Events
from neuromorphic.executors.c.elements import Elements
from neuromorphic.executors.c.graphs import VALUE, Part, is_fixed, symbols_in_order
from neuromorphic.executors.c.packing import outputs_of
from neuromorphic.executors.c.products import Product, product
from neuromorphic.executors.c.text import Index, flat, loop, loops_of, repeats, size_of, storage
from neuromorphic.executors.c.windows import Convolution, convolution
from neuromorphic.integers.symbols import Symbol, window_sums

_ALONE = ("product", "convolve", "set_row")
"""Primitives that have loops of their own."""
_KERNELS = (*_ALONE, "window_max", "deliver", "sum", "argmax")
"""Primitives that are kernels wherever they stand."""
_MOVING = ("roll", "repeat", "row", "sum", "argmax", "product", "convolve", "window_max")
"""Primitives whose element reads others than its own of their arguments."""
_MOVED = (("set_row", 1), ("set_row", 2), ("pick", 0), ("take", 1), ("deliver", 0), ("deliver", 1))
"""Such arguments of others, by their place."""
_READ_OFTEN = (("product", 1), ("convolve", 1), ("set_row", 1), ("set_row", 2), ("window_max", 0), ("deliver", 1))
"""Arguments that are computed before, since each of their elements is read by many."""
_LEAVES = ("state", "input")
_LEAST_CHANNEL = 8
"""Units of a channel for which a loop of its own pays."""


def base(symbol: Symbol) -> Symbol:
    """Return the symbol in whose memory this one lies: a reshaped array is the array, and so is one times 1."""
    while not is_fixed(symbol) and (symbol.kind == "reshape" or _is_times_one(symbol)):
        symbol = symbol.args[0]
    return symbol


def _is_times_one(symbol: Symbol) -> bool:
    return symbol.kind == "multiply" and symbol.shape == symbol.args[0].shape and symbol.args[1].span == (1, 1)


def span_of(symbol: Symbol) -> tuple[int, int]:
    """Return the range of what an array of a symbol holds while it is computed: any of the terms of a sum."""
    if symbol.kind not in ("product", "convolve"):
        return symbol.span
    weights, x = symbol.args
    low, high = (np.broadcast_to(end, x.shape) for end in (np.minimum(x.low, 0), np.maximum(x.high, 0)))
    if symbol.kind == "convolve":
        ends = window_sums(weights.facts["array"], (low, high), **symbol.facts)
    else:
        w = weights.facts["array"].astype(np.int64)
        up, down = np.maximum(w, 0), np.minimum(w, 0)
        ends = up @ low + down @ high, up @ high + down @ low
    return int(ends[0].min()), int(ends[1].max())


def room_of(symbol: Symbol) -> int:
    """Return how many elements the array of a symbol has: a product writes whole blocks."""
    return outputs_of(symbol.args[0].facts["array"]) if symbol.kind == "product" else size_of(symbol.shape)


@dataclass(frozen=True)
class Memory:
    """Where a part finds and leaves what it does not hold itself.

    Attributes
    ----------
    inputs : list
        The array of each source of the operation; ``None`` where its spikes are read from the list alone.
    events : list
        The list of what is not zero of each source, where there is one.
    states : Mapping
        The states of the operation that change, by name.
    homes : Mapping
        Where each outcome of the part goes, by name.
    listed : Events, optional
        Where the places of what is not zero in the value are listed.
    """

    inputs: list[Array | None]
    events: list[Events | None]
    states: Mapping[str, Array]
    homes: Mapping[str, Array]
    listed: Events | None


class Kernels:
    """The statements of one part; scratch memory and constants enter ``arrays``."""

    def __init__(self, arrays: Arrays, part: Part, memory: Memory) -> None:
        self._arrays, self._part, self._memory = arrays, part, memory
        self._stores: dict[int, list[Array]] = {}
        for name, array in memory.homes.items():
            stores = self._stores.setdefault(id(base(part.outcomes[name])), [])
            if array not in stores:
                stores.append(array)
        self._order = list(symbols_in_order(part.outcomes.values()))
        leaves = {id(s): self._leaf(s) for s in self._order if s.kind in _LEAVES and not is_fixed(s)}
        self._stored = {key: array for key, array in leaves.items() if array is not None}
        self._kernels = self._all_kernels()
        self._are_kernels = {id(kernel) for kernel in self._kernels}
        self._groups = self._all_groups()
        self._copies = self._late_states()
        self._add_scratch()

    def statements(self) -> list[str]:
        """Return the body of the function."""
        lines = [line for group in self._groups for line in self._group(group)]
        for state, scratch in self._copies:
            lines += _copied(scratch, state, state.size)
        return with_list(self._memory.listed, lines) if self._memory.listed else lines

    # What is computed when ---------------------------------------------------------------------------------------

    def _leaf(self, s: Symbol) -> Array | None:
        memory = self._memory
        return memory.states[s.facts["name"]] if s.kind == "state" else memory.inputs[s.facts["number"]]

    def _all_kernels(self) -> list[Symbol]:
        found = set(self._stores)
        if self._memory.listed is not None:
            found.add(id(base(self._part.outcomes[VALUE])))
        for s in self._order:
            if s.kind in _KERNELS and not is_fixed(s):
                found.add(id(s))
                whole = (base(a) for place, a in enumerate(s.args) if (s.kind, place) in _READ_OFTEN)
                found |= {id(a) for a in whole if a.kind not in _LEAVES and not is_fixed(a)}
        return [s for s in self._order if id(s) in found]

    def _reads(self, kernel: Symbol) -> Iterator[tuple[Symbol, bool]]:
        """Yield what a kernel reads from a state or from another kernel, and whether at its own element."""
        size, seen = size_of(kernel.shape), set()
        waiting = [(kernel, True)]
        while waiting:
            s, own = waiting.pop()
            own = own and size_of(s.shape) == size
            if (id(s), own) in seen or is_fixed(s):
                continue
            seen.add((id(s), own))
            if s.kind == "state" or (s is not kernel and id(s) in self._are_kernels):
                yield s, own
                continue
            for place, a in enumerate(s.args):
                waiting.append((a, own and s.kind not in _MOVING and (s.kind, place) not in _MOVED))

    def _all_groups(self) -> list[list[Symbol]]:
        groups: list[list[Symbol]] = []
        for kernel in self._kernels:
            if groups and self._shares(kernel, groups[-1]):
                groups[-1].append(kernel)
            else:
                groups.append([kernel])
        return groups

    def _shares(self, kernel: Symbol, group: list[Symbol]) -> bool:
        """Whether a kernel can be computed in the loop of those before it."""
        first = group[0]
        if kernel.kind in _ALONE or first.kind in _ALONE or size_of(kernel.shape) != size_of(first.shape):
            return False
        members = {id(member) for member in group}
        return all(own for s, own in self._reads(kernel) if id(s) in members)

    # Where it goes -----------------------------------------------------------------------------------------------

    def _late_states(self) -> list[tuple[Array, Array]]:
        """Give scratch memory to new states while the old ones are still read; both, to be copied at the end."""
        copies = []
        for name, array in self._memory.states.items():
            if name not in self._memory.homes:
                continue
            new = base(self._part.outcomes[name])
            at = next(i for i, group in enumerate(self._groups) if any(kernel is new for kernel in group))
            here = [read for kernel in self._groups[at] for read in self._reads(kernel)]
            later = [read for group in self._groups[at + 1 :] for kernel in group for read in self._reads(kernel)]
            elsewhere = [s for s, own in here if not own] + [s for s, _ in later]
            if any(self._stored.get(id(s)) is array for s in elsewhere):
                scratch = self._arrays.variable(f"{self._part.op.name}_new_{name}", array.type, array.size)
                self._stores[id(new)] = [scratch if store is array else store for store in self._stores[id(new)]]
                copies.append((array, scratch))
        return copies

    def _add_scratch(self) -> None:
        """Give memory to kernels that are no outcomes but are read outside of their loops."""
        outside = set()
        for group in self._groups:
            members = {id(kernel) for kernel in group}
            for kernel in group:
                outside |= {id(s) for s, own in self._reads(kernel) if not (own and id(s) in members)}
        for kernel in self._kernels:
            if id(kernel) not in self._stores and (kernel.kind in _ALONE or id(kernel) in outside):
                name = f"{self._part.op.name}_{kernel.kind}"
                self._stores[id(kernel)] = [self._arrays.variable(name, storage(span_of(kernel)), room_of(kernel))]
            if id(kernel) in self._stores:
                self._stored.setdefault(id(kernel), self._stores[id(kernel)][0])

    # Its text ----------------------------------------------------------------------------------------------------

    def _group(self, group: list[Symbol]) -> list[str]:
        first = group[0]
        if first.kind in ("product", "convolve") and not is_fixed(first):
            return self._sums(first)
        if first.kind == "set_row" and not is_fixed(first):
            return self._replaced(first)
        index = loops_of(self._finest(group))
        scope = self._scope(group)
        results = [scope.compute(kernel, index) for kernel in group]
        for kernel, text in zip(group, results, strict=True):
            scope.lines += [f"{a.name}[{flat(index)}] = ({a.type}){text};" for a in self._stores.get(id(kernel), [])]
            if self._memory.listed is not None and kernel is base(self._part.outcomes[VALUE]):
                scope.lines += listing(self._memory.listed, text, index)
        return loop(index, scope.lines)

    def _scope(self, group: list[Symbol]) -> Elements:
        """Return the body of a loop: what it computes itself is a local, all else lies in memory."""
        own = {id(kernel) for kernel in group if kernel.kind not in _LEAVES}
        return Elements(self._arrays, {key: array for key, array in self._stored.items() if key not in own})

    def _finest(self, group: list[Symbol]) -> tuple[int, ...]:
        """Return the shape with the most axes that anything in a loop has: then no place is divided.

        Where all have one, constants that have one value for each channel give the loop an axis of channels.
        """
        found: tuple[int, ...] = group[0].shape
        size, waiting, seen = size_of(found), list(group), set()
        channel = size
        while waiting:
            s = waiting.pop()
            if id(s) in seen:
                continue
            seen.add(id(s))
            if is_fixed(s):
                channel = gcd(channel, repeats(s.range[0])) if size_of(s.shape) == size else channel
                continue
            if size_of(s.shape) == size and sum(n > 1 for n in s.shape) > sum(n > 1 for n in found):
                found = s.shape
            if id(s) not in self._are_kernels or any(s is kernel for kernel in group):
                waiting += s.args
        if _LEAST_CHANNEL <= channel < size and sum(n > 1 for n in found) == 1:
            return (size // channel, channel)
        return found

    def _sums(self, k: Symbol) -> list[str]:
        """Return a product or a convolution."""
        x = base(k.args[1])
        source = self._stored.get(id(x))
        to, *others = self._stores[id(k)]
        if k.kind == "product":
            events = self._memory.events[x.facts["number"]] if x.kind == "input" else None
            weights = k.args[0].facts["array"]
            lines = product(self._arrays, Product(weights, source, x.span, events, to, k.range))
        else:
            assert source is not None
            lines = convolution(self._arrays, Convolution(k, source, to, span_of(k)))
        return lines + [line for other in others for line in _copied(to, other, size_of(k.shape))]

    def _replaced(self, k: Symbol) -> list[str]:
        """Return a matrix with another row; in its own memory only that is written."""
        matrix, place, row = k.args
        rows, columns = k.shape
        lines: list[str] = []
        for to in self._stores[id(k)]:
            if self._stored.get(id(base(matrix))) is not to:
                index, scope = loops_of(k.shape), self._scope([k])
                scope.lines.append(f"{to.name}[{flat(index)}] = ({to.type}){scope.value(matrix, index)};")
                lines += loop(index, scope.lines)
            index, scope = loops_of((columns,), "j"), self._scope([k])
            at: Index = ((scope.value(place, ()), rows),) if rows > 1 else ()
            scope.lines.append(f"{to.name}[{flat((*at, *index))}] = ({to.type}){scope.value(row, index)};")
            lines += loop(index, scope.lines)
        return lines


def listing(events: Events, text: str, index: Index) -> list[str]:
    """Return the statement that lists a place if the value there is not zero; ``place`` points behind the list."""
    return [f"if ({text} != 0)", f"    *place++ = ({events.places.type})({flat(index)});"]


def with_list(events: Events, lines: list[str]) -> list[str]:
    """Return statements that list places, with the beginning and the end of the list."""
    name = events.places.name
    return [f"{events.places.type} *place = {name};", *lines, f"{events.count.name}[0] = (int32_t)(place - {name});"]


def _copied(of: Array, to: Array, size: int) -> list[str]:
    return loop((("i", size),), [f"{to.name}[i] = ({to.type}){of.name}[i];"])
