"""Executors equal the reference: every spike and every state, each on every operation, Lava on random programs too."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lava_fixtures import assert_equal
from neuromorphic import LIF, Dense, Input, Program, Readout, compare, run, verify
from neuromorphic.errors import CompileError
from neuromorphic.executors import EXECUTORS
from neuromorphic.executors.lava.mapping import lava_mapping
from neuromorphic.integers.numbers import STATE_MAX
from neuromorphic.integers.resets import RESETS
from random_programs import random_inputs, random_program

pytestmark = pytest.mark.lava

# T and B, some 200 steps through Lava each; T=1 clears the state on every step.
SHAPES = ((200, 1), (100, 2), (40, 5), (8, 25), (3, 67), (1, 200))
SEEDS = range(54)
SEEDS_ON_PROCESSES = range(100, 106)


def lava_program(seed):
    """A random program that Lava can hold, and its inputs."""
    rng = np.random.default_rng(seed)
    num_steps, batch = SHAPES[seed % len(SHAPES)]
    while True:
        program = random_program(rng, num_steps=num_steps, max_layers=3)
        try:
            lava_mapping(program)
        except CompileError:
            continue
        return program, random_inputs(program, rng, batch)


def _process(op, placement):
    """Name the process of Lava's, or the operation that runs its own step."""
    return f"own {type(op).__name__}" if placement.process == "ProgramOperation" else placement.process


def test_random_programs(lava_session):
    processes, reasons, edges, resets = Counter(), Counter(), Counter(), Counter()
    spikes = values = 0
    for seed in SEEDS:
        program, inputs = lava_program(seed)
        expected = assert_equal(program, inputs, lava_session)
        placed = {placement.op: placement for placement in lava_mapping(program)}
        process = {name: _process(program[name], placement) for name, placement in placed.items()}
        processes.update(process.values())
        reasons.update(placement.reason.split(",")[0] for placement in placed.values() if not placement.stock)
        resets.update(op.reset for op in program.of_type(LIF))
        for name, array in expected.variables.items():
            if name.endswith(".spikes"):
                spikes, values = spikes + int(array.sum()), values + array.size
            else:
                where = process[name.rsplit(".", 1)[0]]
                edges[where, "high"] += int((array == STATE_MAX).sum())
                edges[where, "low"] += int((array == -STATE_MAX).sum())
    assert len(SEEDS) >= 50
    assert min(processes[name] for name in ("LIFReset", "own LIF", "Dense", "DelayDense", "own Readout")) >= 25
    assert set(resets) == set(RESETS)
    assert {"decay differs between neurons", "threshold differs between neurons"} <= set(reasons)
    assert 0.05 < spikes / values < 0.95
    # Lava's own LIF meets its upper limit only where it spikes, and is reset in that step.
    wanted = [("own LIF", "high"), ("own LIF", "low"), ("LIFReset", "low"), ("own Readout", "high")]
    assert all(edges[where] > 0 for where in wanted), edges


@pytest.mark.parametrize("seed", SEEDS_ON_PROCESSES)
def test_random_programs_on_lavas_own_runtime(seed, lava_processes):
    program, inputs = lava_program(seed)
    assert len(SEEDS_ON_PROCESSES) >= 6
    expected = assert_equal(program, inputs, lava_processes)
    assert any(array.any() for array in expected.variables.values())


# The conformance table: op x executor. A program for each operation and for each way it is placed on Lava.
def _one(op_lif=None, *, dense=None, low=0, high=1, readout=None, shift=6, **lif):
    ones = np.ones(4, dtype=np.int32)
    weights = dense if dense is not None else np.array([[1, 0, -1], [1, 1, 1], [0, 1, 0], [-1, -1, 1]], dtype=np.int8)
    ops = [Input("x", 3, low=low, high=high), Dense("fc", "x", weights)]
    if readout is None:
        arguments = {"decay": 3686 * ones, "threshold": 64 * ones, "bias": 0 * ones, "shift": shift, **lif}
        ops.append(LIF("lif", ("fc",), **arguments))
    else:
        ops.append(Readout("readout", ("fc",), bias=readout * ones, shift=2))
    return Program(tuple(ops), num_steps=20)


def _skip():
    ones = np.ones(2, dtype=np.int32)
    weights = np.array([[1, -1], [1, 1]], dtype=np.int8)
    lif = {"decay": 4000 * ones, "threshold": 64 * ones, "bias": 64 * ones, "shift": 6}
    return Program(
        (
            Input("x", 2, low=-128, high=127),
            Dense("fc1", "x", weights),
            LIF("lif1", ("fc1",), **lif),
            Dense("fc2", "lif1", weights),
            LIF("lif2", ("fc2", "fc1"), **lif),  # fc1 is read at two depths
            Dense("fc3", "lif2", weights),
            Dense("skip", "x", 100 * weights),
            Readout("readout", ("fc3", "skip", "fc1"), bias=3 * ones, shift=0),
        ),
        num_steps=20,
    )


MIXED = np.array([[127, -127, 3], [5, 0, -9], [1, 1, 1], [-2, 4, 6]], dtype=np.int8)
TABLE = {
    "ternary synapses": (_one(), {"fc": "Dense"}),
    "8-bit synapses": (_one(dense=MIXED), {"fc": "Dense"}),
    "positive synapses": (_one(dense=np.abs(MIXED)), {"fc": "Dense"}),
    "negative synapses": (_one(dense=-np.abs(MIXED)), {"fc": "Dense"}),
    "zero synapses": (_one(dense=0 * MIXED), {"fc": "Dense"}),
    "graded inputs": (_one(low=-128, high=127), {"x": "RingBuffer"}),
    "16-bit inputs": (_one(dense=MIXED, low=-(1 << 15), high=1 << 15, shift=0), {"lif": "ProgramOperation"}),
    "delayed synapses": (_skip(), {"fc1": "DelayDense", "skip": "DelayDense", "fc2": "Dense"}),
    "reset zero": (_one(), {"lif": "LIFReset"}),
    "reset zero, bias": (_one(bias=np.array([-64, 3, 0, 4095], dtype=np.int32) << 7), {"lif": "LIFReset"}),
    "per-neuron threshold": (
        _one(threshold=np.array([0, 64, 128, 192], dtype=np.int32)),
        {"lif": "ProgramOperation"},
    ),
    "per-neuron decay": (_one(decay=np.array([0, 1, 4095, 4096], dtype=np.int32)), {"lif": "ProgramOperation"}),
    "reset subtract": (_one(reset="subtract"), {"lif": "ProgramOperation"}),
    "reset subtract_snntorch": (_one(reset="subtract_snntorch"), {"lif": "ProgramOperation"}),
    "reset none": (_one(reset="none"), {"lif": "ProgramOperation"}),
    "read-out": (_one(readout=-7), {"readout": "ProgramOperation"}),
    "saturating read-out": (_one(readout=STATE_MAX // 3), {"readout": "ProgramOperation"}),
}


@pytest.mark.parametrize(
    "executor", [name for name, entry in EXECUTORS.items() if name != "numpy" and "LIF" not in entry.lacks]
)
@pytest.mark.parametrize("name", TABLE)
def test_operation(name, executor, request):
    program, placed = TABLE[name]
    processes = {placement.op: placement.process for placement in lava_mapping(program)}
    assert placed.items() <= processes.items()
    rng = np.random.default_rng(len(name))
    inputs = rng.integers(program.input.low, program.input.high + 1, (20, 3, program.input.size))
    if executor == "lava":
        expected = assert_equal(program, inputs, request.getfixturevalue("lava_session"))
    else:
        comparison, expected, _ = verify(program, inputs, executor)
        assert comparison.equal, str(comparison.first)
    assert any(array.any() for array in expected.variables.values()) == (name != "zero synapses")


def test_inputs_held_for_all_steps_and_a_single_step(lava_session):
    program = _skip()
    assert_equal(program, np.array([[5, -3], [0, 1], [127, -128]]), lava_session)
    assert_equal(program, np.array([[[5, -3], [0, 1]]]), lava_session)


def test_samples_are_independent_of_their_neighbours(lava_session):
    program = _skip()
    rng = np.random.default_rng(0)
    inputs = program.prepare_inputs(rng.integers(-128, 128, (20, 5, 2)))
    together = lava_session.execute(program, inputs)
    alone = [lava_session.execute(program, inputs[:, k : k + 1]) for k in range(5)]
    for name, array in together.variables.items():
        np.testing.assert_array_equal(array, np.concatenate([one.variables[name] for one in alone], axis=1))


def test_networks_are_split_where_the_inputs_are_many(lava_session):
    # 2**24 input values make a network; a wide input reaches that with few samples.
    program = Program(
        (
            Input("x", 1 << 20),
            Dense("fc", "x", np.ones((1, 1 << 20), dtype=np.int8)),
            Readout("readout", ("fc",), bias=np.array([1], dtype=np.int32), shift=0),
        ),
        num_steps=4,
    )
    inputs = np.zeros((4, 5, 1 << 20), dtype=np.int32)
    inputs[:, np.arange(5), np.arange(5)] = 1
    seen = []
    recording = lava_session.execute(program, inputs, progress=lambda done, total: seen.append((done, total)))
    assert recording.metadata["steps"] == 5 * 4 + 2  # a network of four samples and one of one, each a step late
    assert seen[-1] == (22, 22)
    np.testing.assert_array_equal(recording.variables["readout.y"][:, :, 0], np.arange(2, 10, 2)[:, None].repeat(5, 1))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("lif1", lambda op: replace(op, threshold=op.threshold + np.int32(64))),
        ("lif1", lambda op: replace(op, decay=op.decay - np.int32(40))),
        ("lif1", lambda op: replace(op, bias=-op.bias)),
        ("fc2", lambda op: replace(op, weights=-op.weights)),
        ("skip", lambda op: replace(op, weights=op.weights - np.int8(1))),
        ("readout", lambda op: replace(op, bias=op.bias + np.int32(1))),
    ],
)
def test_a_changed_parameter_is_noticed(name, change, lava_session):
    """The comparison can fail: one parameter changed for Lava, and the divergence names where it starts."""
    program = _skip()
    changed = Program(tuple(change(op) if op.name == name else op for op in program.ops), num_steps=20)
    inputs = program.prepare_inputs(np.random.default_rng(1).integers(-2, 3, (20, 4, 2)))
    comparison = compare(run(program, inputs), lava_session.execute(changed, inputs))
    assert comparison.spikes_different + comparison.states_different > 0
    readers = {"fc2": "lif2", "skip": "readout"}
    assert comparison.first is not None
    assert comparison.first.op == readers.get(name, name)
