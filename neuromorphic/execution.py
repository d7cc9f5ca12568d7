"""Run a program on an executor, and verify an executor against the reference."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from neuromorphic.bounds import prove, proven_for
from neuromorphic.executors import get_executor
from neuromorphic.program import Program
from neuromorphic.recording import Comparison, Recording, compare


def run(program: Program, inputs: NDArray[Any], executor: str = "numpy", **options: Any) -> Recording:
    """Run a program.

    Parameters
    ----------
    program : Program
        What to run. Its bounds are proven first.
    inputs : NDArray
        ``[T, B, N]`` or ``[B, N]``, integers or floats; see :meth:`Program.prepare_inputs`. ``T`` may be more than
        ``num_steps`` where the bounds are proven for ``T`` steps too: :func:`neuromorphic.bounds.most_steps`.
    executor : str
        One of :data:`neuromorphic.executors.NAMES`: ``"numpy"``, ``"lava"``, ``"native"``, ``"torch"``,
        ``"onnxruntime"``, ``"openvino"``.
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
        executor that fails.

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
    prove(program)
    codes = program.prepare_inputs(inputs)
    return execute(proven_for(program, len(codes)), codes, **options)


def verify(
    program: Program, inputs: NDArray[Any], executor: str, **options: Any
) -> tuple[Comparison, Recording, Recording]:
    """Run a program on the reference and on another executor and compare every spike and state.

    Parameters
    ----------
    program : Program
        What to run.
    inputs : NDArray
        ``[T, B, N]`` or ``[B, N]``.
    executor : str
        The executor to check.
    **options
        Passed to the executor under check.

    Returns
    -------
    tuple[Comparison, Recording, Recording]
        Counts with the first divergence, the reference recording, the other's recording.
    """
    expected = run(program, inputs)
    got = run(program, inputs, executor, **options)
    return compare(expected, got), expected, got
