"""A part of a step as a C function: which symbols become arrays, which share a loop, and where new states go.

A *kernel* is a symbol whose elements are computed by a loop: a value, a new state or a recorded variable, and whatever is
a sum over many others. All symbols between kernels are locals in the body of a loop. Kernels of one size that read each
other at their own element only share a loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from neuromorphic.executors.c.arrays import Array, Arrays, Events
from neuromorphic.executors.c.elements import Elements
from neuromorphic.executors.c.graphs import Part, is_fixed, symbols_in_order
from neuromorphic.executors.c.packing import outputs_of
from neuromorphic.executors.c.products import Product, product
from neuromorphic.executors.c.text import Index, flat, indented, loop, loops_of, size_of, storage
from neuromorphic.executors.c.windows import Convolution, convolution
from neuromorphic.integers.symbols import Symbol, window_sums

_MOVING = ("roll", "repeat", "row", "sum", "argmax", "product", "convolve", "window_max")
"""Primitives whose element reads others of their arguments than its own."""
_MOVED = (("set_row", 1), ("set_row", 2), ("pick", 0), ("take", 1), ("deliver", 1))
"""Such arguments of others."""
_LOOPS = ("product", "convolve", "window_max", "sum", "argmax", "set_row", "deliver")
"""Primitives that are kernels."""
_ALONE = ("product", "convolve", "set_row")
"""Kernels that have loops of their own."""


def base(symbol: Symbol) -> Symbol:
    """Return the symbol in whose memory this one lies: a reshaped array is the array, and so is one times 1."""
    while not is_fixed(symbol) and (symbol.kind == "reshape" or _is_times_one(symbol)):
        symbol = symbol.args[0]
    return symbol


def _is_times_one(symbol: Symbol) -> bool:
    return symbol.kind == "multiply" and symbol.shape == symbol.args[0].shape and symbol.args[1].span == (1, 1)


def partial(symbol: Symbol) -> tuple[int, int]:
    """Return the range of a symbol, of a product also that of its partial sums."""
    if symbol.kind == "product":
        weights, x = symbol.args
        w, (low, high) = weights.facts["array"].astype(np.int64), x.range
        up, down, low, high = np.maximum(w, 0), np.minimum(w, 0), np.minimum(low, 0), np.maximum(high, 0)
        return int((up @ low + down @ high).min()), int((up @ high + down @ low).max())
    if symbol.kind == "convolve":
        weights, x = symbol.args
        hull = np.minimum(x.low, 0), np.maximum(x.high, 0)
        low, high = window_sums(
            weights.facts["array"], tuple(np.broadcast_to(end, x.shape) for end in hull), **symbol.facts
        )
        return int(low.min()), int(high.max())
    return symbol.span


def room_of(symbol: Symbol) -> int:
    """Return how many elements an array for a symbol needs: a product writes whole blocks."""
    return outputs_of(symbol.args[0].facts["array"]) if symbol.kind == "product" else size_of(symbol.shape)


class Kernels:
    """The statements of one part.

    Parameters
    ----------
    arrays : Arrays
        Where constants and scratch memory go.
    part : Part
        What is written.
    inputs : list of Array
        What each source of the operation gives.
    states : Mapping
        The arrays of its states, by name.
    targets : Mapping
        Arrays into which the value and recorded variables are written, by ``""`` and by name.
    events : list
        The list of what is not zero of each source, where there is one.
    listed : Events, optional
        Where the places of what is not zero in the value are listed.
    """

    def __init__(
        self,
        arrays: Arrays,
        part: Part,
        inputs: list[Array],
        states: Mapping[str, Array],
        targets: Mapping[str, Array],
        events: list[Events | None],
        listed: Events | None,
    ) -> None:
        self.arrays, self.part, self.inputs, self.states = arrays, part, inputs, states
        self.events, self.listed = events, listed
        roots: dict[str, Symbol] = dict(part.after)
        if part.value is not None:
            roots = {"": part.value, **roots}
        self.stores: dict[int, list[Array]] = {}
        self._in_place: dict[str, Symbol] = {}
        for name, symbol in roots.items():
            if name in states and symbol.facts.get("name") != name:
                self.stores.setdefault(id(base(symbol)), []).append(states[name])
                self._in_place[states[name].name] = base(symbol)
            if name in targets:
                self.stores.setdefault(id(base(symbol)), []).append(targets[name])
        self.order = list(symbols_in_order(roots.values()))
        leaves = (s for s in self.order if s.kind in ("state", "input") and not is_fixed(s))
        self.stored: dict[int, Array] = {id(s): self._leaf(s) for s in leaves}
        self.kernels = self._kernels()
        self._are_kernels = {id(k) for k in self.kernels}
        self.groups = self._groups()
        self.copies = self._copies()
        self._place_scratch()

    def statements(self) -> list[str]:
        """Return the body of the function."""
        lines = [line for group in self.groups for line in self._group(group)]
        if self.listed is not None:
            lines = with_list(self.listed, lines)
        for state, scratch in self.copies:
            lines += loop((("i", state.size),), [f"{state.name}[i] = {scratch.name}[i];"])
        return lines

    # What is computed when ---------------------------------------------------------------------------------------

    def _leaf(self, s: Symbol) -> Array:
        return self.states[s.facts["name"]] if s.kind == "state" else self.inputs[s.facts["number"]]

    def _kernels(self) -> list[Symbol]:
        inner = {id(s) for s in self.order if s.kind in _LOOPS and not is_fixed(s)}
        for s in self.order:
            if not is_fixed(s):
                whole = {"window_max": s.args, "deliver": s.args[1:2]}
                read = s.args[1:] if s.kind in _ALONE else whole.get(s.kind, ())
                inner |= {id(base(a)) for a in read if base(a).kind not in ("state", "input") and not is_fixed(a)}
        return [s for s in self.order if id(s) in inner or id(s) in self.stores]

    def _reads(self, kernel: Symbol) -> Iterator[tuple[Symbol, bool]]:
        """Yield what a kernel reads from memory or from another kernel, and whether at its own element."""
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
                stays = s.kind not in _MOVING and (s.kind, place) not in _MOVED
                waiting.append((a, own and stays))

    def _groups(self) -> list[list[Symbol]]:
        groups: list[list[Symbol]] = []
        for kernel in self.kernels:
            last = groups[-1] if groups else []
            if last and self._shares(kernel, last):
                last.append(kernel)
            else:
                groups.append([kernel])
        return groups

    def _shares(self, kernel: Symbol, group: list[Symbol]) -> bool:
        first = group[0]
        if kernel.kind in _ALONE or first.kind in _ALONE or size_of(kernel.shape) != size_of(first.shape):
            return False
        members = {id(member) for member in group}
        return all(own for s, own in self._reads(kernel) if id(s) in members)

    # Where it goes -----------------------------------------------------------------------------------------------

    def _copies(self) -> list[tuple[Array, Array]]:
        """Find new states that cannot go where the old ones are, since those are still read: they are copied at the end."""
        copies = []
        for name, array in self.states.items():
            new = self._in_place.get(array.name)
            if new is None:
                continue
            at = next(i for i, group in enumerate(self.groups) if any(k is new for k in group))
            here = [own for k in self.groups[at] for s, own in self._reads(k) if self.stored.get(id(s)) is array]
            later = [s for group in self.groups[at + 1 :] for k in group for s, _ in self._reads(k)]
            if not all(here) or any(self.stored.get(id(s)) is array for s in later):
                scratch = self.arrays.variable(f"n_{self.part.op.name}_{name}", array.type, array.size)
                stores = self.stores[id(new)]
                stores[stores.index(array)] = scratch
                copies.append((array, scratch))
        return copies

    def _place_scratch(self) -> None:
        """Give memory to kernels that others read from outside of their loops."""
        outside = set()
        for group in self.groups:
            members = {id(k) for k in group}
            for k in group:
                outside |= {id(s) for s, own in self._reads(k) if not (own and id(s) in members)}
        for k in self.kernels:
            if id(k) in self.stores:
                self.stored.setdefault(id(k), self.stores[id(k)][0])
            elif k.kind in _ALONE or id(k) in outside:
                array = self.arrays.variable(f"t_{self.part.op.name}", storage(partial(k)), room_of(k))
                self.stores[id(k)] = [array]
                self.stored[id(k)] = array

    # Its text ----------------------------------------------------------------------------------------------------

    def _group(self, group: list[Symbol]) -> list[str]:
        first = group[0]
        if first.kind == "product":
            return self._product(first)
        if first.kind == "convolve":
            return self._convolution(first)
        if first.kind == "set_row":
            return self._set_row(first)
        index = loops_of(self._finest(group))
        scope = Elements(self.arrays, self._readable(group))
        results = [
            (
                k,
                scope.compute(k, index)
                if k.kind not in ("state", "input") and not is_fixed(k)
                else scope.value(k, index),
            )
            for k in group
        ]
        for k, text in results:
            scope.lines += [f"{a.name}[{flat(index)}] = ({a.type}){text};" for a in self.stores.get(id(k), [])]
            if self.listed is not None and self.part.value is not None and k is base(self.part.value):
                scope.lines += listing(self.listed, text, index)
        return loop(index, scope.lines)

    def _readable(self, group: list[Symbol]) -> dict[int, Array]:
        """Return what lies in memory when a group is computed: what it computes itself is a local."""
        members = {id(k) for k in group if k.kind not in ("state", "input")}
        return {key: array for key, array in self.stored.items() if key not in members}

    def _finest(self, group: list[Symbol]) -> tuple[int, ...]:
        """Return the shape with the most axes that anything in a loop has: then no place is divided."""
        size, waiting, seen = size_of(group[0].shape), list(group), set()
        found: tuple[int, ...] = group[0].shape
        while waiting:
            s = waiting.pop()
            if id(s) in seen or is_fixed(s):
                continue
            seen.add(id(s))
            if size_of(s.shape) == size and sum(n > 1 for n in s.shape) > sum(n > 1 for n in found):
                found = s.shape
            if s.kind not in _LOOPS or s in group:
                waiting += s.args
        return found

    def _product(self, k: Symbol) -> list[str]:
        weights, x = k.args
        source = self.stored[id(base(x))]
        events = self.events[base(x).facts["number"]] if base(x).kind == "input" else None
        to, *others = self.stores[id(k)]
        lines = product(self.arrays, Product(weights.facts["array"], source, x.span, events, to, k.range))
        for other in others:
            lines += loop((("i", size_of(k.shape)),), [f"{other.name}[i] = ({other.type}){to.name}[i];"])
        return lines

    def _convolution(self, k: Symbol) -> list[str]:
        to, *others = self.stores[id(k)]
        lines = convolution(self.arrays, Convolution(k, self.stored[id(base(k.args[1]))], to, partial(k)))
        for other in others:
            lines += loop((("i", size_of(k.shape)),), [f"{other.name}[i] = ({other.type}){to.name}[i];"])
        return lines

    def _set_row(self, k: Symbol) -> list[str]:
        matrix, place, row = k.args
        rows, columns = k.shape
        lines: list[str] = []
        for to in self.stores[id(k)]:
            if self.stored.get(id(base(matrix))) is not to:
                index: Index = loops_of(k.shape)
                scope = Elements(self.arrays, self._readable([k]))
                scope.lines.append(f"{to.name}[{flat(index)}] = ({to.type}){scope.value(matrix, index)};")
                lines += loop(index, scope.lines)
            index = loops_of((columns,), "j")
            scope = Elements(self.arrays, self._readable([k]))
            at: Index = ((scope.value(place, ()), rows),) if rows > 1 else ()
            scope.lines.append(f"{to.name}[{flat((*at, *index))}] = ({to.type}){scope.value(row, index)};")
            lines += loop(index, scope.lines)
        return lines


def listing(events: Events, text: str, index: Index) -> list[str]:
    """Return the statement that lists a place if the value there is not zero; ``place`` points behind the list."""
    return [f"if ({text} != 0)", f"    *place++ = ({events.places.type}){flat(index)};"]


def with_list(events: Events, lines: list[str]) -> list[str]:
    """Return statements that list places, with the beginning and the end of the list."""
    name = events.places.name
    return [f"{events.places.type} *place = {name};", *lines, f"{events.count.name}[0] = (int32_t)(place - {name});"]


def function(name: str, comment: str, body: list[str]) -> str:
    """Return a function without parameters."""
    return "\n".join([f"/* {comment} */", f"static void {name}(void)", "{", *indented(body), "}", ""])
