"""
Train on several processes
==========================

A training does not depend on how many processes share it: gradients, losses, batch norm and glia are those of the
whole batch. Here one network is trained on one process and by ``torchrun`` on two; the losses agree. Then both are
timed, and a model says what more machines would bring.
"""

# %%
# Two trainings
# -------------
# ``train.batch_size`` is that of all processes together. ``pnbx-snn train`` is the same command as ever; a launcher
# starts it several times. On GPUs that may be ``accelerate launch``, on a cluster ``examples/slurm/train.sbatch``.
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

from pnbx_snn import PNBX, plot, train
from pnbx_snn.training.config import load_config
from pnbx_snn.training.run_log import read_metrics

mpl.use("Agg")
from matplotlib import pyplot as plt

fast = "--fast" in sys.argv
num_epochs, d_hidden, num_turns = (2, 64, 1) if fast else (8, 256, 2)
num_turns = int(sys.argv[sys.argv.index("--turns") + 1]) if "--turns" in sys.argv else num_turns
folder = Path(tempfile.mkdtemp())
(folder / "c.toml").write_text(
    f"[pnbx]\nd_hidden = {d_hidden}\nnum_steps = 8\nd_ssm = 32\nd_rnn = 16\nrank = 8\nslots = 16\ntau_max = 16.0\n"
    f"[train]\nepochs = {num_epochs}\nbatch_size = 128\nthreads = 1\n"
)
torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
losses, seconds = {}, {1: [], 2: []}
for turn in range(num_turns):  # alternately, because other programs come and go
    train(load_config(folder / "c.toml"), folder / f"1_{turn}")
    command = ["-m", "pnbx_snn.cli", "train", str(folder / "c.toml"), "--out", str(folder / f"2_{turn}"), "--quiet"]
    subprocess.run([*torchrun, *command], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    for count in (1, 2):
        log = read_metrics(folder / f"{count}_{turn}" / "metrics.jsonl")
        losses[count] = [row["loss"] for row in log]
        seconds[count] += [row["seconds"] for row in log[1:]]  # the first epoch warms up
for epoch, (one, two) in enumerate(zip(*losses.values(), strict=True), start=1):
    print(f"epoch {epoch}: loss {one:.6f} on one process, {two:.6f} on two")

# %%
# Throughput, measured
# --------------------
# The fastest epoch of each. How much two processes gain depends on the machine: on two threads of one core, little.
speeds = {count: 1437 / min(times) for count, times in seconds.items()}
for count, speed in speeds.items():
    print(f"measured: {count} process(es), {speed:,.0f} samples a second ({speed / speeds[1]:.2f} times one)")

# %%
# Beyond this machine, modelled
# -----------------------------
# A step of the reference network (4.9 million weights by gradient) takes :math:`t_1` on one process, measured here.
# On N machines with one process each it is modelled as
#
# .. math:: t_N = \frac{t_1}{N} + \frac{2 (N-1)}{N} \frac{4 P}{w} + 2 (N-1)\, k\, \lambda
#
# P float32 gradients go around a ring at a bandwidth of w, and k = 12 small sums with them (batch norms, rates, loss);
# each message has a latency of :math:`\lambda`. Assumed: equal machines, work that divides evenly, and nothing sent
# while gradients are still computed (torch does overlap the two, so the truth should be better).
torch.set_num_threads(1)
torch.manual_seed(0)
model = PNBX(in_features=784, num_classes=10, num_steps=4, d_hidden=256 if fast else 2048)
images = torch.rand(256, 784)
model.calibrate(images)
step_s = []
for _ in range(2 if fast else 4):
    start = time.perf_counter()
    model.classify(images)[0].logsumexp(dim=1).sum().backward()
    step_s.append(time.perf_counter() - start)
t_1, num_parameters = min(step_s), sum(p.numel() for p in model.parameters())
print(f"measured: a step of 256 images with {num_parameters:,} parameters takes {t_1:.2f} s on one process")
machines = 2.0 ** np.arange(9)
links = {"1 Gb/s": 0.125e9, "10 Gb/s": 1.25e9, "100 Gb/s": 12.5e9}  # bytes a second
latency_s, num_sums = 30e-6, 12
modelled = {}
for name, width in links.items():
    ring_s = 2 * (machines - 1) / machines * 4 * num_parameters / width
    modelled[name] = t_1 / (t_1 / machines + ring_s + 2 * (machines - 1) * num_sums * latency_s)
    best = modelled[name].argmax()
    print(f"modelled: {name}: {modelled[name][best]:.1f} times one at best, on {machines[best]:.0f} machines")

# %%
# The figure
# ----------
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
epochs = range(1, num_epochs + 1)
left.plot(epochs, losses[1], color=plot.INK, label="one process")
left.plot(epochs, losses[2], "o", color=plot.ACCENT, label="two processes")
left.set(xlabel="epoch", ylabel="loss", title="The same training")
right.plot(machines, machines, color=plot.QUIET, linewidth=1, label="ideal")
for (name, speed_up), color in zip(modelled.items(), ("#9fb0c0", "#5f7890", "#2f4858"), strict=True):
    right.plot(machines, speed_up, "--", color=color, label=f"modelled: reference network, {name}")
measured = [speeds[count] / speeds[1] for count in speeds]
right.plot(list(speeds), measured, "o", color=plot.ACCENT, label="measured: this machine, the network on the left")
right.set(xlabel="processes", ylabel="throughput, times that of one process", title="How much faster", ylim=(0.4, 300))
right.set_xscale("log", base=2)
right.set_yscale("log", base=2)
for axis in (right.xaxis, right.yaxis):
    axis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
left.xaxis.get_major_locator().set_params(integer=True)
for axes in (left, right):
    axes.legend(frameon=False, fontsize="small")
path = Path("runs/examples/13_multi_process.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=120)
print(f"figure: {path}")
