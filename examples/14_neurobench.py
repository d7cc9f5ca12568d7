"""
NeuroBench
==========

`NeuroBench <https://neurobench.ai>`_ says what to report of a neuromorphic network. ``pnbx-snn neurobench RUN`` takes
its metrics with the package itself; here the same function measures two networks, trained in a few seconds each.

``pip install --no-deps neurobench``: it asks for torchaudio, which nothing here needs.
"""

# %%
# Two networks
# ------------
# A feed-forward classifier and a PNB-X network, on the 8x8 digits inside scikit-learn. ``--fast`` is one epoch.
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

from pnbx_snn import plot, train
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.metrics.neurobench import matrices_of, neurobench
from pnbx_snn.training.config import make_config

fast = "--fast" in sys.argv
learning = {"epochs": 1 if fast else 12, "batch_size": 64, "threads": 1}
sizes = {"num_steps": 8, "d_hidden": 128, "d_ssm": 32, "d_rnn": 16, "rank": 8, "slots": 16, "tau_max": 16.0}
sections = {
    "classifier": {"data": {"part": "train"}, "model": {"hidden": [256, 128], "num_steps": 8}, "train": learning},
    "PNB-X": {"data": {"part": "train"}, "pnbx": sizes, "train": {**learning, "settle": 20}},
}
folder = Path(tempfile.mkdtemp())
networks = {name: train(make_config(values), folder / name).model for name, values in sections.items()}

# %%
# The metrics
# -----------
# A synaptic operation is a nonzero weight met by a nonzero input. Where the input is events, it is an addition (AC);
# pixels, states of pathways and the mean before the read-out are numbers and meet weights in multiply-accumulates
# (MAC). Ternary weights make no difference to that count, though they turn these into additions as well.
split = load_digits_split(part="validation")
found = {name: neurobench(model, split) for name, model in networks.items()}
print(f"{'':<34}{'classifier':>12}{'PNB-X':>12}")
for label, value in {
    "accuracy": lambda m: f"{m['accuracy']:.1%}",
    "footprint, packed, bytes": lambda m: f"{m['footprint']:,}",
    "footprint, as trained, bytes": lambda m: f"{m['footprint_float32']:,}",
    "connection sparsity": lambda m: f"{m['connection_sparsity']:.3f}",
    "activation sparsity": lambda m: f"{m['activation_sparsity']:.3f}",
    "operations a sample: AC": lambda m: f"{m['synaptic_operations']['Effective_ACs']:,.0f}",
    "operations a sample: MAC": lambda m: f"{m['synaptic_operations']['Effective_MACs']:,.0f}",
    "operations, nothing zero": lambda m: f"{m['synaptic_operations']['Dense']:,.0f}",
}.items():
    print(f"{label:<34}" + "".join(f"{value(metrics):>12}" for metrics in found.values()))

# %%
# Counted again, by hand
# ----------------------
# The additions of the classifier: each spike of the first layer meets the nonzero weights of its column in the second.
model = networks["classifier"]
with torch.no_grad():
    _, spikes = model.classify(split.images)
fan_out = (model.layers[1].linear.ternary_weight() != 0).sum(dim=0)  # [256]
additions = float(spikes[0].sum(dim=(0, 1)) @ fan_out.float()) / len(split.labels)
print(f"additions of the classifier, by hand: {additions:,.0f} a sample; it has {len(matrices_of(model))} matrices")

# %%
# The figure
# ----------
figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
kinds = {"nothing zero": "Dense", "MAC": "Effective_MACs", "AC": "Effective_ACs"}
for offset, (name, color) in enumerate(zip(found, (plot.INK, plot.ACCENT), strict=True)):
    heights = [found[name]["synaptic_operations"][key] for key in kinds.values()]
    bars = axes.bar(np.arange(3) + 0.38 * offset - 0.19, heights, 0.36, color=color, label=name)
    axes.bar_label(bars, [f"{height:,.0f}" for height in heights], fontsize="small")
axes.set_xticks(range(3), kinds)
axes.set(yscale="log", ylabel="synaptic operations a sample", title="Counted by NeuroBench")
axes.set_ylim(top=3 * axes.get_ylim()[1])
axes.legend(frameon=False)
path = Path("runs/examples/14_neurobench.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=120)
print(f"figure: {path}")
