"""
A live keyword spotter
======================

Somebody says digits, and a PNB-X network answers while they speak: every 10 ms one frame of sound goes in, and spikes
and an answer come out. The program of the trained network runs frame by frame on the native executor, as it would
behind a microphone.

The voices are computed (:func:`pnbx_snn.data.synthetic_speech.speak_digit`), so that nothing has to be downloaded. They
are easier than people: ``pnbx-snn train fsdd`` learns from recordings.
"""

# %%
# Sentences
# ---------
# Two seconds of one voice after the other, with pauses and a little noise, as the log power of 24 mel bands. The right
# answer is a digit from the last part of its word until a tenth of a second after it, otherwise "nothing".
import sys
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.animation import FuncAnimation

import neuromorphic
from neuromorphic.executors.native import NativeNetwork
from pnbx_snn import PNBX, plot
from pnbx_snn.data.mel import HOP, WINDOW, log_mel, mel_filters
from pnbx_snn.data.synthetic_speech import speak_digit

torch.set_num_threads(1)
fast = "--fast" in sys.argv  # how the tests run it
num_updates, num_voices, num_tests, num_frames, nothing = (2, 2, 4, 60, 10) if fast else (200, 40, 50, 200, 10)


def sentence(voices, rng):
    sound = 0.003 * rng.standard_normal(WINDOW + HOP * (num_frames - 1)).astype(np.float32)
    wanted, said, start = np.full(num_frames, nothing), [], int(rng.integers(200, 2000))
    while start < len(sound):
        digit = int(rng.integers(10))
        word = voices[digit][rng.integers(len(voices[digit]))]
        if (end := start + len(word)) + 800 < len(sound):
            sound[start:end] += word
            wanted[int(start + 0.6 * len(word)) // HOP : (end + 800) // HOP] = digit
            said.append(digit)
        start = end + int(rng.integers(1000, 2800))
    return sound, wanted, said


def sentences(voices, rng, count):
    sounds, wanted, said = zip(*(sentence(voices, rng) for _ in range(count)), strict=True)
    windows = torch.tensor(np.stack(sounds)).unfold(1, WINDOW, HOP)  # [B, T, 200]
    bands = log_mel(windows.flatten(0, 1), mel_filters(24)).unflatten(0, windows.shape[:2])
    return (bands + 4) / 3, torch.tensor(np.stack(wanted)), said


# %%
# Train it
# --------
rng, new_rng = np.random.default_rng(0), np.random.default_rng(1)
voices, new_voices = ([[speak_digit(d, r) for _ in range(num_voices)] for d in range(10)] for r in (rng, new_rng))
torch.manual_seed(0)
sizes = {"d_hidden": 128, "d_ssm": 64, "d_rnn": 32, "tau_max": 64.0, "fast_weights": "none", "hippocampus": "none"}
model = PNBX(in_features=24, num_classes=11, readout="step", messages=False, quantize=True, norm="affine", **sizes)
model.calibrate(sentences(voices, rng, 32)[0])
optimizer = torch.optim.Adam(model.parameters())
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, num_updates)
for _ in range(num_updates):
    x, wanted, _ = sentences(voices, rng, 16)
    output = model(model.encode(x), keep_state=False)
    torch.nn.functional.cross_entropy(output.logits.flatten(0, 1), wanted.T.flatten()).backward()
    optimizer.step(), optimizer.zero_grad(), scheduler.step()
    model.adapt(output.spikes)

# %%
# Listen, frame by frame
# ----------------------
# The voices are new. The answer is the largest mean of the logits of 80 ms.
program = neuromorphic.compile(model.eval(), num_steps=num_frames)
network, seconds, right = NativeNetwork(program), [], 0
x, wanted, said = sentences(new_voices, new_rng, num_tests)
codes = program.prepare_inputs(x.transpose(0, 1).numpy())  # [T, B, 24]
for b in sorted(range(num_tests), key=lambda b: len(said[b])):  # the longest last
    network.reset()
    logits, spikes = np.zeros((num_frames, 11)), np.zeros((num_frames, 128))
    for t in range(num_frames):
        start = time.perf_counter()
        network.step(codes[t, b : b + 1])
        seconds.append(time.perf_counter() - start)
        logits[t], spikes[t] = network.view("readout_step.v")[0], network.spikes("block1")[0]
    scores = np.stack([logits[max(0, t - 7) : t + 1].mean(axis=0) for t in range(num_frames)])
    best = [nothing, *scores.argmax(axis=1).tolist()]
    heard = [(t, best[t + 1]) for t in range(num_frames) if best[t + 1] not in (best[t], nothing)]
    right += [digit for _, digit in heard] == said[b]
same, _, _ = neuromorphic.verify(program, codes, "native")
print(f"{right} of {num_tests} sentences right; the longest: said {said[b]}, heard {[digit for _, digit in heard]}")
print(f"{1e6 * np.median(seconds):.1f} µs of the 10,000 µs of a frame")
print(f"NumPy and native: {same.spikes_different} of {same.spikes_compared:,} spikes differ")

# %%
# The figure, and the same as an animation in real time
# -----------------------------------------------------
figure, axes = plt.subplots(3, 1, sharex=True, figsize=(7, 6), layout="constrained")
axes[0].imshow(x[b].T, origin="lower", aspect="auto", cmap="magma")
axes[1].imshow(spikes.T, origin="lower", aspect="auto", cmap="Greys", interpolation="nearest")
axes[2].imshow(np.maximum(scores, 0).T, origin="lower", aspect="auto", cmap="Blues", interpolation="nearest")
for t, digit in heard:
    axes[2].text(t, digit, f" {digit}", color=plot.ACCENT, fontsize=16, fontweight="bold", va="center")
for ax, name in zip(axes, ("what it hears: mel band", "what it does: neuron", "what it answers"), strict=True):
    ax.set_ylabel(name)
axes[2].set_yticks(range(11), [*range(10), "nothing"])
axes[2].set(xlabel="frame of 10 ms", xlim=(-0.5, num_frames - 0.5))
Path("runs/examples").mkdir(parents=True, exist_ok=True)
figure.savefig("runs/examples/02_keyword_spotter.png", dpi=120)
curtains = [ax.axvspan(0, num_frames, color="white", zorder=5) for ax in axes]
frames = range(0, num_frames + 1, 30 if fast else 5)
film = FuncAnimation(figure, lambda t: [curtain.set(x=t, width=num_frames - t) for curtain in curtains], frames)
film.save("runs/examples/02_keyword_spotter.gif", "pillow", fps=20, dpi=70)
