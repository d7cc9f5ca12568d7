"""Random networks of Xylo's core, from quiet ones to those whose every sum saturates."""

import numpy as np

from neuromorphic import Input, Program
from neuromorphic.ops import Delay, XyloLIF


def neurons(rng, size, *, bias):
    """Parameters of neurons; a shift of 0 and the ends of 16 bits are among them."""
    top = int(rng.choice([15, 300, 2000, 32767]))
    return {
        "synapse_shift": rng.integers(0, int(rng.choice([3, 7, 16])), size).astype(np.int32),
        "membrane_shift": rng.integers(0, int(rng.choice([1, 3, 7, 16])), size).astype(np.int32),
        "threshold": rng.integers(1, top + 1, size).astype(np.int32),
        "bias": rng.integers(-bias, bias + 1, size).astype(np.int32),
    }


def weights(rng, rows, columns):
    """Weights that often reach the ends of 8 bits, dense or sparse, balanced or of one sign."""
    large = int(rng.choice([3, 30, 128]))
    drawn = rng.integers(-large, min(large, 127) + 1, (rows, columns))
    drawn = np.where(rng.random((rows, columns)) < rng.choice([0.2, 1.0]), drawn, 0)
    return (np.abs(drawn).clip(max=127) if rng.random() < 0.2 else drawn).astype(np.int8)


def xylo_program(seed, *, most_hidden=48):
    """Return a program that fits the core, of one or two hidden populations, and inputs for two samples."""
    rng = np.random.default_rng(seed)
    channels, num_steps = int(rng.integers(1, 17)), int(rng.integers(2, 120))
    first, second, out = (int(n) for n in rng.integers(1, [most_hidden, most_hidden, 9]))
    bias = int(rng.choice([0, 0, 50, 127, 32767]))
    two = bool(rng.random() < 0.5)
    loops = bool(rng.random() < 0.7)

    def population(name, sources, size, most_spikes):
        matrix = weights(rng, size, sum(sources.values()))
        fields = neurons(rng, size, bias=bias)
        return XyloLIF(name, tuple(sources), tuple(sources.values()), matrix, most_spikes=most_spikes, **fields)

    late = {"late_a": first, **({"late_b": second} if two else {})}
    ops = [Input("x", channels, 0, 15), Delay("late_a", "a", first), *([Delay("late_b", "b", second)] if two else [])]
    ops.append(population("a", {"x": channels, **(late if loops else {})}, first, 31))
    if two:
        ops.append(population("b", {"late_a": first, **({"late_b": second} if loops else {})}, second, 31))
    ops.append(population("out", late, out, 1))
    x = rng.integers(0, int(rng.choice([2, 4, 16])), (num_steps, 2, channels))
    return Program(tuple(ops), num_steps=num_steps), x.astype(np.int32)
