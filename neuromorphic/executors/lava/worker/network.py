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
from lava.proc.conv.process import Conv as LavaConv
from lava.proc.dense.process import DelayDense
from lava.proc.dense.process import Dense as LavaDense
from lava.proc.io.source import RingBuffer
from lava.proc.lif.process import LIFReset
from lava.utils.weightutils import SignMode
from numpy.typing import NDArray

from neuromorphic.executors.lava.grouping import Group, Processes, groups_of
from neuromorphic.executors.lava.mapping import Layout, Link, Synapse, stock_lif_arguments, synapse_arguments
from neuromorphic.executors.lava.worker.groups import ProgramGroup
from neuromorphic.executors.lava.worker.local_runtime import LocalRuntime
from neuromorphic.executors.lava.worker.processes import ProgramDelay, ProgramOperation
from neuromorphic.executors.lava.worker.recorder import Recorder
from neuromorphic.ops import Conv, Operation
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


class _Builder:
    """Makes the processes of a program and connects them.

    Processes first, connections after: a loop has no first one.
    """

    def __init__(self, program: Program, source: AbstractProcess, num_steps: int) -> None:
        self.program, self.num_steps = program, num_steps
        self.layout = Layout(program)
        self.processes: dict[str, AbstractProcess] = {}
        self.count = 1
        self._outputs: dict[str, Any] = {program.input.name: source.s_out}
        self._delays: dict[Link, Any] = {}
        for op in program.ops:
            if self.layout.placements[op.name].process in ("LIFReset", "ProgramOperation"):
                self._make(op)
        for synapse in self.layout.synapses():
            self._connect_synapse(synapse)
        for name in self.processes:
            for k, source_name in enumerate(program[name].sources):
                if not self.layout.is_stock_synapse(source_name):
                    self._output(self.layout.link(source_name, name)).connect(self._input(name, k))

    def clock(self, name: str) -> dict[str, int]:
        """Return when the samples of an operation begin: the step in which its first events arrive."""
        return {"reset_interval": self.num_steps, "reset_offset": 1 + self.layout.depth[name]}

    def _make(self, op: Operation) -> None:
        process: Any
        if self.layout.placements[op.name].stock:
            arguments = stock_lif_arguments(op)
            process = LIFReset(shape=(op.size,), **arguments, **self.clock(op.name), name=op.name)
            self._outputs[op.name] = process.s_out
        else:
            process = ProgramOperation(op, **self.clock(op.name))
            self._outputs[op.name] = process.out
        self.processes[op.name] = process
        self.count += 1

    def _input(self, name: str, k: int) -> Any:
        """Return the port at which an operation hears its source number ``k``; a stock one sums all in one port."""
        process: Any = self.processes[name]
        return process.a_in if self.layout.placements[name].stock else getattr(process, f"in_{k}")

    def _connect_synapse(self, synapse: Synapse) -> None:
        output, arguments = self._output(synapse.input), synapse_arguments(synapse)
        reader = self._input(synapse.reader, synapse.position)
        self.count += 1
        if isinstance(synapse.op, Conv):
            conv = LavaConv(**arguments, name=synapse.op.name)
            output.reshape(synapse.op.input_shape).transpose((2, 1, 0)).connect(conv.s_in)
            conv.a_out.transpose((2, 1, 0)).flatten().connect(reader)
            return
        process = {"Dense": LavaDense, "DelayDense": DelayDense}[synapse.process]
        connection = process(sign_mode=SignMode.MIXED, **arguments, name=synapse.op.name)
        output.connect(connection.s_in)
        connection.a_out.connect(reader)

    def _output(self, link: Link) -> Any:
        """Return the port where what a link carries comes out, a delay in between if it needs one."""
        if link.wait == 0 and link.back == 0:
            return self._outputs[link.source]
        if link not in self._delays:
            size = self.program[link.source].size
            delay = ProgramDelay(size=size, steps=link.wait, back=link.back, **self.clock(link.source))
            self.count += 1
            self._outputs[link.source].connect(delay.in_0)
            self._delays[link] = delay.out
        return self._delays[link]

    def record(self, op: Operation, files: list[str], num_steps: int) -> None:
        """Connect a recorder of all variables of an operation."""
        process: Any = self.processes[op.name]
        stock = self.layout.placements[op.name].stock
        received, read = (op.variables[:1], op.variables[1:]) if stock else (op.variables, ())
        recorder = Recorder(
            received=received,
            read=read,
            files=files,
            first_step=1 + self.layout.depth[op.name],
            num_steps=num_steps,
            name=f"{op.name}_recorder",
        )
        self.count += 1
        if stock:  # sends its spikes, not its membrane
            process.s_out.connect(recorder.a_in)
            recorder.state_ref.connect_var(process.v)
        else:
            process.record_out.connect(recorder.a_in)


def _source(inputs: NDArray[np.int32]) -> AbstractProcess:
    """Return what plays ``[T, B, N]``, sample after sample."""
    return RingBuffer(data=np.ascontiguousarray(inputs.transpose(2, 1, 0).reshape(inputs.shape[2], -1)))  # [N, B * T]


def build_groups(program: Program, inputs: NDArray[np.int32], directory: Path, processes: Processes) -> Network:
    """Build a network of processes that run several operations each, none of them late, and store what these do.

    What it takes and returns is as of :func:`build`.
    """
    num_steps, batch, _ = inputs.shape
    source = _source(inputs)
    sizes = {op.name: op.size for op in program.ops}
    outputs: dict[str, Any] = {program.input.name: source.s_out}
    made: list[tuple[Group, ProgramGroup]] = []
    files: dict[str, Path] = {}
    for group in groups_of(program, processes):
        names = [f"{op.name}.{variable.name}" for op in group.ops for variable in op.variables]
        own = {name: directory / f"{k}.npy" for k, name in enumerate(names, start=len(files))}
        clock = {"sample_steps": num_steps, "num_steps": batch * num_steps}
        process = ProgramGroup(group, sizes, files=[str(file) for file in own.values()], **clock)
        outputs |= {name: getattr(process, f"out_{k}") for k, name in enumerate(group.sent)}
        made.append((group, process))
        files |= own
    for group, process in made:
        for k, name in enumerate((*group.heard, *group.heard_late)):
            outputs[name].connect(getattr(process, f"in_{k}"))
    return Network(source, batch * num_steps, 1 + len(made), files)


def build(program: Program, inputs: NDArray[np.int32], directory: Path) -> Network:
    """Build the network that :class:`neuromorphic.executors.lava.mapping.Layout` describes, with its recorders.

    Parameters
    ----------
    program : Program
        Any program with at least one operation that has variables.
    inputs : NDArray[np.int32]
        ``[T, B, N]``.
    directory : Path
        Where the recorders write.

    Returns
    -------
    Network
        Ready to be compiled by Lava.
    """
    num_steps, batch, _ = inputs.shape
    source = _source(inputs)
    builder = _Builder(program, source, num_steps)
    files: dict[str, Path] = {}
    for op in program.ops:
        if op.variables:
            own = {f"{op.name}.{v.name}": directory / f"{len(files) + k}.npy" for k, v in enumerate(op.variables)}
            builder.record(op, [str(file) for file in own.values()], batch * num_steps)
            files |= own
    depth = max(builder.layout.depth.values())
    return Network(source, batch * num_steps + depth, builder.count, files)


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
    program: Program,
    inputs: NDArray[np.int32],
    runtime: str,
    directory: Path,
    progress: Progress,
    processes: Processes = "operation",
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
    processes
        What has a process of its own: ``"operation"``, ``"block"`` or ``"one"``, the whole program.

    Returns
    -------
    tuple[dict, dict]
        Variables as :class:`neuromorphic.recording.Recording` has them, ``[T, B, N]``; and ``steps``, ``processes``,
        ``build_seconds`` (Lava's compiler and starting its processes included) and ``run_seconds`` (the steps).
    """
    num_steps, batch, size = inputs.shape
    block = max(1, min(batch, MAX_INPUT_VALUES // (num_steps * size)))
    grouped = processes != "operation"
    depth = 0 if grouped else max(Layout(program).depth.values())
    total = batch * num_steps + -(-batch // block) * depth
    facts: dict[str, Any] = {"steps": total, "processes": 0, "build_seconds": 0.0, "run_seconds": 0.0}
    parts: dict[str, list[NDArray[Any]]] = {}
    done = 0

    records_something = any(op.variables for op in program.ops)
    for first in range(0, batch if records_something else 0, block):
        samples = np.asarray(inputs[:, first : first + block])
        started = time.perf_counter()
        network = (
            build_groups(program, samples, directory, processes) if grouped else build(program, samples, directory)
        )
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
