"""Spiking neurons: those whose thresholds stay, and those whose thresholds follow their firing rate.

Their arithmetic is in :mod:`neuromorphic.fixed_point` and :mod:`neuromorphic.homeostasis`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ProgramError
from neuromorphic.fixed_point import DECAY_ONE, RESETS, STATE_MAX
from neuromorphic.homeostasis import RATE_BITS, RATE_ONE
from neuromorphic.op_fields import (
    MAX_SHIFT,
    Variable,
    Wanted,
    check_lengths,
    checked_array,
    checked_choice,
    checked_integer,
    restore,
)

MAX_PERIOD = 1 << 16
MAX_SHOTS = 1 << 24
MAX_OFFSET = (16 << RATE_BITS) - 1
MAX_INTEGRAL = 1 << 26
MAX_GAIN = 1 << 20


@dataclass(frozen=True, eq=False)
class LIF:
    """Leaky integrate-and-fire neurons; see :func:`neuromorphic.fixed_point.lif_step`.

    Parameters
    ----------
    name : str
        Name of the operation.
    sources : tuple of str
        Values; they are added.
    decay : NDArray[np.int32]
        Q0.12, 0..4096, ``[N]``.
    threshold : NDArray[np.int32]
        0..STATE_MAX, in state units, ``[N]``.
    bias : NDArray[np.int32]
        Within the 24-bit state range, in state units, ``[N]``.
    shift : int
        Fractional bits of the state relative to the current, 0..16.
    reset : str
        One of :data:`neuromorphic.fixed_point.RESETS`.
    """

    name: str
    sources: tuple[str, ...]
    decay: NDArray[np.int32]
    threshold: NDArray[np.int32]
    bias: NDArray[np.int32]
    shift: int
    reset: str = "zero"
    kind: ClassVar[str] = "events"
    __setstate__ = restore

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        for name, low, high in (("decay", 0, DECAY_ONE), ("threshold", 0, STATE_MAX), ("bias", -STATE_MAX, STATE_MAX)):
            object.__setattr__(self, name, checked_array(self.name, name, getattr(self, name), np.int32, 1, low, high))
        check_lengths(self.name, decay=self.decay, threshold=self.threshold, bias=self.bias)
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)
        checked_choice(self.name, "reset", self.reset, RESETS)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.threshold.shape[0])

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """What it asks of its sources."""
        return tuple(Wanted(source, ("values",), self.size) for source in self.sources)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Spikes, and the membrane after the step."""
        return (Variable("spikes", "uint8", self.size), Variable("v", "int32", self.size))


@dataclass(frozen=True, eq=False, kw_only=True)
class HomeostaticLIF(LIF):
    """LIF neurons whose thresholds follow their firing rate: glia that stay alive in a program.

    A step is :func:`neuromorphic.fixed_point.lif_step` with the thresholds of
    :func:`neuromorphic.homeostasis.moved_threshold`; after every ``period`` steps of a sample the offsets move by
    :func:`neuromorphic.homeostasis.control_step`. Neuron ``n`` belongs to domain ``n // (N / domains)``.

    The one operation that is another one too: wherever neurons are meant, so are these, and only the threshold differs.

    Parameters
    ----------
    name, sources, decay, threshold, bias, shift, reset
        Of a ``LIF``; ``threshold`` is the base that an offset of 0 leaves as it is.
    control : NDArray[np.int32]
        Average, integral, error and offset of every domain at the start of a sample, ``[domains, 4]``.
    period : int
        Steps between two updates, 1..65536.
    target : int
        Wanted spikes per neuron and step with 16 fractional bits, 1..65535.
    rate_gain : int
        How fast the average follows the rate, Q0.12, 0..4096.
    gains : tuple of int
        ``kp, ki, kd`` in octaves per rate with 12 fractional bits, 0..2**20.
    integral_limits, offset_limits : tuple of int
        Lowest and highest, around 0: within 2**26, and within 16 octaves with 16 fractional bits.
    """

    control: NDArray[np.int32]
    period: int
    target: int
    rate_gain: int
    gains: tuple[int, int, int]
    integral_limits: tuple[int, int]
    offset_limits: tuple[int, int]
    fields_of_control: ClassVar[tuple[str, ...]] = ("average", "integral", "error", "offset")

    def __post_init__(self) -> None:
        super().__post_init__()
        limit = MAX_INTEGRAL
        control = checked_array(self.name, "control", self.control, np.int32, 2, -limit, limit)
        domains, columns = control.shape
        if columns != len(self.fields_of_control) or self.size % domains:
            raise ProgramError(
                f"{self.name}: control must be [domains, 4], domains a divisor of the {self.size} neurons, "
                f"got {list(control.shape)}"
            )
        object.__setattr__(self, "control", control)
        checked_integer(self.name, "period", self.period, 1, MAX_PERIOD)
        if self.per_domain * self.period > MAX_SHOTS:
            raise ProgramError(
                f"{self.name}: neurons of a domain times period must be at most {MAX_SHOTS}, "
                f"got {self.per_domain} * {self.period}"
            )
        checked_integer(self.name, "target", self.target, 1, RATE_ONE - 1)
        checked_integer(self.name, "rate_gain", self.rate_gain, 0, DECAY_ONE)
        for name, count, low, high in (
            ("gains", 3, 0, MAX_GAIN),
            ("integral_limits", 2, -MAX_INTEGRAL, MAX_INTEGRAL),
            ("offset_limits", 2, -MAX_OFFSET, MAX_OFFSET),
        ):
            object.__setattr__(self, name, self._numbers(name, count, low, high))
        for name, column in (("integral", 1), ("offset", 3)):
            low, high = getattr(self, f"{name}_limits")
            if not low <= 0 <= high:
                raise ProgramError(f"{self.name}: {name}_limits must be around 0, got {low}, {high}")
            checked_array(self.name, f"the {name} in control", control[:, column], np.int32, 1, low, high)
        checked_array(self.name, "the average in control", control[:, 0], np.int32, 1, 0, RATE_ONE)
        checked_array(self.name, "the error in control", control[:, 2], np.int32, 1, -RATE_ONE, RATE_ONE)

    def _numbers(self, name: str, count: int, low: int, high: int) -> tuple[int, ...]:
        values: Any = getattr(self, name)
        if not isinstance(values, (tuple, list)) or len(values) != count:
            raise ProgramError(f"{self.name}: {name} must be {count} integers, got {values!r}")
        return tuple(checked_integer(self.name, name, value, low, high) for value in values)

    @property
    def num_domains(self) -> int:
        """Number of controllers."""
        return int(self.control.shape[0])

    @property
    def per_domain(self) -> int:
        """Neurons of a domain."""
        return self.size // self.num_domains

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of :func:`neuromorphic.homeostasis.control_step`."""
        names = ("target", "rate_gain", "gains", "integral_limits", "offset_limits")
        return {"shots": self.per_domain * self.period, **{name: getattr(self, name) for name in names}}

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Spikes, the membrane after the step, and the offset of each domain after it."""
        return (*super().variables, Variable("offset", "int32", self.num_domains))
