"""
A program on Intel Lava, spike for spike
========================================

A compiled network is a *program*: a list of integer operations with one meaning. The NumPy executor is that meaning;
Lava runs the same program as a network of processes that pass messages, the way a Loihi chip does. Here a small program
with ternary weights is written by hand, run on both, and compared spike by spike and state by state.

Lava needs a Python of its own. ``neuromorphic setup-lava`` makes it, once.
"""

# %%
# A program by hand
# -----------------
# Two layers of ternary synapses with their neurons, a skip from the input to the read-out, and a running sum for each
# class. The first layer resets to zero and fits Lava's own neuron; the second subtracts its threshold, which Lava's
# does not, so a process of this package stands there. ``--fast`` runs fewer samples.
import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from neuromorphic import LIF, Dense, Input, Program, Readout, compare, prove, run, verify
from neuromorphic.errors import LavaNotFoundError
from neuromorphic.executors.lava.mapping import lava_mapping

fast = "--fast" in sys.argv
num_steps, num_samples = (25, 4) if fast else (60, 24)
rng = np.random.default_rng(0)


def ternary(outputs, inputs):
    return rng.choice([-1, 0, 1], size=(outputs, inputs)).astype(np.int8)


def constant(value, size):
    return np.full(size, value, dtype=np.int32)


program = Program(
    (
        Input("x", 16, low=0, high=100),
        Dense("fc1", "x", ternary(32, 16)),
        LIF("lif1", ("fc1",), constant(3700, 32), constant(640 * 64, 32), constant(0, 32), shift=6, reset="zero"),
        Dense("fc2", "lif1", ternary(24, 32)),
        LIF("lif2", ("fc2",), constant(3900, 24), constant(3 * 64, 24), constant(8, 24), shift=6, reset="subtract"),
        Dense("out", "lif2", ternary(5, 24), shift=6),
        Dense("skip", "x", ternary(5, 16)),
        Readout("readout", ("out", "skip"), constant(0, 5), shift=0),
    ),
    num_steps=num_steps,
)
inputs = rng.integers(0, 101, (num_samples, 16))  # [B, N], held for all steps

# %%
# Nothing can overflow: proven before anything runs
# -------------------------------------------------
for bound in prove(program):
    print(f"{bound.name:8} {bound.low:>9,} .. {bound.high:<9,}{'can saturate' if bound.can_saturate else ''}")

# %%
# Which Lava process runs what
# ----------------------------
# ``stock`` processes come with Lava. The skip is shallower than the path through the layers, so it waits: every Lava
# synapse takes one step.
print(f"\n{'op':8} {'Lava process':15} {'':6} why")
for placement in lava_mapping(program):
    origin = "stock" if placement.stock else "ours"
    print(f"{placement.op:8} {placement.process:15} {origin:6} {placement.reason}")

# %%
# Run on both and compare
# -----------------------
# ``verify`` runs the reference and the other executor and compares every value. Lava plays the samples one after the
# other through one network; its recording is aligned to the program's steps.
try:
    comparison, expected, got = verify(program, inputs, "lava")
except LavaNotFoundError as error:
    sys.exit(f"\nThis example needs Lava.\n{error}")
print(f"\nspikes compared {comparison.spikes_compared:,}, different {comparison.spikes_different}")
print(f"states compared {comparison.states_compared:,}, different {comparison.states_different}")
print(f"labels of the first samples: {got.labels()[:8].tolist()}")
facts = got.metadata
print(f"{facts['processes']} Lava processes, {facts['us_per_step']:.0f} microseconds per Lava step")

# %%
# A changed weight is noticed
# ---------------------------
# The comparison can fail. One weight turned round, and it names where the two part.
weights = program["fc2"].weights.copy()
weights[9, np.flatnonzero(weights[9])[0]] *= -1
changed = [Dense("fc2", "lif1", weights) if op.name == "fc2" else op for op in program.ops]
other = compare(run(Program(tuple(changed), num_steps), inputs), got)
print(f"one weight of fc2 turned round: {other.spikes_different} spikes, {other.states_different} states differ")
print(other.first)

# %%
# Both rasters, one over the other
# --------------------------------
# Rings are the reference, dots are Lava. A ring without a dot, or a dot without a ring, would be an error.
figure, rows = plt.subplots(2, 1, figsize=(10, 8), sharex=True, layout="constrained")
for name, ax in zip(("lif1", "lif2"), rows, strict=True):
    for recording, style in ((expected, {"s": 34, "facecolors": "none"}), (got, {"s": 5, "color": "#c8452d"})):
        step, neuron = np.nonzero(recording.spikes()[name][:, 0])
        ax.scatter(step, neuron, edgecolors="#1b3a5c" if recording is expected else "none", **style)
    ax.set(title=f"{name}, sample 0: {np.count_nonzero(got.spikes()[name][:, 0])} spikes", ylabel="neuron")
    ax.locator_params(axis="y", integer=True)
rows[1].set_xlabel("step")
figure.suptitle("rings: NumPy reference    dots: Lava")
folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "07_run_on_lava.png", dpi=120)
print(f"figure: {folder}/07_run_on_lava.png")
