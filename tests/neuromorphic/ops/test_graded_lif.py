"""Neurons with graded events: against Python integers, their bounds, their file, their readers, what is refused."""

import numpy as np
import pytest

from neuromorphic import LIF, Dense, Input, Program, Readout, run
from neuromorphic.bounds import prove_ranges
from neuromorphic.compiler.nir.export import to_nir
from neuromorphic.errors import BoundError, CompileError, ProgramError
from neuromorphic.integers.numbers import DECAY_ONE, STATE_MAX
from neuromorphic.ops import GradedLIF, MaxPool, Slots, SpikePool
from neuromorphic.ops.graded_lif import GRADED_RESETS

NUM_STEPS = 30


def saturated(x):
    return max(-STATE_MAX, min(STATE_MAX, x))


def event_of(u, theta, levels):
    """The largest power of two, of those there are, whose multiple of the threshold is below the membrane."""
    return max((1 << i for i in range(levels - 1) if u > theta << i), default=0)


def oracle(op, weights, inputs):
    """Events and membranes of one sample in Python integers."""
    v, out = [0] * op.size, {"spikes": [], "v": []}
    for x in inputs.tolist():
        events = []
        for k in range(op.size):
            theta, held = int(op.threshold[k]), abs(v[k]) * int(op.decay[k]) >> 12
            drive = sum(w * e for w, e in zip(weights[k], x, strict=True)) << op.shift
            u = saturated((held if v[k] >= 0 else -held) + drive + int(op.bias[k]))
            events.append(event_of(u, theta, op.levels))
            after = {"zero": 0, "subtract": u - events[-1] * theta, "none": u}[op.reset]
            v[k] = after if events[-1] else u
        out["spikes"].append(events)
        out["v"].append(list(v))
    return out


def network(seed, *, scale=None, reset=None, levels=None):
    rng = np.random.default_rng(seed)
    inputs, n = int(rng.integers(1, 9)), int(rng.integers(1, 30))
    scale = scale or int(rng.choice([30, 300, 3000, STATE_MAX]))
    lif = GradedLIF(
        name="lif", sources=("w",), decay=rng.integers(0, DECAY_ONE + 1, n), threshold=rng.integers(0, scale, n),
        bias=rng.integers(-scale, scale, n) // 4, shift=int(rng.integers(0, 7)),
        reset=reset or str(rng.choice(GRADED_RESETS)), levels=levels or int(rng.integers(3, 5)),
    )  # fmt: skip
    weights = rng.integers(-60, 128, (n, inputs)).astype(np.int8)
    ops = (
        Input("x", inputs, 0, 3),
        Dense("w", "x", weights),
        lif,
        Dense("out", "lif", rng.integers(-1, 2, (5, n)).astype(np.int8)),
        Readout("y", ("out",), np.zeros(5, dtype=np.int32), 0),
    )
    return Program(ops, num_steps=NUM_STEPS), rng.integers(0, 4, (NUM_STEPS, 2, inputs))


@pytest.mark.parametrize("seed", range(8))
def test_a_network_equals_python_integers(seed):
    program, inputs = network(seed)
    recording = run(program, inputs)
    for b in range(2):
        for name, values in oracle(program["lif"], program["w"].weights.tolist(), inputs[:, b]).items():
            assert recording.variables[f"lif.{name}"][:, b].tolist() == values
    events = recording.variables["lif.spikes"].astype(np.int64)  # the digits that are read are summed exactly
    assert np.array_equal(recording.variables["y.y"], (events @ program["out"].weights.T.astype(np.int64)).cumsum(0))


@pytest.mark.parametrize("levels", [3, 4])
def test_every_event_lies_strictly_above_its_threshold(levels):
    op = GradedLIF("lif", ("w",), [0], [10], [0], 0, "none", levels=levels)
    program = Program((Input("x", 1, 0, 100), Dense("w", "x", [[1]]), op), num_steps=1)
    shown = np.array([0, 10, 11, 20, 21, 40, 41, 100])
    found = run(program, shown.reshape(1, -1, 1)).variables["lif.spikes"][0, :, 0]
    assert found.tolist() == ([0, 0, 1, 1, 2, 2, 2, 2] if levels == 3 else [0, 0, 1, 1, 2, 2, 4, 4])
    assert op.event_range == (0, found.max())


@pytest.mark.parametrize("reset", GRADED_RESETS)
@pytest.mark.parametrize("scale", [30, STATE_MAX])
def test_states_stay_in_their_bounds(reset, scale):
    for seed in range(6):
        program, inputs = network(seed, scale=scale, reset=reset)
        low, high = prove_ranges(program)["lif"].states["v"]
        v = run(program, np.where(inputs > 0, 3, 0)).variables["lif.v"]
        assert (v >= low).all()
        assert (v <= high).all()


def test_a_bound_of_subtracting_counts_what_an_event_takes():
    """Of a current of three thresholds a step, one lasts if an event takes two, none if it may take four."""
    for levels, most in ((3, 20), (4, 20)):
        op = GradedLIF("lif", ("w",), [DECAY_ONE], [10], [0], 0, "subtract", levels=levels)
        program = Program((Input("x", 1, 0, 30), Dense("w", "x", [[1]]), op), num_steps=1000)
        v = run(program, np.full((1000, 1, 1), 30)).variables["lif.v"]
        high = int(prove_ranges(program)["lif"].states["v"][1][0])
        assert v.max() <= high
        assert high == (1000 * (30 - most) + most if levels == 3 else 50)


def test_files_and_rates(tmp_path):
    program, inputs = network(3, levels=4, scale=30)
    program.save(tmp_path / "p.npz")
    back = Program.load(tmp_path / "p.npz")
    assert (back["lif"].levels, back.sha256) == (4, program.sha256)
    recording = run(back, inputs, lengths=[NUM_STEPS, 3])
    own = np.concatenate([recording.variables["lif.spikes"][:, 0], recording.variables["lif.spikes"][:3, 1]])
    assert own.max() > 1
    assert recording.firing_rates()["lif"] == pytest.approx((own != 0).mean())
    assert recording.event_means()["lif"] == pytest.approx(own.mean())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"levels": 2}, r"lif: levels must be an integer in 3..4, got 2"),
        ({"levels": True}, r"lif: levels must be an integer in 3..4, got True"),
        ({"reset": "zero_delayed"}, r"lif: reset must be one of zero, subtract, none, got 'zero_delayed'"),
    ],
)
def test_fields_are_checked(changes, text):
    fields = {"decay": [0], "threshold": [1], "bias": [0], "levels": 3}
    with pytest.raises(ProgramError, match=text):
        GradedLIF(name="lif", sources=("w",), shift=0, **{**fields, **changes})


def test_what_takes_spikes_alone_refuses_graded_events():
    program, _ = network(1)
    *before, lif = program.ops[:3]
    keys = np.ones((2, lif.size), dtype=np.int8)
    pool = {"input_shape": (1, 1, lif.size), "kernel": (1, 1), "stride": (1, 1)}
    run(Program((*before, lif, MaxPool("pool", "lif", **pool)), num_steps=2), np.zeros((2, 1, before[0].size), int))
    for reader in (Slots("slots", "lif", keys=keys, gain=1, shift=0), SpikePool("pool", "lif", **pool)):
        with pytest.raises(BoundError, match=r"must give spikes, 0 or 1, got events in 0"):
            prove_ranges(Program((*before, lif, reader), num_steps=2))
    assert isinstance(lif, LIF)
    with pytest.raises(CompileError, match=r"lif: no node of NIR gives graded events, of \d levels"):
        to_nir(program)
