# %% [markdown]
# # 4. Compile it: what integers change
#
# A trained network is made of floating-point numbers. Floating-point sums depend on
# their order, so two machines may give two answers. *Neuromorphic* chips, which are
# built of spiking neurons, and small microcontrollers often have no floating-point unit
# at all. So the network is *compiled*: it becomes a *program*, a list of operations on
# whole numbers, with the same result everywhere.
#
# In this chapter you see what happens to the decay, the threshold and BatchNorm, how
# large the difference is, and you look for a spike that moved. You need chapters 1 to 3.

# %%
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

import neuromorphic
import pnbx_snn as pnbx
from pnbx_snn import plot
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.training.config import make_config

# %% [markdown]
# ## A network to compile
#
# The classifier of chapter 3 with 64 neurons, trained for a few seconds, and then one
# call.

# %%
config = make_config(
    {
        "data": {"name": "digits", "part": "train"},
        "model": {"hidden": [64], "num_steps": 12},
        "train": {"epochs": 20, "rate_target": 0.15, "rate_weight": 20.0},
    }
)
run = Path(tempfile.mkdtemp()) / "run"
model = pnbx.train(config, run).model
program = neuromorphic.compile(model)

for op in program.ops:
    sources = ", ".join(op.sources) or "-"
    print(f"{type(op).__name__:<8} {op.name:<17} {op.size:3d} values   reads {sources}")

# %% [markdown]
# **What to see.** Five operations instead of a PyTorch module. `Input` takes the pixels
# as integers from -128 to 127. `Dense` is a matrix of -1, 0 and 1. `LIF` are the
# neurons. A second `Dense` and the `Readout` (the *read-out*) add up what the ten
# digits get. BatchNorm is gone, and so are gamma and every other fraction. Where did
# they go?

# %% [markdown]
# ## The decay: a product and a shift
#
# In floating point a step begins with $\beta v$. Integers have no 0.9. But they have
# 3686/4096, which is nearly 0.9, and dividing by 4096 = $2^{12}$ is a *shift* by 12 bits,
# the cheapest operation there is. So the program stores a factor from 0 to 4096 and
# computes `v * factor >> 12`. What is left of the fraction is dropped, toward zero.
# Intel's chip Loihi does the same.


# %%
def decay(v, factor):
    """Return v * factor / 4096, rounded toward zero, for whole numbers of either sign."""
    return np.sign(v) * (np.abs(v) * factor >> 12)


factor = round(0.9 * 4096)
print(f"factor {factor}, which stands for {factor / 4096:.5f}")

figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
for ax, start in zip(axes, (1000, 20), strict=True):
    exact, whole = [float(start)], [start]
    for _ in range(30):
        exact.append(0.9 * exact[-1])
        whole.append(int(decay(whole[-1], factor)))
    ax.plot(exact, color=plot.QUIET, linestyle="--", label="floating point")
    ax.step(range(31), whole, color=plot.INK, where="mid", label="integers")
    ax.set(xlabel="step", ylabel="v", title=f"decay from {start}")
axes[0].legend(frameon=False)

# %% [markdown]
# **What to see.** From 1000 the two curves lie on each other. From 20 the integers fall
# faster, and reach zero exactly, which floating point never does. The lesson: integers
# are precise as long as they are large. So a membrane is counted in small units.

# %% [markdown]
# ## BatchNorm and the threshold: folded
#
# Behind the first matrix, everything that happens to the exact integer sum $n$ of a
# neuron is one straight line:
#
# $$ I = a\, n + c. $$
#
# The slope $a$ gathers gamma, the scale of the pixels and the scale of BatchNorm. The
# offset $c$ gathers the rest of BatchNorm. Now measure the membrane in units of $a$,
# made finer by a factor $2^s$: $V = v \cdot 2^s / a$. (This $s$ is another shift than
# the 12 bits of the decay. The compiler takes the largest one with which the membranes
# still fit into their integers.) In these units
#
# $$
# V_t = \text{decay}(V_{t-1}) + 2^s n_t + 2^s c/a, \qquad
# \text{spike where } V_t > 2^s \theta / a.
# $$
#
# The multiplication by $a$ has vanished from the step. What remains are two integers
# for each neuron, a *threshold* and a *bias*, computed once. That is *folding*. The
# threshold is rounded *down*, because $V$ is a whole number: $V > 7.6$ is the same as
# $V > 7$. The bias is rounded to the nearest. Let us do it by hand and compare with
# what the compiler found.

# %%
layer, lif = model.layers[0], program["lif1"]
norm = layer.norm
_, gamma = pnbx.ternarize(layer.linear.weight)
with torch.no_grad():
    spread = (norm.running_var + norm.eps).sqrt()
    a = (norm.weight * gamma * layer.linear.input_scale / spread).double().numpy()
    c = (norm.bias - norm.weight * norm.running_mean / spread).double().numpy()

threshold = np.floor(1.0 * 2**lif.shift / np.abs(a)).astype(int)
bias = np.round(c * 2**lif.shift / np.abs(a)).astype(int)
print("s =", lif.shift)
print("threshold by hand ", threshold[:6])
print("threshold compiled", lif.threshold[:6])
print("bias by hand      ", bias[:6])
print("bias compiled     ", lif.bias[:6])
print("largest difference of a threshold:", abs(threshold - lif.threshold).max())
print("largest difference of a bias:     ", abs(bias - lif.bias).max())

# %% [markdown]
# **What to see.** Neurons that had one common threshold of 1 now have 64 different ones.
# The thresholds are in the ten thousands, so one unit more or less is a difference of
# less than one in ten thousand. (Where $a$ is negative, the compiler turns the signs of
# the neuron's weights round, which is why the absolute value stands above.)

# %% [markdown]
# ## A step, by hand
#
# This is all that a chip has to do for this layer. Four lines of integers, and the result
# must equal the program in every spike and every membrane.

# %%
test = load_digits_split(part="test")
images = test.images.numpy()
recording = neuromorphic.run(program, images)  # spikes and states of every step

x = program.prepare_inputs(images)[0].astype(np.int64)  # [images, 64], equal in all steps
n = x @ program["lif1_synapses"].weights.T.astype(np.int64)  # [images, 64 neurons]
v = np.zeros_like(n)
for step in range(program.num_steps):
    v = decay(v, lif.decay) + (n << lif.shift) + lif.bias  # leak and add
    spikes = v > lif.threshold  # compare and spike
    v = np.where(spikes, 0, v)  # reset
    assert np.array_equal(spikes, recording.variables["lif1.spikes"][step])
    assert np.array_equal(v, recording.variables["lif1.v"][step])
print(f"{program.num_steps} steps of {len(x)} images: all spikes and membranes equal")

# %% [markdown]
# ## Two promises
#
# There are two comparisons, and they differ in kind.
#
# *Network against program* is **measured**. Rounding moved something, and the question is
# how much. Compiling the folder of a run measures it on the test images and stores the
# result in the program.

# %%
program = neuromorphic.compile(run, part="test")
agreement = program.metadata["agreement"]
print(f"accuracy of the network {agreement['accuracy_network']:.2%}")
print(f"accuracy of the program {agreement['accuracy_program']:.2%}")
print(f"same label for {agreement['labels_equal']:.2%} of {agreement['samples']} images")
print(f"same spike in {agreement['spikes_equal']:.4%} of all neurons and steps")

# %% [markdown]
# *Program against program* is **exact**. The reference is written in plain NumPy. An
# *executor* is software that runs programs; `native` is the one that uses compiled
# machine code. `verify` runs both and compares every spike and every *state* (the
# membranes and the sums of the read-out); a single value that differs is an error.

# %%
found, _, _ = neuromorphic.verify(program, images, "native")
print(f"spikes compared {found.spikes_compared:,}, different {found.spikes_different}")
print(f"states compared {found.states_compared:,}, different {found.states_different}")
assert found.equal

# %% [markdown]
# ## Look for a spike that moved
#
# Somewhere a spike of the network is missing in the program, or comes a step later. Which
# one, and why? The membrane of the network, brought to the program's units, can be drawn
# over the integers.

# %%
fired = recording.variables["lif1.spikes"]  # [T, B, N]
model.eval()
with torch.no_grad():
    current = layer.norm(layer.linear(test.images))  # [B, N], constant over time
    z, v = layer.neuron.trace(current.expand(program.num_steps, -1, -1))
moved = np.argwhere(fired != z.numpy())
print(f"{len(moved)} of {fired.size:,} spikes differ")
step, image, neuron = moved[0]
ax = plot.raster(z, fired, sample=image, title=f"image {image}")

# %% [markdown]
# The rings mark the spikes that only one of the two has: a blue mark in a ring is a
# spike of the network, a red one a spike of the program. Why did they move? A recording
# has the membrane *after* the reset. What decides is the membrane before it: decay what
# was left one step earlier, and add the input.

# %%
left_over = np.r_[0, recording.variables["lif1.v"][:-1, image, neuron]]
constant = (n[image, neuron] << lif.shift) + lif.bias[neuron]
whole = decay(left_over.astype(np.int64), lif.decay[neuron]) + constant

unit = 2**lif.shift / abs(a[neuron])  # the network's potential in the program's units
left_over = np.r_[0, v[:-1, image, neuron]]
real = unit * (0.9 * left_over + float(current[image, neuron]))

figure, axes = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
ring = {"color": plot.INK, "markerfacecolor": "none"}  # colours as in the raster
axes[0].plot(real, "o--", label="network", **ring)
axes[0].plot(whole, ".-", color=plot.ACCENT, label="program")
axes[0].axhline(lif.threshold[neuron], color=plot.QUIET, linestyle=":", label="threshold")
axes[0].set(ylabel="membrane before reset", title=f"image {image}, neuron {neuron}")
axes[0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
axes[1].plot(z[:, image, neuron], "o", markersize=9, **ring)
axes[1].plot(fired[:, image, neuron], ".", color=plot.ACCENT)
axes[1].set(xlabel="step", ylabel="spike", yticks=(0, 1))
print(f"first difference at step {step}, the threshold is {lif.threshold[neuron]}")
print(f"network {real[step]:.1f}, program {whole[step]}")

# %% [markdown]
# **What to see.** Up to the printed step the two membranes lie on each other. There
# both are within a few units of the threshold, and they are on different sides of it.
# One is reset, the other is not, so they part. Where both spike in the same step, both
# are reset, and they meet again. Rounding does not add noise to all spikes. It decides
# the few cases that were a matter of luck anyway.

# %% [markdown]
# ## No overflow: proven
#
# An integer of 32 bits that grows beyond its range turns negative without a word. Such an
# error may hide for years. So before a program runs, *interval arithmetic* follows the
# smallest and the largest possible value through every operation: given the weights, and
# any input in its range, how far can a sum get? If it could overflow, the program is
# refused.

# %%
bounds = neuromorphic.prove(program)
seen = {
    "lif1_synapses": n,
    "lif1": recording.variables["lif1.v"],
    "readout_synapses": fired @ program["readout_synapses"].weights.T.astype(np.int64),
    "readout": recording.variables["readout.y"],
}
print(f"{'':<18}{'proven':>24}{'times what is seen':>24}")
for bound in bounds:
    print(f"{bound.name:<18}{bound.low:>12,} .. {bound.high:<12,}", end=" ")
    values = seen[bound.name]
    print(f"{(bound.high - bound.low) / (values.max() - values.min()):>12.1f}")
print(f"{'32 bits':<18}{-(2**31):>12,} .. {2**31 - 1:<12,}")

figure, ax = plt.subplots(figsize=(8, 2.2), layout="constrained")
for row, bound in enumerate(bounds):
    ax.barh(row, bound.high - bound.low, left=bound.low, color="0.85")
    low, high = seen[bound.name].min(), seen[bound.name].max()
    ax.barh(row, high - low, left=low, height=0.4, color=plot.INK)
ax.set_xscale("symlog", linthresh=10)
ax.set_yticks(range(len(bounds)), [bound.name for bound in bounds])
ax.set(xlabel="value", title="proven for any input (grey), seen with test images (dark)")
ax.invert_yaxis()

# %% [markdown]
# **What to see.** The grey bars are wider than the dark ones, by the factor in the last
# printed column (the axis is logarithmic, so it looks less): a proof speaks about the
# worst input, not about the usual one. All of them are far from the limits of 32 bits.

# %% [markdown]
# ## A difference on purpose
#
# A comparison that cannot fail proves nothing. So change a single weight and see whether
# it is noticed.


# %%
def program_with(op):
    """Return the program with this operation in the place of the one of the same name."""
    ops = [op if op.name == other.name else other for other in program.ops]
    return replace(program, ops=tuple(ops))


synapses = program["lif1_synapses"]
weights = synapses.weights.copy()
row, column = np.argwhere(weights == 1)[0]
weights[row, column] = -1
changed = neuromorphic.run(program_with(replace(synapses, weights=weights)), images)
print(neuromorphic.first_divergence(recording, changed))
print(
    "labels that change:",
    (changed.labels() != recording.labels()).sum(),
    "of",
    len(images),
)

# %% [markdown]
# One weight of thousands, and the comparison names the first step, the image and the
# neuron. Of the labels hardly one changes: a test of accuracy alone would not have seen
# the error.

# %% [markdown]
# ## What you know now
#
# - A decay is a product and a shift by 12 bits. Scales and BatchNorm fold into thresholds
#   and biases.
# - Network against program is measured, program against program is exact.
# - Ranges are proven before anything runs.

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** With 12 bits, what is the largest decay below 1, and which time constant
# in steps does it have? What becomes of `beta = 0.9999`?

# %% tags=["hide-cell"]
print(f"4095 / 4096 has a time constant of {-1 / np.log(4095 / 4096):,.0f} steps")
print(f"0.9999 becomes {round(0.9999 * 4096)} / 4096")
print("one step from 1000:", decay(1000, 4095), "and from -1000:", decay(-1000, 4095))

# %% [markdown]
# <details><summary>Answer 1 in words</summary>
#
# The largest is 4095/4096, with a time constant of 4,095 steps. 0.9999 rounds to
# 4096/4096 = 1: no leak at all. A slow decay loses at least one unit in each step, as
# rounding is toward zero. For small numbers that is more than the decay itself asks
# for. This is why a long memory must be counted in small units: then its numbers are
# large.
#
# </details>

# %% [markdown]
# **Exercise 2.** How precise must the decay be? Round its factor to multiples of 16, 256
# and 1024, and run the changed programs. How many spikes change, and what becomes of the
# accuracy?

# %% tags=["hide-cell"]
for multiple in (16, 256, 1024):
    rounded = (np.round(lif.decay / multiple) * multiple).astype(np.int32)
    coarse = neuromorphic.run(program_with(replace(lif, decay=rounded)), images)
    spikes_changed = (coarse.variables["lif1.spikes"] != fired).mean()
    right = (coarse.labels() == test.labels.numpy()).mean()
    print(f"multiples of {multiple}: factor {rounded[0]}", end=", ")
    print(f"{spikes_changed:.2%} of the spikes change, accuracy {right:.1%}")

# %% [markdown]
# <details><summary>Answer 2 in words</summary>
#
# Sixteen times coarser hardly matters. With multiples of 1024 the factor becomes 4096,
# which is no leak at all, and still the accuracy is the same but for one image of 360
# (it even rises by that image, which is luck). The inputs here are constant and the
# read-out counts spikes, so it matters little when exactly they come. A network that
# has to remember over many steps, as in chapter 6, depends more on its decays.
#
# </details>

# %% [markdown]
# **Exercise 3.** How often does a membrane land exactly on its threshold (before the
# reset)? How many spikes change if a tie does spike? (For integers that is the same as
# lowering all thresholds by 1.) Then make the membranes as coarse as possible, with
# `shift=0`, and ask again.

# %% tags=["hide-cell"]
coarse = replace(
    lif,
    shift=0,
    threshold=(lif.threshold >> lif.shift).astype(np.int32),
    bias=np.round(lif.bias / 2**lif.shift).astype(np.int32),
)
for neurons in (lif, coarse):
    v, ties = np.zeros_like(n), 0
    for _ in range(program.num_steps):
        v = decay(v, neurons.decay) + (n << neurons.shift) + neurons.bias
        ties += int((v == neurons.threshold).sum())
        v = np.where(v > neurons.threshold, 0, v)
    strict = neuromorphic.run(program_with(neurons), images).variables["lif1.spikes"]
    eager = replace(neurons, threshold=(neurons.threshold - 1).astype(np.int32))
    eager = neuromorphic.run(program_with(eager), images).variables["lif1.spikes"]
    print(f"thresholds near {np.median(neurons.threshold):,.0f}: {ties} ties", end=", ")
    print(f"{(strict != eager).sum()} spikes change if a tie spikes")

# %% [markdown]
# <details><summary>Answer 3 in words</summary>
#
# With thresholds of some ten thousand units ties are rare. With some hundred units they
# happen, and each one moves a spike and what follows from it. An executor that answered
# ties in another way would pass most tests and fail one day. This is why the strict sign
# is part of the definition.
#
# </details>

# %% tags=["remove-cell"]
# In a notebook each figure is shown under its cell. Run as a script, this saves them.
for number in plt.get_fignums():
    Path("runs/course").mkdir(parents=True, exist_ok=True)
    plt.figure(number).savefig(f"runs/course/4_compile_{number}.png", dpi=120)
