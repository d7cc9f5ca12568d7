"""Run a program's ONNX step for as many steps as there are, whichever runtime computes it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from neuromorphic.onnx_backend.model import INPUT, PREFIX, checked_record, for_steps, to_onnx
from neuromorphic.onnx_backend.products import Products
from neuromorphic.program import Program
from neuromorphic.recording import Recording

Runner = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""What computes a step: tensors in by name, tensors out by name."""


def execute_steps(
    program: Program,
    inputs: NDArray[np.int32],
    who: str,
    products: Products,
    compiled: Callable[[onnx.ModelProto], Runner],
    *,
    facts: Mapping[str, Any],
    record: Iterable[str] | None,
    progress: Callable[[int, int], None] | None,
) -> Recording:
    """Return the recording of a program that a runtime has compiled.

    Parameters
    ----------
    program : Program
        What to run.
    inputs : NDArray[np.int32]
        ``[T, B, N]``.
    who : str
        The executor's name.
    products : str
        See :func:`neuromorphic.onnx_backend.model.to_onnx`.
    compiled : callable
        Turns the model into what runs a step.
    record : iterable of str or None
        Variables to keep; ``None`` is all.
    progress : callable or None
        Called with (steps done, steps in all).
    facts : mapping
        What else goes into the recording's metadata.
    """
    num_steps, batch = inputs.shape[:2]
    names = checked_record(program, record, who)
    started = time.perf_counter()
    model = to_onnx(for_steps(program, num_steps), products=products, record=names)
    states = json.loads(next(item.value for item in model.metadata_props if item.key == f"{PREFIX}states"))
    run = compiled(model)
    prepared = time.perf_counter()
    kinds = {f"{op.name}.{v.name}": v for op in program.ops for v in op.variables}
    kept = {name: np.zeros((num_steps, batch, kinds[name].size), dtype=kinds[name].dtype) for name in names}
    held = {state["input"]: np.zeros((batch, *state["shape"]), dtype=state["dtype"]) for state in states}
    for t in range(num_steps if names else 0):
        given = run({INPUT: np.ascontiguousarray(inputs[t], dtype=np.int32), **held})
        for name, array in kept.items():
            array[t] = given[name]
        held = {state["input"]: given[state["output"]] for state in states}
        if progress is not None:
            progress(t + 1, num_steps)
    seconds = {"seconds": time.perf_counter() - prepared, "seconds_to_prepare": prepared - started}
    return Recording(kept, who, {**seconds, "products": products, **facts})
