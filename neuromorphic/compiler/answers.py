"""What a program answers to many samples: their labels and the spikes of its layers, from the faster executor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from neuromorphic.bounds import prove, proven_for
from neuromorphic.execution import run_on
from neuromorphic.executors import EXECUTORS, get_executor
from neuromorphic.ops import Readout
from neuromorphic.ops.base import Synapses
from neuromorphic.program import Program
from neuromorphic.recording import Recording

WORTH_PREPARING = 1 << 32
"""Synapses and states that all samples pass in all steps, from which on preparing the native executor is worth it.

The reference takes about a second for so many; native code takes seconds once, where none is stored for a processor.
"""
Answer = Callable[[NDArray[np.float32], NDArray[np.int64] | None], Recording]


def answers(
    program: Program, layers: Sequence[str], *, num_steps: int, samples: int, batch: int, threads: int
) -> Answer:
    """Return what runs a batch of inputs ``[T, B, N]``, of samples of these lengths, and records labels and spikes.

    The reference or the native executor, which are equal bit for bit: whichever is sooner done with so many samples.

    Parameters
    ----------
    program : Program
        Of which the bounds are proven here, once.
    layers : sequence of str
        Operations of which spikes are recorded.
    num_steps, samples : int
        What will be run in all.
    batch, threads : int
        Samples of a batch at most, and threads that may share them.
    """
    prove(program)
    program = proven_for(program, num_steps)
    lacks = EXECUTORS["native"].lacks
    known = all(type(op).__name__ not in lacks for op in program.ops)
    if known and EXECUTORS["native"].installed and _passed(program) * num_steps * samples >= WORTH_PREPARING:
        execute = _native(program, layers, min(batch, samples), threads)
    else:
        execute = get_executor("numpy")
    return lambda inputs, lengths: run_on(execute, program, inputs, lengths=lengths)


def _passed(program: Program) -> int:
    """Count the synapses and states of a program."""
    synapses: int = sum(op.size * op.weights[0].size for op in program.of_type(Synapses))
    states = sum(math.prod(state.shape) for op in program.ops for state in op.states().values())
    return synapses + states


def _native(
    program: Program, layers: Sequence[str], batch: int, threads: int
) -> Callable[[Program, NDArray[np.int32]], Recording]:
    """Return the ``execute`` of a native network that is kept for all batches."""
    from neuromorphic.executors.native import NativeNetwork

    network = NativeNetwork(program, batch=batch, threads=threads)
    wanted = [*(f"{layer}.spikes" for layer in layers), *(f"{op.name}.y" for op in program.of_type(Readout))]

    def execute(_: Program, codes: NDArray[np.int32]) -> Recording:
        count = codes.shape[1]
        network.reset()
        found = network.record(np.pad(codes, ((0, 0), (0, batch - count), (0, 0)), mode="edge"), wanted)
        return Recording({name: values[:, :count] for name, values in found.items()}, "native")

    return execute


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread.

    The sums of a network then come in one order: its program, and what is measured of the two, are the same on machines
    of any number of cores. And where others use the machine too, no thread waits for another within a product.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
