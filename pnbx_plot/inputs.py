"""What a network sees, drawn as what it is: an image, graded values, spikes, or on and off events."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pnbx_plot import style
from pnbx_plot.arrays import Events, as_array, bounds
from pnbx_plot.errors import PlotError, needed
from pnbx_plot.grid import Spikes
from pnbx_plot.raster import Chosen, draw_spikes, number, percent
from pnbx_plot.style import ACCENT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["image", "spikes", "events", "graded"]
LEAST_IMAGE = 16
"""Fewer constant values than these are no image, unless their shape is told."""


class Input:
    """An input of one sample and how it is drawn.

    Parameters
    ----------
    values : array
        ``[T, N]``, ``[T, B, N]`` or ``[T, B, C, H, W]``.
    shape : tuple of int, optional
        ``(H, W)`` or ``(C, H, W)`` of the N values; with C = 2 and only 0 and 1: off events and on events of a sensor.
    length : int, optional
        Steps that belong to the sample; later ones are left out.
    """

    def __init__(
        self, where: str, values: Any, shape: tuple[int, ...] | None, chosen: Chosen, length: int | None = None
    ) -> None:
        array = as_array(values)
        if isinstance(array, Events) or array.size == 0 or not 2 <= array.ndim <= 5:
            raise PlotError(f"{where}: input must be [T, N] or [T, B, N] and not empty, got shape {list(array.shape)}")
        own = array.shape[2:] if array.ndim >= 4 else None
        if array.ndim > 2:
            if not 0 <= chosen.sample < array.shape[1]:
                raise PlotError(
                    f"{where}: sample must be in 0..{array.shape[1] - 1} for the input, got {chosen.sample}"
                )
            array = array[:, chosen.sample]
        array = array[:length]
        self.steps = bounds(where, "steps", chosen.steps, len(array))
        self.values: NDArray[Any] = array.reshape(len(array), -1)[self.steps[0] : self.steps[1]]
        self.shape = shape or own
        size = self.values.shape[1]
        if self.shape is not None and int(np.prod(self.shape)) != size:
            raise PlotError(f"{where}: input_shape {tuple(self.shape)} does not hold the {size} values of the input")
        self.constant = len(self.values) > 1 and bool((self.values == self.values[0]).all())
        if self.constant and self.shape is None and size >= LEAST_IMAGE and isqrt(size) ** 2 == size:
            self.shape = (isqrt(size), isqrt(size))

    @property
    def kind(self) -> Kind:
        """What it is drawn as."""
        found = set(np.unique(self.values[: 1 + 10_000_000 // self.values.shape[1]]).tolist())
        if self.constant and self.shape is not None:
            return "image"
        if self.shape is not None and len(self.shape) == 3 and self.shape[0] == 2 and found <= {0, 1}:
            return "events"
        if found <= {0, 1}:
            return "spikes"
        return "events" if found <= {-1, 0, 1} else "graded"

    def on_and_off(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return where there are on and off events, each ``[T, N]``: 1 and -1, or the second and the first channel."""
        if (self.values < 0).any() or self.shape is None or len(self.shape) != 3:
            return self.values > 0, self.values < 0
        off, on = np.split(self.values != 0, 2, axis=1)
        return on, off

    def image(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one step as a picture ``[H, W]``, several channels side by side."""
        assert self.shape is not None
        if len(self.shape) == 2:
            return values.reshape(self.shape)
        return np.hstack(list(values.reshape(self.shape)))

    @property
    def title(self) -> str:
        """What is seen, in one line."""
        shades = f"from {self.values.min():.3g} (white) to {self.values.max():.3g} (black)"
        if self.kind == "image":
            assert self.shape is not None
            return f"input: image of {' × '.join(map(str, self.shape))}, the same in every step, {shades}"
        if self.kind == "spikes":
            share = percent(float(np.mean(self.values != 0)))
            return f"input: {number(self.values.shape[1], 'channel')}, {share} of the values are spikes"
        if self.kind == "events":
            on, off = self.on_and_off()
            return (
                f"input: {number(on.shape[1], 'pixel')}, {number(int(on.sum()), 'on event')} (blue, darker) and "
                f"{number(int(off.sum()), 'off event')} (red)"
            )
        held = " constant," if self.constant else ""
        return f"input: {number(self.values.shape[1], 'value')},{held} {shades}"

    def draw(self, ax: Axes, chosen: Chosen) -> None:
        """Draw it; all but an image have the time axis of the layers."""
        ax.set_title(self.title, loc="left" if self.kind == "image" else "center", fontsize="medium")
        if self.kind == "image":
            ax.imshow(self.image(self.values[0]), cmap="Greys", interpolation="nearest", aspect="equal")
            ax.set_anchor("W")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(True)
            return
        first, unit = self.steps[0], chosen.unit
        if self.kind == "spikes":
            draw_spikes(ax, Spikes(self.values, first), chosen, style.QUIET)
            ax.set_ylabel("channel")
        elif self.kind == "events":
            on, off = self.on_and_off()
            draw_spikes(ax, Spikes(on, first), chosen, INK)
            needed("pnbx_plot.pixels", "a picture").SpikeMarks(ax, Spikes(off, first), ACCENT, chosen.unit)
            ax.set_ylabel("pixel")
        else:
            end = first + len(self.values)
            edges = ((first - 0.5) * unit, (end - 0.5) * unit, -0.5, self.values.shape[1] - 0.5)
            ax.imshow(self.values.T, aspect="auto", origin="lower", cmap="Greys", extent=edges)
            ax.set_ylabel("value")
            style.integers(ax.yaxis, most=6)
            if chosen.dt is None:
                style.integers(ax.xaxis)
        ax.set_xlabel(chosen.time_label)
