# %% [markdown]
# # 5. On Lava, on a microcontroller, in ONNX
#
# Chapter 4 made a program: a list of integer operations with one meaning. Now the same
# program runs on four machines that have nothing in common: NumPy, a simulator of a
# neuromorphic chip, a microcontroller with a few kilobytes of memory, and a runtime for
# neural networks that has never heard of spikes. The question is always the same: is
# every single number equal?
#
# You need chapter 4. Three of the machines need extra software. Where it is missing,
# the chapter says how to get it and goes on:
#
# - Lava: `neuromorphic setup-lava`, once. It makes a Python environment of its own,
#   because Lava needs an older Python.
# - The microcontroller is emulated. On Debian or Ubuntu:
#   `apt install --no-install-recommends gcc-arm-none-eabi qemu-system-arm`.
# - ONNX Runtime, the runtime for neural networks: `pip install onnx onnxruntime`.

# %%
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import neuromorphic
import pnbx_snn as pnbx
from neuromorphic.executors.lava.mapping import lava_mapping
from neuromorphic.formats.c import write_c
from neuromorphic.targets import targets
from pnbx_snn import plot
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.training.config import make_config

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The program, as a file
#
# A small classifier of digits, trained for a few seconds. Its program is saved, and from
# here on only the file counts: no PyTorch, no training code. The *SHA-256* is a
# fingerprint of the contents: change one bit and it is another one.

# %%
config = make_config(
    {
        "data": {"name": "digits", "part": "train"},
        "model": {"hidden": [48], "num_steps": 8},
        "train": {"epochs": 15, "rate_target": 0.15, "rate_weight": 20.0},
    }
)
model = pnbx.train(config, folder / "run").model
sha256 = neuromorphic.compile(model).save(folder / "digits.npz")

program = neuromorphic.load(folder / "digits.npz")
num_bytes = (folder / "digits.npz").stat().st_size
print(f"digits.npz: {num_bytes:,} bytes, SHA-256 {sha256[:16]}...")

# %% [markdown]
# Who can take this program? `targets` asks everyone. An *executor* runs it here, a
# *format* is a file for other tools, and a *chip* is checked by its rules.

# %%
ready = {}
for target in targets(program):
    ready[target.name] = target.takes == "exactly" and not target.missing
    note = target.reason or target.missing  # why not, or what to type to get it
    print(f"{target.kind:<9}{target.name:<12}{target.takes:<12} {note[:76]}")

# %% [markdown]
# **What to see.** Most take it exactly. Those that do not say why. (The chip `loihi` is
# checked by stricter rules than the executor `lava`: only processes that come with Lava
# are allowed, and its neurons have one threshold for a whole layer. Ours have 48
# thresholds, one for each neuron.) Such a refusal in words is worth more than a file
# that looks right and computes something else.

# %% [markdown]
# ## The reference
#
# What the program means is defined by plain NumPy. All others are compared with this
# recording: the spikes and the membranes of all neurons, and the sums of the read-out, in
# every step.

# %%
test = load_digits_split(part="test")
images, truth = test.images[:60].numpy(), test.labels[:60].numpy()
reference = neuromorphic.run(program, images)
for name, values in reference.variables.items():
    print(f"{name:<14}{values.dtype!s:<8}{list(values.shape)} (steps, samples, values)")
print(f"{(reference.labels() == truth).mean():.1%} of {len(truth)} digits right")

rows = []  # the table at the end of the chapter


def compare(name, got):
    """Compare a recording with the reference, and add a row to the table."""
    found = neuromorphic.compare(reference, got)
    labels = int((got.labels() != reference.labels()).sum())
    rows.append((name, found, labels))
    print(f"{name}: {found.spikes_different} of {found.spikes_compared:,} spikes differ")
    assert found.equal, found.first


# %% [markdown]
# ## Lava
#
# *Loihi 2* is a research chip of Intel with up to a million spiking neurons; *Lava* is
# the software that describes networks for it and simulates them. In Lava everything is a
# *process*: a layer of neurons is one, a matrix is one, and they send each other
# messages. A stock process comes with Lava. Where Lava has nothing with exactly the same
# arithmetic, a process of this package stands in.

# %%
for place in lava_mapping(program):
    origin = "stock" if place.stock else "ours"
    print(f"{place.op:<17}{place.process:<17}{origin:<6} {place.reason[:66]}")

if ready["lava"]:
    on_lava = neuromorphic.run(program, images, "lava")
    compare("Lava", on_lava)
    print(f"{on_lava.metadata['processes']} processes")
    print(f"{on_lava.metadata['us_per_step']:,.0f} microseconds for each step")
else:
    print("Lava is not here: run `neuromorphic setup-lava`, then restart the notebook.")

# %% [markdown]
# **What to see.** Every message takes a step on its way, so Lava's network runs some
# steps behind. The recording is aligned before it is compared. There are two processes
# more than rows in the table: they record the spikes and the sums. A step takes far
# longer than on NumPy (exercise 3 prints its time): the simulator is there to be right,
# not fast.
#
# Lava is archived since 2026 and nothing here was run on a Loihi chip. What is compared
# runs in Lava's simulator: the matrices are Lava's own, in its *fixed-point*
# (whole-number) arithmetic; the neurons and the read-out are processes of this package.

# %% [markdown]
# ## A microcontroller
#
# A *microcontroller* is a computer on one chip for less than the price of a coffee, with
# some kilobytes of memory and no operating system. The *Cortex-M3* is a common one. The
# program becomes one C file: no floating point, no library, and no memory that is asked
# for while it runs.

# %%
network = write_c(program, folder / "firmware")
for path in sorted((folder / "firmware").iterdir()):
    print(f"{path.name:<12}{path.stat().st_size:7,} characters")
text = (folder / "firmware" / "network.c").read_text()
print("\n".join(text[text.index("void network_step") :].splitlines()[:12]))

# %%
if ready["qemu"]:
    on_chip = neuromorphic.run(program, images, "qemu", core="cortex-m3")
    compare("Cortex-M3", on_chip)
    facts = on_chip.metadata
    print(f"{facts['instructions_per_step']:,.0f} instructions for each step")
    code = facts["flash_bytes"] - network.constant_bytes

    figure, ax = plt.subplots(figsize=(7, 1.9), layout="constrained")
    dark, grey = (
        [facts["ram_bytes"], network.constant_bytes],
        [facts["stack_bytes"], code],
    )
    ax.barh(["RAM", "flash"], dark, color=plot.INK)
    bars = ax.barh(["RAM", "flash"], grey, left=dark, color=plot.QUIET)
    ax.bar_label(
        bars, [f"{a + b:,} bytes" for a, b in zip(dark, grey, strict=True)], padding=4
    )
    ax.set(
        xlabel="bytes", title="dark: weights, states; grey: code, stack", xlim=(0, 3500)
    )
else:
    print("QEMU or the compiler for Arm is not here: see the beginning of the chapter.")

# %% [markdown]
# **What to see.** *Flash* is the memory that stays when the power is off: weights and
# code. *RAM* is what changes. The whole network needs a few kilobytes, which even the
# smallest chips have. At 50 million instructions per second you can work out how many
# steps it makes.
#
# The emulator QEMU counts instructions, which is not the same as time on a chip, but
# counts do not depend on your computer.

# %% [markdown]
# ## ONNX
#
# *ONNX* is a file format for neural networks that many programs read, on servers, on
# phones and in browsers. It knows matrices and additions, not spikes. But a step of a LIF
# neuron *is* only additions, comparisons and choices, so any program can be written that
# way. The file below takes images and returns labels.

# %%
if ready["onnxruntime"]:
    import onnxruntime

    from neuromorphic.executors.onnx.files import save_onnx

    path = save_onnx(program, folder / "digits.onnx", form="image")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (labels,) = session.run(["labels"], {"x": program.prepare_inputs(images)[0]})
    print(f"{path.name}: {path.stat().st_size:,} bytes")
    print("labels equal:", np.array_equal(labels, reference.labels()))
    compare("ONNX Runtime", neuromorphic.run(program, images, "onnxruntime"))
else:
    print("ONNX Runtime is not here: pip install onnx onnxruntime")

# %% [markdown]
# ## All of them
#
# Two more: `native`, the executor for everyday use, and `torch`, which can also use a
# GPU.

# %%
on_native = neuromorphic.run(program, images, "native")
compare("native", on_native)
compare("torch", neuromorphic.run(program, images, "torch"))

print("\ndifferent       spikes             states            labels")
for name, found, labels in rows:
    spikes = f"{found.spikes_different} of {found.spikes_compared:,}"
    states = f"{found.states_different} of {found.states_compared:,}"
    print(f"{name:<15} {spikes:<18} {states:<17} {labels} of {len(truth)}")

# %% [markdown]
# **What to see.** Columns of zeros, and they are meant literally. No tolerance, no
# rounding, not "about the same". So a bug that you find on one machine is a bug on all of
# them, and you may look for it on the most comfortable one.
#
# And this is what is equal: one digit, drawn from two recordings. Where they differed,
# there would be a ring.

# %%
name, other = ("Cortex-M3", on_chip) if ready["qemu"] else ("native", on_native)
ax = plot.raster(reference, other, layer="lif1", title=f"a {truth[0]}, NumPy and {name}")

# %% [markdown]
# ## What you know now
#
# - A program is a file. Whoever runs it gives the same numbers, to the last bit.
# - Lava simulates a neuromorphic chip, QEMU a microcontroller, and ONNX Runtime runs the
#   program as an ordinary network.
# - `targets` says who can take a program, and why others cannot.

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** The *Cortex-M0* is smaller and cheaper still. How many more instructions
# does a step take there? (`core="cortex-m0"`)

# %% tags=["hide-cell"]
if ready["qemu"]:
    for core in ("cortex-m3", "cortex-m0"):
        facts = neuromorphic.run(program, images[:5], "qemu", core=core).metadata
        count = facts["instructions_per_step"]
        print(f"{core}: {count:,.0f} instructions a step", end=", ")
        print(f"at 16 million a second {16e6 / count:,.0f} steps a second")

# %% [markdown]
# <details><summary>Answer 1 in words</summary>
#
# About a third more: the Cortex-M0 has fewer kinds of instructions, and a product of 64
# bits, which the decay needs, takes it a function call. The printed steps per second
# are still far more than speech needs, which is usually cut into about a hundred pieces
# (*frames*) a second.
#
# </details>

# %% [markdown]
# **Exercise 2.** Sabotage: flip the sign of one bias in the program. Which machines
# notice? Use `first_divergence`.

# %% tags=["hide-cell"]
lif = program["lif1"]
bias = lif.bias.copy()
bias[3] = -bias[3]
ops = tuple(replace(op, bias=bias) if op.name == "lif1" else op for op in program.ops)
for name in ("numpy", "native", "torch"):
    sabotaged = neuromorphic.run(replace(program, ops=ops), images, name)
    print(f"{name}: {neuromorphic.first_divergence(reference, sabotaged)}")
ax = plot.raster(
    reference, sabotaged, layer="lif1", neurons=(0, 8), title="red: new spikes"
)

# %% [markdown]
# <details><summary>Answer 2 in words</summary>
#
# All of them, in the same place and with the same numbers. The changed program is
# another program, and it too gives the same numbers on every machine. They are compared
# with the recording of the original one. In the figure, which shows the first eight
# neurons, a red mark in a ring is a spike that only the changed program has.
#
# </details>

# %% [markdown]
# **Exercise 3.** Which executor is fastest for one sample at a time? Measure `numpy`,
# `native`, `torch` and, if it is there, `onnxruntime`. Take the best of several runs, and
# do not count the preparation.

# %% tags=["hide-cell"]
for name in ("numpy", "native", "torch", "onnxruntime"):
    if ready[name]:
        runs = [neuromorphic.run(program, images[:1], name) for _ in range(5)]
        seconds = min(run.metadata["seconds"] for run in runs) / program.num_steps
        print(f"{name:<12}{1e6 * seconds:8.1f} microseconds for each step")

# %% [markdown]
# <details><summary>Answer 3 in words</summary>
#
# `native` is faster than the others: about five times faster than NumPy and ONNX
# Runtime, and more than 20 times faster than torch, because it is machine code made for
# this one job. The others pay for a call of a library in every small operation. For
# large batches the order may change.
#
# </details>

# %% tags=["remove-cell"]
# In a notebook each figure is shown under its cell. Run as a script, this saves them.
for number in plt.get_fignums():
    Path("runs/course").mkdir(parents=True, exist_ok=True)
    plt.figure(number).savefig(f"runs/course/5_machines_{number}.png", dpi=120)
