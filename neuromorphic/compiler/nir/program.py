"""An integer program as a NIR graph in its own integers, which must compile to the same integers again."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from neuromorphic.compiler.nir.graphs import compile_nir
from neuromorphic.compiler.nir.images import image_shapes, window_node
from neuromorphic.compiler.nir.neurons import RESET_METADATA, lif_node, reset_metadata
from neuromorphic.compiler.nir.portable import Form, portable
from neuromorphic.compiler.nir.readable import readable
from neuromorphic.compiler.nir.same import check_same
from neuromorphic.errors import CompileError
from neuromorphic.formats.nir import nir_package
from neuromorphic.integers.numbers import DECAY_ONE
from neuromorphic.ops import (
    LI,
    LIF,
    AdaptiveLIF,
    Conv,
    Delay,
    Delays,
    Dense,
    GradedLIF,
    HomeostaticLIF,
    Input,
    Operation,
    Readout,
    Scale,
    SumPool,
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
    units, shapes = _units(program), image_shapes(program)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    for op in program.ops:
        # The end of a graph that ends in weights is its running sum: a Readout is the Output behind them.
        name = f"{op.name}_sum" if isinstance(op, Readout) else op.name
        taken, given = shapes[op.name]
        nodes[name] = _node(op, units[op.name], dt, taken, given)
        for source in op.sources:
            shape = shapes[source][1]
            if shape != taken:
                flat = f"{name}_flat_{source}"
                nodes[flat] = nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0)
                edges.append((source, flat))
                source = flat
            edges.append((source, name))
    read = {source for op in program.ops for source in op.sources}
    for op in program.ops:
        if op.name not in read:
            end = (f"{op.name}_sum", op.name) if isinstance(op, Readout) else (op.name, f"{op.name}_output")
            nodes[end[1]] = nir.Output(output_type=np.array(shapes[op.name][1]))
            edges.append(end)
    graph = readable(nir.NIRGraph(nodes, edges, metadata=metadata))
    if form == "portable":
        graph = portable(graph)
    if round_trip == "exact":
        scale = entry.scale if graded else None
        back = compile_nir(graph, num_steps=program.num_steps, input_scale=scale, input_range=(entry.low, entry.high))
        check_same(program, back)
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


def _node(op: Operation, unit: float, dt: float, taken: tuple[int, ...], given: tuple[int, ...]) -> Any:
    """Return a node whose currents and potentials are the program's integers times ``unit``, of these shapes."""
    nir = nir_package()
    if isinstance(op, Input):
        return nir.Input(input_type=np.array(given))
    if isinstance(op, Dense):
        return nir.Linear(weight=op.weights * 2.0**op.shift)
    if isinstance(op, Conv | SumPool):
        return window_node(op, taken, given)
    if isinstance(op, Delay):
        return nir.Delay(delay=np.full(given, op.steps * dt))
    if isinstance(op, Delays):
        return nir.Delay(delay=op.steps.reshape(given) * dt)
    if isinstance(op, Scale):
        if (op.factor.astype(np.int64) % (1 << op.shift)).any():
            raise CompileError(f"{op.name}: a Scale that shifts right by {op.shift} rounds, which no NIR node does")
        return nir.Scale(scale=op.factor.reshape(given) / 2.0**op.shift)
    if type(op) is Readout:  # a LeakyReadout forgets
        return nir.Affine(weight=np.eye(op.size) * 2.0**op.shift, bias=op.bias * unit)
    if isinstance(op, HomeostaticLIF):
        raise CompileError(f"{op.name}: no node of NIR has thresholds that follow a rate; compile with frozen glia")
    if isinstance(op, AdaptiveLIF):
        raise CompileError(f"{op.name}: no node of NIR has thresholds that adapt; its network has a graph (graph_of)")
    if isinstance(op, GradedLIF):
        raise CompileError(f"{op.name}: no node of NIR gives graded events, of {op.levels} levels; spikes are 0 or 1")
    if isinstance(op, LIF):
        mechanism, late, primitive = RESET_METADATA[op.reset]
        meta = reset_metadata(mechanism, primitive, late=late)
        theta, beta, bias = (field.reshape(given).astype(np.float64) for field in (op.threshold, op.decay, op.bias))
        theta, beta = (theta + TIE) * unit, beta / DECAY_ONE
        return lif_node(beta, theta, dt, meta, gain=2.0**op.shift, offset=bias * unit)
    if isinstance(op, LI):
        leak = (1.0 - op.decay / DECAY_ONE).reshape(given)
        if (leak == 0).any():
            raise CompileError(f"{op.name}: an LI without a leak cannot be exported; one with a decay below 1 can")
        return nir.LI(tau=dt / leak, r=2.0**op.shift / leak, v_leak=op.bias.reshape(given) * unit / leak)
    raise CompileError(
        f"{op.name}: a {type(op).__name__} has no node in NIR; what has is Input, Dense, Conv, SumPool, LIF, LI, "
        "Scale, Delay, Delays, Readout"
    )
