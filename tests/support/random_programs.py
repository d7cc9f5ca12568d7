"""Random valid programs, and inputs for them: everything a program may hold, extremes included.

Every draw depends on the generator alone, so ``np.random.default_rng(seed)`` names a program.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic import LIF, Dense, Input, Program, Readout, prove
from neuromorphic.errors import BoundError
from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.integers.resets import RESETS

INPUT_RANGES = ((0, 1), (0, 1), (-128, 127), (0, 255), (-1, 1), (-(1 << 15), 1 << 15))


def random_weights(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.int8]:
    kind = rng.choice(["ternary", "ternary", "8-bit", "8-bit", "edges", "positive", "negative", "zero"])
    shape = (rows, columns)
    drawn: NDArray[Any]
    if kind == "ternary":
        drawn = rng.choice([-1, 0, 1], size=shape, p=[0.3, 0.3, 0.4])
    elif kind == "8-bit":
        drawn = rng.integers(-127, 128, shape)
    elif kind == "edges":
        drawn = rng.choice([-127, -1, 0, 1, 127], size=shape)
    elif kind == "positive":
        drawn = rng.integers(0, rng.choice([2, 128]), shape)
    elif kind == "negative":
        drawn = -rng.integers(0, rng.choice([2, 128]), shape)
    else:
        drawn = np.zeros(shape, dtype=np.int64)
    return drawn.astype(np.int8)


def _per_neuron(rng: np.random.Generator, values: NDArray[Any], shared: bool) -> NDArray[np.int32]:
    """The values, or the first of them for every neuron."""
    return (np.full_like(values, values[0]) if shared else values).astype(np.int32)


def _lif(rng: np.random.Generator, name: str, sources: tuple[str, ...], size: int, scale: float) -> LIF:
    """A layer whose threshold is in proportion to ``scale``, the size of a usual current; half fit Lava's own LIF."""
    plain = bool(rng.random() < 0.5)
    shift = int(rng.integers(6, 9)) if plain else int(rng.integers(0, 9))
    decay = rng.choice([0, 1, 2048, 3686, 4000, DECAY_ONE, int(rng.integers(0, DECAY_ONE + 1))], size=size)
    usual = scale * (1 << shift)
    threshold = np.clip(
        usual * rng.choice([0.0, 0.3, 1.0, 3.0, 1e9], size=size, p=[0.1, 0.4, 0.3, 0.1, 0.1]), 0, STATE_MAX
    )
    bias = rng.choice([0, 1, -1, 3], size=size) * rng.choice(
        [0.0, usual / 8, usual, float(STATE_MAX)], p=[0.4, 0.4, 0.1, 0.1]
    )
    bias = np.clip(bias, -STATE_MAX, STATE_MAX).astype(np.int64)
    if plain:
        exponent = max(int(np.abs(bias).max()).bit_length() - 12, 0)
        bias = np.clip(bias >> exponent, -4095, 4095) << min(exponent, 7)
    step = 64 if plain else 1
    return LIF(
        name,
        sources,
        decay=_per_neuron(rng, decay, plain or bool(rng.random() < 0.5)),
        threshold=_per_neuron(rng, threshold.astype(np.int64) // step * step, plain or bool(rng.random() < 0.5)),
        bias=bias.astype(np.int32),
        shift=shift,
        reset="zero" if plain else str(rng.choice(list(RESETS))),
    )


def _draw(rng: np.random.Generator, num_steps: int, max_layers: int, max_width: int) -> Program:
    low, high = INPUT_RANGES[int(rng.integers(len(INPUT_RANGES)))]
    ops: list[Input | Dense | LIF | Readout] = [Input("x", int(rng.integers(1, max_width + 1)), low=low, high=high)]
    currents: dict[int, list[str]] = {}  # Dense by size: a current may be read twice, at different depths
    num_layers = int(rng.integers(1, max_layers + 1))
    for layer in range(num_layers + 1):
        events = [op for op in ops if op.kind == "events"]
        size = int(rng.integers(1, max_width + 1))
        previous = events[-1:]
        skips = [op for op in events[:-1] if rng.random() < 0.4]
        sources, scale = [], 0.0
        for index, source in enumerate(previous + skips):
            dense = Dense(
                f"fc{layer}_{index}", source.name, random_weights(rng, size, source.size), shift=int(rng.integers(0, 3))
            )
            ops.append(dense)
            sources.append(dense.name)
            peak = max(-low, high) if isinstance(source, Input) else 1
            scale += (
                float(np.abs(dense.weights.astype(np.int64)).mean()) * np.sqrt(source.size) * peak * (1 << dense.shift)
            )
        if currents.get(size) and rng.random() < 0.5:
            sources.append(str(rng.choice(currents[size])))
        currents.setdefault(size, []).extend(sources)
        if layer < num_layers:
            ops.append(_lif(rng, f"lif{layer}", tuple(sources), size, max(scale, 1.0)))
        else:
            bias = rng.choice([0, 5, -70, STATE_MAX // 50], size=size).astype(np.int32)
            ops.append(Readout("readout", tuple(sources), bias=bias, shift=int(rng.integers(0, 7))))
    return Program(tuple(ops), num_steps=num_steps)


def random_program(
    rng: np.random.Generator, *, num_steps: int = 200, max_layers: int = 4, max_width: int = 20
) -> Program:
    """Draw a program whose accumulators are proven to fit."""
    while True:
        program = _draw(rng, num_steps, max_layers, max_width)
        try:
            prove(program)
        except BoundError:
            continue
        return program


def random_inputs(program: Program, rng: np.random.Generator, batch: int) -> NDArray[np.int32]:
    """Draw inputs ``[T, B, N]``: sparse, dense, at the edges of the range, or held at one value."""
    shape = (program.num_steps, batch, program.input.size)
    low, high = program.input.low, program.input.high
    kind = rng.choice(["sparse", "dense", "edges", "held"])
    drawn: NDArray[Any] = rng.integers(low, high + 1, shape)
    if kind == "sparse":
        drawn = drawn * (rng.random(shape) < 0.2)
    elif kind == "edges":
        drawn = rng.choice([low, 0, high], size=shape)
    elif kind == "held":
        drawn = np.broadcast_to(rng.choice([low, high], size=shape[1:]), shape)
    return drawn.astype(np.int32)
