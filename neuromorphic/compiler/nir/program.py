"""An integer program as a NIR graph in its own integers, which must compile to the same integers again."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from neuromorphic.compiler.nir.graphs import compile_nir
from neuromorphic.compiler.nir.neurons import RESET_METADATA, lif_node, reset_metadata
from neuromorphic.compiler.nir.portable import Form, portable
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.errors import CompileError
from neuromorphic.formats.nir import nir_package
from neuromorphic.integers.numbers import DECAY_ONE
from neuromorphic.ops import (
    LI,
    LIF,
    AdaptiveLIF,
    Delay,
    Delays,
    Dense,
    HomeostaticLIF,
    Input,
    Operation,
    Readout,
    Scale,
)
from neuromorphic.program import Program

RoundTrip = Literal["exact", "close"]
TIE = 2.0**-12
"""Added to a threshold, which then lies between two integers, so that no rounding of a scale moves it."""


def program_graph(program: Program, dt: float, round_trip: RoundTrip, form: Form) -> Any:
    """Return the graph of a program; see :func:`neuromorphic.compiler.nir.export.to_nir`."""
    nir = nir_package()
    entry = program.input
    graded = (entry.low, entry.high, entry.scale) != (0, 1, 1.0)
    metadata: dict[str, Any] = {"dt": float(dt), "num_steps": program.num_steps, "form": "integer"}
    if graded:
        metadata |= {"input_scale": entry.scale, "input_low": entry.low, "input_high": entry.high}
    units = _units(program)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    for op in program.ops:
        # The end of a graph that ends in weights is its running sum: a Readout is the Output behind them.
        name = f"{op.name}_sum" if isinstance(op, Readout) else op.name
        nodes[name] = _node(op, units[op.name], dt)
        edges += [(source, name) for source in op.sources]
    read = {source for op in program.ops for source in op.sources}
    for op in program.ops:
        if op.name not in read:
            end = (f"{op.name}_sum", op.name) if isinstance(op, Readout) else (op.name, f"{op.name}_output")
            nodes[end[1]] = nir.Output(output_type=np.array([op.size]))
            edges.append(end)
    graph = nir.NIRGraph(nodes, edges, metadata=metadata)
    if form == "portable":
        graph = portable(graph)
    if round_trip == "exact":
        scale = entry.scale if graded else None
        back = compile_nir(graph, num_steps=program.num_steps, input_scale=scale, input_range=(entry.low, entry.high))
        _check_same(program, back)
    return graph


def _units(program: Program) -> dict[str, float]:
    """Return the real value of one integer of each operation: the input's scale until neurons spike."""
    units: dict[str, float] = {}
    pending = [op for op in program.ops if isinstance(op, Delay)]
    for op in program.ops:
        if isinstance(op, Input):
            units[op.name] = op.scale
            continue
        found = {units[source] for source in op.sources if source in units}
        if len(found) > 1:
            raise CompileError(
                f"{op.name}: adds currents of the input, of which one integer is worth {program.input.scale:.6g}, to "
                "those of spikes; that can be exported where the input's scale is 1"
            )
        units[op.name] = found.pop() if found else 1.0
        if isinstance(op, LIF):
            units[op.name], units[f"{op.name}."] = 1.0, units[op.name]
    if any(units[op.name] != units[op.source] for op in pending):
        raise CompileError("a Delay before the input's synapses cannot be exported where the input's scale is not 1")
    return {op.name: units.get(f"{op.name}.", units[op.name]) for op in program.ops}


def _node(op: Operation, unit: float, dt: float) -> Any:
    """Return a node whose currents and potentials are the program's integers times ``unit``."""
    nir = nir_package()
    if isinstance(op, Input):
        return nir.Input(input_type=np.array([op.size]))
    if isinstance(op, Dense):
        return nir.Linear(weight=op.weights * 2.0**op.shift)
    if isinstance(op, Delay):
        return nir.Delay(delay=np.full(op.size, op.steps * dt))
    if isinstance(op, Delays):
        return nir.Delay(delay=op.steps * dt)
    if isinstance(op, Scale):
        if (op.factor.astype(np.int64) % (1 << op.shift)).any():
            raise CompileError(f"{op.name}: a Scale that shifts right by {op.shift} rounds, which no NIR node does")
        return nir.Scale(scale=op.factor / 2.0**op.shift)
    if isinstance(op, Readout):
        return nir.Affine(weight=np.eye(op.size) * 2.0**op.shift, bias=op.bias * unit)
    if isinstance(op, HomeostaticLIF):
        raise CompileError(f"{op.name}: no node of NIR has thresholds that follow a rate; compile with frozen glia")
    if isinstance(op, AdaptiveLIF):
        raise CompileError(f"{op.name}: no node of NIR has thresholds that adapt; its network has a graph (graph_of)")
    if isinstance(op, LIF):
        mechanism, late, primitive = RESET_METADATA[op.reset]
        meta = reset_metadata(mechanism, primitive, late=late)
        theta = (op.threshold.astype(np.float64) + TIE) * unit
        return lif_node(op.decay / DECAY_ONE, theta, dt, meta, gain=2.0**op.shift, offset=op.bias * unit)
    if isinstance(op, LI):
        leak = 1.0 - op.decay / DECAY_ONE
        if (leak == 0).any():
            raise CompileError(f"{op.name}: an LI without a leak cannot be exported; one with a decay below 1 can")
        return nir.LI(tau=dt / leak, r=2.0**op.shift / leak, v_leak=op.bias * unit / leak)
    raise CompileError(
        f"{op.name}: a {type(op).__name__} has no node in NIR; what has is Input, Dense, LIF, LI, Scale, Delay, Readout"
    )


def _drive(program: Program, op: LIF | LI | Readout) -> dict[tuple[str, int], Float64]:
    """Return what one integer of each source and delay adds to an operation, ``[out, in]``, where that is not 0."""
    drive: dict[tuple[str, int], Float64] = {}
    waiting = [(source, np.eye(op.size) * 2.0**op.shift, 0) for source in reversed(op.sources)]
    while waiting:
        name, units, steps = waiting.pop()
        synapse = program[name]
        if isinstance(synapse, Dense):
            waiting.append((synapse.source, units @ (synapse.weights * 2.0**synapse.shift), steps))
        elif isinstance(synapse, Scale):
            waiting.append((synapse.source, units * (synapse.factor / 2.0**synapse.shift), steps))
        elif isinstance(synapse, Delay):
            waiting.append((synapse.source, units, steps + synapse.steps))
        elif isinstance(synapse, Delays):
            late = [(more, units * (synapse.steps == more)) for more in np.unique(synapse.steps).tolist()]
            waiting += [(synapse.source, part, steps + more) for more, part in late]
        else:
            drive[name, steps] = drive.get((name, steps), 0.0) + units
    return {key: value for key, value in drive.items() if value.any()}


def _check_same(program: Program, back: Program) -> None:
    """Refuse a program whose graph compiles to other integers."""
    names = {op.name for op in back.ops}
    for op in program.ops:
        if not isinstance(op, LIF | LI | Readout):
            continue
        other: Any = back[op.name] if op.name in names else None
        if type(other) is not type(op):
            raise _not_the_same(op, "is no operation of its own")
        here, there = _drive(program, op), _drive(back, other)
        if here.keys() != there.keys():
            raise _not_the_same(op, f"is driven by {sorted(there)}, not {sorted(here)}")
        factor = 1.0
        if isinstance(op, Readout) and here:  # an exact sum: finer units change no label
            key = next(iter(here))
            factor = float(np.abs(there[key]).max() / np.abs(here[key]).max())
        threshold, theirs = (getattr(each, "threshold", None) for each in (op, other))
        if threshold is not None and theirs is not None and not np.array_equal(threshold, theirs):
            ratio = float(theirs.max()) / max(float(threshold.max()), 1.0)
            raise _not_the_same(op, f"counts in units {ratio:.6g} times finer, in which its leak rounds otherwise")
        fields = [name for name in ("decay", "reset") if hasattr(op, name)]
        same = all(np.array_equal(getattr(op, name), getattr(other, name)) for name in fields)
        same = same and np.array_equal(op.bias * factor, other.bias)
        if not same or not all(np.array_equal(here[key] * factor, there[key]) for key in here):
            raise _not_the_same(op, "has other weights, decays, biases or another reset")


def _not_the_same(op: Operation, what: str) -> CompileError:
    return CompileError(
        f"{op.name}: compiled back from NIR it {what}. NIR has no place for fractional bits, and the compiler takes "
        'the most that are proven to fit: what it compiled comes back the same. round_trip="close" exports it anyway'
    )
