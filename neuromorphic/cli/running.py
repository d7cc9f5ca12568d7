"""Commands that run programs: ``run`` and ``verify``, on any executor of the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from neuromorphic.cli.app import AsJson, ProgramFile, app, out
from neuromorphic.cli.options import told_options, with_options_of
from neuromorphic.cli.samples import Data, InputFile, Part, Samples, StepSeconds, step_seconds, take_inputs
from neuromorphic.cli.waiting import progress_bar
from neuromorphic.errors import InputError
from neuromorphic.execution import run as run_program
from neuromorphic.execution import verify as verify_program
from neuromorphic.executors import EXECUTORS, NAMES
from neuromorphic.files.arrays import read_inputs
from neuromorphic.formats.nir_data import SUFFIXES, recording_data, write_nir_data
from neuromorphic.program import Program
from neuromorphic.recording import Recording
from neuromorphic.wording import counted


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
    part: Part = "test",
    data: Data = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="The right label of each sample (.npy), for the accuracy; of a run it is known.", metavar="FILE"
        ),
    ] = None,
    dt: StepSeconds = None,
    nir_data: Annotated[
        Literal["grid", "events"], typer.Option(help="NIR recordings: spikes on a grid of steps, or as events.")
    ] = "grid",
    *,
    as_json: AsJson = False,
    **told: Any,
) -> None:
    """Run a program on inputs and record every spike and state; where the right labels are known, say the accuracy.

    INPUTS is a .npy file, which `neuromorphic inputs` writes too, or the folder of a run, of which samples are taken.

    For example:

    - `neuromorphic run program.npz runs/digits`
    - `neuromorphic run program.npz runs/digits --executor lava --samples 0:20`
    - `neuromorphic run program.npz inputs.npy --labels labels.npy -o recording.npz`
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
    step = step_seconds(program, dt)
    as_nir = output is not None and output.suffix.lower() in SUFFIXES
    if as_nir and step is None:
        raise typer.BadParameter(f"{output}: a recording of NIR needs the seconds of a step: --dt")
    few = EXECUTORS[executor].few
    taken = take_inputs(inputs_file, program, samples=samples, few=few, part=part, data=data, dt=dt)
    right = taken.labels if labels is None else read_inputs(labels)
    _check_labels(labels, right, taken.inputs)
    with progress_bar(f"running on {executor}") as progress:
        if run_file is None:
            assert program is not None
            recording = run_program(
                program, taken.inputs, executor, lengths=taken.lengths, progress=progress, **options
            )
        elif taken.lengths is not None:
            raise InputError(f"{inputs_file}: its samples differ in length, which a {suffix} file does not know")
        else:
            recording = run_file(program_file, taken.inputs, executor, progress=progress, **options)
    if output is not None and as_nir:
        assert step is not None
        write_nir_data(recording_data(recording, step, nir_data), output)
    elif output is not None:
        recording.save(output)
    num_steps, batch = recording.shape
    facts: dict[str, Any] = {
        "executor": executor,
        "samples": batch,
        "steps": num_steps,
        "firing_rate": recording.firing_rates(),
        "us_per_step_and_sample": _us_per_step(recording, num_steps * batch),
        "recording": None if output is None else str(output),
    }
    if any(name.endswith(".y") for name in recording.variables):
        facts["labels"] = recording.labels().tolist()
        if right is not None:
            facts["accuracy"] = float(np.mean(recording.labels() == right))
    if as_json:
        out.print_json(data=facts)
        return
    if taken.source:
        out.print(taken.source, soft_wrap=True, markup=False, highlight=False)
    rates = ", ".join(f"{name} {100 * rate:.1f} %" for name, rate in facts["firing_rate"].items())
    ran = f"{counted(batch, 'sample')} x {counted(num_steps, 'step')} on {executor}"
    out.print(f"{ran}; firing rates: {rates}" if rates else ran, soft_wrap=True)
    if "labels" in facts:
        shown = " ".join(map(str, facts["labels"][:20]))
        out.print(f"labels: {shown}{' ...' if batch > 20 else ''}")
    if "accuracy" in facts:
        correct = round(facts["accuracy"] * batch)
        out.print(f"accuracy: {100 * facts['accuracy']:.2f} % ({correct} of {counted(batch, 'sample')})")
    if output is not None:
        out.print(f"recording: {output}", soft_wrap=True)


def _check_labels(path: Path | None, labels: NDArray[Any] | None, inputs: NDArray[Any]) -> None:
    """Refuse a file of labels that are not one whole number for each sample."""
    batch = inputs.shape[-2] if inputs.ndim > 1 else 0
    if path is not None and labels is not None and (labels.dtype.kind not in "iu" or labels.shape != (batch,)):
        raise InputError(
            f"{path}: labels must be whole numbers [{batch}], one for each sample, got {labels.dtype} "
            f"{list(labels.shape)}"
        )


@app.command("verify")
@with_options_of(EXECUTORS)
def verify_command(
    program_file: ProgramFile,
    inputs_file: InputFile,
    executor: Annotated[str, typer.Option(help=f"The executor to check: one of {', '.join(NAMES)}.")] = "lava",
    samples: Samples = None,
    part: Part = "test",
    data: Data = None,
    dt: StepSeconds = None,
    *,
    as_json: AsJson = False,
    **told: Any,
) -> None:
    """Check an executor against the NumPy reference, spike by spike and state by state.

    Exit code 0 when all are equal; 1 with the first divergence (op, variable, step, sample, neuron, expected, got).

    For example:

    - `neuromorphic verify program.npz runs/digits --executor lava`
    - `neuromorphic verify program.npz inputs.npy --executor native`
    """
    options = told_options(EXECUTORS, "--executor", executor, told)
    program = Program.load(program_file)
    few = EXECUTORS[executor].few
    taken = take_inputs(inputs_file, program, samples=samples, few=few, part=part, data=data, dt=dt)
    with progress_bar(f"running on {executor}") as progress:
        comparison, _, _ = verify_program(
            program, taken.inputs, executor, lengths=taken.lengths, progress=progress, **options
        )
    if as_json:
        facts = {key: value for key, value in vars(comparison).items() if key != "first"}
        first = None if comparison.first is None else vars(comparison.first)
        out.print_json(data={"executor": executor, "equal": comparison.equal, **facts, "first_divergence": first})
    else:
        if taken.source:
            out.print(taken.source, soft_wrap=True, markup=False, highlight=False)
        out.print(f"{executor} against numpy: {comparison}", soft_wrap=True, markup=False)
    raise typer.Exit(0 if comparison.equal else 1)
