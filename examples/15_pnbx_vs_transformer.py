"""
PNB-X against a Transformer of the same size
============================================

A Transformer stores the keys and values of every step, so its steps get slower and its memory grows; a spiking network
stores a state. How much that matters is measured here on one thread: 5.16 million parameters each, one stream, the
integer program on the native executor against PyTorch's own modules, in fp32, and in int8 with a cache of bytes.
"""

# %%
# The networks
# ------------
# Weights are random: neither a step's time nor its memory depends on training, as long as as many neurons fire. Glia
# bring PNB-X to its 18.8 %.
import sys
import time
from pathlib import Path

import numpy as np
import torch

import pnbx_snn
from neuromorphic.compiler import compile_model
from neuromorphic.executors.native import NativeNetwork
from pnbx_snn.plot import ACCENT, INK, QUIET

sys.path.append(str(Path(pnbx_snn.__file__).parents[1]))  # the rivals are not installed: a clone has them
from matplotlib import pyplot as plt

from studies.rivals import equal_transformer, in_form

torch.set_num_threads(1)
torch.manual_seed(0)
fast = "--fast" in sys.argv
lengths, samples = ((16, 64, 256, 1024), 6) if fast else ((16, 64, 256, 1024, 2048, 4096, 8192), 24)

pixels = torch.rand(128, 1, 784) * (torch.rand(128, 1, 784) < 0.19)  # as sparse as handwritten digits
model = pnbx_snn.PNBX(in_features=784, num_classes=10, num_steps=8, d_hidden=2048)
model.calibrate(pixels[:, 0])
for block in model.eval().blocks:
    block.glia.train()
with torch.no_grad():
    for _ in range(12 if fast else 40):
        model.adapt(model(pixels.reshape(16, 8, 784), keep_state=False).spikes)
program = compile_model(model.eval(), num_steps=1_000)
network = NativeNetwork(program)
inputs = program.prepare_inputs(pixels.numpy())
transformers = {"Transformer, fp32": (in_form(equal_transformer(), "fp32"), "model")}
transformers["Transformer, int8 weights and cache"] = (in_form(equal_transformer(), "int8"), "int8")
print(f"PNB-X: {network.weight_bytes:,} bytes of weights, {network.state_bytes:,} of state")

# %%
# A step at position t
# --------------------
# A cache is filled with random keys and values up to position t, then steps are timed. The rivals take turns, and what
# counts is the time that this thread had the processor: others on the machine then slow all of them down equally.
times = {name: [] for name in ("PNB-X, native", *transformers)}
cache_bytes = {name: [] for name in transformers}
for length in lengths:
    caches = {name: net.cache(1, capacity=length + 1, stored=stored) for name, (net, stored) in transformers.items()}
    for cache in caches.values():
        cache.numbers.random_(-100, 100) if cache.stored == "int8" else cache.numbers.normal_()
    network.run(inputs)
    seconds = {name: [] for name in times}
    for _ in range(samples):
        for name, (net, _) in transformers.items():
            for _ in range(2):  # the first brings the weights back into the processor's memory
                caches[name].length = length
                start = time.thread_time()
                net.step(torch.zeros(1, dtype=torch.long), caches[name])
            seconds[name].append(time.thread_time() - start)
        for x in inputs[:20]:
            start = time.thread_time()
            network.step(x)
            seconds["PNB-X, native"].append(time.thread_time() - start)
    for name, values in seconds.items():
        times[name].append(np.median(values))
        if name in caches:
            cache_bytes[name].append(caches[name].nbytes)
    best = min(times[name][-1] for name in transformers)
    shown = ", ".join(f"{name} {1e6 * values[-1]:,.0f} us" for name, values in times.items())
    print(f"at step {length:,}: {shown}: {best / times['PNB-X, native'][-1]:,.0f} times")

# %%
# Where the gap is smaller
# ------------------------
# A Transformer can read a prompt at once, which costs far less than its steps one by one. Short sequences need less
# memory than a state that is always there, and it recalls more: see the results in the documentation.
tokens = torch.randint(256, (lengths[-2], 1))
start = time.thread_time()
with torch.no_grad():
    transformers["Transformer, fp32"][0](tokens)
prefill = (time.thread_time() - start) / len(tokens)
print(f"a prompt of {len(tokens):,} tokens at once: {1e6 * prefill:,.0f} us a token")

# %%
# The picture
# -----------
colors = dict(zip(times, (ACCENT, INK, QUIET), strict=True))
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
for name, values in times.items():
    left.plot(lengths, 1e6 * np.array(values), "o-", color=colors[name], markersize=4, label=name)
left.axhline(1e6 * prefill, color=INK, linewidth=0.8, linestyle=":")
left.annotate("a token of a prompt read at once, fp32", (lengths[0], 1e6 * prefill), fontsize="small", va="bottom")
right.axhline(network.state_bytes / 1e6, color=ACCENT)
right.annotate("PNB-X, for ever", (lengths[0], 1.1 * network.state_bytes / 1e6), color=ACCENT, fontsize="small")
for name, values in cache_bytes.items():
    right.plot(lengths, np.array(values) / 1e6, "o-", color=colors[name], markersize=4)
left.set(xscale="log", yscale="log", xlabel="position t", ylabel="us per step", title="Time of one step")
right.set(xscale="log", yscale="log", xlabel="length L", ylabel="MB, without weights", title="What must be stored")
left.legend(frameon=False, fontsize="small")
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xticks(lengths, [f"{length:,}" for length in lengths], fontsize="small")
    axis.minorticks_off()
(folder := Path("runs/examples")).mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "15_pnbx_vs_transformer.png", dpi=120)
