# %% [markdown]
# # 2. A raster and what to read from it
#
# A network of a thousand neurons makes a hundred thousand zeros and ones for a single
# image. Nobody reads them as numbers. A *raster* shows them all in one picture, and with
# some practice you see at a glance whether a network is alive, asleep or shouting. This
# chapter is that practice.
#
# You need chapter 1: a neuron, its current, its spikes.

# %%
from pathlib import Path

import torch
from matplotlib import pyplot as plt

import pnbx_snn as pnbx
from pnbx_snn import plot
from pnbx_snn.data import encoding
from pnbx_snn.data.digits import load_digits_split

# %% [markdown]
# ## Five kinds of neurons
#
# Fifty neurons, ten of each kind, get five kinds of current:
#
# - *regular*: a constant current, strong enough to spike;
# - *irregular*: a weak current and much noise, so that only luck makes a spike;
# - *bursting*: a strong current that goes on and off;
# - *silent*: a current that never suffices;
# - *saturated*: a current above the threshold in every step.

# %%
num_steps, group = 400, 10
generator = torch.Generator().manual_seed(0)
t = torch.arange(num_steps)[:, None]  # [T, 1]
phase = torch.randint(0, 50, (group,), generator=generator)  # bursts begin at other times
current = {
    "regular": torch.linspace(0.13, 0.2, group).expand(num_steps, -1),
    "irregular": 0.07 + 0.3 * torch.randn(num_steps, group, generator=generator),
    "bursting": 0.4 * ((t + phase) % 50 < 12).float(),
    "silent": torch.full((num_steps, group), 0.08),
    "saturated": torch.full((num_steps, group), 1.2),
}
lif = pnbx.LIF(beta=0.9)
spikes = {}
for kind, x in current.items():
    z, _ = lif(x[:, None])  # [T, 1, N]: one sample
    spikes[kind] = z[:, 0]  # [T, N]
everyone = torch.cat(list(spikes.values()), dim=1)  # [T, 50]

ax = plot.raster(everyone, title="five kinds of neurons")
for number, kind in enumerate(spikes):
    ax.text(num_steps + 4, group * number + group / 2, kind, va="center")
    ax.axhline(group * number - 0.5, color=plot.QUIET, linewidth=0.5)

# %% [markdown]
# **What to see.** Every row is a neuron, every column a step, every mark a spike. Read
# it from left to right like a score of music. At the bottom the regular neurons tick
# like clocks, the upper ones of them faster, because they get more current. Above them
# are scattered marks without any pattern. Then groups of four marks, three steps apart,
# and after each group a long pause: such a group is a *burst*. Then an empty band, and
# on top a solid one, in which every step has a mark. (A mark is a little narrower than
# its step. Where steps are drawn wide, a solid row therefore looks like a dotted line.)
#
# The empty band and the solid one carry no information at all. A neuron that never spikes
# and one that always does say the same thing whatever the input is.

# %% [markdown]
# ## From spikes to numbers
#
# The *firing rate* of a neuron is its spikes per step. If a step is a millisecond, 0.05
# spikes per step are 50 spikes per second, or 50 Hz. The *population rate* is the share
# of neurons that spike in a step. The first is an average along a row, the second along a
# column.

# %%
rate = everyone.mean(dim=0)  # [N]
population = everyone.mean(dim=1)  # [T]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
left.hist(rate, bins=51, range=(-0.01, 1.01), color=plot.INK)
left.set(
    xlabel="firing rate (spikes per step)",
    ylabel="neurons",
    title="histogram of firing rates",
)
right.plot(population, color=plot.INK, linewidth=1)
right.set(xlabel="step", ylabel="share that spikes", ylim=(0, 1), title="population rate")
for kind, z in spikes.items():
    print(f"{kind:<10}{z.mean():7.1%} of the steps, {1000 * z.mean():4.0f} Hz at 1 ms")

# %% [markdown]
# **What to see.** The mean over all neurons would be one number and hide everything.
# The histogram shows two tall bars at the ends, the silent neurons at 0 and the
# saturated ones at 1. The useful neurons stand between them, here from 0.03 to 0.15.
# The population rate on the right is nearly flat, because these neurons know nothing of
# each other; two sections below it is not. Whenever you are told "the network fires at
# 20 %", ask for this histogram.

# %% [markdown]
# ## Regular or not: the time between spikes
#
# Two neurons may have the same rate and quite different rhythms. The steps from one spike
# to the next are the *interspike intervals*. Their standard deviation divided by their
# mean is the *coefficient of variation* (CV): 0 for a clock, about 1 for spikes by pure
# chance, above 1 for bursts.


# %%
def intervals(z):
    """Return the steps between spikes of each neuron of z [T, N], as a list."""
    return [neuron.nonzero().flatten().diff().float() for neuron in z.T]


def variation(z):
    """Return the mean coefficient of variation of the neurons."""
    found = [gaps.std() / gaps.mean() for gaps in intervals(z) if len(gaps) >= 2]
    return torch.stack(found).mean()


figure, axes = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
for ax, kind in zip(axes, ("regular", "irregular", "bursting"), strict=True):
    ax.hist(torch.cat(intervals(spikes[kind])), bins=range(120), color=plot.INK)
    ax.set(
        xlabel="steps between spikes",
        title=f"{kind}: mean CV {variation(spikes[kind]):.2f}",
    )
axes[0].set_ylabel("how often")

# %% [markdown]
# **What to see.** Left, a narrow heap: every neuron has one interval of its own. The CV
# in the title is computed for each neuron and then averaged; it is 0 because each of
# the ten is a perfect clock, and the heap is wide because they are ten different
# clocks. In the middle, a slope with a long tail: short intervals are frequent, long
# ones happen. Right, a tall bar at the interval within a burst and a small one far
# away, at the pause.

# %% [markdown]
# ## Together or apart: synchrony
#
# Rates and intervals look at one neuron at a time. Whether neurons fire *together* is
# another question. Here are two populations with the same noise in each neuron. In the
# first, each neuron has noise of its own. In the second, half of the variance of the
# noise is the same for all.
#
# How much does the population rate vary when neurons know nothing of each other? A
# neuron that spikes with the chance $p$ is a coin. Its variance is $p(1-p)$, and the
# mean of $N$ independent coins varies by an $N$-th of that, $p(1-p)/N$. `synchrony`
# divides the variance that is there by this one.

# %%
own = torch.randn(num_steps, 50, generator=generator)
shared = torch.randn(num_steps, 1, generator=generator)
apart, _ = lif((0.06 + 0.25 * own)[:, None])
together, _ = lif((0.06 + 0.25 * (own + shared) / 2**0.5)[:, None])


def synchrony(z):
    """Return the variance of the population rate of z [T, N]; independent neurons: 1."""
    p = z.mean(dim=0)
    return z.mean(dim=1).var(correction=0) / ((p * (1 - p)).sum() / z.shape[1] ** 2)


figure, axes = plt.subplots(
    2, 2, figsize=(10, 4.5), sharex=True, sharey="row", height_ratios=(3, 1)
)
figure.set_layout_engine("constrained")
for column, (name, z) in enumerate((("apart", apart), ("together", together))):
    z = z[:, 0]
    plot.raster(z, title=name, ax=axes[0, column])
    axes[1, column].plot(z.mean(dim=1), color=plot.INK, linewidth=1)
    axes[1, column].set_xlabel("step")
    axes[0, column].set_xlabel("")
    print(f"{name:<9} firing rate {z.mean():.1%}, synchrony {synchrony(z):.1f}")
axes[1, 0].set_ylabel("share that spikes")

# %% [markdown]
# **What to see.** The rates in the titles are nearly the same. But the right raster has
# vertical stripes: moments at which many neurons fire, and moments of silence. Below it
# the population rate jumps. The printed synchrony is the variance of that curve, compared
# with neurons that know nothing of each other: near 1 they are independent, above it they
# fire together.
#
# In a trained network stripes mean that many neurons say the same thing at the same time.
# Right after a strong input that is natural. All the time, it is a waste of neurons.

# %% [markdown]
# ## What goes in
#
# A network reads spikes or currents, and an image is neither. An *encoder* makes an input
# over time from it. There are three common ones, and they look very different in a
# raster.

# %%
digits = load_digits_split(part="train")
image = digits.images[:1]  # [1, 64], values from 0 to 1
inputs = {
    "direct: a constant current": encoding.direct(image, 20),
    "rate: chance of a spike in each step": encoding.rate(image, 20, generator=generator),
    "latency: one spike, much ink is early": encoding.latency(image, 20),
}
figure, axes = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained")
axes[0].imshow(image.reshape(8, 8), cmap="Greys")
axes[0].set(xticks=[], yticks=[], title=f"a handwritten {digits.labels[0]}")
for ax, (name, x) in zip(axes[1:], inputs.items(), strict=True):
    ax.imshow(x[:, 0].T, aspect="auto", origin="lower", cmap="Greys")
    ax.set_xlabel("step")
    ax.set_title(name, fontsize="small")
axes[1].set_ylabel("pixel")
for name, x in inputs.items():
    print(f"{name:<38} {int((x != 0).sum()):4d} values that are not 0")

# %% [markdown]
# **What to see.** *Direct* is a shade for each pixel that never changes: exact, and the
# first layer does the work of making spikes. *Rate* is a noisy raster: pixels with much
# ink (value near 1) are dense rows. It needs many steps before the noise averages out.
# *Latency* has one mark in each row whose pixel has ink, and none in the others: very
# few spikes, and all the information is in when they come. Much ink comes early.
# Chapter 3 uses *direct*.

# %% [markdown]
# ## What a broken network looks like
#
# Now three layers of neurons, one after the other, with random weights. The only
# difference between the three networks is one number, the *gain*, by which all currents
# are multiplied.


# %%
def network(change):
    """Return the spikes [T, N] of three layers; `change` is done to their currents."""
    torch.manual_seed(1)
    layers, z = {}, encoding.direct(image, 40)  # [T, 1, 64]
    with torch.no_grad():
        for number in (1, 2, 3):
            current = torch.nn.Linear(z.shape[2], 60, bias=False)(z)
            z, _ = pnbx.LIF(beta=0.9)(change(current))
            layers[f"layer {number}"] = z[:, 0]
    return layers


def check(layers):
    """Print the share of silent and of saturated neurons of each layer."""
    for name, z in layers.items():
        rate = z.mean(dim=0)
        silent, saturated = (rate == 0).float().mean(), (rate > 0.9).float().mean()
        print(f"{name}: rate {rate.mean():.1%}", end=", ")
        print(f"{silent:.0%} silent, {saturated:.0%} saturated")


too_small = network(lambda current: 1.0 * current)
check(too_small)
figure = plot.raster_layers(too_small, title="gain 1: the signal dies on its way")

# %%
too_large = network(lambda current: 30.0 * current)
check(too_large)
figure = plot.raster_layers(too_large, title="gain 30: everyone shouts or is silent")

# %%
alive = network(lambda current: 3.0 * current)
check(alive)
figure = plot.raster_layers(alive, title="gain 3: alive")

# %% [markdown]
# **What to see.** Each row of a figure is a layer: its raster, below it the population
# rate, and beside it the histogram of firing rates. (Each histogram has an axis of its
# own, and the one of a layer without spikes is a single bar at 0.) With a small gain
# the first layer has a few spikes and the last one none: the network is *dead*. Its
# answer is the same for every image, and hardly any gradient flows back. With a large
# gain many rows are solid, which at this width looks like dotted lines (the gaps
# between the columns are only the ends of the marks), and most others are empty: 30 to
# 38 % of the neurons are saturated. A neuron is decided from the first step on, and
# time adds nothing. In between hardly any neuron is saturated, and rows differ in how
# dense they are.
#
# Half of the neurons are silent in the living network too. That is no fault: a neuron
# that is silent for this image speaks for another one. Only a neuron that is silent for
# *all* images carries nothing; with 50 images that is about one in ten.
#
# Look at a raster *before* you train, and again after a few updates. Three cures, in
# the order in which to try them: a layer that brings all currents to a common size,
# called BatchNorm (chapter 3), a term of the loss that asks for a firing rate (chapter
# 3), and thresholds that adapt (chapter 6).

# %% [markdown]
# ## What you know now
#
# - Rows are neurons, columns are steps. Rows that are empty or solid whatever the input
#   is carry nothing.
# - Rate per neuron, population rate per step, intervals within a row, synchrony between
#   rows: four questions, and one mean answers none of them.
# - A dead layer and a saturated one are visible before any training.

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** In the first raster, take the bursting neurons. How many spikes has a
# burst, and how long is the pause, from the last spike of a burst to the first one of
# the next? Answer from their intervals alone.

# %% tags=["hide-cell"]
gaps = torch.cat(intervals(spikes["bursting"]))
pause = gaps > 10
print("interval within a burst:", gaps[~pause].unique().tolist(), "steps")
print("interval across a pause:", gaps[pause].unique().tolist(), "steps")
pauses = [(own > 10).nonzero().flatten() for own in intervals(spikes["bursting"])]
sizes = torch.cat([places.diff() for places in pauses])  # from one pause to the next
print("spikes in a whole burst:", sizes.unique().tolist())

# %% [markdown]
# <details><summary>Answer 1 in words</summary>
#
# The intervals fall into two groups, short ones within a burst and long ones across a
# pause. Between two pauses there are three short intervals, so a burst has four spikes.
# (Bursts that the run cuts off at its ends do not count.) From the first to the last
# spike of a burst are 3 times 3 = 9 steps, and with the pause of 41 that makes 50: the
# current goes on and off with a period of 50 steps.
#
# </details>

# %% [markdown]
# **Exercise 2.** In the section on synchrony half of the noise was shared. Let all of it
# be shared. What does the raster look like, and what is the largest possible synchrony of
# 50 neurons?

# %% tags=["hide-cell"]
same, _ = lif((0.06 + 0.25 * shared.expand(-1, 50))[:, None])
ax = plot.raster(same[:, 0], title="all noise is shared")
print(f"synchrony {synchrony(same[:, 0]):.1f} with 50 neurons")

# %% [markdown]
# <details><summary>Answer 2 in words</summary>
#
# All neurons are one neuron: the raster consists of vertical lines only. The population
# rate is then a single spike train with variance $p(1-p)$, and independent neurons
# would have $p(1-p)/50$. So the largest value is 50, the number of neurons.
#
# </details>

# %% [markdown]
# **Exercise 3.** The network with gain 1 is dead. Bring it to life without touching its
# weights: subtract the mean of the current and divide by its standard deviation, as
# BatchNorm does (chapter 3 has more about it), then multiply by 0.5. Look at the result
# with `check` and with a raster.

# %% tags=["hide-cell"]
mended = network(lambda current: 0.5 * (current - current.mean()) / current.std())
check(mended)
figure = plot.raster_layers(mended, title="the weights of the dead network, normalised")

# %% [markdown]
# <details><summary>Answer 3 in words</summary>
#
# The current of a layer has the mean 0 and a standard deviation of 0.5, whatever the
# weights are. So every layer has neurons that reach the threshold and neurons that do
# not. The factor 0.5 is the only thing left to choose, and the same factor holds deeper
# networks alive too. BatchNorm does this for every neuron by itself and learns the
# factor.
#
# </details>

# %% tags=["remove-cell"]
# In a notebook each figure is shown under its cell. Run as a script, this saves them.
for number in plt.get_fignums():
    Path("runs/course").mkdir(parents=True, exist_ok=True)
    plt.figure(number).savefig(f"runs/course/2_a_raster_{number}.png", dpi=120)
