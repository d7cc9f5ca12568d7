"""The convolutional networks of snnTorch's and Norse's tutorials, as their forward methods are written there."""

import norse.torch as norse
import numpy as np
import pytest
import snntorch as snn
import torch
from norse.torch.models.conv import ConvNet, ConvNet4
from snntorch import surrogate
from torch import nn
from torch.nn import functional as F  # noqa: N812 (as every tutorial calls it)

from neuromorphic import run
from neuromorphic.compiler import compile_module
from neuromorphic.ops import LI, LIF, Conv, Dense, MaxPool, SpikePool

EXECUTORS = ("torch", "native")
BETA, GRAD, STEPS = 0.5, surrogate.fast_sigmoid(slope=25), 6


class SnnTorch6(nn.Module):
    """Tutorial 6: max pools of currents, states kept by the user, one step a call."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 5)
        self.lif1 = snn.Leaky(beta=BETA, spike_grad=GRAD)
        self.conv2 = nn.Conv2d(12, 64, 5)
        self.lif2 = snn.Leaky(beta=BETA, spike_grad=GRAD)
        self.fc1 = nn.Linear(64 * 4 * 4, 10)
        self.lif3 = snn.Leaky(beta=BETA, spike_grad=GRAD)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        mem3 = self.lif3.init_leaky()
        cur1 = F.max_pool2d(self.conv1(x), 2)
        spk1, mem1 = self.lif1(cur1, mem1)
        cur2 = F.max_pool2d(self.conv2(spk1), 2)
        spk2, mem2 = self.lif2(cur2, mem2)
        cur3 = self.fc1(spk2.view(len(x), -1))
        spk3, mem3 = self.lif3(cur3, mem3)
        return spk3, mem3


class OverSteps(SnnTorch6):
    """The same with its loop over time inside, as tutorial 5 has it."""

    def forward(self, x):
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
        spikes, membranes = [], []
        for _ in range(STEPS):
            spk1, mem1 = self.lif1(F.max_pool2d(self.conv1(x), 2), mem1)
            spk2, mem2 = self.lif2(F.max_pool2d(self.conv2(spk1), 2), mem2)
            spk3, mem3 = self.lif3(self.fc1(spk2.view(len(x), -1)), mem3)
            spikes.append(spk3)
            membranes.append(mem3)
        return torch.stack(spikes, dim=0), torch.stack(membranes, dim=0)


def sequential_6():
    """Tutorial 6's network in one line."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 5),
        nn.MaxPool2d(2),
        snn.Leaky(beta=BETA, spike_grad=GRAD, init_hidden=True),
        nn.Conv2d(12, 64, 5),
        nn.MaxPool2d(2),
        snn.Leaky(beta=BETA, spike_grad=GRAD, init_hidden=True),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 10),
        snn.Leaky(beta=BETA, spike_grad=GRAD, init_hidden=True, output=True),
    )


def sequential_7():
    """Tutorial 7's network of frames of events, [2, 34, 34]."""
    return nn.Sequential(
        nn.Conv2d(2, 12, 5),
        nn.MaxPool2d(2),
        snn.Leaky(beta=BETA, spike_grad=GRAD, init_hidden=True),
        nn.Conv2d(12, 32, 5),
        nn.MaxPool2d(2),
        snn.Leaky(beta=BETA, spike_grad=GRAD, init_hidden=True),
        nn.Flatten(),
        nn.Linear(32 * 5 * 5, 10),
        snn.Leaky(beta=BETA, spike_grad=GRAD, init_hidden=True, output=True),
    )


def norse_sequential():
    """The network of Norse's introduction."""
    return norse.SequentialState(
        nn.Conv2d(1, 20, 5, 1),
        norse.LIFCell(),
        nn.MaxPool2d(2, 2),
        nn.Conv2d(20, 50, 5, 1),
        norse.LIFCell(),
        nn.MaxPool2d(2, 2),
        nn.Flatten(),
        nn.Linear(4 * 4 * 50, 10),
        norse.LICell(),
    )


def image(*shape):
    """Gray values as files hold them, in 0..1."""
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape) / 255).float()


def frames(*shape):
    return torch.from_numpy(np.random.default_rng(1).random(shape) < 0.2).float()


CASES = {
    "snnTorch 6, class": (SnnTorch6, image(2, 1, 28, 28), None, MaxPool),
    "snnTorch 6, loop inside": (OverSteps, image(2, 1, 28, 28), None, MaxPool),
    "snnTorch 6, Sequential": (sequential_6, image(2, 1, 28, 28), STEPS, MaxPool),
    "snnTorch 7, Sequential": (sequential_7, frames(2, 2, 34, 34), STEPS, MaxPool),
    "Norse ConvNet": (ConvNet, frames(STEPS, 2, 1, 28, 28), None, SpikePool),
    "Norse ConvNet4": (ConvNet4, frames(STEPS, 2, 1, 28, 28), None, SpikePool),
    "Norse SequentialState": (norse_sequential, frames(2, 1, 28, 28), None, SpikePool),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::neuromorphic.errors.CompileWarning")
def test_a_tutorial_compiles_as_it_is_written(name):
    make, sample, num_steps, pool = CASES[name]
    torch.manual_seed(1)
    net = make()
    with torch.no_grad():  # so that untrained layers fire
        for part in net.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                part.weight.mul_(20.0 if "Norse" in name else 3.0)
    program = compile_module(net, sample, num_steps=num_steps)
    kinds = [type(op) for op in program.ops]
    assert kinds.count(pool) == 2, kinds
    assert {Conv, Dense, LIF} <= {*kinds}
    assert (LI in kinds) or "Norse" not in name
    assert sum(op.weights.size for op in program.ops if isinstance(op, Conv)) <= 2 * 52_000  # as shared, at 15 bits
    agreement = program.metadata["agreement"]
    assert agreement["spikes_equal"] > 0.995, agreement
    # Every executor that knows the operations gives the same numbers.
    steps = program.num_steps // (len(sample) if sample.ndim == 5 else 1)
    inputs = sample.reshape(-1, 2, program.input.size).numpy().repeat(steps, 0)
    expected = run(program, inputs)
    assert all(spikes.mean() > 0.001 for spikes in expected.spikes().values())
    for executor in EXECUTORS:
        got = run(program, inputs, executor)
        for variable, array in expected.variables.items():
            np.testing.assert_array_equal(got.variables[variable], array, err_msg=f"{executor}: {variable}")
