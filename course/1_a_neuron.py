# %% [markdown]
# # 1. A neuron and its resets
#
# This course takes about an hour and a half. You need Python and a little PyTorch. You
# need no biology, and you need not have seen a spiking network before. Every chapter is a
# notebook: read it, or install the package (the page *Course* says how), run it, change a
# number, and run it again.
#
# This first chapter is about one neuron. After it you can say what a spike is, what
# `beta`, the threshold and the reset do, why two libraries may disagree by one step, and
# how a network learns although a spike has no slope.

# %%
from pathlib import Path

import numpy as np
import snntorch
import torch
from matplotlib import pyplot as plt

import pnbx_snn as pnbx
from pnbx_snn import plot

# %% [markdown]
# ## A bucket with a hole
#
# Think of a bucket with a small hole. In every *step* of time a little water leaks out
# and some new water is poured in. When the water rises above a mark, the bucket is
# emptied and a bell rings once.
#
# A *leaky integrate-and-fire* neuron (LIF) is this bucket. The level of the water is the
# *membrane potential* `v`. What is poured in is the input *current* `I`. The mark is the
# *threshold* $\theta$. The bell is a *spike* `z`: a 0 or a 1, and nothing in between. In
# every step $t$, in this order:
#
# $$
# \begin{aligned}
# v_t &= \beta\, v_{t-1} + I_t && \text{leak and add} \\
# z_t &= 1 \text{ if } v_t > \theta \text{, else } 0 && \text{compare and spike} \\
# v_t &\leftarrow 0 \text{ if } z_t = 1 && \text{reset}
# \end{aligned}
# $$
#
# The *decay* $\beta$ (`beta`), between 0 and 1, is the share of the potential that is
# left after one step. Here is all of it in plain Python, with a current that is switched
# on at step 5 and off at step 30.

# %%
beta, threshold = 0.9, 1.0
current = [0.2 if 5 <= step < 30 else 0.0 for step in range(40)]

v, membrane, spikes = 0.0, [], []
for value in current:
    v = beta * v + value  # leak and add
    spike = 1 if v > threshold else 0  # compare and spike
    if spike:
        v = 0.0  # reset
    membrane.append(v)
    spikes.append(spike)

print("steps with a spike:", [step for step, spike in enumerate(spikes) if spike])

# %%
ax = plot.membrane(np.array(membrane), threshold=threshold, spikes=np.array(spikes))
ax.axvspan(4.5, 29.5, color="0.93", zorder=0)
ax.set_title("one neuron; the current flows in the grey part")

# %% [markdown]
# **What to see.** The curve is the membrane potential after each step, the dashed line
# the threshold, and every tick above them is a spike. The potential climbs more and more
# slowly, because a fuller bucket leaks more. A spike returns it to zero. The curve never
# crosses the dashed line: it is drawn after the reset, which happens in the same step as
# the spike. When the current stops, the rest leaks away and no spike follows.

# %% [markdown]
# ## The same as a layer
#
# `pnbx.LIF` is the same neuron, for many at once. Its input has three axes, time first:
# `[T, B, N]` is steps, samples and neurons. A *sample* is one independent run, for
# example one image of a batch. Our neuron is `T = 40, B = 1, N = 1`. A layer returns the
# spikes, and the *state*: what it has to remember if the run goes on.

# %%
lif = pnbx.LIF(beta=0.9, threshold=1.0)
x = torch.tensor(current).reshape(40, 1, 1)  # [T, B, N]
z, state = lif(x)
print("spikes", list(z.shape), "state", list(state.v.shape))
print("equal to the loop:", z.flatten().tolist() == spikes)

# %% [markdown]
# State is never hidden in the layer. Run the first half, hand over the state, run the
# second half, and nothing has changed. So a network can listen to a microphone for a day,
# one step at a time.

# %%
first, state = lif(x[:20])
second, state = lif(x[20:], state)
print("two halves equal one run:", torch.equal(torch.cat([first, second]), z))

# %% [markdown]
# ## What beta does
#
# One drop of current, then silence. The potential is multiplied by `beta` in every step.
# The closer `beta` is to 1, the longer the neuron remembers. Physicists prefer a *time
# constant* $\tau$: after the time $\tau$ a share of $1/e \approx 37\,\%$ is left, so
# $\beta = e^{-\Delta t/\tau}$ for a step of length $\Delta t$.

# %%
drop = torch.zeros(40, 1, 1)
drop[2] = 0.9
curves = {}
for tau_s in (0.003, 0.010, 0.030):
    beta = pnbx.beta_from_tau(tau_s, dt_s=0.001)
    _, v = pnbx.LIF(beta).trace(drop)  # trace: spikes, and the membrane of every step
    curves[f"tau = {1000 * tau_s:.0f} ms, beta = {beta:.3f}"] = v[:, 0, 0]

figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
for (label, v), style in zip(curves.items(), (":", "--", "-"), strict=True):
    ax.plot(v, style, color=plot.INK, label=label)
ax.set(
    xlabel="step (1 ms)",
    ylabel="membrane potential v",
    title="what is left of one drop of current",
)
ax.legend(frameon=False)

# %% [markdown]
# **What to see.** All three curves start at the same height. The dotted one has forgotten
# the drop after about ten steps, the solid one still holds part of it after forty. `beta`
# is a memory span, nothing else.

# %% [markdown]
# ## How fast it fires
#
# Under a constant current the potential moves towards $I / (1 - \beta)$: there, leak and
# input are in balance. If that value is below the threshold, the neuron never spikes. If
# it is above, it spikes at regular intervals, and the more current, the more often. The
# *firing rate* is the number of spikes per step. The figure is the neuron's answer to
# each current, its *f-I curve* (frequency over current).

# %%
amounts = torch.linspace(0, 1.2, 121)
x = amounts.expand(200, 1, 121)  # 121 neurons, each with a current of its own
z, _ = pnbx.LIF(beta=0.9)(x)
rate = z.mean(dim=0).squeeze()

figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
ax.plot(amounts, rate, color=plot.INK)
ax.axvline(0.1, color=plot.QUIET, linestyle="--")
ax.text(0.12, 0.8, "weakest current that can spike: 0.1")
ax.set(
    xlabel="current I",
    ylabel="firing rate (spikes per step)",
    title="f-I curve of a LIF neuron, beta = 0.9",
)
print(f"weakest current with a spike: {amounts[rate > 0].min():.2f}")

# %% [markdown]
# **What to see.** Left of the dashed line there is no spike at all. Then the rate rises
# in stairs: an interval between two spikes is a whole number of steps, so many currents
# share one rate. Where the current alone is above the threshold the neuron spikes in
# every step. A faster answer is impossible, it is *saturated*.

# %% [markdown]
# ## Three resets
#
# Setting `v` to zero is one possible reset. Another one *subtracts* the threshold, so
# that what was above it is not lost. A third does nothing. The input is the same strong
# current for all three.

# %%
strong = torch.full((30, 1, 1), 0.45)
figure, axes = plt.subplots(3, 1, figsize=(7, 6.5), sharex=True, layout="constrained")
for reset, ax in zip(("zero", "subtract", "none"), axes, strict=True):
    z, v = pnbx.LIF(beta=0.9, reset=reset).trace(strong)
    plot.membrane(v[:, 0, 0], threshold=1.0, spikes=z[:, 0, 0], ax=ax)
    ax.set(title=f'reset="{reset}": {int(z.sum())} spikes', xlabel="", ylabel="v")
axes[-1].set_xlabel("step")

# %% [markdown]
# **What to see.** With `"zero"` all teeth of the saw are equal. With `"subtract"` the
# potential starts the next tooth from what was left over, so the teeth differ and there
# are more spikes. With `"none"` the potential stays above the threshold and every further
# step has a spike. `"none"` is for experiments.
#
# `"zero"` is the default here, because snnTorch, Norse and Lava all have it and compute
# the same with it. (These are three other libraries for spiking networks; Lava is
# Intel's. What snnTorch does when you do not choose is another reset, as the next
# section shows.)

# %% [markdown]
# ## One step late
#
# If you follow a tutorial of snnTorch, you meet `snntorch.Leaky`. It subtracts by
# default, and *one step late*: the spike comes out now, and the threshold is taken away
# in the next step (its option `reset_delay=True`). Its potential is therefore seen
# above the threshold.

# %%
leaky = snntorch.Leaky(beta=0.9)  # snnTorch's default
v_late, z_late = torch.zeros(1, 1), []
late = []
for step in strong:
    spike, v_late = leaky(step, v_late)
    z_late.append(spike)
    late.append(v_late)
z_late, late = torch.stack(z_late)[:, 0, 0], torch.stack(late)[:, 0, 0]
z_now, now = pnbx.LIF(beta=0.9, reset="subtract").trace(strong)

figure, axes = plt.subplots(2, 1, figsize=(7, 4.5), sharex=True, layout="constrained")
plot.membrane(now[:, 0, 0], threshold=1.0, spikes=z_now[:, 0, 0], ax=axes[0])
plot.membrane(late, threshold=1.0, spikes=z_late, ax=axes[1])
axes[0].set(title='pnbx.LIF(reset="subtract"): in the same step', xlabel="", ylabel="v")
axes[1].set(title="snntorch.Leaky(): one step late", ylabel="v")
print("in the same step:", z_now.flatten().nonzero().flatten().tolist())
print("one step late:   ", z_late.nonzero().flatten().tolist())

# %% [markdown]
# **What to see.** Same current, same `beta`, same threshold, and yet the spikes part
# after the first one. Take a spike, a threshold of 1, and write down the next step.
# Taken away at once: $\beta\,(v - 1) + I$, so one step later only $\beta = 0.9$ is
# missing, because what was taken away leaks like the rest. Taken away late:
# $\beta\, v + I - 1$, so the full 1 is missing, and the next spike may have to wait.
# The difference is small and easily overlooked, and it changes a trained network when
# you carry its weights from one library to another. So always ask for the reset *and*
# its moment. `pnbx.Leaky` is snnTorch's neuron with snnTorch's default, for unchanged
# scripts.

# %% [markdown]
# ## A tie does not spike
#
# What if `v` is exactly the threshold? A spike is `v > threshold`, with a strict sign, so
# nothing happens. With floating-point numbers a tie is very rare. With integers, from
# chapter 4 on, it happens sooner or later, and two machines only agree if they answer
# this question in the same way.

# %%
tie = torch.tensor([0.5, 0.5, 0.5]).reshape(3, 1, 1)
z, v = pnbx.LIF(beta=1.0).trace(tie)  # beta = 1: no leak
print("v", v.flatten().tolist(), "spikes", z.flatten().tolist())

# %% [markdown]
# After two steps the potential is 1.0, exactly at the threshold: no spike. The third step
# passes it.

# %% [markdown]
# ## How a neuron learns: the surrogate gradient
#
# Training a network means asking for every weight: would the result be better if this
# number were a little larger? The answer is a slope, the *gradient*. A spike is a step
# from 0 to 1: its slope is zero nearly everywhere and infinite at the threshold. Neither
# teaches anything.
#
# The way out is a white lie. Forward, the neuron spikes as before. Backward, PyTorch is
# given the slope of a *smooth* curve instead, the *surrogate gradient*. It says: the
# nearer `v` is to the threshold, the more a small change matters.

# %%
u = torch.linspace(-2, 2, 401, requires_grad=True)  # v - threshold
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
left.plot(u.detach(), pnbx.Surrogate("atan")(u).detach(), color=plot.INK)
for name, style in (("atan", "-"), ("fast_sigmoid", "--"), ("super", ":")):
    (slope,) = torch.autograd.grad(pnbx.Surrogate(name)(u).sum(), u)
    right.plot(u.detach(), slope, style, color=plot.INK, label=name)
left.set(xlabel="v - threshold", ylabel="spike", title="forward: a step")
right.set(xlabel="v - threshold", ylabel="slope", title="backward: a surrogate")
right.legend(frameon=False)

# %% [markdown]
# **What to see.** Left is what the neuron does, right what the gradient believes. All
# surrogates are highest at the threshold; they differ in how far away they still see
# it. The three names are values of the option `spike_grad` of `pnbx.LIF`; `"atan"` is
# its default.
#
# Does the lie work? One neuron gets a constant current `w`, and we want 10 spikes in 50
# steps. PyTorch's optimizer changes `w` by the surrogate gradient of the squared error.

# %%
w = torch.tensor(0.15, requires_grad=True)
optimizer = torch.optim.Adam([w], lr=0.01)
lif = pnbx.LIF(beta=0.9)
counts, currents = [], []
for _ in range(40):
    z, _ = lif(w.expand(50, 1, 1))
    loss = (z.sum() - 10) ** 2
    optimizer.zero_grad()
    loss.backward()
    counts.append(z.sum().item())
    currents.append(w.item())
    optimizer.step()

figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
axes[0].plot(currents, color=plot.INK)
axes[0].set(xlabel="update", ylabel="current w", title="what was learned")
axes[1].plot(counts, color=plot.INK)
axes[1].axhline(10, color=plot.QUIET, linestyle="--")
axes[1].set(xlabel="update", ylabel="spikes", title="what came out (dashed: wanted)")
for when, update in (("start", 0), ("end", -1)):
    print(f"{when}: w = {currents[update]:.3f}, {counts[update]:.0f} spikes")

# %% [markdown]
# **What to see.** The current grows, goes too far (12 spikes) and comes back: the
# optimizer Adam has *momentum*, like a ball that rolls past the lowest point of a
# valley. The count jumps from 8 to 10 to 12 and is never 9 or 11: an interval of 6, 5
# or 4 steps fits 8, 10 or 12 times into 50 steps. These are the stairs of the f-I
# curve. A network learns in the same way, with thousands of `w`.

# %% [markdown]
# ## What you know now
#
# - A step of a LIF neuron: leak and add, compare, spike, reset, in this order.
# - `beta` is its memory, the threshold its mark, and the reset decides what a spike
#   costs.
# - Libraries differ in the reset and in its moment. A tie does not spike.
# - Gradients pass a spike through a surrogate.

# %% [markdown]
# ## Exercises
#
# Try each one before you open its answer.
#
# **Exercise 1.** With `beta = 0.8` and a threshold of 1, which constant current is the
# smallest that ever makes a spike? Work it out, then test a current 1 % below and one 1 %
# above.

# %% tags=["hide-cell"]
limit = 1 * (1 - 0.8)
for share in (0.99, 1.01):
    z, _ = pnbx.LIF(beta=0.8)(torch.full((500, 1, 1), share * limit))
    print(f"I = {share * limit:.4f}: {int(z.sum())} spikes in 500 steps")

# %% [markdown]
# <details><summary>Answer 1 in words</summary>
#
# The potential moves towards $I/(1-\beta)$, so it passes 1 only if $I > 1 - \beta$, here
# 0.2. Below that the neuron is silent for ever; just above, it needs many steps for each
# spike.
#
# </details>

# %% [markdown]
# **Exercise 2.** Two drops of current of 0.6 arrive. With `beta = 0.9`, how many steps
# may lie between them so that the neuron still spikes? (A neuron that answers only to
# inputs that arrive together is a *coincidence detector*.)

# %% tags=["hide-cell"]
for gap in range(1, 8):
    drops = torch.zeros(20, 1, 1)
    drops[2] = drops[2 + gap] = 0.6
    z, _ = pnbx.LIF(beta=0.9)(drops)
    print(f"{gap} steps apart: {'spike' if z.any() else 'no spike'}")

# %% [markdown]
# <details><summary>Answer 2 in words</summary>
#
# After a gap of $g$ steps $0.6 \cdot 0.9^g$ is left of the first drop. A spike needs
# $0.6 \cdot 0.9^g + 0.6 > 1$, so $0.9^g > 2/3$, which holds up to $g = 3$. A smaller
# `beta` makes the neuron stricter.
#
# </details>

# %% [markdown]
# **Exercise 3.** Start the learning of the last section at `w = 0.05`, where the neuron
# is silent, with `spike_grad="fast_sigmoid"`, whose slope falls off quickly. Then do
# the same with `"super"`. Compare the first gradients and what is reached after 80
# updates. (Adam, the optimizer, divides each gradient by its usual size.)

# %% tags=["hide-cell"]
for name in ("fast_sigmoid", "super"):
    w = torch.tensor(0.05, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=0.01)
    for update in range(80):
        z, _ = pnbx.LIF(beta=0.9, spike_grad=name)(w.expand(50, 1, 1))
        optimizer.zero_grad()
        ((z.sum() - 10) ** 2).backward()
        if update == 0:
            print(f"{name}: at first {int(z.sum())} spikes, gradient {w.grad:.1f}")
        optimizer.step()
    print(f"    after 80 updates {int(z.sum())} spikes, w = {w.item():.3f}")

# %% [markdown]
# <details><summary>Answer 3 in words</summary>
#
# At `w = 0.05` the neuron is silent: its potential ends at 0.5, half a threshold too
# low. The gradient is not zero, because a surrogate also has a slope there, but the one
# of `"fast_sigmoid"` is far smaller. Adam divides by the usual size of the gradient, so
# both learn here, and both reach the 10 spikes. In a network, neurons that are far from
# their threshold then get a much smaller gradient than their neighbours, and may stay
# silent for good. Chapter 2 shows how to spot them.
#
# </details>

# %% tags=["remove-cell"]
# In a notebook each figure is shown under its cell. Run as a script, this saves them.
for number in plt.get_fignums():
    Path("runs/course").mkdir(parents=True, exist_ok=True)
    plt.figure(number).savefig(f"runs/course/1_a_neuron_{number}.png", dpi=120)
