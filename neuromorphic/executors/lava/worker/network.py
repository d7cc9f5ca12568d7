"""Build the Lava network of a program, run samples through it, cut and align what was recorded.

Time. The source plays all samples back to back: step ``t`` of sample ``k`` at Lava step ``k * T + t + 1``. Every
synapse takes one step, so an operation of depth ``d`` makes that step at ``k * T + t + 1 + d``. It clears its state
whenever ``step % T == (1 + d) % T``: exactly when the first events of a sample arrive, so every sample starts from
zero, biases cannot run ahead, and events of one sample never meet the state of another.
"""

from __future__ import annotations

import time
from collections import Counter
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

from neuromorphic.executors.lava.mapping import Layout, Link, Synapse, stock_lif_arguments, synapse_arguments
from neuromorphic.executors.lava.worker.local_runtime import LocalRuntime
from neuromorphic.executors.lava.worker.pathway_processes import (
    ProgramDelay,
    ProgramDense,
    ProgramFastWeights,
    ProgramGate,
    ProgramGatedState,
    ProgramLI,
    ProgramMultiply,
    ProgramResonator,
    ProgramScale,
    ProgramSlots,
    ProgramTorus,
)
from neuromorphic.executors.lava.worker.processes import ProgramHomeostaticLIF, ProgramLIF, ProgramReadout
from neuromorphic.executors.lava.worker.recorder import Recorder
from neuromorphic.ops import (
    LI,
    LIF,
    Delay,
    Dense,
    FastWeights,
    Gate,
    GatedState,
    HomeostaticLIF,
    Input,
    Multiply,
    Operation,
    Readout,
    Resonator,
    Scale,
    Slots,
    Torus,
)
from neuromorphic.program import Program

MAX_INPUT_VALUES = 1 << 24  # of one network: Lava holds the inputs several times over, as int32
NUM_REPORTS = 50

Progress = Callable[[int, int], None]


class Part(NamedTuple):
    """Where a variable lies: a file, and which of its columns."""

    file: Path
    columns: slice


class Network(NamedTuple):
    """A built network: its source, how many steps play everything, how many processes, a file for each variable."""

    source: AbstractProcess
    num_steps: int
    num_processes: int
    files: dict[str, Part]


def _make_process(op: Operation, layout: Layout, clock: dict[str, int]) -> AbstractProcess:
    """Make the process of an operation that is no stock synapse."""
    shared: dict[str, Any] = {**clock, "name": op.name}
    if isinstance(op, LIF):
        if layout.placements[op.name].stock:
            return LIFReset(shape=(op.size,), **stock_lif_arguments(op), **shared)
        shared |= {"decay": op.decay, "threshold": op.threshold, "reset": op.reset}
        if isinstance(op, HomeostaticLIF):
            shared |= {"control": op.control, "period": op.period, "options": op.options}
            return ProgramHomeostaticLIF(bias=op.bias, shift=op.shift, **shared)
        return ProgramLIF(bias=op.bias, shift=op.shift, **shared)
    if isinstance(op, Readout):
        return ProgramReadout(bias=op.bias, shift=op.shift, **shared)
    if isinstance(op, Dense):
        return ProgramDense(weights=op.weights, shift=op.shift, name=op.name)
    if isinstance(op, Scale):
        return ProgramScale(factor=op.factor, shift=op.shift, name=op.name)
    if isinstance(op, Gate):
        return ProgramGate(offset=op.offset, name=op.name)
    if isinstance(op, Multiply):
        return ProgramMultiply(shape=(op.size,), shift=op.shift, name=op.name)
    if isinstance(op, LI):
        return ProgramLI(decay=op.decay, bias=op.bias, shift=op.shift, **shared)
    if isinstance(op, GatedState):
        return ProgramGatedState(shape=(op.size,), **shared)
    if isinstance(op, Resonator):
        return ProgramResonator(cosine=op.cosine, sine=op.sine, **shared)
    if isinstance(op, Torus):
        return ProgramTorus(rows=op.rows, columns=op.columns, edges=op.edges, name=op.name)
    if isinstance(op, FastWeights):
        options = {name: getattr(op, name) for name in ("size", "decay", "rate_bits", "frac", "rule")}
        return ProgramFastWeights(**options, **shared)
    assert isinstance(op, Slots), op
    options = {name: getattr(op, name) for name in ("keys", "gain", "shift", "decay_bits", "rate_bits", "plastic")}
    fast = np.zeros(op.keys.shape, dtype=np.int32) if op.fast is None else op.fast
    return ProgramSlots(**options, fast=fast, **shared)


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
            if isinstance(op, (Input, Delay)) or self.layout.is_stock_dense(op.name):
                continue
            process = self.processes[op.name] = _make_process(op, self.layout, self.clock(op.name))
            self.count += 1
            if op.kind != "sum":
                self._outputs[op.name] = process.s_out if isinstance(op, LIF) else process.a_out
        for synapse in self.layout.synapses():
            self._connect_synapse(synapse)
        for op in program.ops:
            if op.name in self.processes:
                for name, times in Counter(op.sources).items():
                    if not self.layout.is_stock_dense(name):
                        self._connect(op, name, times)

    def clock(self, name: str) -> dict[str, int]:
        """Return when the samples of an operation begin: the step in which its first events arrive."""
        return {"reset_interval": self.num_steps, "reset_offset": 1 + self.layout.depth[name]}

    def _connect_synapse(self, synapse: Synapse) -> None:
        process = {"Dense": LavaDense, "DelayDense": DelayDense}[synapse.process]
        connection = process(sign_mode=SignMode.MIXED, **synapse_arguments(synapse), name=synapse.dense.name)
        self.count += 1
        waits = synapse.link.needs_process
        self._output(synapse.link if waits else Link(synapse.link.source, 0, 0)).connect(connection.s_in)
        reader: Any = self.processes[synapse.reader]
        connection.a_out.connect(reader.a_in)  # a gate comes from a Gate, never from synapses

    def _connect(self, op: Operation, source: str, times: int) -> None:
        """Connect a source with its reader, which hears it so many times: Lava connects two ports only once."""
        process: Any = self.processes[op.name]
        gated = isinstance(op, (Multiply, GatedState)) and source == op.gate
        port = process.gate_in if gated else process.a_in
        output = self._output(self.layout.link(source, op.name))
        if times > 1:
            repeated = ProgramScale(factor=np.full(op.size, times, dtype=np.int32), shift=0)
            self.count += 1
            output.connect(repeated.a_in)
            output = repeated.a_out
        output.connect(port)

    def _output(self, link: Link) -> Any:
        """Return the port where what a link carries comes out, a delay in between if it needs one."""
        if link.wait == 0 and link.back == 0:
            return self._outputs[link.source]
        if link not in self._delays:
            size = self.program[link.source].size
            delay = ProgramDelay(shape=(size,), steps=link.wait, back=link.back, **self.clock(link.source))
            self.count += 1
            self._outputs[link.source].connect(delay.a_in)
            self._delays[link] = delay.a_out
        return self._delays[link]


def _record(builder: _Builder, op: Operation, directory: Path, span: dict[str, int], files: dict[str, Part]) -> None:
    """Connect a recorder: to the port of an own process, to the variable of a stock one, which has no such port."""
    process: Any = builder.processes[op.name]
    stock = builder.layout.placements[op.name].stock
    spiking = isinstance(op, LIF)
    state_size = sum(v.size for v in op.variables if v.name != "spikes")
    state_file, spikes_file = directory / f"{len(files)}_state.npy", directory / f"{len(files)}_spikes.npy"
    recorder = Recorder(
        shape=(op.size,),
        state_shape=(state_size,),
        reads_state=stock,
        state_file=str(state_file),
        spikes_file=str(spikes_file) if spiking else None,
        name=f"{op.name}_recorder",
        **span,
    )
    builder.count += 1
    first = 0
    for variable in op.variables:
        name = f"{op.name}.{variable.name}"
        if variable.name == "spikes":
            files[name] = Part(spikes_file, slice(None))
        else:
            files[name] = Part(state_file, slice(first, first + variable.size))
            first += variable.size
    if spiking:
        process.s_out.connect(recorder.a_in)
    if stock:
        recorder.state_ref.connect_var(process.v)
    else:
        process.state_out.connect(recorder.state_in)


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
    num_steps, batch, size = inputs.shape
    played = np.ascontiguousarray(inputs.transpose(2, 1, 0).reshape(size, batch * num_steps))  # [N, B * T]
    source = RingBuffer(data=played)
    builder = _Builder(program, source, num_steps)
    files: dict[str, Part] = {}
    for op in program.ops:
        if op.variables:
            span = {"first_step": 1 + builder.layout.depth[op.name], "num_steps": batch * num_steps}
            _record(builder, op, directory, span, files)
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
    depth = max(Layout(program).depth.values())
    total = batch * num_steps + -(-batch // block) * depth
    facts: dict[str, Any] = {"steps": total, "processes": 0, "build_seconds": 0.0, "run_seconds": 0.0}
    parts: dict[str, list[NDArray[Any]]] = {}
    done = 0

    records_something = any(op.variables for op in program.ops)
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
        for name, part in network.files.items():
            kept = np.load(part.file, mmap_mode="r", allow_pickle=False)[:, part.columns]
            played = kept.reshape(samples.shape[1], num_steps, -1)  # [B, T, N]
            parts.setdefault(name, []).append(played.transpose(1, 0, 2).copy())
        for file in {part.file for part in network.files.values()}:
            file.unlink()
    return {name: np.concatenate(arrays, axis=1) for name, arrays in parts.items()}, facts
