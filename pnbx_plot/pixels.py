"""The artist of a raster: its pixels are computed when it is drawn, in the size in which it is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.path import Path
from matplotlib.transforms import Bbox, IdentityTransform
from numpy.typing import NDArray

from pnbx_plot.grid import Spikes, mark_size, shades

MOST_SHAPES = 20_000
"""Up to so many spikes are shapes in a PDF or SVG, more are an image of pixels there too."""
LEAST_POINTS = 0.9
"""Width and height of the smallest shape, in points (1/72 inch)."""


class SpikeMarks(Artist):
    """Spikes in one colour: at every size, zoom and resolution each covers a pixel or more of its own.

    Parameters
    ----------
    ax : Axes
        Where it is drawn; step s stands at ``s * unit`` on its x-axis, the neurons in rows 0, 1, ... from below.
    spikes : Spikes
        What is drawn.
    color : str
        The colour of full ink.
    unit : float
        Length of a step on the x-axis.
    """

    def __init__(self, ax: Axes, spikes: Spikes, color: str, unit: float = 1.0) -> None:
        super().__init__()
        self.spikes, self.color, self.unit = spikes, to_rgb(color), unit
        self._last: tuple[Any, Any] = (None, None)
        self.set_zorder(1.5)
        ax.add_artist(self)

    def get_window_extent(self, renderer: Any = None) -> Bbox:
        """Return the box of the Axes: a raster fills it."""
        assert self.axes is not None
        return self.axes.bbox

    get_tightbbox = get_window_extent

    def draw(self, renderer: Any) -> None:
        """Draw pixels, or shapes where the file holds shapes."""
        if not self.get_visible() or self.axes is None:
            return
        context = renderer.new_gc()
        context.set_clip_rectangle(self.axes.bbox)
        shapes = None if hasattr(renderer, "buffer_rgba") else self._shapes()
        if shapes is not None:
            context.set_linewidth(0)
            context.set_alpha(self.get_alpha())
            renderer.draw_path(context, shapes, IdentityTransform(), self.color)
        else:
            self._draw_pixels(renderer, context)
        context.restore()
        self.stale = False

    def _draw_pixels(self, renderer: Any, context: Any) -> None:
        assert self.axes is not None
        scale, box = renderer.get_image_magnification(), self.axes.bbox
        left, bottom, right, top = (round(edge * scale) for edge in (box.x0, box.y0, box.x1, box.y1))
        if right > left and top > bottom:
            view = (self.axes.get_xlim(), self.axes.get_ylim(), right - left, top - bottom)
            if self._last[0] != view:
                self._last = (view, self.pixels(*view))
            renderer.draw_image(context, left / scale, bottom / scale, self._last[1])

    def pixels(
        self, xlim: tuple[float, float], ylim: tuple[float, float], width: int, height: int
    ) -> NDArray[np.uint8]:
        """Return the picture of a view, ``[height, width, RGBA]``, its lowest row first."""
        first = self.spikes.first_step
        steps = (xlim[0] / self.unit - first, xlim[1] / self.unit - first)
        shade = shades(self.spikes, steps, ylim, width, height)
        pixels = np.empty((height, width, 4), dtype=np.uint8)
        pixels[..., :3] = np.round(255 * np.array(self.color))
        alpha = self.get_alpha()
        pixels[..., 3] = np.round(255 * shade * (1.0 if alpha is None else alpha))
        return pixels

    def _shapes(self) -> Path | None:
        """Return one box for each spike, in points, unless they are too many."""
        assert self.axes is not None
        if self.spikes.count > MOST_SHAPES:
            return None
        steps, neurons, _ = self.spikes.events
        centres = self.axes.transData.transform(
            np.column_stack(((steps + self.spikes.first_step) * self.unit, neurons))
        )
        cell = np.diff(self.axes.transData.transform([(0.0, 0.0), (self.unit, 1.0)]), axis=0)[0]
        half = np.maximum(mark_size(*cell), LEAST_POINTS) / 2
        corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
        points = (centres[:, None] + corners).reshape(-1, 2)
        codes = np.tile([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], len(centres))
        return Path(points, codes) if len(points) else Path(np.empty((0, 2)))
