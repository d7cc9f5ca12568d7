"""Run an ONNX model of a program, whichever runtime computes it: step by step, or all steps in one call."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from neuromorphic.bounds import proven_for
from neuromorphic.errors import ExecutorError
from neuromorphic.executors.onnx.model import PREFIX, to_onnx
from neuromorphic.executors.onnx.products import Products
from neuromorphic.program import Program
from neuromorphic.recording import Recording

Runner = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""What computes a step: tensors in by name, tensors out by name."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Runtime:
    """What runs models.

    Parameters
    ----------
    name : str
        The executor's name.
    compiled : callable
        Turns a model, and the shapes of what it will be given, into what runs it, and says where that runs.
    facts : mapping
        What goes into a recording's metadata.
    """

    name: str
    compiled: Callable[[onnx.ModelProto, Mapping[str, tuple[int, ...]]], tuple[Runner, list[str]]]
    facts: Mapping[str, Any]


def facts_of(model: onnx.ModelProto) -> dict[str, Any]:
    """Return what a model says of itself; see :func:`neuromorphic.executors.onnx.model.to_onnx`."""
    texts = {item.key.removeprefix(PREFIX): item.value for item in model.metadata_props if item.key.startswith(PREFIX)}
    parsed = {key: json.loads(texts[key]) for key in ("num_steps", "input", "states", "variables")}
    return {**texts, **parsed}


def run_model(
    model: onnx.ModelProto, inputs: NDArray[np.int32], runtime: Runtime, *, progress: Progress | None = None
) -> Recording:
    """Run a model, a step or a scan, on inputs ``[T, B, N]`` and return the recording of its variables."""
    started = time.perf_counter()
    facts = facts_of(model)
    name, (num_steps, batch) = facts["input"]["name"], inputs.shape[:2]
    scan = facts["form"] == "scan"
    held = {s["input"]: np.zeros((batch, *s["shape"]), dtype=s["dtype"]) for s in facts["states"]}
    shapes = {name: inputs.shape if scan else inputs.shape[1:], **{key: zeros.shape for key, zeros in held.items()}}
    run, runs_on = runtime.compiled(model, shapes)
    prepared = time.perf_counter()
    if scan:
        given = run({name: inputs})
        kept = {variable: given[variable] for variable in facts["variables"]}
        if progress is not None:
            progress(num_steps, num_steps)
    else:
        kept = _stepped(model, facts, inputs, held, run, progress)
    seconds = {"seconds": time.perf_counter() - prepared, "seconds_to_prepare": prepared - started}
    told = {**seconds, "products": facts["products"], "runs_on": runs_on, **runtime.facts}
    return Recording(kept, runtime.name, told)


def _stepped(
    model: onnx.ModelProto,
    facts: Mapping[str, Any],
    inputs: NDArray[np.int32],
    held: dict[str, NDArray[Any]],
    run: Runner,
    progress: Progress | None,
) -> dict[str, NDArray[Any]]:
    name, (num_steps, batch) = facts["input"]["name"], inputs.shape[:2]
    types = {value.name: value.type.tensor_type for value in model.graph.output}
    kept = {
        variable: np.zeros(
            (num_steps, batch, types[variable].shape.dim[1].dim_value),
            dtype=onnx.helper.tensor_dtype_to_np_dtype(types[variable].elem_type),
        )
        for variable in facts["variables"]
    }
    for t in range(num_steps if kept else 0):
        given = run({name: np.ascontiguousarray(inputs[t]), **held})
        for variable, array in kept.items():
            if given[variable].shape != array.shape[1:]:
                raise ExecutorError(
                    f"{variable}: the model says that it gives {list(array.shape[1:])}, got "
                    f"{list(given[variable].shape)}; the file was altered"
                )
            array[t] = given[variable]
        held = {s["input"]: given[s["output"]] for s in facts["states"]}
        if progress is not None:
            progress(t + 1, num_steps)
    return kept


def execute_steps(
    program: Program,
    inputs: NDArray[np.int32],
    products: Products,
    runtime: Runtime,
    *,
    record: Iterable[str] | None,
    progress: Progress | None,
) -> Recording:
    """Return the recording of a program, run as the model of a step: equal to the reference's.

    Parameters
    ----------
    program : Program
        What to run.
    inputs : NDArray[np.int32]
        ``[T, B, N]``, as :meth:`Program.prepare_inputs` returns them.
    products : str
        ``"int8"`` or ``"float32"``: both exact; see :func:`neuromorphic.executors.onnx.model.to_onnx`.
    runtime : Runtime
        Where to run it: a device, and how many threads.
    record : iterable of str or None
        Variables to keep, ``"op.variable"``; ``None`` is all.
    progress : callable or None
        Called with (steps done, steps in all).

    Raises
    ------
    InputError
        Inputs of more steps than the program is proven for.
    ExecutorError
        For a device that is not here or cannot run the program, or a variable that the program does not have.
    """
    started = time.perf_counter()
    names = program.variables_to_record(record, runtime.name)
    model = to_onnx(proven_for(program, len(inputs)), products=products, record=names)
    built = time.perf_counter() - started
    recording = run_model(model, inputs, runtime, progress=progress)
    took = {"seconds_to_prepare": recording.metadata["seconds_to_prepare"] + built}
    return Recording(recording.variables, recording.executor, {**recording.metadata, **took})
