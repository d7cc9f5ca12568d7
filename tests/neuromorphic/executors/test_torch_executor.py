"""The executor torch: equal to the reference in every bit, on every device that is here."""

import numpy as np
import pytest
import torch

from neuromorphic import LIF, Dense, Input, Program, Readout, run
from neuromorphic.errors import ExecutorError
from neuromorphic.executors.torch.arithmetic import MAX_COLUMNS, Product
from neuromorphic.executors.torch.devices import devices
from neuromorphic.executors.torch.steps import MAKERS
from neuromorphic.ops import OP_TYPES, Delay
from neuromorphic.ops.resets import RESETS
from programs import small_inputs, small_program
from random_graphs import random_graph
from random_programs import random_inputs

DEVICES = [name for name, _ in devices() if name != "mps"]


def assert_equal(program, inputs, **options):
    expected, got = run(program, inputs), run(program, inputs, executor="torch", **options)
    assert list(got.variables) == list(expected.variables)
    for name, array in expected.variables.items():
        assert got.variables[name].dtype == array.dtype
        np.testing.assert_array_equal(got.variables[name], array, err_msg=name)
    return expected


def test_every_operation_is_known():
    assert set(MAKERS) | {Input, Delay} == set(OP_TYPES.values())


@pytest.mark.parametrize("device", DEVICES)
def test_random_programs_of_every_operation(device):
    seen, spikes = set(), 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        program = random_graph(rng)
        recording = assert_equal(program, random_inputs(program, rng, int(rng.integers(1, 5))), device=device)
        seen |= {type(op) for op in program.ops}
        spikes += sum(int(array.sum()) for array in recording.spikes().values())
    assert seen == set(OP_TYPES.values())
    assert spikes > 30_000


@pytest.mark.parametrize("reset", RESETS)
def test_every_reset(reset):
    assert assert_equal(small_program(reset=reset), small_inputs()).spikes()["lif1"].any()


@pytest.mark.parametrize("heaviest", [1, 127])
@pytest.mark.parametrize("peak", [1, 255, 1 << 15, (1 << 31) - 1])
def test_products_are_exact_at_their_limits(heaviest, peak):
    rng = np.random.default_rng(0)
    for width in (1, 63, 2048, MAX_COLUMNS + 5):
        weights = rng.choice([-heaviest, 0, heaviest], (3, width)).astype(np.int8)
        weights[0] = heaviest  # the largest sum there is
        x = rng.choice([-peak, peak, 0, peak // 3], (2, width)).astype(np.int64)
        x[0] = peak
        got = Product(weights, peak, torch.device("cpu"))(torch.from_numpy(x))
        assert got.tolist() == (x.astype(object) @ weights.astype(object).T).tolist()


def test_what_is_recorded_can_be_chosen():
    program = small_program()
    got = run(program, small_inputs(), executor="torch", record=["lif1.spikes"])
    assert list(got.variables) == ["lif1.spikes"]
    with pytest.raises(ExecutorError, match=r"there is no variable 'lif9.v'; the program has lif1.spikes, lif1.v"):
        run(program, small_inputs(), executor="torch", record=["lif9.v"])


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("tpu9", "device must be one of cpu"),
        ("cuda:99", "device 'cuda:99' is not here .it needs an NVIDIA GPU and a CUDA build of torch.; there is cpu"),
        ("xpu:99", "an Intel GPU and an XPU build of torch"),
    ],
)
def test_a_device_that_is_not_here(device, message):
    with pytest.raises(ExecutorError, match=message):
        run(small_program(), small_inputs(), executor="torch", device=device)


def test_one_step_and_one_neuron():
    one = np.ones(1, dtype=np.int32)
    ops = (Input("x", 1, low=-128, high=127), Dense("fc", "x", np.array([[-1]], dtype=np.int8)))
    ops += (LIF("lif", ("fc",), one, one, -one, shift=16), Readout("y", ("fc",), one, shift=0))
    assert_equal(Program(ops, num_steps=1), np.array([[[-128], [127], [0]]], dtype=np.int32))
