"""
Lesion and recovery
===================

A trained network is hurt in two ways: all its synapses weaken to half, or half of the neurons that encode images die.
Glia, which only watch firing rates and move thresholds, bring the rates back both times. The accuracy returns in the
first case and not in the second: thresholds can make up for weak synapses, not for what dead neurons used to say.
"""

# %%
# Train a PNB-X network in a plain loop
# -------------------------------------
# On the 8x8 digits inside scikit-learn. ``model.adapt(spikes)`` lets glia move the thresholds, outside the gradient.
import copy
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

import neuromorphic
from pnbx_snn import PNBX, plot
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.training.losses import firing_rate

torch.set_num_threads(1)
fast = "--fast" in sys.argv  # how the tests run it
num_batches, num_seeds, num_updates = (10, 1, 2) if fast else (200, 5, 40)
train, validation = load_digits_split(part="train"), load_digits_split(part="validation")


def trained(seed):
    torch.manual_seed(seed)
    sizes = {"d_hidden": 128, "d_ssm": 32, "d_rnn": 16, "rank": 8, "slots": 16, "tau_max": 16.0}
    model = PNBX(in_features=64, num_classes=10, num_steps=8, norm="affine", quantize=True, **sizes)
    model.calibrate(train.images)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_batches)
    for _ in range(num_batches):
        batch = torch.randint(len(train.images), (64,))
        output = model(model.encode(train.images[batch]), keep_state=False)
        torch.nn.functional.cross_entropy(output.logits, train.labels[batch], label_smoothing=0.1).backward()
        optimizer.step(), optimizer.zero_grad(), scheduler.step()
        model.adapt(output.spikes)
    return model.eval()


# %%
# Two lesions
# -----------
# A batch norm with gain and bias stands between a neuron's synapses and its membrane. Half the gain is half the
# current. A gain of 0 and a bias of -1 is a neuron that hears nothing and never fires again.
@torch.no_grad()
def hurt(model, lesion):
    patient = copy.deepcopy(model)
    encoder, block = patient.encoder.norm, patient.blocks[0].norm
    if lesion.startswith("synapses"):
        encoder.weight.mul_(0.5), block.weight.mul_(0.5)
    else:
        dead = torch.rand(patient.d_hidden) < 0.5
        encoder.weight[dead], encoder.bias[dead] = 0.0, -1.0
    return patient


# %%
# Recovery
# --------
# Before each update of the glia the network sees 25 training images, without labels. ``adapt="always"`` lets glia go on
# in evaluation mode. No weight changes. Accuracy and firing rate are those on the 180 validation images.
@torch.no_grad()
def recover(model, num_updates):
    model.blocks[0].glia.adapt = "always"
    for _ in range(num_updates + 1):
        logits, spikes = model.classify(validation.images)
        yield (logits.argmax(dim=1) == validation.labels).double().mean().item(), firing_rate(spikes)
        model.adapt(model.classify(train.images[torch.randint(len(train.images), (25,))])[1])


found, stages = {"synapses at half strength": [], "half of the encoder dead": []}, []
for seed in range(num_seeds):
    model = trained(seed)
    for lesion in found:
        patient = copy.deepcopy(just_hurt := hurt(model, lesion))
        found[lesion].append([*recover(copy.deepcopy(model), 0), *recover(patient, num_updates)])
        stages = stages or [model, just_hurt, patient]  # of the first seed and lesion
for lesion, values in found.items():
    found[lesion] = values = 100 * np.array(values)  # [seeds, 1 + updates, 2]
    for i, what in enumerate(("accuracy", "firing rate")):
        shown = [f"{values[:, t, i].mean():.1f} ± {values[:, t, i].std():.1f} %" for t in (0, 1, -1)]
        print(f"{lesion}: {what} {shown[0]}, after the lesion {shown[1]}, in the end {shown[2]}")

# %%
# The same in integers
# --------------------
# The first lesion's stages, compiled. A program returns the same spikes on NumPy and on the native executor.
spikes, x = [], stages[0].encode(validation.images).numpy()
for model in stages:
    same, _, recording = neuromorphic.verify(neuromorphic.compile(model), x, "native")
    right = (recording.labels() == validation.labels.numpy()).mean()
    print(f"program: {right:.1%} right, {same.spikes_different} of {same.spikes_compared:,} spikes differ")
    spikes.append(list(recording.spikes().values())[-1])  # [T, B, N]

# %%
# The figure
# ----------
# Above, the block's spikes for eight images; below, means and ranges of five trainings, first before the lesion.
figure, axes = plt.subplot_mosaic([list("aabbcc"), list("dddeee")], figsize=(10, 7), layout="constrained")
for key, values, title in zip("abc", spikes, ("healthy", "synapses at half strength", "recovered"), strict=True):
    plot.raster(values[:, :8].swapaxes(0, 1).reshape(64, -1), ax=axes[key])
    axes[key].set_title(f"{title}: {100 * values.mean():.1f} %", fontsize="medium")
for lesion, color in zip(found, (plot.INK, plot.ACCENT), strict=True):
    for i, key in enumerate("de"):
        values, steps = found[lesion][..., i], range(-1, num_updates + 1)
        axes[key].plot(steps, values.mean(axis=0), color=color, label=lesion)
        axes[key].fill_between(steps, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)
        axes[key].set(xlabel="updates of the glia", ylabel=("accuracy, %", "firing rate, %")[i], ylim=(0, None))
axes["d"].legend(frameon=False, loc="lower right")
Path("runs/examples").mkdir(parents=True, exist_ok=True)
figure.savefig("runs/examples/05_lesion_and_recovery.png", dpi=120)
