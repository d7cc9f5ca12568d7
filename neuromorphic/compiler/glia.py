"""Glia in a program: thresholds as they left them, or a layer's PID controllers in integers that go on moving them."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np

from neuromorphic.compiler.folding import to_numpy
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.errors import CompileError
from neuromorphic.integers.numbers import DECAY_ONE
from neuromorphic.ops import LIF, GradedLIF, HomeostaticLIF
from neuromorphic.ops.homeostatic_lif import GAIN_BITS, MAX_GAIN, MAX_INTEGRAL, MAX_OFFSET, RATE_BITS, RATE_ONE
from pnbx_snn.networks.block import BitBrain
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.neurons.glia import Glia, Loop

OCTAVES = math.log2(math.e)
"""Octaves of an e-fold: glia count offsets in e-folds."""


def encoder_thresholds(model: PNBX, *, frozen: bool = True) -> Float64:
    """Return the thresholds of the encoder, where glia left them if they are ``frozen``."""
    glia: Any = model.blocks[0].glia
    if glia is None or not frozen:
        return np.full(model.d_hidden, float(model.encoder.threshold))
    return to_numpy(glia.thresholds(model.encoder.threshold, "encoder"))


def block_thresholds(block: BitBrain, *, frozen: bool = True) -> Float64:
    """Return the thresholds of a block, where glia left them if they are ``frozen``."""
    glia = block.threshold() if frozen else None
    return np.full(block.d_hidden, block.membrane.threshold) if glia is None else to_numpy(glia)


def with_live_glia(lif: LIF, glia: Glia | None, loop: Loop, period: int | None) -> LIF:
    """Return neurons whose glia move the thresholds every ``period`` steps, from where training left them.

    ``loop`` is which of the two loops of the glia is meant. Without glia or period the neurons stay as they are.
    """
    if glia is None or period is None:
        return lif
    if isinstance(lif, GradedLIF):
        raise CompileError(
            f"{lif.name}: live glia move the thresholds of spikes, 0 or 1, got graded events of {lif.levels} levels; "
            "compile it with frozen glia"
        )
    first = 0 if loop == "encoder" else glia.state.shape[1] // 2
    average, integral, error, offset = to_numpy(glia.state)[:, first : first + 4].T
    gains: Any = tuple(round(gain * OCTAVES * 2.0**GAIN_BITS) for gain in (glia.kp, glia.ki, glia.kd))
    offsets: Any = tuple(round(limit * OCTAVES * 2.0**RATE_BITS) for limit in glia.offset_range)
    integrals: Any = tuple(round(limit / glia.ki * 2.0**RATE_BITS) for limit in glia.offset_range)
    target = round(glia.target * RATE_ONE)
    for what, values, limit in (
        ("gains kp, ki, kd", gains, MAX_GAIN),
        ("limits of the integral, offset_range / ki", integrals, MAX_INTEGRAL),
        ("offset_range", offsets, MAX_OFFSET),
    ):
        if max(map(abs, values)) > limit:
            raise CompileError(
                f"{lif.name}: live glia hold {what} up to {limit} units, got {', '.join(map(str, values))}; "
                "smaller ones, or frozen glia"
            )
    if not 1 <= target < RATE_ONE:
        raise CompileError(
            f"{lif.name}: live glia have targets from {1 / RATE_ONE:.2g} to 1 less that, got {glia.target}"
        )
    control = np.stack(
        (
            np.clip(np.rint(average * RATE_ONE), 0, RATE_ONE),
            np.clip(np.rint(integral * RATE_ONE), *integrals),
            np.clip(np.rint(error * RATE_ONE), -RATE_ONE, RATE_ONE),
            np.clip(np.rint(offset * OCTAVES * RATE_ONE), *offsets),
        ),
        axis=1,
    )
    return HomeostaticLIF(
        **{f.name: getattr(lif, f.name) for f in fields(LIF)},
        control=control.astype(np.int32),
        period=period,
        target=target,
        rate_gain=round(-math.expm1(-1.0 / glia.tau) * DECAY_ONE),
        gains=gains,
        integral_limits=integrals,
        offset_limits=offsets,
    )
