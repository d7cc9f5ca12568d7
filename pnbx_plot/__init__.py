"""Pictures of spikes, membranes, weights and trainings, from NumPy arrays, tensors and recordings.

matplotlib, and Bokeh for interactive pages, are imported when the first picture is drawn.
"""

from pnbx_plot import style
from pnbx_plot.animation import animate
from pnbx_plot.arrays import Events
from pnbx_plot.errors import MissingPackageError, PlotError
from pnbx_plot.files import save, write_raster
from pnbx_plot.layers import raster_layers
from pnbx_plot.membrane import membrane
from pnbx_plot.page import html_raster
from pnbx_plot.pareto import pareto
from pnbx_plot.raster import raster
from pnbx_plot.style import ACCENT, COLORS, INK, LINES, MARKERS, QUIET, without_display
from pnbx_plot.training import training
from pnbx_plot.weights import weights

__all__ = [
    "ACCENT",
    "COLORS",
    "INK",
    "LINES",
    "MARKERS",
    "QUIET",
    "Events",
    "MissingPackageError",
    "PlotError",
    "animate",
    "html_raster",
    "membrane",
    "pareto",
    "raster",
    "raster_layers",
    "save",
    "style",
    "training",
    "weights",
    "without_display",
    "write_raster",
]
