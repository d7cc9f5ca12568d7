"""The ``neuromorphic`` command: compile a trained run, look at a program, run it, verify it, set up Lava."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from neuromorphic.bounds import prove
from neuromorphic.errors import CompileError, ExecutorError, NeuromorphicError
from neuromorphic.execution import run as run_program
from neuromorphic.execution import verify as verify_program
from neuromorphic.executors import NAMES
from neuromorphic.executors.lava.mapping import Layout
from neuromorphic.executors.onnx.runtimes import EXECUTORS as ONNX_EXECUTORS
from neuromorphic.executors.onnx.runtimes import INSTALL, XMX_COMMAND, runtimes
from neuromorphic.files.arrays import read_inputs
from neuromorphic.loihi import ASSUMPTIONS, CORES_PER_CHIP, check_loihi, estimate_loihi
from neuromorphic.ops import LIF, Dense, Slots
from neuromorphic.program import Program
from neuromorphic.recording import Recording

EXPORTS = ("nir", "netx", "onnx")

out = Console()
err = Console(stderr=True)


class _Commands(typer.core.TyperGroup):
    """Every command says what went wrong in one message, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NeuromorphicError as error:
            err.print("[bold red]error:[/]", escape(str(error)), soft_wrap=True, highlight=False)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            err.print("interrupted; whatever was written before is whole")
            raise typer.Exit(130) from None


app = typer.Typer(
    name="neuromorphic",
    cls=_Commands,
    help="Compile a trained spiking network to an integer program and run it, bit for bit alike, on every executor.\n\n"
    "A first round:\n\n"
    "- `neuromorphic compile runs/digits -o program.npz`\n"
    "- `neuromorphic info program.npz`\n"
    "- `neuromorphic run program.npz inputs.npy -o recording.npz`\n"
    "- `neuromorphic verify program.npz inputs.npy --executor lava`\n\n"
    "Exit codes: 0 done, 1 a check failed or an error, 2 wrong usage, 130 stopped by Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

ProgramFile = Annotated[Path, typer.Argument(help="A program written by `neuromorphic compile`.", metavar="PROGRAM")]
InputFile = Annotated[
    Path,
    typer.Argument(
        help="A .npy array, [T, B, N] or [B, N] (held constant); floats are quantised as the program says.",
        metavar="INPUTS",
    ),
]
Samples = Annotated[str | None, typer.Option(help="Only samples a:b of the inputs, for example 0:20.")]
LavaPython = Annotated[
    Path | None, typer.Option(help="Python with lava-nc to use; else PNBX_LAVA_PYTHON, the side environment, PATH, ...")
]
TimeLimit = Annotated[float | None, typer.Option(help="Seconds after which a Lava run is ended.", min=0.1)]
Device = Annotated[
    str | None,
    typer.Option(
        help="Of torch: cpu, cuda, cuda:1, xpu; of onnxruntime: cpu, cuda, ...; of openvino: CPU, GPU, NPU, AUTO."
    ),
]
Threads = Annotated[int | None, typer.Option(help="Of native, onnxruntime and openvino: threads, by default 1.", min=1)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


def _load_inputs(path: Path, samples: str | None) -> NDArray[Any]:
    if samples is None:
        return read_inputs(path)
    first, colon, last = samples.partition(":")
    if not colon or not all(part.isdecimal() or part == "" for part in (first, last)):
        raise typer.BadParameter(f"--samples must be a:b, for example 0:20, got {samples!r}")
    return read_inputs(path, slice(int(first or 0), int(last) if last else None))


@contextmanager
def _progress(label: str, unit: str = "steps") -> Iterator[Any]:
    """Yield a callback (done, total) that draws a bar on standard error."""
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err, transient=True, disable=not err.is_terminal
    ) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _options(
    executor: str, lava_python: Path | None, time_limit: float | None, device: str | None, threads: int | None
) -> dict[str, Any]:
    """Return what an executor is told, refusing what it does not understand."""
    if executor not in NAMES:
        raise typer.BadParameter(f"--executor must be one of {', '.join(NAMES)}, got {executor!r}")
    given = (
        ("--lava-python", ("lava",), "python", lava_python),
        ("--time-limit", ("lava",), "time_limit_s", time_limit),
        ("--device", ("torch", *ONNX_EXECUTORS), "device", device),
        ("--threads", ("native", *ONNX_EXECUTORS), "threads", threads),
    )
    options = {}
    for flag, of, name, value in given:
        if value is not None and executor not in of:
            raise typer.BadParameter(f"{flag} is for --executor {' or '.join(of)}, got --executor {executor}")
        if value is not None:
            options[name] = value
    return options


def _us_per_step(recording: Recording, steps: int) -> float:
    return 1e6 * float(recording.metadata["seconds"]) / steps


@app.command("setup-lava")
def setup_lava_command(
    python: Annotated[Path | None, typer.Option(help="A Python 3.10 to build on; else PATH, pyenv, uv.")] = None,
    target: Annotated[Path | None, typer.Option(help="Folder of the side environment.")] = None,
) -> None:
    """Make the Lava side environment (a virtual environment with lava-nc 0.10), or keep the one that works.

    Needs a Python 3.10. Where none is to be had, the present Python is used with an import shim.
    """
    from neuromorphic.executors.lava.environment import setup_lava

    with err.status("setting up Lava ...") as status:
        found = setup_lava(target=target, python=python, progress=lambda text: status.update(text))
    shim = " through the import shim" if found.shim else ""
    out.print(f"Lava {found.lava_version} on Python {found.python_version}{shim}: {found.path}", soft_wrap=True)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say which Pythons with Lava and which devices were found, what is missing, and which executors would run."""
    from neuromorphic.executors.lava.environment import doctor as examine
    from neuromorphic.executors.torch.devices import devices as torch_devices

    findings = examine()
    usable = any(finding.usable for finding in findings)
    onnx = runtimes()
    if as_json:
        found = [vars(finding) for finding in findings]
        out.print_json(data={"lava": usable, "findings": found, "torch": torch_devices(), **onnx}, default=str)
    else:
        table = Table("where", Column("interpreter", overflow="fold"), "state", title="Python with lava-nc")
        for finding in findings:
            colour = "green" if finding.usable else "dim"
            table.add_row(finding.source, str(finding.path or "-"), Text(finding.detail, style=colour))
        out.print(table)
        out.print("executors numpy, native: ready")
        for name, what in torch_devices():
            out.print(f"executor torch, --device {name}: ready ({what})", soft_wrap=True)
        for executor, devices in onnx.items():
            for name, what in devices or ():
                out.print(f"executor {executor}, --device {name}: {what}", soft_wrap=True)
            if devices is None:
                out.print(f"executor {executor}: missing; {INSTALL}", markup=False)
        out.print(f"Intel XMX (int8): not measured; to find out: {XMX_COMMAND}", soft_wrap=True, markup=False)
        out.print("executor lava: ready" if usable else "executor lava: missing; run [bold]neuromorphic setup-lava[/]")
    raise typer.Exit(0 if usable else 1)


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
        typer.Option(help="Glia go on moving each sample's thresholds, every so many steps; else frozen.", min=1),
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
    with _progress(f"compiling {run_dir}", unit="samples") as progress:
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
        out.print(f"{written}: {len(program.ops)} operations, read back and firing alike", soft_wrap=True)
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


def _short(value: int) -> str:
    """Write an integer in up to six characters."""
    for size, unit in ((10**6, "M"), (10**4, "k")):
        if abs(value) >= size:
            return f"{value / (10**6 if unit == 'M' else 1000):.3g}{unit}"
    return str(value)


def _describe(program: Program) -> dict[str, Any]:
    bounds = {bound.name: bound for bound in prove(program)}
    rows = []
    layout = Layout(program)
    for op in program.ops:
        placement = layout.placements[op.name]
        row: dict[str, Any] = {
            "name": op.name,
            "op": type(op).__name__,
            "size": op.size,
            "depth": layout.depth[op.name],
        }
        if isinstance(op, Dense):
            row |= {"weights": list(op.weights.shape), "ternary": op.is_ternary, "weight_bytes": op.weight_bytes}
            row |= {"zero_fraction": float((op.weights == 0).mean()), "shift": op.shift}
        elif isinstance(op, LIF):
            row |= {"reset": op.reset, "shift": op.shift}
        elif isinstance(op, Slots):
            row |= {"weights": list(op.keys.shape), "weight_bytes": -(-op.keys.size // 4)}
        elif hasattr(op, "shift"):
            row |= {"shift": op.shift}
        if op.name in bounds:
            bound = bounds[op.name]
            row |= {"range": [bound.low, bound.high], "can_saturate": bound.can_saturate}
        row |= {"lava": placement.process, "lava_stock": placement.stock, "lava_reason": placement.reason}
        rows.append(row)
    total = sum(row.get("weight_bytes", 0) for row in rows)
    return {
        "sha256": program.sha256,
        "num_steps": program.num_steps,
        "weight_bytes": total,
        "ops": rows,
        "metadata": dict(program.metadata),
    }


@app.command()
def info(
    program_file: ProgramFile,
    loihi: Annotated[bool, typer.Option(help="Also what a Loihi 2 would take, modelled, and do otherwise.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a program: operations, proven ranges, weight bytes, and which Lava process runs what and why.

    For example:

    - `neuromorphic info program.npz`
    - `neuromorphic info program.npz --loihi`
    """
    program = Program.load(program_file)
    facts = _describe(program)
    if loihi:
        costs, findings = estimate_loihi(program), check_loihi(program)
        facts["loihi"] = {
            "modelled": True,
            "layers": [asdict(cost) for cost in costs],
            "findings": [asdict(finding) for finding in findings],
            "assumptions": list(ASSUMPTIONS),
        }
    if as_json:
        out.print_json(data=facts)
        return
    name = Column("op", no_wrap=True)
    table = Table(
        name, "what", Column("proven range", justify="right"), "Lava process", "late", title=str(program_file)
    )
    reasons: dict[str, str] = {}
    for row in facts["ops"]:
        what = f"{row['op']} {row['size']}"
        if row["op"] == "Dense":
            kind = "ternary" if row["ternary"] else "8-bit"
            what = f"Dense {row['weights'][0]}x{row['weights'][1]} {kind}"
        elif row["op"] == "LIF":
            what += f", reset {row['reset']}"
        span = f"{_short(row['range'][0])} .. {_short(row['range'][1])}" if "range" in row else ""
        span += " [red]saturates[/]" if row.get("can_saturate") else ""
        process = row["lava"] if row["lava_stock"] else f"[dim]{row['lava']}[/]"
        reasons.setdefault(f"{process}: {row['lava_reason']}", "")
        table.add_row(row["name"], what, span, process, str(row["depth"]))
    out.print(table)
    out.print("late: steps behind the program on Lava; [dim]dim[/]: our own process, because")
    for reason in reasons:
        if reason.startswith("[dim]"):
            out.print(f"  {reason}", soft_wrap=True)
    out.print(
        f"{facts['num_steps']} steps, {facts['weight_bytes']} bytes of packed weights, sha256 {facts['sha256'][:12]}"
    )
    if "agreement" in facts["metadata"]:
        agreement = facts["metadata"]["agreement"]
        labels = f"labels {100 * agreement['labels_equal']:.2f} %, " if "labels_equal" in agreement else ""
        out.print(
            f"agreement with the trained network ({agreement['samples']} {agreement['part']} samples): "
            f"{labels}spikes {100 * agreement['spikes_equal']:.3f} %"
        )
    if loihi:
        _show_loihi(facts["loihi"])


def _show_loihi(facts: dict[str, Any]) -> None:
    names = ("neurons", "fan_in", "axons", "synapse_bytes", "cores", "spikes_per_step", "synops_per_step")
    table = Table("layer", *(Column(name.replace("_", " "), justify="right") for name in names))
    table.title = "Loihi 2, modelled"
    for layer in facts["layers"]:
        table.add_row(layer["name"], *(_short(round(layer[name])) for name in names))
    out.print(table)
    cores = sum(layer["cores"] for layer in facts["layers"])
    out.print(f"{cores} of a chip's {CORES_PER_CHIP} neuro-cores. Modelled, nothing here was measured on a chip:")
    for assumption in facts["assumptions"]:
        out.print(f"  {assumption}")
    out.print(
        f"{len(facts['findings'])} obstacles to running it there as it is:" if facts["findings"] else "no obstacles"
    )
    for finding in facts["findings"]:
        out.print(f"  {finding['op']}: {finding['problem']}", soft_wrap=True)


def _run_npz(path: Path, inputs: NDArray[Any], executor: str, options: dict[str, Any]) -> Recording:
    program = Program.load(path)
    with _progress(f"running on {executor}") as progress:
        return run_program(program, inputs, executor, progress=progress, **options)


def _run_onnx(path: Path, inputs: NDArray[Any], executor: str, options: dict[str, Any]) -> Recording:
    try:
        from neuromorphic.executors.onnx.files import run_onnx
    except ModuleNotFoundError as error:
        raise ExecutorError(f"{path}: a .onnx file needs {error.name}: {INSTALL}") from error
    with _progress(f"running on {executor}") as progress:
        return run_onnx(path, inputs, executor, progress=progress, **options)


@app.command("run")
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
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write the recording (.npz).")] = None,
    samples: Samples = None,
    lava_python: LavaPython = None,
    time_limit: TimeLimit = None,
    device: Device = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Run a program on inputs and record every spike and state.

    For example:

    - `neuromorphic run program.npz inputs.npy --executor numpy -o recording.npz`
    - `neuromorphic run program.npz inputs.npy --executor lava --samples 0:20`
    - `neuromorphic run program.npz inputs.npy --executor native --threads 2`
    - `neuromorphic run program.npz inputs.npy --executor torch --device cuda`
    - `neuromorphic run model.onnx inputs.npy --executor openvino --device CPU`
    """
    model = program_file.suffix.lower() == ".onnx"
    executor = executor or ("onnxruntime" if model else "numpy")
    options = _options(executor, lava_python, time_limit, device, threads)
    if model and executor not in ONNX_EXECUTORS:
        raise typer.BadParameter(f"a .onnx file runs on {' or '.join(ONNX_EXECUTORS)}, got --executor {executor}")
    run_file = _run_onnx if model else _run_npz
    recording = run_file(program_file, _load_inputs(inputs_file, samples), executor, options)
    if output is not None:
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
def verify_command(
    program_file: ProgramFile,
    inputs_file: InputFile,
    executor: Annotated[str, typer.Option(help=f"The executor to check: one of {', '.join(NAMES)}.")] = "lava",
    samples: Samples = None,
    lava_python: LavaPython = None,
    time_limit: TimeLimit = None,
    device: Device = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Check an executor against the NumPy reference, spike by spike and state by state.

    Exit code 0 when all are equal; 1 with the first divergence (op, variable, step, sample, neuron, expected, got).

    For example:

    - `neuromorphic verify program.npz inputs.npy --executor lava`
    """
    options = _options(executor, lava_python, time_limit, device, threads)
    program, inputs = Program.load(program_file), _load_inputs(inputs_file, samples)
    with _progress(f"running on {executor}") as progress:
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


def main() -> None:
    """Entry point of the ``neuromorphic`` command."""
    app()


if __name__ == "__main__":
    main()
