"""What reaches a population: every chain of linear nodes before it multiplied out.

Between two populations everything is linear, so the signal that reaches one is

    I[t] = sum over (source, steps) of M @ source[t - steps] + offset

Where convolutions or pools lie on the way, ``M`` stays what it is, weights that windows share
(:mod:`neuromorphic.compiler.nir.paths`). Elsewhere, and where a path is more than one such layer, each ``M`` is found
by pushing unit vectors through all linear nodes on the way, in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from neuromorphic.compiler.nir.nodes import ELEMENTWISE, MAX_WEIGHTS, WINDOWED, Map, Node, rounded_mantissa
from neuromorphic.compiler.nir.paths import Path, added_up, start
from neuromorphic.compiler.nir.wiring import Wiring
from neuromorphic.compiler.weight_integers import LARGEST, Float64

MANTISSA_BITS = 44
"""Bits to which a matrix is rounded, so that a whole number times a factor, divided by it, is whole again."""
PUSHED = 1 << 22
"""Values that are pushed through a node at a time."""


@dataclass(frozen=True)
class Signal:
    """What reaches a node: paths, each from a source, and what biases bring."""

    terms: list[tuple[str, Path]]
    offset: Float64  # [out]


def unfolded(node: Node, signal: Signal) -> Signal:
    """Return the signal in the units that a node counted in before its scale moved into the weights."""
    if node.factor is None or node.surplus is None:
        return signal
    size = len(signal.offset)
    factor = np.broadcast_to(node.factor.reshape(-1), (size,))
    surplus = np.broadcast_to(node.surplus.reshape(-1), (size,))
    terms = []
    for source, path in signal.terms:
        rows = path.rows(factor)
        assert rows is not None  # a path that cannot take it became a matrix
        weights = rounded_mantissa(path.weights / rows, MANTISSA_BITS)
        terms.append((source, replace(path, weights=weights)))
    offset = signal.offset / factor
    left = np.where(np.abs(offset - surplus) <= 2.0**-MANTISSA_BITS * np.abs(surplus), 0.0, offset - surplus)
    return Signal(terms, left)


class Signals:
    """The signals of a graph, worked out one by one: their matrices are large.

    ``constants`` holds what sources give besides their integers, ``[N]`` in real units: a max pool lets a bias through.
    """

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.constants: dict[str, Float64] = {}

    def reaching(self, name: str) -> Signal:
        """Return what reaches a node, all linear nodes on the way multiplied out; of a linear node, what it gives.

        A matrix of more than ``2**26`` weights is refused.
        """
        region, sources = self._region(name)
        terms: list[tuple[str, Path]] = []
        for source in sources:
            paths = self._shared(region, name, source)
            terms += [(source, path) for path in (self._pushed(region, name, source) if paths is None else paths)]
        return unfolded(self.wiring.nodes[name], Signal(terms, self._offset(region, name)))

    def _shared(self, region: list[str], name: str, source: str) -> list[Path] | None:
        """Return paths whose weights are shared; ``None`` where there are no windows, or a path is no such layer."""
        kinds = {step: self.wiring.nodes[step].kind for step in region}
        target = self.wiring.nodes[name]
        if not {*WINDOWED} & {*kinds.values()}:
            return None
        values: dict[str, list[Path]] = {source: [start(self.wiring.shapes[source])]}
        for step in region:
            arrived: list[Path] = []
            for before in self.wiring.before[step]:
                late = int((before, step) in self.wiring.late)
                arrived += [replace(path, steps=path.steps + late) for path in values.get(before, [])]
            arrived = added_up(arrived)
            if target.factor is not None and step == name:
                factor = np.broadcast_to(target.factor.reshape(-1), (math.prod(self.wiring.shape_in(name)),))
                if any(path.rows(factor) is None for path in arrived):
                    return None
            if not self.wiring.nodes[step].is_linear:
                return arrived
            onward = [path.through(kinds[step], self.wiring.maps[step]) for path in arrived]
            if None in onward:
                return None
            values[step] = [path for path in onward if path is not None]
        return added_up(values[name])

    def _pushed(self, region: list[str], name: str, source: str) -> list[Path]:
        """Return matrices ``[out, in]``, or ``[N]`` where all is one to one, by pushing unit vectors."""
        target, shapes = self.wiring.nodes[name], self.wiring.shapes
        size, count = (
            math.prod(shapes[name] if target.is_linear else self.wiring.shape_in(name)),
            math.prod(shapes[source]),
        )
        one_to_one = all(self.wiring.nodes[n].kind in ELEMENTWISE for n in region if self.wiring.nodes[n].is_linear)
        if one_to_one:
            ones = torch.ones((1, *shapes[source]), dtype=torch.float64)
            reached = self._push(region, name, source, ones)
            return [Path(values.reshape(size).numpy(), steps) for steps, values in reached.items()]
        self._refuse_large(target, size, count, source)
        found: dict[int, Float64] = {}
        rows = max(1, PUSHED // max(count, *(math.prod(shapes[n]) for n in region)))
        for first in range(0, count, rows):
            units = torch.zeros((min(rows, count - first), count), dtype=torch.float64)
            units[torch.arange(len(units)), first + torch.arange(len(units))] = 1.0
            units = units.reshape(-1, *shapes[source])
            for steps, values in self._push(region, name, source, units).items():
                if steps not in found:
                    self._refuse_large(target, size * (1 + len(found)), count, source)
                    found[steps] = np.zeros((size, count))
                found[steps][:, first : first + len(units)] = values.reshape(len(units), size).numpy().T
        return [Path(matrix, steps) for steps, matrix in found.items()]

    @staticmethod
    def _refuse_large(target: Node, size: int, count: int, source: str) -> None:
        if size * count > MAX_WEIGHTS:
            raise target.refuse(f"its matrix of {size} x {count} weights from {source} is larger than {MAX_WEIGHTS}")

    def _region(self, name: str) -> tuple[list[str], list[str]]:
        """Return the node with all linear ones that lead to it, in order, and the sources before them."""
        inside, sources, waiting = {name}, set(), [name]
        while waiting:
            for earlier in self.wiring.before[waiting.pop()]:
                if not self.wiring.nodes[earlier].is_linear:
                    sources.add(earlier)
                elif earlier not in inside:
                    inside.add(earlier)
                    waiting.append(earlier)
        onward = {n: [m for m in self.wiring.after[n] if m in inside] if n != name else [] for n in inside}
        order, _ = self.wiring.search(onward, sorted(inside, key=self.wiring.order.__getitem__))
        return order, sorted(sources, key=self.wiring.order.__getitem__)

    def _push(self, region: list[str], name: str, source: str, x: torch.Tensor) -> dict[int, torch.Tensor]:
        """Return what values of a source are at a node, by steps of delay."""
        values = {source: {0: x}}
        for step in region:
            arrived: dict[int, torch.Tensor] = {}
            for before in self.wiring.before[step]:
                late = int((before, step) in self.wiring.late)
                for steps, y in values.get(before, {}).items():
                    _add(arrived, steps + late, y.reshape(-1, *self.wiring.shape_in(step)))
            if not self.wiring.nodes[step].is_linear:
                return arrived
            values[step] = _through(self.wiring.maps[step], arrived)
        return values[name]

    def _offset(self, region: list[str], name: str) -> Float64:
        """Return what biases alone bring; they are there from the first step, whatever delays there are."""
        values = {
            source: torch.from_numpy(constant).reshape(self.wiring.shapes[source])
            for source, constant in self.constants.items()
        }
        values.pop(name, None)
        for step in region:
            shape = self.wiring.shape_in(step)
            arrived = [values[source].reshape(shape) for source in self.wiring.before[step] if source in values]
            total = torch.stack(arrived).sum(dim=0) if arrived else None
            if self.wiring.nodes[step].is_linear:
                m = self.wiring.maps[step]
                if total is not None:
                    if m.steps is not None and bool((m.steps > 0).any()) and bool((total != 0).any()):
                        self.wiring.note(f"{step} delays a bias before it not: that acts from the first step.")
                    total = m.apply(total[None])[0]
                if m.offset is not None:
                    total = m.offset if total is None else total + m.offset
            if total is not None:
                values[step] = total
        node = self.wiring.nodes[name]
        size = math.prod(self.wiring.shapes[name] if node.is_linear else self.wiring.shape_in(name))
        offset = values[name].reshape(size).numpy() if name in values else np.zeros(size)
        if not float(np.abs(offset).max()) <= LARGEST:
            raise self.wiring.nodes[name].refuse(
                f"biases add up to {float(np.abs(offset).max()):.3g}; at most {LARGEST:.0e}"
            )
        return offset


def _through(m: Map, arrived: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
    """Apply a linear node to what arrived, by steps of delay."""
    values: dict[int, torch.Tensor] = {}
    for steps, x in arrived.items():
        y = m.apply(x)
        if m.steps is None:
            _add(values, steps, y)
            continue
        for more in np.unique(m.steps.numpy()).tolist():
            _add(values, steps + more, y * (m.steps == more))
    return values


def _add(values: dict[int, torch.Tensor], steps: int, x: torch.Tensor) -> None:
    values[steps] = values[steps] + x if steps in values else x
