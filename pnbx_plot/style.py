"""The one look of all figures: colours that differ as greys too, line styles and markers that differ without colour."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pnbx_plot.errors import needed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

INK = "#1b3a5c"
"""Spikes and the first curve: dark."""
ACCENT = "#c8452d"
"""What the reader should see first: differences, off events, the second curve."""
QUIET = "#8a8f98"
"""What stands behind: thresholds, grids, rates."""

COLORS = (INK, ACCENT, "#3f8f5f", "#d99a2b", "#7a5aa6", QUIET)
LINES = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 2.5)))
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Six colours, line styles and markers in one order: a curve is told from another by each of the three."""

FONTS = ("DejaVu Sans", "Noto Sans CJK TC", "Noto Sans CJK SC", "sans-serif")
"""Chinese titles are drawn where a Chinese font is installed."""


def settings(*, small: bool = False) -> dict[str, Any]:
    """Return matplotlib's settings of this look; ``small`` is for figures that a page shows at half its width."""
    cycler = needed("cycler", "a picture").cycler
    size = 8.0 if small else 9.5
    installed = {font.name for font in needed("matplotlib.font_manager", "a picture").fontManager.ttflist}
    return {
        "font.family": [font for font in FONTS if font in installed or font == "sans-serif"],
        "font.size": size,
        "axes.titlesize": size + 0.5,
        "axes.labelsize": size,
        "axes.linewidth": 0.7,
        "axes.edgecolor": "#50555c",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=COLORS, linestyle=LINES),
        "axes.axisbelow": True,
        "grid.color": "#d9dce0",
        "grid.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 3.0,
        "ytick.major.size": 3.0,
        "xtick.color": "#33373d",
        "ytick.color": "#33373d",
        "legend.frameon": False,
        "legend.fontsize": size - 1,
        "legend.handlelength": 2.6,
        "lines.linewidth": 1.5,
        "lines.markersize": 4.5,
        "figure.titlesize": size + 2,
        "figure.constrained_layout.use": True,
        "figure.dpi": 100,
        "savefig.dpi": 150,
        "hatch.linewidth": 0.7,
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
    }


@contextmanager
def use(*, small: bool = False) -> Iterator[None]:
    """Draw in this look: a context manager, and a decorator of functions that draw.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> from matplotlib import pyplot as plt
    >>> with use():
    ...     figure, ax = plt.subplots()
    >>> ax.spines["top"].get_visible()
    False
    """
    mpl = needed("matplotlib", "a picture")
    with mpl.rc_context(settings(small=small)):
        try:
            yield
        finally:
            interactive = mpl.is_interactive()
    mpl.interactive(interactive)  # what a notebook sets when the first figure is made inside


@contextmanager
def without_display() -> Iterator[None]:
    """Draw without a display; the figures that are made inside are closed at the end, a user's own stay open."""
    mpl = needed("matplotlib", "a picture")
    plt = needed("matplotlib.pyplot", "a picture")
    before = mpl.get_backend()
    plt.switch_backend(before)  # loads it: a notebook's, loaded only when it comes back, would show no figure
    plt.switch_backend("agg")
    open_before = set(plt.get_fignums())
    try:
        yield
    finally:
        for number in set(plt.get_fignums()) - open_before:
            plt.close(number)
        plt.switch_backend(before)


def integers(axis: Axis, most: int = 8) -> None:
    """Put ticks of an axis at integers only: neurons, steps, epochs."""
    ticker = needed("matplotlib.ticker", "a picture")
    axis.set_major_locator(ticker.MaxNLocator(nbins=most, integer=True, min_n_ticks=1))
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))


def axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return ``ax``, or the Axes of a new figure of this size in inches."""
    if ax is not None:
        return ax
    new: Axes = needed("matplotlib.pyplot", "a picture").subplots(figsize=size, layout="constrained")[1]
    return new
