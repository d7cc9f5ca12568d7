"""The operations of a program: one dataclass each, which refuses whatever the arithmetic is not defined for.

What flows between them has a kind:

=========  ==================================================  ===============================================
kind       values                                              produced by
=========  ==================================================  ===============================================
events     0/1 spikes or graded integers in a stated range     ``Input``, ``LIF``, ``HomeostaticLIF``, ``Delay``
values     integers in int32, proven to fit                    ``Dense``, ``Scale``, ``Multiply``, ``Torus``,
                                                               ``LI``, ``GatedState``, ``Resonator``,
                                                               ``FastWeights``, ``Slots``
gate       Q0.12 in 0..4096                                    ``Gate``
sum        24-bit running sums, never fed onward               ``Readout``
=========  ==================================================  ===============================================

Neurons are in :mod:`neuromorphic.neuron_ops`, what recurs beside the membrane in :mod:`neuromorphic.pathway_ops`. The
arithmetic is in :mod:`neuromorphic.fixed_point`, :mod:`neuromorphic.homeostasis` and
:mod:`neuromorphic.pathway_arithmetic`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ProgramError
from neuromorphic.fixed_point import STATE_MAX
from neuromorphic.neuron_ops import LIF, HomeostaticLIF
from neuromorphic.op_fields import MAX_SHIFT, MAX_SIZE, Variable, Wanted, checked_array, checked_integer, restore
from neuromorphic.pathway_ops import (
    LI,
    Delay,
    FastWeights,
    Gate,
    GatedState,
    Multiply,
    Resonator,
    Scale,
    Slots,
    Torus,
)


@dataclass(frozen=True)
class Input:
    """Where a program meets the world: integers in ``low..high``, one of them worth ``scale`` in real units.

    Parameters
    ----------
    name : str
        Name of the operation.
    size : int
        Number of channels.
    low, high : int
        Inclusive range; ``0, 1`` for spikes.
    scale : float
        Real value of one integer unit; real inputs are quantised by
        :func:`neuromorphic.fixed_point.quantize_input`.
    """

    name: str
    size: int
    low: int = 0
    high: int = 1
    scale: float = 1.0
    kind: ClassVar[str] = "events"
    sources: ClassVar[tuple[str, ...]] = ()
    wants: ClassVar[tuple[Wanted, ...]] = ()
    variables: ClassVar[tuple[Variable, ...]] = ()

    def __post_init__(self) -> None:
        checked_integer(self.name, "size", self.size, 1, MAX_SIZE)
        checked_integer(self.name, "low", self.low, -(1 << 15), 0)
        checked_integer(self.name, "high", self.high, 1, 1 << 15)
        real = isinstance(self.scale, (int, float)) and not isinstance(self.scale, bool)  # 1.0 is 1 in other languages
        if not real or not 0.0 < self.scale < float("inf"):
            raise ProgramError(f"{self.name}: scale must be a positive finite float, got {self.scale!r}")
        object.__setattr__(self, "scale", float(self.scale))


@dataclass(frozen=True, eq=False)
class Dense:
    """Synapses: ``y = (weights @ x) << shift``; see :func:`neuromorphic.fixed_point.dense`.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events or values.
    weights : NDArray[np.int8]
        ``[out, in]``, -127..127; ternary when all values are in {-1, 0, 1}.
    shift : int
        Exact left shift of the sum, 0..16.
    """

    name: str
    source: str
    weights: NDArray[np.int8]
    shift: int = 0
    kind: ClassVar[str] = "values"
    variables: ClassVar[tuple[Variable, ...]] = ()
    __setstate__ = restore

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", checked_array(self.name, "weights", self.weights, np.int8, 2, -127, 127))
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)

    @property
    def size(self) -> int:
        """Number of outputs."""
        return int(self.weights.shape[0])

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the operations it reads."""
        return (self.source,)

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """What it asks of its sources."""
        return (Wanted(self.source, ("events", "values"), int(self.weights.shape[1])),)

    @property
    def is_ternary(self) -> bool:
        """Whether every weight is -1, 0 or 1."""
        return bool(np.abs(self.weights.astype(np.int32)).max() <= 1)

    @property
    def weight_bytes(self) -> int:
        """Bytes its weights take when packed: 2 bits each if ternary, else 8."""
        return -(-self.weights.size * (2 if self.is_ternary else 8) // 8)


@dataclass(frozen=True, eq=False)
class Readout:
    """A running sum per class; see :func:`neuromorphic.fixed_point.accumulate_step`. The label is its argmax.

    Parameters
    ----------
    name : str
        Name of the operation.
    sources : tuple of str
        Values; they are added.
    bias : NDArray[np.int32]
        Added every step, in the units of the sum, ``[N]``.
    shift : int
        Fractional bits of the sum relative to the current, 0..16.
    """

    name: str
    sources: tuple[str, ...]
    bias: NDArray[np.int32]
    shift: int
    kind: ClassVar[str] = "sum"
    __setstate__ = restore

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        object.__setattr__(
            self, "bias", checked_array(self.name, "bias", self.bias, np.int32, 1, -STATE_MAX, STATE_MAX)
        )
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)

    @property
    def size(self) -> int:
        """Number of classes."""
        return int(self.bias.shape[0])

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """What it asks of its sources."""
        return tuple(Wanted(source, ("values",), self.size) for source in self.sources)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The running sum."""
        return (Variable("y", "int32", self.size),)


Op = (
    Input
    | Dense
    | LIF
    | HomeostaticLIF
    | Readout
    | Scale
    | Delay
    | Gate
    | Multiply
    | LI
    | GatedState
    | Resonator
    | Torus
    | FastWeights
    | Slots
)
OP_TYPES: Mapping[str, type[Any]] = MappingProxyType({cls.__name__: cls for cls in get_args(Op)})
