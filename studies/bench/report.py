"""What the command leaves: JSON, Markdown tables, figures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl

from studies.bench.timing import Row, Timing

mpl.use("Agg")
from matplotlib import pyplot as plt

OURS, THEIRS, BOUND = "#c8452d", "#8fa3b8", "#dddddd"
MARKERS = {4.0: "s", 2.0: "^", 1.0: "v"}
RIVALS = (("fp32", "s"), ("bf16", "^"), ("int8", "v"))
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def readable(seconds: float) -> str:
    """Return seconds with three digits and a unit."""
    scale, unit = next((scale, unit) for scale, unit in UNITS if seconds >= scale or unit == "ns")
    return f"{seconds / scale:.3g} {unit}"


def _entry(timing: Timing) -> str:
    return f"{readable(timing.median_s)} ({readable(timing.low_s)} - {readable(timing.high_s)})"


def _table(rows: list[Row]) -> list[str]:
    lines = [
        "| work | PNB-X | fastest rival | times faster | asked for | all others |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        best = row.best_rival
        others = [name for name in row.times if name not in (row.ours[0], best)]
        listed = "; ".join(f"{name} {readable(row.times[name].median_s)}" for name in others)
        lines.append(
            f"| {row.work} | {_entry(row.times[row.ours[0]])} | {best} {_entry(row.times[best])} | "
            f"**{row.speedup:.1f}** | {row.goal} | {listed} |"
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
            f"tensors of that shape (asked for: 4, aim 2): {peaks}.",
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


def bars(rows: list[Row], path: Path) -> None:
    """Draw every row: time of each rival over ours."""
    figure, axes = plt.subplots(1, 2, figsize=(13, 0.9 + 0.62 * max(_count(rows), 4)), layout="constrained")
    for axis, table in zip(axes, ("training", "deployment"), strict=True):
        shown = [row for row in rows if row.table == table]
        labels, values, colors = [], [], []
        for row in reversed(shown):
            for name in sorted(row.times, key=lambda n: row.times[n].median_s, reverse=True):
                labels.append(f"{name}")
                values.append(row.times[name].median_s)
                colors.append(OURS if name in row.ours else BOUND if name in row.bounds else THEIRS)
            labels.append(f"{row.work}")
            values.append(float("nan"))
            colors.append("white")
        places = range(len(labels))
        axis.barh(places, values, color=colors)
        axis.set_xscale("log")
        axis.set_yticks(list(places), labels, fontsize=7)
        for tick, value in zip(axis.get_yticklabels(), values, strict=True):
            tick.set_fontweight("bold" if value != value else "normal")
        for place, value in zip(places, values, strict=True):
            if value == value:
                axis.text(value, place, f" {readable(value)}", va="center", fontsize=6)
        axis.set_xlabel("seconds a call, median")
        axis.set_title(f"{table}: red is PNB-X")
        axis.margins(x=0.25)
        axis.set_ylim(-1, len(labels))
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _count(rows: list[Row]) -> int:
    counts = [sum(len(row.times) + 1 for row in rows if row.table == table) for table in ("training", "deployment")]
    return max(counts) // 3


def curves(found: dict[str, Any], path: Path) -> None:
    """Draw cost per neuron and step against length, width and batch."""
    lines = {name: points for name, points in found.items() if name != "native"}
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for name, points in lines.items():
        axes[0].plot(*zip(*points, strict=True), "o-", label=name)
    axes[0].set(xscale="log", yscale="log", xlabel="T, N or B", ylabel="seconds a neuron and step, forward + backward")
    axes[0].set_title("training: flat is linear cost")
    axes[0].legend(fontsize=8)
    native = found["native"]
    axes[1].plot(native["lengths"], [1e6 * s for s in native["seconds_per_step"]], "o-", color=OURS)
    axes[1].set(xscale="log", xlabel="length of the stream so far", ylabel="us a step")
    axes[1].set_ylim(0, 1.15e6 * max(native["seconds_per_step"]))
    axes[1].set_xticks(native["lengths"], [f"{length:,}" for length in native["lengths"]])
    axes[1].minorticks_off()
    axes[1].set_title(f"native executor, PNB-X: state grows by {native['state_growth_bytes']:.0f} bytes")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def roofline(rows: list[Row], limits: dict[str, float], path: Path) -> None:
    """Draw the products against what the machine can multiply and move: weights of 32, 8 and 2 bits."""
    figure, axis = plt.subplots(figsize=(7.5, 5), layout="constrained")
    intensity = [0.1, 1, 10, 100, 1000, 10_000]
    peak = limits["fp32 multiply-adds"]
    roofs = ((name, bandwidth) for name, bandwidth in limits.items() if name != "fp32 multiply-adds")
    for (name, bandwidth), style in zip(roofs, ("-", "--", ":"), strict=False):
        roof = [min(peak, bandwidth * i) / 1e9 for i in intensity]
        axis.plot(intensity, roof, color="#777", lw=1, ls=style, label=f"{name}, {bandwidth / 1e9:.0f} GB/s")
    axis.text(400, peak * 1.08 / 1e9, "fp32 multiply-adds", fontsize=7)
    for row in (row for row in rows if row.table == "deployment" and "ternary x" in row.work):
        numbers = [int(word.rstrip(",")) for word in row.work.split() if word.rstrip(",").isdigit()]
        inputs, outputs, batch = numbers[0], numbers[1], numbers[-1]
        for name, timing in row.times.items():
            weight_bytes = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0}.get(name.split()[-1], 0.25)
            work = inputs * outputs * batch
            x, y = work / (inputs * outputs * weight_bytes), work / timing.median_s / 1e9
            ours = name in row.ours
            axis.plot(x, y, "o" if ours else MARKERS[weight_bytes], color=OURS if ours else THEIRS, ms=7 if ours else 5)
            if ours:
                below = -10 if inputs == 784 else 4  # its point lies just under that of 2048 inputs
                axis.annotate(row.work, (x, y), fontsize=7, xytext=(5, below), textcoords="offset points")
    for name, marker, color in (("PNB-X, 2 bits", "o", OURS), *((f"rivals, {n}", m, THEIRS) for n, m in RIVALS)):
        axis.plot([], [], marker, color=color, label=name)
    axis.legend(fontsize=7, loc="lower right")
    axis.set(
        xscale="log", yscale="log", xlabel="multiply-adds a byte of weights", ylabel="10^9 dense multiply-adds a second"
    )
    axis.set_title("PNB-X native is above the roof of fp32: it multiplies nothing", fontsize=9)
    axis.set_xlim(0.1, 10_000)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def write(results: dict[str, Any], rows: list[Row], folder: Path) -> None:
    """Write results.json, tables.md and the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {**results, "rows": [asdict(row) for row in rows]}
    (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "tables.md").write_text(markdown(results, rows))
    bars(rows, folder / "bars.png")
    if "curves" in results:
        curves(results["curves"], folder / "curves.png")
    if "limits" in results:
        roofline(rows, results["limits"], folder / "roofline.png")
