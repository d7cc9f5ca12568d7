"""
An event stream: follow one digit among others
==============================================

Two handwritten digits fly through the view of an event camera, which reports only where a pixel became brighter or
darker. A convolutional spiking network is to say where the nought is, at every step, and to ignore the other digit. It
is trained, compiled to an integer program, and run on the native executor.
"""

# %%
# The digits are those of scikit-learn, 8x8 pixels each, on a field of 24x24.
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from torch import nn

import neuromorphic
import pnbx_snn as pnbx
from pnbx_snn import plot
from pnbx_snn.data.digits import load_digits_split

torch.set_num_threads(1)
fast = "--fast" in sys.argv  # how the tests run it
num_steps, num_updates, num_tests = (15, 2, 4) if fast else (40, 250, 100)
digits = {part: load_digits_split(part=part) for part in ("train", "test")}
torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)


# %%
# Flights, and a model of the sensor
# ----------------------------------
# Digits turn around at the edges. A pixel remembers the logarithm of the light at its last event. When that has changed
# by more than 0.3 there is an event, on or off. In addition, one pixel in a hundred reports what is not there.
def scenes(part, count):
    light, paths, labels = 0.0, [], digits[part].labels
    for images in (digits[part].images[labels == 0], digits[part].images[labels != 0]):
        speed = 0.3 + 0.6 * torch.rand(count, 2, generator=generator)
        way = 32 * torch.rand(count, 2, generator=generator) + torch.arange(num_steps)[:, None, None] * speed
        paths.append(3.5 + (way % 32 - 16).abs())  # [T, B, (x, y)]
        x, y = ((torch.arange(24.0) - paths[-1][..., i, None]) / 4 for i in (0, 1))  # -1 to 1 within the digit
        grid = torch.stack(torch.broadcast_tensors(x[:, :, None, :], y[:, :, :, None]), dim=-1).flatten(0, 1)
        chosen = images[torch.randint(len(images), (count,), generator=generator)].reshape(-1, 1, 8, 8)
        frames = nn.functional.grid_sample(chosen.repeat(num_steps, 1, 1, 1), grid, align_corners=False)
        light = light + frames.reshape(num_steps, count, 24, 24)
    light, events = torch.log(0.1 + light.clamp(max=1)), []
    memory = light[0]
    for now in light:
        change = torch.stack([now - memory, memory - now], dim=1) > 0.3  # [B, (on, off), y, x]
        memory = torch.where(change.any(dim=1), now, memory)
        events.append(change | (torch.rand(change.shape, generator=generator) < 0.005))
    return torch.stack(events).float(), paths[0]


# %%
# The network
# -----------
# Ternary convolutions and leaky neurons. The last ones are never reset: the potential of these 12 x 12 membranes is
# high where the nought is, and the centre of gravity of its softmax is the answer.
layers = nn.ModuleList(
    nn.ModuleList([pnbx.BitConv2d(n, m, 5, stride=stride, padding=2), nn.BatchNorm2d(m), pnbx.LIF(0.75, reset=reset)])
    for n, m, stride, reset in ((2, 12, 2, "zero"), (12, 12, 1, "zero"), (12, 1, 1, "none"))
)


def potentials(x):
    for conv, norm, lif in layers:
        current = norm(conv(x.flatten(0, 1)))
        spikes, v = lif.trace(current.reshape(*x.shape[:2], -1))
        x = spikes.reshape(*x.shape[:2], *current.shape[1:])
    return v.softmax(dim=-1).unflatten(-1, (12, 12))  # of the last layer, [T, B, y, x]


def centre(weight):
    place, total = torch.arange(0, 24, 24 / weight.shape[-1]), weight.sum(dim=(-2, -1)).clamp_min(1e-9)
    return torch.stack([weight.sum(dim=dim) @ place / total for dim in (-2, -1)], dim=-1)  # [T, B, (x, y)]


optimizer = torch.optim.Adam(layers.parameters(), lr=5e-3)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, num_updates)
for _ in range(num_updates):
    events, path = scenes("train", 16)
    (centre(potentials(events)) - path)[5:].norm(dim=-1).mean().backward()
    optimizer.step(), optimizer.zero_grad(), scheduler.step()

# %%
# In integers
# -----------
# New digits on new paths, beside the centre of gravity of all events. The first five steps are not counted.
events, path = scenes("test", num_tests)
program = neuromorphic.compile([tuple(layer) for layer in layers.eval()], num_steps=num_steps, input_shape=(2, 24, 24))
same, _, recording = neuromorphic.verify(program, events.flatten(2).numpy().astype(np.int8), "native")
v = torch.from_numpy(recording.variables["lif3.v"] / program.ops[-1].threshold)
integers = centre(v.float().softmax(dim=-1).unflatten(-1, (12, 12)))
found = {"program": integers, "network": centre(potentials(events)).detach(), "all events": centre(events.sum(dim=2))}
for name, place in found.items():
    error = (place - path)[5:].norm(dim=-1)
    print(f"{name:<10} {error.mean():.2f} pixels from the nought, {(error < 2).double().mean():.1%} within 2")
print(f"NumPy and native: {same.spikes_different} of {same.spikes_compared:,} spikes differ")

# %%
# The figure
# ----------
# Above, on events are red and off events blue; the ring is the program's answer. Below, the whole flight.
figure, axes = plt.subplot_mosaic([list("abcdef"), list("xxxyyy")], figsize=(10, 5.5), layout="constrained")
for key, step in zip("abcdef", np.linspace(5, num_steps - 1, 6, dtype=int), strict=True):
    axes[key].imshow(events[step, 0, 0] - events[step, 0, 1], cmap="RdBu_r", vmin=-1.2, vmax=1.2)
    axes[key].plot(*integers[step, 0], "o", markersize=34, markeredgewidth=2, color="black", fillstyle="none")
    axes[key].set(title=f"step {step}", xticks=[], yticks=[])
for i, key in enumerate("xy"):
    axes[key].plot(path[:, 0, i], color=plot.ACCENT, linewidth=6, alpha=0.3, label="the nought")
    axes[key].plot(integers[:, 0, i], color="black", label="program")
    axes[key].plot(found["all events"][:, 0, i], color=plot.QUIET, linestyle=":", label="centre of all events")
    axes[key].set(xlabel="step", ylabel=f"{key}, pixels", ylim=(0, 23))
axes["x"].legend(frameon=False)
Path("runs/examples").mkdir(parents=True, exist_ok=True)
figure.savefig("runs/examples/03_event_stream.png", dpi=120)
