"""Lava's own ``Conv`` in place of ours: where it stands, why not elsewhere, and that every bit is the same."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from conv_nets import conv_network, stock_neurons
from lava_fixtures import assert_equal
from neuromorphic import Dense, Input, Program
from neuromorphic.executors.lava.mapping import Layout, lava_mapping, synapse_arguments
from neuromorphic.integers.numbers import STATE_MAX
from neuromorphic.ops import Conv, Delay, MaxPool, SumPool

W = np.ones((2, 1, 3, 3), dtype=np.int8)
SUM = 9 * 127


def program_of(*ops, size=25, high=1):
    return Program((Input("x", size, 0, high), *ops), num_steps=6)


def placed(program):
    return {placement.op: placement for placement in lava_mapping(program)}


def test_what_stands_where():
    program, _ = conv_network(0)
    assert {name: (p.process, p.stock) for name, p in placed(program).items()} == {
        "x": ("RingBuffer", True),
        "conv1": ("Conv", True),
        "lif1": ("LIFReset", True),
        "pool": ("ProgramOperation", False),
        "late": ("ProgramOperation", False),
        "conv2": ("Conv", True),
        "largest": ("ProgramOperation", False),
        "lif2": ("ProgramOperation", False),
        "mean": ("Conv", True),
        "flat": ("DelayDense", True),
        "y": ("ProgramOperation", False),
    }
    assert placed(program)["lif2"].reason == "it hears more than stock synapses, which shift for it"


@pytest.mark.parametrize(
    ("changes", "high", "reason"),
    [
        ({}, STATE_MAX // SUM, None),
        ({}, STATE_MAX // SUM + 1, "its sum can exceed 24 bits, where stock wraps around"),
        ({"shift": 1}, STATE_MAX // SUM, "its sum can exceed 24 bits, where stock wraps around"),
        ({"stride": (1, 128)}, 1, "stock holds strides, margins and groups in int8"),
        ({"padding": (62, 0)}, 1, "stock holds strides, margins and groups in int8"),
        ({"shift": 15}, 1, "its sum can exceed 24 bits, where stock wraps around"),
    ],
)
def test_where_a_convolution_cannot_be_stock(changes, high, reason):
    conv = Conv("conv", "x", **{"weights": 127 * W, "input_shape": (1, 5, 5), **changes})
    found = placed(program_of(conv, stock_neurons("lif", "conv", conv.size, shift=0), high=high))["conv"]
    assert (found.process, found.reason) == (
        ("Conv", "kernels turned round, images as (x, y, channel)") if reason is None else ("ProgramOperation", reason)
    )


def test_kernels_are_turned_round_and_hold_the_shift():
    weights = np.arange(6, dtype=np.int8).reshape(1, 1, 2, 3)
    conv = Conv("conv", "x", weights, (1, 4, 5), stride=(1, 2), padding=(0, 1), shift=1)
    (synapse,) = Layout(program_of(conv, stock_neurons("lif", "conv", conv.size, shift=8), size=20)).synapses()
    arguments = synapse_arguments(synapse)
    assert arguments["weight"][0, :, :, 0].tolist() == [[40, 16], [32, 8], [24, 0]]  # [x, y], times 2 ** (1 + 8 - 6)
    assert (arguments["input_shape"], arguments["stride"], arguments["padding"]) == ((5, 4, 1), (2, 1), (1, 0))


ONE = np.ones((2, 2, 1, 1), dtype=np.int8)


def neurons(*sources):
    return replace(stock_neurons("lif", "", 50), sources=sources)


def looped():
    """Three ways onto the same neurons, two of them back from these after one step and after four."""
    ways = Conv("first", "x", W, (1, 5, 5), padding=(1, 1)), Conv("back", "old", ONE, (2, 5, 5))
    ways += (SumPool("far", "older", (2, 5, 5), (3, 3), (1, 1), (1, 1)),)
    return program_of(
        Delay("old", "lif", 50), Delay("older", "lif", 50, steps=4), *ways, neurons("first", "back", "far")
    )


def tight():
    """Two convolutions one after the other in a loop of one step, which has time for one of Lava's."""
    ways = Conv("first", "old", ONE, (2, 5, 5)), MaxPool("pool", "first", (2, 5, 5), (1, 2), (1, 1), (0, 1))
    ways += (
        Conv("second", "pool", np.ones((2, 2, 1, 2), np.int8), (2, 5, 6)),
        Conv("cut", "x", W, (1, 5, 5), (1, 1), (1, 1)),
    )
    return program_of(Delay("old", "lif", 50), *ways, neurons("second", "cut"))


def late():
    """A convolution beside a longer way, so that it has to wait for that."""
    weights = np.random.default_rng(0).integers(-1, 2, (75, 25)).astype(np.int8)
    layers = Dense("fc", "x", weights[:25]), stock_neurons("early", "fc", 25)
    layers += (
        Dense("on", "early", weights[25:]),
        Conv("skip", "x", weights[:2, :9].reshape(W.shape), (1, 5, 5), padding=(1, 1)),
    )
    return program_of(*layers, neurons("on", "skip"))


@pytest.mark.parametrize(
    ("program", "processes"),
    [
        (looped(), {"first": "Conv", "back": "Conv", "far": "Conv"}),
        (tight(), {"first": "ProgramOperation", "second": "ProgramOperation", "cut": "Conv"}),
        (late(), {"skip": "Conv"}),
    ],
)
def test_convolutions_in_loops_and_beside_longer_ways(program, processes):
    found = placed(program)
    assert {name: found[name].process for name in processes} == processes
    assert all(found[name].stock or found[name].reason.startswith("a loop leaves it no step") for name in processes)


@pytest.mark.lava
def test_every_bit_is_the_same(lava_session):
    processes, values = Counter(), 0
    for seed in range(8):  # 80 were run once
        program, inputs = conv_network(seed, high=(1, 5)[seed % 2])
        expected = assert_equal(program, inputs, lava_session)
        processes.update(placement.process for placement in lava_mapping(program))
        values += sum(len(np.unique(array)) for array in expected.variables.values())
    assert processes["Conv"] >= 20
    assert values > 500
    for program in (looped(), tight(), late()):
        inputs = np.random.default_rng(0).integers(0, 2, (6, 3, 25)).astype(np.int32)
        assert assert_equal(program, inputs, lava_session).spikes()["lif"].any()


@pytest.mark.lava
def test_on_lavas_own_runtime(lava_processes):
    program, inputs = conv_network(1)
    assert_equal(program, inputs, lava_processes)
