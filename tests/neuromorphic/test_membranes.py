"""The worst case of a leaky state, followed to its end: equal to making its steps one by one."""

import numpy as np
import pytest

from neuromorphic import LIF, Dense, Input, Program, prove
from neuromorphic.integers import membranes
from neuromorphic.integers.membranes import grown, to_zero
from neuromorphic.integers.numbers import DECAY_BITS, STATE_MAX, NumPy
from neuromorphic.integers.resets import RESETS, Reset
from neuromorphic.ops import Delay

DECAYS = [0, 1, 2048, 3686, 4000, 4080, 4090, 4095, 4096]
LARGEST = [1, 3, 50, 3000, 1 << 16, 1 << 22, (1 << 31) - (1 << 25)]


def step_by_step(decay, drive, num_steps, *, theta, reset):
    """Interval arithmetic on every step of the equation: what is proven, slow and obvious."""
    held_low = held_high = low = high = np.zeros_like(decay)
    for _ in range(num_steps):
        new_low = NumPy().toward_zero(held_low * decay, DECAY_BITS) + drive[0]
        new_high = NumPy().toward_zero(held_high * decay, DECAY_BITS) + drive[1]
        if theta is not None and reset.before == "lower":
            new_low = new_low - theta[1]
        low, high = np.minimum(low, new_low), np.maximum(high, new_high)
        held_low, held_high = np.clip(low, -STATE_MAX, STATE_MAX), np.clip(high, -STATE_MAX, STATE_MAX)
        if theta is not None and to_zero(reset):
            held_high = np.minimum(held_high, theta[1])
        elif theta is not None and reset == Reset("nothing", "subtract"):
            held_high = np.minimum(held_high, np.maximum(theta[1], held_high - theta[0]))
    return low, high


@pytest.mark.parametrize("route", ["by what they cost", "in stretches", "step by step"])
@pytest.mark.parametrize("reset", RESETS)
def test_a_membrane_is_followed_as_by_its_steps(reset, route, monkeypatch):
    few, stretches = {"by what they cost": (512, 12), "in stretches": (512, 1 << 40), "step by step": (0, 0)}[route]
    monkeypatch.setattr(membranes, "_FEW", few)
    monkeypatch.setattr(membranes, "_STRETCHES_A_STEP", stretches)
    rng = np.random.default_rng(list(RESETS).index(reset))
    for steps in (1, 2, 3, 17, 300):
        for largest in LARGEST:
            decay = rng.choice([*DECAYS, *rng.integers(0, 4097, 4)], 16).astype(np.int64)
            drive = np.sort(rng.integers(-largest, largest + 1, (2, 16)), axis=0)
            theta = np.sort(rng.choice([0, 1, 77, 5000, 1 << 20, rng.integers(STATE_MAX), STATE_MAX], (2, 16)), axis=0)
            for limits in (None, (theta[1], theta[1]), (theta[0], theta[1])):
                options = {"theta": limits, "reset": RESETS[reset]}
                found = membranes._followed(decay, (drive[0], drive[1]), steps, **options)
                wanted = step_by_step(decay, (drive[0], drive[1]), steps, **options)
                np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("gain", [0, 1, 5, 2900, 1 << 20])
def test_a_stretch_ends_where_the_leak_changes(decay, gain):
    held = 0
    for step in range(1, 2500):
        held = min((held * decay >> DECAY_BITS) + gain, STATE_MAX)
        if step % 97 == 0 or step < 20:
            assert grown(decay, gain, STATE_MAX, 0, step) == held


@pytest.mark.timeout(60)
def test_thousands_of_slow_neurons_are_proven_at_once():
    """750 loops of four neurons that hardly leak, 4,096 steps: each step of each took a minute in all."""
    one, unit = np.ones(4, dtype=np.int32), np.eye(4, dtype=np.int8)
    ops, source = [Input("x", 4)], "x"
    for i in range(750):
        synapses = [Dense(f"heard{i}", f"last{i}", unit), Dense(f"driven{i}", source, unit)]
        names = (f"driven{i}", f"heard{i}")
        neurons = LIF(f"lif{i}", names, 4095 * one, STATE_MAX * one, 0 * one, 0, reset="subtract")
        ops += [Delay(f"last{i}", f"lif{i}", 4), *synapses, neurons]
        source = f"lif{i}"
    bounds = prove(Program(tuple(ops), num_steps=4096))
    held = 0
    for _ in range(4096):
        held = (held * 4095 >> DECAY_BITS) + 2
    assert {bound.high for bound in bounds if bound.name.startswith("lif")} == {held}
