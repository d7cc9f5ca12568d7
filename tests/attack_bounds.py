"""Search on purpose for what breaks the proof of no overflow: extremes of every field, inputs that do their worst.

python tests/attack_bounds.py [seconds] [seed]

Random programs never broke an unsound proof. Here every operation is taken alone, behind a source whose range is drawn
too; what it does with the worst inputs is computed in Python integers, or in int64 where 24-bit states keep it small,
and must lie in the proven range. ``NAME(rng)`` returns what it found, or ``None``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic import LIF, Dense, Readout
from neuromorphic.errors import BoundError
from neuromorphic.integers.numbers import DECAY_ONE, INT32_MAX, STATE_MAX, NumPy
from neuromorphic.integers.resets import RESETS
from neuromorphic.ops import LI, FastWeights, Gate, GatedState, HomeostaticLIF, Multiply, Resonator, Scale, Slots, Torus

sys.path.insert(0, str(Path(__file__).parent / "support"))
from steps import fast_weights_step, gated_step, lif_step, moved_threshold, resonate_step, slots_step

shift_right_toward_zero = NumPy().toward_zero

STEPS = (1, 2, 25, 4095, 4096, 4097, 4500)
EDGES = (1, 2, 127, 4096, 32_768, STATE_MAX, 1 << 30, INT32_MAX)
Int64 = NDArray[np.int64]


def i32(values: Any) -> NDArray[np.int32]:
    return np.asarray(values).astype(np.int64).astype(np.int32)


def source(rng: np.random.Generator, size: int, most: int = INT32_MAX) -> tuple[Int64, Int64]:
    """Draw the range of each unit of a source: it holds 0, as every proven range of events and states does."""
    ends = rng.choice([e for e in EDGES if e <= most], (2, size)) * rng.choice([0, 1, 1], (2, size))
    if rng.random() < 0.3:
        ends = (ends * rng.random((2, size))).astype(np.int64)
    if rng.random() < 0.5:
        ends[:] = ends[:, :1]
    return -ends[0].astype(np.int64), ends[1].astype(np.int64)


def bounds_of(op: Any, sources: list[Any], num_steps: int = 1) -> tuple[list[int], list[int]] | None:
    """Return what is proven of each unit, as Python integers, or ``None`` if nothing is."""
    try:
        bound = op.bound(sources, num_steps)
    except BoundError:
        return None
    return bound.low.tolist(), bound.high.tolist()


def judge(op: Any, proven: Any, lows: Any, highs: Any, *, limit: int = INT32_MAX, tight: bool = False) -> str | None:
    """Compare what happened with what was proven; ``tight``: the proof must be no wider than that."""
    for unit, (low, high, least, most) in enumerate(zip(*proven, lows, highs, strict=True)):
        if not (low <= least and most <= high and max(-least, most) <= limit):
            return f"unit {unit}: {least}..{most}, proven {low}..{high}: {op}"
        if tight and (low, high) != (least, most):
            return f"unit {unit}: {least}..{most} are the ends, proven {low}..{high}: {op}"
    return None


def dense(rng: np.random.Generator) -> str | None:
    rows, columns = int(rng.integers(1, 4)), int(rng.choice([1, 3, 100, 8192]))
    values = rng.choice([-127, -64, -1, 0, 1, 64, 127], (rows, columns))
    weights = (values if rng.random() < 0.5 else np.abs(values)).astype(np.int8)
    op = Dense("fc", "x", weights, int(rng.integers(0, 17)))
    most = int(rng.choice([e for e in EDGES if e * 127 * columns >> 8 <= INT32_MAX] or [1]))
    x = source(rng, columns, INT32_MAX if rng.random() < 0.3 else most)
    if rng.random() < 0.2:  # sums that come round to little more than nothing once they have left 64 bits
        op = Dense("fc", "x", np.full((rows, 8192), 64, dtype=np.int8), 15)
        weights, x = op.weights, (np.zeros(8192, dtype=np.int64), np.full(8192, 1 << 30, dtype=np.int64))
        x[1][: int(rng.integers(1, 1000))] += 1
    proven = bounds_of(op, [x])
    w, low, high = (array.astype(object) for array in (weights, *x))
    up, down = np.maximum(w, 0), np.minimum(w, 0)
    lows = [int(v) << op.shift for v in up @ low + down @ high]
    highs = [int(v) << op.shift for v in up @ high + down @ low]
    fits = max(*(-v for v in lows), *highs) <= INT32_MAX
    if (proven is None) == fits:
        return f"{'refused' if fits else 'proven'} {min(lows)}..{max(highs)}: {op}"
    return None if proven is None else judge(op, proven, lows, highs, tight=True)


def scale(rng: np.random.Generator) -> str | None:
    x = source(rng, 8)
    factor = rng.choice(EDGES, 8) * rng.choice([-1, 0, 1], 8)
    op = Scale("s", "x", i32(factor), int(rng.integers(0, 48)))
    ends = [[int(e) * int(f) for e, f in zip(end, factor, strict=True)] for end in x]
    shifted = [[(abs(v) >> op.shift) * (1 if v > 0 else -1) for v in end] for end in ends]
    proven = bounds_of(op, [x])
    return None if proven is None else judge(op, proven, *map_ends(shifted), tight=True)


def map_ends(corners: list[list[int]]) -> tuple[list[int], list[int]]:
    return [min(c) for c in zip(*corners, strict=True)], [max(c) for c in zip(*corners, strict=True)]


def multiply(rng: np.random.Generator) -> str | None:
    x, fc = source(rng, 8), source(rng, 8, STATE_MAX)
    gate = Gate("g", "fc", i32(rng.choice([0, 4095, -4095, STATE_MAX, -STATE_MAX], 8)))
    bound = gate.bound([fc], 1)
    g = bound.low, bound.high
    op = Multiply("m", "x", "g", 8, int(rng.integers(0, 17)))
    corners = [shift_right_toward_zero(end * gates, 12 + op.shift).tolist() for end in x for gates in g]
    proven = bounds_of(op, [x, g])
    return None if proven is None else judge(op, proven, *map_ends(corners), tight=True)


def torus(rng: np.random.Generator) -> str | None:
    edges = rng.integers(-1, 2, (8, 12)).astype(np.int8) if rng.random() < 0.7 else np.ones((8, 12), dtype=np.int8)
    low, high = -int(rng.choice([0, 1, 32_768])), int(rng.choice([1, 32_768]))
    op = Torus("t", "x", 3, 4, edges)
    up, down = ((edges == sign).sum(axis=0, dtype=np.int64) for sign in (1, -1))
    x = np.full(12, low, dtype=np.int64), np.full(12, high, dtype=np.int64)
    proven = bounds_of(op, [x])
    assert proven is not None
    return judge(op, proven, up * low - down * high, up * high - down * low, tight=True)


def drives(rng: np.random.Generator, low: Int64, high: Int64, aim: Callable[[], Int64]) -> Callable[[int], Int64]:
    """Return what to put in, step by step: an end, either end, or what brings a state to its aim, then an end."""
    kind = str(rng.choice(["low", "high", "either", "aim", "turn"]))
    period = int(rng.integers(2, 60))

    def at(t: int) -> Int64:
        if kind == "either":
            return np.where(rng.random(low.size) < 0.5, low, high)
        if kind == "aim" and t % period:
            return np.clip(aim(), low, high)
        if kind == "turn" and t // period % 2:
            return low
        return low if kind == "low" else high

    return at


def neurons(rng: np.random.Generator) -> str | None:
    """LIF with every reset, with thresholds that stay or move, LI and read-outs: currents that do their worst."""
    n, steps = 16, int(rng.choice(STEPS))
    shift = int(rng.integers(0, 17))
    x = source(rng, n, max(1, int(rng.choice(EDGES)) >> shift))
    decay = i32(rng.choice([0, 1, 2048, 3686, 4076, 4090, 4094, 4095, DECAY_ONE], n))
    theta = i32(rng.choice([0, 1, 1000, 1 << 20, STATE_MAX], n))
    bias = i32(rng.choice([0, 1, -1, 1000, -1000, STATE_MAX, -STATE_MAX], n, p=[0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]))
    kind, reset = str(rng.choice(["lif", "lif", "moving", "li", "readout"])), str(rng.choice(list(RESETS)))
    op: Any
    limits = (0, 0)
    if kind == "li":
        op = LI("s", ("x",), decay, bias, shift)
    elif kind == "readout":
        op, decay = Readout("s", ("x",), bias, shift), i32(np.full(n, DECAY_ONE))
    elif kind == "lif":
        op = LIF("s", ("x",), decay, theta, bias, shift, reset)
    else:
        limits = (-int(rng.choice([0, 1 << 16, 1 << 20]) - 1), int(rng.choice([0, 1 << 16, 1 << 20]) - 1))
        limits = (min(limits[0], 0), max(limits[1], 0))
        fields: Any = {"control": i32(np.zeros((n, 4))), "period": 1, "target": 1, "rate_gain": 0, "gains": (0, 0, 0)}
        fields |= {"integral_limits": (0, 0), "offset_limits": limits}
        op = HomeostaticLIF("s", ("x",), decay, theta, bias, shift, reset, **fields)
    proven = bounds_of(op, [x], steps)
    if proven is None:
        return None
    if kind in ("li", "readout"):
        reset, theta = "none", i32(np.zeros(n))
    v, moved = np.zeros((1, n), dtype=np.int32), theta[np.newaxis]
    least, most = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)

    def to_threshold() -> Int64:
        gap = moved[0].astype(np.int64) - shift_right_toward_zero(v[0].astype(np.int64) * decay, 12) - bias
        return np.right_shift(gap, np.int64(shift))

    drive_at = drives(rng, *x, to_threshold)
    for t in range(steps):
        current = drive_at(t)[np.newaxis]
        if kind == "moving":
            moved = moved_threshold(theta, i32(rng.choice([limits[0], 0, limits[1]], (1, n))), 1)
        held = v[0].astype(np.int64)
        over = held > moved[0]
        kept = np.where(over, 0, held) if reset == "zero_delayed" else held
        u = shift_right_toward_zero(kept * decay.astype(np.int64), 12) + (current[0] << shift) + bias
        if reset in ("subtract_snntorch", "subtract_delayed"):
            u = u - over * moved[0]
        if kind == "li":
            u = np.clip(u, -STATE_MAX, STATE_MAX)
        if reset == "zero_with_input":
            u = np.where(over, 0, u)
        least, most = np.minimum(least, u), np.maximum(most, u)
        _, v = lif_step(v, current, decay=decay, threshold=moved, bias=bias, shift=shift, reset=reset)  # type: ignore[arg-type]
    return judge(op, proven, least.tolist(), most.tolist())


def gated(rng: np.random.Generator) -> str | None:
    x, gates = source(rng, 16), source(rng, 16, 4096)
    op = GatedState("s", "x", "g", 16)
    proven = bounds_of(op, [x, gates], 100)
    assert proven is not None
    s, least, most = i32(np.zeros((1, 16))), np.zeros(16, dtype=np.int64), np.zeros(16, dtype=np.int64)
    drive_at = drives(rng, *x, lambda: x[0] // 2)
    for t in range(100):
        s = gated_step(s, i32(drive_at(t)[np.newaxis]), i32(rng.choice([0, 1, 2048, 4095, 4096], (1, 16))))
        least, most = np.minimum(least, s[0]), np.maximum(most, s[0])
    return judge(op, proven, least.tolist(), most.tolist(), limit=STATE_MAX)


def resonator(rng: np.random.Generator) -> str | None:
    """Push in the phase that makes the real part of the last step largest."""
    n, steps = 16, int(rng.choice([1, 25, 400, 4500]))
    angle, radius = rng.uniform(0, 2 * np.pi, n), rng.choice([0.0, 0.5, 0.99, 0.9999, 1.0], n)
    cosine, sine = (np.trunc(DECAY_ONE * radius * part) for part in (np.cos(angle), np.sin(angle)))
    exact = rng.random(n) < 0.3  # of length 4096 exactly
    cosine, sine = np.where(exact, rng.choice([0, DECAY_ONE], n), cosine), np.where(exact, 0, sine)
    op = Resonator("r", "x", i32(cosine), i32(np.where(exact & (cosine == 0), DECAY_ONE, sine)))
    x = source(rng, n, int(rng.choice([127, 32_768, STATE_MAX])))
    proven = bounds_of(op, [x], steps)
    assert proven is not None
    factor = (op.cosine + 1j * op.sine) / DECAY_ONE
    re = im = i32(np.zeros((1, n)))
    least, most = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for t in range(steps):
        ahead = (factor ** (steps - 1 - t)).real
        re, im = resonate_step(
            re, im, i32(np.where(ahead >= 0, x[1], x[0]))[np.newaxis], cosine=op.cosine, sine=op.sine
        )
        least, most = np.minimum(least, re[0]), np.maximum(most, re[0])
    return judge(op, proven, least.tolist(), most.tolist(), limit=STATE_MAX)


def hebbian(rng: np.random.Generator) -> str | None:
    """The same full key for ever: every entry of the matrix is then one number, so a rank of 4,096 is one recursion."""
    size, frac = int(rng.choice([1, 2, 16, 200, 4096])), int(rng.integers(0, 23))
    decay, rate = int(rng.choice([0, 2048, 4090, 4095, 4095, DECAY_ONE])), int(rng.integers(0, 13))
    op, steps = FastWeights("f", "x", size, decay, rate, frac), int(rng.choice([1, 10, 4096, 4097, 6000, 50_000]))
    proven = bounds_of(op, [(np.full(size, -4096), np.full(size, 4096))], steps)
    if proven is None:
        return None
    held = reached = 0
    for t in range(steps):
        written = (1 << 24) >> (24 + rate - frac) if t else 0  # there is no key before the first step
        held = min((held * decay >> 12) + written, STATE_MAX)
        reached = max(reached, held * 4096 * size >> frac)
    return judge(op, (proven[0][:1], proven[1][:1]), [-reached], [reached])


def delta(rng: np.random.Generator) -> str | None:
    size, frac = int(rng.choice([1, 4, 32])), int(rng.integers(0, 23))
    decay, rate = int(rng.choice([2048, 4095, DECAY_ONE])), int(rng.integers(0, 13))
    op = FastWeights("f", "x", size, decay, rate, frac, "delta")
    proven = bounds_of(op, [(np.full(size, -4096), np.full(size, 4096))], 60)
    if proven is None:
        return None
    F, key = i32(np.zeros((1, size, size))), i32(np.zeros((1, size)))
    least, most = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for _ in range(60):
        against = np.sign((F[0].astype(np.int64) * key[0]).sum(axis=1))
        x = i32(np.where(rng.random(size) < 0.2, rng.choice([-4096, 0, 4096], size), -4096 * against - (against == 0)))
        y, F, key = fast_weights_step(F, key, x[np.newaxis], decay=decay, rate_bits=rate, frac=frac, rule="delta")
        exact = shift_right_toward_zero((F[0].astype(np.int64) * key[0]).sum(axis=1), frac)
        if not np.array_equal(exact, y[0]):
            return f"the reference wrapped: {op}"
        least, most = np.minimum(least, exact), np.maximum(most, exact)
    return judge(op, proven, least.tolist(), most.tolist())


def slots(rng: np.random.Generator) -> str | None:
    keys = rng.integers(-1, 2, (3, 9)).astype(np.int8)
    gain, shift = int(rng.choice([0, 1, -1, STATE_MAX, -STATE_MAX])), int(rng.choice([0, 1, 11, 22]))
    decay, rate = int(rng.integers(2, 13)), int(rng.integers(1, 13))
    fast = i32(rng.choice([0, 1, (1 << 22) - 1, 1 << 22], (3, 9)))
    op = Slots("m", "x", keys, gain, shift, decay, rate, fast)
    proven = bounds_of(op, [(np.zeros(9, dtype=np.int64), np.ones(9, dtype=np.int64))], 200)
    assert proven is not None
    E, least, most = fast[np.newaxis], np.zeros(9, dtype=np.int64), np.zeros(9, dtype=np.int64)
    options: Any = {"keys": keys, "gain": gain, "decay_bits": decay, "rate_bits": rate, "shift": shift}
    for t in range(200):
        events = i32(np.ones(9) if t < 150 else rng.integers(0, 2, 9))[np.newaxis]
        y, E, _ = slots_step(E, events, plastic=True, **options)
        if int(E.min()) < 0 or int(E.max()) > 1 << 22:
            return f"the fast half reaches {E.min()}..{E.max()}: {op}"
        least, most = np.minimum(least, y[0]), np.maximum(most, y[0])
    return judge(op, proven, least.tolist(), most.tolist())


ATTACKS = {
    attack.__name__: attack
    for attack in (dense, scale, multiply, torus, neurons, gated, resonator, hebbian, delta, slots)
}


def main(seconds: float, seed: int) -> int:
    """Attack for some seconds and say what was found."""
    tried, deadline = dict.fromkeys(ATTACKS, 0), time.monotonic() + seconds
    found = 0
    while time.monotonic() < deadline:
        for number, (name, attack) in enumerate(ATTACKS.items()):
            finding = attack(np.random.default_rng([seed, number]))
            tried[name] += 1
            if finding is not None:
                found += 1
                sys.stdout.write(f"{name}, seed {seed}: {finding}\n")
        seed += 1
    sys.stdout.write(f"{found} found in {tried}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(float((sys.argv[1:] or ["60"])[0]), int((sys.argv[2:] or ["0"])[0])))
