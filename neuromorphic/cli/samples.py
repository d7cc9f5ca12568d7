"""Inputs of the commands: a file of them, or samples of a training run; and ``inputs``, which writes such a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from neuromorphic.cli.app import app, out
from neuromorphic.cli.waiting import status
from neuromorphic.errors import CompileError, InputError
from neuromorphic.executors import EXECUTORS
from neuromorphic.executors.entry import Entry
from neuromorphic.files.arrays import read_inputs
from neuromorphic.files.atomic_write import write_atomically
from neuromorphic.formats.nir_data import SUFFIXES, array_of, read_nir_data, signal_of
from neuromorphic.inputs import warn_of_mistakes
from neuromorphic.program import Program
from neuromorphic.wording import counted

if TYPE_CHECKING:
    from neuromorphic.compiler import RunSamples

CHECKPOINT = "checkpoint.safetensors"
"""What ``pnbx-snn train`` leaves in the folder of a run."""
PartName = Literal["test", "validation", "train"]
InputFile = Annotated[
    Path,
    typer.Argument(
        help="A .npy array, [T, B, N] or [B, N] (held constant); floats are quantised as the program says. Or the "
        "folder of a run, whose samples are taken. Or a recording of NIR (.nir, .h5).",
        metavar="INPUTS",
    ),
]
Samples = Annotated[
    str | None,
    typer.Option(
        help=f"Only samples a:b of the inputs, for example 0:20. Of a run, else: the first {Entry.few}, "
        + ", ".join(f"of {name} {entry.few}" for name, entry in EXECUTORS.items() if entry.few != Entry.few)
        + "."
    ),
]
Part = Annotated[PartName, typer.Option(help="Of a run: which part of its data; do not tune on the test set.")]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Of a run: folder of the data sets, where PNBX_DATA does not name it.",
        metavar="DIR",
        exists=True,
        file_okay=False,
    ),
]
StepSeconds = Annotated[
    float | None,
    typer.Option("--dt", help="NIR recordings: seconds of a step; else what the program was compiled with."),
]


class Taken(NamedTuple):
    """Inputs of a run, and what is known about its samples."""

    inputs: NDArray[Any]
    labels: NDArray[np.int64] | None = None
    lengths: NDArray[np.int64] | None = None
    source: str = ""
    """Which samples these are, where they come from a training run."""


def is_run(path: Path) -> bool:
    """Whether a path stands for a training run: a folder, or a packed file."""
    return path.is_dir() or path.suffix.lower() == ".safetensors"


def check_run(path: Path) -> None:
    """Refuse what cannot be a run, before torch is imported, which takes seconds."""
    if not path.exists():
        raise CompileError(f"{path}: no such file or folder")
    if path.is_dir() and not (path / CHECKPOINT).exists():
        inside = next((folder for folder in sorted(path.iterdir()) if (folder / CHECKPOINT).exists()), None)
        hint = f"; {inside} is one" if inside else ""
        raise CompileError(f"{path}: not a run: `pnbx-snn train` leaves a {CHECKPOINT} in its folder{hint}")


def step_seconds(program: Program | None, dt: float | None) -> float | None:
    """Return the seconds of a step: what was told, else what a program that was compiled from NIR knows."""
    known = None if program is None else program.metadata.get("dt")
    return dt if dt is not None or not isinstance(known, (int, float)) else float(known)


def take_inputs(
    path: Path,
    program: Program | None,
    *,
    samples: str | None,
    few: int | None,
    part: PartName,
    data: Path | None,
    dt: float | None,
) -> Taken:
    """Read the inputs that a command was given; of a run, where ``samples`` does not say which, the first ``few``."""
    chosen = _slice(samples)
    taken = _samples_of(path, chosen, few, part, data) if is_run(path) else Taken(_array(path, chosen, program, dt))
    if program is not None and taken.lengths is None:
        warn_of_mistakes(taken.inputs, program.input, program.num_steps)
    return taken


def _array(path: Path, chosen: slice | None, program: Program | None, dt: float | None) -> NDArray[Any]:
    if not path.exists():
        raise InputError(f"{path}: no such file; INPUTS is a .npy file or the folder of a run")
    if path.suffix.lower() not in SUFFIXES:
        return read_inputs(path, chosen)
    signal = signal_of(read_nir_data(path), "input" if program is None else program.input.name)
    array = array_of(signal, step_seconds(program, dt))
    return array if chosen is None else array[:, chosen]


def _samples_of(path: Path, chosen: slice | None, few: int | None, part: PartName, data: Path | None) -> Taken:
    found = _read_run(path, slice(0, few) if chosen is None else chosen, part, data)
    source = f"{counted(len(found.labels), f'{part} sample')} of {path}"
    if chosen is None and len(found.labels) < found.total:
        source = f"the first {len(found.labels)} of {counted(found.total, f'{part} sample')} of {path}"
        source += " (--samples a:b takes others, --samples : all)"
    return Taken(found.inputs, found.labels, found.lengths, source)


def _slice(samples: str | None) -> slice | None:
    if samples is None:
        return None
    first, colon, last = samples.partition(":")
    if not colon or not all(end.isdecimal() or end == "" for end in (first, last)):
        raise typer.BadParameter(f"--samples must be a:b, for example 0:20, got {samples!r}")
    return slice(int(first or 0), int(last) if last else None)


def _read_run(path: Path, samples: slice, part: PartName, data: Path | None) -> RunSamples:
    check_run(path)
    with status(f"reading {part} samples of {path}"):
        from neuromorphic.compiler import run_samples

        return run_samples(path, part=part, samples=samples, data=data)


def _write_array(path: Path, array: NDArray[Any]) -> None:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    write_atomically(path, content.getvalue())


@app.command("inputs")
def inputs_command(
    run: Annotated[
        Path, typer.Argument(help="A folder left by `pnbx-snn train`, or a packed file of it.", metavar="RUN")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the inputs (.npy).")] = Path(
        "inputs.npy"
    ),
    labels: Annotated[
        Path | None, typer.Option(help="Where to write the label of each sample (.npy).", metavar="FILE")
    ] = None,
    part: Part = "test",
    samples: Annotated[str | None, typer.Option(help="Only samples a:b of the part, for example 0:16.")] = None,
    data: Data = None,
) -> None:
    """Write samples of a run's data set as the array of inputs that its program takes.

    It is [T, B, N], or [B, N] where every step shows the same values: real values as float32, spikes as uint8.

    For example:

    - `neuromorphic inputs runs/digits -o inputs.npy`
    - `neuromorphic inputs runs/digits --samples 0:16 -o inputs.npy --labels labels.npy`
    """
    for path in filter(None, (output, labels)):
        if path.suffix.lower() != ".npy":
            raise typer.BadParameter(f"arrays are written as .npy files, got {path}")
    found = _read_run(run, _slice(samples) or slice(None), part, data)
    _write_array(output, found.inputs)
    kind = "spikes" if found.inputs.dtype == np.uint8 else "real values"
    axes = "[T, B, N]" if found.inputs.ndim == 3 else "[B, N]"
    say = [f"{output}: {counted(len(found.labels), f'{part} sample')}, {axes} = {list(found.inputs.shape)}, {kind}"]
    told = ""
    if labels is not None:
        _write_array(labels, found.labels)
        told = f" --labels {labels}"
        say.append(f"{labels}: the label of each")
    if found.lengths is not None:
        say.append(
            f"the samples have {found.lengths.min()} to {found.lengths.max()} steps, zeros follow the shorter ones: "
            f"`neuromorphic run PROGRAM {run}` reads each label after the sample's own last step"
        )
    say.append(f"next: neuromorphic run program.npz {output}{told}")
    out.print("\n".join(say), soft_wrap=True, markup=False, highlight=False)
