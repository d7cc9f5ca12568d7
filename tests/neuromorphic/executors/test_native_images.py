"""The native executor on images, with delays, and with neurons of chips, at sizes where kernels change course."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import llvmlite.binding
import numpy as np
import pytest

from neuromorphic import LIF, Dense, Input, Program, Readout
from neuromorphic.executors.native import NativeNetwork, window_costs, window_lists
from neuromorphic.executors.native.bit_planes import rows_for_images
from neuromorphic.ops import Conv, Delay, Delays, MaxPool, Scale, ShiftLIF, Slots, SpikePool, SumPool
from same import assert_equal

TERNARY, BYTES = 1, 127


def weights(shape, most=TERNARY, seed=0):
    return np.random.default_rng(seed).integers(-most, most + 1, shape).astype(np.int8)


def fired(op, *, bias=0, decay=0):
    """Neurons that read an operation, so that its values are recorded: as a membrane, whole, step by step."""
    full = lambda value: np.full(op.size, value, dtype=np.int32)  # noqa: E731
    return LIF(f"{op.name}_lif", (op.name,), decay=full(decay), threshold=full(1 << 22), bias=full(bias), shift=0)


def program(*ops, low=0, high=1, size=None):
    """An input, operations, and neurons that read the last one."""
    return Program((Input("x", size, low=low, high=high), *ops, fired(ops[-1])), num_steps=3)


def spikes(size, density, *, batch=2, seed=1):
    return (np.random.default_rng(seed).random((3, batch, size)) < density).astype(np.int32)


def values(size, low, high, seed=1):
    return np.random.default_rng(seed).integers(low, high + 1, (3, 2, size)).astype(np.int32)


@pytest.fixture(params=["BLOCK", "WORTH_LISTS"], ids=["by lists", "by counting"])
def way(request, monkeypatch):
    """Both ways through a convolution of spikes, whatever their density: the other would take too long."""
    monkeypatch.setattr(window_costs, request.param, 1 << 40)


SHAPES = [  # weights, image, and the rest
    ((64, 3, 3, 3), (3, 9, 11), {"padding": (1, 1)}),
    ((5, 1, 3, 3), (1, 5, 7), {"stride": (2, 3), "padding": (2, 1)}),
    ((65, 64, 1, 1), (64, 4, 4), {}),
    ((130, 65, 2, 3), (65, 3, 5), {"dilation": (1, 2), "padding": (0, 2)}),
    ((20, 130, 1, 5), (130, 1, 30), {"stride": (1, 2), "padding": (0, 2)}),
    ((24, 2, 3, 2), (6, 8, 10), {"groups": 3, "dilation": (2, 1), "padding": (2, 0)}),
    ((6, 1, 3, 3), (6, 9, 21), {"groups": 6, "padding": (1, 1)}),  # depthwise
    ((8, 1, 3, 2), (4, 6, 20), {"groups": 4, "dilation": (1, 3), "padding": (3, 2), "stride": (2, 1)}),
    ((3, 4, 2, 2), (4, 5, 5), {"stride": (1, 2)}),  # few outputs
    ((7, 2, 9, 9), (2, 3, 4), {"padding": (4, 4)}),  # windows larger than the image
    ((16, 3, 1, 1), (3, 2, 2), {"padding": (5, 5), "stride": (3, 5)}),  # windows that see nothing of it
    ((6, 5, 5, 1), (5, 30, 8), {}),  # rows of windows side by side, fewer than of pixels
    ((9, 2, 3, 3), (2, 40, 17), {}),  # windows of two registers, with gaps between their rows
    ((8, 2, 3, 3), (2, 24, 32), {"padding": (1, 1)}),  # the last register is half full
    ((5, 3, 4, 4), (3, 30, 30), {"padding": (1, 1)}),  # one window less than pixels in a row
    ((12, 1, 7, 7), (1, 70, 66), {"padding": (3, 3)}),  # moved by more than a word
    ((30, 2, 3, 3), (20, 6, 7), {"groups": 10, "padding": (1, 1)}),  # merged groups
    ((8, 70, 3, 3), (560, 3, 5), {"groups": 8, "padding": (1, 1)}),  # too large to merge
    ((5, 1, 1, 1), (1, 1, 1), {}),
    ((9, 3, 3, 3), (3, 12, 16), {"stride": (2, 2), "padding": (1, 1)}),  # four parts of an image
    ((5, 2, 1, 1), (2, 9, 12), {"stride": (2, 3)}),  # one of six
    ((6, 2, 5, 4), (2, 33, 48), {"stride": (3, 2), "padding": (2, 1), "dilation": (2, 1)}),
    ((5, 1, 2, 2), (1, 60, 60), {"stride": (2, 2)}),  # parts of more than a register
    ((5, 2, 3, 3), (2, 16, 15), {"stride": (2, 2), "padding": (1, 1)}),  # parts of unequal width
    ((5, 1, 5, 5), (1, 20, 20), {"stride": (5, 5)}),  # more parts than are made
]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("most", [TERNARY, BYTES])
@pytest.mark.parametrize(("kernel", "shape", "rest"), SHAPES)
def test_every_shape_of_spikes(kernel, shape, rest, most):
    op = Conv("conv", "x", weights(kernel, most), input_shape=shape, shift=2, **rest)
    size = int(np.prod(shape))
    for density in (0.1, 0.6):
        got = assert_equal(program(op, size=size), spikes(size, density), "native")
    assert got.variables["conv_lif.v"].any()


@pytest.mark.parametrize("most", [TERNARY, BYTES])
@pytest.mark.parametrize(("kernel", "shape", "rest"), SHAPES)
def test_every_shape_of_values(kernel, shape, rest, most):
    op = Conv("conv", "x", weights(kernel, most), input_shape=shape, **rest)
    size = int(np.prod(shape))
    assert_equal(program(op, size=size, low=-128, high=127), values(size, -128, 127), "native")


@pytest.mark.parametrize("density", [0.0, 0.01, 0.2, 0.49, 0.51, 1.0])
def test_every_density_of_more_spikes_than_a_lane_counts(density):
    """1,800 spikes in a window: a byte holds 127 fields of a ternary weight, 16 bits 258 weights of 127."""
    for most in (TERNARY, BYTES):
        chosen = weights((70, 200, 3, 3), most)
        chosen[0], chosen[1] = most, -most
        op = Conv("conv", "x", chosen, input_shape=(200, 3, 4), padding=(1, 1))
        assert_equal(program(op, size=2400), spikes(2400, density), "native")


@pytest.mark.parametrize("outputs", [2, 9])
@pytest.mark.parametrize(("most", "factor", "shift"), [(TERNARY, 1, 0), (TERNARY, 30, 5), (BYTES, 7, 0)])
def test_values_of_more_than_16_bits(most, factor, shift, outputs):
    """Two digits of 16 bits; sums up to 975 million, of which a membrane holds the upper bits."""
    wide = Dense("wide", "x", weights((36, 4), 127, seed=3))
    wider = Dense("wider", "wide", np.eye(36, dtype=np.int8) * np.int8(factor), shift=shift)
    op = Conv("conv", "wider", weights((outputs, 1, 1, 2), most), input_shape=(1, 6, 6))
    upper = Scale("upper", "conv", np.ones(op.size, dtype=np.int32), shift=8)
    got = assert_equal(program(wide, wider, op, upper, size=4, low=-1000, high=1000), values(4, -1000, 1000), "native")
    assert np.abs(got.variables["upper_lif.v"]).max() > 300 * factor


def test_the_ends_of_16_bits():
    op = Conv(
        "conv",
        "x",
        np.array([[1, 0], [0, -1], [1, 1], [-1, -1], [1, -1]], dtype=np.int8).reshape(5, 1, 1, 2),
        (1, 2, 4),
    )
    ends = np.array([-(1 << 15), (1 << 15) - 1, 1 << 15, 0, -1, 1, 1 << 15, -(1 << 15)], dtype=np.int32)
    built = program(op, size=8, low=-(1 << 15), high=1 << 15)
    assert_equal(built, np.broadcast_to(ends, (3, 2, 8)).copy(), "native")


@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (9, 1), (9, 2), (17, 2)])
def test_batches_and_threads(batch, threads):
    op = Conv("conv", "x", weights((70, 3, 3, 3)), input_shape=(3, 7, 9), padding=(1, 1))
    neurons = LIF("lif", ("conv",), *(np.full(op.size, x, dtype=np.int32) for x in (2048, 1, 0)), shift=0)
    pool = SpikePool("pool", "lif", op.output_shape, kernel=(2, 3), stride=(2, 2), padding=(1, 1))
    last = Dense("last", "pool", weights((4, pool.size)))
    readout = Readout("readout", ("last",), np.zeros(4, dtype=np.int32), 0)
    built = Program((Input("x", 189), op, neurons, pool, last, readout), num_steps=3)
    got = assert_equal(built, spikes(189, 0.3, batch=batch), "native", threads=threads)
    assert got.variables["readout.y"].any()


@pytest.mark.parametrize("cls", [SumPool, MaxPool])
@pytest.mark.parametrize(
    "window", [((2, 2), (2, 2), (0, 0)), ((3, 3), (1, 1), (1, 1)), ((1, 7), (1, 1), (0, 3)), ((4, 5), (3, 2), (2, 2))]
)
@pytest.mark.parametrize("shape", [(3, 4, 7), (2, 6, 8), (1, 5, 21), (4, 5, 33)])
def test_pools_of_values(cls, window, shape):
    size = int(np.prod(shape))
    kernel, stride, padding = window
    op = cls("pool", "x", shape, kernel=kernel, stride=stride, padding=padding)
    assert_equal(program(op, size=size, low=-500, high=500), values(size, -500, 500), "native")
    negative = np.full((3, 1, size), -500, dtype=np.int32)  # what lies outside must not win
    assert_equal(program(op, size=size, low=-500, high=500), negative, "native")


@pytest.mark.parametrize(
    "shape", [(3, 4, 7), (1, 2, 64), (2, 3, 65), (1, 2, 200), (64, 3, 3), (3, 10, 12), (5, 48, 32)]
)
@pytest.mark.parametrize(
    "window",
    [
        *(((2, 2), (2, 2), (0, 0)), ((2, 3), (1, 1), (1, 1)), ((1, 3), (1, 3), (0, 1))),
        *(((2, 2), (1, 1), (0, 0)), ((2, 2), (1, 2), (1, 1))),
    ],
)
def test_pools_of_spikes(shape, window):
    kernel, stride, padding = window
    size = int(np.prod(shape))
    op = SpikePool("pool", "x", shape, kernel=kernel, stride=stride, padding=padding)
    scaled = MaxPool("max", "pool", op.output_shape, kernel=(1, 1), stride=(1, 1))  # takes integers
    for density in (0.02, 0.3, 1.0):
        assert_equal(program(op, scaled, size=size), spikes(size, density), "native")
        op_of_sums = SumPool("sums", "x", shape, kernel=kernel, stride=stride, padding=padding)
        assert_equal(program(op_of_sums, size=size), spikes(size, density, batch=3), "native")


def test_a_window_of_spikes_wider_than_a_word():
    op = SpikePool("pool", "x", (1, 2, 150), kernel=(2, 140), stride=(1, 5))
    inputs = np.zeros((3, 1, 300), dtype=np.int32)
    inputs[0, 0, 3], inputs[1, 0, 139], inputs[2, 0, 140] = 1, 1, 1
    built = program(op, MaxPool("max", "pool", op.output_shape, (1, 1), (1, 1)), size=300)
    got = assert_equal(built, inputs, "native")
    assert got.variables["max_lif.v"].sum(axis=2).ravel().tolist() == [1, 3, 2]


@pytest.mark.parametrize("size", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("longest", [0, 1, 5, 63])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-7, 31)])
def test_delays_per_unit(size, longest, low, high):
    rng = np.random.default_rng([size, longest])
    steps = rng.integers(0, longest + 1, size).astype(np.int32)
    steps[0] = longest
    ops = (
        Input("x", size, low=low, high=high),
        Delays("late", "x", steps, low=low, high=high),
        Delay("later", "late", size, steps=2),
        Dense("fc", "later", np.eye(size, dtype=np.int8)),
        Dense("now", "late", np.eye(size, dtype=np.int8)),
    )
    ops = (*ops, fired(ops[-2]), fired(ops[-1]))
    inputs = rng.integers(low, high + 1, (70, 2, size)).astype(np.int32)
    got = assert_equal(Program(ops, num_steps=70), inputs, "native")
    expected = np.zeros_like(inputs)
    for i, late in enumerate(steps):
        expected[late:, :, i] = inputs[: 70 - late, :, i]
    assert np.array_equal(got.variables["now_lif.v"], expected)


def shift_lif(source, size, most):
    full = lambda value: np.full(size, value, dtype=np.int32)  # noqa: E731
    return ShiftLIF("lif", (source,), full(2), full(3), full(1), full(5), most)


@pytest.mark.parametrize("most", [1, 2, 31])
def test_spikes_of_several_at_once(most):
    """Graded events are integers; with one spike at most they are bits, which Slots and lists take."""
    ops = [Input("x", 20, low=-9, high=9), Dense("in", "x", weights((90, 20))), shift_lif("in", 90, most)]
    ops += [Dense("out", "lif", weights((40, 90))), Delays("late", "lif", np.arange(90, dtype=np.int32) % 4, high=most)]
    ops += [Dense("late_out", "late", weights((33, 90)))]
    if most == 1:
        ops += [Slots("slots", "lif", weights((4, 90)), gain=3, shift=1)]
    built = Program((*ops, fired(ops[3]), fired(ops[5])), num_steps=12)
    inputs = np.random.default_rng(3).integers(-9, 10, (12, 3, 20)).astype(np.int32)
    got = assert_equal(built, inputs, "native")
    found = got.variables["lif.spikes"]
    assert found.max() == most
    network = NativeNetwork(built, batch=3)
    network.run(inputs)
    assert np.array_equal(network.spikes("lif"), found[-1])
    assert np.array_equal(network.spike_counts()["lif"], found.sum(axis=(0, 2), dtype=np.int64))


def test_values_of_0_and_1_become_bits_in_delays():
    """Its source gives integers: what waits in the ring are those."""
    pool = MaxPool("pool", "x", (1, 2, 40), kernel=(1, 2), stride=(1, 1))
    late = Delays("late", "pool", np.arange(78, dtype=np.int32) % 5)
    built = program(pool, late, Dense("fc", "late", weights((70, 78))), size=80)
    got = assert_equal(built, spikes(80, 0.2), "native")
    assert got.variables["fc_lif.v"].any()


def test_what_weights_take():
    """A digit that is not 0 takes two bytes in lists; rows of 64 outputs take two bits a weight, or a byte."""
    chosen = weights((64, 64, 3, 3))
    op = Conv("conv", "x", chosen, input_shape=(64, 16, 16), padding=(1, 1))
    network = NativeNetwork(Program((Input("x", 16384), op), num_steps=1))
    least = 2 * np.count_nonzero(chosen) + 64 * 64 * 9 / 4
    assert least <= network.weight_bytes < least + 64 * 2 * 2 * 10 + 1024
    assert rows_for_images(chosen, 1).nbytes == 16 * (64 * 9 + 1)  # and a row of zeros
    assert rows_for_images(weights((64, 2, 1, 1), 127), 1).nbytes == 64 * 3


def test_digits_of_weights():
    """As few as possible are not 0: of two neighbours one is."""
    every = np.arange(-127, 128, dtype=np.int8)
    digits = window_lists.signed_digits(every).astype(np.int64)
    assert np.array_equal((digits << np.arange(8)[:, np.newaxis]).sum(axis=0), every)
    assert not (digits[1:] * digits[:-1]).any()
    assert window_lists.signed_digits(np.zeros((2, 3), dtype=np.int8)).shape == (1, 2, 3)


@pytest.mark.parametrize(("values", "planes"), [([0], 1), ([1], 2), ([-1], 1), ([-1, -1], 2), ([1, 1], 3), ([127], 8)])
def test_planes_hold_every_sum(values, planes):
    assert window_lists.num_planes(np.array([values], dtype=np.int8)) == planes


def test_sums_at_the_ends_of_their_planes():
    """One output adds up all of its inputs, one subtracts them: 128, 4,096 and 2**16 are ends of what holds them."""
    for inputs, most in ((127, 1), (128, 1), (129, 1), (2047, 1), (4097, 1), (259, 127), (1040, 127)):
        chosen = np.full((3, inputs, 1, 1), most, dtype=np.int8)
        chosen[1], chosen[2, ::2] = -most, -most
        op = Conv("conv", "x", chosen, input_shape=(inputs, 2, 3))
        for density in (0.9, 1.0):
            assert_equal(program(op, size=6 * inputs), spikes(6 * inputs, density), "native")


def compare_random(seed):
    """Compare a random convolution, or pool, of spikes with the reference."""
    rng = np.random.default_rng(seed)
    below = lambda n: int(rng.integers(1, n + 1))  # noqa: E731
    groups, batch, pooled = below(3) ** 2, below(9), seed % 5 == 0
    channels, outputs = groups * below(6), groups * below(12)
    kernel, stride, dilation = ((below(n), below(n)) for n in (4, 2 + seed % 2, 2))
    padding = (int(rng.integers(0, kernel[0] // 2 + 1)), int(rng.integers(0, kernel[1] // 2 + 1)))
    spans = [step * (n - 1) + 1 for n, step in zip(kernel, dilation, strict=True)]
    shape = (channels, spans[0] + below(34), spans[1] + below(34))
    if pooled:
        op = (SumPool, SpikePool)[seed % 2]("conv", "x", shape, kernel=kernel, stride=stride, padding=padding)
    else:
        chosen = rng.integers(-127, 128, (outputs, channels // groups, *kernel)).astype(np.int8)
        chosen = np.sign(chosen) if rng.random() < 0.6 else chosen
        chosen[rng.random(chosen.shape) < rng.choice([0, 0.3, 0.95, 1])] = 0
        rest = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        op = Conv("conv", "x", chosen, input_shape=shape, shift=int(rng.integers(0, 3)), **rest)
    size, density = int(np.prod(shape)), rng.choice([0, 0.02, 0.2, 0.6, 1])
    ops = (op, MaxPool("ints", "conv", op.output_shape, (1, 1), (1, 1))) if pooled else (op,)
    membranes = fired(ops[-1], decay=2048)  # lie behind what is convolved: nothing may be written there
    built = Program((Input("x", size), *ops, membranes), num_steps=3)
    assert_equal(built, spikes(size, density, batch=batch, seed=seed), "native")


@pytest.mark.parametrize("seed", range(60))
def test_random_convolutions(seed):
    compare_random(seed)


PLAIN = """
import sys
sys.path[:0] = {folders!r}
from neuromorphic.executors.native import processor
from test_native_images import compare_random
assert (processor.LANES, processor.HAS_BMI2, processor.HAS_GFNI) == {expected!r}
for seed in range(100, 160):
    compare_random(seed)
print("equal")
"""
AVX2 = "+avx,+avx2,+bmi,+bmi2,+fma,+lzcnt,+popcnt"


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86 processor")
@pytest.mark.parametrize(
    ("processor", "features", "expected"),
    [
        ("nehalem", "", (4, False, False)),
        ("haswell", AVX2, (4, True, False)),
        ("skylake-avx512", f"{AVX2},+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl", (8, True, False)),
    ],
)
def test_processors_that_have_less(processor, features, expected):
    has = llvmlite.binding.get_host_cpu_features()
    if missing := [name for name in re.findall(r"\+(\w+)", features) if not has.get(name)]:
        pytest.skip(f"this processor would meet unknown instructions: it has no {', '.join(missing)}")
    here = Path(__file__).parent
    code = PLAIN.format(folders=[str(here), str(here.parents[1] / "support")], expected=expected)
    environment = {**os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features}
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert got.stdout.strip() == "equal", got.stderr
