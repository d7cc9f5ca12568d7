"""
One BitBrain block, every state variable
========================================

A block reads events with several memories at once, and a layer of neurons turns what they answer into spikes. Here one
block steps through a stream of events: a pattern A, another pattern B, silence, and A again. Every number that it
carries from one step to the next is recorded, and drawn with one time axis.

The weights are not trained. What is seen is what the parts do by themselves.
"""

# %%
# Settings
# --------
# Sixty-four neurons on a torus of 8 x 8, in four glia domains of 16.
import sys
from pathlib import Path

import matplotlib as mpl
import torch
from torch import nn

import pnbx_snn as pnbx
from pnbx_snn import plot

mpl.use("Agg")
from matplotlib import pyplot as plt

fast = "--fast" in sys.argv
num_neurons, num_samples, num_passes = (64, 8, 10) if fast else (64, 32, 40)
length, period = (20, 10) if fast else (60, 10)  # steps of each part of the stream, and after which a pattern repeats
torch.set_num_threads(1)
torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)

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
    kept = torch.rand(len(events), num_samples, num_neurons, generator=generator) < 0.9
    return events.unsqueeze(1) * kept


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
    norm=nn.BatchNorm1d(num_neurons, affine=False),
)
block.calibrate(stream("AB A", num_samples))
with torch.no_grad():
    for _ in range(num_passes):
        events = stream("AB A", num_samples)
        spikes, _ = block(events)
        block.glia.update(block.glia.rates(events), block.glia.rates(spikes))
block.eval()

# %%
# Step by step
# ------------
# State goes in and comes out; ``None`` is the beginning. Glia, which goes on after ``eval()`` here, looks at the spikes
# every ten steps. (Noise would be a further state; it is there in training only.)
events = stream("AB A", 1)  # [T, 1, H]
state, spikes, offsets, states = None, [], [], []
with torch.no_grad():
    for t, events_t in enumerate(events, start=1):
        spikes_t, state = block.step(events_t, state)
        spikes.append(spikes_t)
        states.append(state)
        offsets.append((block.threshold()[:: block.glia.neurons_per_domain] / block.membrane.threshold).log())
        if t % period == 0:
            recent = torch.stack(spikes[-period:])
            block.glia.update(block.glia.rates(events[t - period : t]), block.glia.rates(recent))
spikes = torch.stack(spikes)[:, 0]  # [T, H]
signals = {
    "state-space model: states s": torch.stack([state.ssm.s[0] for state in states]),
    "micro-RNN: states u": torch.stack([state.rnn.s[0] for state in states]),
    "fast weights: key": torch.stack([state.fast_weights.key[0] for state in states]),
    "fast weights: the 64 entries of F": torch.stack([state.fast_weights.F[0].flatten() for state in states]),
    "hippocampus: length of each slot of E": torch.stack([state.hippocampus.E[0].norm(dim=1) for state in states]),
    "membrane: potential v after the reset": torch.stack([state.membrane.v[0] for state in states]),
    "glia: log of each domain's threshold": torch.stack(offsets),
}

# %%
# The figure
# ----------
# The memories differ in what silence does to them: the states of the state-space model and of the micro-RNN fade with a
# time constant each, fast weights fade together, the slots of the hippocampus keep most of what they hold, and the key
# is that of the present step alone.
first, second = spikes[:length].mean(dim=0), spikes[3 * length :].mean(dim=0)
print(
    f"firing rates of the neurons, first A against second A: correlation {torch.corrcoef(torch.stack([first, second]))[0, 1]:.2f}"
)
for name, signal in signals.items():
    print(f"{name:<42} {signal.shape[1]:3d} numbers, from {signal.min():6.2f} to {signal.max():5.2f}")
