"""Networks of ShiftLIF: every spike of the program is the network's, and what cannot be so is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import neuromorphic
from neuromorphic.errors import CompileError
from neuromorphic.formats.xylo import to_xylo
from neuromorphic.ops import Delay, Dense, ShiftLIF, XyloLIF
from pnbx_snn import LIF, ShiftLIFCell, integer_weights
from pnbx_snn import ShiftLIF as Layer


def linear(inputs, outputs):
    return integer_weights(nn.Linear(inputs, outputs, bias=False))


class Stack(nn.Module):
    """Whole sequences, layer after layer."""

    def __init__(self, inputs=6, hidden=9, outputs=4, **options):
        super().__init__()
        self.fc, self.read = linear(inputs, hidden), linear(hidden, outputs)
        self.hidden = Layer(1, torch.arange(hidden) % 6, threshold=60, bias=torch.arange(hidden) - 4)
        self.out = Layer(2, 2, threshold=200, **options)

    def forward(self, x):
        spikes, _ = self.hidden(self.fc(x))
        return self.out(self.read(spikes))[0]


class Loop(nn.Module):
    """Step by step, as Xylo: hidden spikes arrive one step later, at hidden and at output neurons."""

    def __init__(self, inputs=6, hidden=9, outputs=4):
        super().__init__()
        self.size = hidden
        self.fc, self.loop, self.read = linear(inputs, hidden), linear(hidden, hidden), linear(hidden, outputs)
        self.hidden = ShiftLIFCell(1, 3, threshold=90, bias=torch.arange(hidden) - 4)
        self.out = ShiftLIFCell(2, 2, threshold=200, most_spikes=1)

    def forward(self, x):
        spikes, hidden, out, steps = x.new_zeros(x.shape[1], self.size), None, None, []
        for step in x:
            late = spikes
            spikes, hidden = self.hidden(self.fc(step) + self.loop(late), hidden)
            fired, out = self.out(self.read(late), out)
            steps.append(fired)
        return torch.stack(steps)


def sample(seed, inputs=6, *, low=0, high=15, steps=30):
    return torch.randint(low, high + 1, (steps, 3, inputs), generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("make", [Stack, Loop])
@pytest.mark.parametrize("seed", range(5))
def test_every_spike_is_the_networks(make, seed):
    torch.manual_seed(seed)
    net, x = make(), sample(seed)
    program = neuromorphic.compile(net, x)
    assert program.metadata["agreement"]["spikes_equal"] == 1.0
    assert (program.input.low, program.input.high) == (0, 15)
    other = sample(seed + 100, steps=50)
    recording = neuromorphic.run(program, other.numpy())
    with torch.no_grad():
        assert np.array_equal(recording.variables["out.spikes"], net(other).numpy())
    assert recording.variables["hidden.spikes"].max() > 1
    assert recording.variables["out.spikes"].any()


def test_states_are_the_networks():
    torch.manual_seed(0)
    net, x = Stack(), sample(0)
    recording = neuromorphic.run(neuromorphic.compile(net, x), x.numpy())
    with torch.no_grad():
        spikes, states = net.hidden.trace(net.fc(x))
    for name, values in (("spikes", spikes), ("i", states.i), ("v", states.v)):
        assert np.array_equal(recording.variables[f"hidden.{name}"], values.numpy())


def test_a_loop_becomes_a_delay_and_runs_on_xylo():
    torch.manual_seed(1)
    net, x = Loop(), sample(1, high=3)
    program = neuromorphic.compile(net, x)
    assert [(type(op), op.name) for op in program.ops[1:]] == [
        (Delay, "hidden_late"), (Dense, "fc"), (Dense, "loop"), (ShiftLIF, "hidden"), (Dense, "read"), (ShiftLIF, "out")
    ]  # fmt: skip
    made = to_xylo(program)
    assert [type(op) for op in made.ops[2:]] == [XyloLIF, XyloLIF]
    expected, got = (neuromorphic.run(p, x.numpy()).variables for p in (program, made))
    assert all(np.array_equal(values, got[name]) for name, values in expected.items())


def test_a_trained_network_compiles_after_its_weights_moved():
    torch.manual_seed(2)
    net, x = Stack(learn_threshold=True), sample(2)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    before = net.fc.weight.detach().clone()
    for _ in range(5):
        optimizer.zero_grad()
        net(x).sum().backward()
        optimizer.step()
    program = neuromorphic.compile(net, x)
    assert not torch.equal(net.fc.weight, before)
    assert np.array_equal(program["fc"].weights, net.fc.weight.detach().numpy())
    assert program["out"].threshold[0] == net.out.cell.threshold.item() != 200


def test_what_cannot_be_exact_is_refused():
    torch.manual_seed(3)
    x = sample(3)

    def changed(name, module):
        net = Stack()
        setattr(net, name, module)
        return net

    class Summed(Stack):
        def forward(self, x):
            spikes, _ = self.hidden(self.fc(x))
            return self.out(self.read(spikes + x))[0]

    class Unweighted(Stack):
        def forward(self, x):
            return self.hidden(x)[0]

    class Late(Loop):
        def forward(self, x):
            current, hidden, steps = x.new_zeros(x.shape[1], self.size), None, []
            for step in x:
                spikes, hidden = self.hidden(self.fc(step) + current, hidden)
                current = self.loop(spikes)
                steps.append(spikes)
            return torch.stack(steps)

    for net, given, message in (
        (
            Late(),
            x,
            r"hidden \(ShiftLIFCell\): reads a layer of weights one step late; let that layer read late spikes",
        ),
        (
            changed("fc", nn.Linear(6, 9, bias=False)),
            x,
            r"fc \(.*Linear\): its weights must be whole numbers in -127..127",
        ),
        (changed("fc", nn.Linear(6, 9)), x, r"fc \(Linear\): has a bias; use nn.Linear\(..., bias=False\)"),
        (
            Summed(inputs=9),
            sample(3, 9),
            r"read \(.*Linear\): reads the sum of .*; give each a linear layer of its own",
        ),
        (Unweighted(inputs=9), sample(3, 9), r"hidden \(ShiftLIF\): reads spikes; give it a linear layer"),
        (changed("out", LIF(0.9)), x, r"out \(LIF\): beside ShiftLIF only nn.Linear compiles"),
        (Stack(), x / 2, "the sample holds fractions; a network of ShiftLIF counts whole events"),
    ):
        with pytest.raises(CompileError, match=message):
            neuromorphic.compile(net, given)
    with pytest.raises(CompileError, match="leave out input_scale, weight_bits"):
        neuromorphic.compile(Stack(), x, weight_bits=15)
