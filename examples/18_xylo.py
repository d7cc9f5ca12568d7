"""
Train a network for Xylo and run it on SynSense's simulator
===========================================================

Xylo is a chip of at most 16 input channels, 1,000 hidden and 8 output neurons, which leak by bit shifts. A network of
``ShiftLIF`` trains on its whole numbers; the program that it becomes fires as the chip does, spike for spike.
"""

# %%
# Settings
# --------
# Eight digits of 8 x 8 pixels are read row by row: a channel for each column, and up to 15 events for each pixel.
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

import neuromorphic
from neuromorphic.formats.xylo import export_xylo, to_xylo
from pnbx_snn import ShiftLIFCell, integer_weights

fast = "--fast" in sys.argv
num_epochs, num_hidden, rows = (2, 24, 14) if fast else (25, 48, 16)
torch.manual_seed(0)
torch.set_num_threads(1)

# %%
# Counts
# ------
# ``[T, B, N]``: eight rows, then a few empty steps, in which the answer arrives.
digits = load_digits(n_class=8)
counts = torch.zeros(rows, len(digits.target), 8)
counts[:8] = torch.from_numpy(digits.images).float().clamp(max=15).transpose(0, 1)
labels = torch.from_numpy(digits.target)
train, test = torch.arange(len(labels)) % 5 != 0, torch.arange(len(labels)) % 5 == 0

# %%
# The network
# -----------
# As on the chip: what a hidden neuron fires arrives one step later, at the others and at the output neurons. Weights
# are whole numbers of 8 bits in every pass; gradients go through the rounding.


class Network(nn.Module):
    """Hidden neurons that read each other, and eight output neurons."""

    def __init__(self):
        super().__init__()
        sizes = {"fc": (8, num_hidden), "loop": (num_hidden, num_hidden), "read": (num_hidden, 8)}
        for name, (inputs, outputs) in sizes.items():
            self.add_module(name, integer_weights(nn.Linear(inputs, outputs, bias=False)))
        self.hidden = ShiftLIFCell(1, torch.arange(num_hidden) % 4 + 1, threshold=300)
        self.out = ShiftLIFCell(2, 3, threshold=300, most_spikes=1)

    def forward(self, x):
        """Return the spikes of the outputs, ``[T, B, 8]``."""
        spikes, hidden, out, steps = x.new_zeros(x.shape[1], num_hidden), None, None, []
        for row in x:
            late = spikes
            spikes, hidden = self.hidden(self.fc(row) + self.loop(late), hidden)
            fired, out = self.out(self.read(late), out)
            steps.append(fired)
        return torch.stack(steps)


network = Network()
optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
for _ in range(num_epochs):
    for batch in torch.nonzero(train)[:, 0][torch.randperm(int(train.sum()))].split(64):
        loss = nn.functional.cross_entropy(network(counts[:, batch]).sum(0), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

# %%
# The program
# -----------
# ``compile`` returns what fires as the network does. ``to_xylo`` also delivers events one after the other, as the chip
# does, where sums saturate: it is proven whether that can matter.
program = to_xylo(neuromorphic.compile(network, counts[:, test]))
recording = neuromorphic.run(program, counts[:, test].numpy())
guesses = recording.variables["out.spikes"].sum(axis=0, dtype=int).argmax(axis=1)
print(f"{np.mean(guesses == labels[test].numpy()):.1%} of {len(guesses)} test digits are right; the order of events is")
print(f"{program.metadata['xylo']['order']}; up to {recording.variables['hidden.spikes'].max()} spikes in one step")

# %%
# On the simulator, and on to the chip
# ------------------------------------
# The file holds the arguments of rockpool's ``config_from_specification``.
if find_spec("xylosim"):
    comparison, _, _ = neuromorphic.verify(program, counts[:, test].numpy(), "xylosim")
    print(f"xylosim: {comparison.spikes_different} of {comparison.spikes_compared:,} spikes differ,")
    print(f"{comparison.states_different} of {comparison.states_compared:,} currents and membranes")
else:
    print("xylosim is not installed, so that is skipped: pip install xylosim==0.1.3")
folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
specification = json.loads(export_xylo(program, folder / "18_xylo.json").read_text())["specification"]
print({name: np.shape(value) for name, value in specification.items()})

figure, axes = plt.subplots(2, 1, figsize=(6, 4), sharex=True)
for axis, name in zip(axes, ("hidden", "out"), strict=True):
    axis.imshow(recording.variables[f"{name}.spikes"][:, 0].T, aspect="auto", interpolation="nearest", cmap="viridis")
    axis.set_ylabel(f"{name} neuron")
axes[1].set_xlabel("step")
figure.savefig(folder / "18_xylo.png", dpi=120)
