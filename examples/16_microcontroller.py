"""
A network on a microcontroller
==============================

A spiking classifier of handwritten digits becomes one C file: no floating point, no library, no memory that is asked
for at run time. Where QEMU and a compiler for Arm are installed, it runs on two emulated chips, and every spike and
membrane is compared with the reference.
"""

# %%
# A network and its program
# -------------------------
# Two hidden layers with weights in {-1, 0, 1} learn the 8x8 digits inside scikit-learn. ``--fast`` is two epochs.
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import neuromorphic
from neuromorphic.executors import EXECUTORS
from neuromorphic.formats.c import write_c
from pnbx_snn import plot, train
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.training.config import make_config

fast = "--fast" in sys.argv
sizes = {"hidden": (128, 64), "num_steps": 6}
learning = {"epochs": 2 if fast else 40, "batch_size": 64, "learning_rate": 0.005, "threads": 1}
config = make_config({"data": {"name": "digits", "part": "train"}, "model": sizes, "train": learning})
model = train(config, Path(tempfile.mkdtemp()) / "run").model.eval()
program = neuromorphic.compile(model)
split = load_digits_split(part="validation")
images, truth = split.images.numpy(), split.labels.numpy()
expected = neuromorphic.run(program, images)
print(f"{np.mean(expected.labels() == truth):.1%} of {len(truth)} digits right")

# %%
# C for the chip
# --------------
# ``network.c`` and ``network.h`` go into your firmware; ``main.c`` shows how to call them. Weights take two bits each,
# and what arrays take in flash and RAM is known before anything is compiled.
folder = Path("runs/examples/16_microcontroller")
network = write_c(program, folder)
print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
print(f"constants {network.constant_bytes:,} bytes of flash, arrays {network.state_bytes:,} bytes of RAM")

# %%
# The same bits, counted
# ----------------------
# ``c`` compiles the file for this machine, ``qemu`` for a Cortex-M3 and a Cortex-M0, which has no hardware for products
# of 64 bits. What an executor needs is in its entry; where it is missing, the line says how to get it.
measured = {}
for executor, core in (("c", None), ("qemu", "cortex-m3"), ("qemu", "cortex-m0")):
    entry = EXECUTORS[executor]
    if not entry.ready:
        print(f"{core or executor}: not here; {entry.remedy}")
        continue
    comparison, _, got = neuromorphic.verify(program, images, executor, **({"core": core} if core else {}))
    print(
        f"{core or executor}: {comparison.spikes_different} of {comparison.spikes_compared:,} spikes, "
        f"{comparison.states_different} of {comparison.states_compared:,} membranes and sums differ, "
        f"{int((got.labels() != expected.labels()).sum())} of {len(truth)} labels"
    )
    if core:
        measured[core] = got.metadata
        print(f"    {got.metadata['instructions_per_step']:,.0f} instructions a step (QEMU's count, not cycles)")

# %%
# Where the memory goes
# ---------------------
# Flash holds constants and code, RAM the states and, on an emulated chip, the stack that a step took.
figure, axes = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
names = [*measured, "arrays alone"] if measured else ["arrays alone"]
fixed = {"flash": network.constant_bytes, "RAM": network.state_bytes}
parts = {"flash": ("weights and constants", "code"), "RAM": ("states and inputs", "stack")}
for axis, memory in zip(axes, fixed, strict=True):
    held = np.full(len(names), fixed[memory], dtype=float)
    more = np.zeros(len(names))
    for row, core in enumerate(measured):
        facts = measured[core]
        if memory == "RAM":
            held[row], more[row] = facts["ram_bytes"], facts["stack_bytes"]
        else:
            more[row] = facts["flash_bytes"] - held[row]
    axis.barh(names, held, color=plot.ACCENT, label=parts[memory][0])
    bars = axis.barh(names, more, left=held, color=plot.QUIET, label=parts[memory][1])
    axis.bar_label(bars, [f"{total:,.0f}" for total in held + more], padding=3)
    axis.set(xlabel=f"bytes of {memory}", xlim=(0, 1.3 * (held + more).max()))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.25), ncols=2, fontsize=8)
    axis.invert_yaxis()
path = folder.parent / "16_microcontroller.png"
figure.savefig(path, dpi=120)
print(f"figure: {path}")
