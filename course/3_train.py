# %% [markdown]
# # 3. Train a ternary classifier
#
# A network learns to read handwritten digits. Its neurons are those of chapter 1, and
# each of its weights is one of three numbers: -1, 0 and 1. You see the training loop with
# nothing hidden, what such weights look like, and what they cost in accuracy. At the end
# the same is done in one call.
#
# You need chapters 1 and 2, and what a training loop in PyTorch looks like.

# %%
import tempfile
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from torch import nn
from torch.nn.functional import cross_entropy

import pnbx_snn as pnbx
from pnbx_snn import plot
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.training.config import make_config
from pnbx_snn.training.losses import rate_penalty

torch.set_num_threads(1)  # small matrices: more threads would wait for each other

# %% [markdown]
# ## The data
#
# The 1,797 digits that come with scikit-learn are images of 8 x 8 pixels. They are split
# in three parts. The network learns from the first, *train*. You look at *validation* as
# often as you like, to choose settings. *Test* is for one last measurement, because
# whoever chooses by the test images fools himself.

# %%
train = load_digits_split(part="train")
validation = load_digits_split(part="validation")
test = load_digits_split(part="test")
for name, split in (("train", train), ("validation", validation), ("test", test)):
    print(f"{name:<11}{len(split.labels):6,} images")
figure, axes = plt.subplots(1, 10, figsize=(9, 1.2), layout="constrained")
for digit, ax in enumerate(axes):
    ax.imshow(train.images[train.labels == digit][0].reshape(8, 8), cmap="Greys")
    ax.set(xticks=[], yticks=[])

# %% [markdown]
# ## Weights of three values
#
# A layer computes a *weighted sum*: each input times a weight, all added up. With weights
# of -1, 0 and 1 nothing is multiplied. An input is added, subtracted or left out. And if
# the inputs are spikes, most of them are left out too.
#
# How can such a weight learn? A small step of the optimizer would never get from 0 to 1.
# So a *latent* matrix of ordinary numbers stands behind it. Forward, it is rounded:
#
# $$
# \gamma = \text{mean}\,|W|, \qquad \tilde W = \text{clip}(\text{round}(W/\gamma), -1, 1).
# $$
#
# Backward, the gradient goes to the latent matrix as if nothing had been rounded. That
# is the *straight-through estimator*, the same kind of white lie as the surrogate of a
# spike. The one number $\gamma$ (gamma) scales the whole sum. That is one
# multiplication for each sum and not one for each weight, and in chapter 4 it vanishes
# too. `pnbx.BitLinear` does all of this.

# %%
torch.manual_seed(0)
layer = pnbx.BitLinear(6, 4)
ternary, gamma = pnbx.ternarize(layer.weight)
print("latent weights\n", layer.weight.detach().round(decimals=2))
print("ternary weights\n", ternary.detach())
print(f"gamma {gamma:.3f}: a weight survives where it is larger than half of that")

# %% [markdown]
# ## The network
#
# Two matrices, with a layer of spiking neurons between them:
#
# 1. The image is shown for 8 steps as a constant current (*direct*, chapter 2).
# 2. `BitLinear` makes 128 sums of it. The pixels are shades, not spikes, so they are
#    rounded to 8-bit integers; `calibrate_input` measures once how large they are.
# 3. `BatchNorm1d` brings the sums to a common size, neuron by neuron. Without it a layer
#    may be dead or saturated. It costs nothing in the end: chapter 4 folds it into the
#    thresholds.
# 4. `LIF` makes spikes.
# 5. A second `BitLinear` turns the *mean* of the spikes over time into ten numbers, one
#    for each digit, the *logits*. The largest one is the answer. (A chip reads the
#    spikes of every step and adds up the results. That is the same: the sum of the
#    products is the product of the sum.)


# %%
class Net(nn.Module):
    """64 pixels, 128 spiking neurons, 10 digits."""

    def __init__(self, ternary=True):
        super().__init__()
        if ternary:
            self.fc1 = pnbx.BitLinear(64, 128, input_range="int8")
            self.fc2 = pnbx.BitLinear(128, 10)
        else:
            self.fc1 = nn.Linear(64, 128, bias=False)
            self.fc2 = nn.Linear(128, 10, bias=False)
        self.norm = nn.BatchNorm1d(128)
        self.lif = pnbx.LIF(beta=0.9)

    def forward(self, images, num_steps=8):
        """Return logits [B, 10] and spikes [T, B, 128]."""
        current = self.norm(self.fc1(images))  # [B, 128], the same in every step
        spikes, _ = self.lif(current.expand(num_steps, -1, -1))
        return self.fc2(spikes.mean(dim=0)), spikes


# %% [markdown]
# ## The training loop
#
# This is an ordinary PyTorch loop. Two things are worth a look. PyTorch unrolls the 8
# steps and sends the gradient back through all of them; this is *backpropagation
# through time*. And `rate_penalty` is a second wish beside a small error: it is the
# squared distance $(\bar z - r)^2$ between the mean firing rate $\bar z$ and a target
# $r$, here 0.15, so that the layer is neither dead nor saturated. Its weight of 20
# makes up for how small such a square is: a rate that is wrong by 0.1 adds 0.2 to the
# loss. The learning rate falls to zero (along a cosine), because ternary weights that
# are still jumping between 0 and 1 at the end make a noisy network.


# %%
def accuracy(net, split):
    """Return the share of right answers."""
    net.eval()
    with torch.no_grad():
        return (net(split.images)[0].argmax(dim=1) == split.labels).float().mean().item()


def fit(net, num_epochs=15, target=0.15, weight=20.0, seed=0):
    """Train, and return what `plot.training` draws: a row for each epoch."""
    order = torch.Generator().manual_seed(seed)
    if isinstance(net.fc1, pnbx.BitLinear):
        net.fc1.calibrate_input(train.images)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_epochs)
    rows = []
    for epoch in range(1, num_epochs + 1):
        net.train()
        losses, right, rates = [], 0, []
        for batch in torch.randperm(len(train.images), generator=order).split(64):
            logits, spikes = net(train.images[batch])
            loss = cross_entropy(logits, train.labels[batch])
            loss = loss + weight * rate_penalty([spikes], target=target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            right += int((logits.argmax(dim=1) == train.labels[batch]).sum())
            rates.append(spikes.mean().item())
        schedule.step()
        rows.append(
            {
                "epoch": epoch,
                "loss": sum(losses) / len(losses),
                "accuracy_train": right / len(train.labels),
                "accuracy_validation": accuracy(net, validation),
                "firing_rate": sum(rates) / len(rates),
            }
        )
    return rows


torch.manual_seed(0)
net = Net()
rows = fit(net)
ax = plot.training(rows)

# %% [markdown]
# **What to see.** The loss falls, the accuracy on the training images rises, and the one
# on the validation images follows. Where the two part, the network learns its images by
# heart (*overfitting*). The firing rate falls towards the wish, but not all the way,
# because the loss weighs two wishes.

# %% [markdown]
# ## Look at its spikes
#
# Numbers say that it works. A raster says how.

# %%
with torch.no_grad():
    _, spikes = net(validation.images)
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for ax, digit in zip(axes, (0, 1, 7), strict=True):
    shown = int((validation.labels == digit).nonzero()[0])
    plot.raster(spikes[:, shown], title=f"a {digit}", ax=ax)

# %% [markdown]
# **What to see.** Each digit wakes other neurons. (As in chapter 2, a mark is narrower
# than its step.) Some fire in the first step, others later, and once a neuron has
# begun, it repeats at a regular interval: the current is constant. So the pattern of
# *who* fires, and how often, is the answer.

# %% [markdown]
# ## Look at its weights
#
# A ternary matrix is a *mosaic* of three colours. Each neuron of the first layer has 64
# weights, one for each pixel, so its row of the matrix is an image. Below it are the 20
# training images that excite this neuron most: their mean minus the mean of all images,
# so blue is more ink than usual, red is less.

# %%
first, last = (layer.ternary_weight().float() for layer in (net.fc1, net.fc2))
sums = train.images @ first.T  # [images, neurons]
figure, axes = plt.subplots(2, 8, figsize=(9, 2.6), layout="constrained")
for neuron, (top, bottom) in enumerate(axes.T):
    plot.weights(first[neuron].reshape(8, 8), ax=top)
    top.set(xticks=[], yticks=[], xlabel="", ylabel="", aspect="equal")
    top.get_legend().remove()
    top.set_title(f"neuron {neuron}", fontsize="small")
    liked = train.images[sums[:, neuron].topk(20).indices]
    more = (liked.mean(dim=0) - train.images.mean(dim=0)).reshape(8, 8)
    bottom.imshow(more, cmap="RdBu", vmin=-0.6, vmax=0.6)  # red: less ink than usual
    bottom.set(xticks=[], yticks=[])
figure, ax = plt.subplots(figsize=(9, 1.9), layout="constrained")
plot.weights(last, title="last layer", ax=ax)
ax.set(ylabel="digit", xlabel="neuron")
for name, matrix in (("first", first), ("last", last)):
    zeros = (matrix == 0).float().mean()
    print(f"{name} layer: {matrix.numel():,} weights, {zeros:.0%} are zero")

# %% [markdown]
# **What to see.** A neuron of the first layer likes ink where its mosaic is blue and
# dislikes it where it is red. Compare a mosaic with the image below it: on the whole,
# more ink than usual lies on the blue squares and less on the red ones. At the left and
# right border there is hardly ever ink, so the weights there mean nothing. In the last
# picture, a column is what one neuron says about the ten digits: for some, against
# others.

# %% [markdown]
# ## What ternary weights cost
#
# The same network with ordinary weights of 32 bits (*fp32*), the same loop, three seeds
# each. A *seed* fixes the random numbers at the start. One run proves little: look at how
# far the seeds are apart.

# %%
results = {}
for ternary in (False, True):
    name = "ternary" if ternary else "fp32"
    results[name] = []
    for seed in range(3):
        torch.manual_seed(seed)
        candidate = Net(ternary)
        fit(candidate, seed=seed)
        results[name].append(100 * accuracy(candidate, test))
for name, bits in (("fp32", 32), ("ternary", 2)):
    found = ", ".join(f"{value:.1f} %" for value in results[name])
    print(f"{name:<8} test accuracy {found}, mean {sum(results[name]) / 3:.1f} %")
    print(f"         weights take {(64 * 128 + 128 * 10) * bits // 8:,} bytes")
print(f"one image of {len(test.labels)} is {100 / len(test.labels):.2f} %")

# %% [markdown]
# **What to see.** Compare the difference between the two means with the spread within a
# row: three seeds of this size tell little more than that the two are close. Ternary
# weights take a sixteenth of the memory and need no multiplications. On harder tasks they
# usually cost some accuracy, and a wider layer can earn it back.

# %% [markdown]
# ## The same in one call
#
# `pnbx.train` is this loop with everything that a long training needs: checkpoints that
# survive a crash, logs, a seed that makes runs repeatable. (It can also shift the
# images a little, so that they are never twice the same. That pays off in long
# trainings, and `"max_shift": 0` leaves it out here.) A *configuration* says what to
# train, and `"part": "train"` on which of the three parts. On the command line it is
# `pnbx-snn train digits`. The accuracy that is printed at the end may differ from the
# one above by an image or two of the 180: the order of the images is another one. In
# the printed model, the line of `LIF` says what the neuron does, here `reset='zero'`;
# the `cell` inside it is a `Leaky` of snnTorch, set to reset to zero and at once.

# %%
config = make_config(
    {
        "data": {"name": "digits", "part": "train"},
        "model": {"hidden": [128], "num_steps": 8},
        "train": {"epochs": 15, "rate_target": 0.15, "rate_weight": 20.0, "max_shift": 0},
    }
)
result = pnbx.train(config, Path(tempfile.mkdtemp()) / "run")
print(result.model)
print(f"validation accuracy {pnbx.evaluate(result.model, validation)['accuracy']:.1%}")

# %% [markdown]
# ## What you know now
#
# - Ternary weights have latent weights behind them. Rounding is bridged by a
#   straight-through gradient.
# - BatchNorm and a rate penalty hold a layer between dead and saturated.
# - The loop is ordinary PyTorch, and time is one more axis of the tensors.

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** The network was trained with 8 steps. How well does it answer after 1,
# 2, 4, 8, 16 and 32 steps?

# %% tags=["hide-cell"]
net.eval()
for num_steps in (1, 2, 4, 8, 16, 32):
    with torch.no_grad():
        logits, spikes = net(validation.images, num_steps)
    right = (logits.argmax(dim=1) == validation.labels).float().mean()
    count = spikes.sum() / len(validation.labels)
    print(f"{num_steps:2d} steps: accuracy {right:.1%}, {count:5.0f} spikes an image")

# %% [markdown]
# <details><summary>Answer 1 in words</summary>
#
# From two steps on the number of spikes grows in proportion to the steps, and with it
# the work of a chip that computes only where a spike arrives. The accuracy does not
# grow: most of the answer is there after the first step, because the image is the same
# in all of them and the strongest currents pass the threshold at once. For an input
# that does not change, few steps suffice. Chapter 6 has inputs that do change.
#
# </details>

# %% [markdown]
# **Exercise 2.** Replace BatchNorm by `nn.Identity()`. What happens to the accuracy? Look
# at a raster.

# %% tags=["hide-cell"]
torch.manual_seed(0)
bare = Net()
bare.norm = nn.Identity()
rows = fit(bare)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
candidates = {"with BatchNorm": net, "without": bare}
for ax, (name, candidate) in zip(axes, candidates.items(), strict=True):
    with torch.no_grad():
        _, spikes = candidate(validation.images)
    plot.raster(spikes[:, 0], title=name, ax=ax)
    ax.title.set_fontsize("small")
    print(f"{name:<14} validation accuracy {accuracy(candidate, validation):.1%}")

# %% [markdown]
# <details><summary>Answer 2 in words</summary>
#
# BatchNorm gives every neuron a scale and an offset of its own. Without it, all 128
# neurons share one gamma, and their current is zero for an empty image. The layer can
# say less, which the printed accuracies show. In the raster, more neurons share one
# rhythm. Yet the network does not collapse: the gradient and the rate penalty still
# find weights for a single layer. With every further layer that becomes harder, as in
# the dead network of chapter 2.
#
# </details>

# %% [markdown]
# **Exercise 3.** Spikes cost energy. Call `fit` with `weight=200.0` and a `target` of
# 0.02, of 0.05 and of 0.15. What does a sparse network lose?

# %% tags=["hide-cell"]
for target in (0.02, 0.05, 0.15):
    torch.manual_seed(0)
    sparse = Net()
    rows = fit(sparse, target=target, weight=200.0)
    last = rows[-1]
    print(f"target {target}: rate {last['firing_rate']:.1%}", end=", ")
    print(f"accuracy {last['accuracy_validation']:.1%}")

# %% [markdown]
# <details><summary>Answer 3 in words</summary>
#
# The rate comes down with its target, but it does not reach a small one: 0.02 was
# wanted, and nearly 0.06 came out, because a network that hardly spikes answers badly,
# and the other term of the loss resists. Between the targets 0.15 and 0.02 the network
# loses more than half of its spikes and makes about twice as many errors (13 of 180
# images instead of 6). The large weight itself costs a little too: with a weight of 20
# and the same target of 0.15, 4 images were wrong. So the rate is a knob between spikes
# and accuracy, and where to set it depends on what the network is for.
#
# </details>

# %% tags=["remove-cell"]
# In a notebook each figure is shown under its cell. Run as a script, this saves them.
for number in plt.get_fignums():
    Path("runs/course").mkdir(parents=True, exist_ok=True)
    plt.figure(number).savefig(f"runs/course/3_train_{number}.png", dpi=120)
