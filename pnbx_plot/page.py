"""Rasters as one interactive HTML page that works without a network: zoom, hover, layers on and off, differences."""

from __future__ import annotations

import base64
import gzip
import html
import json
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnbx_plot.arrays import neuron_numbers, one_sample
from pnbx_plot.compare import Differences, differences
from pnbx_plot.errors import PlotError, needed
from pnbx_plot.interactive import document
from pnbx_plot.layers import Layers, prepared
from pnbx_plot.raster import number

MOST_MEMBRANES = 4_000_000
"""So many membrane values, of all layers together, are put into a page."""
LIBRARY = ("bokeh.min.js", "bokeh-widgets.min.js")


def html_raster(
    layers: Any, other: Any = None, *, title: str | None = None, membranes: Any = None, **chosen: Any
) -> str:
    """Return an interactive HTML page of rasters, in one file of 0.6 megabytes and its data.

    Parameters
    ----------
    layers, other, title
        As of :func:`pnbx_plot.layers.raster_layers`.
    membranes : mapping, optional
        The membrane potentials of layers, shaped as their spikes, shown where the pointer is. Of a recording they are
        known.
    **chosen
        ``only``, ``input``, ``input_shape``, ``sample``, ``steps``, ``neurons`` and ``dt`` of the same function.

    Raises
    ------
    PlotError
        As :func:`pnbx_plot.layers.raster_layers`; when membranes and spikes of a layer have different shapes.
    MissingPackageError
        Without Bokeh.
    """
    needed("bokeh", "an interactive page (.html)")
    drawn = prepared("html_raster", layers, other, **chosen)
    found = None
    if drawn.other is not None:
        found = {name: differences(name, spikes, drawn.other[name]) for name, spikes in drawn.spikes.items()}
    potentials = _membranes(layers, membranes, drawn)
    item = document(drawn, found, potentials)
    return _page(title or "Raster", _note(drawn, found, potentials), item)


def _membranes(layers: Any, membranes: Any, drawn: Layers) -> dict[str, NDArray[Any]]:
    """Cut the membranes as the spikes were cut; leave them out where they would make a page of many megabytes."""
    if membranes is None:
        told = layers.variables if hasattr(layers, "variables") else {}
        membranes = {name: told[f"{name}.v"] for name in drawn.spikes if f"{name}.v" in told}
    if sum(spikes.shape[0] * spikes.shape[1] for spikes in drawn.spikes.values()) > MOST_MEMBRANES:
        return {}
    cut = {}
    for name, spikes in drawn.spikes.items():
        if name in membranes:
            whole = one_sample("html_raster", f"membranes of {name}", membranes[name], drawn.chosen.sample)
            numbers = neuron_numbers("html_raster", drawn.chosen.neurons, whole.shape[1])
            values = whole[spikes.first_step : spikes.first_step + spikes.shape[0], numbers]
            if values.shape != spikes.shape:
                raise PlotError(f"{name}: membranes must be {list(spikes.shape)}, got {list(values.shape)}")
            narrow = values.dtype.kind in "iu" and np.abs(values).max() < 1 << 15
            cut[name] = values.astype(np.int16 if narrow else np.int32 if values.dtype.kind in "iu" else np.float32)
    return cut


def _note(drawn: Layers, found: dict[str, Differences] | None, potentials: dict[str, NDArray[Any]]) -> str:
    text = "Wheel or box: zoom. Drag: move. Point at a place: step, neuron" + (", membrane." if potentials else ".")
    if found is not None:
        count = sum(map(len, found.values()))
        verb = "differs" if count == 1 else "differ"
        text = (
            f"{number(count, 'spike')} {verb} (ringed where there is room; in red what only the second run has). {text}"
        )
    return text


@cache
def _library() -> str:
    """Return Bokeh's JavaScript, compressed: 0.6 megabytes instead of 1.7."""
    folder = files("bokeh").joinpath("server", "static", "js")
    code = "\n".join(folder.joinpath(name).read_text() for name in LIBRARY)
    return base64.b64encode(gzip.compress(code.encode(), 9, mtime=0)).decode()


def _page(title: str, note: str, item: Any) -> str:
    """Return the page; nothing in its data can end the element that holds it."""
    text = json.dumps(item, separators=(",", ":")).replace("<", "\\u003c")
    version = needed("bokeh", "a page").__version__
    page = Template(files("pnbx_plot").joinpath("page.html").read_text())
    values = {"title": html.escape(title), "note": html.escape(note), "version": version}
    return page.substitute(values, library=_library(), item=text)
