"""
A LIF neuron and its three resets
=================================

A leaky integrate-and-fire neuron adds its input current to a membrane potential that leaks away, and spikes when the
potential passes a threshold. What a spike then does to the membrane is its *reset*: back to zero, one threshold lower,
or nothing. Here one neuron receives a step of current and another the same step with noise; then a population of
neurons receives noise of their own, and a raster shows every spike.
"""

# %%
# Settings
# --------
# A step is a millisecond; a membrane with a time constant of 20 ms decays to ``beta = exp(-1/20)`` of itself in each.
# ``--fast`` draws a shorter run of a smaller population.
import sys
from pathlib import Path

import torch
from matplotlib import pyplot as plt

import pnbx_snn as pnbx
from pnbx_snn import plot

fast = "--fast" in sys.argv
num_steps, num_neurons = (80, 20) if fast else (160, 60)
onset = 10  # the current is switched on at this step
beta = pnbx.beta_from_tau(tau_s=20e-3, dt_s=1e-3)
generator = torch.Generator().manual_seed(0)

# %%
# Current
# -------
# Everything is time first: steps, samples, neurons. A constant current I drives the membrane towards
# ``I / (1 - beta)``, here 1.5 thresholds. Neuron 0 has no noise; all others have.
current = torch.zeros(num_steps, 1, num_neurons)  # [T, B, N]
current[onset:] = 1.5 * (1 - beta)
noise = 0.15 * torch.randn(num_steps - onset, 1, num_neurons, generator=generator)
current[onset:, :, 1:] += noise[:, :, 1:]

# %%
# The three resets
# ----------------
# ``lif(current)`` returns the spikes and the last state; ``lif.trace(current)`` returns the membrane of every step too.
# It is the potential *after* the reset: a neuron with a reset is never seen above its threshold, its spikes are the
# ticks above the curves. Without a reset it stays above the threshold and spikes in every step.
figure, rows = plt.subplots(3, 2, figsize=(13, 9), layout="constrained")
for reset, (left, right) in zip(("zero", "subtract", "none"), rows, strict=True):
    lif = pnbx.LIF(beta, threshold=1.0, reset=reset)
    spikes, v = lif.trace(current)
    plot.membrane(v[:, 0, :2], threshold=1.0, spikes=spikes[:, 0, :2], ax=left)
    left.set_title(f'reset="{reset}"', fontsize="medium")
    plot.raster(spikes[:, 0], title=f'reset="{reset}"', ax=right)
    steps = spikes[:, 0, 0].nonzero().flatten()
    print(
        f"reset={reset:<9} neuron 0: {len(steps):3d} spikes, first at step {steps[0]}, then {steps.diff()[:5].tolist()}"
    )

# %%
# Streaming
# ---------
# State is explicit. Two halves, or single steps, equal one run bit for bit.
lif = pnbx.LIF(beta)
whole, _ = lif(current)
first, state = lif(current[: num_steps // 2])
second, _ = lif(current[num_steps // 2 :], state)
print(f"two halves equal one run: {torch.equal(torch.cat([first, second]), whole)}")

# %%
# The figure
# ----------
folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "01_lif_raster.png", dpi=120)
print(f"figure: {folder}/01_lif_raster.png")
