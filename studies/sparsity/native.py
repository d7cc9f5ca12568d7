"""Time of the native executor's products against the share of zeros, and what lists of connections would take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.native import TernaryMatrix, bits_of
from studies.bench.timing import interleave

SHARES = (0.4, 0.5, 0.75, 0.9, 0.95, 0.99)
SHAPES = ((256, 2048), (2048, 256), (128, 256))
"""Outputs and inputs: matrices of the state-space pathway in the reference network, and in the network for digits."""
FIRED = 0.188


def weights(rng: np.random.Generator, shape: tuple[int, int], zeros: float) -> NDArray[np.int8]:
    """Return a random ternary matrix."""
    signs = rng.choice(np.array([-1, 1], np.int8), shape)
    return np.where(rng.random(shape) < zeros, 0, signs).astype(np.int8)


def by_lists() -> Any:
    """Return a compiled product with lists of connections, one for each input: outputs that it adds to, then others.

    Event by event, as small as they can be: 16-bit outputs, and no list of events to make.
    """
    from numba import njit

    @njit(cache=False, nogil=True, boundscheck=False)
    def product(events, starts, middles, places, sums):  # type: ignore[no-untyped-def]
        sums[:] = 0
        for e in events:
            for i in range(starts[e], middles[e]):
                sums[places[i]] += 1
            for i in range(middles[e], starts[e + 1]):
                sums[places[i]] -= 1

    return product


def lists_of(matrix: NDArray[np.int8]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint16]]:
    """Return where each input's list begins, where its -1 begin, and the outputs."""
    starts, middles, places = [0], [], []
    for column in matrix.T:
        plus, minus = np.flatnonzero(column > 0), np.flatnonzero(column < 0)
        middles.append(starts[-1] + len(plus))
        starts.append(middles[-1] + len(minus))
        places += [plus, minus]
    return np.array(starts, np.int32), np.array(middles, np.int32), np.concatenate(places).astype(np.uint16)


def measure(shape: tuple[int, int], *, seconds: float = 2.0) -> dict[float, tuple[float, float]]:
    """Return the lower quartile of the seconds of a product of spikes, native and by lists, by share of zeros."""
    rng = np.random.default_rng(0)
    spikes = rng.random((1, shape[1])) < FIRED
    bits, events, listed = bits_of(spikes), np.flatnonzero(spikes[0]).astype(np.int32), by_lists()
    cases: dict[str, Any] = {}
    for zeros in SHARES:
        matrix = weights(rng, shape, zeros)
        native, out = TernaryMatrix(matrix, reads="spikes"), np.empty((1, shape[0]), np.int32)
        parts, sums = lists_of(matrix), np.empty(shape[0], np.int16)
        native.times_spikes(bits, out)
        listed(events, *parts, sums)
        expected = matrix.astype(np.int32) @ spikes[0]
        assert np.array_equal(out[0], expected)
        assert np.array_equal(sums, expected)
        cases[f"{zeros} native"] = lambda native=native, out=out: native.times_spikes(bits, out)
        cases[f"{zeros} lists"] = lambda parts=parts, sums=sums: listed(events, *parts, sums)
    times = interleave(cases, seconds=seconds)
    return {z: (times[f"{z} native"].low_s, times[f"{z} lists"].low_s) for z in SHARES}


def table() -> str:
    """Return a Markdown table of microseconds."""
    heads = [f"{zeros:.0%}" for zeros in SHARES]
    lines = [f"| outputs x inputs | | {' | '.join(heads)} |", "| --- " * (len(SHARES) + 2) + "|"]
    for shape in SHAPES:
        found = measure(shape)
        for number, name in enumerate(("native, bits", "lists of connections")):
            cells = [f"{1e6 * found[zeros][number]:.2f}" for zeros in SHARES]
            lines.append(f"| {shape[0]} x {shape[1]} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
