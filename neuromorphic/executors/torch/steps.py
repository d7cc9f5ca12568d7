"""One step of every operation on a torch device: parameters moved there once, state kept there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuromorphic.bounds import OpBound
from neuromorphic.executors.torch import arithmetic as a
from neuromorphic.ops import (
    LI,
    LIF,
    Dense,
    FastWeights,
    Gate,
    GatedState,
    HomeostaticLIF,
    Input,
    Multiply,
    Operation,
    Readout,
    Resonator,
    Scale,
    Slots,
    Torus,
)
from neuromorphic.ops.fast_weights import KEY_BITS
from neuromorphic.ops.numbers import DECAY_ONE
from neuromorphic.program import Program

State = dict[str, Tensor]
Step = Callable[..., Tensor]
"""``(state, *values of the sources) -> value``; ``state`` holds what a recording keeps and is changed in place."""


class Placed:
    """A program's parameters on a device, and the peaks that make products exact."""

    def __init__(self, program: Program, bounds: list[OpBound], batch: int, device: torch.device) -> None:
        self.program, self.batch, self.device = program, batch, device
        self.peaks = {bound.name: bound.peak for bound in bounds}
        self.sigmoid, self.octave = a.tables(device)

    def whole(self, array: Any) -> Tensor:
        """Return an array as int64 on the device."""
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(self.device)

    def zeros(self, *shape: int) -> Tensor:
        """Return int64 zeros for every sample."""
        return torch.zeros(self.batch, *shape, dtype=torch.int64, device=self.device)

    def peak(self, source: str) -> int:
        """Return the largest magnitude that a source gives."""
        op, _ = self.program.undelayed(source)
        if isinstance(op, Input):
            return max(-op.low, op.high)
        return 1 if op.kind == "events" else self.peaks[op.name]

    def initial(self, op: Operation) -> State:
        """Return the variables of an operation before the first step."""
        return {variable.name: self.zeros(variable.size) for variable in op.variables}


def _sum(currents: tuple[Tensor, ...]) -> Tensor:
    total = currents[0]
    for current in currents[1:]:
        total = total + current
    return total


def _dense(p: Placed, op: Dense) -> Step:
    product = a.Product(op.weights, p.peak(op.source), p.device)
    return lambda state, x: product(x) << op.shift


def _lif(p: Placed, op: LIF) -> Step:
    decay, theta, bias = (p.whole(x) for x in (op.decay, op.threshold, op.bias))

    def step(state: State, *currents: Tensor) -> Tensor:
        state["spikes"], state["v"] = a.lif_step(
            state["v"], _sum(currents), decay=decay, threshold=theta, bias=bias, shift=op.shift, reset=op.reset
        )
        return state["spikes"]

    return step


def _homeostatic(p: Placed, op: HomeostaticLIF) -> Step:
    decay, theta, bias = (p.whole(x) for x in (op.decay, op.threshold, op.bias))
    inside = {"control": p.whole(op.control).expand(p.batch, -1, -1), "count": p.zeros(op.num_domains)}
    place = 0

    def step(state: State, *currents: Tensor) -> Tensor:
        nonlocal place
        moved = a.moved_threshold(theta, inside["control"][:, :, 3], op.per_domain, p.octave)
        state["spikes"], state["v"] = a.lif_step(
            state["v"], _sum(currents), decay=decay, threshold=moved, bias=bias, shift=op.shift, reset=op.reset
        )
        inside["count"] = inside["count"] + state["spikes"].reshape(-1, op.num_domains, op.per_domain).sum(dim=2)
        place += 1
        if place == op.period:
            inside["control"] = a.control_step(inside["control"], inside["count"], **op.options)
            inside["count"], place = p.zeros(op.num_domains), 0
        state["offset"] = inside["control"][:, :, 3]
        return state["spikes"]

    return step


def _integrator(p: Placed, op: LI | Readout) -> Step:
    name = op.variables[0].name
    decay = p.whole(op.decay if isinstance(op, LI) else np.full(op.size, DECAY_ONE))
    bias = p.whole(op.bias)

    def step(state: State, *currents: Tensor) -> Tensor:
        state[name] = a.integrate(state[name], _sum(currents), decay=decay, bias=bias, shift=op.shift)
        return state[name]

    return step


def _scale(p: Placed, op: Scale) -> Step:
    factor = p.whole(op.factor)
    return lambda state, x: a.toward_zero(x * factor, op.shift)


def _gate(p: Placed, op: Gate) -> Step:
    offset = p.whole(op.offset)
    return lambda state, x: a.gate(x, offset, p.sigmoid)


def _multiply(p: Placed, op: Multiply) -> Step:
    return lambda state, x, gates: a.toward_zero(x * gates, KEY_BITS + op.shift)


def _gated(p: Placed, op: GatedState) -> Step:
    def step(state: State, x: Tensor, gates: Tensor) -> Tensor:
        state["s"] = a.gated(state["s"], x, gates)
        return state["s"]

    return step


def _resonator(p: Placed, op: Resonator) -> Step:
    cosine, sine = p.whole(op.cosine), p.whole(op.sine)

    def step(state: State, x: Tensor) -> Tensor:
        state["re"], state["im"] = a.resonate(state["re"], state["im"], x, cosine=cosine, sine=sine)
        return state["re"]

    return step


def _torus(p: Placed, op: Torus) -> Step:
    edges = None if op.edges is None else p.whole(op.edges).reshape(-1, op.rows, op.columns)
    return lambda state, x: a.torus_sums(x, op.rows, op.columns, edges)


def _fast_weights(p: Placed, op: FastWeights) -> Step:
    options: dict[str, Any] = {name: getattr(op, name) for name in ("decay", "rate_bits", "frac", "rule")}

    def step(state: State, x: Tensor) -> Tensor:
        F = state["F"].reshape(-1, op.size, op.size)
        y, F, state["key"] = a.fast_weights_step(F, state["key"], x, **options)
        state["F"] = F.reshape(p.batch, -1)
        return y

    return step


def _slots(p: Placed, op: Slots) -> Step:
    names = ("gain", "decay_bits", "rate_bits", "shift", "plastic")
    options: dict[str, Any] = {name: getattr(op, name) for name in names}
    keys, ask = p.whole(op.keys), a.Product(op.keys, 1, p.device)
    E = p.zeros(*op.keys.shape) if op.fast is None else p.whole(op.fast).repeat(p.batch, 1, 1)

    def step(state: State, events: Tensor) -> Tensor:
        nonlocal E
        state["read"], E, state["winner"] = a.slots_step(E, events, ask(events), keys=keys, **options)
        state["E"] = a.fingerprint(E)
        return state["read"]

    return step


MAKERS: Mapping[type[Any], Callable[[Placed, Any], Step]] = MappingProxyType(
    {
        Dense: _dense,
        LIF: _lif,
        HomeostaticLIF: _homeostatic,
        Readout: _integrator,
        Scale: _scale,
        Gate: _gate,
        Multiply: _multiply,
        LI: _integrator,
        GatedState: _gated,
        Resonator: _resonator,
        Torus: _torus,
        FastWeights: _fast_weights,
        Slots: _slots,
    }
)
"""What makes the step of each operation, for a program on a device."""
