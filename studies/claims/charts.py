"""Figures of a report beyond those of :mod:`pnbx_snn.metrics.page`: curves, intervals, points, on logarithmic axes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pnbx_snn.metrics.energy import Scenario
from pnbx_snn.metrics.page import COLORS, Figure, drawn
from pnbx_snn.metrics.words import bytes_words
from pnbx_snn.plot import ACCENT, INK
from studies.measurements.fits import Fit


def _colors(names: Sequence[str]) -> dict[str, str]:
    others = itertools.cycle([color for color in COLORS if color != ACCENT])
    return {name: ACCENT if name.startswith("PNB-X") else next(others) for name in names}


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str,
    x: str,
    y: str,
    dashed: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    note: str = "",
    mark: tuple[float, str] | None = None,
) -> Figure:
    """Draw curves on two logarithmic axes; ``dashed`` ones are counted or fitted, the others have points."""
    dashed = dashed or {}
    colors = _colors(list(dict.fromkeys([*series, *dashed])))
    with drawn(title) as (ax, svg):
        for name, points in series.items():
            ax.plot(*zip(*points, strict=True), "o-", color=colors[name], markersize=3, linewidth=1.4, label=name)
        for name, points in dashed.items():
            label = name if name not in series else None
            ax.plot(*zip(*points, strict=True), "--", color=colors[name], linewidth=1.1, label=label)
        if mark is not None:
            ax.axvline(mark[0], color="black", linewidth=0.6, linestyle=":")
            ax.annotate(
                mark[1], (mark[0], 0.98), xycoords=("data", "axes fraction"), fontsize=7.5, rotation=90, va="top"
            )
        ax.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
        _length_ticks(ax)
        ax.grid(alpha=0.15, linewidth=0.5)
    return Figure(title, f"{y} against {x}: {'; '.join(colors)}", svg[0], note=note)


def _length_ticks(ax: Any) -> None:
    """Name lengths as people do; the powers of ten between them would cover each other."""
    from matplotlib.ticker import NullFormatter

    names = {256: "256", 1024: "1k", 4096: "4k", 16_384: "16k", 100_000: "100k", 1_000_000: "1M"}
    low, high = ax.get_xlim()
    shown = {at: name for at, name in names.items() if low <= at <= high}
    ax.set_xticks(list(shown), list(shown.values()))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())


def intervals(scenarios: Sequence[Scenario], *, title: str, note: str = "") -> Figure:
    """Draw the energy of each scenario as a bar from its lowest to its highest estimate."""
    with drawn(title, size=(4.3, 0.9 + 0.27 * len(scenarios))) as (ax, svg):
        for place, scenario in enumerate(reversed(scenarios)):
            low, high = scenario.total
            color = ACCENT if scenario.who.startswith("PNB-X") else INK
            ax.plot([low, max(high, low * 1.04)], [place, place], color=color, linewidth=6, solid_capstyle="butt")
        names = []
        for s in reversed(scenarios):
            memory = "arithmetic alone" if s.memory == "none" else s.memory
            who = s.who.replace("Transformer, equal", "Transf.").replace(", ternary, integers", "")
            names.append(f"{who}, {s.sparsity}, {memory}" if s.who.startswith("PNB-X") else f"{who}, {memory}")
        ax.set_yticks(range(len(names)), names, fontsize=7)
        ax.set(xscale="log", xlabel="J a step or token")
        ax.grid(axis="x", alpha=0.2, linewidth=0.5)
    return Figure(
        title, "Modelled energy, a bar from the lowest to the highest estimate of two tables", svg[0], note=note
    )


def scatter(
    points: Mapping[str, Sequence[tuple[float, float]]], *, title: str, x: str, y: str, note: str = ""
) -> Figure:
    """Draw shares in % of several kinds against bytes, x logarithmic."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    colors = _colors(list(points))
    with drawn(title) as (ax, svg):
        for number, (name, pairs) in enumerate(points.items()):
            ax.plot(*zip(*pairs, strict=True), "os^Dv"[number % 5], color=colors[name], markersize=5, label=name)
        ax.set(xscale="log", xlabel=x, ylabel=y)
        low, high = ax.get_ylim()
        low = min(low, 98.0)
        ax.set_ylim(low, min(high, 100 + 0.05 * (100 - low)))
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: bytes_words(value)))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(alpha=0.15, linewidth=0.5)
    return Figure(title, f"{y} against {x}: {'; '.join(points)}", svg[0], note=note)


def fitted(fits: Mapping[str, Fit], lengths: Sequence[int]) -> dict[str, list[tuple[float, float]]]:
    """Return the curves of fits, for :func:`lines`."""
    span = np.geomspace(min(lengths), max(lengths), 40)
    return {name: [(float(at), found.at(float(at))) for at in span] for name, found in fits.items()}
