"""The steps of a network: how many its sample runs, which rows of the sample are read in each, and what it returns.

A row of a sample is what a module reads of one sample in one step: all its features. The trace says which rows each
call read, so no axis is guessed: ``[T, B, N]``, ``[B, T, N]``, ``[B, N]`` shown for many steps and single images are
told apart by how the network reads them.
"""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import pnbx_snn
from neuromorphic.compiler.module_nodes import LAYERS, NORMS, NORSE_CELLS, NORSE_SEQUENCES, SNNTORCH, in_norse
from neuromorphic.compiler.module_tensors import INPUT, Axis, Kept, Lost, Source
from neuromorphic.compiler.module_trace import Leaf, Trace
from neuromorphic.errors import CompileError


@dataclass(frozen=True)
class Timing:
    """``rows[t, b]`` is the row of the sample that sample ``b`` shows in step ``t``."""

    rows: Tensor  # [T, B]

    @property
    def num_steps(self) -> int:
        """Steps that the network runs on the sample."""
        return self.rows.shape[0]

    @property
    def batch(self) -> int:
        """Samples that it runs at once."""
        return self.rows.shape[1]

    def shown(self, sample: Tensor, width: int) -> Tensor:
        """Return what the program is shown, ``[T, B, width]``."""
        return sample.reshape(-1, width)[self.rows]


def is_sequence(module: nn.Module) -> bool:
    """Say whether a neuron takes all its steps in one call."""
    return isinstance(module, pnbx_snn.LIF) or in_norse(module, NORSE_SEQUENCES)


def is_neuron(module: nn.Module) -> bool:
    """Say whether a module has a state."""
    return is_sequence(module) or isinstance(module, SNNTORCH) or in_norse(module, NORSE_CELLS)


def timing_of(found: Trace, sample: Tensor) -> Timing:
    """Return the steps of a network, from what its modules read.

    Raises
    ------
    CompileError
        When neurons run different numbers of steps, or the sample's steps are not read once each and in order.
    """
    neurons = [leaf for leaf in found.leaves.values() if is_neuron(leaf.module)]
    steps = {leaf.name: _steps(leaf) for leaf in neurons}
    if len(set(steps.values())) > 1:
        told = ", ".join(f"{found.leaves[name].where}: {count}" for name, count in steps.items())
        raise CompileError(
            f"neurons run different numbers of steps ({told}); in a program all of them run in every step, so call "
            "each once in every step of the sample"
        )
    assert found.input_features is not None
    num_steps = next(iter(steps.values()), 1)
    total = sample.numel() // math.prod(found.input_features)
    readers = [leaf for leaf in found.leaves.values() if leaf.input_rows]
    batches = {rows // num_steps for rows in (sum(leaf.rows) for leaf in neurons)}
    batch = batches.pop() if len(batches) == 1 else total
    timings = [Timing(_rows(leaf, num_steps, batch, total)) for leaf in readers]
    for leaf, timing in zip(readers, timings, strict=True):
        if not torch.equal(timing.rows, timings[0].rows):
            raise CompileError(
                f"{leaf.where}: reads other steps of the sample than {readers[0].where} does; a graph shows its input "
                "to all modules at once"
            )
    return timings[0]


def _steps(leaf: Leaf) -> int:
    if not is_sequence(leaf.module):
        return leaf.calls
    return sum(shape[0] for shape in leaf.shapes)


def _rows(leaf: Leaf, num_steps: int, batch: int, total: int) -> Tensor:
    """Return the rows that a module reads of the sample, ``[T, B]``."""
    read = leaf.input_rows
    if len(read) == 1 and len(read[0]) == num_steps * batch and num_steps > 1:  # all steps in one call
        read = list(read[0].reshape(num_steps, batch))
    if len(read) == 1:
        read = read * num_steps
    if len(read) != num_steps or any(len(rows) != batch for rows in read):
        raise CompileError(
            f"{leaf.where}: is called {len(leaf.input_rows)} times with {len(leaf.input_rows[0])} rows of the sample, "
            f"while the neurons run {num_steps} steps of {batch} samples; read one step in each call, or all in one"
        )
    rows = torch.stack(read)
    if (rows == rows[0]).all():
        if num_steps > 1 and not torch.equal(rows[0].sort().values, torch.arange(total)):
            raise CompileError(
                f"{leaf.where}: reads the same {batch} of the sample's {total} rows in every step; hand the network "
                "what it shows in every step, [B, ...], or let it read one step after the other"
            )
        if not torch.equal(rows[0], torch.arange(total)):
            raise CompileError(f"{leaf.where}: reads {batch} of the sample's {total} rows, or in another order")
        return rows
    apart = rows.diff(dim=0)
    order = bool((apart == apart[0, 0]).all()) and int(apart[0, 0]) > 0
    if not order or not torch.equal(rows.reshape(-1).sort().values, torch.arange(total)):
        raise CompileError(
            f"{leaf.where}: reads the sample's steps in another order, more than once or not all of them; a program is "
            "shown every step once and in order: change the sample instead, such as sample.flip(0) or sample[::2]"
        )
    return rows


def check_ends(found: Trace, timing: Timing, ends: list[str], notes: list[str]) -> None:
    """Check what a network returns: outputs of modules, or what keeps the order of their read-outs.

    Raises
    ------
    CompileError
        When it returns something else, as by the name of the operation that made it so.
    """
    followed = False
    parts = [entry.source.parts for _, entry in found.returned_tensors if entry and isinstance(entry.source, Source)]
    calls = collections.Counter((part[0].node, part[0].port) for part in parts if len(part) == 1)
    for number, (tensor, entry) in enumerate(found.returned_tensors, start=1):
        what = f"the network's output {number}" if len(found.returned_tensors) > 1 else "the network's output"
        if entry is None:
            if tensor.numel() > 1 and bool(tensor.any()):
                notes.append(f"{what} comes from no module and is not in the program.")
            continue
        kept = found.returned(entry.source) if isinstance(entry.source, Source | Kept) else None
        if kept is None:
            reason = entry.source.reason if isinstance(entry.source, Lost) else _sum(found, entry.source)
            if tensor.numel() == 1 and timing.batch * timing.num_steps > 1:
                notes.append(f"{what} is one number and is not in the program.")
                continue
            raise CompileError(f"{what} is not one of a module: {reason}. {_ALLOWED}")
        if kept.source.parts[0].node != INPUT:
            _check_kept(found, timing, what, kept)
            part = kept.source.parts[0]
            listed = calls[part.node, part.port] == found.leaves[part.node].calls  # every step as an output of its own
            _check_rows(found, what, kept, found.indices(entry, tensor), listed=listed)
            if kept.operations:
                told = ", ".join(kept.operations)
                notes.append(f"{what} is {_name(found, kept)} after {told}, which keeps the order of its values.")
        followed = followed or kept.source.parts[0].node in ends
    if found.returned_tensors and not followed:
        names = ", ".join(found.leaves[name].where for name in ends)
        raise CompileError(f"the network returns nothing of its last module, {names}. {_ALLOWED}")


_SUMMABLE = {"_log_softmax", "mul", "div", "add", "sub"}
_ALLOWED = (
    "A network may return outputs and states of modules, and of those softmax and log_softmax over the features, sums "
    "and means over time, and positive factors; do everything else with what the program returns"
)


def _sum(found: Trace, source: Source) -> str:
    parts = source.parts
    names = ", ".join(dict.fromkeys(found.names[part.node] for part in parts))
    if len({part.node for part in parts}) == 1:
        return f"it adds up some steps of {names}, not all of them"
    return f"it is the sum of {names}; let a module take the sum and end with it"


def _name(found: Trace, kept: Kept) -> str:
    return found.names[kept.source.parts[0].node]


def _check_kept(found: Trace, timing: Timing, what: str, kept: Kept) -> None:
    leaf = found.leaves[kept.source.parts[0].node]
    width = math.prod(leaf.features_out)
    elements = timing.batch * width
    for axis in kept.steps:
        whole = kept.source.parts[0].call is not None and axis.stride == kept.source.numel  # a sum over the loop
        if axis != Axis(axis.stride, timing.num_steps) or not (whole or axis.stride in (elements, 0)):
            raise CompileError(
                f"{what} adds up {axis.length} elements of {leaf.where} that are not its {timing.num_steps} steps "
                f"({', '.join(kept.operations)}). {_ALLOWED}"
            )
        if axis.stride == 0 and axis.length > 1:
            raise CompileError(f"{what} adds up elements of {leaf.where} that are not its steps. {_ALLOWED}")
    for axis in kept.classes:
        if (axis.length != leaf.features_out[-1] and axis.length != width) or axis.stride not in (0, 1):
            raise CompileError(
                f"{what} compares {axis.length} elements of {leaf.where} that are not its features "
                f"({', '.join(kept.operations)}). {_ALLOWED}"
            )
    is_sum = isinstance(leaf.module, (*LAYERS, *NORMS)) and timing.num_steps > 1
    if is_sum and not kept.steps and {*kept.operations} - _SUMMABLE:
        raise CompileError(
            f"{what} is {', '.join(kept.operations)} of {leaf.where} in each step, and a program's read-out is the sum "
            "over time; return the sum over time, or what is made of it"
        )
    if is_sum and {"max", "amax"} & {*kept.operations}:
        raise CompileError(
            f"{what} is the largest of {leaf.where} over time, and a program's read-out is the sum; return the sum "
            "over time, or end in a neuron without reset"
        )


def _check_rows(found: Trace, what: str, kept: Kept, ids: Tensor, *, listed: bool) -> None:
    """Refuse a part of the features, or features in another order."""
    leaf = found.leaves[kept.source.parts[0].node]
    width = math.prod(leaf.features_out)
    if "argmax" in kept.operations:
        return
    known = ids.reshape(-1).sort().values
    rows = known.reshape(-1, width) if known.numel() % width == 0 else known[:0].reshape(0, width)
    is_sum = isinstance(leaf.module, (*LAYERS, *NORMS)) and not kept.steps
    one_of_many = kept.source.parts[0].call is not None and leaf.calls > 1 and not listed
    if is_sum and (one_of_many or len(known) < kept.source.numel):
        raise CompileError(
            f"{what} is only some steps of {leaf.where}, and a program's read-out is the sum over all of them; return "
            "all steps, or end in a neuron without reset"
        )
    if len(rows) == 0 or not torch.equal(rows, rows[:, :1] + torch.arange(width)) or bool((rows[:, 0] % width).any()):
        raise CompileError(
            f"{what} is a part of the features of {leaf.where}; return all and choose in the program's recording"
        )
