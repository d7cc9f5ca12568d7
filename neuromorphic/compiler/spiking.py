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
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.compiler.currents import Currents
from neuromorphic.compiler.draft import Draft, state_integers
from neuromorphic.compiler.weight_integers import SMALLEST, WEIGHT_MAX, Float64
from neuromorphic.errors import CompileError
from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.ops import LIF, AdaptiveLIF, GradedLIF, Operation
from neuromorphic.wording import counted

RESOLUTION = 2.0**10
"""Units that a threshold should have at least: rounding a decay loses up to one of them a step."""
COARSEST = 2.0**14
"""Units that a threshold has left where a current is made coarser, so that its membrane does not saturate."""
SNAP = 5e-7
"""Relative distance at which a threshold just below a whole number means that number: parameters are float32."""
SHOWN_ERROR, MOST_ERROR = 0.01, 0.05
"""Relative error of a membrane that is noted, and at which a decay next to 0 or 1 is refused. At 5 %, networks with
decays of 0.9999 to 0.99999 had 99 % of (step, neuron) equal, at 10 % fewer (*measured*)."""
BEYOND = 1.25
"""How far beyond what can be reached an unreachable threshold lies: more than rounding adds."""
FEWEST = 8
"""Units that a threshold has at least without a warning."""
FAR = 64
"""A membrane that can meet its limit this many thresholds away is noted; one that can do so nearer is warned of."""
RESTING = 2.0**12
"""Units of a threshold that no input reaches."""


@dataclass(frozen=True)
class Integrator:
    """``v = beta v + gain I + offset``, ``[N]`` each."""

    beta: Float64
    gain: Float64
    offset: Float64


@dataclass(frozen=True)
class Adaptation:
    """Of thresholds: they rise by ``jump`` with a spike, and what they have risen decays by ``beta``, ``[N]`` each.

    ``input_step`` says of which step the current is that a membrane sees, as an ``AdaptiveLIF`` has it.
    """

    beta: Float64
    jump: Float64
    input_step: str


def check_thresholds(name: str, theta: Float64) -> None:
    """Refuse thresholds that are not positive."""
    if not (theta > 0).all():
        raise CompileError(
            f"{name}: threshold of neuron {int(np.argmin(theta))} is {theta.min():.4g}; only positive ones compile"
        )


def spiking_population(
    currents: Currents,
    membrane: Integrator,
    theta: Float64,
    reset: str,
    draft: Draft,
    adaptation: Adaptation | None = None,
    levels: int = 2,
) -> tuple[list[Operation], Float64]:
    """Return synapses and neurons with thresholds ``theta``, and the real value of a unit of each membrane, ``[N]``.

    A negative gain turns the weights of its neuron around. ``currents`` have their own units for each neuron, ``reset``
    is one of :data:`neuromorphic.integers.resets.RESETS`, ``draft`` is the program so far, and more than two ``levels``
    make a ``GradedLIF``.
    """
    name = currents.name
    check_thresholds(name, theta)
    currents = currents.times(np.sign(membrane.gain).astype(np.int8))
    gain, offset = np.abs(membrane.gain), membrane.offset
    decay = np.rint(membrane.beta * DECAY_ONE).astype(np.int32)
    currents, theta = _share_bits(currents, gain, offset, theta, decay)
    unit = gain * currents.unit / (1.0 if currents.rows is None else currents.rows)  # [N], real v of one unit
    live = (unit > 0) & (currents.peak() > 0)
    need = np.maximum(theta, np.abs(offset))
    unreached = max(float((need / np.where(live, unit, np.inf)).max()), RESTING)
    per_v = np.where(live, 1.0 / np.where(live, unit, 1.0), unreached / need)  # [N], units of one real v
    least = -max(0, math.floor(math.log2(float((theta * per_v).min()) / COARSEST)))

    def at_bits(bits: int) -> list[Operation] | None:
        scaled = per_v * 2.0**bits
        threshold, bias = state_integers(_whole_threshold(theta * scaled)), state_integers(offset * scaled)
        if threshold is None or bias is None:
            return None
        made, outputs, shift = currents.ops(bits)
        if levels > 2:
            return [*made, GradedLIF(name, outputs, decay, threshold, bias, shift, reset, levels=levels)]
        if adaptation is None:
            return [*made, LIF(name, outputs, decay, threshold, bias, shift, reset)]
        jump = state_integers(adaptation.jump * scaled)
        if jump is None:
            return None
        rises: dict[str, Any] = {"adaptation_decay": np.rint(adaptation.beta * DECAY_ONE).astype(np.int32)}
        rises |= {"adaptation_jump": jump, "input_step": adaptation.input_step}
        return [*made, AdaptiveLIF(name, outputs, decay, threshold, bias, shift, reset, **rises)]

    found = draft.finest(at_bits, least=least)
    if found is None:
        worst = int(np.argmax(need * per_v))
        raise CompileError(
            f"{name}: neuron {worst} needs a threshold of {theta[worst] * per_v[worst]:.3g} and a bias of "
            f"{offset[worst] * per_v[worst]:.3g} units, a state holds {STATE_MAX}; its weights are too small against "
            "its threshold (a BatchNorm gain near zero?), or its sums too large for 32 bits"
        )
    ops, bits, saturates = found
    _describe(ops, saturates, draft)
    return ops, 1.0 / (per_v * 2.0**bits)


def _whole_threshold(units: Float64) -> Float64:
    """Round thresholds down: ``v > floor(x)`` is ``v > x`` for whole ``v``. One just below a whole number means it."""
    nearest = np.rint(units)
    whole: Float64 = np.where(np.abs(units - nearest) <= np.minimum(SNAP * units, 1e-3), nearest, np.floor(units))
    return whole


def _share_bits(
    currents: Currents, gain: Float64, offset: Float64, theta: Float64, decay: NDArray[np.int32]
) -> tuple[Currents, Float64]:
    """Bring the units of a population near enough to share their fractional bits; return currents and thresholds.

    A threshold that no input can ever reach becomes one that is only just not reached, which is counted in fewer units.
    """

    def sizes() -> tuple[Float64, Float64]:
        """Return the units that each neuron's threshold or bias needs, and the bits that are missing for them.

        The first is 0 where no input arrives; the second counts the fractional bits that the smallest neuron needs.
        """
        unit, need = gain * currents.unit, np.maximum(theta, np.abs(offset))
        size = np.where((unit > 0) & (currents.peak() > 0), need / np.where(unit > 0, unit, 1.0), 0.0)
        bits = max(0.0, math.log2(RESOLUTION / float(size[size > 0].min()))) if (size > 0).any() else 0.0
        return size, np.log2(np.maximum(size, SMALLEST)) + bits - math.log2(STATE_MAX)

    size, missing = sizes()
    if missing.max() > 0:  # the steady state at the strongest input, which an endless sample comes near
        steady = 1.0 / np.where(decay < DECAY_ONE, 1.0 - decay / DECAY_ONE, SMALLEST)
        reach = (gain * currents.unit * currents.peak() + np.maximum(offset, 0.0)) * steady * BEYOND
        theta = np.where((missing > 0) & (reach > 0), np.minimum(theta, reach), theta)
        size, missing = sizes()
    if missing.max() > 0 and not any(s.fine for s in currents.synapses):
        room = WEIGHT_MAX // np.maximum(currents.largest_weight(), 1)
        lacking = np.ceil(RESOLUTION / np.where(size > 0, size, RESOLUTION))
        currents = currents.in_smaller_units(np.clip(np.minimum(room, lacking), 1, WEIGHT_MAX).astype(np.int64))
        size, missing = sizes()
    if missing.max() > 0:
        currents = replace(currents, rows=2.0 ** -np.ceil(np.maximum(missing + 1.0, 0.0)))
    return currents, theta


def _describe(ops: list[Operation], saturates: bool, draft: Draft) -> None:
    """Note which neurons cannot fire, fire always, are counted coarsely, or can meet the limit of their membrane."""
    lif, notes = ops[-1], draft.notes
    assert isinstance(lif, LIF)
    bound, sources = draft.bound_last(ops)
    silent = bound.high <= lif.threshold
    within = f"within {counted(draft.num_steps, 'step')}, whatever the input."
    if silent.all():
        say = notes.append if lif.reset == "none" else notes.warn  # without a reset it is read by its membrane
        say(f"{lif.name}: none of its neurons can fire {within}")
    elif silent.any():
        notes.append(f"{lif.name}: {_neurons(silent)} cannot fire {within}")
    coarse = (lif.threshold < FEWEST) & (lif.decay > 0) & (lif.decay < DECAY_ONE) & ~silent
    if coarse.any():
        notes.warn(
            f"{lif.name}: the threshold of {_neurons(coarse)} is less than {FEWEST} units, of which a decay may lose "
            "one a step; its weights, or those of others in this population, are too large for it."
        )
    least = np.left_shift(np.sum([low for low, _ in sources], axis=0), lif.shift) + lif.bias  # in every step, [N]
    always = least > lif.threshold_range[1]
    if always.all():
        notes.warn(f"{lif.name}: all of its neurons fire in every step, whatever the input.")
    elif always.any():
        notes.append(f"{lif.name}: {_neurons(always)} fires in every step, whatever the input.")
    if saturates:
        away = STATE_MAX / max(float(lif.threshold.max()), 1.0)
        say = notes.append if away >= FAR else notes.warn
        say(f"{lif.name}: at its worst a membrane meets the 24-bit limit, {away:.3g} thresholds away, and stays there.")


def step_response(beta: Float64, steps: int) -> Float64:
    """Return a membrane without spikes after some steps of a current of 1: the sum of ``beta**k`` for ``k < steps``."""
    leaky = (beta > 0) & (beta < 1)
    leak = np.where(leaky, 1.0 - beta, 0.5)
    return np.where(leaky, -np.expm1(steps * np.log1p(-leak)) / leak, np.where(beta > 0, float(steps), 1.0))


def decay_error(beta: Float64, steps: int) -> Float64:
    """Return the relative error of a membrane that decays in Q0.12, within some steps of a constant current."""
    rounded = np.rint(beta * DECAY_ONE) / DECAY_ONE
    return np.abs(step_response(rounded, steps) / step_response(beta, steps) - 1.0)


def _neurons(which: NDArray[np.bool_]) -> str:
    """Return which neurons those are, in words."""
    numbers = np.flatnonzero(which)
    first = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"{'neuron' if len(numbers) == 1 else f'{len(numbers)} of {len(which)} neurons:'} {first}"
