"""Load a program, run it on an executor, and verify an executor against the reference."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuromorphic.bounds import prove, proven_for
from neuromorphic.errors import ExecutorError, InputError
from neuromorphic.executors import EXECUTORS, get_executor
from neuromorphic.inputs import as_array
from neuromorphic.ops import GradedLIF
from neuromorphic.program import Program
from neuromorphic.recording import Comparison, Recording, compare


def load(path: str | os.PathLike[str]) -> Program:
    """Load a program from a ``.npz`` file; see :meth:`Program.load`."""
    return Program.load(path)


def run(
    program: Program,
    inputs: NDArray[Any],
    executor: str = "numpy",
    *,
    lengths: ArrayLike | None = None,
    **options: Any,
) -> Recording:
    """Run a program.

    Parameters
    ----------
    program : Program
        What to run. Its bounds are proven first.
    inputs : NDArray
        ``[T, B, N]`` or ``[B, N]``, integers or floats; see :meth:`Program.prepare_inputs`. ``T`` may be more than
        ``num_steps`` where the bounds are proven for ``T`` steps too: :func:`neuromorphic.bounds.most_steps`.
    executor : str
        One of :data:`neuromorphic.executors.NAMES`.
    lengths : ArrayLike, optional
        ``[B]``: steps that belong to each sample, in 1..T; ``None``: all. Inputs after them are not looked at (zeros
        stand in, so NaN may be there), and :meth:`Recording.labels` is read after a sample's last own step: the label
        is the one that the sample has alone, on every executor.
    **options
        Passed to the executor, for example ``progress=``, for Lava ``time_limit_s=``, for ``"native"``
        ``threads=``, for ``"torch"`` ``device=``, for ``"onnxruntime"`` and ``"openvino"`` both and ``products=``.

    Returns
    -------
    Recording
        Spikes and states ``[T, B, N]``, aligned to the program's steps.

    Raises
    ------
    InputError, BoundError, ExecutorError
        Inputs that do not fit or have more steps than the program is proven for, a program that could overflow, an
        executor that fails or lacks an operation of the program.

    Warns
    -----
    InputWarning
        Inputs of which more than 1 % are clipped, or integers for an input of real values that use little of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from neuromorphic import LIF, Dense, Input, Program
    >>> one = np.ones(1, dtype=np.int32)
    >>> fc = Dense("fc", "x", np.array([[1, 1]], dtype=np.int8))
    >>> lif = LIF("lif", ("fc",), decay=4096 * one, threshold=2 * one, bias=0 * one, shift=0)
    >>> spikes = run(Program((Input("x", 2), fc, lif), num_steps=4), np.ones((1, 2), dtype=np.int8))
    >>> spikes.variables["lif.spikes"][:, 0, 0].tolist()
    [0, 1, 0, 1]
    """
    execute = get_executor(executor)
    kinds = {type(op).__name__: op.name for op in program.ops}
    missing = [f"{kind} (of {kinds[kind]})" for kind in EXECUTORS[executor].lacks if kind in kinds]
    if missing:
        others = [name for name, entry in EXECUTORS.items() if not kinds.keys() & set(entry.lacks)]
        raise ExecutorError(f"executor {executor!r} lacks {', '.join(missing)}; run it on {', '.join(others)}")
    prove(program)
    return run_on(execute, program, inputs, lengths=lengths, **options)


def run_on(
    execute: Callable[..., Recording],
    program: Program,
    inputs: NDArray[Any],
    *,
    lengths: ArrayLike | None = None,
    **options: Any,
) -> Recording:
    """Prepare inputs and run a program, which is proven, on the ``execute`` of an executor; see :func:`run`."""
    own = None
    if lengths is not None:
        array = as_array(inputs)
        own = _own_steps(lengths, array.shape[0] if array.ndim == 3 else program.num_steps, array.shape[-2:-1])
        inputs = np.where(own[..., None], array, np.zeros((), dtype=array.dtype)) if array.ndim == 3 else array
    codes = program.prepare_inputs(inputs)
    recording = execute(proven_for(program, len(codes)), codes, **options)
    graded = {op.name: op.levels for op in program.of_type(GradedLIF)}
    if graded:
        recording = replace(recording, metadata={**recording.metadata, "graded": graded})
    if own is None:
        return recording
    return replace(recording, metadata={**recording.metadata, "lengths": own.sum(axis=0).tolist()})


def _own_steps(lengths: ArrayLike, num_steps: int, batch: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which steps belong to samples of these lengths, ``[T, B]``."""
    counts = np.asarray(lengths)
    if counts.dtype.kind not in "iu" or counts.shape != batch:
        raise InputError(
            f"lengths must be whole numbers {list(batch)}, one for each sample, got {counts.dtype} {list(counts.shape)}"
        )
    if counts.size and not (int(counts.min()) >= 1 and int(counts.max()) <= num_steps):
        raise InputError(
            f"lengths must be in 1..{num_steps}, the steps of the inputs, got {int(counts.min())}..{int(counts.max())}"
        )
    own: NDArray[np.bool_] = np.arange(num_steps)[:, None] < counts
    return own


def verify(
    program: Program, inputs: NDArray[Any], executor: str, *, lengths: ArrayLike | None = None, **options: Any
) -> tuple[Comparison, Recording, Recording]:
    """Run a program on the reference and on another executor and compare every spike and state.

    It takes and raises what :func:`run` does; ``options`` are those of the executor under check.

    Returns
    -------
    tuple[Comparison, Recording, Recording]
        Counts with the first divergence, the reference recording, the other's recording.
    """
    expected = run(program, inputs, lengths=lengths)
    got = run(program, inputs, executor, lengths=lengths, **options)
    return compare(expected, got), expected, got
