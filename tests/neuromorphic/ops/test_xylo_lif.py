"""Xylo's neurons: Python integers that deliver event by event, proven ranges, and when the order says nothing."""

import numpy as np
import pytest

import same
from lava_fixtures import assert_equal
from neuromorphic import Dense, Input, Program, prove, run
from neuromorphic.errors import ProgramError
from neuromorphic.ops import Delay, ShiftLIF, XyloLIF
from xylo_nets import xylo_program


def sat16(x):
    return max(-32768, min(32767, x))


def wrap16(x):
    return (x + 32768) % 65536 - 32768


def part(x, shift):
    """What leaks: ``x >> shift``, at least one toward zero."""
    found = x >> shift
    return found or (x > 0) - (x < 0)


def oracle(program, inputs):
    """Every spike of every source on its own, in Python integers of 16 bits: spikes, currents and membranes."""
    neurons = {op.name: op for op in program.of_type(XyloLIF)}
    i, v, spikes = ({name: [0] * op.size for name, op in neurons.items()} for _ in range(3))
    out = {f"{name}.{variable}": [] for name in neurons for variable in ("spikes", "i", "v")}
    delays = {op.name: op.source for op in program.of_type(Delay)}
    for x in inputs.tolist():
        before = {"x": x, **{name: spikes[source] for name, source in delays.items()}}
        after = {}
        for name, op in neurons.items():
            counts = [count for source in op.sources for count in before[source]]
            weights = op.weights.tolist()
            after[name] = []
            for k in range(op.size):
                for j, count in enumerate(counts):
                    for _ in range(count):
                        i[name][k] = sat16(i[name][k] + weights[k][j])
                i[name][k] -= part(i[name][k], int(op.synapse_shift[k]))
                change = wrap16(-part(v[name][k], int(op.membrane_shift[k])))
                change = sat16(sat16(change + i[name][k]) + int(op.bias[k]))
                u, count = sat16(v[name][k] + change), 0
                while u >= int(op.threshold[k]) and count < op.most_spikes:
                    u, count = u - int(op.threshold[k]), count + 1
                v[name][k] = u
                after[name].append(count)
        spikes = after
        for name in neurons:
            for variable, values in (("spikes", spikes), ("i", i), ("v", v)):
                out[f"{name}.{variable}"].append(list(values[name]))
    return out


@pytest.mark.parametrize("seed", range(12))
def test_a_network_equals_python_integers(seed):
    program, inputs = xylo_program(seed, most_hidden=8)
    recording = run(program, inputs)
    for b in range(2):
        for name, values in oracle(program, inputs[:, b]).items():
            assert recording.variables[name][:, b].tolist() == values, name


@pytest.mark.parametrize("executor", ["native", "torch", "c", "onnxruntime", "openvino"])
def test_executors_run_it_by_its_step(executor):
    for seed in range(6):
        program, inputs = xylo_program(seed, most_hidden=12)
        same.assert_equal(program, inputs, executor)


@pytest.mark.lava
def test_lava_runs_it_by_its_step(lava_session):
    program, inputs = xylo_program(4, most_hidden=6)
    assert_equal(program, inputs[:12, :1], lava_session)


def one(weights, *, synapse_shift=1, membrane_shift=1, threshold=32767, bias=0, most_spikes=31, high=15):
    """One neuron that reads an input of several channels."""
    each = (np.array([n]) for n in (synapse_shift, membrane_shift, threshold, bias))
    weights = np.array([weights], dtype=np.int8)
    neuron = XyloLIF("lif", ("x",), weights.shape[1:], weights, *each, most_spikes=most_spikes)
    return Program((Input("x", weights.shape[1], 0, high), neuron), num_steps=40)


def test_the_order_of_events_matters_where_a_sum_saturates():
    x = np.full((40, 1, 80), 15)
    ups, downs = [127] * 40, [-127] * 40
    for weights, last in ((ups + downs, -16384), (downs + ups, 16384)):
        # The first half drives the current to its limit and the second to the other one, half of which leaks.
        program = one(weights, synapse_shift=1)
        assert run(program, x).variables["lif.i"][-1, 0, 0] == last
        assert prove(program)[0].can_saturate


def test_several_events_of_a_source_are_one_sum():
    single, joint = (run(one(weights, high=15), np.array(x)) for weights, x in (
        ([100, 100, 100], [[[15, 0, 15]]] * 40), ([100, 100, 100], [[[15, 15, 0]]] * 40),
    ))  # fmt: skip
    assert np.array_equal(single.variables["lif.v"], joint.variables["lif.v"])


@pytest.mark.parametrize("executor", ["native", "torch", "c", "onnxruntime", "openvino"])
def test_a_fall_of_minus_32768_is_itself(executor):
    """A membrane of -32768 that leaks whole: 16 bits hold no 32768, and the simulator subtracts twice."""
    quiet = np.zeros((40, 1, 16), dtype=int)
    quiet[0] = 15
    program = one([-128] * 16, synapse_shift=1, membrane_shift=0, bias=-17500)
    v = same.assert_equal(program, quiet, executor).variables["lif.v"][:, 0, 0]
    assert v[0] == -32768
    assert v[1] == -32768  # not i + bias, which is -25180


def test_without_saturation_it_is_a_dense_and_a_shift_lif():
    rng = np.random.default_rng(0)
    calm = spikes = 0
    for _ in range(40):
        n, width = (int(size) for size in rng.integers(1, 6, 2))
        weights = rng.integers(-60, 61, (n, width)).astype(np.int8)
        neurons = [rng.integers(0, 5, n), rng.integers(0, 5, n), rng.integers(1, 900, n), rng.integers(-40, 41, n)]
        most, entry = int(rng.choice([1, 31])), Input("x", width, 0, 3)
        ordered = Program((entry, XyloLIF("lif", ("x",), (width,), weights, *neurons, most)), num_steps=80)
        summed = Program((entry, Dense("w", "x", weights), ShiftLIF("lif", ("w",), *neurons, most)), num_steps=80)
        inputs = np.concatenate([rng.integers(0, 4, (40, 2, width)), np.full((40, 2, width), 3)])
        (bound,), found = prove(ordered), run(ordered, inputs)
        if bound.can_saturate:
            continue
        calm += 1
        spikes += int(found.variables["lif.spikes"].sum())
        expected = run(summed, inputs)
        for name, values in expected.variables.items():
            assert np.array_equal(found.variables[name], values)
        states = ordered["lif"].bound([(np.zeros(width, dtype=int), np.full(width, 3))], 80).states
        for name, (low, high) in states.items():
            values = found.variables[f"lif.{name}"]
            assert (values >= low).all()
            assert (values <= high).all()
    assert calm > 12
    assert spikes > 300


def test_the_bound_is_reached():
    """A current that leaks an eighth and gets 100 a step settles just below 8 * 101."""
    program = one([100], synapse_shift=3, membrane_shift=2, high=1)
    ranges = program["lif"].bound([(np.array([0]), np.array([1]))], 10_000)
    assert not ranges.saturates
    i = run(program, np.ones((400, 1, 1), dtype=int)).variables["lif.i"]
    assert ranges.states["i"][1][0] == 8 * 101 - 1 - 100 == i.max() + 7


def test_a_program_is_the_same_after_a_file(tmp_path):
    program, _ = xylo_program(3)
    program.save(tmp_path / "p.npz")
    assert Program.load(tmp_path / "p.npz").sha256 == program.sha256


def test_what_is_refused():
    small = np.ones(1, dtype=np.int32)
    good = {"sources": ("x",), "widths": (2,), "weights": np.zeros((1, 2), dtype=np.int8), "synapse_shift": small}
    good |= {"membrane_shift": small, "threshold": small, "bias": small}
    for changes, message in (
        ({"threshold": 0 * small}, "lif: threshold must lie in 1..32767, got 0..0"),
        ({"synapse_shift": 16 * small}, "lif: synapse_shift must lie in 0..15, got 16..16"),
        ({"bias": 32768 * small}, "lif: bias must lie in -32768..32767, got 32768..32768"),
        ({"most_spikes": 32}, "lif: most_spikes must be an integer in 1..31, got 32"),
        ({"sources": ()}, r"lif: sources must be one or more, each once, got \[\]"),
        ({"sources": ("x", "x"), "widths": (1, 1)}, "lif: sources must be one or more, each once"),
        ({"widths": (3,)}, r"lif: weights must be \[1, 3\], a row for each neuron .* got \[1, 2\]"),
        ({"widths": (1, 1)}, "lif: widths must be 1 integers in 1..16777216"),
        ({"weights": np.full((1, 2), 128)}, "lif: weights must lie in -128..127, got 128..128"),
    ):
        with pytest.raises(ProgramError, match=message):
            XyloLIF("lif", **{**good, **changes})
    with pytest.raises(ProgramError, match="lif: source 'w' must give events of size 2, got values of size 2"):
        Program(
            (Input("x", 2), Dense("w", "x", np.eye(2, dtype=np.int8)), XyloLIF("lif", **{**good, "sources": ("w",)})), 4
        )
