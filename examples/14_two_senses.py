"""
Two senses
==========

A network sees a handwritten digit and hears the same digit spoken. In training, one of the senses is often missing or
noisy. Afterwards it answers with both, with either alone, and in more and more noise.

The images are those of scikit-learn. The voices are computed (:func:`pnbx_snn.data.synthetic_speech.speak_digit`), so
that nothing has to be downloaded; they are easier than people.
"""

# %%
# Pairs of an image and a word
# ----------------------------
# At each of 40 frames of 10 ms the network gets 64 pixels, which stay, and 24 mel bands of the sound. Noise is new at
# every frame. A sense that is missing is all zeros.
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

import neuromorphic
from pnbx_snn import PNBX, plot
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.data.mel import HOP, WINDOW, log_mel, mel_filters
from pnbx_snn.data.synthetic_speech import speak_digit

torch.set_num_threads(1)
fast = "--fast" in sys.argv  # how the tests run it
num_updates, num_voices, num_seeds, num_tests = (2, 2, 1, 20) if fast else (300, 30, 3, 500)
levels = [0.0, 3.0] if fast else [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


def heard(digit, rng):
    sound = 0.003 * rng.standard_normal(WINDOW + HOP * 39).astype(np.float32)
    word = speak_digit(digit, rng)[: len(sound)]
    start = (len(sound) - len(word)) // 2
    sound[start : start + len(word)] += word
    return (log_mel(torch.from_numpy(sound).unfold(0, WINDOW, HOP), mel_filters(24)) + 4) / 3  # [T, 24]


def vocabulary(seed):
    rng = np.random.default_rng(seed)
    return torch.stack([torch.stack([heard(digit, rng) for _ in range(num_voices)]) for digit in range(10)])


def pairs(split, words, count, senses, noise, generator):
    index = torch.randint(len(split.labels), (count,), generator=generator)
    sounds = words[split.labels[index], torch.randint(num_voices, (count,), generator=generator)]
    both = split.images[index, None].expand(-1, 40, -1), sounds  # [B, T, 64], [B, T, 24]
    parts = [
        present * (gain * values + level * torch.randn(values.shape, generator=generator))
        for values, gain, level, present in zip(both, (2, 0.5), noise, senses, strict=True)
    ]
    return torch.cat(parts, dim=2), split.labels[index]


# %%
# Train one network for both
# --------------------------
# Each sense of a sample is missing with a probability of 30 % and has a noise of its own.
def trained(seed, split, words):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    sizes = {"d_hidden": 128, "d_ssm": 64, "d_rnn": 32, "tau_max": 64.0, "fast_weights": "none", "hippocampus": "none"}
    model = PNBX(in_features=88, num_classes=10, num_steps=40, messages=False, quantize=True, norm="affine", **sizes)
    model.calibrate(pairs(split, words, 256, (1, 1), (1, 1), generator)[0])
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, num_updates)
    for _ in range(num_updates):
        senses, noise = torch.rand(2, 64, 1, 1) < 0.7, 1.5 * torch.rand(2, 64, 1, 1)
        x, labels = pairs(split, words, 64, senses, noise, generator)
        output = model(model.encode(x), keep_state=False)
        torch.nn.functional.cross_entropy(output.logits, labels, label_smoothing=0.05).backward()
        optimizer.step(), optimizer.zero_grad(), scheduler.step()
        model.adapt(output.spikes)
    return model.eval()


# %%
# Test it
# -------
# Other images, other voices, and the same noise for everyone, from none to three times what is shown.
words, new_words = vocabulary(0), vocabulary(1)
train, test = load_digits_split(part="train_all"), load_digits_split(part="test")
ways = {"both": (1, 1), "image alone": (1, 0), "sound alone": (0, 1)}
found = np.zeros((num_seeds, len(ways), len(levels)))
for seed in range(num_seeds):
    model = trained(seed, train, words)
    for i, j in np.ndindex(len(ways), len(levels)):
        noise, senses = (levels[j], levels[j]), list(ways.values())[i]
        x, labels = pairs(test, new_words, num_tests, senses, noise, torch.Generator().manual_seed(7))
        with torch.no_grad():
            found[seed, i, j] = 100 * (model.classify(x)[0].argmax(dim=1) == labels).double().mean()
print("noise      " + "".join(f"{level:>14}" for level in levels))
for name, mean, std in zip(ways, found.mean(axis=0), found.std(axis=0), strict=True):
    print(f"{name:<12}" + "".join(f"{m:6.1f} ± {s:3.1f} %" for m, s in zip(mean, std, strict=True)))
x, labels = pairs(test, new_words, 100, (1, 1), (1, 1), torch.Generator().manual_seed(8))
same, _, recording = neuromorphic.verify(neuromorphic.compile(model), model.encode(x).numpy(), "native")
print(f"program, both senses, noise 1: {(recording.labels() == labels.numpy()).mean():.1%} of {len(labels)} right")
print(f"NumPy and native: {same.spikes_different} of {same.spikes_compared:,} spikes differ")

# %%
# The figure
# ----------
figure, axes = plt.subplot_mosaic([list("acc"), list("bcc")], figsize=(10, 5), layout="constrained")
axes["a"].imshow(x[0, 0, :64].reshape(8, 8), cmap="Greys")
axes["a"].set(title=f"what it sees: {labels[0]}, noise 1", xticks=[], yticks=[])
axes["b"].imshow(x[0, :, 64:].T, origin="lower", aspect="auto", cmap="magma")
axes["b"].set(title="what it hears", xlabel="frame of 10 ms", ylabel="mel band")
for i, (name, color, line) in enumerate(zip(ways, ("black", plot.INK, plot.ACCENT), ("-", "--", ":"), strict=True)):
    axes["c"].plot(levels, found[:, i].mean(axis=0), line, color=color, label=name, linewidth=2)
    axes["c"].fill_between(levels, found[:, i].min(axis=0), found[:, i].max(axis=0), color=color, alpha=0.15)
axes["c"].set(xlabel="noise", ylabel="accuracy, %", title="One network, two senses", ylim=(0, 102))
axes["c"].legend(frameon=False)
Path("runs/examples").mkdir(parents=True, exist_ok=True)
figure.savefig("runs/examples/14_two_senses.png", dpi=120)
