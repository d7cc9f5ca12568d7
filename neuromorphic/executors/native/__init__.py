"""Programs at the speed of the processor: packed weights, spikes as bits, one compiled loop.

It needs numba, which is loaded when one of these names is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from neuromorphic.executors.entry import Entry, Option
from neuromorphic.ops import OP_TYPES

if TYPE_CHECKING:
    from neuromorphic.executors.native.bit_planes import bits_of
    from neuromorphic.executors.native.matrix import TernaryMatrix
    from neuromorphic.executors.native.network import NativeNetwork

__all__ = ["NativeNetwork", "TernaryMatrix", "bits_of"]

_KERNELS = (
    "Input Dense LIF HomeostaticLIF Readout LeakyReadout Scale Delay Gate Multiply LI GatedState Resonator Torus "
    "FastWeights Slots AdaptiveLIF GradedLIF ShiftLIF XyloLIF Conv SumPool MaxPool SpikePool Delays Delta Sigma ReLU"
)
KNOWN = frozenset(_KERNELS.split())
"""Operations that have kernels here; a program with another one is refused by name."""
ENTRIES = (
    Entry(
        name="native",
        purpose="speed on a CPU, batch 1 and up",
        module="neuromorphic.executors.native.executor",
        needs=("numba",),
        lacks=tuple(sorted(set(OP_TYPES) - KNOWN)),
        options=(Option("threads", "--threads", int, "threads, by default 1", minimum=1),),
    ),
)
_MODULES = MappingProxyType({"NativeNetwork": "network", "TernaryMatrix": "matrix", "bits_of": "bit_planes"})


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
