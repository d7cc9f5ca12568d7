"""snnTorch and Norse networks as NIR graphs and programs: every neuron, reset and delay against the library itself."""

import sys
import warnings

import nir
import norse.torch as norse
import numpy as np
import pytest
import snntorch
import torch
from torch import nn

import pnbx_snn
from module_nets import BETA, N_IN, N, T, norse_net, snntorch_net, spikes_in, step, tuned
from neuromorphic import Program, run
from neuromorphic.compiler import compile_module, compile_nir, graph_of, save_nir
from neuromorphic.compiler.modules import agreement as module_agreement
from neuromorphic.compiler.modules.graphs import traced_graph
from neuromorphic.compiler.notes import Notes
from neuromorphic.errors import CompileError, CompileWarning
from nir_oracle import evaluate
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.networks.classifier import SpikingLayer

pytestmark = pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature:UserWarning")

SNNTORCH = [
    (kind, reset, delay)
    for kind in ("Leaky", "RLeaky-all", "RLeaky-one", "RLeaky-each", "Synaptic", "RSynaptic-all", "RSynaptic-each")
    for reset in ("zero", "subtract", "none")
    for delay in (True, False)
    if delay or not (reset == "none" or kind.startswith("RSynaptic"))  # without a reset there is nothing to delay
]
NORSE = [("LIFBoxCell", "zero"), ("LIFBoxCell", "subtract"), ("LIFCell", "zero"), ("LIFRecurrentCell", "zero")]
NORSE += [("IAFCell", "zero"), ("IAF", "zero")]  # integrate and fire, as NIR's IF
NORSE += [("LSNNCell", "zero"), ("LSNN", "zero"), ("LSNNRecurrentCell", "zero")]
SNNTORCH += [("Lapicque", reset, True) for reset in ("zero", "subtract", "none")]
SNNTORCH += [("Lapicque-beta", "subtract", True)]


def simulated(net, inputs):
    with torch.no_grad():
        return net(inputs).numpy()


def last_neuron(graph):
    return next(source for source, target in graph.edges if target == "output")


def check(net, inputs, sample, *, least=0.99):
    """The graph's meaning equals the library in every spike, the program in nearly all; return the agreement."""
    expected = simulated(net, inputs)
    assert 0.2 < expected.mean() < 0.3
    graph = graph_of(net, sample)
    name = last_neuron(graph)
    np.testing.assert_array_equal(evaluate(graph, inputs.numpy())[name], expected)
    with warnings.catch_warnings():
        if least < 0.99:  # what is warned of is measured here
            warnings.simplefilter("ignore", CompileWarning)
        program = compile_module(net, inputs, num_steps=len(inputs))
    flat = inputs.numpy().astype(np.int8).reshape(*inputs.shape[:2], -1)
    got = run(program, flat).spikes()[name].reshape(expected.shape)
    agreement = float((got == expected).mean())
    assert agreement >= least, agreement
    return agreement


# ---- every kind of neuron


@pytest.mark.parametrize("vector", [False, True], ids=["scalar", "per neuron"])
@pytest.mark.parametrize(("kind", "reset", "delay"), SNNTORCH)
def test_snntorch_neuron(kind, reset, delay, vector):
    inputs = spikes_in()
    net = tuned(snntorch_net(kind, reset, delay, vector=vector), inputs)
    check(net, inputs, inputs[:2])
    if kind != "Leaky" and reset == "zero" and delay:
        assert compile_module(net, inputs, num_steps=T)["lif"].reset == "zero_with_input"


def test_the_agreement_is_counted_and_kept(tmp_path):
    inputs = spikes_in()
    net = tuned(snntorch_net("RLeaky-all", "subtract", True), inputs)
    agreement = compile_module(net, inputs, num_steps=T).metadata["agreement"]
    assert (agreement["steps"], agreement["samples"], agreement["part"]) == (T, inputs.shape[1], "given")
    assert agreement["spikes_equal"] == check(net, inputs, inputs[:2]) == agreement["layers"]["lif"]
    program = compile_module(net, inputs[:5, :3])
    assert program.metadata["agreement"]["steps"] == 5
    program.save(tmp_path / "p.npz")
    assert Program.load(tmp_path / "p.npz").metadata["agreement"] == program.metadata["agreement"]
    with torch.no_grad():  # the count can fail: a network that is another one afterwards
        traced, measured, notes = traced_graph(net, inputs, None), [], Notes()
        program = compile_nir(traced.build(), num_steps=T)
        for scale in (1.0, 0.5):
            net.fc.weight.mul_(scale)
            measured.append(module_agreement.agreement(net, inputs, program, traced, notes)["spikes_equal"])
    assert measured[1] < measured[0] - 0.02
    assert notes.warnings[0].startswith("lif: ")


def test_the_agreement_of_a_static_input_and_of_single_steps():
    class Static(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(N_IN, N), snntorch.Leaky(beta=0.9)

        def forward(self, x):
            mem, spikes = self.lif.reset_mem(), []
            for _ in range(12):
                spk, mem = self.lif(self.fc(x), mem)
                spikes.append(spk)
            return torch.stack(spikes)

    torch.manual_seed(0)
    sample = (torch.rand(6, N_IN) < 0.5).float()
    agreement = compile_module(Static(), sample, num_steps=12).metadata["agreement"]
    assert (agreement["steps"], agreement["samples"]) == (12, 6)
    assert agreement["spikes_equal"] > 0.98
    hidden = nn.Sequential(nn.Linear(N_IN, N), snntorch.Leaky(beta=0.9, init_hidden=True))
    assert compile_module(hidden, sample, num_steps=12).metadata["agreement"]["steps"] == 12


@pytest.mark.parametrize("vector", [False, True], ids=["scalar", "per neuron"])
@pytest.mark.parametrize(("kind", "reset"), NORSE)
def test_norse_neuron(kind, reset, vector):
    inputs = spikes_in()
    check(tuned(norse_net(kind, reset, vector=vector), inputs), inputs, inputs[:2])


@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
@pytest.mark.parametrize("primitive", ["leaky", "lif_box"])
def test_own_lif(primitive, reset):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(N_IN, N)
            self.lif = pnbx_snn.LIF(torch.linspace(0.7, 0.95, N), reset=reset, primitive=primitive)

        def forward(self, x):
            return self.lif(self.fc(x))[0]

    inputs = spikes_in()
    check(tuned(Net(), inputs), inputs, inputs[:2])


def test_what_is_kept():
    graph = graph_of(snntorch_net("RLeaky-all", "subtract", True), torch.zeros(2, 1, N_IN), dt=1e-3)
    lif = graph.nodes["lif"]
    assert graph.metadata["dt"] == 1e-3
    assert lif.metadata == {"reset_mechanism": "subtract", "reset_delay": True, "primitive": "leaky"}
    np.testing.assert_allclose(lif.tau, 1e-3 / (1 - BETA), rtol=1e-6)
    np.testing.assert_allclose(1e-3 / lif.tau * lif.r, 1.0, rtol=1e-12)  # the input's weight is 1
    assert {("lif", "lif_recurrent"), ("lif_recurrent", "lif")} <= set(graph.edges)
    assert graph_of(norse_net("LIFCell"), torch.zeros(1, 1, N_IN)).metadata["dt"] == 1e-3  # Norse's own
    assert graph_of(norse_net("LIFCell"), torch.zeros(1, 1, N_IN)).nodes["net_1"].tau_mem[0] == pytest.approx(10e-3)


@pytest.mark.parametrize("dt", [1e-3, 1e-4, 0.37])
def test_dt_changes_no_spike(dt):
    inputs = spikes_in(num_steps=30)
    net = tuned(norse_net("LIFCell", vector=True), inputs)
    graph = graph_of(net, inputs[:1], dt=dt)
    np.testing.assert_array_equal(evaluate(graph, inputs.numpy())["net_1"], simulated(net, inputs))


@pytest.mark.parametrize("kind", ["RLeaky", "LSNN"])
def test_a_file_holds_it_all(kind, tmp_path):
    inputs = spikes_in()
    if kind == "RLeaky":
        net, name = snntorch_net("RLeaky-all", "subtract", True, vector=True), "lif"
    else:
        net, name = norse_net("LSNNCell", vector=True), "net_1"
    net = tuned(net, inputs)
    graph = graph_of(net, inputs[:2])
    save_nir(graph, tmp_path / "net.nir", form="integer")  # as it is
    again = nir.read(tmp_path / "net.nir")
    np.testing.assert_array_equal(evaluate(again, inputs.numpy())[name], simulated(net, inputs))
    save_nir(graph, tmp_path / "portable.nir")
    flat = inputs.numpy().astype(np.int8)
    files = (graph, tmp_path / "net.nir", tmp_path / "portable.nir")
    one, *others = (run(compile_nir(g, num_steps=T), flat).spikes()[name] for g in files)
    for other in others:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"adaptation_jump": [0.1] * 4}, r"metadata adaptation_jump must have shape \[32\], got \[4\]"),
        ({"adaptation_jump": -0.1}, r"metadata adaptation_jump must not be negative, got -0.1"),
        ({"adaptation_tau": 1e-9}, r"adaptation_tau of neuron 0 is 1e-09 s"),
        ({"adaptation_tau": "slow"}, r"adaptation_tau must be numbers"),
        ({"input_step": "next"}, r"metadata input_step must be 'same' or 'previous', got 'next'"),
    ],
)
def test_wrong_adaptation(metadata, text):
    inputs = spikes_in()
    graph = graph_of(norse_net("LSNNCell").double(), inputs[:2])
    graph.nodes["net_1"].metadata |= metadata
    with pytest.raises(CompileError, match=text):
        compile_nir(graph, num_steps=T)


def test_linear_integrator_of_norse():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif, self.out = nn.Linear(N_IN, N), norse.LIFBoxCell(), norse.LILinearCell(N, 5)

        def forward(self, x):
            v = state = None
            values = []
            for row in x:
                z, v = self.lif(self.fc(row), v)
                value, state = self.out(z, state)
                values.append(value)
            return torch.stack(values)

    torch.manual_seed(0)
    inputs, net = spikes_in(), Net().double()
    with torch.no_grad():
        net.fc.weight.mul_(9.0)
    np.testing.assert_allclose(
        evaluate(graph_of(net, inputs[:2]), inputs.numpy())["out"], simulated(net, inputs), rtol=1e-9, atol=1e-12
    )
    agreement = compile_module(net, inputs).metadata["agreement"]
    assert agreement["readouts"]["out"] < 0.05
    assert agreement["labels_equal"] == 1.0


def test_no_leak():
    """A layer without any leak is an IF; a neuron without one among others is very nearly one."""
    inputs = spikes_in()
    net = tuned(snntorch_net("Leaky", "zero", True), inputs)
    net.lif.beta.fill_(1.0)
    graph = graph_of(net, inputs[:2])
    assert isinstance(graph.nodes["lif"], nir.IF)
    np.testing.assert_array_equal(evaluate(graph, inputs.numpy())["lif"], simulated(net, inputs))
    compile_module(net, inputs, num_steps=T)
    net.lif.beta = torch.cat([torch.ones(1), torch.full((N - 1,), 0.9)]).double()
    graph = graph_of(net, inputs[:2])
    np.testing.assert_array_equal(evaluate(graph, inputs.numpy())["lif"], simulated(net, inputs))
    compile_module(net, inputs, num_steps=T)


# ---- networks as they are written


class Tutorial(nn.Module):
    """Tutorial 5 of snnTorch, smaller, with the layers' spikes as output."""

    def __init__(self, **options):
        super().__init__()
        self.fc1 = nn.Linear(N_IN, 24)
        self.lif1 = snntorch.Leaky(beta=0.9, spike_grad=step, **options)
        self.fc2 = nn.Linear(24, N)
        self.lif2 = snntorch.Leaky(beta=0.8, spike_grad=step, **options)

    def forward(self, x):
        mem1 = self.lif1.reset_mem()
        mem2 = self.lif2.reset_mem()
        spk2_rec, mem2_rec = [], []
        for t in range(x.size(0)):
            cur1 = self.fc1(x[t].flatten(1))
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


class SpikesOnly(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)[0]


@pytest.mark.parametrize("options", [{}, {"reset_mechanism": "zero"}, {"reset_delay": False}], ids=str)
def test_tutorial_class(options):
    torch.manual_seed(3)
    inputs = spikes_in()
    net = SpikesOnly(Tutorial(**options))
    tuned(net, inputs, net.net.fc2)
    check(net, inputs, inputs[:2], least=0.98)
    assert set(graph_of(net.net, inputs[:2]).edges) == {
        ("input", "fc1"), ("fc1", "lif1"), ("lif1", "fc2"), ("fc2", "lif2"), ("lif2", "output")
    }  # fmt: skip


class ConvTutorial(nn.Module):
    """Tutorial 6 of snnTorch with what else a convolutional network has: hidden states, norms, groups, feedback.

    Its decays are Q0.12 and its weights fit 8 bits: four layers and a loop amplify whatever is rounded.
    """

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, (5, 3), padding=(2, 1), bias=False),
            nn.BatchNorm2d(4),
            snntorch.Leaky(beta=0.875, init_hidden=True, spike_grad=step),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2),
            snntorch.Leaky(
                beta=torch.tensor([0.5, 0.625, 0.75, 0.8125])[:, None, None], init_hidden=True, spike_grad=step
            ),
            nn.Flatten(),
            nn.Dropout(0.5),
        )
        self.fc = nn.Linear(16, N)
        self.back = nn.Linear(N, N, bias=False)
        self.lif = snntorch.Leaky(beta=0.75, spike_grad=step, reset_mechanism="zero")

    def forward(self, x):
        for layer in (self.features[2], self.features[5]):
            layer.reset_mem()
        mem, spikes = self.lif.reset_mem(), []
        spk = x.new_zeros(x.shape[1], N)
        for t in range(len(x)):
            spk, mem = self.lif(self.fc(self.features(x[t])) + self.back(spk), mem)
            spikes.append(spk)
        return torch.stack(spikes)


def test_convolutional_class():
    torch.manual_seed(0)
    net = ConvTutorial().double()
    norm = net.features[1]
    with torch.no_grad():
        norm.running_mean.uniform_(-0.2, 0.2)
        norm.running_var.fill_(1.0 - norm.eps)  # gains are powers of two: folded weights stay on the grid of 8 bits
        norm.weight.copy_(torch.tensor([2.0, -1.0, 2.0, 1.0]))
        norm.bias.uniform_(0, 0.5)
        net.features[4].weight.mul_(4)
        net.features[4].bias.fill_(0.45)
    inputs = spikes_in(num_steps=40, batch=3, size=64).reshape(40, 3, 1, 8, 8)
    net.eval()
    tuned(net, inputs, net.fc)
    meaning = evaluate(graph_of(net, inputs[:3]), inputs.numpy())
    for name in ("features_2", "features_5"):
        assert 0.08 < meaning[name].mean() < 0.5, meaning[name].mean()
    check(net, inputs, inputs[:3], least=0.95)  # the loop amplifies the rounding of biases
    graph = graph_of(net, inputs[:3])
    assert {("lif", "back"), ("back", "lif")} <= set(graph.edges)
    assert graph.nodes["features_0"].weight.shape == (4, 1, 5, 5)


def test_norse_sequential_state_over_time():
    torch.manual_seed(1)
    net = norse.SequentialState(
        norse.Lift(nn.Conv2d(1, 3, 3)),
        norse.LIF(norse.LIFParameters(tau_mem_inv=torch.tensor(200.0))),
        nn.Flatten(2),
        norse.LIFRecurrent(48, 20),
        norse.Lift(nn.Linear(20, 5)),
        norse.LI(),
    ).double()
    inputs = spikes_in(num_steps=40, batch=2, size=36).reshape(40, 2, 1, 6, 6)
    graph = graph_of(net, inputs[:2])
    with torch.no_grad():
        expected, _ = net(inputs)
    got = evaluate(graph, inputs.numpy())
    np.testing.assert_allclose(got["5"], expected.numpy(), rtol=1e-9, atol=1e-12)
    assert got["3"].mean() > 0.005
    compile_module(net, inputs, num_steps=40)


def test_norse_sequential_state_of_cells():
    inputs = spikes_in()
    torch.manual_seed(2)
    sequence = norse.SequentialState(nn.Linear(N_IN, N), norse.LIFBoxCell(), nn.Linear(N, N), norse.LIFBoxCell())

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = sequence

        def forward(self, x):
            state, spikes = None, []
            for x_t in x.unbind(0):
                out, state = self.net(x_t, state)
                spikes.append(out)
            return torch.stack(spikes)

    net = Net().double()
    with torch.no_grad():
        sequence[0].weight.mul_(20)
    tuned(net, inputs, sequence[2])
    check(net, inputs, inputs[:2])


def test_one_step_of_a_sequential():
    net = nn.Sequential(nn.Linear(4, 3), snntorch.Leaky(0.9, init_hidden=True))
    assert graph_of(net, torch.zeros(1, 4)).edges == [("input", "0"), ("0", "1"), ("1", "output")]


def test_own_layers_and_integer_inputs():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            norm = nn.BatchNorm1d(N)
            self.one = SpikingLayer(BitLinear(N_IN, N, input_range="int8"), norm, pnbx_snn.LIF(0.9, reset="subtract"))
            self.two = pnbx_snn.lift(pnbx_snn.Leaky(0.8, reset_mechanism="zero"))
            self.fc = BitLinear(N, N)

        def forward(self, x):
            return self.two(self.fc(self.one(x)[0]))[0]

    torch.manual_seed(0)
    net, x = Net(), torch.rand(6, N_IN)
    net.one.linear.calibrate_input(x)
    held = x.expand(T, -1, -1)
    for _ in range(30):
        net.one(held)
    net.eval()
    with torch.no_grad():
        net.one.norm.bias.fill_(0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)  # 0.97 to 0.99 of spikes
        program = compile_module(net, held, num_steps=T)
    assert program.input.low == -128
    assert program.input.scale == pytest.approx(float(net.one.linear.input_scale))
    expected = simulated(net, held)
    assert expected.mean() > 0.02
    assert (run(program, held.numpy()).spikes()["two_neuron"] == expected).mean() > 0.97


def test_a_current_that_is_computed_once():
    class Net(Tutorial):
        def forward(self, x):
            mem1, cur1, out = self.lif1.reset_mem(), self.fc1(x), []
            for _ in range(4):
                spk1, mem1 = self.lif1(cur1, mem1)
                out.append(spk1)
            return torch.stack(out)

    assert graph_of(Net(), torch.rand(2, N_IN)).edges == [("input", "fc1"), ("fc1", "lif1"), ("lif1", "output")]


def test_layer_after_layer():
    """Two loops over time, the first one's spikes stacked between them."""

    class Net(Tutorial):
        def forward(self, x):
            mem1, first, second = self.lif1.reset_mem(), [], []
            for current in self.fc1(x):
                spk1, mem1 = self.lif1(current, mem1)
                first.append(spk1)
            mem2 = self.lif2.reset_mem()
            for current in self.fc2(torch.stack(first)):
                spk2, mem2 = self.lif2(current, mem2)
                second.append(spk2)
            return torch.stack(second)

    edges = {("input", "fc1"), ("fc1", "lif1"), ("lif1", "fc2"), ("fc2", "lif2"), ("lif2", "output")}
    assert set(graph_of(Net(), torch.rand(3, 2, N_IN)).edges) == edges


@pytest.mark.parametrize("where", ["loop", "elsewhere"])
def test_spikes_of_the_step_before(where):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.fb, self.lif1 = nn.Linear(N_IN, N), nn.Linear(N, N), snntorch.Leaky(0.8, spike_grad=step)
            self.fc2, self.lif2 = nn.Linear(N, N), snntorch.Leaky(0.8, spike_grad=step)

        def forward(self, x):
            mem1, mem2, out = self.lif1.reset_mem(), self.lif2.reset_mem(), []
            late = x.new_zeros(x.shape[1], N)
            for t in range(len(x)):
                cur1 = self.fc(x[t])
                if where == "loop":
                    cur1 = cur1 + self.fb(late)
                spk1, mem1 = self.lif1(cur1, mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1 if where == "loop" else late), mem2)
                late = spk2 if where == "loop" else spk1
                out.append(spk2)
            return torch.stack(out)

    torch.manual_seed(0)
    inputs = spikes_in()
    net = Net().double()
    with torch.no_grad():
        net.fc.weight.mul_(6)
    tuned(net, inputs, net.fc2)
    check(net, inputs, inputs[:3], least=0.96)
    assert sum(isinstance(node, nir.Delay) for node in graph_of(net, inputs[:3]).nodes.values()) == 1


def test_the_network_is_left_as_it_was():
    net = nn.Sequential(nn.Linear(4, 3), nn.Dropout(), snntorch.Leaky(0.9, init_hidden=True)).train()
    net(torch.ones(2, 4))
    before = net[2].mem.clone()
    graph_of(net, torch.ones(1, 4))
    assert net.training
    assert net[1].training
    assert torch.equal(net[2].mem, before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_never_loads_torchvision():
    assert "torchvision" not in sys.modules


# ---- what is refused


def sequential(*modules):
    return nn.Sequential(nn.Linear(4, 3), *modules)


def hidden(kind=snntorch.Leaky, **options):
    return kind(beta=0.9, init_hidden=True, **options)


def changed_reset():
    neuron = hidden()
    neuron.reset_mechanism = "zero"
    return neuron


class Between(nn.Module):
    """Something between two modules that is none."""

    def __init__(self, what):
        super().__init__()
        self.fc1, self.lif1, self.fc2 = nn.Linear(4, 4), snntorch.Leaky(0.9), nn.Linear(4, 3)
        self.what = what

    def forward(self, x):
        mem = self.lif1.reset_mem()
        spk, mem = self.lif1(self.fc1(x), mem)
        return self.fc2(self.what(x, spk, mem))


BETWEEN = {
    "relu": (
        lambda x, spk, mem: torch.relu(-spk),
        "fc2 .* no known origin: lif1 .* goes through torch's 'neg', which is no",
    ),
    "mul": (lambda x, spk, mem: spk * spk, "fc2 .* goes through torch's 'mul'"),
    "add_number": (lambda x, spk, mem: spk + 1.0, "fc2 .* goes through torch's 'add'"),
    "in place": (lambda x, spk, mem: spk.pow_(2.0), "fc2 .* goes through torch's 'pow'"),
    "cat": (lambda x, spk, mem: torch.cat([spk[:, :2], spk[:, 2:]], 1), "fc2 .* goes through torch's 'cat'"),
    "membrane": (lambda x, spk, mem: mem, "fc2 .* is a state of lif1"),
    "noise": (lambda x, spk, mem: torch.ones(2, 4), "fc2 .* comes from no module and not from the sample"),
    "zeros": (lambda x, spk, mem: torch.zeros(2, 4), "fc2 .* it is zero and comes from no module"),
    "permuted": (lambda x, spk, mem: spk.view(2, 2, 2).transpose(1, 2).reshape(2, 4), "fc2 .* another order"),
    "samples mixed": (lambda x, spk, mem: spk.t().reshape(2, 4), "fc2 .* another order"),
    "twice": (lambda x, spk, mem: torch.cat([spk, spk], 1)[:, :4], "fc2 .* is a part of the output of lif1"),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_what_lies_between_modules(name):
    what, message = BETWEEN[name]
    with pytest.raises(CompileError, match=message):
        graph_of(Between(what), torch.ones(2, 4))


class OneNeuron(nn.Module):
    def __init__(self, state):
        super().__init__()
        self.fc, self.lif, self.state = nn.Linear(4, 4), snntorch.Leaky(0.9), state

    def forward(self, x):
        mem = self.state(None)
        for _ in range(3):
            spk, mem = self.lif(self.fc(x), mem)
            mem = self.state(mem)
        return spk


STATES = {
    "starts": (lambda mem: torch.ones(2, 4) if mem is None else mem, "starts from a state that is not zero"),
    "scaled": (lambda mem: torch.zeros(2, 4) if mem is None else mem * 0.5, "in its step 2 it is not given the state"),
    "forgotten": (lambda mem: torch.zeros(2, 4), "in its step 2 it is not given the state"),
    "clipped": (lambda mem: torch.zeros(2, 4) if mem is None else mem.clamp_(0, 1), "step 2 it is not given the state"),
}


@pytest.mark.parametrize("name", STATES)
def test_states(name):
    state, message = STATES[name]
    with pytest.raises(CompileError, match=rf"lif \(Leaky\): .*{message}"):
        graph_of(OneNeuron(state), torch.ones(2, 4))


def test_swapped_and_stale_states():
    class Net(nn.Module):
        def __init__(self, stale):
            super().__init__()
            self.fc, self.lif, self.stale = nn.Linear(4, 4), snntorch.Synaptic(0.5, 0.9), stale

        def forward(self, x):
            before = syn, mem = torch.zeros(2, 4), torch.zeros(2, 4)
            for _ in range(3):
                given = before if self.stale else (mem, syn)
                before = (syn, mem)
                spk, syn, mem = self.lif(self.fc(x), *given)
            return spk

    for stale, number in ((False, 2), (True, 2)):
        with pytest.raises(CompileError, match=f"lif .* in its step {number} it is not given the state"):
            graph_of(Net(stale), torch.ones(2, 4))


def test_a_detached_state_is_the_state():
    state = lambda mem: torch.zeros(2, 4) if mem is None else mem.detach().clone()  # noqa: E731
    assert len(graph_of(OneNeuron(state), torch.ones(2, 4)).nodes) == 4


REFUSED = {
    "inhibition": (lambda: sequential(hidden(inhibition=True)), "1 .Leaky.: inhibition=True .* use inhibition=False"),
    "graded": (lambda: sequential(hidden(graded_spikes_factor=0.5)), "graded_spikes_factor is not 1; multiply the wei"),
    "state_quant": (lambda: sequential(hidden(state_quant=lambda x: x)), "state_quant rounds the membrane; leave it"),
    "reset changed": (lambda: sequential(changed_reset()), "reset_mechanism was changed after construction"),
    "RSynaptic": (
        lambda: sequential(hidden(snntorch.RSynaptic, alpha=0.5, linear_features=3, reset_delay=False)),
        r"snnTorch 1.0 cannot run RSynaptic\(reset_delay=False\); use reset_delay=True",
    ),
    "Alpha": (lambda: sequential(hidden(snntorch.Alpha, alpha=0.95)), "Alpha cannot .* Synaptic .a spike of Alpha"),
    "SLSTM": (lambda: sequential(snntorch.SLSTM(3, 3, init_hidden=True)), "SLSTM cannot .* nearest that can is RSynap"),
    "StateLeaky": (lambda: sequential(snntorch.StateLeaky(0.9, 3)), r"StateLeaky .* Leaky\(reset_mechanism='none'\)"),
    "Lapicque": (
        lambda: sequential(snntorch.Lapicque(R=1.0, C=0.5, init_hidden=True)),
        r"R \* C must be time_step or longer, else its decay 1 - time_step / \(R \* C\) is below 0, got -1",
    ),
    "ReLU": (lambda: sequential(nn.ReLU()), "1 .ReLU.: ReLU cannot be exported; .* a spiking neuron"),
    "LayerNorm": (lambda: sequential(nn.LayerNorm(3)), "LayerNorm cannot be exported; .* BatchNorm1d"),
    "GRU": (lambda: nn.Sequential(nn.GRU(4, 3)), "GRU cannot be exported; .* RSynaptic"),
    "unknown": (lambda: sequential(nn.Softplus()), "Softplus cannot be exported. Known are nn.Linear"),
    "subclass": (lambda: sequential(type("Mine", (nn.Linear,), {})(3, 3)), "Mine cannot be exported"),
    "norm first": (lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)), "0 .BatchNorm1d.: folds only into a lin"),
    "norm on spikes": (lambda: sequential(hidden(), nn.BatchNorm1d(3)), "2 .BatchNorm1d.: folds only into a linear"),
    "norm without": (
        lambda: sequential(nn.BatchNorm1d(3, track_running_stats=False)),
        "its BatchNorm keeps no running statistics",
    ),
    "Norse LSNN": (
        lambda: norse.SequentialState(nn.Linear(4, 3), norse.LSNNCell(norse.LSNNParameters(beta=torch.tensor(-0.5)))),
        "1 .LSNNCell.: beta must not be negative, got -0.5: thresholds rise",
    ),
    "Norse LSNN, adjoint": (
        lambda: norse.SequentialState(nn.Linear(4, 3), norse.LSNNCell(adjoint=True)),
        "1 .LSNNCell.: adjoint=True has a step of its own; use adjoint=False",
    ),
    "Norse AdEx": (lambda: norse.SequentialState(nn.Linear(4, 3), norse.LIFAdExCell()), "LIFAdExCell .* LIFCell"),
    "Norse adjoint": (
        lambda: norse.SequentialState(nn.Linear(4, 3), norse.LIFCell(norse.LIFParameters(method="adjoint"))),
        "method='adjoint' has a step of its own; use method='super'",
    ),
    "Norse too fast": (
        lambda: norse.SequentialState(nn.Linear(4, 3), norse.LIFCell(norse.LIFParameters(torch.tensor(3000.0)))),
        r"dt \* tau_syn_inv must be in \(0, 1\], got 3 .. 3",
    ),
    "Norse leak": (
        lambda: norse.SequentialState(nn.Linear(4, 3), norse.LICell(norse.LIParameters(v_leak=torch.tensor(0.5)))),
        "v_leak of an integrator must be 0",
    ),
    "Norse reset": (
        lambda: norse.SequentialState(
            nn.Linear(4, 3), norse.LIFBoxCell(norse.LIFBoxParameters(reset_method=lambda z, v, r, th: v))
        ),
        "reset_method .* is not known; use reset_value or reset_subtract",
    ),
    "NaN": (lambda: sequential(hidden(threshold=float("nan"))), "threshold holds NaN or infinity"),
    "per neuron": (lambda: sequential(snntorch.Leaky(torch.rand(2, 3) + 5, init_hidden=True)), "beta of shape .2, 3."),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    make, message = REFUSED[name]
    with pytest.raises(CompileError, match=message):
        graph_of(make(), torch.rand(2, 4))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_convolutions_that_are_refused():
    image = torch.rand(1, 2, 6, 6)
    for layer, message in (
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), "padding_mode='reflect' cannot be exported"),
        (nn.Conv2d(2, 3, (2, 3)), r"a kernel of \[2, 3\] cannot be exported"),
        (nn.Conv2d(2, 3, 2, padding="same"), "pads its two sides unequally; use an odd kernel"),
        (nn.AvgPool2d(4, ceil_mode=True), "ceil_mode adds windows that lie partly outside"),
        (nn.AvgPool2d(2, divisor_override=3), "divisor_override and count_include_pad=False are not in NIR"),
        (nn.AdaptiveAvgPool2d(4), r"makes \[4, 4\] of \[6, 6\] with windows of several sizes"),
        (nn.MaxPool2d(2), "1: a MaxPool2d has no node in NIR"),
        (nn.MaxPool2d(2, dilation=2), "dilation and return_indices cannot be compiled"),
    ):
        with pytest.raises(CompileError, match=message):
            graph_of(nn.Sequential(nn.Identity(), layer), image)
    with pytest.raises(CompileError, match="NIR can only flatten"):
        graph_of(nn.Sequential(nn.Linear(4, 18), nn.Unflatten(1, (2, 3, 3)), nn.Conv2d(2, 1, 3)), torch.rand(1, 4))
    with pytest.raises(CompileError, match="part of the output of 0"):
        graph_of(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(4, 2)), image)


@pytest.mark.parametrize("padding", ["same", "valid", 1, (2, 0)])
def test_convolutions(padding):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, (3, 5) if padding != "same" else 3, padding=padding, groups=2), nn.AvgPool2d(2))
    net = net.double()
    images = torch.rand(3, 2, 2, 9, 9).double()
    got = evaluate(graph_of(net, images[0]), images.numpy())["1"]
    np.testing.assert_allclose(got, torch.stack([net(x) for x in images]).detach().numpy(), rtol=1e-9, atol=1e-12)


def test_one_module_in_two_places():
    class Net(Between):
        def forward(self, x):
            spk, _ = self.lif1(self.fc1(x), None)
            return self.fc1(spk)

    with pytest.raises(CompileError, match="fc1 .* is fed by different modules in different calls"):
        graph_of(Net(None), torch.rand(2, 4))


def test_a_sum_at_the_end():
    class Net(Between):
        def forward(self, x):
            spk, _ = self.lif1(self.fc1(x), None)
            return self.fc2(spk) + self.fc2(spk)

    class Two(Between):
        def __init__(self):
            super().__init__(None)
            self.fc3 = nn.Linear(4, 4)

        def forward(self, x):
            spk, _ = self.lif1(self.fc1(x), None)
            return spk + self.fc3(x)

    with pytest.raises(CompileError, match="is the sum of lif1 .Leaky., fc3 .Linear.; let a module take the sum"):
        graph_of(Two(), torch.rand(2, 4))


def test_a_part_of_the_sample():
    class Net(Between):
        def forward(self, x):
            return self.fc1(x[:, :4])

    with pytest.raises(CompileError, match="fc1 .* a part of the sample's features"):
        graph_of(Net(None), torch.rand(2, 6))


def test_another_step():
    class Net(Tutorial):
        def __init__(self, shift):
            super().__init__()
            self.shift, self.fc3 = shift, nn.Linear(N_IN, 24)

        def forward(self, x):
            mem1, first, second = self.lif1.reset_mem(), [], []
            for t in range(len(x)):
                spk1, mem1 = self.lif1(self.fc1(x[t]) + self.fc3(x[t - self.shift]), mem1)
                first.append(spk1)
            for t in range(len(first)):
                second.append(self.fc2(torch.stack(first)[t]))
            return torch.stack(second)

    assert len(graph_of(Net(0), torch.rand(4, 2, N_IN)).nodes) == 6
    with pytest.raises(CompileError, match="fc3 .* reads the sample's steps in another order"):
        graph_of(Net(1), torch.rand(4, 2, N_IN))

    class Late(Net):
        def forward(self, x):
            mem1, first = self.lif1.reset_mem(), []
            for t in range(len(x)):
                spk1, mem1 = self.lif1(self.fc1(x[t]), mem1)
                first.append(spk1)
            return torch.stack([self.fc2(torch.stack(first)[t]) for t in range(1, len(x))])

    with pytest.raises(CompileError, match="fc2 .* is a part of the output of lif1 .* or at another step"):
        graph_of(Late(0), torch.rand(4, 2, N_IN))


def test_a_network_that_reads_nothing():
    class Net(nn.Module):
        def forward(self, x):
            return x

    net = nn.Sequential(nn.Identity())
    with pytest.raises(CompileError, match="no module reads the sample"):
        graph_of(net, torch.rand(2, 6))


@pytest.mark.parametrize("dt", [0.0, -1.0, float("nan")])
def test_dt_is_positive(dt):
    with pytest.raises(CompileError, match="dt must be a positive number of seconds"):
        graph_of(sequential(), torch.rand(2, 4), dt=dt)


def test_without_nir(monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(CompileError, match=r"pip install .*nir"):
        graph_of(sequential(), torch.rand(2, 4))


def test_a_wrong_graph_is_noticed():
    """The comparison can fail: one parameter changed, and spikes differ."""
    inputs = spikes_in()
    net = tuned(snntorch_net("Leaky", "subtract", True), inputs)
    expected = simulated(net, inputs)
    for field, value in (("reset_delay", False), ("reset_mechanism", "zero")):
        graph = graph_of(net, inputs[:2])
        graph.nodes["lif"].metadata[field] = value
        assert (evaluate(graph, inputs.numpy())["lif"] != expected).mean() > 0.01
