"""The executor torch: equal to the reference in every bit, on every device that is here."""

import os
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import same
from neuromorphic import LIF, Dense, Input, Program, Readout, run
from neuromorphic.errors import ExecutorError
from neuromorphic.executors.torch.devices import devices
from neuromorphic.executors.torch.primitives import Torch
from neuromorphic.executors.torch.products import MAX_COLUMNS, Kernels, Weights
from neuromorphic.integers.numbers import NumPy
from neuromorphic.integers.resets import RESETS
from neuromorphic.ops.base import OneSource, State, Variable
from programs import small_inputs, small_program
from random_graphs import OPERATIONS, random_graph
from random_programs import random_inputs

DEVICES = [name for name, _ in devices() if name != "mps"]


def assert_equal(program, inputs, **options):
    return same.assert_equal(program, inputs, "torch", **options)


@pytest.mark.parametrize("device", DEVICES)
def test_random_programs_of_every_operation(device):
    seen, spikes = set(), 0
    num_programs = 150 if os.environ.get("PNBX_LONG") else 60
    for seed in range(num_programs):
        rng = np.random.default_rng(seed)
        program = random_graph(rng)
        recording = assert_equal(program, random_inputs(program, rng, int(rng.integers(1, 5))), device=device)
        seen |= {type(op) for op in program.ops}
        spikes += sum(int(array.sum()) for array in recording.spikes().values())
    assert {op_class.__name__ for op_class in seen} == OPERATIONS  # test_conformance.py draws the others
    assert spikes > 200 * num_programs


@pytest.mark.parametrize("reset", RESETS)
def test_every_reset(reset):
    assert assert_equal(small_program(reset=reset), small_inputs()).spikes()["lif1"].any()


@pytest.mark.parametrize("heaviest", [1, 127])
@pytest.mark.parametrize("peak", [1, 255, 1 << 15, (1 << 31) - 1, (1 << 40) - 1])
@pytest.mark.parametrize("widest", [torch.float32, torch.float64])
def test_products_are_exact_at_their_limits(heaviest, peak, widest):
    rng = np.random.default_rng(0)
    for width in (1, 63, 2048, MAX_COLUMNS + 5):
        weights = rng.choice([-heaviest, 0, heaviest], (3, width)).astype(np.int8)
        weights[0] = heaviest  # the largest sum there is
        x = rng.choice([-peak, peak, 0, peak // 3], (2, width)).astype(np.int64)
        x[0] = peak
        held = Weights(weights, peak, torch.device("cpu"), widest=widest)
        assert held.times(torch.from_numpy(x)).tolist() == (x.astype(object) @ weights.astype(object).T).tolist()
        assert held[torch.tensor([2, 0])].tolist() == weights[[2, 0]].tolist()


@pytest.mark.parametrize("peak", [1, 1 << 15, (1 << 31) - 1])
@pytest.mark.parametrize("widest", [torch.float32, torch.float64])
@pytest.mark.parametrize(("channels", "groups"), [(6, 1), (6, 3), (2 * MAX_COLUMNS // 9 + 5, 1)])
def test_convolutions_are_exact_at_their_limits(peak, widest, channels, groups):
    rng = np.random.default_rng(0)
    weights = rng.choice([-127, 0, 127], (groups, channels // groups, 3, 3)).astype(np.int8)
    weights[0] = 127
    image = rng.choice([-peak, peak, 0, peak // 3], (3, channels, 4, 5)).astype(np.int64)
    image[0] = peak  # the largest sum there is
    windows = ((1, 2), (1, 0), (2, 1), groups)
    held = Kernels(weights, peak, torch.device("cpu"), widest=widest)
    held.piece = 2 * channels * 9 * 4  # two samples at a time, and one
    expected = NumPy().convolve(weights.astype(np.int64), image, *windows).tolist()
    assert held.over(torch.from_numpy(image), *windows).tolist() == expected
    ours = Torch(torch.device("cpu"), 3, {})  # weights that are also used otherwise stay integers
    if channels < 9:
        integers = ours.constant(weights)
        assert ours.convolve(integers, torch.from_numpy(image), *windows).tolist() == expected


def test_proven_peaks_reach_the_products():
    """A small difference between two sums that float32 cannot hold."""
    weights = np.full((2, 150), 127, dtype=np.int8)
    weights[1, -1] = 126
    difference = np.array([[1, -1]], dtype=np.int8)
    ops = (Input("x", 150, low=-(1 << 15), high=1 << 15), Dense("fc", "x", weights), Dense("less", "fc", difference))
    ops += (Readout("y", ("less",), np.zeros(1, dtype=np.int32), shift=0),)
    inputs = np.random.default_rng(0).integers(30_000, 1 << 15, (9, 2, 150)).astype(np.int32)
    assert_equal(Program(ops, num_steps=9), inputs)


@dataclass(frozen=True, eq=False)
class Unheard(OneSource):
    """An operation that the executor has never heard of, with what the others do not ask of the primitives."""

    name: str
    source: str
    size: int
    once: np.ndarray
    twice: np.ndarray
    kind: ClassVar[str] = "values"
    accepts: ClassVar[tuple[str, ...]] = ("events",)

    def states(self):
        place = State((1,), 1, counts_steps=True)
        return {"ring": State((self.size, self.size), 5), "place": place, "last": State((1,), 2)}

    def step(self, xp: Any, state: Any, x: Any) -> Any:
        sums = xp.product(self.once, x) + xp.product(self.twice, x) + self.once[0]
        sums = sums - xp.sum(self.twice * xp.reshape(x, 1, self.size))
        old = xp.row(state.ring, state.place) + xp.row(state.ring, state.last) * xp.row(self.once, state.place)
        ring = xp.set_row(state.ring, state.place, x)
        state.ring = xp.set_row(ring, state.last, xp.clip(sums, -9, 9))
        state.last = xp.argmax(xp.clip(sums, -1, 1))
        first = xp.where(state.place > 0, xp.absolute(sums), 7)
        after = state.place + 1
        state.place = xp.where(after >= 3, 0, after)
        state.seen = xp.saturate(xp.toward_zero(first * -1000, 3) + old)
        return state.seen

    @property
    def variables(self):
        return (Variable("seen", "int32", self.size), Variable("last", "int32", 1))


@pytest.mark.parametrize("device", DEVICES)
def test_a_new_operation_runs_as_it_is(device):
    rng = np.random.default_rng(0)
    once, twice = rng.integers(-9, 9, (2, 6, 6)).astype(np.int8)
    new = Unheard("new", "x", 6, once, twice)
    ops = (Input("x", 6, low=-300, high=300), new, Readout("y", ("new",), np.zeros(6, dtype=np.int32), shift=0))
    program = Program(ops, num_steps=20)
    inputs = rng.integers(-300, 301, (20, 3, 6)).astype(np.int32)
    inputs[:, 0] = 0  # many equals
    assert len(np.unique(assert_equal(program, inputs, device=device).variables["new.last"])) > 2


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [3, 5000])  # 5000: too many for one division
def test_primitives_at_their_ends(device, size):
    """Rounding, ties, rolls and choices, against those of NumPy."""
    rng = np.random.default_rng(0)
    ours, theirs = Torch(torch.device(device), 2, {}), NumPy()
    whole = rng.integers(-(1 << 62), 1 << 62, (2, size))
    whole[:, :3] = -(1 << 62), -1, 1
    few = rng.integers(-1, 2, (2, size))
    table, grid = np.arange(9) ** 3, few[:, :3].reshape(2, 1, 3)
    calls = [("toward_zero", whole, bits) for bits in (0, 1, 12, 47, 62)]
    calls += [("argmax", few), ("argmax", whole), ("sum", few), ("repeat", few, 3), ("take", table, few + 4)]
    calls += [("roll", grid, 0, 0), ("roll", grid, 1, 0), ("roll", grid, 0, -1), ("roll", grid, -1, 1)]
    image = whole[:, : 3 * (size // 3)].reshape(2, -1, 1, 3)
    calls += [("window_max", image, (1, 2), (1, 3), (0, 1)), ("window_max", image, (1, 3), (2, 1), (0, 0))]
    calls += [("pick", whole[:, np.newaxis] + np.arange(3)[:, np.newaxis], few[i] + 1) for i in (0, slice(0, 2))]
    calls += [("where", few > 0, a, b) for a, b in ((1, 0), (0, 1), (1, 1), (few, 0), (3, few))]
    calls += [("where", flag, a, b) for flag in (True, False) for a, b in ((few, 0), (7, few))]
    for name, *given in calls:
        moved = [torch.from_numpy(x).to(device) if isinstance(x, np.ndarray) and x is not table else x for x in given]
        got, expected = getattr(ours, name)(*moved), getattr(theirs, name)(*given)
        np.testing.assert_array_equal(got.cpu().numpy(), expected, err_msg=f"{name} {given[1:]}")
        assert got.dtype == torch.int64, name


def test_constants_move_once():
    xp = Torch(torch.device("cpu"), 1, {})
    array = np.arange(3, dtype=np.int32)
    assert xp.constant(array) is xp.constant(array)
    assert xp.constant(array) is not xp.constant(array.copy())


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
