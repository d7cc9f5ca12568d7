"""All layers in one figure: rasters with one time axis, rates over time under them, rates of neurons beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pnbx_plot import style
from pnbx_plot.arrays import chosen_layers, layers_of, sample_lengths
from pnbx_plot.compare import MOST_RINGS, Differences, rings
from pnbx_plot.errors import PlotError, needed
from pnbx_plot.grid import Spikes
from pnbx_plot.inputs import Input
from pnbx_plot.raster import Chosen, draw_layer, height, number
from pnbx_plot.style import ACCENT, INK, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MOST_BINS = 20
MOST_POINTS = 1000
"""A rate over more steps is drawn as means over as many equal parts."""


class Layers(NamedTuple):
    """What is drawn: the chosen part of every layer, of a second run too, and the input."""

    chosen: Chosen
    spikes: dict[str, Spikes]
    other: dict[str, Spikes] | None
    input: Input | None


def prepared(
    where: str,
    layers: Any,
    other: Any,
    *,
    only: Sequence[str] | None = None,
    input: Any = None,  # noqa: A002
    input_shape: tuple[int, ...] | None = None,
    sample: int = 0,
    steps: Any = None,
    neurons: Any = None,
    dt: float | None = None,
) -> Layers:
    """Check what is to be drawn and cut the chosen part out of it.

    Raises
    ------
    PlotError
        Another number of steps in a layer, other layers in the second run, a range that holds nothing.
    """
    chosen = Chosen(sample, steps, neurons, dt)
    arrays = chosen_layers(where, layers_of(layers), only)
    spikes = {name: chosen.of(where, name, values, sample_lengths(layers)) for name, values in arrays.items()}
    num_steps = {name: one.shape[0] for name, one in spikes.items()}
    told = None
    if input is not None:
        lengths = sample_lengths(layers)
        told = Input(where, input, input_shape, chosen, None if lengths is None else int(lengths[sample]))
        num_steps["input"] = len(told.values)
    if len(set(num_steps.values())) > 1:
        raise PlotError(f"{where}: all layers must have the same number of steps, got {num_steps}")
    second = None
    if other is not None:
        found = layers_of(other)
        if any(name not in found for name in arrays):
            raise PlotError(
                f"{where}: the other recording must have the same layers, {', '.join(arrays)}, got {', '.join(found)}"
            )
        second = {name: chosen.of(where, name, found[name], sample_lengths(other)) for name in arrays}
    return Layers(chosen, spikes, second, told)


def raster_layers(
    layers: Any,
    other: Any = None,
    *,
    only: Sequence[str] | None = None,
    input: Any = None,  # noqa: A002
    input_shape: tuple[int, ...] | None = None,
    sample: int = 0,
    steps: Any = None,
    neurons: Any = None,
    dt: float | None = None,
    title: str | None = None,
    rates: bool = True,
) -> Figure:
    """Draw the rasters of several layers above each other, with one time axis.

    Under each raster is the share of its neurons that spike in each step; beside it, how many of its neurons have which
    firing rate. See :func:`pnbx_plot.raster.raster` for what is not described here.

    Parameters
    ----------
    layers : mapping, recording, array or tensor
        The name of each layer and its spikes, from the input side on, all with the same number of steps.
    other : the same, optional
        Another run: in every layer the places that differ are ringed.
    only : sequence of str, optional
        Draw only these layers.
    input : array or tensor, optional
        What the network saw, drawn first: an image that is the same in every step as an image, 0 and 1 as a raster,
        on and off events in two colours, other values as shades.
    input_shape : tuple of int, optional
        ``(H, W)`` or ``(C, H, W)`` of the input's values; else a constant input of a square number is a square image.
    rates : bool
        Whether the rates are drawn.

    Raises
    ------
    PlotError
        When a shape, a range or a name is not usable; the message says what is.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> figure = raster_layers({"layer 1": np.eye(5), "layer 2": np.ones((5, 3))}, rates=False)
    >>> [ax.get_title() for ax in figure.axes]
    ['layer 1: 5 neurons, firing rate 20.0 %', 'layer 2: 3 neurons, firing rate 100.0 %']
    """
    where = "plot.raster_layers"
    options = {"sample": sample, "steps": steps, "neurons": neurons, "dt": dt}
    drawn = prepared(where, layers, other, only=only, input=input, input_shape=input_shape, **options)
    with style.use():
        figure, input_ax, panels = _panels(drawn, rates=rates)
        if drawn.input is not None:
            assert input_ax is not None
            drawn.input.draw(input_ax, drawn.chosen)
        found: dict[str, Differences | None] = {}
        for name, (ax, rate_ax, histogram_ax) in panels.items():
            spikes = drawn.spikes[name]
            second = None if drawn.other is None else drawn.other[name]
            found[name] = draw_layer(ax, name, spikes, second, drawn.chosen)
            if rate_ax is not None and histogram_ax is not None:
                if second is None:
                    _draw_rate(rate_ax, spikes, drawn.chosen)
                else:
                    _draw_count(rate_ax, spikes, found[name], drawn.chosen)
                _draw_histogram(histogram_ax, spikes, drawn.chosen)
        timed = [ax for ax in figure.axes if ax.get_xlabel() == drawn.chosen.time_label]
        for ax in timed[:-1]:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
        pale = any(
            one is not None and len(rings(panels[name][0], one, drawn.chosen.unit)) > MOST_RINGS
            for name, one in found.items()
        )
        _title(figure, title, found, pale=pale)
    return figure


def _title(figure: Figure, title: str | None, found: dict[str, Differences | None], *, pale: bool) -> None:
    compared = [one for one in found.values() if one is not None]
    if compared:
        count = sum(map(len, compared))
        text = "no spike differs"
        if count:
            verb = "differs" if count == 1 else "differ"
            marks = "red; the first is ringed" if pale else "ringed; red: only in the second run"
            text = f"{number(count, 'spike')} {verb} ({marks})"
        title = text if title is None else f"{title}: {text}"
    if title is not None:
        figure.suptitle(title)


def _panels(
    drawn: Layers, *, rates: bool
) -> tuple[Figure, Axes | None, dict[str, tuple[Axes, Axes | None, Axes | None]]]:
    """Make the Axes: of the input, and of the raster, rate and histogram of each layer."""
    plt = needed("matplotlib.pyplot", "a picture")
    heights: list[float] = []
    if drawn.input is not None:
        heights.append(1.3 if drawn.input.kind == "image" else height(drawn.input.values.shape[1]))
    for spikes in drawn.spikes.values():
        heights += [height(spikes.shape[1])] + ([0.42] if rates else [])
    figure = plt.figure(figsize=(8.4 if rates else 7.0, sum(heights) + 0.28 * len(heights) + 0.3), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.04, hspace=0.0)
    grid = figure.add_gridspec(len(heights), 2 if rates else 1, height_ratios=heights, width_ratios=(5, 1)[: 1 + rates])
    input_ax, timed, row = None, None, 0
    if drawn.input is not None:
        input_ax = figure.add_subplot(grid[0, 0])
        timed = None if drawn.input.kind == "image" else input_ax
        row = 1
    panels: dict[str, tuple[Axes, Axes | None, Axes | None]] = {}
    for name in drawn.spikes:
        ax = timed = figure.add_subplot(grid[row, 0], sharex=timed)
        rate_ax = figure.add_subplot(grid[row + 1, 0], sharex=timed) if rates else None
        histogram_ax = figure.add_subplot(grid[row : row + 2, 1]) if rates else None
        panels[name] = (ax, rate_ax, histogram_ax)
        row += 1 + rates
    return figure, input_ax, panels


def rate_scale(chosen: Chosen) -> tuple[float, str]:
    """Return what a share of spikes is multiplied with, and its unit."""
    return (100.0, "%") if chosen.dt is None else (1.0 / chosen.dt, "Hz")


def _draw_rate(ax: Axes, spikes: Spikes, chosen: Chosen) -> None:
    """Draw the share of the neurons that spike in each step, as a filled outline from 0."""
    factor, unit = rate_scale(chosen)
    values, edges = parts(factor * spikes.rate_of_steps())
    _stairs(ax, values / np.diff(edges), edges + spikes.first_step, chosen, f"rate, {unit}", (QUIET, INK))
    _few_ticks(ax.yaxis, 2)


def _draw_count(ax: Axes, spikes: Spikes, found: Differences | None, chosen: Chosen) -> None:
    """Draw in how many neurons two runs differ, in each step."""
    assert found is not None
    values, edges, label = differences_by_step(found, spikes)
    _stairs(ax, values, edges + spikes.first_step, chosen, label, (ACCENT, ACCENT))
    style.integers(ax.yaxis, most=2)


def differences_by_step(found: Differences, spikes: Spikes) -> tuple[NDArray[Any], NDArray[np.int64], str]:
    """Return how many values differ in parts of the steps, the edges of the parts, and what stands beside them."""
    values, edges = parts(np.bincount(found.steps - spikes.first_step, minlength=spikes.shape[0]))
    together = int(edges[1])
    return values, edges, "differ" if together == 1 else f"differ, in {together} steps"


def parts(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return sums over parts of equally many steps, 1,000 at most, and the edges of the parts."""
    edges = np.append(np.arange(0, len(values), -(-len(values) // MOST_POINTS)), len(values))
    return np.add.reduceat(values, edges[:-1]), edges


def _stairs(
    ax: Axes, values: NDArray[Any], edges: NDArray[Any], chosen: Chosen, label: str, colors: tuple[str, str]
) -> None:
    places = (edges - 0.5) * chosen.unit
    ax.stairs(values, places, baseline=0, fill=True, color=colors[0], alpha=0.55)
    ax.stairs(values, places, baseline=None, color=colors[1], linewidth=0.8)
    ax.set_ylim(0, values.max() * 1.05 or 1.0)
    ax.set_ylabel(label, fontsize="small")
    ax.set_xlabel(chosen.time_label)
    if chosen.dt is None:
        style.integers(ax.xaxis)


def _few_ticks(axis: Axis, most: int) -> None:
    ticker = needed("matplotlib.ticker", "a picture")
    axis.set_major_locator(ticker.MaxNLocator(nbins=most))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: "" if value < 0 else f"{value:.3g}"))


def _draw_histogram(ax: Axes, spikes: Spikes, chosen: Chosen) -> None:
    """Draw how many neurons have which firing rate."""
    factor, unit = rate_scale(chosen)
    rate = factor * spikes.rate_of_neurons()
    most = round(float(spikes.rate_of_neurons().max()) * spikes.shape[0])  # spikes of the busiest neuron
    width = -(-(most + 1) // MOST_BINS)  # whole numbers of spikes, or bins would be empty by turns
    bins = factor * (np.arange(0, most + width + 1, width) - 0.5) / spikes.shape[0]
    ax.hist(rate, bins=bins.tolist(), color=QUIET, edgecolor=INK, linewidth=0.5)
    ax.set_xlabel(f"rate, {unit}", fontsize="small")
    ax.set_ylabel("neurons", fontsize="small")
    style.integers(ax.yaxis, most=4)
    _few_ticks(ax.xaxis, 2 if most else 1)
    ax.tick_params(labelsize="small")
