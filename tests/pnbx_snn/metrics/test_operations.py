"""Counters equal what equations ask for and what a compiled program really adds; bytes and energies are defined."""

import math

import numpy as np
import pytest
import torch

from neuromorphic import Dense
from neuromorphic.compiler import compile_model
from neuromorphic.execution import run
from pnbx_snn import PNBX, SpikingClassifier
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.data.split import Split
from pnbx_snn.errors import PnbxTypeError, PnbxValueError
from pnbx_snn.metrics import energy, packing
from pnbx_snn.metrics.operations import KINDS, Operations, additions, count_operations, skipped_share, totals
from pnbx_snn.networks.cnn import SmallCNN
from pnbx_snn.training.packed import pack_sign_bits

SMALL = {
    "d_hidden": 32,
    "d_ssm": 8,
    "d_rnn": 4,
    "rank": 4,
    "slots": 6,
    "num_steps": 5,
    "threshold": 0.5,
    "tau_max": 8.0,
}
# The options of a network; its operations by kind, as its equations ask for; bytes of a stream's state.
EXPECTED = {
    "all": (
        {},
        "ssm A 256; ssm B 256; ssm D 256; rnn U 128; rnn W 128; fast_weights P 128; hippocampus K, asked 192",
        "encoder W_in 2048; ssm C 256; rnn V 128; fast_weights Q 128; hippocampus K, recalled 192; readout W_o 320",
        "fast_weights F 32; hippocampus E, recalled 192",
        "encoder LIF 128; ssm state 56; rnn state 20; fast_weights state 20; hippocampus state 402; membrane LIF 608; "
        "readout mean 32",
        1664,
    ),
    "blocks": (
        {"num_blocks": 2, "edges": "ternary", "norm": "affine"},
        "ssm 1.A 256; ssm 1.B 256; ssm 1.D 256; rnn 1.U 128; rnn 1.W 128; fast_weights 1.P 128; "
        "hippocampus 1.K, asked 192; ssm 2.A 256; ssm 2.B 256; ssm 2.D 256; rnn 2.U 128; rnn 2.W 128; "
        "fast_weights 2.P 128; hippocampus 2.K, asked 192",
        "encoder W_in 2048; ssm 1.C 256; rnn 1.V 128; fast_weights 1.Q 128; hippocampus 1.K, recalled 192; "
        "ssm 2.C 256; rnn 2.V 128; fast_weights 2.Q 128; hippocampus 2.K, recalled 192; readout W_o 320",
        "fast_weights 1.F 32; hippocampus 1.E, recalled 192; fast_weights 2.F 32; hippocampus 2.E, recalled 192",
        "encoder LIF 128; ssm 1.state 56; rnn 1.state 20; fast_weights 1.state 20; hippocampus 1.state 402; "
        "membrane 1.LIF 608; ssm 2.state 56; rnn 2.state 20; fast_weights 2.state 20; hippocampus 2.state 402; "
        "membrane 2.LIF 608; readout mean 32",
        2816,
    ),
    "loops": (
        {"rnn": "spiking", "ssm": "complex", "fast_weights": "delta", "competition": "winner"},
        "ssm B 256; rnn U 128; rnn W 128; rnn V 128; fast_weights P 128; hippocampus K, asked 192",
        "encoder W_in 2048; ssm C 256; fast_weights Q 128; hippocampus K, recalled 192; readout W_o 320",
        "fast_weights F 48",
        "encoder LIF 128; ssm state 64; rnn state 20; fast_weights state 20; hippocampus state 274; membrane LIF 608; "
        "readout mean 32",
        1824,
    ),
    "little": (
        {"ssm": "real", "rnn": "none", "hippocampus": "none", "messages": False, "glia": False},
        "ssm B 256; fast_weights P 128",
        "encoder W_in 2048; ssm C 256; fast_weights Q 128; readout W_o 320",
        "fast_weights F 32",
        "encoder LIF 128; ssm state 24; fast_weights state 20; membrane LIF 256; readout mean 32",
        880,
    ),
    "memory": (
        {"ssm": "none", "fast_weights": "none", "hippocampus": "persistent", "skip": False},
        "rnn U 128; rnn W 128; hippocampus K, asked 192",
        "encoder W_in 2048; rnn V 128; hippocampus K, recalled 192; readout W_o 320",
        "hippocampus E, recalled 192",
        "encoder LIF 128; rnn state 20; hippocampus state 18; membrane LIF 544; readout mean 32",
        784,
    ),
}


def split_of(num: int) -> Split:
    split = load_digits_split(part="validation")
    return Split(split.images[:num], split.labels[:num])


def network(**options):
    torch.manual_seed(1)
    model = PNBX(in_features=64, num_classes=10, **(SMALL | options))
    model.calibrate(split_of(64).images)
    return model.eval()


def sequences(num: int, steps: int = 7) -> Split:
    """Inputs that change from step to step, so that every product is done in every step."""
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(num, steps, 64, generator=generator)
    return Split(x * (x > 0.6), torch.zeros(num, dtype=torch.long))


@pytest.mark.parametrize("name", EXPECTED)
def test_operations_of_a_run_are_those_worked_out_by_hand(name):
    options, *kinds, _ = EXPECTED[name]
    rows = count_operations(network(readout="step", **options), sequences(6), batch_size=4).rows
    for kind, expected in zip(KINDS, kinds, strict=True):
        of = sorted(f"{r.part} {r.name} {r.dense:.0f}" for r in rows if r.kind == kind)
        assert of == sorted(filter(None, expected.split("; "))), kind
    for row in rows:
        assert "additions" not in row.kind or 0 < row.executed < row.dense, row


@pytest.mark.parametrize("name", EXPECTED)
def test_state_is_what_a_stream_carries(name):
    options, *_, state = EXPECTED[name]
    assert sum(packing.state_bytes(network(**options)).values()) == state


def test_the_batch_size_does_not_matter():
    model = network(rnn="spiking")
    one, four = (count_operations(model, sequences(5), batch_size=size) for size in (1, 4))
    assert one.rows == four.rows
    assert model._modules["blocks"][0].rnn.__dict__.get("_advance") is None  # nothing is left behind


def test_additions_are_those_of_a_slow_count():
    rng = np.random.default_rng(0)
    weights, inputs = rng.integers(-1, 2, (5, 7)), rng.integers(0, 3, (3, 2, 7))
    slow = sum(int(weights[o, i] != 0 and x[i] != 0) for x in inputs.reshape(-1, 7) for o in range(5) for i in range(7))
    assert additions(torch.tensor(weights), torch.tensor(inputs)) == (6 * 35, slow)
    with pytest.raises(PnbxValueError, match=r"inputs must be \[\.\.\., in\] for weights \[out, in\], got \[3\] and"):
        additions(torch.ones(2, 4), torch.ones(3))


def executed_by(program, recording):
    """Additions of a program's ternary products, step by step from what an executor recorded."""
    found = {}
    for op in program.of_type(Dense):
        spikes = recording.variables.get(f"{op.source}.spikes")
        if spikes is None:
            continue
        total = 0
        for row in spikes.reshape(-1, spikes.shape[-1]):
            total += int((op.weights[:, np.flatnonzero(row)] != 0).sum())
        found[op.name] = total
    return found


@pytest.mark.parametrize("executor", ["numpy", "native"])
def test_a_compiled_program_executes_what_was_counted(executor):
    torch.manual_seed(0)
    model = SpikingClassifier(in_features=64, hidden=[24, 16], num_classes=10, num_steps=6, threshold=0.25).eval()
    split = split_of(12)
    model.calibrate(split.images)
    counted = count_operations(model, split)
    program = compile_model(model)
    recording = run(program, split.images.numpy(), executor)
    executed = executed_by(program, recording)
    row = next(r for r in counted.rows if r.part == "layer 2" and r.name == "W")
    assert row.dense == 24 * 16
    assert round(row.executed * 12 * 6) in executed.values()
    assert min(executed.values()) > 100


def test_a_compiled_pnbx_network_executes_what_was_counted():
    model = network(quantize=True, readout="step")
    split = sequences(4)
    counted = {r.name: r for r in count_operations(model, split).rows if r.kind == "additions from events"}
    program = compile_model(model)
    recording = run(program, split.images.transpose(0, 1).numpy())
    with torch.no_grad():
        events = model.classify(split.images)[1][0]
    recorded = next(
        v for name, v in recording.variables.items() if name.startswith("encoder") and name.endswith("spikes")
    )
    assert np.array_equal(recorded, events.numpy())  # trained on the grid: the same spikes
    executed = sorted(executed_by(program, recording).values())
    ours = sorted(round(counted[name].executed * 4 * 7) for name in ("A", "B", "D", "U", "W", "P"))
    assert [value for value in executed if value in ours] == ours


def test_totals_take_what_was_not_counted_as_executed():
    rows = [
        Operations("a", "A", KINDS[0], 8, 2.0),
        Operations("b", "C", KINDS[1], 2),
        Operations("x", "y", KINDS[3], 5),
    ]
    assert totals(rows) == {KINDS[0]: (8, 2.0), KINDS[1]: (2, 2), KINDS[2]: (0, 0), KINDS[3]: (5, 5)}
    assert skipped_share(rows) == 0.6
    assert skipped_share(rows[2:]) == 0.0


def test_packings_are_as_long_as_they_say():
    model = network()
    found = {p.name: p for p in packing.packings(model)}
    weights = packing.ternary_weights(model)
    number = sum(w.numel() for w in weights.values())
    assert found["2 bits"].ternary_bytes == sum(pack_sign_bits(w).numel() for w in weights.values())
    assert found["int8"].ternary_bytes == number
    assert found["int8"].other_bytes == 4 * 2 * 32  # leaks and biases
    values = torch.cat([w.flatten() for w in weights.values()]).numpy()
    assert packing.zero_share(model) == pytest.approx((values == 0).mean())
    entropy = next(p for name, p in found.items() if name.startswith("entropy"))
    slow = 0.0
    for weight in weights.values():
        _, counts = np.unique(weight.numpy(), return_counts=True)
        slow -= sum(c * math.log2(c / weight.numel()) for c in counts)
    assert entropy.ternary_bytes == math.ceil(slow / 8)
    assert found["fp16"].total == 2 * (number + 64)
    with pytest.raises(PnbxTypeError, match="a \\[cnn\\] has no ternary weights"):
        packing.ternary_weights(SmallCNN(8, 8, 2, channels=2))


def test_energy_is_count_times_table(unchecked):
    found = energy.compute_energy({"int8 MAC": 1e6, "elementwise": 2e6})
    assert found == pytest.approx((1e-6 * (0.07 + 0.03 + 2 * 0.03), 1e-6 * (0.2 + 0.1 + 2 * 0.1)))
    dram = energy.traffic_energy(80, "DRAM")
    assert dram == pytest.approx((10 * 250e-12, 10 * 2600e-12))
    assert energy.traffic_energy(80, "none") == (0, 0)
    total = energy.Scenario("x", "dense", "DRAM", found, dram).total
    assert total == pytest.approx((found.low + dram.low, found.high + dram.high))
    assert total.over(total) == (1, 1)
    with pytest.raises(PnbxValueError, match="got 'fp64 MAC': 1"):
        energy.compute_energy({"fp64 MAC": 1})
    with pytest.raises(PnbxValueError, match="memory must be one of none, SRAM 8 KB"):
        energy.traffic_energy(1, "disk")


def test_counting_says_what_it_cannot_count():
    with pytest.raises(PnbxTypeError, match="a \\[cnn\\] has no ternary weights and no events"):
        count_operations(SmallCNN(8, 8, 2, channels=2), split_of(2))
    with pytest.raises(PnbxValueError, match="at least one sample, got none"):
        count_operations(network(), split_of(0))


def test_loops_of_spiking_interneurons_are_counted_inside():
    model = network(rnn="spiking", readout="step")
    split = sequences(3)
    counted = {row.name: row for row in count_operations(model, split).rows if row.part == "rnn"}
    rnn = model.blocks[0].rnn
    with torch.no_grad():
        _, (events, spikes) = model.classify(split.images)
        U, V = ((matrix.rounded()[0] != 0).double() for matrix in (rnn.U, rnn.V))
        heard, state, slow = torch.zeros_like(spikes[0]), None, {"U": 0.0, "V": 0.0}
        for e, z in zip(events, spikes, strict=True):
            fired, state = rnn.lif.step(rnn.W(e) + rnn.U(heard), state)
            slow["U"] += float((heard.double() @ U.T).sum())
            slow["V"] += float((fired.double() @ V.T).sum())
            heard = z
    assert slow["V"] > 0
    for name, executed in slow.items():
        assert counted[name].executed * 3 * 7 == pytest.approx(executed, rel=1e-12)


def test_neurobench_counts_the_same():
    pytest.importorskip("neurobench", reason="pip install --no-deps neurobench")
    from pnbx_snn.metrics.neurobench import neurobench

    for model in (network(), SpikingClassifier(in_features=64, hidden=[32, 16], num_classes=10, num_steps=4)):
        split = split_of(20)
        model.calibrate(split.images)
        theirs, ours = neurobench(model.eval(), split)["synaptic_operations"], count_operations(model, split)
        kinds = totals([row for row in ours.rows if "additions" in row.kind])
        from_events, from_values = (kinds[kind] for kind in KINDS[:2])
        assert from_events[1] * ours.steps == pytest.approx(theirs["Effective_ACs"], rel=1e-9)
        assert from_values[1] * ours.steps == pytest.approx(theirs["Effective_MACs"], rel=1e-9)
        assert (from_events[0] + from_values[0]) * ours.steps == pytest.approx(theirs["Dense"], rel=1e-9)
