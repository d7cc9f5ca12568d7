"""The reference executor: what a program means. Slow and obvious."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.bounds import proven_for
from neuromorphic.executors.entry import Entry
from neuromorphic.integers.numbers import NumPy
from neuromorphic.ops import Delay, Input
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
    xp = NumPy()
    ops = {op.name: op.placed(xp.constant) for op in program.ops if not isinstance(op, Input)}
    states = {name: first_states(program[name], batch) for name in ops}
    delays = [op for op in ops.values() if isinstance(op, Delay)]
    variables: dict[str, NDArray[Any]] = {
        f"{op.name}.{v.name}": np.zeros((num_steps, batch, v.size), dtype=v.dtype)
        for op in program.ops
        for v in op.variables
    }
    for t in range(num_steps):
        values: dict[str, Any] = {op.name: op.read(xp, states[op.name]) for op in delays}
        values[program.input.name] = inputs[t].astype(np.int64)
        for name, op in ops.items():
            if not isinstance(op, Delay):
                values[name] = op.step(xp, states[name], *(values[source] for source in op.sources))
        for op in delays:
            op.step(xp, states[op.name], values[op.source])
        for name in ops:
            for variable in program[name].variables:
                variables[f"{name}.{variable.name}"][t] = getattr(states[name], variable.name)
        if progress is not None:
            progress(t + 1, num_steps)
    return Recording(variables, "numpy", {"seconds": time.perf_counter() - started, "numpy": np.__version__})
