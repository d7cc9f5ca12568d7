"""Membrane potentials over time, with threshold and spikes; of many neurons one small panel each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pnbx_plot import style
from pnbx_plot.arrays import Events, as_array, bounds, layers_of, neuron_numbers, one_sample
from pnbx_plot.errors import PlotError
from pnbx_plot.raster import Chosen
from pnbx_plot.style import COLORS, INK, LINES, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CURVES = 6
"""More neurons than these become small panels."""
MOST_PANELS = 60


def membrane(
    v: Any,
    *,
    threshold: Any = None,
    spikes: Any = None,
    layer: str | None = None,
    neurons: Any = None,
    sample: int = 0,
    steps: Any = None,
    dt: float | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the membrane potential over time, with its threshold and spikes.

    Up to six neurons are curves of their own colour and line style on one Axes; each spike is a tick above the curves.
    More neurons become small panels inside the Axes, with one scale.

    Parameters
    ----------
    v : array, tensor or recording
        ``[T]`` for one neuron, ``[T, N]``, or ``[T, B, N]``. Of a recording, the variable ``v`` of ``layer``, in the
        program's integer units, with its spikes.
    threshold : float or array, optional
        One number, or one for each neuron ``[N]``: a dashed line.
    spikes : array or tensor, optional
        The spikes of the same neurons and steps.
    neurons : tuple of int or sequence of int, optional
        Which neurons: ``(a, b)`` or a list of numbers; else all, of a recording the six that spike most.
    steps, sample, dt, title, ax
        As of :func:`pnbx_plot.raster.raster`.

    Raises
    ------
    PlotError
        When a shape, a range or a name is not usable, or more than 60 neurons are asked for.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> membrane(np.array([0.4, 0.9, 0.0]), threshold=1.0, spikes=np.array([0, 0, 1])).get_ylabel()
    'membrane potential v'
    """
    where, chosen = "plot.membrane", Chosen(sample, steps, neurons, dt)
    if hasattr(v, "variables"):
        v, spikes, layer = _of_recording(where, v, layer)
        if neurons is None:
            busiest = one_sample(where, "spikes", spikes, sample).astype(bool).sum(axis=0)
            neurons = np.sort(np.argsort(-busiest, kind="stable")[:MOST_CURVES])
        title = layer if title is None else f"{title}, {layer}"
    whole = one_sample(where, "v", v, sample, vector=True)
    events = None if spikes is None else one_sample(where, "spikes", spikes, sample, vector=True)
    if isinstance(whole, Events) or isinstance(events, Events):
        raise PlotError(f"{where}: v and spikes must be dense, got events")
    if events is not None and events.shape != whole.shape:
        raise PlotError(f"{where}: spikes must have the shape of v, {list(whole.shape)}, got {list(events.shape)}")
    first, end = bounds(where, "steps", steps, len(whole))
    numbers = neuron_numbers(where, neurons, whole.shape[1])
    if len(numbers) > MOST_PANELS:
        raise PlotError(
            f"{where}: at most {MOST_PANELS} neurons can be drawn, got {len(numbers)}; choose with neurons="
        )
    thresholds = _thresholds(where, threshold, whole.shape[1], numbers)
    values = whole[first:end, numbers].astype(np.float64)
    fired = None if events is None else events[first:end, numbers] != 0
    time = np.arange(first, end) * chosen.unit
    with style.use():
        many = len(numbers) > MOST_CURVES
        size = (7.0, 1.0 + 0.75 * -(-len(numbers) // 2)) if many else (7.0, 2.8)
        ax = style.axes(ax, size)
        if many:
            _panels(ax, time, values, fired, thresholds, numbers, chosen)
        else:
            _curves(ax, time, values, fired, thresholds, numbers, chosen)
        if title is not None:
            ax.set_title(title, fontsize="medium")
    return ax


def _of_recording(where: str, recording: Any, layer: str | None) -> tuple[Any, Any, str]:
    have = [name for name in layers_of(recording) if f"{name}.v" in recording.variables]
    if layer is None and len(have) == 1:
        layer = have[0]
    if layer not in have:
        raise PlotError(f"{where}: layer= must name one of {', '.join(have) or 'no layer has v'}, got {layer}")
    return recording.variables[f"{layer}.v"], recording.variables[f"{layer}.spikes"], layer


def _thresholds(where: str, threshold: Any, count: int, numbers: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return the threshold of each drawn neuron."""
    if threshold is None:
        return None
    values = as_array(threshold).astype(np.float64).reshape(-1)
    if len(values) not in (1, count):
        raise PlotError(f"{where}: threshold must be one number or one for each of {count} neurons, got {len(values)}")
    return np.broadcast_to(values, count)[numbers]


def _curves(
    ax: Axes,
    time: NDArray[Any],
    values: NDArray[np.float64],
    fired: NDArray[np.bool_] | None,
    thresholds: NDArray[np.float64] | None,
    numbers: NDArray[np.int64],
    chosen: Chosen,
) -> None:
    count = len(numbers)
    for place, number in enumerate(numbers):
        ax.plot(
            time, values[:, place], linewidth=1.3, color=COLORS[place], linestyle=LINES[place],
            label=f"neuron {number}" if count > 1 else None,
        )  # fmt: skip
    drawn = values if thresholds is None else np.concatenate([values.ravel(), thresholds])
    if thresholds is not None and np.ptp(thresholds) == 0:
        ax.axhline(thresholds[0], color=QUIET, linestyle=(0, (5, 3)), linewidth=1.0, label="threshold", zorder=1)
    elif thresholds is not None:
        for place, height in enumerate(thresholds):
            ax.axhline(height, color=COLORS[place], linestyle=(0, (5, 3)), linewidth=0.8, zorder=1)
    if fired is not None:
        # In rows above the curves, not on them: a neuron that was reset has its spike at v = 0.
        row = (np.ptp(drawn) or 1.0) * min(0.08, 0.4 / count)
        for place in range(count):
            height = np.max(drawn) + row * (1 + place)
            ticks = ax.vlines(
                time[fired[:, place]], height - 0.4 * row, height + 0.4 * row, color=COLORS[place], linewidth=1.8
            )
            if place == 0:
                ticks.set_label("spike")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _label(ax, time, chosen)


def _label(ax: Axes, time: NDArray[Any], chosen: Chosen) -> None:
    ax.set_xlim(time[0] - 0.5 * chosen.unit, time[-1] + 0.5 * chosen.unit)
    ax.set_xlabel(chosen.time_label)
    ax.set_ylabel("membrane potential v")
    ax.spines[["top", "right"]].set_visible(False)
    if chosen.dt is None:
        style.integers(ax.xaxis)


def _panels(
    ax: Axes,
    time: NDArray[Any],
    values: NDArray[np.float64],
    fired: NDArray[np.bool_] | None,
    thresholds: NDArray[np.float64] | None,
    numbers: NDArray[np.int64],
    chosen: Chosen,
) -> None:
    """Draw one small panel for each neuron, in two columns; the Axes around them have the labels."""
    rows, gap = -(-len(numbers) // 2), 0.11
    high = 1.0 / rows
    drawn = values if thresholds is None else np.concatenate([values.ravel(), thresholds])
    low, top = float(drawn.min()), float(drawn.max())
    room = (top - low) or 1.0
    _label(ax, time, chosen)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.xaxis.labelpad = ax.yaxis.labelpad = 18.0
    for place, number in enumerate(numbers):
        row, column = divmod(place, 2)
        box = (column * (0.5 + gap / 2), 1.0 - (row + 1) * high, 0.5 - gap / 2, 0.86 * high)
        panel = ax.inset_axes(box)
        panel.plot(time, values[:, place], color=INK, linewidth=1.0)
        if thresholds is not None:
            panel.axhline(thresholds[place], color=QUIET, linestyle=(0, (5, 3)), linewidth=0.9, zorder=1)
        if fired is not None:
            panel.vlines(time[fired[:, place]], top + 0.08 * room, top + 0.3 * room, color=style.ACCENT, linewidth=1.4)
        panel.set_xlim(ax.get_xlim())
        panel.set_ylim(low - 0.05 * room, top + 0.35 * room)
        panel.text(1.0, 0.5, f" neuron\n {number}", transform=panel.transAxes, va="center", fontsize="x-small")
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize="x-small", labelbottom=place >= len(numbers) - 2, labelleft=column == 0, length=2)
        style.integers(panel.xaxis, most=5)
        panel.yaxis.set_major_locator(_two_ticks())


def _two_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=2)
