"""What the command leaves: JSON, Markdown tables, and the figures of `studies.bench.figures`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pnbx_snn.wording import counted
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


TABLES = {
    "training": "Training",
    "recurrences": "Recurrences in training",
    "deployment": "Deployment",
    "whole": "Whole pieces of work",
}
"""Kinds of rows, and their headings."""


def _table(rows: list[Row]) -> list[str]:
    lines = [
        "| work | PNB-X | limit of the machine | share | fastest rival | times faster | all others |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        best = row.best_rival
        others = [name for name in row.times if name not in (row.ours[0], best)]
        listed = "; ".join(f"{name} {readable(row.times[name].median_s)}" for name in others)
        limit, share = ("", "") if row.limit is None else (_limit(row.limit), f"{100 * row.share:.0f} %")
        rival, faster = (f"{best} {_entry(row.times[best])}", f"**{row.speedup:.1f}**") if best else ("", "")
        cells = (row.work, _entry(row.times[row.ours[0]]), limit, share, rival, faster, listed)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _limit(limit: Limit) -> str:
    return f"{readable(limit.seconds)}: {limit.binds}"


def _machine(limits: dict[str, Any]) -> list[str]:
    """Return the tables of what the machine can do."""
    speeds = {tuple(name.split(", ")): value for name, value in limits["bandwidth"].items()}
    threads = sorted({n for _, _, n in speeds})
    levels = list(dict.fromkeys(level for level, _, _ in speeds))
    columns = [(kind, n) for kind in ("read", "copy") for n in threads]
    heads = [f"{kind}, {counted(int(n), 'thread')}" for kind, n in columns]
    lines = [f"| GB/s | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(columns)]
    lines += [f"| {level} | {' | '.join(f'{speeds[level, *c] / 1e9:.0f}' for c in columns)} |" for level in levels]
    rates = {tuple(name.split(", ")): value for name, value in limits["rate"].items()}
    heads = [counted(int(n), "thread") for n in threads]
    lines += [
        "",
        f"| 10^9 instructions a second, vectors of {limits['vector_bits']} bits | {' | '.join(heads)} |",
        "| --- |" + " ---: |" * len(threads),
    ]
    for name in dict.fromkeys(name for name, _ in rates):
        lines.append(f"| `{name}` | {' | '.join(f'{rates[name, n] / 1e9:.1f}' for n in threads)} |")
    return [*lines, ""]


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
    ]
    said = {
        "training": f"{counted(results['threads'], 'thread')}, fp32, forward and backward unless said.",
        "recurrences": f"{counted(results['threads'], 'thread')}, fp32, forward and backward.",
        "deployment": "One thread unless said, integers, every product checked for exact sums first.",
    }
    for table, heading in TABLES.items():
        shown = [row for row in rows if row.table == table]
        if shown:
            lines += [f"### {heading}", "", *([said[table], ""] if table in said else []), *_table(shown), ""]
    if "limits" in results:
        lines += ["### What the machine can do", "", *_machine(results["limits"])]
    lines += ["### Memory and first calls", ""]
    if "peaks" in results:
        peaks = ", ".join(f"{name} {tensors:.1f}" for name, tensors in results["peaks"]["tensors"].items())
        lines += [
            f"Peak memory of a training pass of LIF {tuple(results['peaks']['shape'])} above its inputs, in "
            f"tensors of that shape: {peaks}.",
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
