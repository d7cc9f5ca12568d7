"""How far a program is from the snnTorch or Norse network it was compiled from: spikes, sums, membranes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuromorphic.compiler.modules.graphs import ModuleGraph
from neuromorphic.compiler.modules.sources import tensors_of
from neuromorphic.compiler.modules.timing import is_sequence
from neuromorphic.compiler.notes import Notes
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.execution import run
from neuromorphic.ops import LIF, Readout
from neuromorphic.program import Program
from neuromorphic.recording import Recording

SPIKES = LABELS = 0.99
"""Fractions of neuron-steps of a layer, and of labels, below which a program is warned of."""
READOUTS = 0.05
"""Error of a sum or a membrane, relative to its largest value, above which a program is warned of."""
_REMEDY = "What helps: weight_bits=15, a finer input_scale, or weights trained ternary (pnbx_snn.BitLinear)."
REPEATED = 64
"""Calls at most of a network that takes one step a call."""


def agreement(module: nn.Module, sample: Tensor, program: Program, traced: ModuleGraph, notes: Notes) -> dict[str, Any]:
    """Run a network and its program on the same sample and return how far they agree.

    The network is in evaluation mode and without hidden state; ``traced`` is what its trace found. ``notes`` takes a
    warning for whatever agrees too little. :func:`neuromorphic.compiler.compile_module` describes what is returned.
    """
    timing, names = traced.timing, traced.operations(program)
    # A network that stores its states itself takes one step a call: several calls say more than one.
    hidden = any(getattr(part, "init_hidden", False) for part in module.modules())
    repeats = min(program.num_steps, REPEATED) if timing.num_steps == 1 and hidden else 1
    modules = {op: traced.leaves[name].module for op, name in names.items()}
    theirs, returned = _values_given(module, sample, modules, repeats)
    steps, batch = timing.num_steps * repeats, timing.batch
    shown = timing.shown(sample.detach().to(torch.float64), program.input.size).repeat(repeats, 1, 1).numpy()
    units = program.metadata.get("units", {})
    recording = run(program, shown)
    layers: dict[str, float] = {}
    readouts: dict[str, float] = {}
    raw: dict[str, Float64] = {}
    compared = equal = 0
    for name, calls in theirs.items():
        op = program[name]
        value = _in_steps([output for output, _ in calls], steps, batch, op.size)
        if value is None:
            notes.warn(f"{name}: what it gives could not be compared with the network's.")
            continue
        raw[name] = value
        ours = recording.variables[f"{name}.{'y' if isinstance(op, Readout) else 'v'}"]
        if isinstance(op, LIF):
            same = recording.variables[f"{name}.spikes"] == (value > 0)
            layers[name], compared, equal = float(same.mean()), compared + same.size, equal + int(same.sum())
            membrane = _in_steps([state for _, state in calls], steps, batch, op.size)
        else:
            membrane = value.cumsum(0) if isinstance(op, Readout) else value
        if name in units and membrane is not None:
            error = np.abs(ours * np.asarray(units[name]) - membrane).max()
            readouts[name] = float(error / max(float(np.abs(membrane).max()), 1e-30))
    measured: dict[str, Any] = {"part": "given", "steps": steps, "samples": batch}
    measured |= {"spikes_equal": equal / compared if compared else 1.0, "layers": layers, "readouts": readouts}
    if repeats == 1:
        operations = {leaf: op for op, leaf in names.items()}
        measured |= _labels(program, recording, traced, operations, returned)
        _check_returned(traced, operations, raw, returned, notes)
    _warn(measured, notes)
    return measured


def _labels(
    program: Program, recording: Recording, traced: ModuleGraph, ops: dict[str, str], returned: list[Tensor]
) -> dict[str, float]:
    """Compare the labels of the first returned tensor that has classes: the largest value of each sample."""
    for output in traced.outputs:
        op = program[ops[output.node]] if output.node in ops else None
        ends_late = output.is_state and is_sequence(traced.leaves[output.node].module)  # a state after all steps
        if op is None or op.size < 2 or ends_late:
            continue
        # Steps that are returned one by one are added up, as those of one recording are.
        steps = [other for other in traced.outputs if other.is_like(output)]
        scores = [other.scores(returned[other.number - 1], traced.timing.batch, op.size) for other in steps]
        if any(score is None for score in scores):
            continue
        theirs = np.sum([score for score in scores if score is not None], axis=0)
        if isinstance(op, Readout):
            same = theirs.argmax(axis=1) == recording.variables[f"{op.name}.y"][-1].argmax(axis=1)
        elif isinstance(op, LIF) and not output.is_state:
            spikes = recording.variables[f"{op.name}.spikes"].astype(np.float64)
            ours = np.sum([other.select(spikes) for other in steps], axis=0)
            # The neuron that fires most in the program is one of those that fire most in the network.
            same = theirs[np.arange(len(theirs)), ours.argmax(axis=1)] == theirs.max(axis=1)
        else:
            values = recording.variables[f"{op.name}.v"] * np.asarray(program.metadata["units"][op.name])
            same = theirs.argmax(axis=1) == np.sum([other.select(values) for other in steps], axis=0).argmax(axis=1)
        return {"labels_equal": float(same.mean())}
    return {}


def _check_returned(
    traced: ModuleGraph, ops: dict[str, str], raw: dict[str, Float64], returned: list[Tensor], notes: Notes
) -> None:
    """Warn where a returned output is not what its module gave: something changed it unseen, as through NumPy."""
    for output in traced.outputs:
        value = raw.get(ops.get(output.node, ""))
        if value is None or output.is_state or output.origin.operations:
            continue
        scores = output.scores(returned[output.number - 1], traced.timing.batch, value.shape[2])
        if scores is not None and not np.allclose(scores, output.select(value), rtol=1e-3, atol=1e-6):
            notes.warn(f"{ops[output.node]}: what the network returns is not what this module gave.")


def _values_given(
    module: nn.Module, sample: Tensor, modules: dict[str, nn.Module], repeats: int
) -> tuple[dict[str, list[tuple[Tensor, Tensor | None]]], list[Tensor]]:
    """Return the output of modules and the membrane after it, call by call, and what the network returned."""
    seen: dict[str, list[tuple[Tensor, Tensor | None]]] = {name: [] for name in modules}
    with ExitStack() as hooks, torch.no_grad():
        for name, part in modules.items():

            def note(part: nn.Module, args: Any, kwargs: Any, returned: Any, name: str = name) -> None:
                tensors = list(tensors_of(returned))
                state = tensors[-1] if len(tensors) > 1 else getattr(part, "mem", None)
                state = state.detach().clone() if isinstance(state, Tensor) and not is_sequence(part) else None
                seen[name].append((tensors[0].detach().clone(), state))

            hooks.callback(part.register_forward_hook(note, with_kwargs=True).remove)
        for _ in range(repeats):
            returned = list(tensors_of(module(sample.detach())))
    return seen, returned


def _in_steps(calls: list[Tensor | None], steps: int, batch: int, size: int) -> Float64 | None:
    """Return the calls of a module, whole sequences or single steps, as ``[T, B, N]``."""
    given = [call.reshape(-1).to(torch.float64) for call in calls if call is not None]
    if not given or sum(len(call) for call in given) != steps * batch * size:
        return None
    return torch.cat(given).reshape(steps, batch, size).cpu().numpy()


def _warn(measured: dict[str, Any], notes: Notes) -> None:
    """Warn of what agrees too little, and say what helps."""
    layers = {name: part for name, part in measured["layers"].items() if part < SPIKES}
    if layers:
        worst = min(layers, key=layers.__getitem__)
        notes.warn(
            f"{worst}: {layers[worst]:.2%} of its spikes equal the network's on the sample (of each neuron and step), "
            f"less than {SPIKES:.0%}. {_REMEDY}"
        )
    readouts = {name: error for name, error in measured["readouts"].items() if error > READOUTS}
    if readouts:
        worst = max(readouts, key=readouts.__getitem__)
        notes.warn(
            f"{worst}: its values differ from the network's by up to {readouts[worst]:.2%} of the largest on the "
            f"sample, more than {READOUTS:.0%}. {_REMEDY}"
        )
    if measured.get("labels_equal", 1.0) < LABELS:
        notes.warn(
            f"{measured['labels_equal']:.2%} of the labels equal the network's on the sample, less than "
            f"{LABELS:.0%}. {_REMEDY}"
        )
