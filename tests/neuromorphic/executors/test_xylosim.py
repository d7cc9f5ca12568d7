"""SynSense's simulator of Xylo against the reference, and what a program must be to run there."""

import numpy as np
import pytest

import same
from neuromorphic import Dense, Input, Program, run
from neuromorphic.errors import CompileError, ExecutorError
from neuromorphic.executors.xylosim.network import xylo_network
from neuromorphic.ops import Delay, XyloLIF
from ready import require
from xylo_nets import xylo_program

RANDOM = 500


@pytest.fixture
def installed():
    require("xylosim")


def test_random_networks_are_equal(installed):
    """Biases, loops, up to 31 spikes, two populations, and sums that saturate: 0 of a million values differ."""
    values = spikes = saturated = 0
    for seed in range(RANDOM):
        program, inputs = xylo_program(seed, most_hidden=24)
        found = same.assert_equal(program, inputs[:30, :1], "xylosim")
        values += sum(array.size for array in found.variables.values())
        spikes += sum(int(array.sum()) for array in found.spikes().values())
        saturated += any((np.abs(array.astype(int)) >= 32767).any() for array in found.variables.values())
    assert values > 700_000
    assert spikes > 700_000
    assert saturated > 100


def test_samples_start_from_rest(installed):
    program, inputs = xylo_program(5)
    both = run(program, inputs, "xylosim").variables
    for b in range(2):
        alone = run(program, inputs[:, b : b + 1], "xylosim").variables
        for name, values in alone.items():
            assert np.array_equal(values[:, 0], both[name][:, b])


def test_without_the_simulator_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xylosim", None)
    monkeypatch.setitem(__import__("sys").modules, "xylosim.v2", None)
    with pytest.raises(ExecutorError, match="executor 'xylosim' needs xylosim.*: pip install xylosim"):
        run(*xylo_program(0), "xylosim")


def neurons(name, sources, widths, *, most_spikes=31, size=2):
    each = np.ones(size, dtype=np.int32)
    weights = np.ones((size, sum(widths)), dtype=np.int8)
    return XyloLIF(name, sources, widths, weights, each, each, 9 * each, 0 * each, most_spikes=most_spikes)


def program(*ops, high=15, low=0):
    return Program((Input("x", 3, low, high), *ops), num_steps=4)


HIDDEN, LATE = neurons("h", ("x",), (3,)), Delay("late", "h", 2)
OUT = neurons("o", ("late",), (2,), most_spikes=1)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (program(LATE, HIDDEN, OUT, high=16), r"x: Xylo takes 0 to 15 events of a channel in a step, got 0\.\.16"),
        (program(LATE, HIDDEN, OUT, low=-1), r"x: Xylo takes 0 to 15 events of a channel in a step, got -1\.\.15"),
        (program(Dense("w", "x", np.eye(3, dtype=np.int8))), "w: a Dense has no place on Xylo, .*to_xylo makes"),
        (
            program(LATE, HIDDEN, neurons("o", ("late",), (2,), most_spikes=3)),
            r"o: most_spikes must be 31 \(hidden neurons\) or 1 \(output neurons\) on Xylo, got 3",
        ),
        (program(HIDDEN), "program: Xylo has hidden and output neurons, and there are no output ones"),
        (
            program(neurons("o", ("x",), (3,), most_spikes=1)),
            "and there are no hidden ones: XyloLIF with most_spikes 31",
        ),
        (
            program(HIDDEN, neurons("o", ("h",), (2,), most_spikes=1)),
            "o: on Xylo output neurons read hidden neurons one step late, .* Delay of 1; 'h' is 'h', 0 steps late",
        ),
        (
            program(Delay("late", "h", 2, 2), HIDDEN, OUT),
            "through a Delay of 1; 'late' is 'h', 2 steps late",
        ),
        (
            program(LATE, HIDDEN, neurons("o", ("x", "late"), (3, 2), most_spikes=1)),
            "o: on Xylo output neurons read .* 'x' is 'x', 0 steps late",
        ),
        (
            program(LATE, Delay("last", "o", 2), neurons("h", ("x", "last"), (3, 2)), OUT),
            "h: on Xylo hidden neurons read the input at once, .*'last' is 'o', an output neuron, 1 step late",
        ),
        (
            program(LATE, neurons("h", ("late", "x"), (2, 3)), OUT),
            "h: Xylo delivers the input first, .*; the sources late, x are in another order",
        ),
        (
            program(LATE, Delay("b_late", "b", 2), HIDDEN, neurons("b", ("b_late", "late"), (2, 2)), OUT),
            "b: Xylo delivers the input first, .*; the sources b_late, late are in another order",
        ),
    ],
)
def test_a_program_that_xylo_is_not_wired_for_is_refused(made, message):
    with pytest.raises(CompileError, match=message):
        xylo_network(made)


def test_the_registry_asks_the_network(installed):
    made = program(Dense("w", "x", np.eye(3, dtype=np.int8)))
    with pytest.raises(ExecutorError, match=r"executor 'xylosim' lacks Dense \(of w\); run it on numpy"):
        run(made, np.zeros((4, 1, 3), dtype=int), "xylosim")
    with pytest.raises(CompileError, match="no output ones"):
        run(program(HIDDEN), np.zeros((4, 1, 3), dtype=int), "xylosim")


def test_a_population_finds_its_place():
    network = xylo_network(program(LATE, Delay("b_late", "b", 2), HIDDEN, neurons("b", ("late",), (2,)), OUT))
    assert network.places == {"h": slice(0, 2), "b": slice(2, 4), "o": slice(0, 2)}
    assert network.recurrent.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0] * 4, [0] * 4]
    assert network.where(3) == "b: neuron 1"
    assert network.where(1, is_output=True) == "o: neuron 1"
