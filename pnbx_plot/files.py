"""Writing pictures: the ending of the file's name says which kind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pnbx_plot.animation import animate, writer_of
from pnbx_plot.errors import PlotError
from pnbx_plot.layers import raster_layers
from pnbx_plot.page import html_raster
from pnbx_plot.style import without_display

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".pdf", ".svg", ".jpg", ".webp")
MOVING = (".gif", ".mp4")


def checked_ending(path: str | os.PathLike[str], allowed: tuple[str, ...]) -> Path:
    """Return the path, or raise a :class:`PlotError` that names the endings that are allowed."""
    file = Path(path)
    if file.suffix.lower() not in allowed:
        raise PlotError(f"{file}: the name of a picture must end in {', '.join(allowed[:-1])} or {allowed[-1]}")
    return file


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as ``.png``, ``.pdf``, ``.svg``, ``.jpg`` or ``.webp``.

    Raises
    ------
    PlotError
        Another ending, or a file that cannot be written.
    """
    file = checked_ending(path, PICTURES)
    try:
        figure.savefig(file, dpi=150)
    except OSError as error:
        raise PlotError(f"{file}: the picture could not be written ({error.strerror})") from error
    return file


def write_raster(
    path: str | os.PathLike[str], layers: Any, other: Any = None, *, membranes: Any = None, **chosen: Any
) -> Path:
    """Draw layers into a file: a picture, an interactive page (``.html``) or an animation (``.gif``, ``.mp4``).

    Parameters
    ----------
    path : path
        Ends in ``.png``, ``.pdf``, ``.svg``, ``.jpg``, ``.webp``, ``.html``, ``.gif`` or ``.mp4``.
    layers, other
        As of :func:`pnbx_plot.layers.raster_layers`.
    membranes : mapping, optional
        As of :func:`pnbx_plot.page.html_raster`; only a page shows them.
    **chosen
        ``only``, ``input``, ``input_shape``, ``sample``, ``steps``, ``neurons``, ``dt`` and ``title`` of
        :func:`pnbx_plot.layers.raster_layers`.

    Raises
    ------
    PlotError
        Another ending, a file that cannot be written, or what cannot be drawn.
    MissingPackageError
        A package or program that this kind of picture needs is not installed.
    """
    file = checked_ending(path, (*PICTURES, ".html", *MOVING))
    try:
        if file.suffix.lower() == ".html":
            file.write_text(html_raster(layers, other, membranes=membranes, **chosen), encoding="utf-8")
            return file
        with without_display():
            if file.suffix.lower() in MOVING:
                writer = writer_of(file)  # what is missing is told before anything is drawn
                animate(layers, other, **chosen).save(file, dpi=100, **writer)
            else:
                save(raster_layers(layers, other, **chosen), file)
    except OSError as error:
        raise PlotError(f"{file}: the picture could not be written ({error.strerror})") from error
    return file
