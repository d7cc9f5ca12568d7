"""The figures of what was measured: each rival's time beside ours, cost against size, products against the machine.

``python -m studies.bench.figures [FOLDER]`` draws them again from FOLDER/results.json (default: docs/performance), and
writes the tables again.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from pnbx_plot import style
from studies.bench import roofline
from studies.bench.timing import Row, readable

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RIVALS = {
    "snnTorch": "o", "SpikingJelly": "v", "Norse": "P", "Spyx": "X", "jaxpike": "*", "ONNX Runtime": "s",
    "OpenVINO": "^", "torch": "D",
}  # fmt: skip
"""A marker for each library; a rival's name contains one of these, or it is torch's operations in another order."""


def _library(name: str) -> str:
    return next((library for library in RIVALS if library in name), "torch")


@style.use()
def ratios(rows: list[Row], table: str, path: Path) -> Axes:
    """Draw how many times as long as PNB-X each rival takes: a line of dots for each piece of work, ours at 1."""
    shown = rows[::-1]
    figure, axis = plt.subplots(figsize=(8.6, 1.5 + 0.52 * len(shown)))
    labels, libraries = [], set()
    for place, row in enumerate(shown):
        ours = row.times[row.ours[0]].median_s
        axis.axhline(place, color="#d9dce0", lw=0.6, zorder=0)
        for name, timing in row.times.items():
            ratio = timing.median_s / ours
            if name in row.ours[1:]:
                axis.plot([ratio], [place], "o", color=style.ACCENT, mfc="white", ms=6, label=name)
            elif name in row.bounds:
                axis.plot([ratio], [place], "|", color=style.QUIET, ms=14, mew=2, label=name)
            elif name not in row.ours:
                library = _library(name)
                libraries.add(library)
                axis.plot([ratio], [place], RIVALS[library], color=style.INK, ms=6.5, mfc="none", mew=1.3, label=name)
        axis.annotate(
            f"{row.speedup:.1f}", (row.speedup, place), (0, 6), textcoords="offset points", ha="center", fontsize=8
        )
        labels.append("\n".join([*textwrap.wrap(row.work, 40), readable(ours)]))
    axis.axvline(1, color=style.ACCENT, lw=2)
    axis.set_yticks(range(len(shown)), labels, fontsize=8)
    axis.set_ylim(-0.6, len(shown) - 0.3)
    axis.set_xscale("log")
    axis.set_xlim(
        left=min(0.7, *(t.median_s / r.times[r.ours[0]].median_s * 0.9 for r in shown for t in r.times.values()))
    )
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.minorticks_off()
    axis.set_xlabel("times as long as PNB-X (red line); the number is the fastest rival's")
    low, high = min(row.speedup for row in shown), max(row.speedup for row in shown)
    figure.suptitle(f"{table.capitalize()}: the fastest rival takes {low:.1f} to {high:.0f} times as long as PNB-X")
    keys = [
        Line2D([], [], ls="", marker=RIVALS[name], color=style.INK, mfc="none", mew=1.3, label=name)
        for name in RIVALS
        if name in libraries
    ]
    if any(len(row.ours) > 1 for row in shown):
        keys.append(Line2D([], [], ls="", marker="o", color=style.ACCENT, mfc="white", label="another form of ours"))
    if any(row.bounds for row in shown):
        keys.append(Line2D([], [], ls="", marker="|", ms=10, mew=2, color=style.QUIET, label="the products alone"))
    figure.legend(handles=keys, loc="outside lower center", ncols=min(5, len(keys)))
    figure.savefig(path)
    plt.close(figure)
    return axis


@style.use()
def curves(found: dict[str, Any], path: Path) -> None:
    """Draw cost against length, width and batch, each in a panel of its own."""
    panels = {
        "steps T": ("against T", "Longer sequences cost no more per step"),
        "neurons N": ("against N", "Wider layers cost no more per neuron"),
        "batch B": ("against B", "Larger batches cost no more per sample"),
    }
    figure, axes = plt.subplots(2, 2, figsize=(8.6, 6))
    for axis, (label, (words, title)) in zip(axes.flat, panels.items(), strict=False):
        lines = {name: points for name, points in found.items() if words in name}
        for (name, points), marker in zip(lines.items(), style.MARKERS, strict=False):
            sizes, seconds = zip(*points, strict=True)
            letters, _, numbers = name.partition("(")[2].rstrip(")").partition(" = ")
            fixed = ", ".join(map(" = ".join, zip(letters.split(", "), numbers.split(", "), strict=True)))
            axis.plot(sizes, [1e9 * s for s in seconds], marker=marker, label=f"{name.split()[0]}, {fixed}")
        axis.set(xscale="log", xlabel=label, ylabel="training, ns per neuron and step", title=title)
        axis.set_ylim(bottom=0)
        _sizes(axis, sizes)
        axis.legend()
    native, axis = found["native"], axes.flat[3]
    axis.plot(native["lengths"], [1e6 * s for s in native["seconds_per_step"]], marker="o")
    axis.set(xscale="log", xlabel="steps of the stream so far", ylabel="us per step")
    axis.set_title("A step of native PNB-X costs the same in any stream")
    axis.set_ylim(0, 1.15e6 * max(native["seconds_per_step"]))
    _sizes(axis, native["lengths"])
    figure.savefig(path)
    plt.close(figure)


def _sizes(axis: Axes, sizes: list[int] | tuple[int, ...]) -> None:
    """Put ticks at the sizes that were measured, and at no other."""
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()


def write(results: dict[str, Any], rows: list[Row], folder: Path) -> None:
    """Draw all figures of these results."""
    for table in ("training", "recurrences", "deployment"):
        compared = [row for row in rows if row.table == table and row.best_rival]
        if compared:
            ratios(compared, table, folder / f"{table}.png")
    roofline.shares(rows, folder / "shares.png")
    if "curves" in results:
        curves(results["curves"], folder / "curves.png")
    if "limits" in results:
        roofline.rooflines(rows, results["limits"], folder / "roofline.png")


def main() -> None:
    """Draw the figures again, and write the tables again."""
    from studies.bench.report import markdown, rows_of

    folder = Path(*sys.argv[1:2] or (Path(__file__).parents[2] / "docs" / "performance",))
    results = json.loads((folder / "results.json").read_text())
    rows = rows_of(results)
    (folder / "tables.md").write_text(markdown(results, rows))
    write(results, rows, folder)


if __name__ == "__main__":
    main()
