"""The reference executor: what a program means. Slow and obvious."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.bounds import proven_for
from neuromorphic.executors.entry import Entry
from neuromorphic.fixed_point import accumulate_step, dense, lif_step
from neuromorphic.homeostasis import control_step, moved_threshold
from neuromorphic.neuron_ops import LIF, HomeostaticLIF
from neuromorphic.ops import Dense, Input, Op, Readout
from neuromorphic.pathway_arithmetic import (
    fast_weights_step,
    fingerprint,
    gate,
    gated_step,
    integrate_step,
    multiply,
    resonate_step,
    scale_values,
    slots_step,
    torus_sums,
)
from neuromorphic.pathway_ops import (
    LI,
    Delay,
    FastWeights,
    Gate,
    GatedState,
    Multiply,
    Resonator,
    Scale,
    Slots,
    Torus,
)
from neuromorphic.program import Program
from neuromorphic.recording import Recording

ENTRIES = (Entry(name="numpy", purpose="the definition", module="neuromorphic.executors.reference"),)

Int32 = NDArray[np.int32]
State = dict[str, NDArray[Any]]
"""Of one operation: what it carries from step to step, and what a recording keeps, by name."""


def initial_state(op: Op, batch: int) -> State:
    """Return the state of an operation before the first step of a sample."""
    state: State = {v.name: np.zeros((batch, v.size), dtype=v.dtype) for v in op.variables}
    if isinstance(op, Delay):
        state["queue"] = np.zeros((op.steps, batch, op.size), dtype=np.int32)
    elif isinstance(op, HomeostaticLIF):
        state["control"] = np.repeat(op.control[np.newaxis], batch, axis=0)
        state["count"] = np.zeros((batch, op.num_domains), dtype=np.int32)
        state["place"] = np.zeros(1, dtype=np.int32)
    elif isinstance(op, FastWeights):
        state["F"] = np.zeros((batch, op.size, op.size), dtype=np.int32)
    elif isinstance(op, Slots):
        fast = np.zeros(op.keys.shape, dtype=np.int32) if op.fast is None else op.fast
        state["slots"] = np.repeat(fast[np.newaxis], batch, axis=0)
    return state


def _lif(op: LIF, state: State, *currents: Int32) -> Int32:
    options = {"decay": op.decay, "threshold": op.threshold, "bias": op.bias, "shift": op.shift, "reset": op.reset}
    state["spikes"], state["v"] = lif_step(state["v"], _sum(currents), **options)  # type: ignore[arg-type]
    return state["spikes"].astype(np.int32)


def _homeostatic(op: HomeostaticLIF, state: State, *currents: Int32) -> Int32:
    control = state["control"]
    moved = moved_threshold(op.threshold, control[:, :, 3], op.per_domain)
    options = {"decay": op.decay, "threshold": moved, "bias": op.bias, "shift": op.shift, "reset": op.reset}
    state["spikes"], state["v"] = lif_step(state["v"], _sum(currents), **options)  # type: ignore[arg-type]
    spikes: Int32 = state["spikes"].astype(np.int32)
    state["count"] += spikes.reshape(-1, op.num_domains, op.per_domain).sum(axis=2, dtype=np.int32)
    state["place"] += np.int32(1)
    if state["place"][0] == op.period:
        state["control"] = control = control_step(control, state["count"], **op.options)
        state["count"][:], state["place"][:] = 0, 0
    state["offset"] = control[:, :, 3]
    return spikes


def _readout(op: Readout, state: State, *currents: Int32) -> Int32:
    state["y"] = accumulate_step(state["y"], _sum(currents), bias=op.bias, shift=op.shift)
    return state["y"]


def _li(op: LI, state: State, *currents: Int32) -> Int32:
    state["v"] = integrate_step(state["v"], _sum(currents), decay=op.decay, bias=op.bias, shift=op.shift)
    return state["v"]


def _gated(op: GatedState, state: State, x: Int32, gates: Int32) -> Int32:
    state["s"] = gated_step(state["s"], x, gates)
    return state["s"]


def _resonator(op: Resonator, state: State, x: Int32) -> Int32:
    state["re"], state["im"] = resonate_step(state["re"], state["im"], x, cosine=op.cosine, sine=op.sine)
    return state["re"]


def _fast_weights(op: FastWeights, state: State, x: Int32) -> Int32:
    y, state["F"], state["key"] = fast_weights_step(
        state["F"], state["key"], x, decay=op.decay, rate_bits=op.rate_bits, frac=op.frac, rule=op.rule
    )
    return y


def _slots(op: Slots, state: State, events: Int32) -> Int32:
    state["read"], state["slots"], state["winner"] = slots_step(
        state["slots"],
        events,
        keys=op.keys,
        gain=op.gain,
        decay_bits=op.decay_bits,
        rate_bits=op.rate_bits,
        shift=op.shift,
        plastic=op.plastic,
    )
    state["E"] = fingerprint(state["slots"])
    return state["read"]


def _sum(currents: tuple[Int32, ...]) -> Int32:
    total: Int32 = np.stack(currents).sum(axis=0, dtype=np.int32)  # [B, N]
    return total


STEPS: Mapping[type[Any], Callable[..., Int32]] = MappingProxyType(
    {
        Dense: lambda op, state, x: dense(op.weights, x, op.shift),
        LIF: _lif,
        HomeostaticLIF: _homeostatic,
        Readout: _readout,
        Scale: lambda op, state, x: scale_values(x, op.factor, op.shift),
        Gate: lambda op, state, x: gate(x, op.offset),
        Multiply: lambda op, state, x, gates: multiply(x, gates, op.shift),
        LI: _li,
        GatedState: _gated,
        Resonator: _resonator,
        Torus: lambda op, state, x: torus_sums(x, op.rows, op.columns, op.edges),
        FastWeights: _fast_weights,
        Slots: _slots,
    }
)
"""One step of every operation: ``(op, state, *values of its sources) -> value``; ``state`` is changed in place."""


def execute(
    program: Program, inputs: NDArray[np.int32], *, progress: Callable[[int, int], None] | None = None
) -> Recording:
    """Run a program step by step, all samples at once.

    Parameters
    ----------
    program : Program
        What to run.
    inputs : NDArray[np.int32]
        ``[T, B, N]``, as :meth:`Program.prepare_inputs` returns them.
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    Recording
        The variables of every operation that has some, such as spikes and membrane of a ``LIF``.

    Raises
    ------
    InputError
        Inputs of more steps than the program is proven for.
    """
    started = time.perf_counter()
    num_steps, batch = inputs.shape[:2]
    program = proven_for(program, num_steps)
    states = {op.name: initial_state(op, batch) for op in program.ops}
    kept = [(op.name, v.name) for op in program.ops for v in op.variables]
    variables: dict[str, NDArray[Any]] = {
        f"{op.name}.{v.name}": np.zeros((num_steps, batch, v.size), dtype=v.dtype)
        for op in program.ops
        for v in op.variables
    }
    delays = program.of_type(Delay)
    for t in range(num_steps):
        values: dict[str, Int32] = {op.name: states[op.name]["queue"][t % op.steps].copy() for op in delays}
        for op in program.ops:
            if isinstance(op, Input):
                values[op.name] = inputs[t]
            elif not isinstance(op, Delay):
                values[op.name] = STEPS[type(op)](op, states[op.name], *(values[s] for s in op.sources))
        for op in delays:
            states[op.name]["queue"][t % op.steps] = values[op.source]
        for name, variable in kept:
            variables[f"{name}.{variable}"][t] = states[name][variable].reshape(batch, -1)
        if progress is not None:
            progress(t + 1, num_steps)
    return Recording(variables, "numpy", {"seconds": time.perf_counter() - started, "numpy": np.__version__})
