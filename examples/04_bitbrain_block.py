"""
One BitBrain block, every state variable
========================================

A block reads events with several memories at once, and a layer of neurons turns what they answer into spikes. Here one
block steps through a stream of events: a pattern A, another pattern B, silence, and A again. Every number that it
carries from one step to the next is recorded, and drawn with one time axis. The weights are not trained: this is what
the parts do by themselves.
"""

# %%
# Settings
# --------
# 64 neurons on a torus of 8 x 8, in four glia domains of 16; ``--fast`` shortens the stream.
import sys
from pathlib import Path

import torch
from matplotlib import pyplot as plt

import pnbx_snn as pnbx
from pnbx_snn import plot

fast = "--fast" in sys.argv
num_neurons, num_samples, num_passes = (64, 8, 10) if fast else (64, 32, 40)
length, period = (20, 10) if fast else (60, 10)  # steps of each part of the stream, and after which a pattern repeats
generator = torch.manual_seed(0)  # of the weights and of the events

# %%
# Events
# ------
# A pattern is a fixed raster of ten steps that repeats: A lives in the lower half of the neurons, B in the upper half.
# A tenth of the events is lost at random, another for each sample.
halves = torch.arange(num_neurons) < num_neurons // 2
template = (torch.rand(period, num_neurons, generator=generator) < 0.4).float()
patterns = {"A": template * halves, "B": template * ~halves, " ": torch.zeros(period, num_neurons)}


def stream(order: str, num_samples: int) -> torch.Tensor:
    """Return events ``[T, B, H]`` of patterns one after the other; a blank is silence."""
    events = torch.cat([patterns[name].repeat(length // period, 1) for name in order])
    return events.unsqueeze(1) * (torch.rand(len(events), num_samples, num_neurons, generator=generator) < 0.9)


# %%
# The block
# ---------
# Each part is a module of its own, and any of them can be left out. ``calibrate`` gives the answers of the memories a
# common size. Some passes in training mode then gather the statistics of the norm, and let glia find thresholds.
block = pnbx.BitBrain(
    pnbx.Membrane(num_neurons, beta=0.8, messages=pnbx.TorusMessages(num_neurons)),
    ssm=pnbx.SelectiveSSM(num_neurons, d_ssm=24, tau_max=100.0),
    rnn=pnbx.MinGRU(num_neurons, d_rnn=16, tau_max=100.0),
    fast_weights=pnbx.FastWeights(num_neurons, rank=8),
    hippocampus=pnbx.Hippocampus(num_neurons, slots=12),
    glia=pnbx.Glia(num_neurons, adapt="always"),
    norm=torch.nn.BatchNorm1d(num_neurons, affine=False),
)
block.calibrate(stream("AB A", num_samples))
block.requires_grad_(False)  # nothing is trained here
for _ in range(num_passes):
    spikes, _ = block(events := stream("AB A", num_samples))
    block.glia.update(block.glia.rates(events), block.glia.rates(spikes))
block.eval()

# %%
# Step by step
# ------------
# State goes in and comes out; ``None`` is the beginning. Glia, which goes on after ``eval()`` here, looks at the spikes
# every ten steps. (Noise would be a further state; it is there in training only.)
events = stream("AB A", 1)  # [T, 1, H]
state, states, spikes, thresholds = None, [], [], []
for t, events_t in enumerate(events, start=1):
    thresholds.append(block.threshold()[:: block.glia.neurons_per_domain])
    spikes_t, state = block.step(events_t, state)
    states.append(state)
    spikes.append(spikes_t)
    if t % period == 0:
        block.glia.update(block.glia.rates(events[t - period : t]), block.glia.rates(torch.stack(spikes[-period:])))
spikes = torch.stack(spikes)[:, 0]  # [T, H]
signals = {
    ("state-space model: s", "state"): [state.ssm.s for state in states],
    ("micro-RNN: u", "unit"): [state.rnn.s for state in states],
    ("fast weights: key", "entry"): [state.fast_weights.key for state in states],
    ("fast weights: F", "entry"): [state.fast_weights.F.flatten() for state in states],
    ("hippocampus: length of the slots of E", "slot"): [state.hippocampus.E.norm(dim=2) for state in states],
    ("membrane: v after the reset", "neuron"): [state.membrane.v for state in states],
    ("glia: threshold", "domain"): thresholds,
}
signals = {name: torch.stack(signal).flatten(1) for name, signal in signals.items()}  # [T, numbers]
for (name, _), signal in signals.items():
    print(f"{name:<38} {signal.shape[1]:2d} numbers, from {signal.min():5.2f} to {signal.max():.2f}")

# %%
# The figure
# ----------
# In silence the key is gone at once, and the memories fade: each state of the state-space model and of the micro-RNN in
# its own time, fast weights all in the same. Glia lower the thresholds until some neurons spike without any event, and
# raise those of A's neurons when it returns.
heights = [2, 1, 1, 1, 1, 1, 1.5, 1, 2]
figure, axes = plt.subplots(9, 1, sharex=True, figsize=(9, 18), height_ratios=heights, layout="constrained")
plot.raster(events[:, 0], title="events in", color=plot.QUIET, ax=axes[0])
for ax, ((name, row), signal) in zip(axes[1:-1], signals.items(), strict=True):
    limit = signal.abs().flatten().quantile(0.99)  # the few values beyond have the colour of the limit
    low, colors = (-limit, "RdBu_r") if signal.min() < 0 else (0, "Blues")
    image = ax.imshow(signal.T, aspect="auto", origin="lower", interpolation="none", cmap=colors, vmin=low, vmax=limit)
    ax.set_title(name, fontsize="medium")
    ax.set_ylabel(row)
    figure.colorbar(image, ax=ax, aspect=8, pad=0.01)
plot.raster(spikes, title="spikes out", ax=axes[-1])
axes[0].set_xlabel("")
for i, ax in enumerate(axes.repeat(3)):  # where one part of the stream ends and the next begins
    ax.axvline((1 + i % 3) * length - 0.5, color="black", linewidth=0.8)
figure.align_ylabels()
folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "04_block.png", dpi=120)
