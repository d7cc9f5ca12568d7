"""
Glia hold the firing rate, also after damage
============================================

Glia watch small domains of neurons and move their thresholds until each domain fires at 18.8 %. Here half of a
population hears far too little and the other half far too much; then a quarter of all neurons loses its input. Glia
never see why a rate is wrong, only that it is.
"""

# %%
# Settings
# --------
# 256 neurons in 16 domains. Between two updates of the glia pass 25 steps of 64 samples.
import sys
from pathlib import Path

import torch
from matplotlib import pyplot as plt

import pnbx_snn as pnbx
from pnbx_snn import plot

fast = "--fast" in sys.argv
num_neurons, num_updates, lesion_at = (256, 40, 20) if fast else (256, 80, 40)
num_steps, num_samples = 25, 16 if fast else 64
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)

# %%
# Neurons, noise and glia
# -----------------------
# The input is Ornstein-Uhlenbeck noise around a mean for each domain: 0.8 in the even ones, which is too little, and 6
# in the odd ones, which is too much for a threshold of 1. ``adapt="always"`` lets glia go on after ``eval()``.
membrane = pnbx.Membrane(num_neurons, beta=0.9)
glia = pnbx.Glia(num_neurons, adapt="always").eval()
noise = pnbx.OUNoise(sigma=2.0, tau_steps=3.0)
domain = torch.arange(glia.num_domains)
mean = torch.where(domain % 2 == 0, 0.8, 6.0).repeat_interleave(glia.neurons_per_domain)  # [N]

# %%
# The lesion: in the second half of the domains, every other neuron no longer hears anything.
lesioned = domain >= glia.num_domains // 2
neuron = torch.arange(num_neurons)
lost = lesioned.repeat_interleave(glia.neurons_per_domain) & (neuron % 2 == 1)
print(f"{lost.sum().item()} of {num_neurons} neurons will lose their input")

# %%
# The loop
# --------
# Run for 25 steps, let glia see the rates, go on with the new thresholds.
state = xi_state = None
rates, thresholds, survivors = [], [], []
for update in range(num_updates):
    xi, xi_state = noise(torch.empty(num_steps, num_samples, num_neurons), xi_state, generator=generator)
    current = mean + xi  # [T, B, N]
    if update >= lesion_at:
        current = current * ~lost
    threshold = glia.thresholds(membrane.threshold, "membrane")  # [N]
    with torch.no_grad():
        spikes, state = membrane(current, state, threshold=threshold)
    rates.append(glia.rates(spikes))
    thresholds.append(threshold[:: glia.neurons_per_domain])
    survivors.append(spikes[..., lesioned.repeat_interleave(glia.neurons_per_domain) & ~lost].mean())
    at_rest = torch.full((glia.num_domains,), glia.target)  # there is no encoder: its loop rests at the target
    glia.update(at_rest, rates[-1])
rates, thresholds = torch.stack(rates), torch.stack(thresholds)  # [updates, domains]

# %%
# What came out
# -------------
# After the lesion the surviving half of a domain fires twice as much, and the domain as before.
groups = {
    "weak input, intact": (domain % 2 == 0) & ~lesioned,
    "weak input, lesioned": (domain % 2 == 0) & lesioned,
    "strong input, intact": (domain % 2 == 1) & ~lesioned,
    "strong input, lesioned": (domain % 2 == 1) & lesioned,
}
print("firing rate             at the start  before the lesion  right after  recovered")
for name, group in groups.items():
    means = rates[:, group].mean(dim=1)
    shown = means[0], means[lesion_at - 5 : lesion_at].mean(), means[lesion_at], means[-5:].mean()
    print("{:<23} {:>12.1%} {:>18.1%} {:>12.1%} {:>10.1%}".format(name, *(value.item() for value in shown)))
    off = ((means[lesion_at:] - glia.target).abs() > 0.01).nonzero()
    if len(off):
        print(f"{'':<23} after the lesion more than a point off the target for {off.max().item() + 1} updates")
before, after = survivors[lesion_at - 1], torch.stack(survivors[-5:]).mean()
print(f"neurons that kept their input in lesioned domains: {before:.1%} before, {after:.1%} recovered")

# %%
# The figure
# ----------
# Lines are means of a group, bands reach from its lowest to its highest domain.
figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(8, 6.5), layout="constrained")
looks = ((plot.INK, "-"), (plot.INK, ":"), (plot.ACCENT, "-"), (plot.ACCENT, ":"))
for (name, group), (color, line) in zip(groups.items(), looks, strict=True):
    for ax, values in ((top, 100 * rates[:, group]), (bottom, thresholds[:, group])):
        ax.plot(values.mean(dim=1), color=color, linestyle=line, linewidth=1.8, label=name)
        ax.fill_between(
            range(num_updates), values.amin(dim=1), values.amax(dim=1), color=color, alpha=0.15, linewidth=0
        )
for ax in (top, bottom):
    ax.axvline(lesion_at - 0.5, color="black", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
top.axhline(100 * glia.target, color=plot.QUIET, linestyle="--", linewidth=1, label="target 18.8 %")
top.annotate("lesion", (lesion_at, top.get_ylim()[1]), textcoords="offset points", xytext=(3, -10))
top.set_ylabel("firing rate, %")
top.legend(frameon=False, fontsize="small", loc="upper right")
top.set_ylim(bottom=0)
bottom.set(xlabel="update of the glia (every 25 steps)", ylabel="threshold", yscale="log")
bottom.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
bottom.minorticks_off()
folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "06_homeostasis.png", dpi=120)
print(f"figure: {folder}/06_homeostasis.png")
