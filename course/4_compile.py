# %% [markdown]
# # 4. Compile it: what integers change
#
# A trained network is made of floating-point numbers. Floating-point sums depend on their order, so two machines may
# give two answers. Neuromorphic chips and small microcontrollers often have no floating-point unit at all. So the
# network is *compiled*: it becomes a *program*, a list of operations on whole numbers, with the same result everywhere.
#
# In this chapter you see what happens to the decay, the threshold and BatchNorm, how large the difference is, and you
# look for a spike that moved. You need chapters 1 to 3.

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
# The classifier of chapter 3 with 64 neurons, trained for a few seconds, and then one call.

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
    print(f"{type(op).__name__:<8} {op.name:<17} {op.size:3d} values   reads {', '.join(op.sources) or '-'}")

# %% [markdown]
# **What to see.** Five operations instead of a PyTorch module. `Input` takes the pixels as integers from -128 to 127.
# `Dense` is a matrix of -1, 0 and 1. `LIF` are the neurons. A second `Dense` and the `Readout` add up what the ten
# digits get. BatchNorm is gone, and so are gamma and every other fraction. Where did they go?

# %% [markdown]
# ## The decay: a product and a shift
#
# In floating point a step begins with $\beta v$. Integers have no 0.9. But they have 3686/4096, which is nearly 0.9,
# and dividing by 4096 = $2^{12}$ is a *shift* by 12 bits, the cheapest operation there is. So the program stores a
# factor from 0 to 4096 and computes `v * factor >> 12`. What is left of the fraction is dropped, toward zero. Intel's
# chip Loihi does the same.


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
# **What to see.** From 1000 the two curves lie on each other. From 20 the integers fall faster, and reach zero exactly,
# which floating point never does. The lesson: integers are precise as long as they are large. So a membrane is counted
# in small units.

# %% [markdown]
# ## BatchNorm and the threshold: folded
#
# Behind the first matrix, everything that happens to the exact integer sum $n$ of neuron $i$ is one straight line:
#
# $$ I = a\, n + c. $$
#
# The slope $a$ gathers gamma, the scale of the pixels and the scale of BatchNorm. The offset $c$ gathers the rest of
# BatchNorm. Now measure the membrane in units of $a$, made finer by a factor $2^s$: $V = v \cdot 2^s / a$. In these
# units
#
# $$ V_t = \text{decay}(V_{t-1}) + 2^s n_t + 2^s c/a, \qquad \text{spike where } V_t > 2^s \theta / a. $$
#
# The multiplication by $a$ has vanished from the step. What remains are two integers for each neuron, a *threshold* and
# a *bias*, computed once. That is *folding*. Let us do it by hand and compare with what the compiler found.

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
print("threshold by hand ", threshold[:6], " compiled", lif.threshold[:6])
print("bias by hand      ", bias[:6], " compiled", lif.bias[:6])
print("largest difference", abs(threshold - lif.threshold).max(), "and", abs(bias - lif.bias).max())

# %% [markdown]
# **What to see.** Neurons that had one common threshold of 1 now have 64 different ones. The thresholds are in the ten
# thousands, so one unit more or less is a difference of less than one in ten thousand. (Where $a$ is negative, the
# compiler turns the signs of the neuron's weights round, which is why the absolute value stands above.)

# %% [markdown]
# ## A step, by hand
#
# This is all that a chip has to do for this layer. Four lines of integers, and the result must equal the program in
# every spike and every membrane.

# %%
test = load_digits_split(part="test")
recording = neuromorphic.run(program, test.images.numpy())  # what a run leaves: spikes and states of every step

x = program.prepare_inputs(test.images.numpy())[0].astype(np.int64)  # [images, 64], the same in every step
n = x @ program["lif1_synapses"].weights.T.astype(np.int64)  # [images, 64 neurons]
v = np.zeros_like(n)
for step in range(program.num_steps):
    v = decay(v, lif.decay) + (n << lif.shift) + lif.bias  # leak and add
    spikes = v > lif.threshold  # compare and spike
    v = np.where(spikes, 0, v)  # reset
    assert np.array_equal(spikes, recording.variables["lif1.spikes"][step])
    assert np.array_equal(v, recording.variables["lif1.v"][step])
print(f"{program.num_steps} steps of {len(x)} images: every spike and every membrane equal")

# %% [markdown]
# ## Two promises
#
# There are two comparisons, and they differ in kind.
#
# *Network against program* is **measured**. Rounding moved something, and the question is how much. Compiling the
# folder of a run measures it on the test images and stores the result in the program.

# %%
program = neuromorphic.compile(run, part="test")
agreement = program.metadata["agreement"]
print(f"accuracy   network {agreement['accuracy_network']:.2%}, program {agreement['accuracy_program']:.2%}")
print(f"the same label for {agreement['labels_equal']:.2%} of {agreement['samples']} images")
print(f"the same spike in  {agreement['spikes_equal']:.4%} of all neurons and steps")

# %% [markdown]
# *Program against program* is **exact**. The reference is written in plain NumPy. `native` is an executor of compiled
# machine code. `verify` runs both and compares every value; a single one that differs is an error.

# %%
comparison, _, _ = neuromorphic.verify(program, test.images.numpy(), "native")
print(f"spikes compared {comparison.spikes_compared:,}, different {comparison.spikes_different}")
print(f"states compared {comparison.states_compared:,}, different {comparison.states_different}")
assert comparison.equal

# %% [markdown]
# ## Look for a spike that moved
#
# Somewhere a spike of the network is missing in the program, or comes a step later. Which one, and why? The membrane of
# the network, brought to the program's units, can be drawn over the integers.

# %%
recording = neuromorphic.run(program, test.images.numpy())
fired = recording.variables["lif1.spikes"]  # [T, B, N]
model.eval()
with torch.no_grad():
    product = layer.norm(layer.linear(test.images))  # [B, N], constant over time
    z, v_float = layer.neuron.trace(product.expand(program.num_steps, -1, -1))
moved = np.argwhere(fired != z.numpy())
print(f"{len(moved)} of {fired.size:,} spikes differ")

# %%
step, image, neuron = moved[0] if len(moved) else (0, 0, 0)
unit = 2**lif.shift / abs(a[neuron])  # of the network's potential, in the program's units
before = neuromorphic.run(program, test.images[image : image + 1].numpy()).variables["lif1.v"][:, 0, neuron]
current = (n[image, neuron] << lif.shift) + lif.bias[neuron]
whole = np.array([decay(v, lif.decay[neuron]) + current for v in np.r_[0, before[:-1]]])  # before the reset
real = np.r_[0, v_float[:-1, image, neuron]] * float(layer.neuron.beta) + float(product[image, neuron])

figure, axes = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
axes[0].plot(real * unit, "o--", color=plot.ACCENT, label="network", markersize=7, markerfacecolor="none")
axes[0].plot(whole, ".-", color=plot.INK, label="program")
axes[0].axhline(lif.threshold[neuron], color=plot.QUIET, linestyle=":", label="threshold")
axes[0].set(
    ylabel="membrane before the reset", title=f"image {image}, neuron {neuron}: first difference at step {step}"
)
axes[0].legend(frameon=False)
axes[1].plot(fired[:, image, neuron], ".", color=plot.INK, label="program")
axes[1].plot(z[:, image, neuron], "o", color=plot.ACCENT, markersize=9, markerfacecolor="none", label="network")
axes[1].set(xlabel="step", ylabel="spike", yticks=(0, 1))
print(f"at step {step}: network {real[step] * unit:.1f}, program {whole[step]}, threshold {lif.threshold[neuron]}")

# %% [markdown]
# **What to see.** The two membranes lie on each other; at the step in the title both are within a few units of the
# threshold, and they are on different sides of it. The printed line has the numbers. Rounding does not add noise to all
# spikes. It decides the few cases that were a matter of luck anyway. From then on the two membranes differ, because one
# of them was reset.

# %% [markdown]
# ## No overflow: proven
#
# An integer of 32 bits that grows beyond its range turns negative without a word. Such an error may hide for years. So
# before a program runs, *interval arithmetic* follows the smallest and the largest possible value through every
# operation: given the weights, and any input in its range, how far can a sum get? If it could overflow, the program is
# refused.

# %%
bounds = neuromorphic.prove(program)
seen = {"lif1_synapses": n, "lif1": recording.variables["lif1.v"], "readout": recording.variables["readout.y"]}
print(f"{'':<18}{'proven':>24}")
for bound in bounds:
    print(f"{bound.name:<18}{bound.low:>12,} .. {bound.high:<12,}")
print(f"{'32 bits':<18}{-(2**31):>12,} .. {2**31 - 1:<12,}")

figure, ax = plt.subplots(figsize=(8, 2.2), layout="constrained")
for row, bound in enumerate(bounds):
    ax.barh(row, bound.high - bound.low, left=bound.low, color="0.85")
    if bound.name in seen:
        low, high = seen[bound.name].min(), seen[bound.name].max()
        ax.barh(row, high - low, left=low, height=0.4, color=plot.INK)
ax.set_xscale("symlog", linthresh=10)
ax.set_yticks(range(len(bounds)), [bound.name for bound in bounds])
ax.set(xlabel="value", title="proven for any input (grey), seen with the test images (dark)")
ax.invert_yaxis()

# %% [markdown]
# **What to see.** The grey bars are wider than the dark ones: a proof speaks about the worst input, not about the usual
# one. All of them are far from the limits of 32 bits.

# %% [markdown]
# ## A difference on purpose
#
# A comparison that cannot fail proves nothing. So change a single weight and see whether it is noticed.

# %%
ops = list(program.ops)
weights = ops[1].weights.copy()
row, column = np.argwhere(weights == 1)[0]
weights[row, column] = -1
ops[1] = replace(ops[1], weights=weights)
changed = neuromorphic.run(replace(program, ops=tuple(ops)), test.images.numpy())
print(neuromorphic.first_divergence(recording, changed))
print("labels that change:", int((changed.labels() != recording.labels()).sum()), "of", len(test.labels))

# %% [markdown]
# One weight of thousands, and the comparison names the first step, the image and the neuron. The labels may all be the
# same: a test of accuracy alone would not have seen it.

# %% [markdown]
# ## What you know now
#
# - A decay is a product and a shift by 12 bits. Scales and BatchNorm fold into thresholds and biases.
# - Network against program is measured, program against program is exact.
# - Ranges are proven before anything runs.

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** With 12 bits, what is the largest decay below 1, and which time constant in steps does it have? What
# becomes of `beta = 0.9999`?

# %% tags=["hide-cell"]
print(f"largest: 4095 / 4096 = {4095 / 4096:.5f}, time constant {-1 / np.log(4095 / 4096):,.0f} steps")
print(f"0.9999 becomes {round(0.9999 * 4096)} / 4096")
print("a membrane of 1000 after a step with 4095:", decay(1000, 4095), "and of -1000:", decay(-1000, 4095))

# %% [markdown]
# <details><summary>Answer 1 in words</summary>
#
# The largest is 4095/4096, with a time constant of about 4,096 steps. 0.9999 rounds to 4096/4096 = 1: no leak at all. A
# slow decay loses at least one unit in each step, as rounding is toward zero. For small numbers that is more than the
# decay itself asks for. (This is why memories over many thousand steps need large units.)
#
# </details>

# %% [markdown]
# **Exercise 2.** How precise must the decay be? Round its factor to multiples of 16, 256 and 1024, and run the changed
# programs. How many spikes and labels change?

# %% tags=["hide-cell"]
for multiple in (16, 256, 1024):
    ops = [
        replace(op, decay=(np.round(op.decay / multiple) * multiple).astype(np.int32)) if op.name == "lif1" else op
        for op in program.ops
    ]
    coarse = neuromorphic.run(replace(program, ops=tuple(ops)), test.images.numpy())
    spikes_changed = (coarse.variables["lif1.spikes"] != fired).mean()
    right = (coarse.labels() == test.labels.numpy()).mean()
    print(
        f"multiples of {multiple:4d}: factor {ops[2].decay[0]}, {spikes_changed:.2%} of the spikes change, "
        f"accuracy {right:.1%}"
    )

# %% [markdown]
# <details><summary>Answer 2 in words</summary>
#
# Sixteen times coarser hardly matters. With multiples of 1024 the factor becomes 4096, which is no leak at all, and
# still the accuracy is about the same. The inputs here are constant and the read-out counts spikes, so it matters
# little when exactly they come. A network that has to remember is less patient: see exercise 1.
#
# </details>

# %% [markdown]
# **Exercise 3.** How often does a membrane land exactly on its threshold (before the reset)? How many spikes change if
# a tie does spike? (For integers that is the same as lowering all thresholds by 1.) Then make the membranes 128 times
# coarser, with `shift=0`, and ask again.

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
    fires = []
    for threshold in (neurons.threshold, neurons.threshold - 1):
        op = replace(neurons, threshold=threshold.astype(np.int32))
        ops = [op if other.name == "lif1" else other for other in program.ops]
        fires.append(neuromorphic.run(replace(program, ops=tuple(ops)), test.images.numpy()).variables["lif1.spikes"])
    print(
        f"shift {neurons.shift}: thresholds near {int(np.median(neurons.threshold)):,}, {ties} ties, "
        f"{int((fires[0] != fires[1]).sum())} spikes change if a tie spikes"
    )

# %% [markdown]
# <details><summary>Answer 3 in words</summary>
#
# With thresholds of some ten thousand units ties are rare. With some hundred units they happen, and each one moves a
# spike and what follows from it. An executor that answered ties in another way would pass most tests and fail one day.
# This is why the strict sign is part of the definition.
#
# </details>

# %% tags=["remove-cell"]
# In a notebook each figure is shown under its cell. Run as a script, this saves them.
for number in plt.get_fignums():
    Path("runs/course").mkdir(parents=True, exist_ok=True)
    plt.figure(number).savefig(f"runs/course/4_compile_{number}.png", dpi=120)
