"""Build the Lava network of a program, run samples through it, cut and align what was recorded.

Time. The source plays all samples back to back: step ``t`` of sample ``k`` at Lava step ``k * T + t + 1``. Every
synapse takes one step, so an operation of depth ``d`` makes that step at ``k * T + t + 1 + d``. It clears its state
whenever ``step % T == (1 + d) % T``: exactly when the first events of a sample arrive, so every sample starts from
zero, biases cannot run ahead, and events of one sample never meet the state of another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from neuromorphic.program import LIF, Program, Readout

MAX_INPUT_VALUES = 1 << 24  # of one network: Lava holds the inputs several times over, as int32
NUM_REPORTS = 50

Progress = Callable[[int, int], None]


@dataclass
class Network:
    """A built network: where it starts, what it records, how many processes it has."""

    source: AbstractProcess
    num_steps: int
    num_processes: int = 1
    files: dict[str, Path] = field(default_factory=dict)


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
    depths = {op.name: program.depth(op.name) for op in program.ops}
    network = Network(source, num_steps=batch * num_steps + max(depths.values()))
    outputs = {program.input.name: source.s_out}
    placements = {placement.op: placement for placement in lava_mapping(program)}
    wanted = synapses(program)
    for op in program.ops:
        if not isinstance(op, (LIF, Readout)):
            continue
        first_step = 1 + depths[op.name]
        reader = _make_reader(op, placements[op.name].process, num_steps, first_step)
        incoming = [synapse for synapse in wanted if synapse.reader == op.name]
        for synapse in incoming:
            _connect_synapse(synapse, outputs[synapse.dense.source], reader)
        state = "v" if isinstance(op, LIF) else "y"
        variables = ("spikes", "v") if isinstance(op, LIF) else ("y",)
        stock = placements[op.name].stock
        files = {f"{op.name}.{name}": directory / f"{len(network.files) + i}.npy" for i, name in enumerate(variables)}
        recorder = Recorder(
            shape=(op.size,),
            first_step=first_step,
            num_steps=batch * num_steps,
            reads_state=stock,
            state_file=str(files[f"{op.name}.{state}"]),
            spikes_file=str(files[f"{op.name}.spikes"]) if isinstance(op, LIF) else None,
            name=f"{op.name}_recorder",
        )
        if stock:
            recorder.state_ref.connect_var(getattr(reader, state))
        else:
            reader.state_out.connect(recorder.state_in)
        if isinstance(op, LIF):
            outputs[op.name] = reader.s_out
            reader.s_out.connect(recorder.a_in)
        network.files.update(files)
        network.num_processes += len(incoming) + 2
    return network


def _play(network: Network, runtime: str, chunk: int, report: Callable[[int], None]) -> None:
    config = Loihi2SimCfg(select_tag="fixed_pt")
    if runtime == "in_process":
        run = LocalRuntime(network.source, config).run
    else:
        network.source.create_runtime(run_cfg=config)

        def run(num_steps: int) -> None:
            network.source.run(condition=RunSteps(num_steps=num_steps))

    done = 0
    while done < network.num_steps:
        steps = min(chunk, network.num_steps - done)
        run(steps)
        done += steps
        report(steps)
    if runtime != "in_process":
        network.source.stop()  # only after success: after a failure it hangs, and the worker is ended instead


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
        ``build_seconds`` and ``run_seconds``.
    """
    num_steps, batch, size = inputs.shape
    block = max(1, min(batch, MAX_INPUT_VALUES // (num_steps * size)))
    depth = max(program.depth(op.name) for op in program.ops)
    total = batch * num_steps + -(-batch // block) * depth
    facts: dict[str, Any] = {"steps": total, "processes": 0, "build_seconds": 0.0, "run_seconds": 0.0}
    parts: dict[str, list[NDArray[Any]]] = {}
    done = 0

    def report(steps: int) -> None:
        nonlocal done
        done += steps
        progress(done, total)

    records_something = bool(program.of_type(LIF) or program.of_type(Readout))
    for first in range(0, batch if records_something else 0, block):
        samples = np.asarray(inputs[:, first : first + block])
        started = time.perf_counter()
        network = build(program, samples, directory)
        built = time.perf_counter()
        _play(network, runtime, num_steps * max(1, samples.shape[1] // NUM_REPORTS), report)
        facts["build_seconds"] += built - started
        facts["run_seconds"] += time.perf_counter() - built
        facts["processes"] = network.num_processes
        for name, file in network.files.items():
            played = np.load(file, allow_pickle=False).reshape(samples.shape[1], num_steps, -1)  # [B, T, N]
            parts.setdefault(name, []).append(played.transpose(1, 0, 2))
            file.unlink()
    return {name: np.concatenate(arrays, axis=1) for name, arrays in parts.items()}, facts
