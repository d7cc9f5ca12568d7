"""Under mixed precision what sums over steps stays float32: in bfloat16 a membrane of 4 stays 4 when 0.01 is added."""

import norse.torch as norse
import pytest
import snntorch
import torch
from torch import nn

from pnbx_snn import (
    LIF,
    LTISSM,
    FastWeights,
    Glia,
    Hippocampus,
    Leaky,
    Membrane,
    MinGRU,
    SelectiveSSM,
    SpikingRNN,
    TorusMessages,
    lift,
)
from pnbx_snn.layers.fast_weights import FastWeightsState
from pnbx_snn.neurons.lif import LIFState
from pnbx_snn.neurons.membrane import MembraneState, membrane_scan
from pnbx_snn.surrogate import Surrogate

NUM_STEPS = 1200
SMALL = torch.full((NUM_STEPS, 1, 1), 0.01, dtype=torch.bfloat16)  # what a Linear answers under autocast


def identity(x):
    """A 1 x 1 layer, whose answer is bfloat16 under autocast."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    return layer(x)


def by_steps(neuron, x):
    spikes, state = [], None
    for current in x:
        z, state = neuron.step(current, state)
        spikes.append(z)
    return torch.stack(spikes), state


def leaky_steps(kind, x):
    neuron, mem, spikes = kind(beta=1.0, threshold=5.0), torch.zeros(1, 1), []
    for current in x:
        spk, mem = neuron(current, mem)
        spikes.append(spk)
    return torch.stack(spikes)


def hidden_steps(x):
    neuron = Leaky(beta=1.0, threshold=5.0, init_hidden=True)
    return torch.stack([neuron(current) for current in x])


def membrane(fire):
    # Of the layer itself 1 - beta weighs the input: with beta = 1 it would hear none.
    return lambda x: membrane_scan(x, torch.tensor(1.0), torch.tensor(5.0), spike_grad=fire)[0]


FIRES_TWICE = {
    "LIF": lambda x: LIF(1.0, threshold=5.0)(x)[0],
    "LIF per neuron": lambda x: LIF(torch.ones(1), threshold=torch.tensor([5.0]))(x)[0],
    "LIF step": lambda x: by_steps(LIF(1.0, threshold=5.0), x)[0],
    "LIF trace": lambda x: LIF(1.0, threshold=5.0).trace(x)[0],
    "LIF without a kernel": lambda x: LIF(1.0, threshold=5.0, spike_grad="stochastic_spike_operator")(x)[0],
    "Leaky of snnTorch": lambda x: leaky_steps(snntorch.Leaky, x),
    "Leaky": lambda x: leaky_steps(Leaky, x),
    "Leaky, hidden": hidden_steps,
    "Leaky, sequence": lambda x: Leaky(beta=1.0, threshold=5.0).forward_sequence(x)[0],
    "lifted Leaky": lambda x: lift(snntorch.Leaky(beta=1.0, threshold=5.0))(x)[0],
    "membrane": membrane("atan"),
    "membrane without a kernel": membrane(Surrogate("stochastic_spike_operator")),
}


@pytest.mark.parametrize("name", FIRES_TWICE)
def test_many_small_inputs_reach_the_threshold(name):
    """1,200 x 0.01 passes 5 twice; a membrane in bfloat16 sticks at 4 (its ulp there is 0.03)."""
    with torch.autocast("cpu", torch.bfloat16):
        spikes = FIRES_TWICE[name](identity(SMALL.float()))
    assert spikes.sum() == 2
    spikes = FIRES_TWICE[name](SMALL)  # and without autocast
    assert spikes.sum() == 2


def test_a_state_in_half_precision_is_widened():
    half = torch.full((1, 1), 4.0, dtype=torch.bfloat16)
    lif = LIF(1.0, threshold=50.0)
    assert lif(SMALL, LIFState(half))[1].v.item() == pytest.approx(4 + 12, rel=0.01)
    assert lif.step(SMALL[0], LIFState(half))[1].v.dtype == torch.float32
    spikes, state = membrane_scan(SMALL, torch.tensor(1.0), torch.tensor(50.0), MembraneState(half, 0 * half))
    assert state.v.item() == pytest.approx(4 + 12, rel=0.01)
    assert spikes.dtype == torch.bfloat16


H = 16
EVENTS = (torch.rand(6, 3, H, generator=torch.Generator().manual_seed(0)) < 0.4).float()
PARTS = {
    "LIF": lambda: LIF(0.9),
    "LIF box": lambda: LIF(0.9, primitive="lif_box"),
    "membrane": lambda: Membrane(H),
    "membrane with messages": lambda: Membrane(H, messages=TorusMessages(H)),
    "membrane with learned edges": lambda: Membrane(H, messages=TorusMessages(H, edges="ternary")),
    "selective": lambda: SelectiveSSM(H, 4),
    "lti": lambda: LTISSM(H, 4),
    "complex": lambda: LTISSM(H, 4, kind="complex"),
    "minGRU": lambda: MinGRU(H, 4),
    "spiking rnn": lambda: SpikingRNN(H, 4),
    "hebbian": lambda: FastWeights(H, 4),
    "delta": lambda: FastWeights(H, 4, rule="delta"),
    "hippocampus": lambda: Hippocampus(H, 4),
}
MEMORIES = ("v", "s", "F", "key", "E")
"""Of all states, what sums over steps; spikes are 0 and 1 in any precision."""


@pytest.mark.parametrize("events", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", PARTS)
def test_the_state_of_every_layer_stays_float32_under_autocast(name, events):
    torch.manual_seed(0)
    layer, x = PARTS[name](), EVENTS.to(events)
    with torch.autocast("cpu", torch.bfloat16):
        out, state = layer(x)
        stepped, last = layer.step(x[0], None)
        goes_on, _ = layer(x, state)
    for part in (state, last):
        for field in set(part._fields) & set(MEMORIES):
            assert getattr(part, field).dtype in (torch.float32, torch.complex64), field
    assert out.isfinite().all()
    assert goes_on.isfinite().all()
    assert stepped.dtype == out.dtype


@pytest.mark.parametrize("name", sorted(set(PARTS) - {"complex"}))  # torch has no complex bfloat16
def test_a_whole_network_in_half_precision_still_runs(name):
    layer, x = PARTS[name]().bfloat16(), EVENTS.bfloat16()
    out, state = layer(x)
    assert out.dtype == torch.bfloat16
    for field in set(state._fields) & set(MEMORIES):
        assert getattr(state, field).dtype == torch.float32, field
    layer.step(x[0], state)


@pytest.mark.parametrize("rule", ["hebbian", "delta"])
def test_fast_weights_gather_what_bfloat16_would_lose(rule):
    """4,096 writes of 2**-12: each is below half an ulp of a bfloat16 entry of 1/8 and more."""
    layer = FastWeights(1, 1, decay_bits=12, rate_bits=12, rule=rule)
    nn.init.ones_(layer.P.weight)
    events = torch.ones(4096, 1, 1, dtype=torch.bfloat16)
    expected = layer(events.float())[1].F
    with torch.autocast("cpu", torch.bfloat16):
        whole = layer(events)[1].F
        state = FastWeightsState(torch.zeros(1, 1, 1), torch.zeros(1, 1))
        for e in events[:1000]:
            _, state = layer.step(e, state)
    torch.testing.assert_close(whole, expected, rtol=1e-3, atol=0)
    torch.testing.assert_close(state.F, layer(events[:1000].float())[1].F, rtol=1e-3, atol=0)


LIFTED = {
    "Synaptic": lambda: snntorch.Synaptic(alpha=1.0, beta=0.5, threshold=1e9),
    "Lapicque": lambda: snntorch.Lapicque(R=1, C=100, time_step=1, threshold=1e9),
    "Alpha": lambda: snntorch.Alpha(alpha=0.9, beta=0.5, threshold=1e9),
    "RLeaky": lambda: snntorch.RLeaky(1.0, linear_features=1, threshold=1e9),
    "RSynaptic": lambda: snntorch.RSynaptic(alpha=1.0, beta=0.5, linear_features=1, threshold=1e9),
    "SLSTM": lambda: snntorch.SLSTM(1, 1, threshold=1e9),
    "LICell": norse.LICell,
    "LIFCell": norse.LIFCell,
    "LIFRecurrentCell": lambda: norse.LIFRecurrentCell(1, 1),
}


@pytest.mark.parametrize("name", LIFTED)
def test_lifted_neurons_keep_their_state_in_float32(name):
    torch.manual_seed(0)
    neuron = LIFTED[name]()
    over_time = lift(neuron)
    _, expected = over_time(SMALL.float())
    with torch.autocast("cpu", torch.bfloat16):
        out, state = over_time(SMALL)
    assert out.dtype == torch.bfloat16
    for got, wanted in zip(state, expected, strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)


def test_glia_average_in_float32():
    glia, rate = Glia(16, target=0.2), torch.tensor([0.2001])
    with torch.autocast("cpu", torch.bfloat16):
        rates = glia.rates(torch.ones(3, 16, dtype=torch.bfloat16))
        glia.update(rate, rate)
    assert rates.dtype == glia.state.dtype == torch.float32
    assert 0 < glia.state[0, 0] - 0.2 < 1e-4  # bfloat16 has 0.2002 next to 0.2


def test_a_persistent_hippocampus_writes_in_float32():
    memory, events = Hippocampus(H, 4, scope="persistent"), EVENTS.bfloat16()
    twin = Hippocampus(H, 4, scope="persistent")
    twin.load_state_dict(memory.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        memory.update(events)
    twin.update(events.float())
    assert memory.fast.dtype == torch.float32
    torch.testing.assert_close(memory.fast, twin.fast, rtol=0.02, atol=1e-3)  # the slots' answers are in half precision
