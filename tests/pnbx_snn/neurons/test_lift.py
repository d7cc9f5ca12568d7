"""lift: every neuron over time equals the loop written by hand."""

import copy
import pickle

import norse.torch as norse
import pytest
import snntorch
import torch
from torch import nn

from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.neurons.leaky import Leaky
from pnbx_snn.neurons.lif import LIF
from pnbx_snn.neurons.lift import lift

N = 5


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    yield
    snntorch.SpikingNeuron.instances.clear()


# name: (constructor, number of state tensors)
SNNTORCH = {
    "Leaky": (lambda: snntorch.Leaky(0.8, learn_beta=True), 1),
    "Leaky without delay": (lambda: snntorch.Leaky(0.8, reset_delay=False, reset_mechanism="zero"), 1),
    "our Leaky": (lambda: Leaky(0.8, learn_threshold=True), 1),
    "Lapicque": (lambda: snntorch.Lapicque(beta=0.6), 1),
    "Synaptic": (lambda: snntorch.Synaptic(alpha=0.7, beta=0.8, reset_mechanism="zero"), 2),
    "Alpha": (lambda: snntorch.Alpha(alpha=0.8, beta=0.6, threshold=0.3), 3),
    "RLeaky": (lambda: snntorch.RLeaky(0.8, linear_features=N), 2),
    "RLeaky one to one": (lambda: snntorch.RLeaky(0.8, all_to_all=False, V=0.5), 2),
    "RSynaptic": (lambda: snntorch.RSynaptic(alpha=0.7, beta=0.8, linear_features=N), 3),
    "SLSTM": (lambda: snntorch.SLSTM(N, N, threshold=0.1), 2),
    "with output": (lambda: snntorch.Synaptic(alpha=0.7, beta=0.8, output=True), 2),
}
NORSE = {
    "LIFCell": norse.LIFCell,
    "LIFBoxCell": norse.LIFBoxCell,
    "LICell": norse.LICell,
    "LIBoxCell": norse.LIBoxCell,
    "IAFCell": norse.IAFCell,
    "LSNNCell": norse.LSNNCell,
    "LIFAdExCell": norse.LIFAdExCell,
    "IzhikevichCell": lambda: norse.IzhikevichCell(norse.tonic_spiking),
    "LIFRecurrentCell": lambda: norse.LIFRecurrentCell(N, 4),
    "LSNNRecurrentCell": lambda: norse.LSNNRecurrentCell(N, 4),
    "SequentialState": lambda: norse.SequentialState(nn.Linear(N, 6), norse.LIFCell(), nn.Linear(6, 3), norse.LICell()),
}


def gradients(outputs, x, module):
    leaves = [x, *module.parameters()]
    return torch.autograd.grad(outputs.square().sum(), leaves, allow_unused=True)


def assert_same(got, expected):
    for a, b in zip(got, expected, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


def tensors(state):
    """Leaves of a state: tensors, or tuples and lists of them."""
    if state is None or isinstance(state, torch.Tensor):
        return [state]
    return [leaf for part in state for leaf in tensors(part)]


def inputs(gain=1.5):
    return (torch.randn(12, 3, N) * gain + 0.5).requires_grad_()


@pytest.mark.parametrize("name", SNNTORCH)
def test_snntorch_equals_the_loop(name):
    make, num_states = SNNTORCH[name]
    neuron, x = make(), inputs()
    spikes, state = lift(neuron)(x)
    got = gradients(spikes + state[-1], x, neuron)
    hand = tuple(torch.zeros(3, N) for _ in range(num_states))
    outputs = []
    for step in x:
        returned = neuron(step, *hand)
        outputs.append(returned[0])
        hand = tuple(returned[-num_states:])
    assert torch.stack(outputs).any()
    assert torch.equal(spikes, torch.stack(outputs))
    assert isinstance(state, tuple)
    assert_same(state, hand)
    assert_same(got, gradients(torch.stack(outputs) + hand[-1], x, neuron))


@pytest.mark.parametrize("name", SNNTORCH)
def test_pickle_and_deepcopy(name):
    """snnTorch keeps its surrogate as a local function, which cannot be pickled."""
    over_time, x = lift(SNNTORCH[name][0]()), inputs().detach()
    expected, end = over_time(x)
    for twin in (pickle.loads(pickle.dumps(over_time)), copy.deepcopy(over_time)):
        spikes, state = twin(x)
        assert torch.equal(spikes, expected)
        assert_same(state, end)


@pytest.mark.parametrize("bypassed", [False, True])
@pytest.mark.parametrize("name", ["Synaptic", "RLeaky", "RSynaptic", "RLeaky one to one", "SLSTM", "Alpha"])
def test_double_precision(name, bypassed):
    """snnTorch answers float32 spikes to float64, which its recurrent matrix then refuses."""
    neuron = SNNTORCH[name][0]()
    if bypassed:
        neuron.spike_grad = neuron._surrogate_bypass
    spikes, state = lift(neuron.double())(inputs().double())
    assert spikes.dtype == torch.float64
    assert all(part.dtype == torch.float64 for part in state)
    single, _ = lift(neuron.float())(inputs())
    assert single.dtype == torch.float32


@pytest.mark.parametrize("name", NORSE)
def test_norse_equals_the_loop(name):
    cell, x = NORSE[name](), inputs(40.0)
    out, state = lift(cell)(x)
    got = gradients(out, x, cell)
    hand, outputs = None, []
    for step in x:
        z, hand = cell(step, hand)
        outputs.append(z)
    assert torch.stack(outputs).any()
    assert torch.equal(out, torch.stack(outputs))
    assert type(state) is type(hand)
    assert_same(tensors(state), tensors(hand))
    assert_same(got, gradients(torch.stack(outputs), x, cell))


@pytest.mark.parametrize("name", [*SNNTORCH, *NORSE])
def test_two_halves_equal_one_run(name):
    over_time = lift(SNNTORCH[name][0]() if name in SNNTORCH else NORSE[name]())
    x = inputs(1.5 if name in SNNTORCH else 40.0)
    whole, end = over_time(x)
    first, middle = over_time(x[:7])
    kept = [t if t is None else t.clone() for t in tensors(middle)]
    second, last = over_time(x[7:], middle)
    assert torch.equal(torch.cat([first, second]), whole)
    assert_same(tensors(last), tensors(end))
    assert_same(tensors(middle), kept)  # the caller's state is not written to


@pytest.mark.parametrize("name", SNNTORCH)
def test_leaves_nothing_in_the_neuron(name):
    neuron = SNNTORCH[name][0]()
    over_time = lift(neuron)
    first, _ = over_time(inputs())
    states = [getattr(neuron, n) for n in over_time.state_names]
    assert [s.numel() for s in states] == [0] * len(states)
    assert "reset" not in vars(neuron)
    neuron(torch.ones(3, N))  # a call in between, with the state that snnTorch hides
    torch.manual_seed(3)
    x = inputs()
    again, _ = over_time(x)
    neuron(torch.ones(3, N) * 5)
    assert torch.equal(over_time(x)[0], again)
    assert first.shape == again.shape


def test_works_in_norse_sequences():
    net = norse.SequentialState(nn.Linear(N, 4), lift(snntorch.Leaky(0.9)), LIF(0.9), lift(norse.LICell()))
    assert net.stateful_layers == [False, True, True, True]
    x = inputs(3.0)
    out, state = net(x)
    first, middle = net(x[:5])
    second, _ = net(x[5:], list(middle))
    assert torch.equal(torch.cat([first, second]), out)
    assert len(state) == 4


def test_other_axes_than_neurons():
    spikes, (mem,) = lift(snntorch.Leaky(0.9))(torch.rand(4, 2, 3, 5, 6))
    assert spikes.shape == (4, 2, 3, 5, 6)
    assert mem.shape == (2, 3, 5, 6)


def test_convolution_with_a_state_of_another_shape_than_its_input():
    neuron, x = snntorch.SConv2dLSTM(1, 3, 3, max_pool=2, threshold=0.05), torch.rand(5, 2, 1, 8, 8) * 3
    spikes, state = lift(neuron)(x)
    hand, outputs = (torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)), []
    for step in x:
        spk, *hand = neuron(step, *hand)
        outputs.append(spk)
    assert spikes.any()
    assert torch.equal(spikes, torch.stack(outputs))
    assert_same(state, hand)


def test_state_dict_and_parameters_are_the_neurons():
    over_time = lift(snntorch.Leaky(0.8, learn_beta=True))
    assert [name for name, _ in over_time.named_parameters()] == ["neuron.beta"]


REFUSED = [
    (lambda: snntorch.Leaky(0.9, init_hidden=True), PnbxValueError, r"snntorch.Leaky\(init_hidden=True\) hides its"),
    (lambda: snntorch.DeltaLeaky(beta=0.9), PnbxTypeError, "snntorch.DeltaLeaky is not supported: its state"),
    (
        lambda: snntorch.SLSTM(N, 4),
        PnbxValueError,
        r"SLSTM\(input_size=5, hidden_size=4\): snnTorch 1.0 sets its state",
    ),
    (lambda: snntorch.StateLeaky(0.9, N), PnbxTypeError, "StateLeaky runs over time already"),
    (lambda: snntorch.LinearLeaky(0.9, N, N), PnbxTypeError, "LinearLeaky runs over time already"),
    (lambda: snntorch.LeakyParallel(N, N), PnbxTypeError, "LeakyParallel runs over time already"),
    (norse.LIF, PnbxTypeError, "norse.torch.LIF runs over time already; lift its cell, LIFCell"),
    (lambda: norse.LIFRecurrent(N, 4), PnbxTypeError, "LIFRecurrent runs over time already; .*, LIFRecurrentCell"),
    (lambda: LIF(0.9), PnbxTypeError, "lift: LIF runs over time already"),
    (lambda: lift(snntorch.Leaky(0.9)), PnbxTypeError, "runs over time already"),
    (lambda: nn.Linear(2, 2), PnbxTypeError, "Linear is neither an snnTorch neuron nor a Norse cell"),
    (lambda: nn.LSTM(2, 2), PnbxTypeError, "LSTM is neither an snnTorch neuron nor a Norse cell"),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_refuses_with_the_reason(make, error, message):
    with pytest.raises(error, match=message):
        lift(make())


def test_shapes(unchecked):
    synaptic, cell = lift(snntorch.Synaptic(alpha=0.8, beta=0.5)), lift(norse.LIFCell())
    for over_time in (synaptic, cell):
        for shape in ((0, 2, 3), (3,), (3, 0, 4)):
            with pytest.raises(ShapeError, match=r"x must be \[T, B, ...\] without an empty axis, got shape"):
                over_time(torch.ones(shape))
    with pytest.raises(ShapeError, match=r"state must be \(syn, mem\), got 1 tensors"):
        synaptic(torch.ones(4, 2, 3), (torch.zeros(2, 3),))
    with pytest.raises(ShapeError, match=r"state mem must be \[2, 3\], got \[1, 3\]"):
        synaptic(torch.ones(4, 2, 3), (torch.zeros(2, 3), torch.zeros(1, 3)))
