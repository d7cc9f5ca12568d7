"""
ONNX Runtime and OpenVINO
=========================

A spiking network with weights in {-1, 0, 1}, trained and compiled to integers, becomes an ONNX model. Two runtimes
that know nothing of spikes compute it, and every spike and every state is the reference's.
"""

# %%
# A network and its program
# -------------------------
# A PNB-X network learns the 8x8 digits inside scikit-learn in a few seconds. ``--fast`` is one epoch.
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import neuromorphic
import pnbx_extras
from pnbx_snn import plot, train
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.training.config import make_config

try:
    import onnxruntime as ort

    from neuromorphic.executors.onnx.files import save_onnx
except ModuleNotFoundError as error:
    sys.exit(f"This example needs {error.name}: {pnbx_extras.install('onnx')}")

from matplotlib import pyplot as plt

fast = "--fast" in sys.argv
num_steps = 24
sizes = {"num_steps": num_steps, "d_hidden": 128, "d_ssm": 32, "d_rnn": 16, "rank": 8, "slots": 16, "tau_max": 24.0}
learning = {"epochs": 1 if fast else 12, "batch_size": 64, "threads": 1, "settle": 20}
config = make_config({"data": {"part": "train"}, "pnbx": sizes, "train": learning})
model = train(config, Path(tempfile.mkdtemp()) / "run").model.eval()
program = neuromorphic.compile(model, num_steps=num_steps)
split = load_digits_split(part="validation")
images, truth = split.images.numpy(), split.labels.numpy()

# %%
# Four executors, one answer
# --------------------------
codes = program.prepare_inputs(images)  # int32 [T, B, 64]
expected = neuromorphic.run(program, codes)
for executor in ("native", "onnxruntime", "openvino"):
    comparison, _, _ = neuromorphic.verify(program, codes[:, :20], executor)
    print(
        f"{executor}: {comparison.spikes_different} of {comparison.spikes_compared:,} spikes, "
        f"{comparison.states_different} of {comparison.states_compared:,} states differ from the reference's"
    )

# %%
# A file: images in, labels out
# -----------------------------
# The form ``image`` holds its input for all steps. It is one call, from any language that has a runtime for ONNX.
folder = Path("runs/examples")
path = save_onnx(program, folder / "12_image.onnx", form="image")
session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
labels = session.run(["labels"], {"x": codes[0]})[0]
assert np.array_equal(labels, expected.labels())
print(f"{path}: {path.stat().st_size:,} bytes, {np.mean(labels == truth):.1%} of {len(truth)} digits right")

# %%
# A file: one step
# ----------------
# The form ``step`` is for streams: states go in and come out. Its metadata say which is which.
path = save_onnx(program, folder / "12_step.onnx")
session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
states = json.loads(session.get_modelmeta().custom_metadata_map["pnbx.states"])
names = [value.name for value in session.get_outputs()]
shown = int(np.flatnonzero(labels == truth)[0])
held = {state["input"]: np.zeros((1, *state["shape"]), dtype=state["dtype"]) for state in states}
fired, sums = [], []
for x in codes[:, shown : shown + 1]:
    given = dict(zip(names, session.run(names, {"x": x, **held}), strict=True))
    held = {state["input"]: given[state["output"]] for state in states}
    fired.append(given["block1.spikes"][0])
    sums.append(given["readout.y"][0])
assert np.array_equal(fired, expected.variables["block1.spikes"][:, shown])

# %%
# How long a step takes
# ---------------------
# One sample, one thread, only the read-out recorded; the rivals alternate.
one, times = codes[:, :1], {"native": [], "onnxruntime": [], "openvino": []}
for _ in range(3 if fast else 9):
    for executor, seconds in times.items():
        seconds.append(neuromorphic.run(program, one, executor, record=["readout.y"]).metadata["seconds"] / num_steps)
micros = {executor: 1e6 * float(np.median(seconds)) for executor, seconds in times.items()}
print("a step: " + ", ".join(f"{executor} {us:,.0f} us" for executor, us in micros.items()))

figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), width_ratios=(0.9, 1.6, 1.6, 1.2), layout="constrained")
axes[0].imshow(images[shown].reshape(8, 8), cmap="Greys")
axes[0].set(xticks=[], yticks=[], title=f"held for {num_steps} steps")
axes[1].scatter(*np.nonzero(np.array(fired)), s=4, color=plot.INK)
axes[1].set(xlabel="step", ylabel="neuron", title="spikes, by ONNX Runtime")
for digit, curve in enumerate(np.array(sums).T):
    chosen = digit == labels[shown]
    axes[2].plot(curve / 1000, color=plot.ACCENT if chosen else plot.QUIET, lw=2 if chosen else 0.8)
axes[2].annotate(
    str(labels[shown]), (num_steps - 0.6, sums[-1][labels[shown]] / 1000), color=plot.ACCENT, va="center", size=14
)
axes[2].set(xlabel="step", ylabel="thousands", xlim=(0, num_steps + 1.5), title="the ten sums of the read-out")
bars = axes[3].barh(list(micros), list(micros.values()), color=[plot.ACCENT, plot.QUIET, plot.QUIET])
axes[3].bar_label(bars, [f"{us:,.0f}" for us in micros.values()], padding=3)
axes[3].set(xscale="log", xlim=(1, 10 * max(micros.values())), xlabel="us per step", title="the same integers")
axes[3].invert_yaxis()
for axis in axes[1:]:
    axis.spines[["top", "right"]].set_visible(False)
figure.savefig(folder / "12_export_onnx_openvino.png", dpi=120)
print(f"figure: {folder / '12_export_onnx_openvino.png'}")
