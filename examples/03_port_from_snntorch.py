"""
Port a network from snnTorch
============================

A network in the style of the snnTorch tutorials, first as published, then with ``pnbx.Leaky`` in the place of
``snntorch.Leaky``. Nothing else changes, and every spike, every loss and every trained weight is the same number. At
the end ``pnbx.lift`` runs a neuron over all steps in one call, which takes the time loop out of the script.
"""

# %%
# Data
# ----
# Random patterns with labels, made here: 4 classes, each a prototype with noise, 784 pixels as in the tutorials.
import sys
from pathlib import Path

import snntorch as snn
import torch
from snntorch import functional as SF  # noqa: N812 (the tutorials' name)
from snntorch import surrogate
from torch import nn

import pnbx_snn as pnbx
from pnbx_snn import plot

torch.set_num_threads(1)  # these matrices are small: a second thread would only be waited for
fast = "--fast" in sys.argv
num_steps, num_updates, batch_size = (10, 4, 16) if fast else (25, 30, 64)
generator = torch.Generator().manual_seed(0)
prototypes = torch.rand(4, 784, generator=generator)
labels = torch.randint(0, 4, (num_updates, batch_size), generator=generator)
images = (prototypes[labels] + 0.5 * torch.randn(num_updates, batch_size, 784, generator=generator)).clamp(0, 1)


# %%
# The network as published
# ------------------------
# ``Leaky`` is the only thing that differs between the two networks.
class Net(nn.Module):
    """Two fully connected layers of leaky integrate-and-fire neurons, as in tutorial 5."""

    def __init__(self, Leaky):
        super().__init__()
        spike_grad = surrogate.fast_sigmoid(slope=25)
        self.fc1 = nn.Linear(784, 100)
        self.lif1 = Leaky(beta=0.95, spike_grad=spike_grad)
        self.fc2 = nn.Linear(100, 4)
        self.lif2 = Leaky(beta=0.95, spike_grad=spike_grad)

    def forward(self, x):
        """Return spikes of both layers, [T, B, N]."""
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk1_rec, spk2_rec = [], []
        for _ in range(num_steps):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk1_rec.append(spk1)
            spk2_rec.append(spk2)
        return torch.stack(spk1_rec), torch.stack(spk2_rec)


# %%
# Train both the same way
# -----------------------
def train(net):
    """Return the spikes of every update and the losses."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    loss_fn = SF.ce_rate_loss()
    spikes, losses = [], []
    for x, y in zip(images, labels, strict=True):
        spk1, spk2 = net(x)
        loss = loss_fn(spk2, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        spikes.append(torch.cat([spk1, spk2], dim=2).detach())
        losses.append(loss.item())
    return torch.stack(spikes), losses


nets, runs = {}, {}
for name, neuron in (("snntorch.Leaky", snn.Leaky), ("pnbx.Leaky", pnbx.Leaky)):
    torch.manual_seed(0)
    nets[name] = Net(neuron)
    runs[name] = train(nets[name])
    print(f"{name:<15} loss {runs[name][1][0]:.6f} -> {runs[name][1][-1]:.6f}, {int(runs[name][0].sum()):,} spikes")

# %%
# Compare
# -------
(their_spikes, their_losses), (spikes, losses) = runs.values()
weights = zip(nets["pnbx.Leaky"].parameters(), nets["snntorch.Leaky"].parameters(), strict=True)
print(f"spikes compared {spikes.numel():,}, different {int((spikes != their_spikes).sum())}")
print(f"losses identical: {losses == their_losses}, weights identical: {all(torch.equal(a, b) for a, b in weights)}")

# %%
# Without the time loop
# ---------------------
# ``lift`` takes any step-wise neuron of snnTorch or Norse, and the currents of all steps. (The second weight matrix is
# applied step by step here, because one product over all steps adds its terms in another order and rounds differently.)
net = nets["snntorch.Leaky"]
with torch.no_grad():
    expected = torch.cat(net(images[0]), dim=2)
    spk1, _ = pnbx.lift(net.lif1)(net.fc1(images[0]).expand(num_steps, -1, -1))
    spk2, (mem2,) = pnbx.lift(net.lif2)(torch.stack([net.fc2(spk) for spk in spk1]))
print(f"lifted: {int((torch.cat([spk1, spk2], dim=2) != expected).sum())} spikes different")

# %%
# The figure
# ----------
folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
axes = plot.raster(spikes[-1, :, 0], title="pnbx.Leaky, one sample of the last update")
axes.figure.savefig(folder / "03_port_from_snntorch.png", dpi=120, bbox_inches="tight")
print(f"figure: {folder}/03_port_from_snntorch.png")
