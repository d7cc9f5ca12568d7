"""Where two rasters of one layer differ, and the rings around these places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pnbx_plot.errors import PlotError
from pnbx_plot.grid import Spikes
from pnbx_plot.style import ACCENT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_RINGS = 300
"""Differences closer than a ring's width share one; where still more are left, only the first is ringed."""
RING_POINTS = 11.0


@dataclass(frozen=True)
class Differences:
    """The places in which two rasters differ, by step and neuron.

    Parameters
    ----------
    steps, neurons : NDArray
        ``[D]``, as rows of the raster and steps of the layer.
    expected, got : NDArray
        ``[D]``, the two values there.
    """

    steps: NDArray[Any]
    neurons: NDArray[Any]
    expected: NDArray[Any]
    got: NDArray[Any]

    def __len__(self) -> int:
        return len(self.steps)


def differences(name: str, expected: Spikes, got: Spikes) -> Differences:
    """Compare two rasters of one shape.

    Raises
    ------
    PlotError
        When their shapes differ.

    Examples
    --------
    >>> found = differences("lif", Spikes(np.eye(3)), Spikes(np.ones((3, 3))))
    >>> len(found), found.steps[0], found.neurons[0]
    (6, np.int64(0), np.int64(1))
    """
    if expected.shape != got.shape:
        raise PlotError(f"{name}: two rasters must have one shape, got {list(expected.shape)} and {list(got.shape)}")
    if expected.dense is not None and got.dense is not None:
        a, b = np.asarray(expected.values), np.asarray(got.values)
        steps, neurons = np.nonzero(a != b)
        return Differences(steps + expected.first_step, neurons, a[steps, neurons], b[steps, neurons])
    tables = []
    for one in (expected, got):
        step, neuron, value = one.events
        tables.append((step.astype(np.int64) * expected.shape[1] + neuron, value))
    places = np.union1d(tables[0][0], tables[1][0])
    values = []
    for key, value in tables:
        full = np.zeros(len(places), dtype=value.dtype)
        full[np.searchsorted(places, key)] = value
        values.append(full)
    unlike = values[0] != values[1]
    steps, neurons = np.divmod(places[unlike], expected.shape[1])
    return Differences(steps + expected.first_step, neurons, values[0][unlike], values[1][unlike])


def rings(ax: Axes, found: Differences, unit: float = 1.0) -> NDArray[np.float64]:
    """Return the centres of rings ``[R, 2]`` around all differences, one around several that are close."""
    if not len(found):
        return np.empty((0, 2))
    figure = ax.get_figure(root=True)
    assert figure is not None
    extent = ax.get_window_extent()
    box = (extent.width * 72 / figure.dpi, extent.height * 72 / figure.dpi)  # in points
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    x, y = found.steps * unit, found.neurons
    column = np.floor((x - x0) / (x1 - x0) * box[0] / RING_POINTS)
    row = np.floor((y - y0) / (y1 - y0) * box[1] / RING_POINTS)
    _, place, size = np.unique(column * 1e6 + row, return_inverse=True, return_counts=True)
    return np.column_stack([np.bincount(place, weights=axis) / size for axis in (x, y)])


def ring(ax: Axes, centres: NDArray[np.float64]) -> None:
    """Draw rings."""
    # White under the ring: it is seen on dense spikes, also in grey.
    for width, color in ((3.2, "white"), (1.4, ACCENT)):
        ax.plot(
            *centres.T, linestyle="", marker="o", markersize=RING_POINTS, markerfacecolor="none",
            markeredgecolor=color, markeredgewidth=width, clip_on=False, zorder=4, gid="differences",
        )  # fmt: skip
