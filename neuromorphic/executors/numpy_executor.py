"""The reference executor: what a program means. Slow and obvious."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.fixed_point import accumulate_step, dense, lif_step
from neuromorphic.ops import LIF, Dense, Input
from neuromorphic.program import Program
from neuromorphic.recording import Recording


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
        Spikes and state of every ``LIF``, the running sum of every ``Readout``.
    """
    started = time.perf_counter()
    num_steps, batch = inputs.shape[:2]
    state = {op.name: np.zeros((batch, op.size), dtype=np.int32) for op in program.ops if op.kind != "current"}
    variables: dict[str, NDArray[Any]] = {}
    for op in program.ops:
        if isinstance(op, LIF):
            variables[f"{op.name}.spikes"] = np.zeros((num_steps, batch, op.size), dtype=np.uint8)
            variables[f"{op.name}.v"] = np.zeros((num_steps, batch, op.size), dtype=np.int32)
        elif not isinstance(op, (Input, Dense)):
            variables[f"{op.name}.y"] = np.zeros((num_steps, batch, op.size), dtype=np.int32)

    for t in range(num_steps):
        values: dict[str, NDArray[np.int32]] = {}
        for op in program.ops:
            if isinstance(op, Input):
                values[op.name] = inputs[t]
            elif isinstance(op, Dense):
                values[op.name] = dense(op.weights, values[op.source], op.shift)
            else:
                current = np.stack([values[s] for s in op.sources]).sum(axis=0, dtype=np.int32)  # [B, N]
                if isinstance(op, LIF):
                    spikes, state[op.name] = lif_step(
                        state[op.name],
                        current,
                        decay=op.decay,
                        threshold=op.threshold,
                        bias=op.bias,
                        shift=op.shift,
                        reset=op.reset,
                    )
                    values[op.name] = spikes.astype(np.int32)
                    variables[f"{op.name}.spikes"][t] = spikes
                    variables[f"{op.name}.v"][t] = state[op.name]
                else:
                    state[op.name] = accumulate_step(state[op.name], current, bias=op.bias, shift=op.shift)
                    variables[f"{op.name}.y"][t] = state[op.name]
        if progress is not None:
            progress(t + 1, num_steps)
    return Recording(variables, "numpy", {"seconds": time.perf_counter() - started, "numpy": np.__version__})
