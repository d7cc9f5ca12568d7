"""The least that products and whole steps of integer programs must read and issue, one by one what limits them.

A ternary weight takes two bits. With spikes only the columns of those that fired are read (of the silent ones, where
they are fewer), once for all samples, and each event brings two bits to every output: of ``n`` bits all but the bits of
their sum are taken away by full adders, of two logical instructions for a register of outputs. Digits of graded events
are events. Values meet every weight in products of bytes, 64 an instruction, as often as their largest takes bytes.
States are read and written, parameters read, and a neuron takes at least 14 instructions of 32 bits: five to fade it
exactly by parts, six for the sign, clipping and comparison, three to add, reset and store.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic import Dense, Program
from neuromorphic.executors.native import NativeNetwork
from neuromorphic.ops import FastWeights, Scale, Slots, Torus
from studies.bench import limits
from studies.bench.timing import Limit

NEURON_INSTRUCTIONS, SCALE_INSTRUCTIONS, TORUS_INSTRUCTIONS = 14, 3, 5
_WITH_STATES = ("LIF", "HomeostaticLIF", "LI", "GatedState", "Readout")


def digits_of(x: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return how many digits of -1 and 1 the values of each sample take: no two neighbours of them are other than 0."""
    size = np.abs(x.astype(np.int64))
    marked = (size >> 1) ^ (size + (size >> 1))
    counts = [(marked >> bit & 1).sum(axis=1) for bit in range(33)]
    return np.sum(counts, axis=0, dtype=np.int64)


@dataclass
class Work:
    """Bytes read, bytes read and written, and instructions of the widest vectors by name."""

    read: float = 0.0
    copied: float = 0.0
    issued: Counter[str] = field(default_factory=Counter)

    def add_events(self, outputs: int, x: NDArray[np.integer[Any]]) -> None:
        """Add the product of ternary weights with spikes, or graded events, ``[B, K]``."""
        events, met = digits_of(x), x != 0
        if x.max(initial=0) <= 1 and x.min(initial=0) >= 0:
            fewer = 2 * met.sum(axis=1) <= x.shape[1]
            met = np.where(fewer[:, np.newaxis], met, ~met)
            events = met.sum(axis=1, dtype=np.int64)
        self.read += float(met.any(axis=0).sum()) * outputs / 4
        bits = 2 * events
        adders = np.maximum(bits - np.ceil(np.log2(bits + 1)), 0).sum()
        self.issued["vpternlogq"] += 2 * float(adders) * outputs / limits.vector_bits()

    def add_values(self, outputs: int, inputs: int, samples: int, digits: int) -> None:
        """Add the product of ternary weights with values of so many bytes."""
        self.read += outputs * inputs / 4
        self.issued["vpdpbusd"] += samples * digits * outputs * inputs * 8 / limits.vector_bits()

    def add_units(self, size: int, samples: int, instructions: int, *, params: int = 0, states: int = 0) -> None:
        """Add units of 32 bits: instructions for each, and so many parameters and states."""
        self.issued["vpaddd"] += samples * instructions * size * 32 / limits.vector_bits()
        self.read += 4 * params * size
        self.copied += 8 * states * size * samples

    def limit(self, threads: int = 1) -> Limit | None:
        """Return the least time of it."""
        return limits.least(threads, read=self.read, copied=self.copied, issued=self.issued)


def step_of(program: Program, network: NativeNetwork, x: NDArray[np.int32], digits: int) -> Work:
    """Return the work of a step like the last one of a network, whose values take so many bytes."""
    work, samples = Work(), len(x)
    for op in program.ops:
        kind = type(op).__name__
        if isinstance(op, Dense):
            source, _ = program.undelayed(op.source)
            if source is program.input:
                work.add_events(op.size, x)
            elif source.kind == "events":
                work.add_events(op.size, network.spikes(source.name))
            else:
                work.add_values(op.size, op.weights.shape[1], samples, digits)
        elif isinstance(op, Slots):
            work.read += op.keys.size / 4
            work.issued["vpopcntq"] += samples * 2 * op.keys.size / limits.vector_bits()
            work.add_units(op.size, samples, 4, states=int(op.plastic))
        elif isinstance(op, FastWeights):
            work.add_units(op.size * op.size, samples, NEURON_INSTRUCTIONS, states=1)
        elif isinstance(op, Scale):
            work.add_units(op.size, samples, SCALE_INSTRUCTIONS, params=1)
        elif isinstance(op, Torus):
            work.add_units(op.size, samples, TORUS_INSTRUCTIONS)
        elif kind in _WITH_STATES:
            params = 3 if kind.endswith("LIF") else 1
            work.add_units(op.size, samples, NEURON_INSTRUCTIONS, params=params, states=1)
    return work
