"""Commands that run programs: ``run`` and ``verify``, on any executor of the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from numpy.typing import NDArray

from neuromorphic.cli.app import AsJson, ProgramFile, app, out, progress_bar
from neuromorphic.cli.options import told_options, with_options_of
from neuromorphic.execution import run as run_program
from neuromorphic.execution import verify as verify_program
from neuromorphic.executors import EXECUTORS, NAMES
from neuromorphic.files.arrays import read_inputs
from neuromorphic.formats.nir_data import SUFFIXES, array_of, read_nir_data, recording_data, signal_of, write_nir_data
from neuromorphic.program import Program
from neuromorphic.recording import Recording

InputFile = Annotated[
    Path,
    typer.Argument(
        help="A .npy array, [T, B, N] or [B, N] (held constant); floats are quantised as the program says. Or a "
        "recording of NIR (.nir, .h5).",
        metavar="INPUTS",
    ),
]
Samples = Annotated[str | None, typer.Option(help="Only samples a:b of the inputs, for example 0:20.")]


StepSeconds = Annotated[
    float | None,
    typer.Option("--dt", help="NIR recordings: seconds of a step; else what the program was compiled with."),
]


def _step_seconds(program: Program | None, dt: float | None) -> float | None:
    """Return the seconds of a step: what was told, else what a program that was compiled from NIR knows."""
    known = None if program is None else program.metadata.get("dt")
    return dt if dt is not None or not isinstance(known, (int, float)) else float(known)


def _load_inputs(path: Path, samples: str | None, program: Program | None, dt: float | None) -> NDArray[Any]:
    chosen = None
    if samples is not None:
        first, colon, last = samples.partition(":")
        if not colon or not all(part.isdecimal() or part == "" for part in (first, last)):
            raise typer.BadParameter(f"--samples must be a:b, for example 0:20, got {samples!r}")
        chosen = slice(int(first or 0), int(last) if last else None)
    if path.suffix.lower() not in SUFFIXES:
        return read_inputs(path, chosen)
    signal = signal_of(read_nir_data(path), "input" if program is None else program.input.name)
    array = array_of(signal, _step_seconds(program, dt))
    return array if chosen is None else array[:, chosen]


def _us_per_step(recording: Recording, steps: int) -> float:
    return 1e6 * float(recording.metadata["seconds"]) / steps


@app.command("run")
@with_options_of(EXECUTORS)
def run_command(
    program_file: Annotated[
        Path,
        typer.Argument(
            help="A program written by `neuromorphic compile`, or a .onnx file of `neuromorphic export`.",
            metavar="PROGRAM",
        ),
    ],
    inputs_file: InputFile,
    executor: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(NAMES)}; else numpy, of a .onnx file onnxruntime."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write the recording (.npz, or as a recording of NIR .nir, .h5)."),
    ] = None,
    samples: Samples = None,
    dt: StepSeconds = None,
    nir_data: Annotated[
        Literal["grid", "events"], typer.Option(help="NIR recordings: spikes on a grid of steps, or as events.")
    ] = "grid",
    *,
    as_json: AsJson = False,
    **told: Any,
) -> None:
    """Run a program on inputs and record every spike and state.

    For example:

    - `neuromorphic run program.npz inputs.npy --executor numpy -o recording.npz`
    - `neuromorphic run program.npz inputs.npy --executor lava --samples 0:20`
    - `neuromorphic run program.npz inputs.npy --executor native --threads 2`
    - `neuromorphic run program.npz inputs.npy --executor torch --device cuda`
    - `neuromorphic run model.onnx inputs.npy --executor openvino --device CPU`
    - `neuromorphic run program.npz events.h5 --dt 1e-3 -o recording.h5` (recordings of NIR)
    """
    suffix = program_file.suffix.lower()
    readers = [entry.name for entry in EXECUTORS.values() if entry.reads and entry.reads == suffix]
    executor = executor or (readers or NAMES)[0]
    options = told_options(EXECUTORS, "--executor", executor, told)
    if readers and executor not in readers:
        raise typer.BadParameter(f"a {suffix} file runs on {' or '.join(readers)}, got --executor {executor}")
    run_file = EXECUTORS[executor].run_file if readers else None
    program = None if run_file else Program.load(program_file)
    step = _step_seconds(program, dt)
    as_nir = output is not None and output.suffix.lower() in SUFFIXES
    if as_nir and step is None:
        raise typer.BadParameter(f"{output}: a recording of NIR needs the seconds of a step: --dt")
    inputs = _load_inputs(inputs_file, samples, program, dt)
    with progress_bar(f"running on {executor}") as progress:
        if run_file is None:
            assert program is not None
            recording = run_program(program, inputs, executor, progress=progress, **options)
        else:
            recording = run_file(program_file, inputs, executor, progress=progress, **options)
    if output is not None and as_nir:
        assert step is not None
        write_nir_data(recording_data(recording, step, nir_data), output)
    elif output is not None:
        recording.save(output)
    spikes = recording.spikes()
    num_steps, batch = next(iter(recording.variables.values())).shape[:2]
    facts = {
        "executor": executor,
        "samples": batch,
        "steps": num_steps,
        "firing_rate": {name: float(array.mean()) for name, array in spikes.items()},
        "us_per_step_and_sample": _us_per_step(recording, num_steps * batch),
        "recording": None if output is None else str(output),
    }
    if any(name.endswith(".y") for name in recording.variables):
        facts["labels"] = recording.labels().tolist()
    if as_json:
        out.print_json(data=facts)
        return
    rates = ", ".join(f"{name} {100 * rate:.1f} %" for name, rate in facts["firing_rate"].items())
    out.print(f"{batch} samples x {num_steps} steps on {executor}; firing rates: {rates}")
    if "labels" in facts:
        shown = " ".join(map(str, facts["labels"][:20]))
        out.print(f"labels: {shown}{' ...' if batch > 20 else ''}")
    if output is not None:
        out.print(f"recording: {output}")


@app.command("verify")
@with_options_of(EXECUTORS)
def verify_command(
    program_file: ProgramFile,
    inputs_file: InputFile,
    executor: Annotated[str, typer.Option(help=f"The executor to check: one of {', '.join(NAMES)}.")] = "lava",
    samples: Samples = None,
    dt: StepSeconds = None,
    *,
    as_json: AsJson = False,
    **told: Any,
) -> None:
    """Check an executor against the NumPy reference, spike by spike and state by state.

    Exit code 0 when all are equal; 1 with the first divergence (op, variable, step, sample, neuron, expected, got).

    For example:

    - `neuromorphic verify program.npz inputs.npy --executor lava`
    """
    options = told_options(EXECUTORS, "--executor", executor, told)
    program = Program.load(program_file)
    inputs = _load_inputs(inputs_file, samples, program, dt)
    with progress_bar(f"running on {executor}") as progress:
        comparison, _, _ = verify_program(program, inputs, executor, progress=progress, **options)
    if as_json:
        facts = {key: value for key, value in vars(comparison).items() if key != "first"}
        first = None if comparison.first is None else vars(comparison.first)
        out.print_json(data={"executor": executor, "equal": comparison.equal, **facts, "first_divergence": first})
    else:
        out.print(
            f"{executor} against numpy: {comparison.spikes_different} of {comparison.spikes_compared} spikes differ, "
            f"{comparison.states_different} of {comparison.states_compared} states differ"
        )
        if comparison.first is not None:
            out.print(str(comparison.first), soft_wrap=True)
    raise typer.Exit(0 if comparison.equal else 1)
