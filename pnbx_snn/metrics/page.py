"""Tables and figures, and a page of them: one HTML file without scripts that fetches nothing and fits a telephone."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, NamedTuple

import numpy as np

from pnbx_snn.plot import ACCENT, INK, QUIET, raster_layers, without_display

COLORS = (INK, ACCENT, "#3f8f6b", "#e39b3b", "#7a5c9e", QUIET, "#5a9bd4", "#9e6b4a", "#b0a13c", "#c06c9b")
NUMBER = re.compile(r"[-+]?\d.*|-|")
STYLE = """
:root{color-scheme:light dark;--ink:#1d2733;--soft:#5b6673;--line:#d9dee4;--back:#fff;--card:#f6f8fa;--accent:#c8452d}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ee;--soft:#a3adb8;--line:#39424d;--back:#14181d;--card:#1d232a;
--accent:#f0806a}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}main{max-width:1240px;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}h2{font-size:1.3rem;margin:2.4rem 0 .4rem;padding-top:.4rem;
border-top:2px solid var(--accent)}h3{font-size:1rem;margin:1.4rem 0 .4rem}p{max-width:48rem;margin:.5rem 0}
.note{color:var(--soft);font-size:.85rem}nav{display:flex;flex-wrap:wrap;gap:.4rem;margin:1rem 0}
nav a{padding:.35rem .7rem;border:1px solid var(--line);border-radius:1rem;color:inherit;text-decoration:none;
font-size:.9rem}.scroll{overflow-x:auto;max-width:100%;border:1px solid var(--line);border-radius:.4rem}
table{border-collapse:collapse;width:100%;font-size:.86rem}th,td{padding:.35rem .6rem;text-align:left;
vertical-align:top;border-bottom:1px solid var(--line)}th{background:var(--card);font-weight:600}
tbody tr:last-child td{border-bottom:0}td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.plain td:first-child{white-space:nowrap}.figures{display:grid;gap:1rem;margin:1rem 0;
grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr))}figure{margin:0;border:1px solid var(--line);
border-radius:.4rem;padding:.6rem;background:#fff;color:#1d2733}figure.wide{grid-column:1/-1;max-width:720px}
figure svg,figure img{display:block;width:100%;height:auto}figcaption{font-size:.86rem}figcaption b{display:block}
details{margin:.6rem 0}summary{cursor:pointer;font-weight:600;padding:.3rem 0}
@media print{nav{display:none}.scroll{overflow:visible}details>*{display:block}}
"""


class Table(NamedTuple):
    """A table of texts; ``folded``: shown when it is asked for; ``cards``: rows of sentences, one below the other."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    folded: bool = False
    cards: bool = False

    @property
    def numbers(self) -> set[int]:
        """Columns that hold numbers and stand to the right."""
        if self.cards:
            return set()
        return {i for i, cells in enumerate(zip(*self.rows, strict=True)) if i and all(map(NUMBER.fullmatch, cells))}


class Figure(NamedTuple):
    """A picture, as SVG text or as PNG bytes (then it is wide), and what it shows, in words."""

    title: str
    alt: str
    svg: str = ""
    png: bytes = b""
    note: str = ""


class Section(NamedTuple):
    """A part of a report: paragraphs, tables and figures, and in ``data`` the same for programs."""

    name: str
    title: str
    text: list[str]
    parts: list[Table | Figure]
    data: dict[str, Any]


def render(
    title: str,
    lead: Sequence[str],
    sections: Sequence[Section],
    *,
    cell: Callable[[str, str], str] = lambda text, column: escape(text),
    style: str = "",
    refresh_s: int = 0,
) -> str:
    """Return a page; ``cell`` makes HTML of a text and the column it stands in, ``style`` comes after the page's.

    A browser loads it again every ``refresh_s`` seconds (0: never).
    """
    refresh = f'<meta http-equiv="refresh" content="{refresh_s}">' if refresh_s else ""
    links = "".join(f'<a href="#{section.name}">{escape(section.title)}</a>' for section in sections)
    body = []
    for section in sections:
        body.append(f'<section id="{section.name}"><h2>{escape(section.title)}</h2>{_paragraphs(section.text)}')
        figures = [_figure(part) for part in section.parts if isinstance(part, Figure)]
        body.append(f'<div class="figures">{"".join(figures)}</div>' if figures else "")
        body += [_table(part, cell) for part in section.parts if isinstance(part, Table)]
        body.append("</section>\n")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{refresh}<title>{escape(title)}</title><style>{STYLE}{style}</style></head>\n<body><main><h1>{escape(title)}</h1>"
        f"{_paragraphs(lead)}<nav>{links}</nav>{''.join(body)}</main></body></html>\n"
    )


def _paragraphs(texts: Sequence[str]) -> str:
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def _figure(figure: Figure) -> str:
    alt = escape(figure.alt)
    picture = f'<img alt="{alt}" src="data:image/png;base64,{base64.b64encode(figure.png).decode()}">'
    if figure.svg:
        picture = figure.svg.replace("<svg ", f'<svg role="img" aria-label="{alt}" ', 1)
    title = f"<figcaption><b>{escape(figure.title)}</b></figcaption>"
    wide = "" if figure.svg else ' class="wide"'
    return f"<figure{wide}>{title}{picture}<figcaption>{escape(figure.note)}</figcaption></figure>"


def _table(table: Table, cell: Callable[[str, str], str]) -> str:
    right = [' class="n"' if i in table.numbers else "" for i in range(len(table.columns))]
    heads = "".join(f"<th{side}>{escape(name)}</th>" for side, name in zip(right, table.columns, strict=True))
    labels = [f' data-label="{escape(name)}"' if table.cards and i > 1 else "" for i, name in enumerate(table.columns)]
    rows = []
    for row in table.rows:
        cells = [
            f"<td{right[i]}{labels[i]}>{cell(text, name)}</td>"
            for i, (name, text) in enumerate(zip(table.columns, row, strict=True))
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    kind = "cards" if table.cards else "plain"
    inner = f'<div class="scroll"><table class="{kind}"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody>'
    inner += "</table></div>" + (f'<p class="note">{escape(table.note)}</p>' if table.note else "")
    if table.cards or table.folded:
        opened = "" if table.folded else " open"
        return f"<details{opened}><summary>{escape(table.title)}</summary>{inner}</details>"
    return f"<h3>{escape(table.title)}</h3>{inner}"


@contextmanager
def svg_axes(title: str, size: tuple[float, float] = (4.3, 3.3)) -> Iterator[tuple[Any, list[str]]]:
    """Yield axes, and a list that holds the SVG when the block has ended."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    svg: list[str] = []
    # Ids of several figures in one page must differ (they are hashes of the title too); text stays text.
    options: dict[Any, Any] = {"svg.hashsalt": title, "svg.fonttype": "none", "font.size": 9, "legend.fontsize": 7.5}
    with without_display(), mpl.rc_context({**options, "font.family": "sans-serif"}):
        figure, ax = plt.subplots(figsize=size, layout="constrained")
        ax.spines[["top", "right"]].set_visible(False)
        yield ax, svg
        handles, labels = ax.get_legend_handles_labels()
        if labels:
            figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, handlelength=1.4)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    # Groups are numbered in every figure from 1, and nothing refers to them.
    svg.append(re.sub(r'<g id="[\w.]+_\d+">', "<g>", text[text.index("<svg") :]))


def histogram(values: Mapping[str, np.ndarray], *, title: str, target: float | None = None) -> Figure:
    """Draw how often neurons fire, one outline a layer."""
    top = max(float(rates.max()) for rates in values.values()) or 1.0
    with svg_axes(title) as (ax, svg):
        for i, (name, rates) in enumerate(values.items()):
            bins = np.linspace(0, 100 * top, 31)
            ax.hist(100 * rates, bins=bins, histtype="step", color=COLORS[i % 10], linewidth=1.4, label=name)
        if target is not None:
            ax.axvline(100 * target, color="black", linewidth=0.6, linestyle=":", label=f"target {100 * target:.3g} %")
        ax.set(xlabel="spikes per 100 steps", ylabel="neurons")
    return Figure(title, f"Histogram of the firing rates of the neurons of {', '.join(values)}", svg[0])


def by_step(values: Mapping[str, np.ndarray], *, title: str) -> Figure:
    """Draw the firing rate of each layer over the steps of a sample."""
    from matplotlib.ticker import MaxNLocator

    with svg_axes(title) as (ax, svg):
        for i, (name, rates) in enumerate(values.items()):
            ax.plot(range(len(rates)), 100 * rates, "o-", color=COLORS[i % 10], markersize=2.5, label=name)
        ax.set(xlabel="step", ylabel="% of the neurons fire", ylim=(0, None))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return Figure(title, f"Firing rate over the steps of {', '.join(values)}", svg[0])


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
    return Figure(title, f"Raster of the spikes of each layer: {said}", png=file.getvalue(), note=said)
