"""What products and steps must read and issue at least: by hand, and never more than what was measured."""

import numpy as np
import pytest

from neuromorphic.executors.native import NativeNetwork, TernaryMatrix, bits_of
from studies.bench import limits
from studies.bench.deployment import small_stream
from studies.bench.least_work import Work, digits_of, step_of
from studies.bench.timing import interleave


def test_digits_of_values():
    values = [0, 1, 2, 3, 7, -7, 85, 127, -128, 1 << 15]
    assert [int(digits_of(np.array([[x]]))[0]) for x in values] == [0, 1, 1, 2, 2, 2, 4, 2, 1, 1]


def test_only_columns_of_the_fewer_are_read_and_once_for_all_samples():
    x = np.zeros((2, 100), dtype=np.int32)
    x[0, :3], x[1, 2:97] = 1, 1
    work = Work()
    work.add_events(512, x)
    assert work.read == 6 * 512 / 4  # 0, 1, 2 and 0, 1, 97, 98, 99
    # 3 events and 5 silent ones: 6 bits become 3, 10 become 4.
    assert work.issued["vpternlogq"] == 2 * (3 + 6) * 512 / limits.vector_bits()


def test_values_take_every_weight_once_for_each_byte():
    work = Work()
    work.add_values(64, 32, samples=3, digits=2)
    assert work.read == 64 * 32 / 4
    assert work.issued["vpdpbusd"] == 3 * 2 * 64 * 32 * 8 / limits.vector_bits()


@pytest.mark.parametrize("size", [512, 2048])
def test_no_product_is_faster_than_its_limit(size):
    rng = np.random.default_rng(0)
    weights, x = rng.integers(-1, 2, (size, size)).astype(np.int8), (rng.random((1, size)) < 0.2).astype(np.int32)
    matrix, bits, out = TernaryMatrix(weights, reads="spikes"), bits_of(x.astype(bool)), np.zeros((1, size), np.int32)
    work = Work()
    work.add_events(size, x)
    limit = work.limit()
    assert limit is not None
    assert limit.seconds < interleave({"": lambda: matrix.times_spikes(bits, out)}, seconds=0.1)[""].median_s


def test_a_step_of_a_network():
    program = small_stream()
    network, x = NativeNetwork(program), (np.random.default_rng(0).random((1, 784)) < 0.2).astype(np.int32)
    for _ in range(20):
        network.step(x)
    work = step_of(program, network, x, 1)
    fired = int(x.sum()) + sum(int(network.spikes(name).sum()) for name in ("lif", "out_lif"))
    assert work.read > 512 * fired / 8
    assert set(work.issued) == {"vpternlogq", "vpdpbusd", "vpaddd"}
    assert work.issued["vpdpbusd"] == 2048 * 256 * 8 / limits.vector_bits()
    assert work.limit(2) is not None
