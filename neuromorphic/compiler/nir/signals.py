"""What reaches a population: every chain of linear nodes before it multiplied out.

Between two populations everything is linear, so the signal that reaches one is

    I[t] = sum over (source, steps) of M @ source[t - steps] + offset

and each ``M`` is found by pushing unit vectors through all linear nodes on the way, in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from neuromorphic.compiler.nir.nodes import ELEMENTWISE, MAX_WEIGHTS, Map, Node
from neuromorphic.compiler.nir.wiring import Wiring
from neuromorphic.compiler.weight_integers import LARGEST, Float64

KEPT_BITS = 44
PUSHED = 1 << 22
"""Values that are pushed through a node at a time."""


@dataclass(frozen=True)
class Signal:
    """What reaches a node: a matrix ``[out, in]``, or ``[N]`` where all is one to one, by source and delay in steps."""

    terms: dict[tuple[str, int], Float64]
    offset: Float64  # [out]


def unfolded(node: Node, signal: Signal) -> Signal:
    """Return the signal in the units that a node counted in before its scale moved into the weights."""
    if node.factor is None or node.surplus is None:
        return signal
    size = len(signal.offset)
    factor = np.broadcast_to(node.factor.reshape(-1), (size,))
    surplus = np.broadcast_to(node.surplus.reshape(-1), (size,))
    terms = {key: round_mantissas(m / factor.reshape((-1,) + (1,) * (m.ndim - 1))) for key, m in signal.terms.items()}
    offset = signal.offset / factor
    left = np.where(np.abs(offset - surplus) <= 2.0**-KEPT_BITS * np.abs(surplus), 0.0, offset - surplus)
    return Signal(terms, left)


def round_mantissas(values: Float64) -> Float64:
    """Return numbers of ``KEPT_BITS`` bits: a whole number times a factor, and divided by it, is whole again."""
    mantissa, exponent = np.frexp(values)
    short: Float64 = np.ldexp(np.rint(mantissa * 2.0**KEPT_BITS) / 2.0**KEPT_BITS, exponent)
    return short


class Signals:
    """The signals of a graph, worked out one by one: their matrices are large."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring

    def reaching(self, name: str) -> Signal:
        """Return what reaches a node, all linear nodes on the way multiplied out; of a linear node, what it gives.

        Raises
        ------
        CompileError
            When a matrix would have more than ``2**26`` weights.
        """
        region, sources = self._region(name)
        target = self.wiring.nodes[name]
        shape = self.wiring.shapes[name]
        size = math.prod(shape)
        one_to_one = all(self.wiring.nodes[n].kind in ELEMENTWISE for n in region if self.wiring.nodes[n].is_linear)
        terms: dict[tuple[str, int], Float64] = {}
        for source in sources:
            count = math.prod(self.wiring.shapes[source])
            if one_to_one:
                ones = torch.ones((1, *self.wiring.shapes[source]), dtype=torch.float64)
                for steps, reached in self._push(region, name, source, ones).items():
                    terms[source, steps] = reached.reshape(size).numpy()
                continue
            self._refuse_large(target, size, count, source)
            rows = max(1, PUSHED // max(count, *(math.prod(self.wiring.shapes[n]) for n in region)))
            for first in range(0, count, rows):
                units = torch.zeros((min(rows, count - first), count), dtype=torch.float64)
                units[torch.arange(len(units)), first + torch.arange(len(units))] = 1.0
                units = units.reshape(-1, *self.wiring.shapes[source])
                for steps, reached in self._push(region, name, source, units).items():
                    if (source, steps) not in terms:
                        delays = 1 + sum(key[0] == source for key in terms)
                        self._refuse_large(target, size * delays, count, source)
                        terms[source, steps] = np.zeros((size, count))
                    terms[source, steps][:, first : first + len(units)] = reached.reshape(len(units), size).numpy().T
        return unfolded(target, Signal(terms, self._offset(region, name)))

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

    def _gather(self, name: str, given: dict[str, dict[int, torch.Tensor]]) -> dict[int, torch.Tensor]:
        """Add up what the edges into a node bring, by steps of delay."""
        total: dict[int, torch.Tensor] = {}
        for source in self.wiring.before[name]:
            late = int((source, name) in self.wiring.late)
            for steps, given_x in given.get(source, {}).items():
                x = given_x.reshape(-1, *self.wiring.shape_in(name))
                total[steps + late] = total[steps + late] + x if steps + late in total else x
        return total

    def _push(self, region: list[str], name: str, source: str, x: torch.Tensor) -> dict[int, torch.Tensor]:
        given = {source: {0: x}}
        for step in region:
            arrived = self._gather(step, given)
            if not self.wiring.nodes[step].is_linear:
                return arrived
            given[step] = _through(self.wiring.maps[step], arrived)
        return given[name]

    def _offset(self, region: list[str], name: str) -> Float64:
        """Return what biases alone bring; they are there from the first step, whatever delays there are."""
        given: dict[str, torch.Tensor] = {}
        for step in region:
            shape = self.wiring.shape_in(step)
            arrived = [given[source].reshape(shape) for source in self.wiring.before[step] if source in given]
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
                given[step] = total
        size = math.prod(self.wiring.shapes[name])
        offset = given[name].reshape(size).numpy() if name in given else np.zeros(size)
        if not float(np.abs(offset).max()) <= LARGEST:
            raise self.wiring.nodes[name].refuse(
                f"biases add up to {float(np.abs(offset).max()):.3g}; at most {LARGEST:.0e}"
            )
        return offset


def _through(m: Map, arrived: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
    """Apply a linear node to what arrived, by steps of delay."""
    given: dict[int, torch.Tensor] = {}
    for steps, x in arrived.items():
        y = m.apply(x)
        if m.steps is None:
            given[steps] = given[steps] + y if steps in given else y
            continue
        for more in np.unique(m.steps.numpy()).tolist():
            part = y * (m.steps == more)
            given[steps + more] = given[steps + more] + part if steps + more in given else part
    return given
