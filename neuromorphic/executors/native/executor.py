"""Run a program at the speed of the processor: see :mod:`neuromorphic.executors.native`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from neuromorphic.bounds import proven_for
from neuromorphic.executors.native.network import NativeNetwork
from neuromorphic.program import Program
from neuromorphic.recording import Recording


def execute(
    program: Program,
    inputs: NDArray[np.int32],
    *,
    threads: int = 1,
    record: Iterable[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run a program on packed weights.

    Parameters
    ----------
    program, inputs, progress
        As of :func:`neuromorphic.executors.reference.execute`.
    threads : int
        Threads that share the samples.
    record : iterable of str, optional
        Variables to record, ``"op.variable"``; by default all.

    Returns
    -------
    Recording
        Equal to the reference's, of the variables asked for. ``seconds`` in its metadata is the run alone; packing the
        weights and, in the first run of a process, loading or compiling the code are ``seconds_to_prepare``.

    Raises
    ------
    InputError
        Inputs of more steps than the program is proven for.
    """
    started = time.perf_counter()
    program = proven_for(program, len(inputs))
    network = NativeNetwork(program, batch=inputs.shape[1], threads=threads)
    inputs = np.ascontiguousarray(inputs, dtype=np.int32)
    prepared = time.perf_counter()
    variables = network.record(inputs, record, progress)
    seconds = {"seconds": time.perf_counter() - prepared, "seconds_to_prepare": prepared - started}
    return Recording(variables, "native", {**seconds, "numba": version("numba"), "numpy": np.__version__})
