"""The reference executor: what a program means. Slow and obvious."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.bounds import proven_for
from neuromorphic.executors.entry import Entry
from neuromorphic.executors.stepping import Stepper
from neuromorphic.integers.numbers import NumPy
from neuromorphic.ops import Input
from neuromorphic.ops.base import first_states
from neuromorphic.program import Program
from neuromorphic.recording import Recording

ENTRIES = (Entry(name="numpy", purpose="the definition", module="neuromorphic.executors.reference"),)


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
    states = {op.name: first_states(op, batch) for op in program.ops if not isinstance(op, Input)}
    stepper = Stepper(program, NumPy(), states)
    variables: dict[str, NDArray[Any]] = {
        f"{op.name}.{v.name}": np.zeros((num_steps, batch, v.size), dtype=v.dtype)
        for op in program.ops
        for v in op.variables
    }
    for t in range(num_steps):
        stepper.step(inputs[t].astype(np.int64))
        for name in states:
            for variable in program[name].variables:
                variables[f"{name}.{variable.name}"][t] = getattr(states[name], variable.name)
        if progress is not None:
            progress(t + 1, num_steps)
    return Recording(variables, "numpy", {"seconds": time.perf_counter() - started, "numpy": np.__version__})
