"""Weights: a ternary matrix as a mosaic of its three values, kernels of a convolution as tiles, others in shades."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pnbx_plot import style
from pnbx_plot.arrays import Events, as_array
from pnbx_plot.errors import PlotError, needed
from pnbx_plot.raster import percent
from pnbx_plot.style import ACCENT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TILES = 256


def weights(weight: Any, *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the weights of a layer: -1, 0 and 1 as orange, white and dark blue, with the share of each in the title.

    A weight that takes three values ``-s, 0, s`` is ternary, whatever its scale s. Of other weights, the shade says how
    large they are. In black and white, 1 is darker than -1 by half.

    Parameters
    ----------
    weight : array or tensor
        ``[out, in]``, or ``[out, in, height, width]`` of a convolution: one tile for each kernel, an output a row.

    Raises
    ------
    PlotError
        When the weights are no matrix and no kernels, or are empty or not finite.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> weights(np.array([[0.5, 0.0, -0.5, 0.5]])).get_title()
    '1 × 4 weights: -1 25.0 %, 0 25.0 %, 1 50.0 %, times 0.5'
    """
    array = as_array(weight)
    if isinstance(array, Events) or array.ndim not in (2, 4) or array.size == 0 or not np.isfinite(array).all():
        raise PlotError(
            f"plot.weights: weight must be finite, [out, in] or [out, in, height, width], and not empty, "
            f"got shape {list(array.shape)}"
        )
    array = array.astype(np.float64)
    scale = float(np.abs(array).max())
    ternary = bool(np.isin(array, (-scale, 0.0, scale)).all())
    picture = _tiles(array) if array.ndim == 4 else array
    with style.use():
        ax = style.axes(ax, _size(picture))
        colors = needed("matplotlib.colors", "a picture")
        shades = colors.LinearSegmentedColormap.from_list("weights", [ACCENT, "white", INK])
        shades = shades.with_extremes(bad="#e3e5e8")
        coarse = max(picture.shape) > 400
        image = ax.imshow(
            picture, cmap=shades, vmin=-(scale or 1.0), vmax=scale or 1.0,
            aspect="equal" if array.ndim == 4 else "auto", interpolation="antialiased" if coarse else "nearest",
        )  # fmt: skip
        what = " × ".join(map(str, array.shape))
        if ternary:
            text = ", ".join(f"{sign} {percent(float(np.mean(np.sign(array) == sign)))}" for sign in (-1, 0, 1))
            text = f"{what} weights: {text}" + (f", times {scale:.3g}" if scale not in (0.0, 1.0) else "")
            handles = [
                needed("matplotlib.patches", "a picture").Patch(facecolor=color, edgecolor="#50555c", label=name)
                for name, color in (("-1", ACCENT), ("0", "white"), ("1", INK))
            ]
            ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=1.0)
        else:
            text = f"{what} weights, from {array.min():.3g} to {array.max():.3g}"
            ax.figure.colorbar(image, ax=ax, pad=0.01)
        ax.set_title(text if title is None else f"{title}: {text}", fontsize="medium")
        if array.ndim == 4:
            ax.set(xticks=[], yticks=[], xlabel="input channel", ylabel="output channel")
            if array.shape[1] == 1:
                ax.set(xlabel=f"kernels of {array.shape[0]} output channels, row by row", ylabel="")
            ax.spines[:].set_visible(False)
        else:
            ax.set(xlabel="input", ylabel="output")
            style.integers(ax.xaxis)
            style.integers(ax.yaxis)
    return ax


def _size(picture: NDArray[np.float64]) -> tuple[float, float]:
    rows, columns = picture.shape
    return 7.0, float(np.clip(6.0 * rows / columns, 1.2, 6.0)) + 0.6


def _tiles(kernels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lay kernels out as tiles with a gap; many of one input channel in rows of equal length."""
    out, inner, high, wide = kernels.shape
    if out * inner > MOST_TILES:
        kernels = kernels[: max(1, MOST_TILES // inner), : min(inner, MOST_TILES)]
        out, inner = kernels.shape[:2]
    if inner == 1 and out > 4:
        columns = int(np.ceil(np.sqrt(2 * out)))
        rows = -(-out // columns)
        padded = np.full((rows * columns, 1, high, wide), np.nan)
        padded[:out] = kernels
        kernels, out, inner = padded.reshape(rows, columns, high, wide), rows, columns
    picture = np.full((out * (high + 1) - 1, inner * (wide + 1) - 1), np.nan)
    for row in range(out):
        for column in range(inner):
            place = (row * (high + 1), column * (wide + 1))
            picture[place[0] : place[0] + high, place[1] : place[1] + wide] = kernels[row, column]
    return picture
