"""
From a NIR graph to an integer program
======================================

NIR, the neuromorphic intermediate representation, is the file format in which simulators and chips exchange spiking
networks. Its neurons live in continuous time; a program has steps and integers. Here a recurrent network is written to
a ``.nir`` file as another tool would do it, read, compiled, and run on NumPy and on Lava. What had to be assumed is
said, and a simulation of the graph in floating point shows what the integers changed.
"""

# %%
# A graph, as somebody else might have made it
# --------------------------------------------
# Twelve inputs, 24 current-based neurons that hear themselves, and 4 outputs. Times are in seconds.
import sys
from pathlib import Path

import nir
import numpy as np
from matplotlib import pyplot as plt

import neuromorphic

fast = "--fast" in sys.argv
num_steps, num_samples, dt = (60, 2, 1e-3) if fast else (150, 8, 1e-3)
rng = np.random.default_rng(0)
(folder := Path("runs/examples")).mkdir(parents=True, exist_ok=True)


def constant(value, size):
    return np.full(size, value)


fc, loop, out = rng.normal(0, 0.5, (24, 12)), rng.normal(-0.05, 0.1, (24, 24)), rng.normal(0.1, 0.3, (4, 24))
hidden = nir.CubaLIF(
    tau_syn=constant(4e-3, 24),
    tau_mem=constant(10e-3, 24),
    r=constant(10.0, 24),  # so that one unit of current moves the membrane by one in a step of 1 ms
    v_leak=constant(0.0, 24),
    v_threshold=constant(1.5, 24),
    w_in=constant(4.0, 24),
)
readout = nir.LIF(tau=constant(20e-3, 4), r=constant(20.0, 4), v_leak=constant(0.0, 4), v_threshold=constant(1.0, 4))
graph = nir.NIRGraph(
    nodes={
        "input": nir.Input(input_type={"input": np.array([12])}),
        "fc": nir.Affine(fc, np.full(24, 0.02)),
        "loop": nir.Linear(loop),
        "hidden": hidden,
        "out": nir.Linear(out),
        "readout": readout,
        "output": nir.Output(output_type={"output": np.array([4])}),
    },
    edges=[("input", "fc"), ("fc", "hidden"), ("hidden", "loop"), ("loop", "hidden"), ("hidden", "out"),
           ("out", "readout"), ("readout", "output")],
)  # fmt: skip
nir.write(folder / "08_recurrent.nir", graph)

# %%
# Read and compile
# ----------------
# The file is not trusted: its sizes, shapes and numbers are checked before anything is allocated. ``dt`` is not part of
# NIR and the kind of reset neither, so the program says what it took for granted.
program = neuromorphic.compile(folder / "08_recurrent.nir", num_steps=num_steps, dt=dt)
for sentence in program.metadata["assumptions"]:
    print(f"assumed: {sentence}")
print("operations:", ", ".join(f"{op.name} ({type(op).__name__})" for op in program.ops))

# %%
# Run
# ---
spikes = (rng.random((num_steps, num_samples, 12)) < 0.15).astype(np.int32)  # [T, B, N]
on_numpy, on_lava = (neuromorphic.run(program, spikes, executor) for executor in ("numpy", "lava"))
comparison = neuromorphic.compare(on_numpy, on_lava)
print(f"Lava against NumPy: {comparison.spikes_different} of {comparison.spikes_compared:,} spikes differ")


# %%
# The graph in floating point
# ---------------------------
# Forward Euler, as the import assumes it: the spikes of the step before come back through ``loop``.
def simulate(x):
    i, v, z, u = np.zeros(24), np.zeros(24), np.zeros(24), np.zeros(4)
    spikes, outputs = [], []
    for x_t in x:
        i = i + dt / 4e-3 * (-i + 4.0 * (fc @ x_t + 0.02 + loop @ z))
        v = v + dt / 10e-3 * (-v + 10.0 * i)
        z = (v > 1.5).astype(float)
        v = np.where(z > 0, 0.0, v)
        u = u + dt / 20e-3 * (-u + 20.0 * (out @ z))
        fired = u > 1.0
        u = np.where(fired, 0.0, u)
        spikes, outputs = [*spikes, z], [*outputs, fired]
    return np.array(spikes), np.array(outputs)


floats = [np.stack(part, axis=1) for part in zip(*(simulate(spikes[:, b]) for b in range(num_samples)), strict=True)]
for name, simulated in zip(("hidden", "readout"), floats, strict=True):
    fired = on_numpy.variables[f"{name}.spikes"]
    print(f"{name}: {(fired == simulated).mean():.2%} of steps as in floating point, {simulated.mean():.1%} firing")

# %%
# The figure
# ----------
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for (marker, size, color, label), raster in zip(
    (("s", 22, "#cfd8dc", "floating point"), ("o", 6, "#1b6ca8", "program on NumPy"), ("|", 40, "#c8553d", "on Lava")),
    (floats[0][:, 0], on_numpy.variables["hidden.spikes"][:, 0], on_lava.variables["hidden.spikes"][:, 0]),
    strict=True,
):
    t, neuron = np.nonzero(raster)
    axes.scatter(t, neuron, s=size, marker=marker, color=color, label=label, linewidths=1)
axes.set(xlabel="step of 1 ms", ylabel="hidden neuron")
axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.15), ncols=3, frameon=False)
figure.savefig(folder / "08_from_nir.png", dpi=120)
print(f"figure: {folder}/08_from_nir.png")
