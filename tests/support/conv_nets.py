"""Networks with convolutions and pools: as many as a test asks for, deterministic in a seed."""

import numpy as np

from neuromorphic import LIF, Dense, Input, Program, Readout
from neuromorphic.ops import Conv, Delays, MaxPool, SpikePool, SumPool


def stock_neurons(name, source, size, *, shift=6):
    """Neurons that Lava's own LIF can be."""
    one = np.ones(size, dtype=np.int32)
    return LIF(name, (source,), decay=3000 * one, threshold=64 * 2 * one, bias=0 * one, shift=shift)


def conv_network(seed, *, num_steps=8, high=1):
    """Image, convolution, neurons, pool, delays, grouped convolution, pools, neurons, read-out; and 2 samples of it."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 4)), *(int(n) for n in rng.integers(4, 9, 2)))

    def conv(name, source, shape, outputs, groups=1):
        weights = rng.integers(-1, 2, (outputs, shape[0] // groups, 3, 2)).astype(np.int8)
        stride, dilation = (1, int(rng.integers(1, 3))), (1, int(rng.integers(1, 3)))
        return Conv(name, source, weights, shape, stride, (1, 1), dilation, groups, shift=int(rng.integers(0, 2)))

    first = conv("conv1", "x", shape, 4)
    pool = SpikePool("pool", "lif1", first.output_shape, (2, 2), (2, 1), (1, 0))
    late = Delays("late", "pool", rng.integers(0, 5, pool.size).astype(np.int32))
    second = conv("conv2", "late", pool.output_shape, 4, groups=int(rng.choice([2, 4])))
    largest = MaxPool("largest", "conv2", second.output_shape, (2, 2), (1, 2), (1, 1))
    mean = SumPool("mean", "lif2", largest.output_shape, (1, 2), (1, 1), (0, 1))
    flat = Dense("flat", "late", rng.integers(-1, 2, (mean.size, pool.size)).astype(np.int8))
    ops = (Input("x", int(np.prod(shape)), 0, high), first, stock_neurons("lif1", "conv1", first.size), pool, late)
    ops += (second, largest, stock_neurons("lif2", "largest", largest.size), mean, flat)
    ops += (Readout("y", ("mean", "flat"), np.zeros(mean.size, dtype=np.int32), shift=0),)
    program = Program(ops, num_steps=num_steps)
    return program, rng.integers(0, high + 1, (num_steps, 2, program.input.size)).astype(np.int32)
