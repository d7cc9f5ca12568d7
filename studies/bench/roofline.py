"""Figures of what was reached against what the machine can do: the share of each row, and rooflines of what binds."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from pnbx_plot import style
from studies.bench.timing import Row, readable

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = {"L1": ":", "L2": "-.", "L3": "--", "memory": "-"}
TITLES = {
    "vpternlogq": "Bits: counters of full adders",
    "vpdpbusd": "Products of bytes",
    "vpmaddwd": "Products of int16",
    "vpaddw": "Sums of int16",
    "vfmadd231ps": "fp32 products",
    "vaddps": "fp32 sums",
    "vdpbf16ps": "bf16 products",
}


@style.use()
def shares(rows: list[Row], path: Path) -> None:
    """Draw which part of the machine's limit each row reaches, the largest first."""
    shown = sorted((row for row in rows if row.limit), key=lambda row: row.share)
    if not shown:
        return
    figure, axis = plt.subplots(figsize=(8.6, 1.2 + 0.42 * len(shown)))
    labels = []
    for place, row in enumerate(shown):
        assert row.limit is not None
        axis.barh(place, 100 * row.share, height=0.6, color=style.INK)
        axis.annotate(
            f"{100 * row.share:.0f} % of {readable(row.limit.seconds)}: {row.limit.binds}",
            (100 * row.share, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
        labels.append("\n".join(textwrap.wrap(row.work, 46)))
    axis.axvline(100, color=style.QUIET, lw=1)
    axis.set_yticks(range(len(shown)), labels, fontsize=7)
    axis.set_ylim(-0.6, len(shown) - 0.4)
    axis.set_xlim(0, 150)
    axis.set_xticks(range(0, 101, 20))
    axis.set_xlabel("share of the machine's limit, %; beside it the limit and what sets it")
    median = sorted(row.share for row in shown)[len(shown) // 2]
    figure.suptitle(f"Half of the rows reach {100 * median:.0f} % of what this processor can do, or more")
    figure.savefig(path)
    plt.close(figure)


@style.use()
def rooflines(rows: list[Row], limits: dict[str, Any], path: Path) -> None:
    """Draw a panel for each kind of instruction that limits a row, and one for rows that only move bytes.

    A row whose bytes were not counted has no place in it: its share is drawn by :func:`shares` alone.
    """
    found: dict[tuple[str, int], list[Row]] = {}
    for row in (row for row in rows if row.limit and row.limit.bytes):
        assert row.limit is not None
        found.setdefault((row.limit.instruction, row.limit.threads), []).append(row)
    kinds = sorted(found, key=lambda kind: (kind[1], kind[0]))
    columns = min(2, len(kinds))
    lines = -(-len(kinds) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(4.6 * columns, 3.9 * lines), squeeze=False)
    for axis, (instruction, threads) in zip(axes.flat, kinds, strict=False):
        (_instructions if instruction else _bytes)(axis, found[instruction, threads], limits, instruction, threads)
    for axis in axes.flat[len(kinds) :]:
        axis.set_visible(False)
    figure.suptitle("Each row under the roofs that bind it: bytes of the level they lie in, and its own instructions")
    figure.savefig(path)
    plt.close(figure)


def _roofs(limits: dict[str, Any], threads: int) -> dict[str, float]:
    """Return the bytes a second of each level, copied or read, whichever is faster."""
    roofs: dict[str, float] = {}
    for name, speed in limits["bandwidth"].items():
        level, _, n = name.split(", ")
        if int(n) == threads:
            roofs[level] = max(speed, roofs.get(level, 0.0))
    return roofs


def _instructions(axis: Axes, rows: list[Row], limits: dict[str, Any], instruction: str, threads: int) -> None:
    peak = limits["rate"][f"{instruction}, {threads}"] / 1e9
    points = []
    for row in rows:
        assert row.limit is not None
        y = row.limit.instructions / row.times[row.ours[0]].median_s / 1e9
        points.append((row.limit.instructions / row.limit.bytes, y, row.work))
    low, high = min(x for x, *_ in points) / 4, max(max(x for x, *_ in points) * 4, 0.3)
    for level, speed in _roofs(limits, threads).items():
        xs = [low * (high / low) ** (i / 60) for i in range(61)]
        axis.plot(xs, [min(peak, speed / 1e9 * x) for x in xs], color=style.QUIET, lw=1, ls=LINES[level], label=level)
    _numbered(axis, points)
    axis.set(xlabel="instructions for each byte that must move", ylabel=f"10^9 {instruction} and alike a second")
    axis.set_title(f"{TITLES.get(instruction, instruction)}, {threads} thread{'s' if threads > 1 else ''}")
    axis.legend(loc="best", fontsize=7)


def _bytes(axis: Axes, rows: list[Row], limits: dict[str, Any], _: str, threads: int) -> None:
    points = []
    for row in rows:
        assert row.limit is not None
        points.append((row.limit.bytes, row.limit.bytes / row.times[row.ours[0]].median_s / 1e9, row.work))
    for level, speed in _roofs(limits, threads).items():
        axis.axhline(speed / 1e9, color=style.QUIET, lw=1, ls=LINES[level], label=level)
    _numbered(axis, points)
    axis.set(xlabel="bytes that must move", ylabel="GB/s")
    axis.set_title(f"Only bytes, {threads} thread{'s' if threads > 1 else ''}")
    axis.legend(loc="best", fontsize=7)


def _numbered(axis: Axes, points: list[tuple[float, float, str]]) -> None:
    """Draw the points with their numbers, and say below the panel which is which."""
    for number, (x, y, _) in enumerate(points, 1):
        axis.plot([x], [y], "o", color=style.ACCENT, ms=6)
        axis.annotate(str(number), (x, y), (5, 4), textcoords="offset points", fontsize=8)
    axis.set(xscale="log", yscale="log")
    axis.xaxis.set_major_locator(LogLocator(numticks=6))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.minorticks_off()
    text = "\n".join(f"{number} {work}" for number, (_, _, work) in enumerate(points, 1))
    axis.text(0, -0.22, text, transform=axis.transAxes, va="top", fontsize=6.5)
