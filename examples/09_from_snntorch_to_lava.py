"""
From snnTorch to Lava
=====================

A network as snnTorch's tutorials write it, trained on the handwritten digits, compiled to integers and run on Intel
Lava. Nothing in the class is ours: it is run once while its tensors are followed, becomes a NIR graph, and the graph a
program. snnTorch's default reset, by subtraction and one step late, is preserved; snnTorch's own NIR export loses it.
"""

# %%
# The network: tutorial 5, smaller
# --------------------------------
import sys
from pathlib import Path

import numpy as np
import snntorch as snn
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from snntorch import functional as SF  # noqa: N812 (the tutorials' name)
from torch import nn

import neuromorphic
from neuromorphic.compiler import graph_of
from neuromorphic.errors import LavaNotFoundError
from neuromorphic.executors.lava.mapping import lava_mapping

torch.manual_seed(0)
fast = "--fast" in sys.argv
num_steps, epochs, num_shown = 25, 2 if fast else 20, 2 if fast else 16


class Net(nn.Module):
    """Two fully connected layers of leaky integrate-and-fire neurons."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 64), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(64, 10), snn.Leaky(beta=0.9)

    def forward(self, x):
        """Take spikes [T, B, 64], return those of both layers."""
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spk_rec = []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk_rec.append((spk1, spk2))
        return [torch.stack(layer) for layer in zip(*spk_rec, strict=True)]


# %%
# Train on spikes: a pixel's brightness is its probability to fire
# ----------------------------------------------------------------
pixels, labels = map(torch.tensor, load_digits(return_X_y=True))
images = (pixels / 16).float()
test = torch.arange(len(images)) % 5 == 0
train = torch.nonzero(~test).flatten()
net, loss_fn = Net(), SF.ce_rate_loss()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for _ in range(epochs):
    for batch in train[torch.randperm(len(train))].split(128):
        _, spk2 = net(torch.bernoulli(images[batch].expand(num_steps, -1, -1)))
        optimizer.zero_grad()
        loss_fn(spk2, labels[batch]).backward()
        optimizer.step()

# %%
# Compile
# -------
# Two steps show which module feeds which; a longer sample is also compared with the program.
spikes_in = torch.bernoulli(images[test].expand(num_steps, -1, -1))
print("lif1:", graph_of(net, spikes_in[:2, :1]).nodes["lif1"].metadata)
program = neuromorphic.compile(net, spikes_in[:, :8], num_steps=num_steps)
print(f"of 8 digits' spikes equal: {100 * program.metadata['agreement']['spikes_equal']:.2f} %")
print("on Lava:", ", ".join(f"{placement.op} is {placement.process}" for placement in lava_mapping(program)))

# %%
# snnTorch against its program
# ----------------------------
# Weights of 8 bits are what moves a spike by a step here and there: measured.
with torch.no_grad():
    expected = {name: spikes.numpy() for name, spikes in zip(("lif1", "lif2"), net(spikes_in), strict=True)}
spikes = neuromorphic.run(program, spikes_in.numpy().astype(np.int8)).spikes()
for name, theirs in expected.items():
    print(f"{name}: fires {100 * theirs.mean():.1f} %, spikes equal {100 * (spikes[name] == theirs).mean():.2f} %")
for what, fired in (("snnTorch", expected), ("program", spikes)):
    print(f"accuracy of {what}: {100 * (fired['lif2'].sum(0).argmax(1) == labels[test].numpy()).mean():.2f} %")

# %%
# The program against Lava
# ------------------------
try:
    comparison, _, recording = neuromorphic.verify(program, spikes_in[:, :num_shown].numpy().astype(np.int8), "lava")
except LavaNotFoundError as error:
    sys.exit(f"\nThis example needs Lava.\n{error}")
print(f"Lava: {comparison.spikes_different} of {comparison.spikes_compared:,} spikes differ from the program's")

# %%
# Side by side
# ------------
figure, axes = plt.subplots(2, 3, figsize=(12, 7), sharex=True, sharey="row", layout="constrained")
runs = {"snnTorch, float32": expected, "program, integers": spikes, "program on Lava": recording.spikes()}
for column, (title, fired) in enumerate(runs.items()):
    for row, name in enumerate(("lif1", "lif2")):
        axes[row, column].scatter(*np.nonzero(fired[name][:, 0]), s=9, color="#1b3a5c")
        other = np.nonzero(fired[name][:, 0] != expected[name][:, 0])
        axes[row, column].scatter(*other, s=60, facecolors="none", edgecolors="#c8452d")
        axes[row, column].set_title(f"{title}: {name}, {int(fired[name][:, 0].sum())} spikes", fontsize=10)
        axes[row, 0].set_ylabel(f"neuron of {name}")
    axes[1, column].set_xlabel("step")
figure.suptitle("one digit, three times; rings: other than snnTorch")
path = Path("runs/examples/09_from_snntorch_to_lava.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=120)
print(f"figure: {path}")
