"""What the command leaves: JSON, Markdown tables, and the figures of `studies.bench.figures`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studies.bench import figures
from studies.bench.timing import Limit, Row, Timing, readable


def rows_of(results: dict[str, Any]) -> list[Row]:
    """Return the rows of a results.json."""
    return [
        Row(
            **{
                **row,
                "ours": tuple(row["ours"]),
                "bounds": tuple(row["bounds"]),
                "times": {name: Timing(**timing) for name, timing in row["times"].items()},
                "limit": Limit(**row["limit"]) if row.get("limit") else None,
            }
        )
        for row in results["rows"]
    ]


def _entry(timing: Timing) -> str:
    return f"{readable(timing.median_s)} ({readable(timing.low_s)} - {readable(timing.high_s)})"


def _table(rows: list[Row]) -> list[str]:
    lines = [
        "| work | PNB-X | fastest rival | times faster | all others |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        best = row.best_rival
        others = [name for name in row.times if name not in (row.ours[0], best)]
        listed = "; ".join(f"{name} {readable(row.times[name].median_s)}" for name in others)
        lines.append(
            f"| {row.work} | {_entry(row.times[row.ours[0]])} | {best} {_entry(row.times[best])} | "
            f"**{row.speedup:.1f}** | {listed} |"
        )
    return lines


def markdown(results: dict[str, Any], rows: list[Row]) -> str:
    """Return the tables."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        "<!-- Written by `make bench`; edit studies.bench/report.py instead. -->",
        "",
        f"Measured on {machine['processor']}, {machine['logical_cpus']} logical processors, {machine['vectors']}, "
        f"{machine['system']}, Python {machine['python']}; {versions}. Medians, quartiles in brackets.",
        "",
        "### Training",
        "",
        f"{results['threads']} threads, fp32, forward and backward unless said.",
        "",
        *_table([row for row in rows if row.table == "training"]),
        "",
    ]
    if "peaks" in results:
        peaks = ", ".join(f"{name} {tensors:.1f}" for name, tensors in results["peaks"]["tensors"].items())
        lines += [
            f"Peak memory of a training pass of LIF {tuple(results['peaks']['shape'])} above its inputs, in "
            f"tensors of that shape: {peaks}.",
            "",
        ]
    lines += [
        "### Deployment",
        "",
        "One thread, integers, every product checked for exact sums first.",
        "",
        *_table([row for row in rows if row.table == "deployment"]),
        "",
    ]
    if "deployed" in results:
        held = results["deployed"]
        lines += [
            "| the reference network, deployed | bytes |",
            "| --- | --- |",
            f"| program file | {held['file_bytes']:,} |",
            f"| resident memory, process minus an empty one that imports the same | {held['resident_bytes']:,} |",
            f"| of it packed weights | {held['weight_bytes']:,} |",
            f"| of it state of one sample | {held['state_bytes']:,} |",
            f"| growth from 256 to {held['steps']:,} steps | {held['growth_bytes']:,} |",
            "",
        ]
    if "first_call" in results:
        lines += ["| first call | cold | from the cache |", "| --- | --- | --- |"]
        lines += [f"| {name} | {cold:.2f} s | {warm:.2f} s |" for name, (cold, warm) in results["first_call"].items()]
        lines.append("")
    lines += ["### What was checked before timing", ""]
    lines += [f"- {row.work}: {check}" for row in rows for check in row.checks]
    return "\n".join(lines) + "\n"


def write(results: dict[str, Any], rows: list[Row], folder: Path) -> None:
    """Write results.json, tables.md and the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {**results, "rows": [asdict(row) for row in rows]}
    (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "tables.md").write_text(markdown(results, rows))
    figures.write(results, rows, folder)
