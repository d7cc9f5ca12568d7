"""
ONNX Runtime and OpenVINO
=========================

A spiking network with weights in {-1, 0, 1}, compiled to integers, becomes an ONNX model. Two runtimes of others
compute it, and every spike and every state is the reference's: a model that leaves torch without losing a bit.
"""

# %%
# A network and its program
# -------------------------
import json
import sys
import time

import matplotlib as mpl
import numpy as np
import torch

from neuromorphic import run, verify
from neuromorphic.compiler import compile_model
from neuromorphic.native import NativeNetwork
from pnbx_snn import PNBX

try:
    import onnxruntime as ort

    from neuromorphic.onnx_backend.files import save_onnx
except ModuleNotFoundError as error:
    sys.exit(f"This example needs {error.name}: pip install 'pnbx-snn[onnx]'")

mpl.use("Agg")
from matplotlib import pyplot as plt

torch.set_num_threads(1)
torch.manual_seed(0)
fast = "--fast" in sys.argv
d_hidden, num_steps, batch = (128, 20, 2) if fast else (512, 60, 4)

model = PNBX(
    in_features=32, num_classes=4, num_steps=num_steps, d_hidden=d_hidden, d_ssm=64, d_rnn=32, rank=8, slots=16
)
signal = torch.rand(num_steps, batch, 32) * (torch.rand(num_steps, batch, 32) < 0.3)
model.calibrate(signal[:, 0])
program = compile_model(model.eval(), num_steps=num_steps)
inputs = signal.numpy()

# %%
# Four executors, one answer
# --------------------------
expected, seconds = run(program, inputs), {}
for executor in ("native", "onnxruntime", "openvino"):
    comparison, _, recording = verify(program, inputs, executor)
    print(
        f"{executor}: {comparison.spikes_different} of {comparison.spikes_compared:,} spikes, "
        f"{comparison.states_different} of {comparison.states_compared:,} states differ from the reference's"
    )

# %%
# The file alone
# --------------
# One step, states in and out: what a program in another language would do with it.
path = save_onnx(program, "runs/examples/12_step.onnx")
session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
facts = session.get_modelmeta().custom_metadata_map
states = json.loads(facts["pnbx.states"])
names = [value.name for value in session.get_outputs()]
held = {state["input"]: np.zeros((batch, *state["shape"]), dtype=state["dtype"]) for state in states}
codes, fired = program.prepare_inputs(inputs), []
for x in codes:
    given = dict(zip(names, session.run(names, {"x": x, **held}), strict=True))
    held = {state["input"]: given[state["output"]] for state in states}
    fired.append(given["block1.spikes"])
assert np.array_equal(fired, expected.variables["block1.spikes"])
print(f"{path}: {path.stat().st_size:,} bytes, program {facts['pnbx.program_sha256'][:12]}, opset 18")

# %%
# How long a step takes
# ---------------------
# One sample, one thread, only the read-out kept.
one = inputs[:, :1]
for executor in ("native", "onnxruntime", "openvino"):
    times = [run(program, one, executor, record=[f"{program.ops[-1].name}.y"]).metadata["seconds"] for _ in range(5)]
    seconds[executor] = float(np.median(times)) / num_steps
network, started = NativeNetwork(program), time.perf_counter()
for x in codes[:, :1]:
    network.step(np.ascontiguousarray(x))
print(f"native, step by step: {1e6 * (time.perf_counter() - started) / num_steps:.0f} us")

figure, axes = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(2, 1), layout="constrained")
axes[0].scatter(*np.nonzero(np.array(fired)[:, 0]), s=3, color="#1b3a5c")
axes[0].set(xlabel="step", ylabel="neuron", title="spikes of the block, computed by ONNX Runtime")
axes[1].barh(list(seconds), [1e6 * s for s in seconds.values()], color=["#c8452d", "#8fa3b8", "#8fa3b8"])
axes[1].set(xscale="log", xlim=(1, None), xlabel="us a step, one sample, one thread", title="the same integers")
for axis in axes:
    axis.spines[["top", "right"]].set_visible(False)
figure.savefig("runs/examples/12_export_onnx_openvino.png", dpi=120)
print("figure: runs/examples/12_export_onnx_openvino.png")
