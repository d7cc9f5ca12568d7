"""Rasters that move with the input, as GIF or MP4."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pnbx_plot import style
from pnbx_plot.errors import MissingPackageError, needed
from pnbx_plot.inputs import Input
from pnbx_plot.layers import prepared
from pnbx_plot.raster import draw_layer, height
from pnbx_plot.style import ACCENT, INK

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

MOST_FRAMES = 120
WINDOW = 250
"""Steps that are seen at once; longer rasters move through this window."""


def animate(
    layers: Any,
    other: Any = None,
    *,
    title: str | None = None,
    fps: int | None = None,
    window: int = WINDOW,
    **chosen: Any,
) -> FuncAnimation:
    """Return a matplotlib animation of rasters that grow step by step, under the input of each step.

    Parameters
    ----------
    layers, other, title
        As of :func:`pnbx_plot.layers.raster_layers`.
    fps : int, optional
        Frames in a second; else 12, and fewer for a raster of less than three seconds. There are at most 120 frames: of
        longer rasters, each shows several new steps.
    window : int
        Steps that are seen at once.
    **chosen
        ``only``, ``input``, ``input_shape``, ``sample``, ``steps``, ``neurons`` and ``dt`` of the same function.

    Raises
    ------
    PlotError
        As :func:`pnbx_plot.layers.raster_layers`.
    """
    plt = needed("matplotlib.pyplot", "an animation")
    moving = needed("matplotlib.animation", "an animation")
    drawn = prepared("plot.animate", layers, other, **chosen)
    first, num_steps = next((spikes.first_step, spikes.shape[0]) for spikes in drawn.spikes.values())
    frames = min(num_steps, MOST_FRAMES)
    ends = np.ceil(np.linspace(0, num_steps, frames + 1)[1:]).astype(int)  # steps seen in each frame
    window = min(window, num_steps)
    fps = fps or min(12, max(2, frames // 3))
    unit = drawn.chosen.unit
    with style.use():
        heights = [height(spikes.shape[1]) for spikes in drawn.spikes.values()]
        picture = drawn.input is not None and drawn.input.shape is not None
        if drawn.input is not None:
            heights.insert(0, 1.7 if picture else height(drawn.input.values.shape[1]))
        figure, grid = plt.subplots(
            len(heights), 1, squeeze=False, figsize=(6.4, sum(heights) + 0.32 * len(heights) + 0.5),
            height_ratios=heights, layout="constrained",
        )  # fmt: skip
        panels: list[Axes] = list(grid[:, 0])
        timed = panels[-len(drawn.spikes) :]
        for ax, (name, spikes) in zip(timed, drawn.spikes.items(), strict=True):
            draw_layer(ax, name, spikes, None if drawn.other is None else drawn.other[name], drawn.chosen)
        show = None
        if drawn.input is not None and picture:
            show = _picture(panels[0], drawn.input)
        elif drawn.input is not None:
            drawn.input.draw(panels[0], drawn.chosen)
            timed = panels
        for ax in timed[:-1]:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
        if title is not None:
            figure.suptitle(title)
        figure.canvas.draw()  # lays it out
        figure.set_layout_engine("none")
    covers = [
        ax.axvspan(ax.get_xlim()[0], ax.get_xlim()[1], facecolor="white", edgecolor="none", zorder=5) for ax in timed
    ]
    now = [ax.axvline(0, color=ACCENT, linewidth=1.0, zorder=6) for ax in timed]

    def update(frame: int) -> list[Any]:
        end = int(ends[frame])
        start = max(0, end - window)
        edge = (first + end - 0.5) * unit
        for ax, cover, line in zip(timed, covers, now, strict=True):
            low, high = (first + start - 0.5) * unit, (first + start + window - 0.5) * unit
            ax.set_xlim(low, high)
            cover.set_x(edge)
            cover.set_width(high - edge)
            line.set_xdata([edge, edge])
        if show is not None:
            show(end - 1)
        return [*covers, *now]

    moved: FuncAnimation = moving.FuncAnimation(figure, update, frames=frames, interval=1000 / fps, blit=False)
    return moved


def _picture(ax: Axes, told: Input) -> Any:
    """Draw the input of one step as a picture; return what changes it to that of another step."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.set_title("input of the step", fontsize="medium")
    if told.kind == "events":
        colors = needed("matplotlib.colors", "an animation").LinearSegmentedColormap.from_list(
            "events", [ACCENT, "white", INK]
        )
        on, off = told.on_and_off()
        values: NDArray[Any] = np.where(on, 1, -off.astype(np.int8))
        assert told.shape is not None
        size = tuple(told.shape[-2:])
        image = ax.imshow(values[0].reshape(size), cmap=colors, vmin=-1, vmax=1, interpolation="nearest")
        return lambda step: image.set_data(values[step].reshape(size))
    low, high = float(told.values.min()), float(told.values.max())
    image = ax.imshow(told.image(told.values[0]), cmap="Greys", vmin=low, vmax=high, interpolation="nearest")
    return lambda step: image.set_data(told.image(told.values[step]))


def writer_of(path: Path) -> dict[str, Any]:
    """Return how matplotlib is told to write an animation: pillow a ``.gif``, the program ffmpeg an ``.mp4``.

    Raises
    ------
    MissingPackageError
        Where pillow or ffmpeg is not installed.
    """
    if path.suffix.lower() == ".gif":
        needed("PIL", "an animation (.gif)")
        return {"writer": "pillow"}
    if shutil.which("ffmpeg") is None:
        raise MissingPackageError(
            f"{path}: an animation in .mp4 needs the program ffmpeg, which was not found (on Debian and Ubuntu: "
            "apt install ffmpeg); .gif needs none"
        )
    # Players want even sizes and this colour format.
    even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]
    return {"writer": "ffmpeg", "codec": "libx264", "extra_args": even}
