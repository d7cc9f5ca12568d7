"""Build the Lava network of a program, run samples through it, cut and align what was recorded.

Time. The source plays all samples back to back: step ``t`` of sample ``k`` at Lava step ``k * T + t + 1``. Every
synapse takes one step, so an operation of depth ``d`` makes that step at ``k * T + t + 1 + d``. It clears its state
whenever ``step % T == (1 + d) % T``: exactly when the first events of a sample arrive, so every sample starts from
zero, biases cannot run ahead, and events of one sample never meet the state of another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import DelayDense
from lava.proc.dense.process import Dense as LavaDense
from lava.proc.io.source import RingBuffer
from lava.proc.lif.process import LIFReset
from lava.utils.weightutils import SignMode
from numpy.typing import NDArray

from neuromorphic.lava_backend.local_runtime import LocalRuntime
from neuromorphic.lava_backend.processes import ProgramLIF, ProgramReadout, Recorder
from neuromorphic.lava_mapping import Synapse, lava_mapping, stock_lif_arguments, synapse_arguments, synapses
from neuromorphic.ops import LIF, Readout
from neuromorphic.program import Program

MAX_INPUT_VALUES = 1 << 24  # of one network: Lava holds the inputs several times over, as int32
NUM_REPORTS = 50

Progress = Callable[[int, int], None]


class Network(NamedTuple):
    """A built network: its source, how many steps play everything, how many processes, a file for each variable."""

    source: AbstractProcess
    num_steps: int
    num_processes: int
    files: dict[str, Path]


def _connect_synapse(synapse: Synapse, source: Any, reader: AbstractProcess) -> None:
    process = {"Dense": LavaDense, "DelayDense": DelayDense}[synapse.process]
    connection = process(sign_mode=SignMode.MIXED, **synapse_arguments(synapse), name=synapse.dense.name)
    source.connect(connection.s_in)
    connection.a_out.connect(reader.a_in)


def _make_reader(op: LIF | Readout, process: str, reset_interval: int, reset_offset: int) -> AbstractProcess:
    shared: dict[str, Any] = {"reset_interval": reset_interval, "reset_offset": reset_offset, "name": op.name}
    if isinstance(op, Readout):
        return ProgramReadout(bias=op.bias, shift=op.shift, **shared)
    if process == "LIFReset":
        return LIFReset(shape=(op.size,), **stock_lif_arguments(op), **shared)
    shared |= {"decay": op.decay, "threshold": op.threshold, "reset": op.reset}
    return ProgramLIF(bias=op.bias, shift=op.shift, **shared)


def _record(op: LIF | Readout, reader: AbstractProcess, stock: bool, files: list[Path], span: dict[str, int]) -> None:
    """Connect a recorder: to the port of an own process, to the variable of a stock one, which has no such port."""
    spikes_file = str(files[0]) if isinstance(op, LIF) else None
    recorder = Recorder(
        shape=(op.size,),
        reads_state=stock,
        state_file=str(files[-1]),
        spikes_file=spikes_file,
        name=f"{op.name}_recorder",
        **span,
    )
    if isinstance(op, LIF):
        reader.s_out.connect(recorder.a_in)
    if stock:
        recorder.state_ref.connect_var(reader.v)
    else:
        reader.state_out.connect(recorder.state_in)


def build(program: Program, inputs: NDArray[np.int32], directory: Path) -> Network:
    """Build the network that :func:`neuromorphic.lava_mapping.lava_mapping` describes, with its recorders.

    Parameters
    ----------
    program : Program
        Any program with at least one ``LIF`` or ``Readout``.
    inputs : NDArray[np.int32]
        ``[T, B, N]``.
    directory : Path
        Where the recorders write.

    Returns
    -------
    Network
        Ready to be compiled by Lava.
    """
    num_steps, batch, size = inputs.shape
    played = np.ascontiguousarray(inputs.transpose(2, 1, 0).reshape(size, batch * num_steps))  # [N, B * T]
    source = RingBuffer(data=played)
    outputs = {program.input.name: source.s_out}
    placements = {placement.op: placement for placement in lava_mapping(program)}
    wanted = synapses(program)
    files: dict[str, Path] = {}
    readers = [op for op in program.ops if isinstance(op, (LIF, Readout))]
    for op in readers:
        first_step = 1 + program.depth(op.name)
        reader = _make_reader(op, placements[op.name].process, num_steps, first_step)
        for synapse in wanted:
            if synapse.reader == op.name:
                _connect_synapse(synapse, outputs[synapse.dense.source], reader)
        if isinstance(op, LIF):
            outputs[op.name] = reader.s_out
        variables = [f"{op.name}.{name}" for name in (("spikes", "v") if isinstance(op, LIF) else ("y",))]
        files |= {name: directory / f"{len(files) + i}.npy" for i, name in enumerate(variables)}
        span = {"first_step": first_step, "num_steps": batch * num_steps}
        _record(op, reader, placements[op.name].stock, [files[name] for name in variables], span)
    depth = max(program.depth(op.name) for op in program.ops)
    return Network(source, batch * num_steps + depth, 1 + len(wanted) + 2 * len(readers), files)


def _start(network: Network, runtime: str) -> tuple[Callable[[int], None], Callable[[], None]]:
    """Compile and start a network; return what runs a number of steps, and what stops it.

    Stop only after success: after a failure Lava's stop hangs, and the worker is ended instead.
    """
    config = Loihi2SimCfg(select_tag="fixed_pt")
    if runtime == "in_process":
        return LocalRuntime(network.source, config).run, lambda: None
    network.source.create_runtime(run_cfg=config)
    return lambda steps: network.source.run(condition=RunSteps(num_steps=steps)), network.source.stop


def run_program(
    program: Program, inputs: NDArray[np.int32], runtime: str, directory: Path, progress: Progress
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Run every sample through the program's Lava network.

    Parameters
    ----------
    program : Program
        What to run.
    inputs : NDArray[np.int32]
        ``[T, B, N]``, within the program's input range.
    runtime : str
        ``"processes"`` (Lava's own runtime, an operating-system process each) or ``"in_process"``.
    directory : Path
        An existing folder for the recorders' files.
    progress : callable
        Called with (Lava steps done, Lava steps in all).

    Returns
    -------
    tuple[dict, dict]
        Variables as :class:`neuromorphic.recording.Recording` has them, ``[T, B, N]``; and ``steps``, ``processes``,
        ``build_seconds`` (Lava's compiler and starting its processes included) and ``run_seconds`` (the steps).
    """
    num_steps, batch, size = inputs.shape
    block = max(1, min(batch, MAX_INPUT_VALUES // (num_steps * size)))
    depth = max(program.depth(op.name) for op in program.ops)
    total = batch * num_steps + -(-batch // block) * depth
    facts: dict[str, Any] = {"steps": total, "processes": 0, "build_seconds": 0.0, "run_seconds": 0.0}
    parts: dict[str, list[NDArray[Any]]] = {}
    done = 0

    records_something = bool(program.of_type(LIF) or program.of_type(Readout))
    for first in range(0, batch if records_something else 0, block):
        samples = np.asarray(inputs[:, first : first + block])
        started = time.perf_counter()
        network = build(program, samples, directory)
        run, stop = _start(network, runtime)
        running = time.perf_counter()
        chunk = num_steps * max(1, samples.shape[1] // NUM_REPORTS)
        for first_step in range(0, network.num_steps, chunk):
            steps = min(chunk, network.num_steps - first_step)
            run(steps)
            done += steps
            progress(done, total)
        facts["build_seconds"] += running - started
        facts["run_seconds"] += time.perf_counter() - running
        facts["processes"] = network.num_processes
        stop()
        for name, file in network.files.items():
            played = np.load(file, allow_pickle=False).reshape(samples.shape[1], num_steps, -1)  # [B, T, N]
            parts.setdefault(name, []).append(played.transpose(1, 0, 2))
            file.unlink()
    return {name: np.concatenate(arrays, axis=1) for name, arrays in parts.items()}, facts
