"""
Train a spiking classifier with ternary weights
===============================================

A training loop as in the snnTorch tutorials: a network, Adam, a cross-entropy loss, a few epochs. What is new is that
every weight is -1, 0 or 1 when the network runs; only the optimiser sees the floating-point weights behind them.

The data are the 1,797 handwritten 8x8 digits inside scikit-learn, so nothing is downloaded.
"""

# %%
# Settings
# --------
# ``--fast`` is one epoch on a part of the images, to see that everything works.
import sys
from pathlib import Path

import torch

from pnbx_snn import BitLinear, SpikingClassifier, plot
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.training.losses import firing_rate, rate_penalty

fast = "--fast" in sys.argv
num_epochs, num_images, batch_size = (1, 320, 32) if fast else (30, 1257, 64)
torch.set_num_threads(1)  # the matrices are small: one thread is enough
torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)  # decides the order of the images

# %%
# Data and network
# ----------------
# Two hidden layers of 256 and 128 leaky integrate-and-fire neurons see each image for 8 steps as a constant current.
# Pixels enter as 8-bit integers; ``calibrate`` measures the real value of one unit.
train = load_digits_split(part="train")
validation = load_digits_split(part="validation")
images, labels = train.images[:num_images], train.labels[:num_images]

model = SpikingClassifier(in_features=64, hidden=[256, 128], num_classes=10, num_steps=8, beta=0.9)
model.calibrate(images)
print(model)

# %%
# Training
# --------
# The only addition to the cross-entropy is a gentle pull of the firing rates towards 18.8 %.
num_batches = len(images) // batch_size
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_epochs * num_batches)


@torch.no_grad()
def evaluate(images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return the accuracy and the firing rate."""
    model.eval()
    output = model(model.encode(images))
    return (output.logits.argmax(dim=1) == labels).float().mean().item(), firing_rate(output.spikes)


metrics = []
for epoch in range(1, num_epochs + 1):
    model.train()
    losses, num_correct = [], 0
    for batch in torch.randperm(len(images), generator=generator)[: num_batches * batch_size].split(batch_size):
        output = model(model.encode(images[batch]))  # logits [B, 10], spikes of each layer [T, B, N]
        loss = torch.nn.functional.cross_entropy(output.logits, labels[batch], label_smoothing=0.1)
        loss = loss + rate_penalty(output.spikes, target=0.188)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        num_correct += int((output.logits.argmax(dim=1) == labels[batch]).sum())
    accuracy, rate = evaluate(*validation)
    metrics.append(
        {
            "epoch": epoch,
            "loss": sum(losses) / len(losses),
            "accuracy_train": num_correct / (num_batches * batch_size),
            "accuracy_validation": accuracy,
            "firing_rate": rate,
        }
    )

# %%
# What came out
# -------------
# About a third of the weights are zero: connections that need no arithmetic and no memory traffic.
ternary = torch.cat([layer.ternary_weight().flatten() for layer in model.modules() if isinstance(layer, BitLinear)])
print(f"validation accuracy   {accuracy:.1%}")
print(f"firing rate           {rate:.1%} of the neurons per step")
print(f"weights               {sorted(ternary.unique().tolist())}, {(ternary == 0).float().mean().item():.1%} are zero")

# %%
# The training, and the spikes that one image of a digit evokes.
folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
plot.training(metrics).figure.savefig(folder / "02_training.png", dpi=120)

x = model.encode(validation.images[:1])  # [T, 1, 64]
spikes = model(x).spikes
layers = {f"hidden layer {i + 1}": layer[:, 0] for i, layer in enumerate(spikes)}
figure = plot.raster_layers(layers, input=x[:, 0], title=f"a handwritten {validation.labels[0]}")
figure.savefig(folder / "02_raster.png", dpi=120)
print(f"figures               {folder}/02_training.png, {folder}/02_raster.png")
