"""Commands that make programs, and write them in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from neuromorphic.bounds import prove
from neuromorphic.cli.app import ProgramFile, app, out, progress_bar
from neuromorphic.errors import CompileError
from neuromorphic.executors.onnx import INSTALL
from neuromorphic.program import Program

EXPORTS = ("nir", "netx", "onnx")


@app.command("compile")
def compile_command(
    run_dir: Annotated[
        Path, typer.Argument(help="A folder left by `pnbx-snn train`, or a NIR graph (.nir, .h5).", metavar="RUN")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the program.")] = Path("program.npz"),
    on: Annotated[
        str, typer.Option(help="Samples on which the agreement is measured: validation, or test for the last time.")
    ] = "validation",
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data sets, where PNBX_DATA does not name it.", metavar="DIR")
    ] = None,
    strict: Annotated[bool, typer.Option(help="Refuse a program in which a state could saturate.")] = False,
    live_glia: Annotated[
        int | None,
        typer.Option(help="Keep adapting thresholds every N steps (default: frozen).", min=1),
    ] = None,
    dt: Annotated[float | None, typer.Option(help="NIR: seconds of a step, where the graph does not say.")] = None,
    steps: Annotated[int, typer.Option(help="NIR: steps a sample runs.", min=1)] = 100,
    input_scale: Annotated[
        float | None, typer.Option(help="NIR: real value of one unit of an int8 input; without it, spikes.")
    ] = None,
    weight_bits: Annotated[
        int | None, typer.Option(help="NIR: 8 or 15; without it, 15 in loops and where 8 are too coarse.")
    ] = None,
    reset: Annotated[str, typer.Option(help="NIR: zero or subtract, of neurons whose metadata do not say.")] = "zero",
) -> None:
    """Compile a trained run, or a NIR graph, to an integer program; of a run, measure how well they agree.

    For example:

    - `neuromorphic compile runs/digits -o program.npz`
    - `neuromorphic compile runs/mnist --data DIR --on test -o mnist.npz`
    - `neuromorphic compile network.nir --dt 1e-3 --steps 50 -o network.npz`
    """
    from neuromorphic.compiler import compile_nir, compile_run

    if run_dir.suffix.lower() in (".nir", ".h5"):
        program = compile_nir(
            run_dir,
            num_steps=steps,
            dt=dt,
            input_scale=input_scale,
            weight_bits=weight_bits,
            reset=reset,  # type: ignore[arg-type]
        )
        prove(program, strict=strict)
        sha = program.save(output)
        assumed = "".join(f"\n- {sentence}" for sentence in program.metadata["assumptions"])
        out.print(
            f"{output}: {len(program.ops)} operations, {program.num_steps} steps, sha256 {sha[:12]}\n"
            f"assumed, since NIR leaves it open:{escape(assumed)}",
            soft_wrap=True,
        )
        return

    if on not in ("validation", "test"):
        raise typer.BadParameter(f"--on must be validation or test, got {on!r}")
    with progress_bar(f"compiling {run_dir}", unit="samples") as progress:
        program = compile_run(
            run_dir,
            part=on,  # type: ignore[arg-type]
            data=data,
            glia_period=live_glia,
            progress=progress,
        )
        prove(program, strict=strict)
        sha = program.save(output)
    agreement = program.metadata["agreement"]
    out.print(
        f"{output}: {len(program.ops)} operations, {program.num_steps} steps, sha256 {sha[:12]}\n"
        f"agreement with the network on {agreement['samples']} {agreement['part']} images: "
        f"labels {100 * agreement['labels_equal']:.2f} %, spikes {100 * agreement['spikes_equal']:.3f} %, "
        f"accuracy {100 * agreement['accuracy_network']:.2f} % -> {100 * agreement['accuracy_program']:.2f} %",
        soft_wrap=True,
    )


@app.command("export")
def export_command(
    program_file: ProgramFile,
    to: Annotated[str, typer.Option(help=f"The format: {', '.join(EXPORTS)}.")] = "nir",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write it; else the program's name with .nir, .net or .onnx."),
    ] = None,
    round_trip: Annotated[
        str, typer.Option(help="Of nir. exact: refuse what would compile back to other integers; close: do not ask.")
    ] = "exact",
    nir_form: Annotated[
        Literal["portable", "integer"],
        typer.Option(
            help="Of nir. portable: scales in the weights, as snnTorch, Norse and SpikingJelly read them; integer: "
            "whole weights, scales in the neurons."
        ),
    ] = "portable",
    form: Annotated[
        Literal["step", "scan", "image"],
        typer.Option(
            help="Of onnx. step: one step, states in and out; scan: all steps, [T, B, N]; "
            "image: [B, N] held for all steps, labels out."
        ),
    ] = "step",
    products: Annotated[
        Literal["int8", "float32"], typer.Option(help="Of onnx. int8: MatMulInteger; float32: MatMul. Both exact.")
    ] = "int8",
    opset: Annotated[int, typer.Option(help="Of onnx, 18 to 21.")] = 18,
    steps: Annotated[
        int | None, typer.Option(help="Of onnx: steps it is proven for; else the program's.", min=1)
    ] = None,
) -> None:
    """Write a program in the format of other tools.

    For example:

    - `neuromorphic export program.npz --to nir -o graph.nir`
    - `neuromorphic export program.npz --to netx -o network.net` (for lava-dl's netx: chains of stock neurons)
    - `neuromorphic export program.npz --to onnx --form scan -o model.onnx`, then `neuromorphic run model.onnx ...`
    """
    if to not in EXPORTS:
        raise typer.BadParameter(f"--to must be one of {', '.join(EXPORTS)}, got {to!r}")
    if round_trip not in ("exact", "close"):
        raise typer.BadParameter(f"--round-trip must be exact or close, got {round_trip!r}")
    program = Program.load(program_file)
    if to == "netx":
        from neuromorphic.formats.netx import export_netx

        written = export_netx(program, output or program_file.with_suffix(".net"))
        out.print(f"{written}: {len(program.ops)} operations, read back and firing equally", soft_wrap=True)
        return
    if to == "onnx":
        try:
            from neuromorphic.executors.onnx.files import save_onnx
        except ModuleNotFoundError as error:
            raise CompileError(f"--to onnx needs {error.name}: {INSTALL}") from error
        written = save_onnx(
            program,
            output or program_file.with_suffix(".onnx"),
            form=form,
            products=products,
            opset=opset,
            num_steps=steps,
        )
        out.print(f"{written}: {written.stat().st_size:,} bytes, one {form}, opset {opset}, checked", soft_wrap=True)
        return
    from neuromorphic.compiler import save_nir, to_nir

    output = output or program_file.with_suffix(".nir")
    graph = to_nir(program, round_trip=round_trip, form=nir_form)  # type: ignore[arg-type]
    save_nir(graph, output)
    facts = ", ".join(f"{key} {value:.6g}" for key, value in graph.metadata.items() if not isinstance(value, str))
    notes = "".join(f"\n- {note}" for note in graph.metadata.get("notes", "").splitlines())
    out.print(
        f"{output}: {len(graph.nodes)} nodes, {len(graph.edges)} edges; {facts}{escape(notes)}",
        soft_wrap=True,
    )
