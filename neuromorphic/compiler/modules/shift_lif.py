"""Networks of ``ShiftLIF`` and linear layers on whole numbers, compiled as they are: every spike is equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuromorphic.bounds import prove
from neuromorphic.compiler.folding import to_numpy
from neuromorphic.compiler.modules.graphs import ModuleGraph, as_evaluated
from neuromorphic.compiler.modules.neurons import SHIFTING
from neuromorphic.compiler.modules.outputs import check_ends
from neuromorphic.compiler.modules.sources import INPUT
from neuromorphic.compiler.modules.trace import Edge, Leaf
from neuromorphic.errors import CompileError
from neuromorphic.execution import run
from neuromorphic.ops import Delay, Dense, Input, Operation, ShiftLIF
from neuromorphic.program import Program
from pnbx_snn.neurons.shift_lif import ShiftLIF as Layer
from pnbx_snn.neurons.shift_lif import ShiftLIFCell

LARGEST = 127


def compile_shifting(
    module: nn.Module, sample: Tensor, traced: ModuleGraph, num_steps: int, input_range: tuple[int, int] | None
) -> Program:
    """Compile a network of :class:`pnbx_snn.ShiftLIF`, its cell and linear layers of whole weights, and compare.

    Raises
    ------
    CompileError
        When a part is no such layer, a weight or the sample is not whole, or a spike differs on the sample.
    """
    low, high = input_range or (min(int(sample.min()), 0), max(int(sample.max()), 1))
    if not torch.equal(sample, sample.round()):
        raise CompileError("the sample holds fractions; a network of ShiftLIF counts whole events")
    width = int(np.prod(traced.input_features))
    ops: list[Operation] = [Input(INPUT, width, low=low, high=high)]
    read_late = {edge.node for found in traced.edges.values() for edge in found if edge.delay}
    late = [name for name in traced.leaves if name in read_late]
    for name in late:
        ops.append(Delay(_late(name), _key(name), int(np.prod(traced.leaves[name].features_out))))
    for name, leaf in traced.leaves.items():
        edges = sorted(traced.edges[name], key=lambda edge: edge.node)
        ops.append(_operation(traced, leaf, edges))
    read = {edge.node for found in traced.edges.values() for edge in found if edge.delay == 0} | read_late
    ends = [name for name in traced.leaves if name not in read]
    check_ends(traced.found, traced.timing, traced.outputs, ends or late, traced.notes)
    program = Program(tuple(ops), num_steps=num_steps, metadata={"assumptions": traced.notes.issue()})
    prove(program)
    equal = _compared(module, sample, program, traced)
    facts = {"part": "given", "steps": traced.timing.num_steps, "samples": traced.timing.batch, "spikes_equal": 1.0}
    metadata = {**program.metadata, "agreement": {**facts, "layers": equal, "readouts": {}}}
    return Program(program.ops, num_steps=num_steps, metadata=metadata)


def _operation(traced: ModuleGraph, leaf: Leaf, edges: list[Edge]) -> Operation:
    sources = tuple(_name(edge) for edge in edges)
    module: Any = leaf.module
    if isinstance(module, SHIFTING):
        cell: ShiftLIFCell = module.cell if isinstance(module, Layer) else module
        size = int(np.prod(leaf.features_out))

        def each(values: Tensor) -> NDArray[np.int32]:
            return np.broadcast_to(to_numpy(values), (size,)).astype(np.int32)

        if any(edge.node == INPUT or not isinstance(traced.leaves[edge.node].module, nn.Linear) for edge in edges):
            raise CompileError(f"{leaf.where}: reads spikes; give it a linear layer")
        if any(edge.delay for edge in edges):
            raise CompileError(f"{leaf.where}: reads a layer of weights one step late; let that layer read late spikes")
        return ShiftLIF(
            _key(leaf.name), sources, each(cell.synapse_shift), each(cell.membrane_shift), each(cell.threshold),
            each(cell.bias), cell.most_spikes,
        )  # fmt: skip
    if not isinstance(module, nn.Linear):
        raise CompileError(f"{leaf.where}: beside ShiftLIF only nn.Linear compiles, of whole weights")
    if getattr(module, "bias", None) is not None:
        raise CompileError(f"{leaf.where}: has a bias; use nn.Linear(..., bias=False) and the bias of ShiftLIF")
    if len(sources) != 1:
        raise CompileError(
            f"{leaf.where}: reads the sum of {', '.join(sources)}; give each a linear layer of its own and add those"
        )
    weights = to_numpy(module.weight)
    if not np.array_equal(weights, np.rint(weights)) or np.abs(weights).max() > LARGEST:
        raise CompileError(
            f"{leaf.where}: its weights must be whole numbers in -{LARGEST}..{LARGEST}: train it with "
            "pnbx_snn.integer_weights(layer)"
        )
    return Dense(_key(leaf.name), sources[0], weights.astype(np.int8))


def _compared(module: nn.Module, sample: Tensor, program: Program, traced: ModuleGraph) -> dict[str, float]:
    """Return 1.0 for each layer of neurons, or refuse the first spike that differs."""
    seen: dict[str, list[Tensor]] = {}
    hooks = []
    for name, leaf in traced.leaves.items():
        if isinstance(leaf.module, SHIFTING):
            calls = seen.setdefault(_key(name), [])
            hooks.append(leaf.module.register_forward_hook(lambda *a, calls=calls: calls.append(a[2][0].detach())))
    try:
        with torch.no_grad(), as_evaluated(module):
            module(sample)
    finally:
        for hook in hooks:
            hook.remove()
    recording = run(program, traced.timing.shown(sample, program.input.size).to(torch.int64).numpy())
    for name, calls in seen.items():
        ours = recording.variables[f"{name}.spikes"]
        theirs = torch.cat([call.reshape(-1) for call in calls]).reshape(ours.shape).to(torch.float64).cpu().numpy()
        if not np.array_equal(ours, theirs):
            step, sample_number, neuron = (int(axis[0]) for axis in np.nonzero(ours != theirs))
            raise CompileError(
                f"{name}: in step {step} neuron {neuron} of sample {sample_number} fires "
                f"{theirs[step, sample_number, neuron]:g} times in the network, "
                f"{ours[step, sample_number, neuron]} times in the program; sums beyond 2**24 are not exact in float32"
            )
    return dict.fromkeys(seen, 1.0)


def _key(name: str) -> str:
    """Return a module's name as an operation's."""
    key = name.replace(".", "_")
    return f"{key}_" if key == INPUT else key


def _late(name: str) -> str:
    return f"{_key(name)}_late"


def _name(edge: Edge) -> str:
    """Return what an operation reads."""
    if edge.node == INPUT:
        return INPUT
    return _late(edge.node) if edge.delay else _key(edge.node)
