"""Programs at the speed of the processor: packed weights, spikes as bits, one compiled loop.

Imported only when asked for: it needs numba, which :mod:`neuromorphic` itself does not load.
"""

from neuromorphic.native.matrix import TernaryMatrix
from neuromorphic.native.network import NativeNetwork
from neuromorphic.native.packing import bits_of

__all__ = ["NativeNetwork", "TernaryMatrix", "bits_of"]
