"""Convolutional networks of torch as programs: shared weights, pools, and every spike the network's own."""

import numpy as np
import pytest
import snntorch
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (as every tutorial calls it)

from neuromorphic import run
from neuromorphic.compiler import compile_module, graph_of
from neuromorphic.errors import CompileError
from neuromorphic.ops import LI, LIF, Conv, Dense, MaxPool, Scale, SpikePool, SumPool

T, B = 12, 2

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


def fires(x):
    return (x > 0).to(x.dtype)


def leaky(theta=1.0, **options):
    theta = theta + 0.0031  # no sum of weights on a grid meets it
    return snntorch.Leaky(0.75, threshold=theta, spike_grad=fires, init_hidden=True, reset_delay=False, **options)


def on_grid(net, seed, unit=1 / 16, largest=5):
    """Put weights and biases on a grid of a power of two, so that integers hold every sum exactly."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            if name.rsplit(".", 1)[-1] in ("weight", "bias") and tensor.ndim:
                tensor.copy_(torch.from_numpy(rng.integers(-largest + 1, largest + 1, tuple(tensor.shape)) * unit))
    return net.double()


def spikes_in(seed, *shape, rate=0.4):
    return torch.from_numpy((np.random.default_rng(seed).random((T, B, *shape)) < rate).astype(np.float64))


class OverTime(nn.Module):
    """A network that takes one step a call, run over a sequence."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(part for part in parts if isinstance(part, nn.Module))
        self.order = parts

    def forward(self, x):
        for part in self.parts:
            if isinstance(part, snntorch.SpikingNeuron):
                part.reset_mem()
        steps = []
        for t in range(len(x)):
            h = x[t]
            for part in self.order:
                h = part(h)
            steps.append(h)
        return torch.stack(steps)


def check(net, sample):
    """Compile; every spike must be the network's, and every layer must fire, but not always."""
    program = compile_module(net, sample, weight_bits=8)
    agreement = program.metadata["agreement"]
    assert agreement["spikes_equal"] == 1.0, agreement
    recording = run(program, sample.reshape(T, B, -1).numpy())
    for name, spikes in recording.spikes().items():
        assert 0.001 < spikes.mean() < 0.999, (name, spikes.mean())
    return program


def kinds(program):
    return [type(op) for op in program.ops[1:]]


# One layer -----------------------------------------------------------------------------------------------------------


def random_layer(rng, channels):
    """A convolution over 2 axes with whatever options it may have."""
    groups = int(rng.choice([1, 1, 2, channels]))
    outputs = groups * int(rng.integers(1, 4))
    kernel = [int(size) for size in rng.integers(1, 4, 2)]
    dilation = [int(size) for size in rng.integers(1, 3, 2)]
    padding = [int(size) for size in rng.integers(0, 3, 2)]
    options = {"stride": [int(size) for size in rng.integers(1, 3, 2)], "padding": padding, "dilation": dilation}
    if rng.random() < 0.25:
        options = {
            "padding": "same",
            "dilation": 1 if any(size % 2 == 0 for size in kernel) else dilation,
        }
    return nn.Conv2d(channels, outputs, kernel, groups=groups, bias=bool(rng.random() < 0.7), **options)


@pytest.mark.parametrize("seed", [*range(3), *range(4, 25)])  # 3 draws negative weights alone
def test_any_convolution(seed):
    rng = np.random.default_rng(seed)
    channels = int(rng.choice([2, 4]))
    layer = random_layer(rng, channels)
    net = on_grid(OverTime(layer, leaky(0.1 * np.sqrt(layer.weight[0].numel()))), seed)
    program = check(net, spikes_in(seed, channels, 7, 8))
    assert kinds(program) == [Conv, LIF]
    conv = program.ops[1]
    assert conv.groups == layer.groups
    assert conv.weights.size <= (layer.weight.shape[0] * layer.weight.shape[1]) * 16


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": "same"}, {"groups": 2}], ids=str
)
def test_conv1d(options):
    net = on_grid(OverTime(nn.Conv1d(2, 4, 3, **options), leaky(0.3)), 3)
    program = check(net, spikes_in(3, 2, 9))
    assert kinds(program) == [Conv, LIF]
    assert program.ops[1].input_shape == (2, 1, 9)


POOLS = {
    "mean": (lambda: nn.AvgPool2d(2), SumPool),
    "mean of 3 with zeros": (lambda: nn.AvgPool2d(3, stride=2, padding=1), SumPool),
    "adaptive": (lambda: nn.AdaptiveAvgPool2d(2), SumPool),
    "largest": (lambda: nn.MaxPool2d(2), MaxPool),
    "largest, overlapping": (lambda: nn.MaxPool2d(3, stride=2, padding=1), MaxPool),
    "function mean": (lambda: lambda x: F.avg_pool2d(x, 2), SumPool),
    "function largest": (lambda: lambda x: F.max_pool2d(x, (2, 1)), MaxPool),
    "function adaptive": (lambda: lambda x: F.adaptive_avg_pool2d(x, 1), SumPool),
}  # fmt: skip


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_of_currents(name):
    """Before the neurons: a divisor and a bias move into thresholds, and nothing is rounded."""
    make, kind = POOLS[name]
    net = on_grid(OverTime(nn.Conv2d(2, 3, 3, padding=1), make(), leaky(0.25 if "mean" in name else 1.0)), 5, largest=9)
    program = check(net, spikes_in(5, 2, 8, 8))
    assert kinds(program) == [Conv, kind, LIF]


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_of_spikes(name):
    make, kind = POOLS[name]
    parts = (nn.Conv2d(2, 3, 3, padding=1), leaky(1.0), make(), nn.Conv2d(3, 2, 2, padding=1), leaky(0.25))
    program = check(on_grid(OverTime(*parts), 7), spikes_in(7, 2, 8, 8))
    pool = SpikePool if kind is MaxPool else SumPool
    assert kinds(program) == [Conv, LIF, pool, Conv, LIF]
    flat = OverTime(*parts[:3], nn.Flatten(), nn.Linear(3 * np.prod(pool_shape(make)), 4), leaky(0.25))
    program = check(on_grid(flat, 8), spikes_in(8, 2, 8, 8))
    assert kinds(program) == [Conv, LIF, pool, Dense, LIF]


def pool_shape(make):
    return make()(torch.zeros(1, 1, 8, 8)).shape[2:]


def test_pools_of_the_sample():
    program = check(on_grid(OverTime(nn.MaxPool2d(2), nn.Conv2d(2, 3, 2), leaky(0.3)), 2), spikes_in(2, 2, 8, 8))
    assert kinds(program) == [SpikePool, Conv, LIF]
    graded = spikes_in(2, 2, 8, 8) * 3
    program = check(on_grid(OverTime(nn.MaxPool2d(2), nn.Conv2d(2, 3, 2), leaky(1.0)), 2), graded)
    assert MaxPool in kinds(program)
    program = check(on_grid(OverTime(nn.AvgPool2d(2), nn.Conv2d(2, 3, 2), leaky(1.0)), 2), graded)
    assert kinds(program) == [SumPool, Conv, LIF]


@pytest.mark.parametrize("gains", [(1.0, 2.0, 0.5), (-1.0, 2.0, -0.5)], ids=str)
def test_scales_of_channels_go_through_the_largest(gains):
    """A batch norm's gain, of either sign, folds before the pool: into thresholds, and a negative one into weights."""
    conv, norm = nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3)
    net = OverTime(conv, norm, nn.MaxPool2d(2), leaky(0.5))
    with torch.no_grad():
        on_grid(net, 4)
        norm.running_var.fill_(1.0 - norm.eps)
        norm.running_mean.copy_(torch.tensor([0.25, -0.125, 0.0]))
        norm.weight.copy_(torch.tensor(gains))
        norm.bias.copy_(torch.tensor([0.125, -0.25, 0.5]))
    program = check(net.eval(), spikes_in(4, 2, 8, 8))
    assert kinds(program) == [Conv, MaxPool, LIF]


def test_weights_behind_the_largest():
    """No neuron between: units of channels and biases move into the weights that read the pool."""
    parts = (nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.Conv2d(3, 2, 2), leaky(0.5))
    assert kinds(check(on_grid(OverTime(*parts), 9), spikes_in(9, 2, 8, 8))) == [Conv, MaxPool, Conv, LIF]
    parts = (nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4), leaky(0.5))
    assert kinds(check(on_grid(OverTime(*parts), 9), spikes_in(9, 2, 8, 8))) == [Conv, MaxPool, Dense, LIF]
    parts = (nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.AvgPool2d(2), leaky(1.5))
    assert kinds(check(on_grid(OverTime(*parts), 9), spikes_in(9, 2, 8, 8))) == [Conv, MaxPool, SumPool, LIF]


def test_weights_of_15_bits_below_the_largest():
    """Two matrices are added up by an integrator without memory before the pool."""
    torch.manual_seed(0)
    net = OverTime(nn.Conv2d(1, 4, 5), nn.MaxPool2d(2), leaky(0.4)).double()
    program = compile_module(net, spikes_in(1, 1, 12, 12), weight_bits=15)
    assert kinds(program) == [Conv, Conv, LI, MaxPool, Scale, LIF]
    assert program.metadata["agreement"]["spikes_equal"] > 0.999


def test_two_convolutions_that_are_one():
    """Depthwise and pointwise without neurons between are one; two others become a matrix."""
    parts = (nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 4, 1), leaky(0.3))
    program = check(on_grid(OverTime(*parts), 1, unit=1 / 4, largest=3), spikes_in(1, 3, 7, 7))
    assert kinds(program) == [Conv, LIF]
    assert program.ops[1].weights.shape == (4, 3, 3, 3)
    parts = (nn.Conv2d(1, 2, 2), nn.Conv2d(2, 2, 2), leaky(0.3))
    assert kinds(check(on_grid(OverTime(*parts), 1, unit=1 / 4, largest=3), spikes_in(1, 1, 5, 5))) == [Dense, LIF]


# Between modules -----------------------------------------------------------------------------------------------------


class Branches(nn.Module):
    """Features side by side, residuals and constants, as they are written between modules."""

    def __init__(self, join, channels):
        super().__init__()
        self.one, self.two, self.third = (
            nn.Conv2d(2, 2, 3, padding=1),
            nn.Conv2d(2, 4, 1),
            nn.Conv2d(2, 4, 3, padding=1),
        )
        self.out = nn.Conv2d(channels, 3, 3)
        self.first, self.second, self.last = (leaky(theta) for theta in (0.5, 0.5, 0.25))
        self.join = join

    def forward(self, x):
        for neuron in (self.first, self.second, self.last):
            neuron.reset_mem()
        return torch.stack([self.last(self.out(self.join(self, x[t]))) for t in range(len(x))])


JOINS = {
    "cat of spikes": (lambda n, x: torch.cat([n.first(n.one(x)), n.second(n.two(x))], 1), 6),
    "cat of currents": (lambda n, x: n.first(torch.cat([n.one(x), n.two(x)], 1)), 6),
    "cat of pools": (
        lambda n, x: torch.cat([F.avg_pool2d(n.first(n.one(x)), 2), F.max_pool2d(n.second(n.two(x)), 2)], 1),
        6,
    ),
    "nested": (lambda n, x: torch.cat([torch.cat([n.first(n.one(x))], 1), 0.5 * n.second(n.two(x))], 1), 6),
    "weighted": (lambda n, x: 0.5 * n.first(n.one(x)), 2),
    "difference": (lambda n, x: n.second(n.two(x) - 0.5 * n.third(x)), 4),
    "divided": (lambda n, x: n.second(n.two(x) / 2), 4),
    "negative": (lambda n, x: -n.second(n.two(x)), 4),
    "twice": (lambda n, x: (lambda a: a + a)(n.second(n.two(x))), 4),
    "rectified spikes": (lambda n, x: F.relu(n.second(n.two(x))), 4),
}  # fmt: skip


@pytest.mark.parametrize("name", JOINS)
def test_between_modules(name):
    join, channels = JOINS[name]
    net = on_grid(Branches(join, channels), 11)
    program = check(net, spikes_in(11, 2, 8, 8))
    assert Dense not in kinds(program)


def test_a_residual():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.fc = (
                nn.Conv2d(2, 3, 3, padding=1),
                nn.Conv2d(3, 3, 3, padding=1),
                nn.Linear(288, 5),
            )
            self.a, self.b, self.c = leaky(0.5), leaky(0.5), leaky(2.0)

        def forward(self, x):
            for neuron in (self.a, self.b, self.c):
                neuron.reset_mem()
            steps = []
            for t in range(len(x)):
                first = self.a(self.one(x[t]))
                second = self.b(self.two(first) + 0.25 * first)
                both = [F.avg_pool2d(first, (2, 1)).flatten(1), second.flatten(1)]
                steps.append(self.c(self.fc(torch.cat(both, 1))))
            return torch.stack(steps)

    program = check(on_grid(Net(), 6), spikes_in(6, 2, 8, 8))
    assert kinds(program).count(Conv) == 2


def test_what_cannot_be_followed_is_refused_by_name():
    for join, message in (
        (lambda n, x: n.first(n.one(x)) + 0.5, "out .* first .* goes through torch's 'add'"),
        (lambda n, x: n.first(n.one(x)) * n.first(n.one(x)), "first .* goes through torch's 'mul'"),
        (lambda n, x: F.max_pool2d(n.first(n.one(x)), 2, dilation=2), "dilation and return_indices cannot be compiled"),
        (lambda n, x: F.avg_pool2d(n.first(n.one(x)), 3, ceil_mode=True), "ceil_mode adds windows"),
        (lambda n, x: F.adaptive_avg_pool2d(n.first(n.one(x)), 3), "with windows of several sizes"),
        (lambda n, x: F.relu(n.one(x)), "one .* goes through torch's 'relu'"),
        (
            lambda n, x: torch.cat([n.first(n.one(x)), n.first.mem], 1)[:, :2],
            "first .* goes through torch's 'cat', which is no module",
        ),
        (lambda n, x: torch.cat([n.one(x), n.one(x)], 2)[:, :, :8], "a part of the output of one"),
    ):
        with pytest.raises(CompileError, match=message):
            compile_module(on_grid(Branches(join, 2), 0), spikes_in(0, 2, 8, 8))
    net = OverTime(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), leaky())
    with pytest.raises(CompileError, match="MaxPool2d has no node in NIR"):
        graph_of(net.double(), spikes_in(0, 1, 8, 8))
