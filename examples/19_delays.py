"""
A task that needs delays: coincidence at unknown lags
=====================================================

Eight classes of volleys: in each, twelve channels spike once, every channel at a lag that belongs to the class and that
nobody tells the network. A volley starts at any time, among spikes of noise, so counts say nothing. A detector of a
class needs delays that bring its spikes together: they are learned, rounded, compiled, and run in integers.
"""

# %%
# Volleys
# -------
# Spikes come up to one step early or late, and one in ten is missing.
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from torch import nn

import neuromorphic
import pnbx_snn as pnbx
from pnbx_snn import plot

torch.set_num_threads(1)
fast = "--fast" in sys.argv
num_updates, num_seeds, num_tests = (3, 1, 50) if fast else (300, 3, 1000)
num_channels, num_classes, num_steps, longest = 12, 8, 60, 24
torch.manual_seed(0)
all_lags = torch.randint(0, longest + 1, (num_seeds, num_classes, num_channels))


def volleys(lags, count, generator):
    """Return spikes [T, B, N] and labels [B]."""
    labels = torch.randint(0, num_classes, (count,), generator=generator)
    spikes = torch.rand(num_steps, count, num_channels, generator=generator) < 0.05
    start = torch.randint(0, num_steps - longest - 10, (count, 1), generator=generator)
    when = start + lags[labels] + torch.randint(0, 3, (count, num_channels), generator=generator)
    sent = torch.rand(count, num_channels, generator=generator) < 0.9
    spikes[(when[sent], *sent.nonzero(as_tuple=True))] = True
    return spikes.float(), labels


# %%
# The networks
# ------------
# A detector for each class is a membrane that no spike resets; the highest peak wins. With delays it has an axon of its
# own from each channel, so the input is repeated for each class. Without, there is a hidden layer of as many weights.
class Net(nn.Module):
    """Axons with delays or hidden neurons, then synapses and a membrane for each class."""

    def __init__(self, delayed):
        super().__init__()
        self.copies, width = (num_classes, num_classes * num_channels) if delayed else (1, 40)
        self.front = nn.Sequential(nn.Linear(num_channels, width), pnbx.LIF(0.8))
        self.synapses, self.membrane = nn.Linear(width, num_classes), pnbx.LIF(0.75, reset="none")
        if delayed:
            self.front = pnbx.Delays(width, max_delay=31)
            self.synapses.weight.data = torch.eye(num_classes).repeat_interleave(num_channels, dim=1) / 4

    def forward(self, x):
        """Return where membranes are above 1, [T, B, C]."""
        return self.membrane(self.synapses(self.front(x)[0]))[0]

    def peaks(self, x):
        """Return the highest value of each membrane, smooth in training, [B, C]."""
        _, v = self.membrane.trace(self.synapses(self.front(x.repeat(1, 1, self.copies))[0]))
        return torch.logsumexp(4 * v, dim=0) if self.training else v.amax(dim=0)


def trained(seed, learned, num_updates):
    """Return a network of which some parts were trained, and its accuracy on new volleys, its delays rounded."""
    torch.manual_seed(seed)
    net, generator = Net(delayed=bool(learned)), torch.Generator().manual_seed(seed)
    chosen = [p for name, p in net.named_parameters() if name.startswith((learned, "synapses.bias"))]
    optimizer = torch.optim.Adam(chosen, lr=0.02)
    for update in range(num_updates):
        pnbx.sharpen(net, update / num_updates if learned == "front" else 1.0)
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - update / num_updates)
        x, labels = volleys(all_lags[seed], 64, generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net.peaks(x), labels).backward()
        optimizer.step()
    x, labels = volleys(all_lags[seed], num_tests, torch.Generator().manual_seed(1000 + seed))
    with torch.no_grad():
        return net.eval(), (net.peaks(x).argmax(dim=1) == labels).double().mean().item()


# %%
# The synapses of the first network stay as they are: it learns lengths and a bias for each detector, nothing else.
# The last one has five times as many updates.
found = {}
for name, learned, share in ("learned delays", "front", 1), ("random delays", "synapses", 1), ("no delays", "", 5):
    found[name] = [trained(seed, learned, share * num_updates) for seed in range(num_seeds)]
    print(f"{name:<15}", *(f"{accuracy:.1%}" for _, accuracy in found[name]), "of", num_tests)

# %%
# In integers, and the figure
# ---------------------------
# A detector's twelve spikes meet where length and lag add up to the same for all: the lag that each axon undoes.
net, lags = found["learned delays"][0][0], all_lags[0]
x, _ = volleys(lags, num_tests, torch.Generator().manual_seed(2000))
program, events = neuromorphic.compile(net, x.repeat(1, 1, 8)), x.repeat(1, 1, 8).numpy().astype(np.int8)
print("operations:", ", ".join(type(op).__name__ for op in program.ops))
ours, theirs = (neuromorphic.run(program, events, executor).variables for executor in ("numpy", "torch"))
differ = sum(int((ours[name] != theirs[name]).sum()) for name in ours)
print(f"numpy and torch: {sum(values.size for values in ours.values()):,} values compared, {differ} different")
same = ours["membrane.v"].max(axis=0).argmax(axis=1) == net.peaks(x).argmax(dim=1).numpy()
print(f"labels: {same.mean():.1%} of {num_tests} equal the network's")
lengths = net.front.steps.reshape(num_classes, num_channels)
undone = (lengths + lags).median(dim=1, keepdim=True).values - lengths
print(f"axons within 2 steps of the true lag: {((undone - lags).abs() <= 2).double().mean():.1%}")
ax = plt.figure(figsize=(5, 5), layout="constrained").subplots()
ax.set(xlabel="true lag, steps", ylabel="lag that the learned delay undoes, steps")
ax.plot([0, longest], [0, longest], color=plot.QUIET, linewidth=1)
ax.scatter(lags, undone, color=plot.INK, s=14, alpha=0.7)
Path("runs/examples").mkdir(parents=True, exist_ok=True)
ax.figure.savefig("runs/examples/19_delays.png", dpi=120)
