"""Counters equal closed forms, and what a compiled program really adds; bytes and energies equal their definitions."""

import ctypes
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from neuromorphic import Dense
from neuromorphic.compiler import compile_model
from neuromorphic.execution import run
from pnbx_snn import PNBX, SpikingClassifier
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.data.split import Split
from pnbx_snn.errors import PnbxError, PnbxTypeError, PnbxValueError
from pnbx_snn.metrics.counts import parameter_table
from pnbx_snn.networks.cnn import SmallCNN
from pnbx_snn.training.packed import pack_sign_bits
from studies.claims import closed_forms as forms
from studies.claims import energy, spike_formats
from studies.counted import packing
from studies.counted.operations import additions, count_operations, totals
from studies.measurements import gpu_energy
from studies.rivals import count, document_transformer, equal_transformer

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
VARIANTS = {
    "all": {},
    "blocks": {"num_blocks": 2, "edges": "ternary", "norm": "affine"},
    "loops": {"rnn": "spiking", "ssm": "complex", "fast_weights": "delta", "competition": "winner"},
    "little": {"ssm": "real", "rnn": "none", "hippocampus": "none", "messages": False, "glia": False},
    "memory": {"ssm": "none", "fast_weights": "none", "hippocampus": "persistent", "skip": False},
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


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_closed_forms_are_what_a_network_holds(options):
    model = network(**options)
    sizes = forms.sizes_of(model)
    counted = {row.part: row.total for row in parameter_table(model)}
    assert forms.parameters(sizes) == counted
    _, state = model.stream(torch.rand(1, 64))

    def tensors(value):
        if isinstance(value, torch.Tensor):
            return [value]
        return [tensor for part in value for tensor in tensors(part)] if isinstance(value, tuple) else []

    assert sum(forms.state_bytes(sizes).values()) == sum(tensor.nbytes for tensor in tensors(state))


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_dense_counts_of_a_run_equal_the_closed_form(options):
    model = network(readout="step", **options)
    counted = {(r.part, r.name, r.kind): r for r in count_operations(model, sequences(6), batch_size=4).rows}
    expected = {(r.part, r.name, r.kind): r for r in forms.operations(forms.sizes_of(model))}
    assert set(counted) == set(expected)
    for key, row in counted.items():
        assert row.dense == expected[key].dense, key
        if "additions" in row.kind:
            assert 0 < row.executed < row.dense, key


def test_the_batch_size_does_not_matter():
    model = network(rnn="spiking")
    one, four = (count_operations(model, sequences(5), batch_size=size) for size in (1, 4))
    assert one.rows == four.rows
    assert one.rates == pytest.approx(four.rates, rel=1e-12)
    assert model._modules["blocks"][0].rnn.__dict__.get("_advance") is None  # nothing is left behind


def test_additions_are_those_of_a_slow_count():
    rng = np.random.default_rng(0)
    weights, inputs = rng.integers(-1, 2, (5, 7)), rng.integers(0, 3, (3, 2, 7))
    slow = sum(int(weights[o, i] != 0 and x[i] != 0) for x in inputs.reshape(-1, 7) for o in range(5) for i in range(7))
    assert additions(torch.tensor(weights), torch.tensor(inputs)) == (6 * 35, slow)
    assert additions(torch.tensor(weights), torch.tensor(inputs)).skipped == 6 * 35 - slow
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


def test_transformers_cost_what_torch_counts():
    for make, sizes in ((document_transformer, forms.DOCUMENT), (equal_transformer, forms.EQUAL)):
        model = make().eval()
        assert forms.transformer_parameters(sizes) == count(model)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(torch.zeros(64, 1, dtype=torch.long))
        readout = 64 * (sizes.classes or sizes.tokens) * sizes.d
        macs = forms.transformer_macs(64, sizes, causal=False) + readout
        assert counter.get_total_flops() == 2 * macs  # the plain attention multiplies all pairs
        cache = model.cache(1, capacity=9)
        with torch.no_grad():
            model(torch.zeros(8, 1, dtype=torch.long), cache)
        assert forms.cache_bytes(9, sizes) == cache.nbytes


def test_causal_attention_sums_over_its_steps():
    sizes = forms.EQUAL
    steps = sum(forms.transformer_step_macs(t, sizes) - sizes.classes * sizes.d for t in range(1, 51))
    assert forms.transformer_macs(50, sizes, causal=True) == steps


def test_totals_take_what_was_not_counted_as_executed():
    rows = [*forms.operations(), forms.Operations("x", "y", "elementwise", 5.0, 2.0)]
    found = totals(rows)
    assert found["additions from events"] == (2418688, 2418688)
    assert found["elementwise"][0] - found["elementwise"][1] == 3


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


def test_spike_formats_take_what_arrays_take():
    spikes = (np.random.default_rng(1).random(2048) < 0.2).astype(np.uint8)
    found = spike_formats.stored_bytes(2048, spikes.mean())
    assert found["bitmap"] == np.packbits(spikes).nbytes
    assert found["index list"] == pytest.approx(np.flatnonzero(spikes).astype(np.uint16).nbytes)
    values = np.ones(spikes.sum(), dtype=np.int8).nbytes + np.array([len(spikes)], dtype=np.int32).nbytes
    assert found["CSR"] == pytest.approx(found["index list"] + values)
    edge = spike_formats.break_even()
    assert spike_formats.stored_bytes(2048, edge)["index list"] == 256
    rows = spike_formats.measure_products(neurons=64, outputs=16, batch=3, densities=(0.02, 0.5), repeats=2)
    assert [(r.format, r.density) for r in rows[:4]] == [(name, 0.02) for name in spike_formats.FORMATS]
    assert all(r.seconds > 0 for r in rows)
    with pytest.raises(PnbxValueError, match="density in \\[0, 1\\], got 2048, 1.5"):
        spike_formats.stored_bytes(2048, 1.5)


def test_energy_is_count_times_table(unchecked):
    found = energy.compute_energy({"int8 MAC": 1e6, "elementwise": 2e6})
    assert found == pytest.approx((1e-6 * (0.07 + 0.03 + 2 * 0.03), 1e-6 * (0.2 + 0.1 + 2 * 0.1)))
    dram = energy.traffic_energy(80, "DRAM")
    assert dram == pytest.approx((10 * 250e-12, 10 * 2600e-12))
    assert energy.traffic_energy(80, "none") == (0, 0)
    total = energy.Scenario("x", "dense", "DRAM", found, dram).total
    assert total == pytest.approx((found.low + dram.low, found.high + dram.high))
    assert total.over(total) == (1, 1)
    assert energy.landauer(2, kelvin=150) == pytest.approx(energy.landauer(1, kelvin=300))
    with pytest.raises(PnbxValueError, match="got 'fp64 MAC': 1"):
        energy.compute_energy({"fp64 MAC": 1})
    with pytest.raises(PnbxValueError, match="memory must be one of none, SRAM 8 KB"):
        energy.traffic_energy(1, "disk")


class FakeNVML:
    """A GPU that takes 50 W when idle and 10 J more a call of its work."""

    def __init__(self, clock, code=0):
        self.clock, self.code, self.extra = clock, code, 0.0

    def nvmlInit_v2(self):
        return self.code

    def nvmlDeviceGetHandleByIndex_v2(self, index, device):
        return 0

    def nvmlDeviceGetName(self, device, name, size):
        name.value = b"GPU of a test"
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, device, energy):
        energy._obj.value = int(1000 * (50 * self.clock.now + self.extra))
        return 0


class Clock:
    now = 0.0

    def perf_counter(self):
        self.now += 0.25
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_joules_of_a_gpu_without_its_idle_power(monkeypatch):
    clock = Clock()
    nvml = FakeNVML(clock)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: nvml)
    monkeypatch.setattr(gpu_energy, "time", clock)
    counter = gpu_energy.Counter()
    assert counter.name == "GPU of a test"

    def work():
        nvml.extra += 10.0

    found = gpu_energy.measure_energy(counter, work, seconds=8.0)
    assert found.idle_watts == pytest.approx(50, rel=0.1)
    assert found.joules == pytest.approx(10 * found.calls, rel=0.1)
    nvml.code = 9
    with pytest.raises(PnbxError, match="no NVIDIA device: NVML does not start \\(NVML error 9\\)"):
        gpu_energy.Counter()
    assert gpu_energy.gpu_rows() == "no NVIDIA device: NVML does not start (NVML error 9)"


def test_without_a_gpu_a_sentence_says_so(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert gpu_energy.gpu_rows() == "no NVIDIA device (its library libnvidia-ml.so.1 is not here)"


def test_counting_says_what_it_cannot_count():
    with pytest.raises(PnbxTypeError, match="a \\[cnn\\] has no ternary weights and no events"):
        count_operations(SmallCNN(8, 8, 2, channels=2), split_of(2))
    with pytest.raises(PnbxValueError, match="at least one sample, got none"):
        count_operations(network(), split_of(0))
    assert isinstance(network(), nn.Module)


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
        from_events, from_values = (kinds[kind] for kind in forms.KINDS[:2])
        assert from_events[1] * ours.steps == pytest.approx(theirs["Effective_ACs"], rel=1e-9)
        assert from_values[1] * ours.steps == pytest.approx(theirs["Effective_MACs"], rel=1e-9)
        assert (from_events[0] + from_values[0]) * ours.steps == pytest.approx(theirs["Dense"], rel=1e-9)
