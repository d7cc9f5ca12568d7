"""``HomeostaticLIF``: neurons whose thresholds follow their firing rate, by a PID controller for each domain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ProgramError
from neuromorphic.integers.numbers import DECAY_BITS, DECAY_ONE, STATE_MAX, NumPy
from neuromorphic.integers.symbols import Bound, Range
from neuromorphic.ops.base import State, Variable, checked_array, checked_integer, operation, total
from neuromorphic.ops.lif import LIF

RATE_BITS = 16
RATE_ONE = 1 << RATE_BITS
GAIN_BITS = 12
MAX_PERIOD = 1 << 16
MAX_SHOTS = 1 << 24
MAX_OFFSET = (16 << RATE_BITS) - 1
MAX_INTEGRAL = 1 << 26
MAX_GAIN = 1 << 20
_TABLE_BITS = 8
_FACTOR_BITS = 15
_COUNT_BITS = 32


def _octave_table() -> NDArray[np.int64]:
    size = 1 << _TABLE_BITS
    table = np.array([math.floor(2.0 ** (_FACTOR_BITS + i / size) + 0.5) for i in range(size)], dtype=np.int64)
    table.setflags(write=False)
    return table


OCTAVE = _octave_table()
"""``OCTAVE[i] = floor(2**15 * 2**(i / 256) + 1/2)``, ``i`` in 0..255. No entry lies near a tie."""


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class HomeostaticLIF(LIF):
    """LIF neurons whose thresholds follow their firing rate: glia that continue to adapt in a program.

    Neuron ``n`` belongs to domain ``d = n // (N / domains)``. Each domain holds ``average``, ``integral``, ``error``
    and ``offset``, whose first values are in the program. Rates and errors are spikes per neuron and step, offsets are
    octaves; all have 16 fractional bits. With ``o = offset[d]``, ``k = o >> 16`` (rounding down) and
    ``f = (o >> 8) & 255``, the threshold of a step is ``min(threshold * X[f] >> (15 - k), 2^23 - 1)``. The product has
    64 bits, and ``X[i] = floor(2^(15 + i/256) + 1/2)``: ``X[0] = 32768``, ``X[128] = 46341``, ``X[255] = 65359``.
    Spikes are counted per domain. After every ``period`` steps of the sample, with ``shots = N / domains * period``:

    1. ``rate = count * floor(2^32 / shots) >> 16``; the count starts anew
    2. ``average = average + tz((rate - average) * rate_gain, 12)``
    3. ``error' = average - target``, ``integral = clip(integral + error', integral_limits)``
    4. ``offset = clip(tz(kp * error' + ki * integral + kd * (error' - error), 12), offset_limits)``, then
       ``error = error'``

    In everything else this is a ``LIF``; only the threshold differs.

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

    References
    ----------
    :class:`pnbx_snn.Glia` in integers.
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

    def states(self) -> dict[str, State]:
        """Return the membrane, what each domain holds, its spikes since the last update, and the steps since then."""
        per_domain = (self.num_domains,)
        control = {name: State(per_domain, self.control[:, i]) for i, name in enumerate(self.fields_of_control)}
        return {**super().states(), **control, "count": State(per_domain), "place": State((1,), counts_steps=True)}

    def step(self, xp: Any, state: Any, *currents: Any) -> Any:
        """Fire with the moved thresholds, count, and at the end of a period move them again."""
        spikes = self.fire(xp, state, self.moved_threshold(xp, self.threshold, state.offset), total(currents))
        state.count = state.count + xp.sum(xp.reshape(spikes, self.num_domains, self.per_domain))
        state.place = state.place + 1
        due = state.place >= self.period  # not "equal": so intervals prove that the count of steps ends
        if due is not False:  # a Boolean where the back end counts steps in Python
            for name, moved in self._controlled(xp, state).items():
                setattr(state, name, xp.where(due, moved, getattr(state, name)))
        return spikes

    def moved_threshold(self, xp: Any, threshold: Any, offset: Any) -> Any:
        """Return thresholds moved by the offset of their domain, ``threshold * 2**offset``, from the table."""
        octaves = xp.reshape(offset, self.num_domains, 1)
        factor = xp.take(OCTAVE, (octaves >> (RATE_BITS - _TABLE_BITS)) & ((1 << _TABLE_BITS) - 1))
        product = xp.reshape(threshold, self.num_domains, self.per_domain) * factor
        moved = xp.clip(product >> (_FACTOR_BITS - (octaves >> RATE_BITS)), 0, STATE_MAX)
        return xp.reshape(moved, self.size)

    def _controlled(self, xp: Any, state: Any) -> dict[str, Any]:
        """Return the states of the controllers after an update."""
        kp, ki, kd = self.gains
        one_spike = (1 << _COUNT_BITS) // (self.per_domain * self.period)
        rate = state.count * one_spike >> (_COUNT_BITS - RATE_BITS)
        average = state.average + xp.toward_zero((rate - state.average) * self.rate_gain, DECAY_BITS)
        error = average - self.target
        integral = xp.clip(state.integral + error, *self.integral_limits)
        wanted = xp.toward_zero(error * kp + integral * ki + (error - state.error) * kd, GAIN_BITS)
        offset = xp.clip(wanted, *self.offset_limits)
        return {"average": average, "integral": integral, "error": error, "offset": offset, "count": 0, "place": 0}

    @property
    def threshold_range(self) -> Range:
        """Thresholds at the lowest and at the highest offset."""
        xp, threshold = NumPy(), self.threshold.astype(np.int64)
        low, high = (
            self.moved_threshold(xp, threshold, np.full((1, self.num_domains), end, dtype=np.int64))[0]
            for end in self.offset_limits
        )
        return low, high

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Follow the membrane as that of a ``LIF``; a domain fires no more than its shots, and an average is a rate."""
        bound = super().bound(inputs, num_steps)
        ends = {
            "average": (0, RATE_ONE),
            "integral": self.integral_limits,
            "error": (-RATE_ONE, RATE_ONE),
            "offset": self.offset_limits,
            "count": (0, self.per_domain * self.period),
            "place": (0, self.period),
        }
        inside = {name: (np.asarray(low), np.asarray(high)) for name, (low, high) in ends.items()}
        return bound._replace(states={**bound.states, **inside})

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Spikes, the membrane after the step, and the offset of each domain after it."""
        return (*super().variables, Variable("offset", "int32", self.num_domains))
