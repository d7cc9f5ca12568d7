"""
A network that lava-dl trained, without lava-dl
===============================================

lava-dl, Intel's library for training networks for Loihi, is archived; the networks that people trained with it are
HDF5 files that end in ``.net``. Here one of lava-dl's own test networks, a small convolutional one, becomes an integer
program that fires as slayer's training did, on every executor. A second file holds sigma-delta neurons, which send the
changes of their values; the sums that lava-dl's test for Loihi 2 expects are found again.

The same on the command line is ``neuromorphic compile tiny.net --steps 15 -o tiny.npz``.
"""

# %%
# Read a file
# -----------
# The data are excerpts of lava-dl (BSD-3, ``examples/data/lava_dl``): the file ``tiny.net``, an image, and the spikes
# that slayer found for it. ``metadata["assumptions"]`` says what the file leaves open.
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
from matplotlib import pyplot as plt

import neuromorphic
from neuromorphic.formats.netx import export_netx, read_netx

fast = "--fast" in sys.argv
here = Path(neuromorphic.__file__).parents[1] / "examples/data/lava_dl"  # of a clone
published = dict(np.load(here / "excerpts.npz"))

program = read_netx(here / "tiny.net", num_steps=15)
for op in program.ops:
    print(f"{op.name:8} {type(op).__name__:8} {op.size:4} units")
print("\n".join(f"- {sentence}" for sentence in program.metadata["assumptions"]))

# %%
# Compare with slayer
# -------------------
# lava-dl hands an image over as biases of the input neurons, ``36 * x + 34`` for pixels in -1..1; the program adds the
# 34 itself. Integers are taken as they are, real images are converted by the scale of the input.
image = published["tiny_image"].astype(int) - 34
executors = ("numpy",) if fast else ("numpy", "torch")
for executor in executors:
    spikes = neuromorphic.run(program, image[np.newaxis], executor).spikes()
    for layer, name in (("lif0", "tiny_input"), ("lif2", "tiny_output")):
        slayer = np.unpackbits(published[name], axis=1, count=program[layer].size)
        different = int((spikes[layer][:, 0] != slayer).sum())
        print(f"{executor}, {layer}: {slayer.sum()} spikes of slayer, {different} different")
        assert different == 0

# %%
# Write it for lava-dl
# --------------------
# What netx holds is written, too. The file is read back and run beside the program before it is put in place.
(folder := Path("runs/examples")).mkdir(parents=True, exist_ok=True)
export_netx(program, folder / "17_tiny.net")
again = read_netx(folder / "17_tiny.net", num_steps=15)
print("read back:", [op.name for op in again.ops] == [op.name for op in program.ops])

# %%
# Sigma-delta neurons
# -------------------
# Four convolutions of a network for driving, as lava-dl's PilotNet has them. ``layer_steps=1`` lets each layer take a
# step, as on Lava and Loihi. An image is shown for eight steps: the first answers travel through the layers, then
# nothing changes and nothing is sent.
shapes, strides, paddings = ([24, 16, 16], [36, 7, 7], [64, 4, 4], [64, 2, 2]), (2, 2, 2, 1), (0, 0, 1, 0)
with tempfile.TemporaryDirectory() as temporary:
    path = Path(temporary) / "pilotnet.net"
    with h5py.File(path, "w") as file:
        for number in range(5):
            layer = file.create_group(f"layer/{number}")
            layer["type"] = "conv" if number else "input"
            layer["shape"] = shapes[number - 1] if number else [3, 33, 33]
            layer["neuron/type"], layer["neuron/vThMant"] = "SDNN", published["sdnn_vth"][number]
            if number:
                layer["weight"] = published[f"sdnn_weight{number}"]
                layer["bias"] = published[f"sdnn_bias{number}"]
                layer["stride"], layer["padding"] = strides[number - 1], paddings[number - 1]
    driving = read_netx(path, num_steps=8, layer_steps=1)
recording = neuromorphic.run(driving, published["sdnn_image"].astype(int)[np.newaxis])
for number in range(1, 5):
    different = int((recording.variables[f"sigma{number}.s"][:, 0] != published[f"sdnn_sigma{number}"]).sum())
    print(f"sums of layer {number}: {different} of {published[f'sdnn_sigma{number}'].size} values different")
    assert different == 0

# %%
# What was sent
# -------------
figure, axes = plt.subplots(1, 3, figsize=(10, 3), width_ratios=(1, 2, 1.6), layout="constrained")
axes[0].imshow(image.reshape(3, 16, 16).transpose(1, 2, 0) / 64 + 0.5)
axes[0].set(title="image", xticks=[], yticks=[])
for layer, colour in zip(("lif0", "lif1", "lif2"), ("tab:blue", "tab:orange", "tab:green"), strict=True):
    rates = spikes[layer][:, 0].mean(axis=1)
    axes[1].plot(np.arange(1, 16), 100 * rates, "o-", color=colour, label=f"{layer}, {program[layer].size} neurons")
axes[1].set(title="tiny.net", xlabel="step", ylabel="neurons that fire (%)", ylim=(0, 130))
axes[1].legend()
for number in range(1, 5):
    sent = (recording.variables[f"delta{number}.delta"][:, 0] != 0).mean(axis=1)
    axes[2].plot(np.arange(1, 9), 100 * sent, "o-", label=f"layer {number}")
axes[2].set(title="sigma-delta", xlabel="step", ylabel="neurons that send (%)")
axes[2].legend()
figure.savefig(folder / "17_lava_dl_network.png", dpi=120)
