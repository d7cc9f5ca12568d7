"""
Train a PNB-X network and stream through it
===========================================

A PNB-X network is an encoder that turns values into events, a BitBrain block that reads them, and a ternary readout.
It trains in a plain torch loop; the one addition is ``model.adapt(spikes)`` after each step, with which glia hold the
firing rates at 18.8 %. Then the same network runs step by step, in constant memory.

The data are the 1,797 handwritten 8x8 digits inside scikit-learn, so nothing is downloaded.
"""

# %%
# Settings
# --------
# ``--fast`` is two epochs on a part of the images, to see that everything works.
import copy
import sys
from pathlib import Path

import matplotlib as mpl
import torch

from pnbx_snn import PNBX, plot
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.training.losses import firing_rate

mpl.use("Agg")
from matplotlib import pyplot as plt

fast = "--fast" in sys.argv
num_epochs, num_images, batch_size = (2, 320, 32) if fast else (16, 1257, 64)
torch.set_num_threads(1)  # the matrices are small: one thread is enough
torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)  # decides the order of the images

# %%
# Data and network
# ----------------
# Each image is shown for 8 steps. ``calibrate`` measures the range of the pixels and gives the pathways a common size.
train = load_digits_split(part="train")
validation = load_digits_split(part="validation")
images, labels = train.images[:num_images], train.labels[:num_images]
model = PNBX(in_features=64, num_classes=10, num_steps=8, d_hidden=128, d_ssm=32, d_rnn=16, rank=8, slots=16)
model.calibrate(images)

# %%
# Training
# --------
# Nothing in the loss asks for a firing rate: glia move the thresholds instead, outside the gradient. The weights kept
# are those of the epoch that does best on the validation images; the test images are not looked at.
num_batches = len(images) // batch_size
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_epochs * num_batches)
history, best = [], None
for epoch in range(1, num_epochs + 1):
    model.train()
    for batch in torch.randperm(len(images), generator=generator)[: num_batches * batch_size].split(batch_size):
        output = model(model.encode(images[batch]), keep_state=False)
        loss = torch.nn.functional.cross_entropy(output.logits, labels[batch], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        model.adapt(output.spikes)
    model.eval()
    with torch.no_grad():
        logits, spikes = model.classify(validation.images)
    accuracy = (logits.argmax(dim=1) == validation.labels).float().mean().item()
    history.append((accuracy, firing_rate(spikes[:1]), firing_rate(spikes[1:])))
    print("epoch {:2d}: accuracy {:5.1%}, events {:5.1%}, spikes {:5.1%}".format(epoch, *history[-1]))
    if best is None or accuracy > best[0]:
        best = accuracy, epoch, copy.deepcopy(model.state_dict())
model.load_state_dict(best[2])
print(f"best on the validation images: {best[0]:.1%}, epoch {best[1]}")

# %%
# Streaming
# ---------
# One step at a time, state in and state out, the network ends with the logits of the whole sequence. What it remembers
# has the same size after any number of steps.


def num_bytes(state) -> int:
    """Count the bytes of all tensors in nested tuples."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    return sum(num_bytes(part) for part in state) if isinstance(state, tuple) else 0


x = model.encode(validation.images)  # [T, B, 64]
output = model(x)
state = None
for x_t in x:
    logits, state = model.stream(x_t, state)
    accuracy = (logits.argmax(dim=1) == validation.labels).float().mean()
    print(f"step {state.num_steps}: accuracy {accuracy:5.1%}, state {num_bytes(state) // len(logits):,} bytes an image")
print(f"largest difference to the logits of the whole sequence: {(logits - output.logits).abs().max():.1e}")

# %%
# The figures
# -----------
# Accuracy and firing rates over the epochs, and the events and spikes that one image evokes.
figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(7, 5), layout="constrained")
epochs = range(1, num_epochs + 1)
accuracies, events, spikes = zip(*history, strict=True)
top.plot(epochs, [100 * value for value in accuracies], color=plot.INK)
top.set_ylabel("accuracy, validation, %")
bottom.plot(epochs, [100 * value for value in events], color=plot.INK, label="events of the encoder")
bottom.plot(epochs, [100 * value for value in spikes], color=plot.ACCENT, label="spikes of the block")
bottom.axhline(18.8, color=plot.QUIET, linestyle="--", linewidth=1, label="target 18.8 %")
bottom.set(xlabel="epoch", ylabel="firing rate, %")
bottom.xaxis.get_major_locator().set_params(integer=True)
bottom.legend(frameon=False, fontsize="small")
layers = {"events of the encoder": output.spikes[0][:, 0], "spikes of the block": output.spikes[1][:, 0]}
raster = plot.raster_layers(layers, input=x[:, 0], title=f"a handwritten {validation.labels[0]}")
folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "05_training.png", dpi=120)
raster.savefig(folder / "05_raster.png", dpi=120)
