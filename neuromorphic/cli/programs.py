"""Commands that write programs in the formats of other tools, and show them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from neuromorphic.bounds import prove
from neuromorphic.cli.app import AsJson, ProgramFile, app, out
from neuromorphic.cli.options import told_options, with_options_of
from neuromorphic.description import agreement
from neuromorphic.errors import CompileError, NeuromorphicError
from neuromorphic.executors.lava.mapping import Layout
from neuromorphic.formats import FORMATS
from neuromorphic.loihi import ASSUMPTIONS, CORES_PER_CHIP, check_loihi, estimate_loihi
from neuromorphic.ops import LIF, Conv, GradedLIF, Slots, XyloLIF
from neuromorphic.ops.base import Synapses
from neuromorphic.ops.pool import Pool
from neuromorphic.program import Program
from neuromorphic.targets import formats_of, targets
from neuromorphic.wording import counted


@app.command("export")
@with_options_of(FORMATS)
def export_command(
    program_file: ProgramFile,
    to: Annotated[str, typer.Option(help=f"The format: {', '.join(FORMATS)}.")] = "nir",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write it; else the program's name with the format's suffix."),
    ] = None,
    **told: Any,
) -> None:
    """Write a program in the format of other tools.

    For example:

    - `neuromorphic export program.npz --to nir -o graph.nir`
    - `neuromorphic export program.npz --to netx -o network.net` (for lava-dl's netx: chains of stock neurons)
    - `neuromorphic export program.npz --to onnx --form scan -o model.onnx`, then `neuromorphic run model.onnx ...`
    """
    options = told_options(FORMATS, "--to", to, told)
    program, form = Program.load(program_file), FORMATS[to]
    output = output or program_file.with_suffix(form.suffix)
    room = form.load()
    try:
        said = room.write(program, output, **options)
    except NeuromorphicError as error:
        fitting = formats_of(program)
        if to in fitting:  # something else is wrong: an option, the place to write to
            raise
        raise CompileError(f"{error}. Formats that take {program_file}: {', '.join(fitting) or 'none'}") from error
    out.print(f"{output}: {escape(said)}", soft_wrap=True)


@app.command("targets")
def targets_command(program_file: ProgramFile, as_json: AsJson = False) -> None:
    """Say which executors, formats and chips can take a program, and the first reason where one cannot.

    For example:

    - `neuromorphic targets program.npz`
    """
    found = targets(Program.load(program_file))
    if as_json:
        out.print_json(data=[asdict(target) for target in found])
        return
    table = Table(
        "target", "takes it", Column("why not; what is missing here", overflow="fold"), title=str(program_file)
    )
    flags = {"executor": "run --executor", "format": "export --to", "chip": "chip"}
    colours = {"exactly": "green", "not exactly": "yellow", "no": "red"}
    for kind, flag in flags.items():
        table.add_section()
        for target in found:
            if target.kind == kind:
                missing = f"not here: {target.missing}" if target.missing else ""
                why = "; ".join(filter(None, (target.reason, missing))) or f"[dim]{escape(target.purpose)}[/]"
                said = why if why.startswith("[dim]") else escape(why)
                table.add_row(f"{flag} {target.name}", Text(target.takes, style=colours[target.takes]), said)
    out.print(table)


def _short(value: int) -> str:
    """Write an integer in up to six characters."""
    if abs(value) >= 10**6:
        return f"{value / 10**6:.3g}M"
    return f"{value / 1000:.3g}k" if abs(value) >= 10**4 else str(value)


def _times(shape: list[int]) -> str:
    return "x".join(map(str, shape))


def _describe(program: Program) -> dict[str, Any]:
    bounds = {bound.name: bound for bound in prove(program)}
    rows = []
    layout = Layout(program)
    for op in program.ops:
        placement, depth = layout.placements[op.name], layout.depth[op.name]
        row: dict[str, Any] = {"name": op.name, "op": type(op).__name__, "size": op.size, "depth": depth}
        if isinstance(op, Synapses):
            row |= {"weights": list(op.weights.shape), "ternary": op.is_ternary, "weight_bytes": op.weight_bytes}
            row |= {"zero_fraction": float((op.weights == 0).mean()), "shift": op.shift}
            row |= {"synapses": int(op.fan_in().sum())}
        elif isinstance(op, XyloLIF):
            row |= {"weights": list(op.weights.shape), "weight_bytes": op.weight_bytes}
        elif isinstance(op, LIF):
            row |= {"reset": op.reset, "shift": op.shift}
            row |= {"levels": op.levels} if isinstance(op, GradedLIF) else {}
        elif isinstance(op, Slots):
            row |= {"weights": list(op.keys.shape), "weight_bytes": op.weight_bytes}
        elif hasattr(op, "shift"):
            row |= {"shift": op.shift}
        if isinstance(op, (Conv, Pool)):
            row |= {"input_shape": list(op.input_shape), "output_shape": list(op.output_shape)}
        if op.name in bounds:
            bound = bounds[op.name]
            row |= {"range": [bound.low, bound.high], "can_saturate": bound.can_saturate}
        row |= {"lava": placement.process, "lava_stock": placement.stock, "lava_reason": placement.reason}
        rows.append(row)
    facts = {"sha256": program.sha256, "num_steps": program.num_steps}
    facts["weight_bytes"] = sum(op.weight_bytes for op in program.ops)
    return {**facts, "ops": rows, "metadata": dict(program.metadata)}


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
    name, span = Column("op", no_wrap=True), Column("proven range", justify="right")
    table = Table(name, "what", span, "Lava process", "late", title=str(program_file))
    reasons: dict[str, None] = {}
    for row in facts["ops"]:
        what = f"{row['op']} {row['size']}"
        if "ternary" in row:
            kind = "ternary" if row["ternary"] else "8-bit"
            what = f"{row['op']} {_times(row['weights'])} {kind}"
        elif row["op"] in ("LIF", "GradedLIF"):
            what += f", {row['levels']} levels" if "levels" in row else ""
            what += f", reset {row['reset']}"
        if "output_shape" in row:
            what += f", {_times(row['input_shape'])} to {_times(row['output_shape'])}"
        reach = f"{_short(row['range'][0])} .. {_short(row['range'][1])}" if "range" in row else ""
        reach += " [red]saturates[/]" if row.get("can_saturate") else ""
        process = row["lava"] if row["lava_stock"] else f"[dim]{row['lava']}[/]"
        reasons[f"{process}: {row['lava_reason']}"] = None
        table.add_row(row["name"], what, reach, process, str(row["depth"]))
    out.print(table)
    out.print("late: steps behind the program on Lava; [dim]dim[/]: our own process, because")
    for reason in reasons:
        if reason.startswith("[dim]"):
            out.print(f"  {reason}", soft_wrap=True)
    sizes = f"{counted(facts['num_steps'], 'step')}, {counted(facts['weight_bytes'], 'byte')} of packed weights"
    out.print(f"{sizes}, sha256 {facts['sha256'][:12]}")
    if agrees := agreement(facts["metadata"]):
        out.print(agrees, soft_wrap=True)
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
        f"{counted(len(facts['findings']), 'obstacle')} to running it there as it is:"
        if facts["findings"]
        else "no obstacles"
    )
    for finding in facts["findings"]:
        out.print(f"  {finding['op']}: {finding['problem']}", soft_wrap=True)
