"""
Streaming speed
===============

A stream never ends, so a step must be fast and memory must not grow. The reference PNB-X network (5.2 million ternary
parameters) runs one step at a time in torch and as an integer program on the native executor, one thread, batch 1.
"""

# %%
# The network, and its program
# ----------------------------
# Its weights are random here. The time of a step depends on how many neurons fire: glia bring that to 19 %, as in a
# trained network (``05_lesion_and_recovery.py`` makes one, ``neuromorphic compile`` its program).
import sys
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

import neuromorphic
from neuromorphic.executors.native import NativeNetwork
from pnbx_snn import PNBX

torch.set_num_threads(1)
torch.manual_seed(0)
fast = "--fast" in sys.argv
d_hidden, num_steps, torch_steps = (256, 300, 20) if fast else (2048, 5000, 200)

model = PNBX(in_features=64, num_classes=10, num_steps=8, d_hidden=d_hidden)
signal = torch.rand(num_steps, 1, 64) * (torch.rand(num_steps, 1, 64) < 0.3)
model.calibrate(signal[:256, 0])
model.eval()
for block in model.blocks:
    block.glia.train()
with torch.no_grad():
    for _ in range(10 if fast else 40):
        model.adapt(model(signal[:64].expand(-1, 8, -1)).spikes)
model.eval()
program = neuromorphic.compile(model, num_steps=num_steps)
network = NativeNetwork(program)
print(f"{len(program.ops)} operations; {network.weight_bytes:,} bytes of weights, {network.state_bytes:,} of state")

# %%
# The same spikes
# ---------------
# Before anything is timed: the executor must equal the NumPy reference in every bit.
inputs = program.prepare_inputs(signal[:50].numpy())
expected, got = neuromorphic.run(program, inputs), neuromorphic.run(program, inputs, executor="native")
assert all(np.array_equal(expected.variables[name], got.variables[name]) for name in expected.variables)
print(f"native equals the reference: {sum(a.size for a in expected.variables.values()):,} values")

# %%
# Step by step
# ------------
inputs, native_s = program.prepare_inputs(signal.numpy()), []
for x in inputs:
    start = time.perf_counter()
    logits = network.step(x)
    native_s.append(time.perf_counter() - start)
state, torch_s = None, []
for x in signal[:torch_steps]:
    start = time.perf_counter()
    _, state = model.stream(x, state)
    torch_s.append(time.perf_counter() - start)
native, reference = np.median(native_s), np.median(torch_s)
print(f"a step: torch {1e6 * reference:,.0f} us, native {1e6 * native:.1f} us, {reference / native:,.0f} times faster")
print(f"{1 / native:,.0f} steps a second on one thread")
fired = {name: int(count[0]) / network.time / d_hidden for name, count in network.spike_counts().items()}
print("firing rates: " + ", ".join(f"{name} {100 * rate:.1f} %" for name, rate in fired.items()))

# %%
# How long a step takes, and how steadily
# ---------------------------------------
figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for name, seconds, color in (("torch, fp32", torch_s, "#8fa3b8"), ("native, integers", native_s, "#c8452d")):
    axes[0].plot(1e6 * np.array(seconds), ".", ms=3, color=color, label=name)
    axes[1].plot(1e6 * np.sort(seconds), np.linspace(0, 100, len(seconds)), color=color, label=name)
axes[0].set(yscale="log", xlabel="step", ylabel="us")
axes[1].set(xscale="log", xlabel="us per step", ylabel="% of the steps are faster")
axes[1].legend()
for axis in axes:
    axis.spines[["top", "right"]].set_visible(False)
figure.suptitle(f"PNB-X with H = {d_hidden}, batch 1, one thread")
path = Path("runs/examples/11_streaming_speed.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=120)
print(f"figure: {path}")
