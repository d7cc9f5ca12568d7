"""Pictures of spikes, membranes, weights and trainings: the functions of the package ``pnbx_plot``, by their names.

Tensors are welcome in any dtype, on any device, in a graph or not, and lists of tensors, one for each step; so are
NumPy arrays, mappings of layers and recordings of ``neuromorphic``. matplotlib is imported when the first picture is
drawn.
"""

from pnbx_plot import *  # noqa: F403 (what it exports, and nothing else, is this room)
from pnbx_plot import __all__ as __all__
