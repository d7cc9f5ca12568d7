"""Figures of a report: small, so that they are read on a telephone, and inline SVG, so that a report is one file."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pnbx_snn.plot import ACCENT, INK, QUIET, raster_layers
from pnbx_snn.report import without_display
from studies.claims.energy import Scenario
from studies.measurements.fits import Fit
from studies.report.report_parts import Figure
from studies.report.words import bytes_words

SIZE = (4.3, 3.3)
OTHERS = (INK, "#3f8f6b", "#e39b3b", "#7a5c9e", QUIET, "#5a9bd4", "#9e6b4a", "#b0a13c", "#c06c9b")


@contextmanager
def _figure(title: str, *, size: tuple[float, float] = SIZE) -> Iterator[tuple[Any, list[str]]]:
    """Yield axes and a list that holds the SVG when the block has ended."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    svg: list[str] = []
    # Ids of several figures in one page must differ (they are hashes of the title too); text stays text.
    options: dict[Any, Any] = {"svg.hashsalt": title, "svg.fonttype": "none", "font.size": 9, "legend.fontsize": 7.5}
    with without_display(), mpl.rc_context({**options, "font.family": "sans-serif"}):
        figure, ax = plt.subplots(figsize=size, layout="constrained")
        ax.spines[["top", "right"]].set_visible(False)
        yield ax, svg
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    # Groups are numbered in every figure alike, and nothing refers to them.
    svg.append(re.sub(r'<g id="[\w.]+_\d+">', "<g>", text[text.index("<svg") :]))


def _colors(names: Sequence[str]) -> dict[str, str]:
    others = itertools.cycle(OTHERS)
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
    with _figure(title) as (ax, svg):
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
        _legend(ax)
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


def _legend(ax: Any) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if labels:
        ax.figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, handlelength=1.4)


def intervals(scenarios: Sequence[Scenario], *, title: str, note: str = "") -> Figure:
    """Draw the energy of each scenario as a bar from its lowest to its highest estimate."""
    with _figure(title, size=(4.3, 0.9 + 0.27 * len(scenarios))) as (ax, svg):
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


def histogram(values: Mapping[str, np.ndarray], *, title: str, target: float | None = None) -> Figure:
    """Draw how often neurons fire, one outline a layer."""
    colors = dict(zip(values, (INK, ACCENT, *OTHERS[1:] * 3), strict=False))
    top = max(float(v.max()) for v in values.values()) or 1.0
    bins = np.linspace(0, 100 * top, 31)
    with _figure(title) as (ax, svg):
        for name, rates in values.items():
            ax.hist(100 * rates, bins=bins, histtype="step", color=colors[name], linewidth=1.4, label=name)
        if target is not None:
            ax.axvline(100 * target, color="black", linewidth=0.6, linestyle=":", label=f"target {100 * target:.3g} %")
        ax.set(xlabel="spikes per 100 steps", ylabel="neurons")
        _legend(ax)
    return Figure(title, f"Histogram of the firing rates of the neurons of {', '.join(values)}", svg[0])


def by_step(values: Mapping[str, np.ndarray], *, title: str) -> Figure:
    """Draw the firing rate of each layer over the steps of a sample."""
    from matplotlib.ticker import MaxNLocator

    colors = dict(zip(values, (INK, ACCENT, *OTHERS[1:] * 3), strict=False))
    with _figure(title) as (ax, svg):
        for name, rates in values.items():
            ax.plot(range(len(rates)), 100 * rates, "o-", color=colors[name], markersize=2.5, label=name)
        ax.set(xlabel="step", ylabel="% of the neurons fire", ylim=(0, None))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _legend(ax)
    return Figure(title, f"Firing rate over the steps of {', '.join(values)}", svg[0])


def scatter(
    points: Mapping[str, Sequence[tuple[float, float]]], *, title: str, x: str, y: str, note: str = ""
) -> Figure:
    """Draw shares in % of several kinds against bytes, x logarithmic."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    colors = _colors(list(points))
    with _figure(title) as (ax, svg):
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
        _legend(ax)
    return Figure(title, f"{y} against {x}: {'; '.join(points)}", svg[0], note=note)


def fitted(fits: Mapping[str, Fit], lengths: Sequence[int]) -> dict[str, list[tuple[float, float]]]:
    """Return the curves of fits, for :func:`lines`."""
    span = np.geomspace(min(lengths), max(lengths), 40)
    return {name: [(float(at), found.at(float(at))) for at in span] for name, found in fits.items()}


def raster(sample: Mapping[str, Any], *, title: str) -> Figure:
    """Draw the spikes that one sample evokes, as PNG: thousands of spikes are smaller so than as SVG."""
    import matplotlib as mpl

    file = io.BytesIO()
    with without_display(), mpl.rc_context({"font.size": 11}):
        figure = raster_layers(sample["layers"], input=sample["input"])
        figure.set_size_inches(6.2, figure.get_size_inches()[1])
        for ax in figure.axes:
            ax.title.set_fontsize("small")
        figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    said = f"sample {sample['sample']}, a {sample['label']}, read as {sample['read']}"
    return Figure(title, f"Raster of the spikes of each layer: {said}", png=file.getvalue(), note=said, wide=True)
