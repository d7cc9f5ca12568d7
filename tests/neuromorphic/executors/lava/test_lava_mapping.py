"""Which Lava process runs what, checked against Lava's own rules written out here; no Lava needed."""

import numpy as np
import pytest

from neuromorphic import LIF, Dense, Input, Program, Readout
from neuromorphic.executors.lava.mapping import (
    MAX_DELAY,
    Layout,
    bias_mantissa,
    lava_mapping,
    stock_lif_arguments,
    synapse_arguments,
)
from neuromorphic.integers.numbers import DECAY_ONE, INT32_MAX, STATE_MAX
from neuromorphic.ops import Delay
from programs import small_program
from random_programs import random_program
from steps import dense, lif_step

ONE = np.ones(2, dtype=np.int32)
WEIGHTS = np.array([[1, 0, -1], [1, 1, 0]], dtype=np.int8)


def lif(name="lif", sources=("fc",), **changes):
    return LIF(name, sources, **{"decay": 3686 * ONE, "threshold": 64 * ONE, "bias": 0 * ONE, "shift": 6, **changes})


def program_of(op, *, weights=WEIGHTS, low=0, high=1, shift=0):
    return Program((Input("x", 3, low=low, high=high), Dense("fc", "x", weights, shift=shift), op), num_steps=4)


def lava_sum(arguments, events):
    """Lava 0.10 ``Dense`` in mixed mode: clip, drop low bits, sum in int32, shift the sum."""
    weights = np.clip(arguments["weights"].astype(np.int64), -256, 255)
    drop = 8 - arguments["num_weight_bits"] + 1
    weights = (weights >> drop) << drop
    events = events if arguments["num_message_bits"] > 0 else (events != 0).astype(np.int64)
    total = ((events @ weights.T + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
    exponent = arguments["weight_exp"]
    return np.left_shift(total, exponent) if exponent > 0 else np.right_shift(total, -exponent)


def lava_lif(arguments, currents):
    """Lava 0.10 ``LIF`` in fixed point: one trace of spikes and voltages for each neuron."""
    u = v = np.zeros(currents.shape[1], dtype=np.int64)
    spikes, voltages = [], []
    bias = arguments["bias_mant"].astype(np.int16).astype(np.int64) << arguments["bias_exp"]

    def decayed(state, factor):
        return np.sign(state) * (np.abs(state * factor) >> 12)

    for current in currents:
        u = decayed(u, 4096 - (arguments["du"] + 1)) + (current << 6)
        u = np.where(u > 1 << 23, u - (1 << 24), u)
        u = np.where(u <= -(1 << 23), u + (1 << 24), u)
        v = np.clip(decayed(v, 4096 - arguments["dv"]) + u + bias, -(1 << 23) + 1, (1 << 23) - 1)
        fired = v > arguments["vth"] << 6
        v = np.where(fired, 0, v)
        spikes.append(fired)
        voltages.append(v)
    return np.array(spikes), np.array(voltages)


def test_synapses_are_exact_under_lavas_rules_on_random_programs():
    seen = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        program = random_program(rng)
        for synapse in Layout(program).synapses():
            low, high = (program.input.low, program.input.high) if synapse.graded else (0, 1)
            events = rng.choice([low, high, 0], size=(20, synapse.op.weights.shape[1])).astype(np.int32)
            # The program's own sum, with what a stock LIF's shift leaves over moved into the synapse.
            extra = synapse.shift - synapse.op.shift
            expected = dense(synapse.op.weights, events, synapse.op.shift).astype(np.int64) << extra
            np.testing.assert_array_equal(lava_sum(synapse_arguments(synapse), events.astype(np.int64)), expected)
            seen.add((synapse.weight_bits, synapse.process, synapse.graded))
    assert {(2, "Dense", False), (8, "Dense", True), (2, "DelayDense", True), (8, "DelayDense", False)} <= seen


def test_stock_neurons_are_exact_under_lavas_rules_on_random_programs():
    stock = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        program = random_program(rng)
        try:
            placed = {placement.op: placement for placement in lava_mapping(program)}
        except CompileError:
            continue
        for op in program.of_type(LIF):
            if not placed[op.name].stock:
                continue
            stock += 1
            peak = STATE_MAX >> op.shift
            currents = rng.choice([peak, -peak, 0, int(op.threshold[0]) >> op.shift], size=(60, op.size))
            spikes, voltages = lava_lif(stock_lif_arguments(op), currents << (op.shift - 6))
            v = np.zeros((1, op.size), dtype=np.int32)
            for t, current in enumerate(currents.astype(np.int32)):
                arguments = {"decay": op.decay, "threshold": op.threshold, "bias": op.bias, "shift": op.shift}
                fired, v = lif_step(v, current[np.newaxis], **arguments, reset="zero")
                np.testing.assert_array_equal(fired[0], spikes[t])
                np.testing.assert_array_equal(v[0], voltages[t])
    assert stock >= 15


def test_ternary_weights_never_reach_lava_as_plus_and_minus_one():
    (synapse,) = Layout(program_of(lif())).synapses()
    arguments = synapse_arguments(synapse)
    assert set(np.unique(arguments["weights"])) == {-128, 0, 128}
    assert arguments["num_weight_bits"] == 2
    assert arguments["weight_exp"] == -7
    raw = {**arguments, "weights": WEIGHTS.astype(np.int32), "num_weight_bits": 8, "weight_exp": 0}
    assert lava_sum(raw, np.array([[0, 0, 1]])).tolist() == [[-2, 0]]  # what would happen


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"shift": 9, "bias": np.array([4095 * 128, -128], dtype=np.int32)}, None),
        ({"decay": 0 * ONE}, None),
        ({"decay": DECAY_ONE * ONE}, None),
        ({"threshold": (STATE_MAX // 64 * 64) * ONE}, None),
        ({"reset": "subtract"}, "reset is subtract, stock resets to zero"),
        ({"reset": "none"}, "reset is none, stock resets to zero"),
        ({"reset": "subtract_snntorch"}, "reset is subtract_snntorch, stock resets to zero"),
        ({"decay": np.array([1, 2], dtype=np.int32)}, "decay differs between neurons"),
        ({"threshold": np.array([64, 128], dtype=np.int32)}, "threshold differs between neurons"),
        ({"shift": 5}, "shift is 5, stock shifts by 6 at least"),
        ({"threshold": 65 * ONE}, "threshold is not a multiple of 64"),
        ({"bias": 4097 * ONE}, "bias is not a 13-bit mantissa times a power of two"),
        ({"bias": (4096 << 7) * ONE}, "bias is not a 13-bit mantissa times a power of two"),
    ],
)
def test_where_a_neuron_is_placed_and_why(change, reason):
    placement = lava_mapping(program_of(lif(**change)))[2]
    assert (placement.process, placement.stock) == (
        ("LIFReset", True) if reason is None else ("ProgramOperation", False)
    )
    assert reason is None or placement.reason == reason


def test_a_current_beyond_24_bits_is_not_for_stock_neurons():
    edge = STATE_MAX >> 6  # two inputs of weight 1 reach twice the input's range
    assert lava_mapping(program_of(lif(), high=edge // 2 // 8, shift=3))[2].stock
    placement = lava_mapping(program_of(lif(), high=edge // 2 // 4, shift=3))[2]
    assert placement.reason == "the current can exceed 24 bits, where stock wraps around"


def test_biases_split_into_mantissa_and_exponent():
    for bias, expected in (([0, 0], 0), ([4095, -1], 0), ([4096, 2], 1), ([-4095 * 128, 128], 7)):
        split = bias_mantissa(np.array(bias, dtype=np.int32))
        assert split is not None
        assert split[1] == expected
        assert (split[0] << split[1]).tolist() == bias


def test_paths_of_different_depth_wait_for_the_deepest():
    program = Program(
        (
            Input("x", 2),
            Dense("fc1", "x", np.eye(2, dtype=np.int8)),
            lif("lif1", ("fc1",)),
            Dense("fc2", "lif1", np.eye(2, dtype=np.int8)),
            lif("lif2", ("fc2", "fc1")),
            Readout("readout", ("fc1",), bias=0 * ONE, shift=0),
        ),
        num_steps=4,
    )
    assert [(s.op.name, s.reader, s.process, s.link.wait) for s in Layout(program).synapses()] == [
        ("fc1", "lif1", "Dense", 0),
        ("fc2", "lif2", "Dense", 0),
        ("fc1", "lif2", "DelayDense", 1),
        ("fc1", "readout", "Dense", 0),
    ]
    reasons = {p.op: p.reason for p in lava_mapping(program)}
    assert reasons["fc1"] == "2-bit synapses, 128 * T, waiting 0 or 1 step"


def test_a_synapse_that_nothing_reads_is_not_built():
    program = Program((*program_of(lif()).ops, Dense("idle", "x", WEIGHTS)), num_steps=4)
    assert (lava_mapping(program)[-1].process, lava_mapping(program)[-1].reason) == ("none", "nothing reads it")
    assert [synapse.op.name for synapse in Layout(program).synapses()] == ["fc"]


def test_a_skip_deeper_than_synapses_can_wait_waits_in_a_process():
    ops = [Input("x", 2), Dense("skip", "x", np.eye(2, dtype=np.int8))]
    for layer in range(MAX_DELAY + 2):
        ops.append(Dense(f"fc{layer}", ops[-1].name if layer else "x", np.eye(2, dtype=np.int8)))
        ops.append(lif(f"lif{layer}", (ops[-1].name,)))
    ops.append(Dense("late", ops[-1].name, np.eye(2, dtype=np.int8)))
    layout = Layout(Program((*ops, lif("last", ("skip", "late"))), num_steps=4))
    skip = next(synapse for synapse in layout.synapses() if synapse.op.name == "skip")
    assert (skip.process, skip.link.wait, skip.needs_delay) == ("Dense", MAX_DELAY + 2, True)


def test_depth_counts_stock_synapses_on_the_longest_path():
    program = small_program()
    assert list(Layout(program).depth.values()) == [0, 1, 1, 2, 2, 3, 3]


def test_depth_takes_few_passes_however_many_skips_there_are():
    """Sixty layers, each reading the two before it: as many paths as a 41-bit number."""
    one = np.ones(1, dtype=np.int32)
    weight = np.ones((1, 1), dtype=np.int8)
    ops = [Input("lif0", 1)]
    for i in range(1, 61):
        sources = [f"lif{j}" for j in (i - 2, i - 1) if j >= 0]
        ops += [Dense(f"fc{i}_{k}", source, weight) for k, source in enumerate(sources)]
        names = tuple(f"fc{i}_{k}" for k in range(len(sources)))
        ops.append(LIF(f"lif{i}", names, decay=one, threshold=one, bias=one, shift=0))
    assert Layout(Program(tuple(ops), num_steps=1)).depth["lif60"] == 60


def test_a_loop_that_takes_no_more_than_its_delay_keeps_its_stock_synapses():
    def looped(steps):
        eye = np.eye(2, dtype=np.int8)
        ops = (Input("x", 2), Dense("fc", "x", eye), Delay("back", "lif2", 2, steps), Dense("loop", "back", eye))
        rest = (lif("lif1", ("fc", "loop")), Dense("up", "lif1", eye), lif("lif2", ("up",)))
        return Layout(Program((*ops, *rest), num_steps=4))

    tight, loose = looped(1), looped(2)
    assert [tight.placements[name].process for name in ("fc", "loop", "up")] == [
        "Dense",
        "ProgramOperation",
        "ProgramOperation",
    ]
    assert [loose.placements[name].process for name in ("fc", "loop", "up")] == ["Dense", "Dense", "Dense"]
    assert (tight.depth["lif2"], loose.depth["lif2"]) == (1, 2)
    assert loose.link("back", "lif1", lag=1).wait == 0  # the synapses take the two steps
    way = (("back", "loop"), ("loop", "lif1"), ("lif1", "up"), ("up", "lif2"))
    assert sum(tight.link(*link).wait for link in way) == 1  # a delay must


def test_sums_that_lavas_int32_cannot_hold():
    high = 1 << 15

    def wide(columns, weight):
        weights = np.full((2, columns), weight, dtype=np.int8)
        return Program(
            (
                Input("x", columns, high=high),
                Dense("fc", "x", weights),
                Readout("readout", ("fc",), bias=0 * ONE, shift=0),
            ),
            num_steps=1,
        )

    fits, too_wide = wide(511, 1), wide(512, 1)  # 128 * 512 * 2**15 is 2**31
    assert [Layout(program).synapses()[0].weight_bits for program in (fits, too_wide)] == [2, 8]
    events = np.full((1, 512), high)
    assert lava_sum(synapse_arguments(Layout(too_wide).synapses()[0]), events).tolist() == [[512 * high] * 2]
    columns = INT32_MAX // (2 * high * 127) + 1
    placement = lava_mapping(wide(columns, 127))[1]
    assert (placement.process, placement.stock) == ("ProgramOperation", False)
