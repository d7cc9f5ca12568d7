"""The native executor: every variable of every program equals the reference's, and what it refuses it names."""

import copy
import os
import pickle
import platform
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from neuromorphic import LIF, Dense, Input, Program, Readout, run, verify
from neuromorphic.cli import app
from neuromorphic.errors import BoundError, ExecutorError, FileFormatError, InputError
from neuromorphic.executors.native import ENTRIES, NativeNetwork, TernaryMatrix, bits_of, operations, processor, rows
from neuromorphic.integers.numbers import DECAY_ONE, INT32_MAX, STATE_MAX
from neuromorphic.integers.resets import RESETS
from neuromorphic.ops import LI, OP_TYPES, Delay, FastWeights, Gate, GatedState, Scale, Slots
from programs import small_inputs, small_program
from random_networks import KINDS, random_network
from random_programs import random_inputs, random_program


def assert_equal(program, inputs, **options):
    comparison, _, got = verify(program, inputs, "native", **options)
    assert comparison.equal, str(comparison.first)
    return got


def test_it_knows_every_operation():
    assert set(operations.BUILDERS) == set(OP_TYPES) - set(ENTRIES[0].lacks)


def test_an_operation_it_does_not_know_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(operations, "BUILDERS", {"Input": operations.BUILDERS["Input"]})
    with pytest.raises(ExecutorError, match="does not know the operation Dense \\(lif1_synapses\\); .* 'numpy'"):
        NativeNetwork(small_program())


def test_a_step_returns_what_slots_read_where_there_is_no_readout():
    slots = Slots("slots", "x", keys=np.array([[1, 0], [0, 1]], dtype=np.int8), gain=5, shift=0)
    network = NativeNetwork(Program((Input("x", 2), slots), num_steps=3))
    assert network.step(np.array([[0, 1]], dtype=np.int32)).tolist() == [[0, 5]]


@pytest.mark.parametrize("reset", RESETS)
def test_every_reset(reset):
    assert_equal(small_program(reset=reset, num_steps=40), small_inputs(num_steps=40))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), batch=st.integers(1, 4))
def test_any_network_equals_the_reference(seed, batch):
    rng = np.random.default_rng(seed)
    program = random_network(rng)
    assert_equal(program, random_inputs(program, rng, batch))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), batch=st.integers(1, 9))
def test_any_spiking_program_equals_the_reference(seed, batch):
    rng = np.random.default_rng(seed)
    program = random_program(rng, num_steps=30, max_layers=3, max_width=80)
    assert_equal(program, random_inputs(program, rng, batch))


@pytest.mark.parametrize("kind", KINDS)
def test_each_operation_alone(kind):
    for seed in range(25):
        rng = np.random.default_rng(seed)
        program = random_network(rng, kinds=(kind,), num_ops=2, num_steps=20)
        assert any(type(op).__name__ == kind for op in program.ops)
        assert_equal(program, random_inputs(program, rng, 3))


def test_a_hundred_networks_of_ten_operations():
    """Four hundred with ``PNBX_LONG=1``."""
    for seed in range(400 if os.environ.get("PNBX_LONG") else 100):
        rng = np.random.default_rng([7, seed])
        program = random_network(rng, num_ops=10, num_steps=15)
        assert_equal(program, random_inputs(program, rng, 2))


def ternary_layer(size, num_inputs, *, seed=0, weights=None, shift=0):
    rng = np.random.default_rng(seed)
    if weights is None:
        weights = rng.integers(-1, 2, (size, num_inputs)).astype(np.int8)
    ops = (
        Input("x", num_inputs),
        Dense("fc", "x", weights, shift),
        LIF(
            "lif",
            ("fc",),
            decay=rng.integers(0, 4097, size).astype(np.int32),
            threshold=rng.integers(0, 200, size).astype(np.int32),
            bias=rng.integers(-9, 10, size).astype(np.int32),
            shift=2,
        ),
        Dense("out", "lif", rng.integers(-1, 2, (5, size)).astype(np.int8)),
        Readout("readout", ("out",), bias=np.zeros(5, dtype=np.int32), shift=0),
    )
    return Program(ops, num_steps=4)


@pytest.mark.parametrize("size", [1, 31, 33, 63, 64, 65, 255, 256, 257, 511, 513, 700])
@pytest.mark.parametrize("num_inputs", [1, 15, 16, 17, 64, 65, 300])
def test_sizes_that_fit_no_register(size, num_inputs):
    program = ternary_layer(size, num_inputs, seed=size + num_inputs)
    inputs = np.random.default_rng(1).integers(0, 2, (4, 3, num_inputs)).astype(np.int32)
    assert_equal(program, inputs)


@pytest.mark.parametrize("density", [0.0, 0.01, 0.188, 0.49, 0.5, 0.51, 0.9, 1.0])
def test_every_density(density):
    program = ternary_layer(300, 333)
    drawn = np.random.default_rng(2).random((4, 5, 333)) < density
    if density == 0.5:
        drawn = np.broadcast_to(np.arange(333) % 2 == 0, drawn.shape)
    assert_equal(program, drawn.astype(np.int32))


@pytest.mark.parametrize("batch", [1, 7, 8, 9, 64, 130])
def test_batches_and_threads(batch):
    program = ternary_layer(70, 90)
    inputs = np.random.default_rng(3).integers(0, 2, (4, batch, 90)).astype(np.int32)
    for threads in (1, 2, 5):
        assert_equal(program, inputs, threads=threads)


def test_one_step():
    assert_equal(ternary_layer(40, 50), np.ones((1, 2, 50), dtype=np.int32))


@pytest.mark.slow
def test_more_events_than_a_counter_holds():
    num_inputs = 70_001
    weights = np.random.default_rng(4).integers(-1, 2, (40, num_inputs)).astype(np.int8)
    weights[0], weights[1] = 1, -1
    program = ternary_layer(40, num_inputs, weights=weights)
    spikes = np.random.default_rng(5).random((3, 1, num_inputs)) < np.array([0.49, 0.51, 1.0])[:, None, None]
    assert_equal(program, spikes.astype(np.int32))


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("sign", [1, -1])
def test_states_saturate_alike(reset, sign):
    one = np.ones(3, dtype=np.int32)
    ops = (
        Input("x", 1, low=-(1 << 15), high=1 << 15),
        Dense("fc", "x", np.array([[1], [7], [-3]], dtype=np.int8), shift=6),
        LIF(
            "lif",
            ("fc",),
            decay=np.array([DECAY_ONE, 4095, 1], dtype=np.int32),
            threshold=np.array([STATE_MAX, STATE_MAX - 1, 0], dtype=np.int32),
            bias=sign * STATE_MAX * one,
            shift=3,
            reset=reset,
        ),
        Readout("readout", ("fc",), bias=-sign * STATE_MAX * one, shift=2),
    )
    inputs = np.array([[[x]] for x in (1 << 15, 1 << 15, 0, -(1 << 15), -(1 << 15), -1, 1)], dtype=np.int32)
    got = assert_equal(Program(ops, num_steps=7), inputs)
    assert (np.abs(got.variables["lif.v"]) == STATE_MAX).any()


def test_gates_of_the_largest_sums():
    factor = np.array([65535, -65535, 60000, 1, 0, -1], dtype=np.int32)
    offset = np.array([STATE_MAX, -STATE_MAX, -STATE_MAX, STATE_MAX, -5, 0], dtype=np.int32)
    ops = (
        Input("x", 6, low=-(1 << 15), high=1 << 15),
        Scale("wide", "x", factor),
        Gate("gate", "wide", offset),
        Scale("same", "x", np.ones(6, dtype=np.int32)),
        GatedState("state", "same", "gate", 6),
    )
    steps = np.array([1 << 15, -(1 << 15), 0, 1, -1, 77], dtype=np.int32)
    assert_equal(Program(ops, num_steps=6), np.repeat(steps[:, np.newaxis, np.newaxis], 6, axis=2))


def test_a_run_longer_than_was_proven_is_refused():
    """Fast weights that never fade grow beyond what was proven for one step: a current leaves 32 bits when shifted."""
    one = np.ones(1, dtype=np.int32)
    ops = (
        Input("x", 1),
        Scale("key", "x", 4096 * one),
        FastWeights("fast", "key", 1, decay=4096, rate_bits=0, frac=22),
        Scale("current", "fast", 300 * one),
        LIF("lif", ("current",), decay=4096 * one, threshold=STATE_MAX * one, bias=STATE_MAX * one, shift=10),
        LI("li", ("current",), decay=4096 * one, bias=one, shift=10),
        Readout("readout", ("current",), bias=one, shift=10),
    )
    program, x = Program(ops, num_steps=1), np.ones((6, 1, 1), dtype=np.int32)
    assert INT32_MAX < (8191 * 300) << 10
    with pytest.raises(InputError, match="inputs have 6 steps, the program is proven for at most 1 "):
        run(program, x, "native")
    network = NativeNetwork(program)
    network.step(x[0])
    with pytest.raises(
        InputError, match=r"x: 1 more step would make 2 since the reset, .* at most 1; reset\(\) starts anew"
    ):
        network.step(x[0])
    with pytest.raises(InputError, match="5 more steps would make 6"):
        network.run(x[:5])
    assert (network.most_steps, network.time) == (1, 1)
    network.reset()
    network.step(x[0])


def test_a_stream_has_no_end_where_the_proof_has_none():
    """A state that saturates stays at its limit: only a sum that grows with it could leave 32 bits."""
    program = small_program(num_steps=12)
    network = NativeNetwork(program, batch=4)
    assert network.most_steps is None
    inputs = small_inputs(num_steps=5000)
    expected = run(program, inputs).variables["readout.y"]
    np.testing.assert_array_equal(network.record(inputs, ["readout.y"])["readout.y"], expected)
    network.step(inputs[0])
    assert network.time == 5001


@pytest.mark.parametrize("seed", range(8))
def test_step_by_step_equals_a_whole_run(seed):
    rng = np.random.default_rng([11, seed])
    program = random_network(rng, num_ops=10)
    inputs = np.ascontiguousarray(random_inputs(program, rng, 3))
    expected = run(program, inputs)
    network = NativeNetwork(program, batch=3)
    names = [name for name in expected.variables if not name.endswith(".E")]
    for t in range(len(inputs)):
        network.step(inputs[t])
        for name in names:
            op, variable = name.rsplit(".", 1)
            got = network.spikes(op) if variable == "spikes" else network.view(name).reshape(3, -1)
            assert np.array_equal(got, expected.variables[name][t]), (name, t)
    assert np.array_equal(network.view(network.output), network.step(inputs[0]))


@pytest.mark.parametrize("seed", range(8))
def test_two_halves_equal_one_run_and_a_reset_starts_anew(seed):
    rng = np.random.default_rng([12, seed])
    program = random_network(rng, num_ops=10)
    inputs = np.ascontiguousarray(random_inputs(program, rng, 2))
    whole = run(program, inputs).variables
    network = NativeNetwork(program, batch=2)
    for _ in range(2):
        parts = [network.record(inputs[:5]), network.record(inputs[5:])]
        for name, array in whole.items():
            assert np.array_equal(np.concatenate([part[name] for part in parts]), array), name
        network.reset()
    network.run(inputs)
    for op in program.of_type(LIF):
        expected = (whole[f"{op.name}.spikes"] != 0).sum(axis=(0, 2), dtype=np.int64)
        assert np.array_equal(network.spike_counts()[op.name], expected)


def test_samples_are_independent():
    rng = np.random.default_rng(13)
    program = random_network(rng, num_ops=10)
    inputs = random_inputs(program, rng, 11)
    together = run(program, inputs, "native")
    for b in range(11):
        alone = run(program, np.ascontiguousarray(inputs[:, b : b + 1]), "native")
        assert all(np.array_equal(alone.variables[k][:, 0], together.variables[k][:, b]) for k in alone.variables)


def test_memory_does_not_grow_with_steps():
    network = NativeNetwork(ternary_layer(64, 64))
    arrays = [network._ints, network._bits, network._counts]
    sizes, where = network.state_bytes, [array.ctypes.data for array in arrays]
    network.run(np.ones((3000, 1, 64), dtype=np.int32))
    assert network.time == 3000
    assert network.state_bytes == sizes
    assert [array.ctypes.data for array in arrays] == where


def test_weights_take_two_bits():
    network = NativeNetwork(ternary_layer(512, 512))
    assert 512 * 512 / 4 <= network.weight_bytes < 512 * 512 / 4 + 3000
    assert not any(isinstance(value, Program) for value in vars(network).values())


def test_products_with_the_spikes_of_one_source_share_registers():
    rng = np.random.default_rng(5)
    sizes = {"a": (70, 0), "b": (33, 1), "c": (256, 0), "d": (20, 0), "e": (130, 0), "f": (64, 1)}
    products = [
        Dense(name, "x", rng.integers(-1, 2, (size, 300)).astype(np.int8), shift)
        for name, (size, shift) in sizes.items()
    ]
    neurons = [
        LIF(f"{op.name}_lif", (op.name,), *(np.full(op.size, x, np.int32) for x in (3000, 40, 0)), shift=0)
        for op in products
    ]
    last = [
        Dense("last", "x", np.ones((3, 300), dtype=np.int8)),
        Readout("readout", ("last",), np.zeros(3, np.int32), 0),
    ]
    program = Program((Input("x", 300, 0, 1), *products, *neurons, *last), num_steps=8)
    for density in (0.1, 0.9):  # of the list of events, and of the silent ones
        got = assert_equal(program, (rng.random((8, 11, 300)) < density).astype(np.int32))
        assert got.variables["e_lif.v"].any()
    table = operations.lay_out(program).rows
    kinds = [int(row[rows.KIND]) for row in table]
    assert kinds.count(rows.TERNARY_EVENTS) == 2  # one for each shift


def test_a_file_gives_the_same_network(tmp_path):
    program = ternary_layer(40, 100)
    program.save(tmp_path / "program.npz")
    inputs = np.random.default_rng(7).integers(0, 2, (4, 3, 100)).astype(np.int32)
    a, b = NativeNetwork(program, batch=3), NativeNetwork.from_file(tmp_path / "program.npz", batch=3)
    a.run(inputs)
    b.run(inputs)
    assert a.view(a.output).any()
    assert np.array_equal(a.view(a.output), b.view(b.output))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "program.npz").read_bytes()[:-9])
    with pytest.raises(FileFormatError, match="cut.npz"):
        NativeNetwork.from_file(tmp_path / "cut.npz")


def test_spikes_may_come_as_bits():
    program = ternary_layer(40, 100)
    inputs = np.random.default_rng(6).integers(0, 2, (4, 3, 100)).astype(np.int32)
    a, b = NativeNetwork(program, batch=3), NativeNetwork(program, batch=3)
    packed = bits_of(inputs > 0)
    for t in range(4):
        assert np.array_equal(a.step(inputs[t]), b.step(packed[t]))
    assert a.view(a.output).any()


def test_a_recording_keeps_what_was_asked_for():
    program, inputs, seen = small_program(num_steps=600), small_inputs(num_steps=600), []
    whole = run(program, inputs)
    got = run(program, inputs, "native", record=["readout.y", "lif1.spikes"], progress=lambda *done: seen.append(done))
    assert list(got.variables) == ["lif1.spikes", "readout.y"]
    assert all(np.array_equal(got.variables[name], whole.variables[name]) for name in got.variables)
    assert got.executor == "native"
    assert seen == [(256, 600), (512, 600), (600, 600)]
    with pytest.raises(ExecutorError, match="no variable 'lif9.v'; the program has lif1.spikes, lif1.v"):
        run(program, inputs, "native", record=["lif9.v"])


def test_views_follow_and_cannot_be_written():
    network = NativeNetwork(small_program(), batch=4)
    shown = network.view("lif1.v")
    before = shown.copy()
    network.step(small_inputs()[0])
    assert not np.array_equal(shown, before)
    with pytest.raises(ValueError, match="read-only"):
        shown[0, 0] = 1


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 9)), "must be int32, got float64"),
        (np.zeros((4, 9), dtype=np.int64), "must be int32, got int64"),
        (np.zeros((4, 1), dtype=np.uint64), "must be int32, got uint64"),
        (np.zeros((3, 9), dtype=np.int32), r"must be \[4, 9\], got \[3, 9\]"),
        (np.zeros(9, dtype=np.int32), r"must be \[4, 9\], got \[9\]"),
        (np.zeros((9, 4), dtype=np.int32).T, "must be contiguous"),
        (np.zeros((4, 18), dtype=np.int32)[:, ::2], "must be contiguous"),
        (np.frombuffer(b"\0" * 145, dtype=np.uint8)[1:].view(np.int32).reshape(4, 9), "must be contiguous"),
        (np.full((4, 9), 128, dtype=np.int32), r"must lie in -128..127, got 128 at \[0, 0, 0\]"),
        (np.zeros((4, 9), dtype=np.int32).tolist(), "must be a NumPy array, got list"),
    ],
)
def test_wrong_inputs_change_nothing(x, message):
    network = NativeNetwork(small_program(), batch=4)
    network.step(small_inputs()[0])
    before = {name: network.view(name).copy() for name in network.variables}
    with pytest.raises(InputError, match=message):
        network.step(x)
    assert network.time == 1
    assert all(np.array_equal(network.view(name), before[name]) for name in before)


def test_a_bad_input_late_in_a_run_changes_nothing():
    program, inputs = small_program(), small_inputs(num_steps=700)
    inputs[650, 2, 3] = 999
    network = NativeNetwork(program, batch=4)
    for call in (network.run, network.record):
        with pytest.raises(InputError, match=r"got 999 at \[650, 2, 3\]"):
            call(inputs)
        assert network.time == 0
        assert not network.view("lif1.v").any()


def test_two_threads_cannot_share_a_network():
    network = NativeNetwork(small_program(), batch=4)
    with network._lock, pytest.raises(ExecutorError, match="running in another thread; a network is one stream"):
        network.step(small_inputs()[0])
    with network._lock, pytest.raises(ExecutorError, match="running in another thread"):
        network.reset()
    network.step(small_inputs()[0])
    assert network.time == 1


def test_networks_of_two_threads_do_not_meet():
    program, inputs = small_program(num_steps=300), small_inputs(num_steps=300)
    expected = run(program, inputs).variables["readout.y"][-1]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: NativeNetwork(program, batch=4).run(inputs).copy(), range(20)))
    assert all(np.array_equal(result, expected) for result in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_threads_after_a_fork():
    program, inputs = ternary_layer(70, 90), np.ones((4, 6, 90), dtype=np.int32)
    network = NativeNetwork(program, batch=6, threads=2)
    expected = network.run(inputs).copy()
    network.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork of a process with threads: what is tested
        child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(network.run(inputs), expected) else 1)
    deadline = time.monotonic() + 30
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if done == (0, 0):
        os.kill(child, signal.SIGKILL)
    assert done[1] == 0


def test_an_input_alone_is_a_network():
    network = NativeNetwork(Program((Input("x", 3),), num_steps=2))
    assert network.run(np.ones((2, 1, 3), dtype=np.int32)).size == 0
    assert network.record(np.ones((2, 1, 3), dtype=np.int32)) == {}


def same_numbers(x):
    """The same input in other arrays: read-only, of another type of the same width, a part of a larger one, a view."""
    frozen = x.copy()
    frozen.setflags(write=False)
    other = {np.dtype(np.int32): np.dtype(np.intc), np.dtype(np.uint64): np.dtype(np.ulonglong)}[x.dtype]
    return [frozen, x.astype(other), np.concatenate((x, x))[: len(x)], x.view(other).view(x.dtype)]


@pytest.mark.parametrize("packed", [False, True])
def test_a_step_takes_any_array_of_the_same_numbers(packed):
    program = ternary_layer(40, 70)
    network, rng = NativeNetwork(program, batch=3), np.random.default_rng(0)
    drawn = rng.integers(0, 2, (5, 3, 70)).astype(np.int32)
    for step in drawn:
        x = bits_of(step.astype(bool)) if packed else step
        expected = network.step(x).copy()
        for other in same_numbers(x):
            network.reset()
            assert np.array_equal(network.step(other), NativeNetwork(program, batch=3).step(x))
            assert network.time == 1
        network.reset()
        assert np.array_equal(network.step(x), expected)
        network.reset()


@pytest.mark.parametrize(
    "x",
    [
        None, 7, [[1] * 70] * 3, np.int32(3), np.zeros((), dtype=np.int32), np.zeros(70, dtype=np.int32),
        np.zeros((1, 3, 70), dtype=np.int32), np.zeros((70, 3), dtype=np.int32), np.zeros((3, 71), dtype=np.int32),
        np.zeros((3, 70)), np.zeros((3, 70), dtype=np.int64), np.zeros((3, 140), dtype=np.int32)[:, ::2],
        np.zeros((3, 2), dtype=np.int64), np.zeros((3, 3), dtype=np.uint64), np.zeros((4, 2), dtype=np.uint64),
        np.full((3, 70), 2, dtype=np.int32), np.full((3, 2), 1 << 63, dtype=np.uint64),
    ],
    ids=lambda x: f"{type(x).__name__} {getattr(x, 'dtype', '')}{list(np.shape(x))}",
)  # fmt: skip
def test_a_step_refuses_what_it_cannot_take(x):
    network = NativeNetwork(ternary_layer(40, 70), batch=3)
    with pytest.raises(InputError, match="^x: "):
        network.step(x)
    assert network.time == 0
    assert not network.view("lif.v").any()


def test_bits_beyond_the_channels_are_refused():
    network = NativeNetwork(ternary_layer(8, 65), batch=2)
    packed = np.zeros((2, 2), dtype=np.uint64)
    packed[1, 1] = 2
    with pytest.raises(InputError, match="beyond the 65 channels must be 0, they are not at step 0, sample 1"):
        network.step(packed)


@pytest.mark.parametrize(("name", "value"), [("batch", 0), ("batch", 1.5), ("threads", 0), ("threads", True)])
def test_wrong_options_are_refused(name, value):
    with pytest.raises(ExecutorError, match=f"{name} must be an integer of 1 or more, got {value}"):
        NativeNetwork(small_program(), **{name: value})


def test_what_could_overflow_is_refused():
    ops = (
        Input("x", 300, low=-(1 << 15), high=1 << 15),
        Dense("fc", "x", np.full((1, 300), 127, dtype=np.int8), shift=16),
        Readout("readout", ("fc",), bias=np.zeros(1, dtype=np.int32), shift=0),
    )
    with pytest.raises(BoundError, match="fc: the sum"):
        NativeNetwork(Program(ops, num_steps=1))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_addresses_are_not_copied(duplicate):
    with pytest.raises(TypeError, match="make another"):
        duplicate(NativeNetwork(small_program()))


GRADED = [(-128, 127), (0, 255), (-(1 << 15), 1 << 15), (-1, 1), (0, 2)]


@pytest.mark.parametrize("limits", GRADED)
@pytest.mark.parametrize("size", [5, 33, 300])
def test_graded_inputs(limits, size):
    """Ternary products of graded inputs, their ends, zeros alone, and through a delay."""
    low, high = limits
    rng = np.random.default_rng(size)
    weights = [rng.integers(-1, 2, (size, 77)).astype(np.int8) for _ in range(2)]
    weights[0][0], weights[0][1] = 1, -1
    ops = (
        Input("x", 77, low=low, high=high),
        Delay("late", "x", 77, steps=2),
        Dense("now", "x", weights[0], shift=1),
        Dense("then", "late", weights[1]),
        Readout("readout", ("now", "then"), bias=np.zeros(size, dtype=np.int32), shift=0),
    )
    inputs = rng.integers(low, high + 1, (9, 2, 77)).astype(np.int32)
    inputs[1], inputs[2], inputs[3] = low, high, 0
    inputs[4:] *= rng.random((5, 2, 77)) < 0.1
    assert_equal(Program(ops, num_steps=9), inputs)


@pytest.mark.parametrize("peak", [1, 127, 128, 129, 32639, 32640, 1 << 20, (1 << 23) - 1])
def test_values_of_any_width(peak):
    """Ternary and 8-bit products of states, which take one to three bytes."""
    rng = np.random.default_rng(peak)
    ops = (
        Input("x", 40, low=-(1 << 15), high=1 << 15),
        Scale("wide", "x", np.full(40, peak, dtype=np.int32), shift=15),
        LI(
            "li",
            ("wide",),
            decay=rng.integers(0, 4097, 40).astype(np.int32),
            bias=rng.integers(-1, 2, 40).astype(np.int32),
        ),
        Dense("ternary", "li", rng.integers(-1, 2, (70, 40)).astype(np.int8)),
        Dense("byte", "wide", rng.integers(-1, 3, (70, 40)).astype(np.int8)),
        Readout("a", ("ternary",), bias=np.zeros(70, dtype=np.int32), shift=0),
        Readout("b", ("byte",), bias=np.zeros(70, dtype=np.int32), shift=0),
    )
    inputs = rng.choice([-(1 << 15), -1, 0, 1, 1 << 15], size=(6, 2, 40)).astype(np.int32)
    assert_equal(Program(ops, num_steps=6), inputs)


def test_slots_that_fade_for_long():
    """A row is brought up to date when it wins again, after thousands of steps."""
    keys = np.array([[1, 1, 0], [0, 0, 1]], dtype=np.int8)
    fast = np.array([[1 << 22, 70, 0], [4097, 64, 63]], dtype=np.int32)
    slots = Slots("m", "x", keys, gain=3, shift=2, decay_bits=6, rate_bits=3, fast=fast)
    inputs = np.zeros((3000, 1, 3), dtype=np.int32)
    inputs[[0, 1, 2, 40, 900, 2999], :, 2] = 1
    inputs[[5, 6, 300, 2998], :, 0] = 1
    program = Program((Input("x", 3), slots), num_steps=3000)
    expected = run(program, inputs)
    got = run(program, inputs, "native", record=["m.winner", "m.read"])  # without the fingerprint: as rarely as it may
    assert all(np.array_equal(got.variables[name], expected.variables[name]) for name in got.variables)
    assert_equal(program, inputs)


def test_bits_and_integers_that_may_be_written_and_that_may_not():
    for batch in (1, 3):
        program = ternary_layer(40, 100)
        inputs = np.random.default_rng(batch).integers(0, 2, (4, batch, 100)).astype(np.int32)
        expected = run(program, inputs).variables["readout.y"][-1]
        for given_inputs in (inputs, bits_of(inputs > 0)):
            frozen = given_inputs.copy()
            frozen.setflags(write=False)
            for array in (given_inputs, frozen):
                network = NativeNetwork(program, batch=batch)
                assert np.array_equal(network.run(array), expected)
                network.reset()
                assert np.array_equal([network.step(x).copy() for x in array][-1], expected)


PLAIN = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
from neuromorphic import verify
from neuromorphic.executors.native import TernaryMatrix, bits_of, processor
from random_networks import random_network
from random_programs import random_inputs
assert {has!r} == [processor.HAS_AVX2, processor.HAS_AVX512, processor.HAS_VNNI, processor.HAS_GFNI]
rng = np.random.default_rng(0)
weights = rng.integers(-1, 2, (1100, 1300)).astype(np.int8)
matrix, real = TernaryMatrix(weights), weights.T.astype(np.float64)
for density in (0.0, 0.01, 0.2, 0.49, 0.9):
    spikes = rng.random((2, 1300)) < density
    assert np.array_equal(matrix.times_spikes(bits_of(spikes)), spikes @ real), density
for limit in (1, 127, 128, 40_000, 1_500_000):
    x = rng.integers(-limit, limit + 1, (2, 1300)).astype(np.int32)
    assert np.array_equal(matrix.times_values(x), x @ real), limit
for seed in range(60):
    rng = np.random.default_rng([5, seed])
    program = random_network(rng)
    comparison, _, _ = verify(program, random_inputs(program, rng, 2), "native")
    assert comparison.equal, (seed, str(comparison.first))
print("equal")
"""
AVX2 = "+avx,+avx2,+bmi,+bmi2,+fma,+lzcnt,+popcnt"
AVX512 = f"{AVX2},+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"
CHOOSING = ("avx2", "avx512bw", "avx512vnni", "gfni")
"""What decides which code a processor runs."""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86 processor")
@pytest.mark.parametrize(
    ("name", "features"),
    [("nehalem", ""), ("haswell", AVX2), ("skylake-avx512", AVX512), ("cascadelake", f"{AVX512},+avx512vnni")],
)
def test_a_processor_that_lacks_something(name, features):
    here = processor._host_features()
    if not set(filter(None, features.split(","))) <= set(here.split(",")):
        pytest.skip("this processor lacks it too")
    has, own = ([f"+{feature}" in given for feature in CHOOSING] for given in (features, here))
    if has == own:
        pytest.skip("every other test runs this code here")
    environment = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    code = PLAIN.format(tests=str(Path(__file__).parents[2] / "support"), has=has)
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert got.stdout.strip() == "equal", got.stderr


class TestTernaryMatrix:
    def test_eight_threads_share_one(self):
        """Products run without Python's lock: 1,516 of 2,000 were wrong when they shared what they compute in."""
        rng = np.random.default_rng(0)
        weights = rng.integers(-1, 2, (1024, 2048)).astype(np.int8)
        values = rng.integers(-100_000, 100_000, (8, 3, 2048)).astype(np.int32)
        flags = rng.random((8, 3, 2048)) < 0.3
        real = weights.T.astype(np.float64)
        matrix = TernaryMatrix(weights)

        def wrong(k: int) -> int:
            bits, rows = bits_of(flags[k]), 1 + k % 3
            sums, counts = values[k].astype(np.float64) @ real, flags[k].astype(np.float64) @ real
            found = 0
            for _ in range(60):
                found += not np.array_equal(matrix.times_values(values[k, :rows]), sums[:rows])
                found += not np.array_equal(matrix.times_spikes(bits[:rows]), counts[:rows])
            return found

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(wrong, range(8))) == 0

    @pytest.mark.parametrize("spikes", [True, False])
    def test_any_array_of_the_same_numbers(self, spikes):
        rng = np.random.default_rng(1)
        weights = rng.integers(-1, 2, (50, 70)).astype(np.int8)
        x = rng.integers(0, 2, (3, 70)).astype(np.int32)
        matrix, expected = TernaryMatrix(weights), x @ weights.T.astype(np.int32)
        times = matrix.times_spikes if spikes else matrix.times_values
        x = bits_of(x.astype(bool)) if spikes else x
        for given_x in (x, *same_numbers(x)):
            for out in (None, np.zeros((3, 50), dtype=np.int32), np.zeros((3, 50), dtype=np.intc)):
                found = times(given_x, out=out)
                assert out is None or found is out
                assert np.array_equal(found, expected)
        with pytest.raises(InputError, match="must be"):
            times(np.zeros((), dtype=x.dtype), out=np.zeros((3, 50), dtype=np.int32))
        with pytest.raises(InputError, match="must be"):
            times(x, out=np.zeros((3, 50)))

    @settings(max_examples=60, deadline=None)
    @given(
        seed=st.integers(0, 2**32 - 1),
        shape=st.tuples(st.integers(1, 600), st.integers(1, 300)),
        batch=st.integers(1, 5),
        density=st.floats(0, 1),
    )
    def test_products(self, seed, shape, batch, density):
        rng = np.random.default_rng(seed)
        weights = rng.integers(-1, 2, shape).astype(np.int8)
        matrix = TernaryMatrix(weights)
        spikes = rng.random((batch, shape[1])) < density
        wide = weights.astype(np.int64).T
        np.testing.assert_array_equal(matrix.times_spikes(bits_of(spikes)), spikes.astype(np.int64) @ wide)
        x = rng.integers(-(1 << 20), 1 << 20, (batch, shape[1])) >> rng.integers(0, 21)
        out = np.full((batch, shape[0]), 7, dtype=np.int32)
        assert matrix.times_values(x.astype(np.int32), out=out) is out
        np.testing.assert_array_equal(out, x @ wide)

    def test_values_at_the_ends_of_int32(self):
        x = np.array([[-(1 << 31), (1 << 31) - 1, -(1 << 31)]], dtype=np.int32)
        matrix = TernaryMatrix(np.array([[1, 1, 0], [1, 0, -1], [0, 1, 0], [-1, 0, 0]], dtype=np.int8))
        expected = x.astype(np.int64) @ np.array([[1, 1, 0], [1, 0, -1], [0, 1, 0], [-1, 0, 0]]).T
        np.testing.assert_array_equal(matrix.times_values(x), expected.astype(np.int32))

    @pytest.mark.parametrize("x", [127, -128, 32639, -32896, (1 << 23) - 1])
    def test_long_sums_of_one_sign(self, x):
        """The largest partial sums there can be: they would leave 16 bits if they were added up for longer."""
        weights = np.ones((20, 4000), dtype=np.int8)
        weights[::2] = -1
        got = TernaryMatrix(weights, reads="values").times_values(np.full((1, 4000), x, dtype=np.int32))
        expected = (x * weights.sum(axis=1, dtype=np.int64)).astype(np.int32)  # modulo 2**32 for the last
        np.testing.assert_array_equal(got[0], expected)

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            (np.zeros((2, 2)), r"non-empty int8 matrix, got float64\[2, 2\]"),
            (np.zeros((0, 2), dtype=np.int8), r"non-empty int8 matrix, got int8\[0, 2\]"),
            (np.full((2, 2), 2, dtype=np.int8), r"must lie in -1..1, got 2..2"),
        ],
    )
    def test_wrong_weights(self, weights, message):
        with pytest.raises(InputError, match=message):
            TernaryMatrix(weights)

    def test_wrong_arguments(self):
        weights = np.ones((3, 70), dtype=np.int8)
        matrix, bits = TernaryMatrix(weights), np.zeros((2, 2), dtype=np.uint64)
        with pytest.raises(InputError, match=r"bits must be uint64\[B, 2\], got uint8\[2, 2\]"):
            matrix.times_spikes(bits.astype(np.uint8))
        with pytest.raises(InputError, match=r"bits must be uint64\[B, 2\], got list"):
            matrix.times_spikes([[0, 0]])
        with pytest.raises(InputError, match="bits must be contiguous"):
            matrix.times_spikes(np.zeros((2, 4), dtype=np.uint64)[:, ::2])
        with pytest.raises(InputError, match="bits beyond the 70 inputs must be 0"):
            matrix.times_spikes(bits | np.uint64(1 << 6))
        with pytest.raises(InputError, match=r"out must be int32\[B, 3\], got int64\[2, 3\]"):
            matrix.times_spikes(bits, out=np.zeros((2, 3), dtype=np.int64))
        with pytest.raises(InputError, match="out must have 2 rows, got 1"):
            matrix.times_spikes(bits, out=np.zeros((1, 3), dtype=np.int32))
        with pytest.raises(InputError, match="not packed for values; make it with reads='both'"):
            TernaryMatrix(weights, reads="spikes").times_values(np.zeros((1, 70), dtype=np.int32))
        with pytest.raises(InputError, match="reads must be one of spikes, values, both, got 'bits'"):
            TernaryMatrix(weights, reads="bits")
        frozen = np.zeros((2, 3), dtype=np.int32)
        frozen.setflags(write=False)
        with pytest.raises(InputError, match="out must be writable"):
            matrix.times_spikes(bits, out=frozen)


def test_without_numba_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))  # code that was compiled before would run without it
    for name in [name for name in sys.modules if name.startswith("neuromorphic.") and "native" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ExecutorError, match="executor 'native' needs numba: pip install numba"):
        run(small_program(), small_inputs(), "native")


@pytest.mark.parametrize("command", ["run", "verify"])
def test_the_command_line(command, tmp_path):
    small_program().save(tmp_path / "program.npz")
    np.save(tmp_path / "x.npy", small_inputs())
    arguments = [command, str(tmp_path / "program.npz"), str(tmp_path / "x.npy"), "--executor", "native"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    shown = {"run": "4 samples x 12 steps on native", "verify": "native against numpy: 0 of 672 spikes differ"}
    assert shown[command] in " ".join(done.output.split())
