"""Spikes on a grid: counts in boxes of steps and neurons, and the shade of every pixel of a picture.

Nothing is sampled: every spike is in exactly one box, so a lone one is never lost between two pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnbx_plot.arrays import Events

FULL_BELOW = 0.01
"""Up to this share of marked pixels, each mark is drawn in full ink; then lighter, until"""
LIGHT_ABOVE = 0.3
"""this share, from where on the shade of a pixel says how many of its values are spikes."""
LIGHTEST = 0.25
"""The shade of a pixel with the fewest spikes in a full picture: still seen on white."""
TOP = 4.0
"""Full ink is a pixel with so many times the mean share of spikes, or all."""
WIDEST, WIDEST_SQUARE, WIDEST_PART, HIGHEST = 8, 14, 0.25, 40
"""A mark is at most 8 pixels, as wide as its row is high up to 14, or a quarter of a step wide, and 40 high."""


@dataclass(frozen=True)
class Spikes:
    """One layer in one sample, ``[T, N]``: dense, or as events where it is too large for that.

    ``steps`` and ``neurons`` are the numbers of its first step and of all its neurons in the layer it was cut from.
    """

    values: NDArray[Any] | Events
    first_step: int = 0
    neurons: NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Steps and neurons."""
        steps, neurons = self.values.shape
        return int(steps), int(neurons)

    @property
    def dense(self) -> NDArray[np.bool_] | None:
        """Where there is a spike, ``[T, N]``; ``None`` of events."""
        return None if isinstance(self.values, Events) else self.values != 0

    @cached_property
    def events(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return step, neuron and value of every spike, by step and neuron."""
        if isinstance(self.values, Events):
            told = self.values
            values = np.ones(len(told.steps), dtype=np.int8) if told.values is None else told.values
            real = values != 0
            order = np.lexsort((told.neurons[real], told.steps[real]))
            return told.steps[real][order], told.neurons[real][order], values[real][order]
        steps, neurons = np.nonzero(self.values)
        return steps, neurons, self.values[steps, neurons]

    @property
    def count(self) -> int:
        """Number of spikes."""
        if isinstance(self.values, Events):
            return len(self.events[0])
        return int(np.count_nonzero(self.values))

    @property
    def rate(self) -> float:
        """Spikes per neuron and step."""
        return self.count / (self.shape[0] * self.shape[1])

    def rate_of_steps(self) -> NDArray[np.float64]:
        """Share of the neurons that spike, in each step ``[T]``."""
        if isinstance(self.values, Events):
            return np.bincount(self.events[0], minlength=self.shape[0]) / self.shape[1]
        rates: NDArray[np.float64] = np.count_nonzero(self.values, axis=1) / self.shape[1]
        return rates

    def rate_of_neurons(self) -> NDArray[np.float64]:
        """Share of the steps in which it spikes, of each neuron ``[N]``."""
        if isinstance(self.values, Events):
            return np.bincount(self.events[1], minlength=self.shape[1]) / self.shape[0]
        rates: NDArray[np.float64] = np.count_nonzero(self.values, axis=0) / self.shape[0]
        return rates

    def cut(self, steps: tuple[int, int], neurons: NDArray[np.int64]) -> Spikes:
        """Return these steps of these neurons."""
        if (0, self.shape[0]) == steps and len(neurons) == self.shape[1]:
            return Spikes(self.values, 0, neurons)
        if not isinstance(self.values, Events):
            return Spikes(self.values[steps[0] : steps[1]][:, neurons], steps[0], neurons)
        step, neuron, value = self.events
        place = np.full(self.shape[1], -1)
        place[neurons] = np.arange(len(neurons))
        inside = (step >= steps[0]) & (step < steps[1]) & (place[neuron] >= 0)
        shape = (steps[1] - steps[0], len(neurons))
        return Spikes(Events(step[inside] - steps[0], place[neuron[inside]], shape, value[inside]), steps[0], neurons)


def boxes(
    low: float, high: float, count: int, pixels: int, widest: float = np.inf
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide the cells of one axis that are seen between ``low`` and ``high`` among its pixels.

    Cell ``i`` of ``count`` reaches from ``i - 0.5`` to ``i + 0.5``, its mark over at most ``widest`` pixels of it.
    Returned are the first cells of the boxes and their end ``[K + 1]``, and for every pixel the box it shows
    ``[pixels]``, -1 where there is none.

    Examples
    --------
    >>> boxes(-0.5, 3.5, 4, 8)[1].tolist()  # each cell is two pixels wide
    [0, 0, 1, 1, 2, 2, 3, 3]
    >>> boxes(-0.5, 99.5, 100, 4)[0].tolist()  # each pixel shows 25 cells
    [0, 25, 50, 75, 100]
    """
    edges = np.ceil(np.linspace(low, high, pixels + 1) - 1e-9).astype(np.int64)  # cells with their centre in a pixel
    if high - low >= pixels:  # several cells a pixel
        edges = np.clip(edges, 0, count)
        filled = edges[1:] > edges[:-1]
        return np.append(edges[:-1][filled], edges[-1]), np.where(filled, np.cumsum(filled) - 1, -1)
    centres = np.linspace(low, high, 2 * pixels + 1)[1::2]
    cell = np.floor(centres + 0.5).astype(np.int64)
    inside = (cell >= 0) & (cell < count)
    if not inside.any():
        return np.array([0, 0]), np.full(pixels, -1)
    first, last = cell[inside].min(), cell[inside].max()
    place = np.where(inside, cell - first, -1)
    begins = np.concatenate([[0], np.flatnonzero(np.diff(cell)) + 1])  # the first pixel of each cell
    length = np.diff(np.append(begins, pixels))
    mark = max(1, int(min(widest, pixels)))  # all marks have one size, though cells of 1.5 pixels have one or two
    inside_cell = np.arange(pixels) - np.repeat(begins + np.maximum(length - mark, 0) // 2, length)
    place[(inside_cell < 0) | (inside_cell >= mark)] = -1
    return np.arange(first, last + 2), place


def mark_size(width: float, height: float) -> tuple[float, float]:
    """Return how large a mark is in a cell of this size: a tick with a gap to its neighbours, where there is room."""
    wide = min(width, max(WIDEST, min(height, WIDEST_SQUARE), WIDEST_PART * width))
    high = min(height, HIGHEST)
    return (0.84 * wide if wide >= 4 else wide), (0.84 * high if high >= 4 else high)


def counts(spikes: Spikes, step_edges: NDArray[np.int64], neuron_edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count spikes in boxes of steps and neurons, ``[boxes of steps, boxes of neurons]``."""
    shape = (len(step_edges) - 1, len(neuron_edges) - 1)
    dense = spikes.values
    if not isinstance(dense, Events):
        part = dense[step_edges[0] : step_edges[-1], neuron_edges[0] : neuron_edges[-1]] != 0
        if 0 in part.shape:
            return np.zeros(shape, dtype=np.int64)
        for axis, edges in enumerate((step_edges, neuron_edges)):
            if np.any(np.diff(edges) > 1):
                part = np.add.reduceat(part, edges[:-1] - edges[0], axis=axis, dtype=np.int64)
        whole: NDArray[np.int64] = part.astype(np.int64)
        return whole
    step, neuron, _ = spikes.events
    row = np.searchsorted(step_edges, step, side="right") - 1
    column = np.searchsorted(neuron_edges, neuron, side="right") - 1
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    flat = row[inside] * shape[1] + column[inside]
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


def shades(
    spikes: Spikes, steps: tuple[float, float], neurons: tuple[float, float], width: int, height: int
) -> NDArray[np.float64]:
    """Return how dark each pixel of a raster is, 0..1, ``[height, width]``; its first row is that of the first neuron.

    ``steps`` and ``neurons`` are what is seen, in cells (cell i reaches from i - 0.5 to i + 0.5). Where a cell is as
    large as a pixel or larger, a spike is a full mark. Where many cells share a pixel, it is the darker the more of
    them are spikes (full ink: four times the mean share, or all); and the fewer pixels are marked at all, the darker
    the lightest mark, up to full ink and dots of three by three pixels for a few spikes in a large raster.
    """
    pitch = (width / (steps[1] - steps[0]), height / (neurons[1] - neurons[0]))  # pixels of a cell
    widest = mark_size(*pitch)
    step_edges, column_of = boxes(*steps, spikes.shape[0], width, widest[0])
    neuron_edges, row_of = boxes(*neurons, spikes.shape[1], height, widest[1])
    count = counts(spikes, step_edges, neuron_edges)  # [boxes of steps, boxes of neurons]
    size = np.multiply.outer(np.diff(step_edges), np.diff(neuron_edges))
    share = np.divide(count, size, out=np.zeros(count.shape), where=size > 0)
    column, row = np.clip(column_of, 0, None), np.clip(row_of, 0, None)
    picture = share.T[row][:, column]  # [height, width]
    picture *= np.multiply.outer(row_of >= 0, column_of >= 0)
    marked = (picture > 0).mean()
    if size.max(initial=1) > 1:
        fullness = np.log(max(marked, 1e-9) / FULL_BELOW) / np.log(LIGHT_ABOVE / FULL_BELOW)
        lightest = 1.0 + (LIGHTEST - 1.0) * np.clip(fullness, 0.0, 1.0)
        top = min(1.0, TOP * picture.mean() / max(marked, 1e-9))
        tone = np.sqrt(np.minimum(picture / max(top, 1e-12), 1.0))
        picture = np.where(picture > 0, lightest + (1.0 - lightest) * tone, 0.0)
    if marked < FULL_BELOW:
        picture = _spread(picture, rows=pitch[1] < 3, columns=pitch[0] < 3)
    return picture


def _spread(picture: NDArray[np.float64], *, rows: bool, columns: bool) -> NDArray[np.float64]:
    """Let every mark cover its neighbours."""
    for axis, wanted in enumerate((rows, columns)):
        if wanted and picture.shape[axis] > 2:
            one = np.moveaxis(picture, axis, 0)
            wider = one.copy()
            wider[1:] = np.maximum(wider[1:], one[:-1])
            wider[:-1] = np.maximum(wider[:-1], one[1:])
            picture = np.moveaxis(wider, 0, axis)
    return picture
