"""The command ``compile``: a trained run, a NIR graph or a network of lava-dl to a program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neuromorphic.bounds import prove
from neuromorphic.cli.app import app, out
from neuromorphic.cli.samples import Data, PartName, check_run, is_run
from neuromorphic.cli.waiting import progress_bar, status
from neuromorphic.description import agreement
from neuromorphic.errors import CompileError, StorageError
from neuromorphic.wording import counted


def _moved(given: str | None) -> None:
    """Refuse the old name of ``--part``."""
    if given is not None:
        raise typer.BadParameter(f"it is called --part now: --part {given}", param_hint="--on")


@app.command("compile")
def compile_command(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder left by `pnbx-snn train` (or a packed file of it), a NIR graph (.nir, .h5) or a network of "
            "lava-dl (.net).",
            metavar="RUN",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the program.")] = Path("program.npz"),
    part: Annotated[
        PartName,
        typer.Option(help="Of a run: samples on which the agreement is measured; test is for the last time."),
    ] = "validation",
    data: Data = None,
    strict: Annotated[bool, typer.Option(help="Refuse a program in which a state could saturate.")] = False,
    live_glia: Annotated[
        int | None,
        typer.Option(help="Keep adapting thresholds every N steps (default: frozen).", min=1),
    ] = None,
    dt: Annotated[float | None, typer.Option(help="NIR: seconds of a step, where the graph does not say.")] = None,
    steps: Annotated[int, typer.Option(help="NIR, netx: steps a sample runs.", min=1)] = 100,
    layer_steps: Annotated[
        int, typer.Option(help="netx: steps that each layer takes, 0, or 1 as on Lava and Loihi.", min=0, max=1)
    ] = 0,
    input_scale: Annotated[
        float | None, typer.Option(help="NIR: real value of one unit of an int8 input; without it, spikes.")
    ] = None,
    weight_bits: Annotated[
        int | None, typer.Option(help="NIR: 8 or 15; without it, 15 in loops and where 8 are too coarse.")
    ] = None,
    reset: Annotated[str, typer.Option(help="NIR: zero or subtract, of neurons whose metadata do not say.")] = "zero",
    _on: Annotated[str | None, typer.Option("--on", hidden=True, callback=_moved)] = None,
) -> None:
    """Compile a trained run, a NIR graph or a network of lava-dl to a program; of a run, measure how well they agree.

    For example:

    - `neuromorphic compile runs/digits -o program.npz`
    - `neuromorphic compile runs/mnist --data DIR --part test -o mnist.npz`
    - `neuromorphic compile network.nir --dt 1e-3 --steps 50 -o network.npz`
    - `neuromorphic compile network.net --steps 16 -o network.npz`
    """
    _check_paths(source, output)
    suffix = source.suffix.lower()
    if suffix == ".net":
        from neuromorphic.formats.netx import read_netx

        program = read_netx(source, num_steps=steps, layer_steps=layer_steps)
        told = "".join(f"- {sentence}\n" for sentence in program.metadata["assumptions"]).rstrip()
    elif suffix in (".nir", ".h5"):
        with status(f"compiling {source}"):
            from neuromorphic.compiler import compile_nir

            wanted: dict[str, Any] = {"input_scale": input_scale, "weight_bits": weight_bits, "reset": reset}
            program = compile_nir(source, num_steps=steps, dt=dt, **wanted)
        assumed = "".join(f"\n- {sentence}" for sentence in program.metadata["assumptions"])
        told = f"assumed, since NIR leaves it open:{assumed}"
    else:
        with progress_bar(f"compiling {source}", unit="samples") as progress:
            from neuromorphic.compiler import compile_run

            program = compile_run(source, part=part, data=data, glia_period=live_glia, progress=progress)
        found = program.metadata["agreement"]
        accuracies = (100 * found[f"accuracy_{one}"] for one in ("network", "program"))
        told = f"{agreement(program.metadata)}, accuracy {' -> '.join(f'{one:.2f} %' for one in accuracies)}"
    prove(program, strict=strict)
    sha = program.save(output)
    made = f"{counted(len(program.ops), 'operation')}, {counted(program.num_steps, 'step')}, sha256 {sha[:12]}"
    say = [f"{output}: {made}", *([told] if told else []), f"next: neuromorphic info {output}"]
    if is_run(source):
        say += [
            f"      neuromorphic run {output} {source}",
            f"      neuromorphic verify {output} {source} --executor native",
        ]
    say.append(f"      neuromorphic targets {output}")
    out.print("\n".join(say), soft_wrap=True, markup=False, highlight=False)


def _check_paths(source: Path, output: Path) -> None:
    """Refuse what cannot be compiled or written, before torch is imported, which takes seconds."""
    suffix = source.suffix.lower()
    if suffix == ".npz" and source.is_file():
        raise CompileError(f"{source} is already a program: neuromorphic info {source}")
    if suffix not in (".net", ".nir", ".h5", ".safetensors") and source.is_file():
        raise CompileError(
            f"{source}: must be the folder of a run or a .safetensors, .nir, .h5 or .net file, got {suffix!r}"
        )
    if is_run(source) or not source.exists():
        check_run(source)
    if output.is_dir():
        raise StorageError(f"{output}: cannot be written (it is a folder); name a file: -o {output / 'program.npz'}")
