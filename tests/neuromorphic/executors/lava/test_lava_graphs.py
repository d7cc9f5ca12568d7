"""Every operation, loops included, on Lava: random programs, 0 spikes and states different."""

import os

import numpy as np
import pytest

from lava_fixtures import assert_equal
from neuromorphic import LIF, Dense, Input, Program, Readout
from neuromorphic.executors.lava.mapping import Layout
from neuromorphic.ops import Delay, Scale
from programs import REPEATED, repeated_sources
from random_graphs import OPERATIONS, random_graph
from random_programs import random_inputs

NUM_PROGRAMS = 200 if os.environ.get("PNBX_LONG") else 80


def test_random_programs_of_every_operation(lava_session):
    seen, moved, spikes = set(), set(), 0
    for seed in range(NUM_PROGRAMS):
        rng = np.random.default_rng(seed)
        program = random_graph(rng)
        recording = assert_equal(program, random_inputs(program, rng, 2), lava_session)
        seen |= {type(op).__name__ for op in program.ops}
        moved |= {name.rsplit(".", 1)[1] for name, array in recording.variables.items() if array.any()}
        spikes += sum(int(array.sum()) for array in recording.spikes().values())
    assert seen == OPERATIONS  # test_conformance.py draws the others
    assert moved == {"spikes", "v", "y", "s", "re", "im", "F", "key", "winner", "read", "E", "offset"}
    assert spikes > 250 * NUM_PROGRAMS


def _recurrent(steps: int, *, through_two: bool) -> Program:
    """A layer that hears itself ``steps`` later, or a layer that hears the one behind it."""
    rng = np.random.default_rng(0)
    weights = lambda rows, columns: rng.integers(-1, 2, (rows, columns)).astype(np.int8)  # noqa: E731
    lif = lambda name, *sources: LIF(  # noqa: E731
        name, sources, np.full(6, 3600, np.int32), np.full(6, 60, np.int32), np.full(6, 30, np.int32), shift=6
    )
    ops = [Input("x", 4, low=-3, high=3), Dense("fc", "x", weights(6, 4)), Delay("back", "last", 6, steps)]
    ops.append(Dense("loop", "back", weights(6, 6)))
    if through_two:
        ops += [lif("first", "fc", "loop"), Dense("up", "first", weights(6, 6)), lif("last", "up")]
    else:
        ops.append(lif("last", "fc", "loop"))
    ops.append(Dense("out", "last", weights(3, 6)))
    ops.append(Readout("readout", ("out",), bias=np.zeros(3, dtype=np.int32), shift=2))
    return Program(tuple(ops), num_steps=20)


@pytest.mark.parametrize(
    ("steps", "through_two", "process"), [(1, False, "Dense"), (1, True, "ProgramOperation"), (2, True, "Dense")]
)
def test_a_loop_uses_stock_synapses_where_it_has_the_time(steps, through_two, process, lava_session):
    program = _recurrent(steps, through_two=through_two)
    assert Layout(program).placements["loop"].process == process
    inputs = np.random.default_rng(1).integers(-3, 4, (20, 5, 4))
    recording = assert_equal(program, inputs, lava_session)
    assert 0.05 < recording.variables["last.spikes"].mean() < 0.8


def test_a_loop_hears_nothing_of_the_sample_before(lava_session):
    program = _recurrent(1, through_two=False)
    inputs = program.prepare_inputs(np.random.default_rng(1).integers(-3, 4, (20, 4, 4)))
    together = lava_session.execute(program, inputs)
    for k in range(4):
        alone = lava_session.execute(program, inputs[:, k : k + 1])
        for name, array in alone.variables.items():
            np.testing.assert_array_equal(array, together.variables[name][:, k : k + 1])


@pytest.mark.parametrize("sources", REPEATED)
def test_a_source_that_is_heard_twice_counts_twice(sources, lava_session):
    """Lava refuses a second connection of the same two ports."""
    recording = assert_equal(*repeated_sources(sources), lava_session)
    assert recording.variables["lif.spikes"].any()


def test_what_comes_early_waits(lava_session):
    """A path without synapses beside one with two: values wait in a process, and a long wait works too."""
    one = np.ones(3, dtype=np.int32)
    eye = np.eye(3, dtype=np.int8)
    ops = [Input("x", 3, low=-9, high=9), Scale("skip", "x", 2 * one)]
    source = "x"
    for i in range(70):  # more steps than Lava's synapses can wait
        ops += [Dense(f"fc{i}", source, eye), LIF(f"lif{i}", (f"fc{i}",), 0 * one, 0 * one, 0 * one, shift=0)]
        source = f"lif{i}"
    ops += [Dense("late", source, eye), Dense("early", "x", eye)]
    ops.append(Readout("readout", ("late", "skip", "early"), bias=0 * one, shift=0))
    program = Program(tuple(ops), num_steps=6)
    assert Layout(program).depth["readout"] == 71
    assert_equal(program, np.random.default_rng(0).integers(-9, 10, (6, 2, 3)), lava_session)
