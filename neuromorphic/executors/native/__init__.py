"""Programs at the speed of the processor: packed weights, spikes as bits, one compiled loop.

Imported only when asked for: it needs numba, which :mod:`neuromorphic` itself does not load.
"""

from neuromorphic.executors.native.bit_planes import bits_of
from neuromorphic.executors.native.matrix import TernaryMatrix
from neuromorphic.executors.native.network import NativeNetwork

__all__ = ["NativeNetwork", "TernaryMatrix", "bits_of"]
