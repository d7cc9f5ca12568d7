"""
A memory that learns one example
================================

A network was trained on nine of the ten digits. Then it is shown one image of the tenth and told its name, once. A
hippocampus behind the network stores image and name together, without a gradient. Awake, it cannot use them yet: only
its slow half decides what a cue resembles. ``consolidate()``, its sleep, moves the fast half there, and then it names
other images of that digit. The control is the network without memory, also after a gradient that learns the image.
"""

# %%
# The network
# -----------
# Each digit is the new one once, so there are ten networks. Their hidden spikes are what the memory sees.
import copy
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

import neuromorphic
from neuromorphic.ops import Input, Slots
from pnbx_snn import Hippocampus, SpikingClassifier, plot
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.training.losses import rate_penalty

torch.set_num_threads(1)
fast = "--fast" in sys.argv  # how the tests run it
num_batches, num_digits, num_examples = (10, 1, 1) if fast else (120, 10, 5)
train, test = load_digits_split(part="train"), load_digits_split(part="test")


def learn(model, optimizer, images, labels):
    output = model(model.encode(images))
    loss = torch.nn.functional.cross_entropy(output.logits, labels, label_smoothing=0.1)
    (loss + rate_penalty(output.spikes, target=0.188)).backward()
    optimizer.step(), optimizer.zero_grad()


# %%
# The memory
# ----------
# A pattern is 256 hidden spikes and a name: 16 lines for each digit, all silent in a cue. Each of ten slots knows its
# own name from the start and expects silence elsewhere. ``update`` writes the mean of what it sees into the fast half.
@torch.no_grad()
def events(model, images, names=None):
    spikes = model(model.encode(images)).spikes[0]  # [T, B, 256]
    lines = torch.zeros(len(images), 160) if names is None else own_lines[names]
    return torch.cat([spikes, lines.expand(len(spikes), -1, -1)], dim=2)


own_lines = torch.eye(10).repeat_interleave(16, dim=1)  # [digit, line]
innate = Hippocampus(256 + 160, 10, scope="persistent", competition="winner", rate_bits=1, decay_bits=12)
innate.K.data = torch.cat([torch.full((10, 256), -0.1), 2 * own_lines - 1], dim=1)

# %%
# One example
# -----------
# It is rehearsed four times before sleep. All numbers are of the test images, which no setting was chosen by.
stages = "network alone", "memory, awake", "memory, after sleep", "network with memory", "network, gradient"
found = np.zeros((num_digits, num_examples, len(stages), 2))  # shares of new and of old digits that get their name
for new, k in np.ndindex(num_digits, num_examples):
    is_new = train.labels == new
    if k == 0:
        torch.manual_seed(new)
        model, taught = SpikingClassifier(in_features=64, num_classes=10), copy.deepcopy(innate)
        model.calibrate(train.images)
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(num_batches):
            batch = (~is_new).nonzero()[torch.randint(int((~is_new).sum()), (64,)), 0]
            learn(model, optimizer, train.images[batch], train.labels[batch])
        model.eval()
        for digit in train.labels[~is_new].unique():
            chosen = train.labels == digit
            taught.update(events(model, train.images[chosen], train.labels[chosen]))
        taught.consolidate()
    image, name = train.images[is_new][k : k + 1], train.labels[is_new][k : k + 1]
    awake, tuned = copy.deepcopy(taught), copy.deepcopy(model)
    for _ in range(4):
        awake.update(events(model, image, name))
    (asleep := copy.deepcopy(awake)).consolidate()
    optimizer = torch.optim.Adam(tuned.parameters(), lr=5e-3)
    while tuned.classify(image)[0].argmax() != name:
        learn(tuned, optimizer, image, name)
    alone, gradient = (net.classify(test.images)[0].argmax(dim=1) for net in (model, tuned))
    currents = [memory(events(model, test.images))[0].sum(dim=0) for memory in (awake, asleep)]  # [B, 416]
    recalled = [(current[:, 256:] @ own_lines.T).argmax(dim=1) for current in currents]
    both = torch.where(recalled[1] == new, new, alone)
    for i, answer in enumerate((alone, *recalled, both, gradient)):
        right = 100 * (answer == test.labels).double()
        found[new, k, i] = right[test.labels == new].mean(), right[test.labels != new].mean()
means = found.mean(axis=1)  # [digit, stage, (new, old)]
for stage, (m, n), (s, t) in zip(stages, means.mean(axis=0), means.std(axis=0), strict=True):
    print(f"{stage:<20} new digit {m:4.1f} ± {s:4.1f} %, the nine others {n:.1f} ± {t:.1f} %")

# %%
# The memory as a program: ternary keys, and a fast half of 22 fractional bits.
keys, gamma = (value.detach().numpy() for value in asleep.rounded())
parts = {"fast": np.rint(asleep.fast.numpy() * 2**22).astype(np.int32), "gain": round(gamma * 2**12), "shift": 10}
slots = Slots("memory", "cue", keys.astype(np.int8), plastic=False, **parts)
program, cues = neuromorphic.Program((Input("cue", 416), slots), num_steps=8), events(model, test.images).numpy()
same, _, _ = neuromorphic.verify(program, cues.astype(np.int8), "native")
print(f"program, NumPy and native: {same.states_different} of {same.states_compared:,} values differ")

# %%
# The figure: above, the keys of the last memory; below, each dot is a digit in the role of the new one.
figure, axes = plt.subplot_mosaic([list("ab"), list("cc")], figsize=(10, 7), layout="constrained")
for key, memory, title in ("a", awake, "awake"), ("b", asleep, "after sleep"):
    axes[key].imshow(memory.rounded()[0].detach(), cmap="PuOr", aspect="auto", interpolation="nearest")
    axes[key].set(title=title, xlabel="256 hidden neurons, then 160 name lines", ylabel="slot of digit")
for i, (label, color) in enumerate((("the new digit", plot.ACCENT), ("the nine others", plot.INK))):
    x = np.arange(len(stages)) + 0.2 * i - 0.1
    axes["c"].plot(x, means[..., i].T, "o", color=color, alpha=0.25, markersize=4)
    axes["c"].plot(x, means[..., i].mean(axis=0), "_", color=color, markersize=26, markeredgewidth=3, label=label)
axes["c"].set(xticks=range(len(stages)), xticklabels=stages, ylabel="images that get their name, %")
axes["c"].legend(frameon=False)
Path("runs/examples").mkdir(parents=True, exist_ok=True)
figure.savefig("runs/examples/13_one_example.png", dpi=120)
