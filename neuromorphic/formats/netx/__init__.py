"""Programs as the HDF5 files that lava-dl's ``netx`` builds Lava networks from.

A ``netx`` file is a chain: each layer's matrix reads the layer before, and its neurons share one decay and one
threshold. A program that is such a chain, every neuron at home on Lava's stock ``LIF``, is written so that netx's
arithmetic equals it; any other is refused with the reason. A file is read as what lava-dl makes of it, or refused.
"""

from neuromorphic.formats.entry import Format
from neuromorphic.formats.netx.read import read_netx
from neuromorphic.formats.netx.write import export_netx

__all__ = ["export_netx", "read_netx"]

FORMATS = (
    Format(
        name="netx",
        purpose="lava-dl's netx, for Lava and Loihi",
        suffix=".net",
        module="neuromorphic.formats.netx.write",
    ),
)
