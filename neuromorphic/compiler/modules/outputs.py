"""What a network returns: outputs and states of modules, and what leaves the order of read-outs as it is."""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neuromorphic.compiler.modules.neurons import LAYERS, NORMS
from neuromorphic.compiler.modules.sources import INPUT, Axis, Lost, Part, Returnable, Source, rows_of
from neuromorphic.compiler.modules.timing import Timing
from neuromorphic.compiler.modules.trace import Leaf, Trace
from neuromorphic.compiler.notes import Notes
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.errors import CompileError
from neuromorphic.wording import counted

_SUMMABLE = {"_log_softmax", "mul", "div", "add", "sub"}
_ALLOWED = (
    "A network may return outputs and states of modules, and of those softmax and log_softmax over the features, sums "
    "and means over time, and positive factors; do everything else with what the program returns"
)


@dataclass(frozen=True, eq=False)
class NetworkOutput:
    """One returned tensor: the output or state of a module from which it stems, and where its elements lie in that."""

    number: int  # among the returned tensors
    origin: Returnable
    ids: Tensor  # of each element: where it lies in what the module gave

    @property
    def part(self) -> Part:
        """The output or state of a module from which it stems."""
        return self.origin.source.parts[0]

    @property
    def node(self) -> str:
        """Name of the module."""
        return self.part.node

    @property
    def is_state(self) -> bool:
        """Whether it is a state of the module, not its output."""
        return self.part.port > 0

    def is_like(self, other: NetworkOutput) -> bool:
        """Return whether both are the same, or steps of the same output that are returned one by one."""
        step = self.part.call is not None and not (self.origin.operations or other.origin.operations)
        return self is other or (step and (self.node, self.is_state) == (other.node, other.is_state))

    def scores(self, returned: Tensor, batch: int, width: int) -> Float64 | None:
        """Return the value of each class, ``[B, N]``, added up over time as users do; ``None`` where there is none."""
        axis = _class_axis(self.ids, width)
        if axis is None or returned.shape != self.ids.shape or not returned.is_floating_point():
            return None
        rows = (self.ids.select(axis, 0) // width).reshape(-1)
        values = returned.detach().movedim(axis, -1).reshape(-1, width).to(torch.float64)[rows.argsort()]
        return None if len(rows) % batch else values.reshape(-1, batch, width).sum(dim=0).cpu().numpy()

    def select(self, values: Float64) -> Float64:
        """Return of a program's values ``[T, B, N]`` what the network returns of its own."""
        batch, width = values.shape[1:]
        if {"max", "amax"} & {*self.origin.operations}:
            return np.asarray(values.max(axis=0))
        if self.origin.steps:
            return np.asarray(values.sum(axis=0))
        call = self.part.call
        steps = torch.unique(self.ids // (batch * width)).numpy()
        return np.asarray(values[steps + (0 if call is None else call - 1)].sum(axis=0))


def check_returned(found: Trace, notes: Notes) -> list[NetworkOutput]:
    """Return the tensors that stem from modules, in the order in which the network returns them; refuse all others."""
    outputs = []
    for number, (tensor, entry) in enumerate(found.returned_tensors, start=1):
        what = _output_name(found, number)
        if entry is None:
            if number == 1 and tensor.numel() > 1 and tensor.is_floating_point():
                raise CompileError(f"{what} has no known origin: it comes from no module. {_ALLOWED}")
            if tensor.numel() > 1 and bool(tensor.any()):
                notes.warn(f"{what} comes from no module and is not in the program.")
            continue
        origin = found.returned(entry.source) if isinstance(entry.source, Source | Returnable) else None
        if origin is not None:
            if origin.source.parts[0].node != INPUT:
                outputs.append(NetworkOutput(number, origin, entry.indices(tensor)))
            continue
        if tensor.numel() == 1 and len(found.returned_tensors) > 1:
            notes.append(f"{what} is one number and is not in the program.")
            continue
        reason = entry.source.reason if isinstance(entry.source, Lost) else _why_no_sum(found, entry.source)
        raise CompileError(f"{what} is not one of a module: {reason}. {_ALLOWED}")
    return outputs


def check_ends(found: Trace, timing: Timing, outputs: list[NetworkOutput], ends: list[str], notes: Notes) -> None:
    """Refuse features or steps that are left out, mixed or compared with others, and a network that returns no end."""
    calls = collections.Counter((output.node, output.is_state) for output in outputs if not output.origin.operations)
    for output in outputs:
        what = _output_name(found, output.number)
        leaf, operations = found.leaves[output.node], ", ".join(output.origin.operations)
        _check_operations(timing, what, leaf, output.origin)
        listed = calls[output.node, output.is_state] == leaf.calls  # every step is an output of its own
        _check_rows(what, leaf, output, listed=listed)
        if operations:
            notes.append(f"{what} is {leaf.where} after {operations}, which keeps the order of its values.")
    if found.returned_tensors and not any(output.node in ends for output in outputs):
        names = ", ".join(found.leaves[name].where for name in ends)
        raise CompileError(f"the network returns nothing of its last module, {names}. {_ALLOWED}")


def _output_name(found: Trace, number: int) -> str:
    return f"the network's output {number}" if len(found.returned_tensors) > 1 else "the network's output"


def _why_no_sum(found: Trace, source: Source) -> str:
    parts = source.parts
    names = ", ".join(dict.fromkeys(found.names[part.node] for part in parts))
    if len({part.node for part in parts}) == 1:
        return f"it adds up some steps of {names}, not all of them"
    return f"it is the sum of {names}; let a module take the sum and end with it"


def _ends_in_sum(leaf: Leaf, timing: Timing) -> bool:
    """Return whether a program ends this module in a sum over several steps."""
    return isinstance(leaf.module, (*LAYERS, *NORMS)) and timing.num_steps > 1


def _check_operations(timing: Timing, what: str, leaf: Leaf, origin: Returnable) -> None:
    """Refuse operations on other axes than time and features, and what a read-out cannot be."""
    width, ops = math.prod(leaf.features_out), ", ".join(origin.operations)
    elements = timing.batch * width
    for axis in origin.steps:
        whole = origin.source.parts[0].call is not None and axis.stride == origin.source.numel  # a sum over the loop
        if axis != Axis(axis.stride, timing.num_steps) or not (whole or axis.stride in (elements, 0)):
            raise CompileError(
                f"{what} adds up {counted(axis.length, 'element')} of {leaf.where} that are not its "
                f"{counted(timing.num_steps, 'step')} "
                f"({ops}). {_ALLOWED}"
            )
        if axis.stride == 0 and axis.length > 1:
            raise CompileError(f"{what} adds up elements of {leaf.where} that are not its steps. {_ALLOWED}")
    for axis in origin.classes:
        if (axis.length != leaf.features_out[-1] and axis.length != width) or axis.stride not in (0, 1):
            raise CompileError(
                f"{what} compares {axis.length} elements of {leaf.where} that are not its features ({ops}). {_ALLOWED}"
            )
    if _ends_in_sum(leaf, timing) and not origin.steps and {*origin.operations} - _SUMMABLE:
        raise CompileError(
            f"{what} is {ops} of {leaf.where} in each step, and a program's read-out is the sum over time; return the "
            "sum over time, or what is made of it"
        )
    if _ends_in_sum(leaf, timing) and {"max", "amax"} & {*origin.operations}:
        raise CompileError(
            f"{what} is the largest of {leaf.where} over time, and a program's read-out is the sum; return the sum "
            "over time, or end in a neuron without reset"
        )


def _check_rows(what: str, leaf: Leaf, output: NetworkOutput, *, listed: bool) -> None:
    """Refuse a part of the features or of the steps of a sum, and features that are mixed with samples."""
    width, origin = math.prod(leaf.features_out), output.origin
    if "argmax" in origin.operations:
        return
    ids = output.ids.reshape(-1).sort().values
    one_of_many = origin.source.parts[0].call is not None and leaf.calls > 1 and not listed
    is_sum = isinstance(leaf.module, (*LAYERS, *NORMS)) and not origin.steps
    if is_sum and (one_of_many or len(ids) < origin.source.numel):
        raise CompileError(
            f"{what} is only some steps of {leaf.where}, and a program's read-out is the sum over all of them; return "
            "all steps, or end in a neuron without reset"
        )
    if rows_of(ids, width) is None:
        raise CompileError(
            f"{what} is a part of the features of {leaf.where}; return all and choose in the program's recording"
        )
    if len(leaf.features_out) == 1 and _class_axis(output.ids, width) is None:
        raise CompileError(f"{what} mixes the features of {leaf.where} with its samples or steps. {_ALLOWED}")


def _class_axis(ids: Tensor, width: int) -> int | None:
    """Return the axis along which the features of one row lie, whole and in order."""
    for axis in reversed(range(ids.ndim)):
        first = ids.select(axis, 0)
        along = torch.arange(width).reshape([width if i == axis else 1 for i in range(ids.ndim)])
        if (
            ids.shape[axis] == width
            and torch.equal(ids, first.unsqueeze(axis) + along)
            and not bool((first % width).any())
        ):
            return axis
    return None
