"""Learned delays in programs: the layer against the operation, networks with delays against their programs."""

import nir
import numpy as np
import pytest
import snntorch
import torch
from torch import nn

import pnbx_snn
from neuromorphic import Dense, Input, Program, run
from neuromorphic.compiler import compile_module, compile_nir, graph_of, to_nir
from neuromorphic.errors import CompileError
from neuromorphic.ops import LI
from neuromorphic.ops.delays import MAX_STEPS, Delays
from pnbx_snn.layers.delays import MOST_STEPS


@pytest.mark.parametrize("seed", range(20))
def test_a_rounded_layer_is_the_operation(seed):
    rng, size, max_delay = np.random.default_rng(seed), 17, (1, 6, 31, MOST_STEPS)[seed % 4]
    torch.manual_seed(seed)
    layer = pnbx_snn.Delays(size, max_delay=max_delay).eval()
    x = rng.integers(-5, 6, (70, 3, size)).astype(np.int8)
    ones = np.eye(size, dtype=np.int8)
    ops = (
        Input("x", size, low=-5, high=5),
        Delays("late", "x", layer.steps.numpy(), low=-5, high=5),
        Dense("copy", "late", ones),
        LI("seen", ("copy",), np.zeros(size, np.int32), np.zeros(size, np.int32)),
    )
    got = run(Program(ops, num_steps=len(x)), x).variables["seen.v"]
    np.testing.assert_array_equal(layer(torch.from_numpy(x).float())[0].numpy(), got)
    assert MOST_STEPS == MAX_STEPS


class Whole(nn.Module):
    """Delays, ternary weights and neurons, twice; layer after layer."""

    def __init__(self, max_delay=9):
        super().__init__()
        self.axons = pnbx_snn.Delays(12, max_delay=max_delay)
        self.fc1, self.lif1 = nn.Linear(12, 20, bias=False), pnbx_snn.LIF(0.75)
        self.late = pnbx_snn.Delays(20, max_delay=max_delay)
        self.fc2, self.lif2 = nn.Linear(20, 4, bias=False), pnbx_snn.LIF(0.5)
        for layer in (self.fc1, self.fc2):
            layer.weight.data = torch.randint(-1, 2, layer.weight.shape).float()

    def forward(self, x):
        z, _ = self.lif1(self.fc1(self.axons(x)[0]))
        return self.lif2(self.fc2(self.late(z)[0]))[0]


class Steps(Whole):
    """The same, step by step, with explicit states."""

    def forward(self, x):
        states, spikes = [None] * 4, []
        for t in range(len(x)):
            y, states[0] = self.axons(x[t : t + 1], states[0])
            z, states[1] = self.lif1(self.fc1(y), states[1])
            z, states[2] = self.late(z, states[2])
            z, states[3] = self.lif2(self.fc2(z), states[3])
            spikes.append(z[0])
        return torch.stack(spikes)


class Tutorial(Whole):
    """The delays over the whole sequence, then snnTorch's neurons in a loop."""

    def __init__(self):
        super().__init__()
        self.lif1, self.lif2 = snntorch.Leaky(beta=0.75), snntorch.Leaky(beta=0.5)

    def forward(self, x):
        x, _ = self.axons(x)
        mem1, mem2, state, spikes = self.lif1.reset_mem(), self.lif2.reset_mem(), None, []
        for t in range(len(x)):
            z, mem1 = self.lif1(self.fc1(x[t]), mem1)
            z, state = self.late(z[None], state)
            z, mem2 = self.lif2(self.fc2(z[0]), mem2)
            spikes.append(z)
        return torch.stack(spikes)


def sample(num_steps=50, batch=8, size=12):
    return (torch.rand(num_steps, batch, size, generator=torch.Generator().manual_seed(1)) < 0.3).float()


@pytest.mark.parametrize("kind", [Whole, Steps, Tutorial])
def test_networks_with_delays(kind):
    torch.manual_seed(0)
    net, x = kind().train(), sample()
    program = compile_module(net, x)
    assert net.axons.training  # left as it was
    with torch.no_grad():
        expected = net.eval()(x).numpy()
    assert 0.05 < expected.mean() < 0.6
    np.testing.assert_array_equal(run(program, x.numpy().astype(np.int8)).spikes()["lif2"], expected)
    assert program.metadata["agreement"]["spikes_equal"] == 1.0
    assert [type(op).__name__ for op in program.ops] == ["Input", "Delays", "Dense", "LIF", "Delays", "Dense", "LIF"]
    read = (net.fc1.weight != 0).any(dim=0)  # what nobody reads is not delayed
    assert program.ops[1].steps.tolist() == torch.where(read, net.axons.steps, 0).tolist()
    back = compile_nir(to_nir(program), num_steps=len(x))
    assert [op.steps.tolist() for op in back.of_type(Delays)] == [op.steps.tolist() for op in program.of_type(Delays)]
    net.axons.fraction.data = (net.axons.fraction.data + 0.5) % 1.0  # the test can fail: other lengths, other spikes
    with torch.no_grad():
        assert (net(x).numpy() != expected).any()


def test_the_graph_has_a_delay_per_channel():
    torch.manual_seed(0)
    net = Whole()
    graph = graph_of(net, sample(), dt=1e-3)
    assert isinstance(graph.nodes["axons"], nir.Delay)
    np.testing.assert_allclose(graph.nodes["axons"].delay, net.axons.steps.numpy() * 1e-3)


def test_lengths_in_a_loop_and_of_several_readers():
    """Delays that close a loop become one Delay for each length; two layers that read one delay read one operation."""
    rng, size, num_steps = np.random.default_rng(0), 8, 60
    weights = {key: rng.integers(-1, 2, (size, size)).astype(np.float64) for key in ("w", "u", "v", "o")}
    one, lengths = np.ones(size), rng.integers(1, 5, size)
    nodes = {key: nir.Linear(weight) for key, weight in weights.items()}
    nodes |= {key: nir.IF(r=one / 1e-4, v_threshold=1.5 * one) for key in ("n", "m", "k")}
    nodes |= {"input": nir.Input(np.array([size])), "output": nir.Output(np.array([size]))}
    nodes["d"] = nir.Delay(lengths * 1e-4)
    x = (rng.random((num_steps, 4, size)) < 0.4).astype(np.int8)

    def neurons(current_of):
        v, spikes = np.zeros((4, size)), np.zeros((num_steps, 4, size))
        for t in range(num_steps):
            v = v + current_of(t, spikes)
            spikes[t] = v > 1.5
            v = np.where(spikes[t] > 0, 0.0, v)
        return spikes

    def late(spikes, t):
        return np.stack([spikes[t - d, :, i] if t >= d else np.zeros(4) for i, d in enumerate(lengths)], axis=1)

    w, u, v, o = (weights[key].T for key in "wuvo")
    n = neurons(lambda t, _: x[t] @ w)
    expected = {"n": n, "m": neurons(lambda t, _: late(n, t) @ v), "k": neurons(lambda t, _: late(n, t) @ o)}
    looped = {"n": neurons(lambda t, before: x[t] @ w + late(before, t) @ u)}
    for edges, right, kinds in (
        ("input w, w n, n d, d u, u n, n output", looped, []),
        ("input w, w n, n d, d v, v m, d o, o k, m output, k output", expected, ["Delays"]),
    ):
        pairs = [tuple(pair.split()) for pair in edges.split(", ")]
        used = {key: node for key, node in nodes.items() if any(key in pair for pair in pairs)}
        program = compile_nir(nir.NIRGraph(used, pairs, metadata={"dt": 1e-4}), num_steps=num_steps)
        assert [type(op).__name__ for op in program.of_type(Delays)] == kinds
        got = run(program, x).spikes()
        for name, spikes in right.items():
            assert 0.02 < spikes.mean() < 0.9
            np.testing.assert_array_equal(got[name], spikes)


def test_values_are_not_delayed():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.late = nn.Linear(12, 3), pnbx_snn.Delays(3)
            self.out = snntorch.Leaky(beta=0.5)

        def forward(self, x):
            mem, spikes = self.out.reset_mem(), []
            late, _ = self.late(self.fc(x))  # of a matrix: its spikes can be delayed as well
            for row in late:
                z, mem = self.out(row, mem)
                spikes.append(z)
            return torch.stack(spikes)

    torch.manual_seed(0)
    assert compile_module(Net(), sample()).metadata["agreement"]["spikes_equal"] > 0.99

    norse = pytest.importorskip("norse.torch")

    class Values(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.li, self.late = nn.Linear(12, 3), norse.LI(), pnbx_snn.Delays(3)
            self.lif = pnbx_snn.LIF(0.5)

        def forward(self, x):
            return self.lif(self.late(self.li(self.fc(x))[0])[0])[0]

    with pytest.raises(CompileError, match=r"gets the values of li .* only spikes can be delayed"):
        compile_module(Values(), sample())
