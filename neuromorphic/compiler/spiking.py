"""A population that spikes: its units, its fractional bits, and what must be said about it.

A neuron's current is ``gain * current`` with an integer current (:mod:`neuromorphic.compiler.currents`). Instead of
multiplying, its membrane is counted in units of ``gain``: with ``V = v * 2**bits / gain``

    V = decay(V) + (current << bits) + offset * 2**bits / gain,      spike when V > floor(theta * 2**bits / gain)

so every scale moves into threshold, bias and shift. ``bits`` are the same for the whole population: the most for which
the bounds prove that no membrane saturates. Neurons whose units are too far apart for that are brought together: small
weights are counted in finer units, or a ``Scale`` makes the current of a neuron coarser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.compiler.currents import Currents
from neuromorphic.compiler.notes import Notes
from neuromorphic.compiler.weight_integers import SMALLEST, WEIGHT_MAX, Float64
from neuromorphic.errors import BoundError, CompileError
from neuromorphic.ops import LIF, Delay, Input, Operation
from neuromorphic.ops.base import MAX_SHIFT
from neuromorphic.ops.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.ops.symbols import Range

RESOLUTION = 2.0**10
"""Units that a threshold shall have at least: rounding a decay loses up to one of them a step."""
COARSEST = 2.0**14
"""Units that a threshold keeps where a current is made coarser, so that its membrane does not saturate."""
SNAP = 5e-7
"""Part of itself by which a threshold may miss a whole number of units and be meant: parameters are float32."""
SHOWN_ERROR, MOST_ERROR = 0.01, 0.05
"""Error of a membrane, relative, that is said; and at which a decay next to 0 or 1 is refused. At 5 %, networks with
decays of 0.9999 to 0.99999 had 99 % of (step, neuron) equal, at 10 % fewer (*measured*)."""
BEYOND = 1.25
"""How far beyond what can be reached an unreachable threshold lies: more than rounding adds."""
FEWEST = 8
"""Units that a threshold has at least without a warning."""
FAR = 64
"""A membrane that can meet its limit this many thresholds away is noted; one that can do so nearer is warned of."""
RESTING = 2.0**12
"""Units of a threshold that no input reaches."""


class Ranges:
    """The operations of a program while it grows, and the range of each."""

    def __init__(self, entry: Input, num_steps: int) -> None:
        self.ops: list[Operation] = [entry]
        self.num_steps = num_steps
        self.intervals: dict[str, Range] = {}
        self.know(entry.name, entry.size, entry.low, entry.high)

    def know(self, name: str, size: int, low: int, high: int) -> None:
        """State the range of events, also of an operation that comes later."""
        self.intervals[name] = (np.full(size, low, np.int64), np.full(size, high, np.int64))

    def add(self, ops: Sequence[Operation]) -> None:
        """Add operations whose range is proven."""
        for op in ops:
            if isinstance(op, Delay):
                self.intervals[op.name] = self.intervals[op.source]
            elif op.kind == "events":
                self.know(op.name, op.size, 0, 1)
            else:
                bound = op.bound([self.intervals[s] for s in op.sources], self.num_steps)
                self.intervals[op.name] = (bound.low, bound.high)
            self.ops.append(op)

    def last(self, ops: Sequence[Operation]) -> tuple[Range, bool]:
        """Return the range of the last of some new operations, and whether its state can meet its limit.

        Raises
        ------
        BoundError
            When an accumulator could overflow.
        """
        sources = self._sources(ops)
        bound = ops[-1].bound(sources, self.num_steps)
        return (bound.low, bound.high), bound.saturates

    def least_drive(self, ops: Sequence[Operation]) -> NDArray[np.int64]:
        """Return the least current that the last of some new operations, neurons, can get in a step, ``[N]``."""
        lif = ops[-1]
        assert isinstance(lif, LIF)
        lows = np.sum([low for low, _ in self._sources(ops)], axis=0)
        least: NDArray[np.int64] = np.left_shift(lows, lif.shift) + lif.bias
        return least

    def _sources(self, ops: Sequence[Operation]) -> list[Range]:
        intervals = dict(self.intervals)
        for op in ops[:-1]:
            bound = op.bound([intervals[s] for s in op.sources], self.num_steps)
            intervals[op.name] = (bound.low, bound.high)
        return [intervals[s] for s in ops[-1].sources]

    def saturates(self, ops: Sequence[Operation]) -> bool:
        """Say whether the state of the last of some new operations can meet its limit."""
        return self.last(ops)[1]


def finest(
    at_bits: Callable[[int], Sequence[Operation] | None],
    saturates: Callable[[Sequence[Operation]], bool],
    *,
    least: int = 0,
) -> tuple[Sequence[Operation], int, bool] | None:
    """Find the operations with most fractional bits whose state cannot saturate, else those with ``least``.

    Returns them, their bits, and whether their state can saturate; ``None`` where none fit.
    ``at_bits`` returns ``None`` where the parameters of an operation do not fit; ``saturates`` says whether the state
    of the last operation can meet its limit. Either raises ``BoundError`` where an accumulator does not fit.
    """
    fitting: tuple[Sequence[Operation], int, bool] | None = None
    for bits in range(MAX_SHIFT, least - 1, -1):
        try:
            ops = at_bits(bits)
            meets_limit = ops is not None and saturates(ops)
        except BoundError:
            continue
        if ops is not None:
            fitting = (ops, bits, meets_limit)
            if not meets_limit:
                return fitting
    return fitting


def check_thresholds(name: str, theta: Float64) -> None:
    """Refuse thresholds that are not positive."""
    if not (theta > 0).all():
        raise CompileError(
            f"{name}: threshold of neuron {int(np.argmin(theta))} is {theta.min():.4g}; only positive ones compile"
        )


def spiking_population(
    currents: Currents,
    *,
    beta: Float64,
    theta: Float64,
    gain: Float64,
    offset: Float64,
    reset: str,
    ranges: Ranges,
    notes: Notes,
) -> tuple[list[Operation], Float64]:
    """Return synapses and neurons for ``v = beta v + gain I + offset``, and the real value of a unit of each membrane.

    Parameters
    ----------
    currents : Currents
        The synapses, with units of their own for each neuron.
    beta, theta, gain, offset : Float64
        ``[N]``; a negative ``gain`` turns the weights of its neuron around.
    reset : str
        One of :data:`neuromorphic.ops.resets.RESETS`.
    ranges : Ranges
        The program so far.
    notes : Notes
        Takes a sentence for whatever a user should know.

    Raises
    ------
    CompileError
        When no number of fractional bits fits.
    """
    name = currents.name
    check_thresholds(name, theta)
    currents = currents.times(np.sign(gain).astype(np.int8))
    magnitude = np.abs(gain)
    decay = np.rint(beta * DECAY_ONE).astype(np.int32)
    currents, theta = _together(currents, magnitude, offset, theta, decay)
    worth = magnitude * currents.unit / (1.0 if currents.rows is None else currents.rows)  # [N], real v of one unit
    live = (worth > 0) & (currents.peak() > 0)
    need = np.maximum(theta, np.abs(offset))
    own = max(float((need / np.where(live, worth, np.inf)).max()), RESTING)
    units = np.where(live, 1.0 / np.where(live, worth, 1.0), own / need)
    least = -max(0, math.floor(math.log2(float((theta * units).min()) / COARSEST)))

    def at_bits(bits: int) -> list[Operation] | None:
        scaled = units * 2.0**bits
        threshold, bias = _whole_threshold(theta * scaled), np.rint(offset * scaled)
        if threshold.max() > STATE_MAX or np.abs(bias).max() > STATE_MAX:
            return None
        made, outputs, shift = currents.ops(bits)
        integers = {"decay": decay, "threshold": threshold.astype(np.int32), "bias": bias.astype(np.int32)}
        return [*made, LIF(name, tuple(outputs), **integers, shift=shift, reset=reset)]

    found = finest(at_bits, ranges.saturates, least=least)
    if found is None:
        worst = int(np.argmax(need * units))
        raise CompileError(
            f"{name}: neuron {worst} needs a threshold of {theta[worst] * units[worst]:.3g} and a bias of "
            f"{offset[worst] * units[worst]:.3g} units, a state holds {STATE_MAX}; its weights are too small against "
            "its threshold (a BatchNorm gain near zero?), or its sums too large for 32 bits"
        )
    ops, bits, saturates = found
    _describe(name, ops, saturates, ranges, notes)
    return list(ops), 1.0 / (units * 2.0**bits)


def _whole_threshold(units: Float64) -> Float64:
    """Round thresholds down: ``v > floor(x)`` is ``v > x`` for whole ``v``. One just below a whole number means it."""
    nearest = np.rint(units)
    meant: Float64 = np.where(np.abs(units - nearest) <= np.minimum(SNAP * units, 1e-3), nearest, np.floor(units))
    return meant


def _together(
    currents: Currents, gain: Float64, offset: Float64, theta: Float64, decay: NDArray[np.int32]
) -> tuple[Currents, Float64]:
    """Bring the units of a population near enough to share their fractional bits; return currents and thresholds.

    A threshold that no input can ever reach becomes one that is only just not reached, which is counted in fewer units.
    """

    def sizes() -> Float64:
        """Return how many units each neuron's threshold and bias need; 0 where no input arrives."""
        worth = gain * currents.unit
        need = np.maximum(theta, np.abs(offset))
        return np.where((worth > 0) & (currents.peak() > 0), need / np.where(worth > 0, worth, 1.0), 0.0)

    def wanted(size: Float64) -> float:
        """Return the fractional bits that the neuron with the fewest units needs."""
        return max(0.0, math.log2(RESOLUTION / float(size[size > 0].min()))) if (size > 0).any() else 0.0

    def apart(size: Float64) -> Float64:
        """Return by how many bits each neuron needs more than a state holds."""
        return np.log2(np.maximum(size, SMALLEST)) + wanted(size) - math.log2(STATE_MAX)

    size = sizes()
    if apart(size).max() > 0:  # the steady state at the strongest input, which an endless sample comes near
        steady = 1.0 / np.where(decay < DECAY_ONE, 1.0 - decay / DECAY_ONE, SMALLEST)
        reach = (gain * currents.unit * currents.peak() + np.maximum(offset, 0.0)) * steady * BEYOND
        theta = np.where((apart(size) > 0) & (reach > 0), np.minimum(theta, reach), theta)
        size = sizes()
    if apart(size).max() > 0 and not any(s.fine for s in currents.synapses):
        room = WEIGHT_MAX // np.maximum(currents.largest_weight(), 1)
        lacking = np.ceil(RESOLUTION / np.where(size > 0, size, RESOLUTION))
        currents = currents.finer(np.clip(np.minimum(room, lacking), 1, WEIGHT_MAX).astype(np.int64))
        size = sizes()
    if apart(size).max() > 0:
        currents = replace(currents, rows=2.0 ** -np.ceil(np.maximum(apart(size) + 1.0, 0.0)))
    return currents, theta


def _describe(name: str, ops: Sequence[Operation], saturates: bool, ranges: Ranges, notes: Notes) -> None:
    """Say which neurons cannot fire, fire always, are counted coarsely, or can meet the limit of their membrane."""
    lif = ops[-1]
    assert isinstance(lif, LIF)
    (_, high), _ = ranges.last(ops)
    silent = high <= lif.threshold
    if silent.all():
        say = notes.append if lif.reset == "none" else notes.warn  # without a reset it is read by its membrane
        say(f"{name}: none of its neurons can fire within {ranges.num_steps} steps, whatever the input.")
    elif silent.any():
        notes.append(f"{name}: {_some(silent)} cannot fire within {ranges.num_steps} steps, whatever the input.")
    coarse = (lif.threshold < FEWEST) & (lif.decay > 0) & (lif.decay < DECAY_ONE) & ~silent
    if coarse.any():
        notes.warn(
            f"{name}: the threshold of {_some(coarse)} is less than {FEWEST} units, of which a decay may lose one a "
            "step; its weights, or those of others in this population, are too large for it."
        )
    always = ranges.least_drive(ops) > lif.threshold
    if always.all():
        notes.warn(f"{name}: all of its neurons fire in every step, whatever the input.")
    elif always.any():
        notes.append(f"{name}: {_some(always)} fires in every step, whatever the input.")
    if saturates:
        away = STATE_MAX / max(float(lif.threshold.max()), 1.0)
        say = notes.append if away >= FAR else notes.warn
        say(f"{name}: at its worst a membrane meets the 24-bit limit, {away:.3g} thresholds away, and stays there.")


def held(beta: Float64, steps: int) -> Float64:
    """Return what a membrane without spikes holds after some steps of a current of 1: ``sum of beta**k, k < steps``."""
    leaky = (beta > 0) & (beta < 1)
    leak = np.where(leaky, 1.0 - beta, 0.5)
    return np.where(leaky, -np.expm1(steps * np.log1p(-leak)) / leak, np.where(beta > 0, float(steps), 1.0))


def decay_error(beta: Float64, steps: int) -> Float64:
    """Return how far the nearest decay in Q0.12 takes a membrane from its own within some steps, relative to it.

    The largest error is that of a constant current that never makes the neuron spike: a reset starts both anew.
    """
    rounded = np.rint(beta * DECAY_ONE) / DECAY_ONE
    return np.abs(held(rounded, steps) / held(beta, steps) - 1.0)


def _some(which: NDArray[np.bool_]) -> str:
    numbers = np.flatnonzero(which)
    first = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"{'neuron' if len(numbers) == 1 else f'{len(numbers)} of {len(which)} neurons:'} {first}"
