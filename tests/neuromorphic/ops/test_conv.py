"""Convolutions, pools and delays per unit: against torch, against matrices, and what is refused."""

import time
import tracemalloc

import numpy as np
import pytest
import torch
from torch.nn import functional

from neuromorphic import Dense, Input, Program, Readout, prove, run
from neuromorphic.errors import BoundError, ProgramError
from neuromorphic.integers.numbers import NumPy
from neuromorphic.ops import OP_TYPES, Conv, Delays, MaxPool, SpikePool, SumPool

STEPS = 2
POOLS = (SumPool, MaxPool, SpikePool)


def random_windows(rng, *, half=False):
    """A shape, a kernel, a stride and a padding; ``half``: no more padding than half of the kernel."""
    shape = tuple(int(n) for n in rng.integers(1, (6, 13, 13)))
    padding = tuple(int(n) for n in rng.integers(0, 3, 2))
    kernel = tuple(int(rng.integers(1, n + 2 * by + 1)) for n, by in zip(shape[1:], padding, strict=True))
    if half:
        padding = tuple(min(by, k // 2) for by, k in zip(padding, kernel, strict=True))
        kernel = tuple(min(k, n + 2 * by) for k, n, by in zip(kernel, shape[1:], padding, strict=True))
    return shape, kernel, tuple(int(n) for n in rng.integers(1, 4, 2)), padding


def random_conv(rng):
    shape, kernel, stride, padding = random_windows(rng)
    spans = [n + 2 * by - 1 for n, by in zip(shape[1:], padding, strict=True)]
    most = [span // (k - 1) if k > 1 else 1 for span, k in zip(spans, kernel, strict=True)]
    dilation = tuple(int(rng.integers(1, by + 1)) for by in most)
    groups = int(rng.choice([n for n in range(1, 6) if shape[0] % n == 0]))
    outputs = groups * int(rng.integers(1, 4))
    weights = rng.integers(-127, 128, (outputs, shape[0] // groups, *kernel)).astype(np.int8)
    shift = int(rng.integers(0, 4))
    return Conv("op", "x", weights, shape, stride, padding, dilation, groups, shift)


def values_of(op, inputs):
    """What an operation gives for inputs ``[B, N]`` in one step, as the definition says."""
    return op.step(NumPy(), None, inputs.astype(np.int64))


def image_of(op, inputs):
    return torch.from_numpy(inputs.reshape(-1, *op.input_shape)).double()


def program_of(op, size, low=-9, high=9):
    """An input, the operation, and a read-out of all it gives."""
    ops = (Input("x", size, low, high), op)
    source = op.name
    if op.kind == "events":
        ops += (Dense("all", op.name, np.eye(op.size, dtype=np.int8)),)
        source = "all"
    return Program((*ops, Readout("y", (source,), np.zeros(op.size, dtype=np.int32), shift=0)), num_steps=STEPS)


def test_convolutions_equal_those_of_torch():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        op = random_conv(rng)
        x = rng.integers(-1000, 1001, (2, int(np.prod(op.input_shape))))
        weights = torch.tensor(op.weights).double()
        expected = functional.conv2d(image_of(op, x), weights, None, op.stride, op.padding, op.dilation, op.groups)
        assert expected.shape[1:] == op.output_shape
        np.testing.assert_array_equal(values_of(op, x), expected.numpy().reshape(2, -1).astype(np.int64) << op.shift)


def unrolled(op):
    """The matrix of a convolution: what it makes of each input alone."""
    size = int(np.prod(op.input_shape))
    columns = Conv("op", "x", op.weights, op.input_shape, op.stride, op.padding, op.dilation, op.groups)
    return Dense("op", "x", values_of(columns, np.eye(size)).T.astype(np.int8), op.shift)


def test_convolutions_equal_their_matrices():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        conv = random_conv(rng)
        dense = unrolled(conv)
        programs = [program_of(op, dense.weights.shape[1]) for op in (conv, dense)]
        inputs = rng.integers(-9, 10, (STEPS, 3, dense.weights.shape[1])).astype(np.int32)
        got, expected = (run(program, inputs).variables["y.y"] for program in programs)
        np.testing.assert_array_equal(got, expected)
        assert [(b.low, b.high) for b in prove(programs[0])] == [(b.low, b.high) for b in prove(programs[1])]
        np.testing.assert_array_equal(conv.fan_in(), dense.fan_in())
        assert conv.weight_bytes <= dense.weight_bytes or dense.is_ternary


def test_pools_equal_those_of_torch():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shape, *windows = random_windows(rng, half=True)
        x = rng.integers(-1000, 1001, (2, int(np.prod(shape))))
        fired = rng.integers(0, 2, x.shape)
        ops = [cls("op", "x", shape, *windows) for cls in POOLS]
        expected = [
            functional.avg_pool2d(image_of(ops[0], x), *windows, divisor_override=1),
            functional.max_pool2d(image_of(ops[1], x), *windows),
            functional.max_pool2d(image_of(ops[2], fired), *windows),
        ]
        for op, given, wanted in zip(ops, (x, x, fired), expected, strict=True):
            assert wanted.shape[1:] == op.output_shape
            np.testing.assert_array_equal(values_of(op, given), wanted.numpy().reshape(2, -1))
        np.testing.assert_array_equal(values_of(ops[0], x), values_of(ops[0].as_conv(), x))
        np.testing.assert_array_equal(values_of(ops[2], fired), values_of(ops[0], fired) > 0)  # an OR


def test_delays_shift_each_unit():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        size, num_steps = int(rng.integers(1, 20)), 90
        steps = rng.integers(0, int(rng.choice([1, 3, 64])), size).astype(np.int32)
        ops = (Input("x", size, -3, 5), Delays("late", "x", steps, -3, 5))
        ops += (Dense("all", "late", np.eye(size, dtype=np.int8)),)
        program = Program((*ops, Readout("y", ("all",), np.zeros(size, np.int32), shift=0)), num_steps=num_steps)
        inputs = rng.integers(-3, 6, (num_steps, 2, size)).astype(np.int32)
        expected = np.zeros_like(inputs)
        for unit, by in enumerate(steps):
            expected[by:, :, unit] = inputs[: num_steps - by, :, unit]
        np.testing.assert_array_equal(run(program, inputs).variables["y.y"], expected.cumsum(axis=0))


def test_ranges_are_attained_and_never_left():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        conv = random_conv(rng)
        shape, *windows = random_windows(rng, half=True)
        for op in (conv, *(cls("op", "x", shape, *windows) for cls in (SumPool, MaxPool))):
            size = int(np.prod(op.input_shape))
            low = -rng.integers(0, 50, size)
            high = low + rng.integers(0, 50, size)
            bound = op.bound([(low, high)], STEPS)
            seen = values_of(op, rng.integers(low, high + 1, (200, size)))
            assert (bound.low <= seen.min(axis=0)).all()
            assert (seen.max(axis=0) <= bound.high).all()
            unit = int(rng.integers(op.size))
            if isinstance(op, Conv):
                rises = unrolled(op).weights[unit] > 0
                ends = [np.where(rises, high, low), np.where(rises, low, high)]
            else:
                ends = [high, low]
            most, least = values_of(op, np.array(ends))
            assert (least[unit], most[unit]) == (bound.low[unit], bound.high[unit])


def test_a_sum_that_leaves_int32_is_refused_by_name():
    op = Conv("conv", "x", np.full((1, 64, 5, 5), 127, np.int8), (64, 5, 5), shift=10)
    prove(Program((Input("x", 1600, 0, 10), op), num_steps=1))
    with pytest.raises(BoundError, match=r"conv: the sum of neuron 0 can reach 2288844800, int32 holds 2147483647"):
        prove(Program((Input("x", 1600, 0, 11), op), num_steps=1))


def test_pools_of_spikes_and_delays_refuse_other_events():
    program = Program((Input("x", 4, 0, 2), SpikePool("pool", "x", (1, 2, 2), (2, 2), (1, 1))), num_steps=1)
    with pytest.raises(BoundError, match=r"pool: x must give spikes, 0 or 1, got events in 0..2; use a MaxPool"):
        prove(program)
    program = Program((Input("x", 1, -1, 1), Delays("late", "x", np.ones(1, np.int32))), num_steps=1)
    with pytest.raises(BoundError, match=r"late: x must give events in 0..1, got -1..1"):
        prove(program)


W = np.ones((4, 2, 3, 3), dtype=np.int8)
GOOD = {
    "Conv": {"weights": W, "input_shape": (2, 8, 8)},
    **{cls.__name__: {"input_shape": (2, 8, 8), "kernel": (2, 2), "stride": (2, 2)} for cls in POOLS},
    "Delays": {"steps": np.arange(4, dtype=np.int32)},
}


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("Conv", {"weights": W[0]}, r"weights must be a non-empty 4-dimensional integer array, got int8\[2, 3, 3\]"),
        ("Conv", {"weights": W.astype(float)}, r"weights must be a non-empty 4-dimensional integer array, got float64"),
        ("Conv", {"weights": np.full(W.shape, -128, np.int8)}, r"weights must lie in -127..127, got -128..-128"),
        ("Conv", {"weights": W[:, :, :0]}, r"weights must be a non-empty 4-dim"),
        ("Conv", {"input_shape": (2, 8)}, r"input_shape must be 3 integers in 1..16777216, got \(2, 8\)"),
        ("Conv", {"input_shape": (2, 0, 8)}, r"input_shape must be an integer in 1..16777216, got 0"),
        ("Conv", {"input_shape": (3, 8, 8)}, r"1 group of an image of 3 channels need weights \[1 \* n, 3, rows, col"),
        ("Conv", {"groups": 2}, r"2 groups of an image of 2 channels need weights \[2 \* n, 1, rows, columns\], got"),
        ("Conv", {"groups": 3}, r"groups must be an integer in 1..2, got 3"),
        ("Conv", {"stride": (0, 1)}, r"stride must be an integer in 1..4096, got 0"),
        ("Conv", {"stride": 1}, r"stride must be 2 integers in 1..4096, got 1"),
        ("Conv", {"padding": (-1, 0)}, r"padding must be an integer in 0..4096, got -1"),
        (
            "Conv",
            {"dilation": (1, 4)},
            r"no window fits the image: kernel \[3, 3\] over \[8, 8\] with padding \[0, 0\]",
        ),
        ("Conv", {"dilation": (1, True)}, r"dilation must be an integer in 1..4096, got True"),
        ("Conv", {"shift": 17}, r"shift must be an integer in 0..16, got 17"),
        ("SumPool", {"kernel": (9, 1)}, r"no window fits the image: kernel \[9, 1\] over \[8, 8\]"),
        ("MaxPool", {"kernel": (2.0, 2)}, r"kernel must be an integer in 1..4096, got 2.0"),
        ("MaxPool", {"padding": (2, 0)}, r"padding must be at most half of the kernel \[2, 2\], got \[2, 0\]"),
        ("SpikePool", {"stride": (1, 5000)}, r"stride must be an integer in 1..4096, got 5000"),
        ("SpikePool", {"input_shape": "288"}, r"input_shape must be 3 integers in 1..16777216, got '288'"),
        ("Delays", {"steps": np.array([64], np.int32)}, r"steps must lie in 0..63, got 64..64"),
        ("Delays", {"low": 1}, r"low must be an integer in -2147483647..0, got 1"),
        ("Delays", {"high": 0}, r"low and high must be a range of events, got 0..0"),
    ],
)
def test_every_field_is_checked(name, changes, message):
    OP_TYPES[name](name="op", source="x", **GOOD[name])
    with pytest.raises(ProgramError, match="op: " + message):
        OP_TYPES[name](name="op", source="x", **{**GOOD[name], **changes})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("Conv", {"weights": W[:1, :1], "input_shape": (1, 1 << 24, 1 << 24)}),
        ("Conv", {"weights": W[:1, :1], "input_shape": (1 << 24, 1 << 24, 1 << 24)}),
        ("Conv", {"weights": W[:1, :1], "input_shape": (1, 1, 1), "padding": (4096, 4096)}),
        ("Conv", {"weights": np.ones((1, 1, 1, 4097), np.int8), "input_shape": (1, 1, 8192)}),
        ("SumPool", {"input_shape": (1 << 24, 1, 2), "kernel": (1, 1)}),
        ("Conv", {"weights": np.ones((1, 1, 4096, 4096), np.int8), "input_shape": (1, 4096, 4096)}),
        ("Conv", {"weights": np.ones((64, 1, 64, 64), np.int8), "input_shape": (1, 512, 512)}),
        ("MaxPool", {"input_shape": (1, 4096, 4096), "kernel": (256, 256), "stride": (1, 1)}),
        ("MaxPool", {"input_shape": (1, 4096, 4096), "kernel": (4096, 4096)}),
        ("SumPool", {"input_shape": (1 << 18, 8, 8), "kernel": (9, 9), "padding": (4, 4), "stride": (9, 9)}),
        ("SpikePool", {"input_shape": (1 << 24, 4096, 4096), "kernel": (4096, 4096)}),
        ("SumPool", {"input_shape": (1 << 24, 1, 1), "kernel": (4096, 4096), "padding": (2048, 2048)}),
    ],
)
def test_huge_sizes_are_refused_at_once(name, changes):
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(ProgramError):
        OP_TYPES[name](name="op", source="x", **{**GOOD[name], **changes})
    assert time.process_time() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 1 << 25  # twice the largest weights here
    tracemalloc.stop()


@pytest.mark.parametrize("name", list(GOOD))
def test_a_program_is_the_same_after_a_file(name, tmp_path):
    op = OP_TYPES[name](name="op", source="x", **GOOD[name])
    program = program_of(op, op.wants[0].size, 0, 1)
    program.save(tmp_path / "p.npz")
    back = Program.load(tmp_path / "p.npz")
    assert back.sha256 == program.sha256
    assert back["op"].size == op.size
    inputs = np.random.default_rng(0).integers(0, 2, (STEPS, 2, program.input.size))
    np.testing.assert_array_equal(run(back, inputs).variables["y.y"], run(program, inputs).variables["y.y"])
