"""The command ``raster``: the spikes of a recording, or of two and where they differ, as a picture or page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neuromorphic.cli.app import app, out
from neuromorphic.errors import InputError
from neuromorphic.files.arrays import read_inputs
from neuromorphic.recording import Recording, compare


def _numbers(option: str, text: str | None) -> tuple[int, int] | None:
    """Read a:b; the ends may be left out."""
    if text is None:
        return None
    first, colon, end = text.partition(":")
    if not colon or not all(part.isdecimal() or part == "" for part in (first, end)):
        raise typer.BadParameter(f"{option} must be a:b, for example 0:20, got {text!r}")
    return int(first or 0), int(end) if end else 1 << 62


def _neurons(text: str | None) -> tuple[int, int] | list[int] | None:
    if text is None or ":" in text:
        return _numbers("--neurons", text)
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise typer.BadParameter(f"--neurons must be a:b or numbers with commas, for example 3,7,12, got {text!r}")
    return [int(part) for part in text.split(",")]


@app.command("raster")
def raster_command(
    recording_file: Annotated[
        Path, typer.Argument(help="A recording written by `neuromorphic run -o`.", metavar="RECORDING")
    ],
    other_file: Annotated[
        Path | None,
        typer.Argument(
            help="A second recording of the same program and inputs: differences are ringed.", metavar="OTHER"
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A picture .png .pdf .svg, a page .html or an animation .gif .mp4."),
    ] = Path("raster.png"),
    sample: Annotated[int, typer.Option(min=0, help="Number of the sample in the recording.")] = 0,
    layers: Annotated[
        str | None, typer.Option(help="Only these layers, for example lif1,lif2; else all that spike.")
    ] = None,
    steps: Annotated[str | None, typer.Option(help="Only steps a:b.")] = None,
    neurons: Annotated[str | None, typer.Option(help="Only neurons a:b, or 3,7,12, of every layer.")] = None,
    dt: Annotated[float | None, typer.Option(help="Seconds of a step: time is written in ms, rates in Hz.")] = None,
    inputs_file: Annotated[
        Path | None,
        typer.Option("--inputs", help="What the program saw (.npy, [T, B, N] or constant [B, N]); drawn first."),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            help="Rows and columns of the input, for example 28,28; 2,34,34: off and on events. Else the inputs' own, "
            "or a square."
        ),
    ] = None,
) -> None:
    """Draw the spikes of every layer, their rates over time and over neurons, and what two recordings differ in.

    For example:

    - `neuromorphic raster recording.npz`
    - `neuromorphic raster numpy.npz lava.npz -o differences.png`
    - `neuromorphic raster recording.npz --sample 3 --steps 0:200 --dt 1e-3 -o raster.html`
    - `neuromorphic raster recording.npz --inputs inputs.npy -o raster.gif`
    """
    from pnbx_plot import PlotError, write_raster  # 20 ms that no other command needs

    chosen: dict[str, Any] = {
        "only": None if layers is None else layers.split(","),
        "sample": sample,
        "steps": _numbers("--steps", steps),
        "neurons": _neurons(neurons),
        "dt": dt,
    }
    recording = Recording.load(recording_file)
    other = None if other_file is None else Recording.load(other_file)
    title = f"sample {sample} on {recording.executor}"
    if other is not None:
        title += f" and {other.executor}"
    if inputs_file is not None:
        chosen["input"] = _held(read_inputs(inputs_file, None), recording)
        chosen["input_shape"] = _shape(input_shape)
    try:
        write_raster(output, recording, other, title=title, **chosen)
    except PlotError as error:
        raise InputError(str(error)) from error
    if other is not None:
        found = compare(recording, other)
        out.print(
            f"{found.spikes_different} of {found.spikes_compared} spikes and {found.states_different} of "
            f"{found.states_compared} states differ, over all samples"
        )
        if found.first is not None:
            out.print(str(found.first), soft_wrap=True)
    out.print(f"wrote {output}", soft_wrap=True)


def _held(inputs: Any, recording: Recording) -> Any:
    """Return inputs with the recording's steps in front: ``[B, N]`` are the same in every step."""
    num_steps, batch = next(iter(recording.variables.values())).shape[:2]
    if inputs.ndim == 2 and len(inputs) == batch:
        return inputs[None].repeat(num_steps, axis=0)
    return inputs


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) not in (2, 3) or not all(part.strip().isdecimal() for part in parts):
        raise typer.BadParameter(f"--input-shape must be rows,columns or channels,rows,columns, got {text!r}")
    return tuple(int(part) for part in parts)
