"""Run a program on a torch device, all samples at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuromorphic.bounds import flowing_range, prove_ranges, proven_for
from neuromorphic.executors.stepping import Stepper
from neuromorphic.executors.torch.devices import find_device
from neuromorphic.executors.torch.primitives import Torch
from neuromorphic.integers.symbols import trace
from neuromorphic.ops import Input
from neuromorphic.ops.base import Operation, State
from neuromorphic.program import Program
from neuromorphic.recording import Recording

DTYPES = {"uint8": torch.uint8, "int32": torch.int32}


@torch.no_grad()
def execute(
    program: Program,
    inputs: NDArray[np.int32],
    *,
    device: str = "cpu",
    record: Iterable[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run a program with torch.

    Parameters
    ----------
    program : Program
        What to run.
    inputs : NDArray[np.int32]
        ``[T, B, N]``, as :meth:`Program.prepare_inputs` returns them.
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"xpu"``, ...
    record : iterable of str, optional
        Variables to store, ``"op.variable"``; by default all. They stay on the device until the end.
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    Recording
        Equal to the reference's, of the variables asked for.

    Raises
    ------
    ExecutorError
        For a device that torch does not have here, or a variable that the program does not have.
    InputError
        Inputs of more steps than the program is proven for.
    """
    place = find_device(device)
    started = time.perf_counter()
    num_steps, batch = inputs.shape[:2]
    program = proven_for(program, num_steps)
    recorded = program.variables_to_record(record, "torch")
    xp = Torch(place, batch, _matrices(program))
    states = {op.name: _first_states(xp, op, batch) for op in program.ops if not isinstance(op, Input)}
    stepper = Stepper(program, xp, states)
    given = torch.from_numpy(inputs).to(place)  # int32: half of what int64 would take
    stored = {
        name: torch.zeros(num_steps, batch, v.size, dtype=DTYPES[v.dtype], device=place)
        for name, (_, v) in recorded.items()
    }
    for t in range(num_steps):
        stepper.step(given[t].to(torch.int64))
        for name, array in stored.items():
            op_name, variable = recorded[name]
            array[t] = getattr(states[op_name], variable.name)
        if progress is not None:
            progress(t + 1, num_steps)
    variables: dict[str, NDArray[Any]] = {name: array.cpu().numpy() for name, array in stored.items()}
    facts = {"seconds": time.perf_counter() - started, "device": str(place), "torch": torch.__version__}
    return Recording(variables, "torch", facts)


def _first_states(xp: Torch, op: Operation, batch: int) -> SimpleNamespace:
    """Return the states before the first step on the device; those that count steps as Python integers."""

    def first(state: State) -> Any:
        if state.counts_steps:
            return int(state.first)
        start = torch.tensor(state.first, dtype=torch.int64).to(xp.device)
        held = start.expand(batch, *state.shape).clone()
        if len(state.shape) == 2 and any(other.counts_steps for other in op.states().values()):
            held = held.transpose(0, 1).contiguous().transpose(0, 1)  # a row of all samples is one piece of memory
        return held

    return SimpleNamespace(**{name: first(state) for name, state in op.states().items()})


def _matrices(program: Program) -> dict[int, tuple[NDArray[Any], int]]:
    """Return the weights that operations multiply by and use in no other way, with the proven peak of what they meet.

    They are found by their identity in the graph of a step: whichever operation they belong to.
    """
    bounds = prove_ranges(program)
    found: dict[int, tuple[NDArray[Any], int]] = {}
    others: set[int] = set()

    for name, bound in bounds.items():
        op = program[name]
        inputs = [flowing_range(program, source, bounds) for source in op.sources]
        for symbol in trace(op, inputs, bound.states).symbols():
            arrays = [arg.facts["array"] for arg in symbol.args if arg.kind == "constant"]
            if symbol.kind in ("product", "convolve"):
                _, before = found.get(id(arrays[0]), (None, 0))
                found[id(arrays[0])] = (arrays[0], max(before, symbol.args[1].peak))
            elif symbol.kind != "row":
                others |= {id(array) for array in arrays}
    return {key: entry for key, entry in found.items() if key not in others}
