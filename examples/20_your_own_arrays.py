"""
Train on your own arrays
========================

From NumPy arrays to a program that is verified: write ``x`` and ``y`` (and ``lengths``) to a file, name it in a
configuration, train, compile, compare. The samples here are sequences of different lengths; nothing is downloaded.
"""

# %%
# Settings
# --------
# ``--fast`` is a few epochs on few samples, to see that everything works.
import sys
from pathlib import Path

import numpy as np

import neuromorphic
from pnbx_snn import train
from pnbx_snn.data.catalog import load_split
from pnbx_snn.training.config import make_config

fast = "--fast" in sys.argv
num_samples, num_epochs = (240, 2) if fast else (3000, 20)
folder = Path("runs/examples/16_fast" if fast else "runs/examples/16_full")
folder.mkdir(parents=True, exist_ok=True)

# %%
# The arrays
# ----------
# A wave of 12 to 40 steps that rises (0), falls (1) or keeps its pitch (2), in noise. Samples stand in ``x`` as
# ``[samples, steps, values]``; what is beyond a sample's length is never looked at, here it is NaN. Static samples
# would be ``[samples, values]``, without lengths.
rng = np.random.default_rng(0)
y = rng.integers(0, 3, num_samples)
lengths = rng.integers(12, 41, num_samples)
t = np.arange(40)
pitch = rng.uniform(0.6, 0.9, num_samples)[:, None] + np.array([0.3, -0.3, 0.0])[y][:, None] * t / lengths[:, None] / 2
wave = np.sin(pitch * t + rng.uniform(0, 2 * np.pi, num_samples)[:, None])
x = np.stack([wave, np.roll(wave, 1, axis=1)], axis=2) + 0.1 * rng.standard_normal((num_samples, 40, 2))
x[t >= lengths[:, None]] = np.nan
np.savez(folder / "waves.npz", x=x.astype(np.float32), y=y, lengths=lengths)

# %%
# Training
# --------
# The same as ``pnbx-snn train waves.toml``. The parts are not given, so a test part and a validation part are cut out,
# class by class. ``window``: a step sees itself and the seven before it.
config = make_config(
    {
        "data": {"name": "arrays", "path": str(folder / "waves.npz"), "part": "train", "window": 8},
        "pnbx": {"d_hidden": 64, "d_ssm": 32, "d_rnn": 16, "rank": 4, "slots": 4, "tau_max": 64.0, "norm": "affine"},
        "train": {"epochs": num_epochs, "batch_size": 64, "rate_weight": 0.0, "settle": 20, "threads": 1},
    }
)
if not (folder / "run" / "checkpoint.safetensors").exists():
    train(config, folder / "run", progress=lambda m: print(f"epoch {m['epoch']}: {m['accuracy_validation']:.1%}"))

# %%
# Compile and verify
# ------------------
# The network learned on the program's grid (``quantize``, which is on for arrays), so the program should answer as it
# does. A label is read after a sample's last own step, on every executor.
program = neuromorphic.compile(folder / "run", part="test")
agreement = program.metadata["agreement"]
print(
    f"{agreement['samples']} test samples: network {agreement['accuracy_network']:.1%}, program "
    f"{agreement['accuracy_program']:.1%}, the same label for {agreement['labels_equal']:.1%}"
)
program.save(folder / "waves_program.npz")

# %%
# Inputs are ``[steps, samples, values]`` with their lengths. ``load_split`` returns the samples as they enter.
resolved = program.metadata["config"]["data"]
print(f"found in the arrays: {resolved['features']} values, {resolved['steps']} steps, {resolved['classes']} classes")
test = load_split(config.data, "test")
inputs, few = test.images[:20].transpose(0, 1).numpy(), test.lengths[:20].numpy()
comparison, expected, got = neuromorphic.verify(program, inputs, "native", lengths=few)
assert comparison.equal
print(f"native executor: {comparison.spikes_different} of {comparison.spikes_compared} spikes differ from NumPy's")

# %%
# Padding changes nothing: the first sample alone, cut to its own steps, has the label that it has in the batch.
alone = neuromorphic.run(program, inputs[: few[0], :1])
assert alone.labels()[0] == expected.labels()[0] == got.labels()[0]
print(f"sample 0, {few[0]} steps: class {alone.labels()[0]}, alone and in a batch of sequences of up to 40 steps")
