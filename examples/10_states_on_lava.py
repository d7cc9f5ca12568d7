"""
One network, three times: floats, integers, Lava
================================================

A PNB-X network with all its memories is trained on the handwritten digits, compiled to an integer program, and run
three times on the same image: as the network in floating point, as the program on the NumPy reference, and as the
program on Lava. The figure lays rasters and membranes over each other. The two integer runs must be equal bit for bit;
the network and its program are close, and the figure shows how close.
"""

# %%
# Train
# -----
# Small, so that a minute is enough. ``competition="winner"``: the hippocampus asks its best slot only, as integers do.
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

import neuromorphic
from pnbx_snn import load_run, train
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.training.config import make_config

fast = "--fast" in sys.argv
folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
run_dir = folder / f"10_digits{'_fast' if fast else ''}"
config = make_config(
    {
        "pnbx": {
            "d_hidden": 128,
            "num_steps": 24,
            "d_ssm": 32,
            "d_rnn": 16,
            "rank": 8,
            "slots": 12,
            "tau_max": 24.0,
            "competition": "winner",
        },
        "train": {"epochs": 2 if fast else 15, "batch_size": 64, "rate_weight": 0.0, "settle": 20, "threads": 1},
    }
)
if not (run_dir / "checkpoint.safetensors").exists():
    train(config, run_dir)
model, _ = load_run(run_dir)

# %%
# Compile
# -------
# Every pathway becomes integer operations; how well the program agrees is measured on the validation images.
program = neuromorphic.compile(run_dir)
agreement = program.metadata["agreement"]
print(
    f"{len(program.ops)} operations; on {agreement['samples']} validation images {agreement['labels_equal']:.1%} of "
    f"the labels and {agreement['spikes_equal']:.2%} of all spikes and silences are the network's"
)

# %%
# Run three times
# ---------------
# One test image. The network streams, so that its membrane can be read after each step.
image = load_digits_split(part="test").images[:1]
inputs = model.encode(image)  # [T, 1, 64]
on_numpy = neuromorphic.run(program, inputs.numpy())
on_lava = neuromorphic.run(program, inputs.numpy(), "lava")
comparison = neuromorphic.compare(on_numpy, on_lava)
print(
    f"Lava against NumPy: {comparison.spikes_different} of {comparison.spikes_compared:,} spikes differ, "
    f"{comparison.states_different} of {comparison.states_compared:,} states"
)
spikes, membranes, state = [], [], None
with torch.no_grad():
    for x in inputs:
        _, state = model.stream(x, state)
        membranes.append(state.blocks[0].membrane.v[0])
        spikes.append(state.blocks[0].membrane.z[0])
floats = {"spikes": torch.stack(spikes).numpy(), "v": torch.stack(membranes).numpy()}
different = int((floats["spikes"] != on_numpy.variables["block1.spikes"][:, 0]).sum())
print(f"network against program, this image: {different} of {floats['spikes'].size:,} spikes differ")

# %%
# The figure
# ----------
# Membranes are drawn in units of their thresholds, which is how the two scales meet: the program counts each neuron's
# membrane in units of its own.
theta = model.blocks[0].threshold().numpy()
lif = program["block1"]
shown = np.argsort(-floats["spikes"].mean(axis=0))[[2, 30, 60]]
figure, axes = plt.subplots(4, 1, figsize=(8, 9), layout="constrained", gridspec_kw={"height_ratios": [2.5, 1, 1, 1]})
for (marker, size, color, label), raster in zip(
    (("s", 26, "#cfd8dc", "network (float32)"), ("o", 7, "#1b6ca8", "NumPy (integers)"), ("|", 45, "#c8553d", "Lava")),
    (floats["spikes"], on_numpy.variables["block1.spikes"][:, 0], on_lava.variables["block1.spikes"][:, 0]),
    strict=True,
):
    t, neuron = np.nonzero(raster)
    axes[0].scatter(t, neuron, s=size, marker=marker, color=color, label=label, linewidths=1)
axes[0].set(ylabel="neuron of the block", title=f"a {int(on_numpy.labels()[0])}, said all three")
axes[0].legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=3, frameon=False)
for ax, neuron in zip(axes[1:], shown, strict=True):
    ax.plot(floats["v"][:, neuron] / theta[neuron], color="#b0bec5", lw=5)
    for recording, color, style in ((on_numpy, "#1b6ca8", "-"), (on_lava, "#c8553d", ":")):
        membrane = recording.variables["block1.v"][:, 0, neuron] / lif.threshold[neuron]
        ax.plot(membrane, color=color, ls=style, lw=2)
    ax.axhline(1, color="black", lw=0.5)
    ax.set(ylabel=f"neuron {neuron}", xlim=axes[0].get_xlim())
axes[1].set_title("membranes, in units of their thresholds", fontsize="medium")
axes[-1].set_xlabel("step")
figure.savefig(folder / "10_states_on_lava.png", dpi=120)
print(f"figure: {folder}/10_states_on_lava.png")
