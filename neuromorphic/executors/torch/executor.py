"""Run a program on a torch device, all samples at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuromorphic.bounds import prove, proven_for
from neuromorphic.executors.torch.devices import find_device
from neuromorphic.executors.torch.steps import MAKERS, Placed
from neuromorphic.ops import Delay, Input
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
        Variables to keep, ``"op.variable"``; by default all. They stay on the device until the end.
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
    placed = Placed(program, prove(program), batch, place)
    delays = program.of_type(Delay)
    steps = {op.name: MAKERS[type(op)](placed, op) for op in program.ops if type(op) in MAKERS}
    states = {op.name: placed.initial(op) for op in program.ops}
    queues = {op.name: torch.zeros(op.steps, batch, op.size, dtype=torch.int64, device=place) for op in delays}
    shown = torch.from_numpy(inputs).to(place)  # int32: half of what int64 would take
    kept = {
        name: torch.zeros(num_steps, batch, v.size, dtype=DTYPES[v.dtype], device=place)
        for name, (_, v) in recorded.items()
    }
    for t in range(num_steps):
        values: dict[str, Tensor] = {op.name: queues[op.name][t % op.steps].clone() for op in delays}
        for op in program.ops:
            if isinstance(op, Input):
                values[op.name] = shown[t].to(torch.int64)
            elif op.name in steps:
                values[op.name] = steps[op.name](states[op.name], *(values[source] for source in op.sources))
        for op in delays:
            queues[op.name][t % op.steps] = values[op.source]
        for name, array in kept.items():
            op_name, variable = recorded[name]
            array[t] = states[op_name][variable.name]
        if progress is not None:
            progress(t + 1, num_steps)
    variables: dict[str, NDArray[Any]] = {name: array.cpu().numpy() for name, array in kept.items()}
    facts = {"seconds": time.perf_counter() - started, "device": str(place), "torch": torch.__version__}
    return Recording(variables, "torch", facts)
