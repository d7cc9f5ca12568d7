"""The plots of an interactive page, by Bokeh: it draws the axes and does zoom, pan, hover and buttons.

The picture in each plot is computed in the browser for what its axes show (``interactive.js``), so the speed depends on
the screen and hardly on the number of spikes, and none is lost.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnbx_plot import grid
from pnbx_plot.arrays import Events
from pnbx_plot.compare import MOST_RINGS, Differences
from pnbx_plot.errors import needed
from pnbx_plot.grid import Spikes
from pnbx_plot.inputs import Input
from pnbx_plot.layers import Layers, differences_by_step, parts, rate_scale
from pnbx_plot.raster import Chosen, height, summary
from pnbx_plot.style import ACCENT, INK, QUIET

BORDERS = {"min_border_left": 80, "min_border_right": 45}
"""Room beside the plots in pixels, the same in all, so that their time axes are aligned."""
WIDTH = 1200
"""Boxes of the picture of one plot from left to right, at most."""


def document(drawn: Layers, found: dict[str, Differences] | None, potentials: dict[str, NDArray[Any]]) -> Any:
    """Return the Bokeh document of the page as JSON."""
    models, embed = needed("bokeh.models", "a page"), needed("bokeh.embed", "a page")
    layouts = needed("bokeh.layouts", "a page")
    first, steps = next((spikes.first_step, spikes.shape[0]) for spikes in drawn.spikes.values())
    unit = drawn.chosen.unit
    edges = ((first - 0.5) * unit, (first + steps - 0.5) * unit)
    time = models.Range1d(*edges, bounds=edges)
    pale = models.Toggle(label="only differences", visible=bool(found), name="pale", button_type="default")
    rasters = {
        name: _plot(name, spikes, drawn.chosen, time, pale, (found or {}).get(name), potentials.get(name))
        for name, spikes in drawn.spikes.items()
    }
    parts_of_page = [
        (
            name,
            layouts.column(plot, _rate(drawn.spikes[name], drawn.chosen, time, None if found is None else found[name])),
        )
        for name, plot in rasters.items()
    ]
    if drawn.input is not None:
        told = drawn.input
        if told.kind in ("spikes", "events"):
            shown = _plot("input", _events(told, first), drawn.chosen, time, pale, None, None)
            shown.title.text, shown.yaxis.axis_label = told.title, "channel"
        else:
            shown = _graded(told, drawn.chosen, time)
        parts_of_page.insert(0, ("input", layouts.column(shown)))
    names = [name for name, _ in parts_of_page]
    columns = [part for _, part in parts_of_page]
    for part in columns:
        part.sizing_mode = "stretch_width"
    boxes = models.CheckboxButtonGroup(labels=names, active=list(range(len(names))), name="layers")
    boxes.js_on_change("active", models.CustomJS(args={"columns": columns, "boxes": boxes}, code=_TOGGLE))
    controls = [boxes, pale]
    if found and any(map(len, found.values())):
        controls.append(_next_difference(drawn.chosen, found, time, list(rasters.values())))
    column = layouts.column(layouts.row(*controls), *columns, sizing_mode="stretch_width")
    return embed.json_item(column, "raster")


def _events(told: Input, first: int) -> Spikes:
    """Return an input of spikes, or of on and off events, as one layer."""
    if told.kind == "spikes":
        return Spikes(told.values, first)
    pairs = [np.nonzero(one) for one in told.on_and_off()]
    steps, pixels = (np.concatenate([pair[axis] for pair in pairs]) for axis in (0, 1))
    signs = np.repeat(np.array([1, -1], dtype=np.int8), [len(pair[0]) for pair in pairs])
    return Spikes(Events(steps, pixels, told.on_and_off()[0].shape, signs), first)


_TOGGLE = "columns.forEach((column, i) => { column.visible = boxes.active.includes(i) })"


def _plot(
    name: str, spikes: Spikes, chosen: Chosen, time: Any, pale: Any, found: Differences | None, potential: Any
) -> Any:
    """Return the plot of one layer."""
    models, plotting = needed("bokeh.models", "a page"), needed("bokeh.plotting", "a page")
    steps, neurons = spikes.shape
    edges = (-0.5, neurons - 0.5)
    high = int(100 * height(neurons))
    plot = plotting.figure(
        height=70 + high, sizing_mode="stretch_width", x_range=time,
        y_range=models.Range1d(*edges, bounds=edges), tools="pan,box_zoom,xwheel_zoom,ywheel_zoom,reset",
        active_scroll="xwheel_zoom", title=f"{name}: {summary(spikes, found, chosen)}", tags=[False], name=name,
        x_axis_label=chosen.time_label, y_axis_label="neuron", output_backend="canvas", **BORDERS,
    )  # fmt: skip
    plot.xgrid.visible = plot.ygrid.visible = False
    plot.toolbar.logo = None
    for axis in (plot.xaxis, plot.yaxis):
        axis.ticker = models.BasicTicker(min_interval=1 if chosen.dt is None or axis is plot.yaxis else 0)
        axis.formatter = models.NumeralTickFormatter(format="0,0.[000]")
    picture = models.ColumnDataSource(
        {"image": [np.zeros((high, WIDTH), dtype=np.uint32)], "x": [0], "y": [-0.5], "dw": [1], "dh": [1]}
    )
    image = plot.image_rgba("image", x="x", y="y", dw="dw", dh="dh", source=picture)
    rings = models.ColumnDataSource({"x": [], "y": []})
    for color, width in (("white", 4), (ACCENT, 2)):
        plot.scatter("x", "y", source=rings, size=15, fill_color=None, line_color=color, line_width=width)
    arrays = _arrays(spikes, found)
    redraw = models.CustomJS(
        args={
            **arrays, "plot": plot, "picture": picture, "rings": rings, "pale": pale, "unit": chosen.unit,
            "first": spikes.first_step, "num_steps": steps, "num_rows": neurons, "HEIGHT": high,
        },
        code=_script(),
    )  # fmt: skip
    for model in (plot.x_range, plot.y_range):
        model.js_on_change("start", redraw)
        model.js_on_change("end", redraw)
    for event in ("inner_width", "inner_height", "visible"):
        plot.js_on_change(event, redraw)
    pale.js_on_change("active", redraw)
    numbers = np.arange(neurons) if spikes.neurons is None else spikes.neurons
    told = {
        "unit": chosen.unit, "first": spikes.first_step, "num_steps": steps, "num_rows": neurons,
        "starts": arrays["starts"], "rows": arrays["rows"], "signs": arrays["signs"],
        "numbers": numbers if not np.array_equal(numbers, np.arange(neurons)) else np.zeros(0, dtype=np.int32),
        "potential": np.zeros(0) if potential is None else np.ascontiguousarray(potential).reshape(-1),
        "in_ms": chosen.dt is not None,
    }  # fmt: skip
    pointer = models.CustomJSHover(args=told, code=_POINTER)
    plot.add_tools(
        models.HoverTool(
            renderers=[image],
            tooltips="<span>$x{custom}</span>",
            formatters={"$x": pointer},
            point_policy="follow_mouse",
        )
    )
    return plot


_POINTER = """
const step = Math.round(special_vars.x / unit - first), row = Math.round(special_vars.y)
if (step < 0 || step >= num_steps || row < 0 || row >= num_rows) return "outside"
let text = in_ms ? `${+(unit * (step + first)).toPrecision(6)} ms, ` : ""
text += `step ${step + first}, neuron ${numbers.length ? numbers[row] : row}: `
let spike = 0
for (let i = starts[step]; i < starts[step + 1]; i++) if (rows[i] === row) spike = signs.length ? signs[i] : 1
text += spike > 0 ? "spike" : spike < 0 ? "off event" : "no spike"
return potential.length ? `${text}, v = ${+potential[step * num_rows + row].toPrecision(6)}` : text
"""


def _arrays(spikes: Spikes, found: Differences | None) -> dict[str, NDArray[Any]]:
    """Return spikes by step, and differences, in the smallest types that hold them."""
    steps, rows, values = spikes.events
    small = np.uint8 if spikes.shape[1] <= 1 << 8 else np.uint16 if spikes.shape[1] <= 1 << 16 else np.uint32
    starts = np.concatenate([[0], np.cumsum(np.bincount(steps, minlength=spikes.shape[0]))])
    signed = bool((values < 0).any())
    none = np.zeros(0, dtype=np.int32)
    arrays = {
        "starts": starts.astype(np.uint32),
        "rows": rows.astype(small),
        "signs": np.sign(values).astype(np.int8) if signed else none.astype(np.int8),
        "diff_steps": none,
        "diff_rows": none,
        "diff_other": none,
    }
    if found is not None:
        arrays["diff_steps"] = (found.steps - spikes.first_step).astype(np.int32)
        arrays["diff_rows"] = found.neurons.astype(np.int32)
        arrays["diff_other"] = ((found.got != 0) & (found.expected == 0)).astype(np.int32)
    return arrays


def _script() -> str:
    """Return the code that redraws, its constants in front."""
    rgb = {name: int(color[5:7] + color[3:5] + color[1:3], 16) for name, color in (("INK", INK), ("ACCENT", ACCENT))}
    names = {"FULL_BELOW", "LIGHT_ABOVE", "LIGHTEST", "TOP", "WIDEST", "WIDEST_SQUARE", "WIDEST_PART", "HIGHEST"}
    numbers = {"WIDTH": WIDTH, "MOST_RINGS": MOST_RINGS, **rgb}
    numbers |= {name: getattr(grid, name) for name in names}
    lines = "".join(f"const {name} = {value}\n" for name, value in sorted(numbers.items()))
    return lines + files("pnbx_plot").joinpath("interactive.js").read_text()


def _rate(spikes: Spikes, chosen: Chosen, time: Any, found: Differences | None) -> Any:
    """Return the plot of the firing rate over time, or of how many neurons differ."""
    models, plotting = needed("bokeh.models", "a page"), needed("bokeh.plotting", "a page")
    factor, unit = rate_scale(chosen)
    if found is None:
        values, edges = parts(factor * spikes.rate_of_steps())
        values, label, color = values / np.diff(edges), f"rate, {unit}", QUIET
    else:
        values, edges, label = differences_by_step(found, spikes)
        color = ACCENT
    plot = plotting.figure(
        height=70, sizing_mode="stretch_width", x_range=time, y_range=models.Range1d(0, float(values.max()) or 1.0),
        tools="", toolbar_location=None, y_axis_label=label, **BORDERS,
    )  # fmt: skip
    places = (edges + spikes.first_step - 0.5) * chosen.unit
    plot.quad(left=places[:-1], right=places[1:], bottom=0, top=values, fill_color=color, line_color=None)
    plot.grid.visible = plot.xaxis.visible = False
    plot.yaxis.ticker = models.BasicTicker(
        desired_num_ticks=2, num_minor_ticks=0, min_interval=0 if found is None else 1
    )
    return plot


def _graded(told: Input, chosen: Chosen, time: Any) -> Any:
    """Return the plot of an input that is an image or has graded values."""
    models, plotting = needed("bokeh.models", "a page"), needed("bokeh.plotting", "a page")
    if told.kind == "image":
        values = told.image(told.values[0])[::-1]
        size: dict[str, Any] = {"width": 190, "height": 190}
        where = {"x": 0, "y": 0, "dw": values.shape[1], "dh": values.shape[0]}
        ranges: dict[str, Any] = {}
    else:
        every = -(-told.values.shape[0] // 4000)
        values = told.values[::every].T
        size = {"height": 220, "sizing_mode": "stretch_width", **BORDERS}
        where = {
            "x": (told.steps[0] - 0.5) * chosen.unit, "y": -0.5, "dw": len(told.values) * chosen.unit,
            "dh": values.shape[0],
        }  # fmt: skip
        ranges = {"x_range": time}
    plot = plotting.figure(title=told.title, tools="", toolbar_location=None, name="input", **size, **ranges)
    mapper = models.LinearColorMapper(palette=[f"#{v:02x}{v:02x}{v:02x}" for v in range(255, -1, -1)])
    mapper.low, mapper.high = float(told.values.min()), float(told.values.max())
    plot.image([np.ascontiguousarray(values, dtype=np.float32)], color_mapper=mapper, **where)
    plot.xgrid.visible = plot.ygrid.visible = False
    if told.kind == "image":
        plot.axis.visible = False
        plot.outline_line_color = QUIET
        plot.title.text = "constant input"
    return plot


def _next_difference(chosen: Chosen, found: dict[str, Differences], time: Any, plots: list[Any]) -> Any:
    """Return a button that goes from one difference to the next."""
    models = needed("bokeh.models", "a page")
    every = [
        (int(step), place, int(row))
        for place, one in enumerate(found.values())
        for step, row in zip(one.steps[:2000], one.neurons[:2000], strict=True)
    ]
    button = models.Button(label="next difference", name="next", tags=[0])
    args = {"every": sorted(every), "plots": plots, "time": time, "button": button, "unit": chosen.unit}
    button.js_on_event("button_click", models.CustomJS(args=args, code=_NEXT))
    return button


_NEXT = """
const [step, place, row] = every[button.tags[0] % every.length]
button.tags[0] += 1
const near = (range, middle, width) => {
  const [low, high] = range.bounds
  const span = Math.min(width, high - low), start = Math.min(Math.max(middle - span / 2, low), high - span)
  range.setv({start, end: start + span})
}
near(time, step * unit, 40 * unit)
near(plots[place].y_range, row, 40)
button.label = `difference ${(button.tags[0] - 1) % every.length + 1} of ${every.length}: step ${step}, row ${row}`
"""
