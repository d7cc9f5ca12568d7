"""Several operations in one Lava process: the same recordings, from fewer processes."""

from pathlib import Path

import numpy as np
import pytest

from lava_fixtures import assert_same
from neuromorphic import LIF, Dense, Input, Program, Readout, run
from neuromorphic.errors import ExecutorError
from neuromorphic.executors.lava.grouping import PROCESSES, groups_of
from neuromorphic.ops import Delay, Scale
from random_graphs import random_graph
from random_networks import random_network
from random_programs import random_inputs, random_program

GROUPED = [word for word in PROCESSES if word != "operation"]
GOLDEN = Path(__file__).parents[3] / "golden" / "programs"


def layers(*, back=0, values=False):
    """Two layers of neurons; the first hears the second ``back`` steps later, the second values of the first's."""
    rng = np.random.default_rng(0)
    weights = lambda rows, columns: rng.integers(-1, 2, (rows, columns)).astype(np.int8)  # noqa: E731
    lif = lambda name, *sources: LIF(  # noqa: E731
        name, sources, np.full(6, 3600, np.int32), np.full(6, 60, np.int32), np.full(6, 30, np.int32), shift=5
    )
    loop = [Delay("back", "second", 6, back), Dense("loop", "back", weights(6, 6))] if back else []
    passed = [Scale("passed", "fc", np.full(6, 300, np.int32), shift=8)] if values else []
    ops = [Input("x", 4, low=-3, high=3), Dense("fc", "x", weights(6, 4)), *passed, *loop]
    ops += [lif("first", "fc", *(op.name for op in loop[1:])), Dense("up", "first", weights(6, 6))]
    ops += [lif("second", "up", *(op.name for op in passed)), Dense("out", "second", weights(3, 6))]
    return Program((*ops, Readout("y", ("out",), np.zeros(3, dtype=np.int32), shift=2)), num_steps=20)


def names(program, processes="block"):
    return [[op.name for op in group.ops] for group in groups_of(program, processes)]


def test_a_block_ends_with_neurons_that_send_nothing_but_spikes():
    assert names(layers()) == [["fc", "first"], ["up", "second"], ["out", "y"]]
    assert names(layers(values=True)) == [["fc", "passed", "first", "up", "second"], ["out", "y"]]
    assert len(names(layers(), "one")) == 1


def test_what_comes_back_is_heard_late():
    first, second, last = groups_of(layers(back=2), "block")
    assert [op.name for op in first.ops] == ["fc", "back", "loop", "first"]
    assert (first.heard, first.heard_late, first.sent) == (("x",), ("second",), ("first",))
    assert (second.heard, second.heard_late, second.sent) == (("first",), (), ("second",))
    assert (last.heard, last.sent) == (("second",), ())


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("pnbx_whole", ["encoder", "block1", "readout"]),
        ("pnbx_spiking_rnn", ["encoder", "block1", "readout"]),
        ("pnbx_two_blocks", ["encoder", "block1", "block2", "readout"]),
    ],
)
def test_blocks_of_a_network_are_its_blocks(name, ends):
    program = Program.load(GOLDEN / f"{name}.npz")
    groups = groups_of(program, "block")
    assert [group.name for group in groups] == ends
    assert [op for group in groups for op in group.ops] == list(program.ops[1:])


@pytest.mark.lava
@pytest.mark.parametrize("processes", GROUPED)
def test_random_programs_of_every_operation(processes, lava_session):
    draws = (random_graph, random_network, lambda rng: random_program(rng, num_steps=20, max_layers=4))
    several = late = spikes = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        program = draws[seed % len(draws)](rng)
        inputs = random_inputs(program, rng, 3)
        expected = run(program, inputs)
        got = lava_session.execute(program, program.prepare_inputs(inputs), processes=processes)
        assert_same(expected, got)
        groups = groups_of(program, processes)
        assert got.metadata["processes"] == 1 + len(groups)
        several, late = several + (len(groups) > 1), late + sum(bool(group.heard_late) for group in groups)
        spikes += sum(int(array.sum()) for array in expected.spikes().values())
    assert spikes > 5_000
    if processes == "block":
        assert several > 12
        assert late > 1


@pytest.mark.lava
@pytest.mark.parametrize("back", [1, 2, 30])
@pytest.mark.parametrize("processes", GROUPED)
def test_a_loop_between_blocks_keeps_its_steps(back, processes, lava_processes):
    """Samples of 20 steps, in Lava's own runtime; what comes back after 30 never arrives."""
    program, inputs = layers(back=back), np.random.default_rng(1).integers(-3, 4, (20, 5, 4))
    expected = run(program, inputs)
    assert_same(expected, lava_processes.execute(program, program.prepare_inputs(inputs), processes=processes))
    assert 0.02 < expected.variables["second.spikes"].mean() < 0.9
    silent = run(layers(back=30), inputs).variables["first.v"]
    assert np.array_equal(expected.variables["first.v"], silent) == (back == 30)


@pytest.mark.lava
def test_a_network_takes_a_process_a_block(lava_processes):
    program = Program.load(GOLDEN / "pnbx_whole.npz")
    inputs = np.random.default_rng(0).integers(-128, 128, (program.num_steps, 3, program.input.size))
    expected = run(program, inputs)
    counts = {}
    for processes in PROCESSES:
        got = lava_processes.execute(program, program.prepare_inputs(inputs), processes=processes)
        assert_same(expected, got)
        assert got.metadata["process_of"] == processes
        counts[processes] = got.metadata["processes"]
    assert counts == {"operation": 45, "block": 4, "one": 2}


@pytest.mark.lava
def test_another_word_is_refused(lava_session):
    program = layers()
    with pytest.raises(ExecutorError, match="lava: processes must be one of operation, block, one, got 'two'"):
        lava_session.execute(program, program.prepare_inputs(np.zeros((1, 4), dtype=np.int8)), processes="two")
