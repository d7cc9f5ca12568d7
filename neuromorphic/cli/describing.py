"""The command that shows a program."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from neuromorphic.bounds import prove
from neuromorphic.cli.app import AsJson, ProgramFile, app, out
from neuromorphic.executors.lava.mapping import Layout
from neuromorphic.loihi import ASSUMPTIONS, CORES_PER_CHIP, check_loihi, estimate_loihi
from neuromorphic.ops import LIF, Dense, Slots
from neuromorphic.program import Program


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
