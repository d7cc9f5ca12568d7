"""Random valid programs of every operation: gates, linear states, memories, messages, and loops through delays.

Every draw depends on the generator alone, so ``np.random.default_rng(seed)`` names a program.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic import LIF, Dense, Input, Program, Readout, prove
from neuromorphic.errors import BoundError, ProgramError
from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.integers.resets import RESETS
from neuromorphic.ops import (
    LI,
    Delay,
    FastWeights,
    Gate,
    GatedState,
    HomeostaticLIF,
    Multiply,
    Resonator,
    Scale,
    Slots,
    Torus,
)
from neuromorphic.ops.homeostatic_lif import RATE_ONE
from random_programs import INPUT_RANGES, random_weights

CLASSES = (Dense, LIF, HomeostaticLIF, Scale, Delay, Gate, Multiply, LI, GatedState, Resonator, Torus, FastWeights)
OPERATIONS = {cls.__name__ for cls in (Input, Readout, Slots, *CLASSES)}
"""All that are drawn: those that a PNB-X compiles to. ``random_networks`` draws the others."""
TORI = ((3, 3), (3, 4))
DECAYS = (0, 1, 2048, 4000, 4095, DECAY_ONE)


class _Draft:
    """A program while it is drawn: a loop's neuron may be promised before it exists."""

    def __init__(self, rng: np.random.Generator, num_steps: int, max_width: int) -> None:
        self.rng, self.num_steps, self.max_width = rng, num_steps, max_width
        low, high = INPUT_RANGES[int(rng.integers(len(INPUT_RANGES)))]
        self.ops: list[Any] = [Input("x", int(rng.integers(1, max_width + 1)), low=low, high=high)]
        self.promised: Delay | None = None
        self.peaks: dict[str, int] = {}

    def name(self, kind: str) -> str:
        return f"{kind}{len(self.ops)}"

    def pick(self, *kinds: str, size: int | None = None) -> Any:
        found = [op for op in self.ops if op.kind in kinds and (size is None or op.size == size)]
        return found[int(self.rng.integers(len(found)))] if found else None

    def add(self, op: Any) -> bool:
        """Take an operation if its program is proven to fit."""
        ops = [*self.ops, op]
        if self.promised is not None and op.name != self.promised.source:
            size, one = self.promised.size, np.ones(self.promised.size, dtype=np.int32)
            ops.append(Dense("stand_in", "x", np.ones((size, self.ops[0].size), dtype=np.int8)))
            ops.append(LIF(self.promised.source, ("stand_in",), one, one, one, shift=0))
        try:
            bounds = prove(Program(tuple(ops), num_steps=self.num_steps))
        except (BoundError, ProgramError):  # too large, or a loop that nothing connects with the input
            return False
        self.peaks = {bound.name: max(-bound.low, bound.high) for bound in bounds}
        self.ops.append(op)
        return True

    def values(self, size: int | None = None, target: int | None = None) -> str | None:
        """Return values of that size, brought near a target magnitude by a Scale if one is given."""
        source = self.pick("values", size=size)
        if source is None:
            return None
        if target is None:
            return str(source.name)
        peak = max(self.peaks[source.name], 1)
        shift = int(self.rng.integers(0, 20))
        factor = np.clip(
            self.rng.normal(0, 1, source.size) * target / peak * 2.0**shift, -(2**31) + 1, 2**31 - 1
        ).astype(np.int32)
        scale = Scale(self.name("scale"), source.name, factor, shift)
        return scale.name if self.add(scale) else None

    def array(self, choices: Any, size: int) -> NDArray[np.int32]:
        return self.rng.choice(np.asarray(choices, dtype=np.int64), size=size).astype(np.int32)

    def size_of(self, name: str) -> int:
        return int(next(op.size for op in self.ops if op.name == name))


def _dense(d: _Draft) -> None:
    source = d.pick("events", "values")
    rows = int(d.rng.choice([9, 12, int(d.rng.integers(1, d.max_width + 1))]))
    d.add(Dense(d.name("fc"), source.name, random_weights(d.rng, rows, source.size), int(d.rng.integers(0, 3))))


def _lif(d: _Draft) -> None:
    size = None if d.promised is None else d.promised.size
    first = d.values(size)
    if first is None:
        return
    size = d.size_of(first)
    more = [name for name in (d.values(size) for _ in range(int(d.rng.integers(0, 3)))) if name is not None]
    sources = tuple(dict.fromkeys([first, *more]))
    shift = int(d.rng.integers(0, 8))
    usual = min(sum(d.peaks[s] for s in sources) << shift, STATE_MAX) / 3 + 1
    threshold = np.clip(usual * d.rng.choice([0.0, 0.1, 0.5, 1.0, 3.0], size=size), 0, STATE_MAX)
    bias = np.clip(usual * d.rng.choice([-0.5, 0.0, 0.2, 1e9], size=size, p=[0.2, 0.5, 0.29, 0.01]), 0, STATE_MAX)
    name = d.name("lif") if d.promised is None else d.promised.source
    neuron: dict[str, Any] = {
        "name": name,
        "sources": sources,
        "decay": d.array(DECAYS, size),
        "threshold": threshold.astype(np.int32),
        "bias": bias.astype(np.int32),
        "shift": shift,
        "reset": str(d.rng.choice(list(RESETS))),
    }
    if d.rng.random() < 0.3:
        neuron |= random_control(d.rng, size)
    if d.add(HomeostaticLIF(**neuron) if "control" in neuron else LIF(**neuron)):
        d.promised = None


def random_control(rng: np.random.Generator, size: int) -> dict[str, Any]:
    """Fields that a HomeostaticLIF of that size has beside those of a LIF."""
    domains = int(rng.choice([n for n in range(1, size + 1) if size % n == 0]))
    integral, offset = (int(rng.choice([0, 1000, most])) for most in (1 << 26, (16 << 16) - 1))
    control = rng.uniform((0, -integral, -RATE_ONE, -offset), (RATE_ONE, integral // 2, RATE_ONE, offset), (domains, 4))
    return {
        "control": np.where(rng.random((domains, 4)) < 0.5, control, 0).astype(np.int32),
        "period": int(rng.choice([1, 3, 16])),
        "target": int(rng.integers(1, RATE_ONE)),
        "rate_gain": int(rng.choice([0, 1611, DECAY_ONE])),
        "gains": tuple(int(gain) for gain in rng.choice([0, 1, 5000, 40_000, 1 << 20], size=3)),
        "integral_limits": (-integral, integral // 2),
        "offset_limits": (-offset, offset),
    }


def _delay(d: _Draft) -> None:
    source = d.pick("events")
    d.add(Delay(d.name("delay"), source.name, source.size, int(d.rng.choice([1, 1, 2, 5]))))


def _loop(d: _Draft) -> None:
    if d.promised is not None:
        return
    size = int(d.rng.choice([9, 12, int(d.rng.integers(1, d.max_width + 1))]))
    promised = Delay(d.name("last"), f"looped{len(d.ops)}", size, int(d.rng.choice([1, 1, 2])))
    d.promised = promised
    if not d.add(promised):
        d.promised = None


def _gate(d: _Draft) -> None:
    source = d.values(target=int(d.rng.choice([256, 2048, 100_000])))
    if source is not None:
        size = d.size_of(source)
        d.add(Gate(d.name("gate"), source, d.array([0, 700, -300, 2000, STATE_MAX, -STATE_MAX], size)))


def _gated(d: _Draft) -> None:
    gate = d.pick("gate")
    if gate is None:
        return
    size, target = gate.size, int(d.rng.choice([100, 100_000, 2 * STATE_MAX]))
    values = d.values(size, target)
    if values is None:
        return
    if d.rng.random() < 0.5:
        d.add(GatedState(d.name("state"), values, gate.name, size))
    else:
        d.add(Multiply(d.name("weighed"), values, gate.name, size, int(d.rng.integers(0, 4))))


def _linear_state(d: _Draft) -> None:
    values = d.values(target=int(d.rng.choice([100, 100_000, STATE_MAX])))
    if values is None:
        return
    size = d.size_of(values)
    if d.rng.random() < 0.5:
        bias = d.array([0, 0, 5, -300, STATE_MAX], size)
        d.add(LI(d.name("li"), (values,), d.array(DECAYS, size), bias, int(d.rng.integers(0, 4))))
        return
    angle, radius = d.rng.uniform(0, np.pi, size), d.rng.choice([0.0, 0.5, 0.99, 0.9999], size=size)
    cosine, sine = ((4095 * radius * part).astype(np.int32) for part in (np.cos(angle), np.sin(angle)))
    d.add(Resonator(d.name("resonator"), values, cosine, sine))


def _torus(d: _Draft) -> None:
    rows, columns = TORI[int(d.rng.integers(len(TORI)))]
    source = d.pick("events", size=rows * columns)
    if source is None:
        return
    edges = d.rng.integers(-1, 2, (8, rows * columns)).astype(np.int8) if d.rng.random() < 0.5 else None
    d.add(Torus(d.name("torus"), source.name, rows, columns, edges))


def _fast_weights(d: _Draft) -> None:
    values = d.values(target=int(d.rng.choice([1000, 4096, 50_000])))
    if values is None:
        return
    frac, rate_bits = int(d.rng.integers(0, 23)), int(d.rng.integers(0, 13))
    decay = int(d.rng.choice([0, 2048, 3968, 4095, 4096]))
    rule = str(d.rng.choice(["hebbian", "delta"]))
    d.add(FastWeights(d.name("fast"), values, d.size_of(values), decay, rate_bits, frac, rule))


def _slots(d: _Draft) -> None:
    spikes = [op for op in d.ops if op.kind == "events" and not isinstance(op, Input)]
    if not spikes:
        return
    source = spikes[int(d.rng.integers(len(spikes)))]
    if not _is_spikes(d, source):
        return
    num_slots = int(d.rng.integers(1, 6))
    keys = d.rng.integers(-1, 2, (num_slots, source.size)).astype(np.int8)
    fast = d.rng.integers(0, (1 << 22) + 1, keys.shape).astype(np.int32) if d.rng.random() < 0.3 else None
    bits = int(d.rng.integers(2, 13)), int(d.rng.integers(1, 13))
    gain, shift = int(d.rng.integers(-5000, 5000)), int(d.rng.integers(0, 23))
    d.add(Slots(d.name("memory"), source.name, keys, gain, shift, *bits, fast, plastic=bool(d.rng.random() < 0.7)))


def _is_spikes(d: _Draft, op: Any) -> bool:
    by_name = {other.name: other for other in d.ops}
    while isinstance(op, Delay):
        if op.source not in by_name:
            return True  # a promised neuron
        op = by_name[op.source]
    return isinstance(op, LIF) or (op.low, op.high) == (0, 1)


_STEPS = (
    (_dense, 4),
    (_lif, 3),
    (_delay, 1),
    (_loop, 2),
    (_gate, 2),
    (_gated, 3),
    (_linear_state, 2),
    (_torus, 1),
    (_fast_weights, 1),
    (_slots, 1),
)


def random_graph(rng: np.random.Generator, *, num_steps: int = 40, max_ops: int = 25, max_width: int = 12) -> Program:
    """Draw a program whose accumulators are proven to fit."""
    draft = _Draft(rng, num_steps, max_width)
    _dense(draft)
    weights = np.array([weight for _, weight in _STEPS], dtype=np.float64)
    num_ops = int(rng.integers(3, max_ops + 1))
    for _ in range(3 * num_ops):
        if len(draft.ops) >= num_ops and draft.promised is None:
            break
        _STEPS[int(rng.choice(len(_STEPS), p=weights / weights.sum()))][0](draft)
    while draft.promised is not None:  # a promise is kept: the simplest neuron closes the loop
        draft.ops.append(Dense(draft.name("close"), "x", random_weights(rng, draft.promised.size, draft.ops[0].size)))
        name, size = draft.promised.source, draft.promised.size
        one = np.ones(size, dtype=np.int32)
        draft.promised = None
        assert draft.add(LIF(name, (draft.ops[-1].name,), 4000 * one, one, one, shift=0))
    values = draft.pick("values")
    bias = rng.choice([0, 5, -70, STATE_MAX // 50], size=values.size).astype(np.int32)
    if not draft.add(Readout("readout", (values.name,), bias=bias, shift=int(rng.integers(0, 3)))):
        draft.add(Readout("readout", (draft.ops[1].name,), bias=np.zeros(draft.ops[1].size, dtype=np.int32), shift=0))
    return Program(tuple(draft.ops), num_steps=num_steps)
