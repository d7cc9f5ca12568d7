"""Small programs that several tests share."""

import numpy as np

from neuromorphic import LIF, Dense, Input, Program, Readout
from neuromorphic.ops import LI, Scale


def small_program(*, num_steps: int = 12, reset: str = "zero", seed: int = 0) -> Program:
    """Two layers of ternary synapses and a read-out, with spikes in every layer."""
    rng = np.random.default_rng(seed)

    def ternary(rows, columns):
        return rng.integers(-1, 2, (rows, columns)).astype(np.int8)

    def lif(name, source, size, threshold):
        return LIF(
            name,
            (source,),
            decay=rng.integers(2000, 4096, size).astype(np.int32),
            threshold=rng.integers(threshold, 2 * threshold, size).astype(np.int32),
            bias=rng.integers(-200, 200, size).astype(np.int32),
            shift=6,
            reset=reset,
        )

    return Program(
        (
            Input("input", 9, low=-128, high=127, scale=1 / 127),
            Dense("lif1_synapses", "input", ternary(8, 9)),
            lif("lif1", "lif1_synapses", 8, 4000),
            Dense("lif2_synapses", "lif1", ternary(6, 8)),
            lif("lif2", "lif2_synapses", 6, 60),
            Dense("readout_synapses", "lif2", ternary(3, 6)),
            Readout("readout", ("readout_synapses",), bias=np.array([5, -5, 0], dtype=np.int32), shift=4),
        ),
        num_steps=num_steps,
        metadata={"note": "made by a test"},
    )


REPEATED = (("b", "b"), ("b", "c", "b"), ("s", "s", "s"), ("s", "b", "s", "b"))


def repeated_sources(sources: tuple[str, ...]) -> tuple[Program, np.ndarray]:
    """Operations that hear some of their sources several times, and inputs for them."""
    rng, one = np.random.default_rng(0), np.ones(4, dtype=np.int32)
    ops = [Input("x", 5, low=-3, high=3)]
    ops += [Dense(name, "x", rng.integers(-3, 4, (4, 5)).astype(np.int8)) for name in "bc"]
    ops.append(Scale("s", "b", factor=np.array([3, -5, 7, 0], dtype=np.int32), shift=1))
    neurons = {"decay": 3000 * one, "bias": 7 * one, "shift": 6}
    ops += [LIF("lif", sources, threshold=512 * one, **neurons), LI("li", sources, **neurons)]
    ops.append(Readout("y", sources, bias=one, shift=0))
    return Program(tuple(ops), num_steps=8), rng.integers(-3, 4, (8, 3, 5)).astype(np.int32)


def small_inputs(batch: int = 4, *, num_steps: int = 12, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (num_steps, batch, 9)).astype(np.int32)
