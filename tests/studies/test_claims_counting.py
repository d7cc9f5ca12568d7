"""Closed forms of the document's networks equal what is counted on them; formats and joules equal their definitions."""

import ctypes

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pnbx_snn import PNBX
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.data.split import Split
from pnbx_snn.errors import PnbxError, PnbxValueError
from pnbx_snn.metrics.counts import parameter_table
from pnbx_snn.metrics.operations import count_operations
from pnbx_snn.metrics.packing import state_bytes
from studies.claims import closed_forms as forms
from studies.claims import energy_scenarios, spike_formats
from studies.measurements import gpu_energy
from studies.rivals import count, document_transformer, equal_transformer

SIZES = forms.Sizes(d_in=64, H=32, d_out=10, S=8, R=4, r=4, M=6)


@pytest.mark.parametrize("competition", ["softmax", "winner"])
def test_closed_forms_are_what_a_network_holds_and_does(competition):
    torch.manual_seed(1)
    letters = {"d_hidden": SIZES.H, "d_ssm": SIZES.S, "d_rnn": SIZES.R, "rank": SIZES.r, "slots": SIZES.M}
    rates = {"num_steps": 5, "threshold": 0.5, "tau_max": 8.0, "readout": "step", "competition": competition}
    model = PNBX(in_features=64, num_classes=10, **letters, **rates)
    model.calibrate(load_digits_split(part="validation").images)
    counted = {row.part: row.total for row in parameter_table(model.eval())}
    assert {part: number for part, number in counted.items() if number} == forms.parameters(SIZES)
    assert state_bytes(model) == forms.state_bytes(SIZES)
    x = torch.rand(6, 7, 64)  # inputs that change from step to step, so that every product is done in every step
    rows = count_operations(model, Split(x * (x > 0.6), torch.zeros(6, dtype=torch.long))).rows
    expected = forms.operations(SIZES, winner=competition == "winner")
    assert {(r.part, r.name, r.kind): r.dense for r in rows} == {(r.part, r.name, r.kind): r.dense for r in expected}


def test_heat_of_erased_bits_goes_with_the_temperature():
    assert 1e21 * energy_scenarios.landauer(2, kelvin=150) == pytest.approx(
        1e21 * energy_scenarios.landauer(1, kelvin=300)
    )


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
