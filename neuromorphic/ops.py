"""The operations of a program: one dataclass each, which refuses whatever the arithmetic is not defined for.

What flows between them has a kind:

=========  ==================================================  =======================
kind       values                                              produced by
=========  ==================================================  =======================
events     0/1 spikes or graded integers in a stated range     ``Input``, ``LIF``
current    exact int32 sums                                    ``Dense``
sum        24-bit running sums, never fed onward               ``Readout``
=========  ==================================================  =======================

The arithmetic of every operation is in :mod:`neuromorphic.fixed_point`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ProgramError
from neuromorphic.fixed_point import DECAY_ONE, INT32_MAX, RESETS, STATE_MAX

MAX_SHIFT = 16


def _array(
    op: str, name: str, value: Any, dtype: type[np.integer[Any]], ndim: int, low: int, high: int
) -> NDArray[Any]:
    """Return ``value`` as a read-only array of ``dtype``, refusing whatever would change by the cast."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.ndim != ndim or array.size == 0:
        raise ProgramError(
            f"{op}: {name} must be a non-empty {ndim}-dimensional integer array, got {array.dtype}{list(array.shape)}"
        )
    if int(array.min()) < low or int(array.max()) > high:
        raise ProgramError(f"{op}: {name} must lie in {low}..{high}, got {int(array.min())}..{int(array.max())}")
    frozen = np.array(array, dtype=dtype)
    frozen.setflags(write=False)
    return frozen


def checked_integer(op: str, name: str, value: Any, low: int, high: int) -> int:
    """Return ``value`` as an int, refusing whatever is none or lies outside ``low..high``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= int(value) <= high:
        raise ProgramError(f"{op}: {name} must be an integer in {low}..{high}, got {value!r}")
    return int(value)


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

    def __post_init__(self) -> None:
        checked_integer(self.name, "size", self.size, 1, INT32_MAX)
        checked_integer(self.name, "low", self.low, -(1 << 15), 0)
        checked_integer(self.name, "high", self.high, 1, 1 << 15)
        if not isinstance(self.scale, float) or not 0.0 < self.scale < float("inf"):
            raise ProgramError(f"{self.name}: scale must be a positive finite float, got {self.scale!r}")


@dataclass(frozen=True, eq=False)
class Dense:
    """Synapses: ``current = (weights @ events) << shift``; see :func:`neuromorphic.fixed_point.dense`.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        An ``Input`` or ``LIF``.
    weights : NDArray[np.int8]
        ``[out, in]``, -127..127; ternary when all values are in {-1, 0, 1}.
    shift : int
        Exact left shift of the sum, 0..16.
    """

    name: str
    source: str
    weights: NDArray[np.int8]
    shift: int = 0
    kind: ClassVar[str] = "current"

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _array(self.name, "weights", self.weights, np.int8, 2, -127, 127))
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
    def is_ternary(self) -> bool:
        """Whether every weight is -1, 0 or 1."""
        return bool(np.abs(self.weights.astype(np.int32)).max() <= 1)

    @property
    def weight_bytes(self) -> int:
        """Bytes its weights take when packed: 2 bits each if ternary, else 8."""
        return -(-self.weights.size * (2 if self.is_ternary else 8) // 8)


@dataclass(frozen=True, eq=False)
class LIF:
    """Leaky integrate-and-fire neurons; see :func:`neuromorphic.fixed_point.lif_step`.

    Parameters
    ----------
    name : str
        Name of the operation.
    sources : tuple of str
        ``Dense`` operations; their currents are added.
    decay : NDArray[np.int32]
        Q0.12, 0..4096, ``[N]``.
    threshold : NDArray[np.int32]
        0..STATE_MAX, in state units, ``[N]``.
    bias : NDArray[np.int32]
        Within the 24-bit state range, in state units, ``[N]``.
    shift : int
        Fractional bits of the state relative to the current, 0..16.
    reset : str
        ``"zero"``, ``"subtract"``, ``"subtract_snntorch"`` or ``"none"``.
    """

    name: str
    sources: tuple[str, ...]
    decay: NDArray[np.int32]
    threshold: NDArray[np.int32]
    bias: NDArray[np.int32]
    shift: int
    reset: str = "zero"
    kind: ClassVar[str] = "events"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        for name, low, high in (("decay", 0, DECAY_ONE), ("threshold", 0, STATE_MAX), ("bias", -STATE_MAX, STATE_MAX)):
            object.__setattr__(self, name, _array(self.name, name, getattr(self, name), np.int32, 1, low, high))
        if not self.decay.shape == self.threshold.shape == self.bias.shape:
            shapes = [list(a.shape) for a in (self.decay, self.threshold, self.bias)]
            raise ProgramError(f"{self.name}: decay, threshold and bias must have one length, got {shapes}")
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)
        if self.reset not in RESETS:
            raise ProgramError(f"{self.name}: reset must be one of {', '.join(RESETS)}, got {self.reset!r}")

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.threshold.shape[0])


@dataclass(frozen=True, eq=False)
class Readout:
    """A running sum per class; see :func:`neuromorphic.fixed_point.accumulate_step`. The label is its argmax.

    Parameters
    ----------
    name : str
        Name of the operation.
    sources : tuple of str
        ``Dense`` operations; their currents are added.
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        object.__setattr__(self, "bias", _array(self.name, "bias", self.bias, np.int32, 1, -STATE_MAX, STATE_MAX))
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)

    @property
    def size(self) -> int:
        """Number of classes."""
        return int(self.bias.shape[0])


Op = Input | Dense | LIF | Readout
OP_TYPES: Mapping[str, type[Any]] = MappingProxyType({cls.__name__: cls for cls in (Input, Dense, LIF, Readout)})
