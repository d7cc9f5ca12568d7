"""Make the two small data sets of ``pnbx_snn/configs/yinyang.toml`` and ``mnist1d.toml`` as files of arrays.

Both are drawn from the equations of their papers with NumPy alone, so nothing is downloaded. The numbers are those of
this file's seeds, not those of the authors' own files.

    python examples/make_arrays.py yinyang data/yinyang.npz
    python examples/make_arrays.py mnist1d data/mnist1d.npz
"""

import argparse
from pathlib import Path

import numpy as np

RADIUS, DOT = 0.5, 0.1  # of the yin-yang sign and of its two dots


def yinyang_class(x, y):
    """Return the class of points in the unit square: 0 yang, 1 yin, 2 a dot.

    Kriener, Goeltz and Petrovici 2021, "The Yin-Yang dataset", arXiv:2102.08211, section 2.
    """
    to_right, to_left = np.hypot(x - 1.5 * RADIUS, y - RADIUS), np.hypot(x - 0.5 * RADIUS, y - RADIUS)
    head = (to_left > DOT) & (to_left <= 0.5 * RADIUS)
    body = (y > RADIUS) & (to_right > 0.5 * RADIUS)
    return np.where((to_right < DOT) | (to_left < DOT), 2, (head | body).astype(np.int64))


def yinyang(num_samples, seed):
    """Return points ``[S, 4]`` as ``(x, y, 1 - x, 1 - y)`` and classes ``[S]``, each class as likely as the others."""
    rng = np.random.default_rng(seed)
    wanted = rng.integers(0, 3, num_samples)
    points = np.empty((num_samples, 2))
    for label in range(3):
        found = np.empty((0, 2))
        while len(found) < (wanted == label).sum():
            drawn = rng.random((4 * num_samples, 2)) * 2 * RADIUS
            inside = np.hypot(*(drawn - RADIUS).T) <= RADIUS
            found = np.concatenate([found, drawn[inside & (yinyang_class(*drawn.T) == label)]])
        points[wanted == label] = found[: (wanted == label).sum()]
    return np.concatenate([points, 1 - points], axis=1).astype(np.float32), wanted


# The ten strokes of 12 points: Greydanus and Kobak 2024, "Scaling down deep learning with MNIST-1D", arXiv:2011.14439.
STROKES = """
5 6 6.5 6.75 7 7 7 7 6.75 6.5 6 5
5 3 3 3.4 3.8 4.2 4.6 5 5.4 5.8 5 5
5 6 6.5 6.5 6 5.25 4.75 4 3.5 3.5 4 5
5 6 6.5 6.5 6 5 5 6 6.5 6.5 6 5
5 4.4 3.8 3.2 2.6 2.6 5 5 5 5 5 5
5 3 3 3 3 5 6 6.5 6.5 6 4.5 5
5 4 3.5 3.25 3 3 3 3 3.25 3.5 4 5
5 7 7 6.6 6.2 5.8 5.4 5 4.6 4.2 5 5
5 4 3.5 3.5 4 5 5 4 3.5 3.5 4 5
5 4 3.5 3.5 4 5 5 5 5 4.7 4.3 5
"""


def stretched(signal, length):
    """Return a signal read at ``length`` equally far places, by lines between its points."""
    return np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(signal)), signal)


def smoothed(noise, sigma=2.0):
    """Return noise under a Gaussian of this width, mirrored at the ends."""
    places = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    weights = np.exp(-0.5 * (places / sigma) ** 2)
    padded = np.pad(noise, len(places) // 2, mode="symmetric")
    return np.convolve(padded, weights / weights.sum(), mode="valid")


def mnist1d(num_samples, seed, *, num_steps=40):
    """Return signals ``[S, num_steps, 1]`` of mean 0 and deviation 1 and digits ``[S]``, in random order.

    A stroke is padded with 36 to 60 zeros, stretched to 72 points, scaled by 0.8 to 1.2 and turned round by up to 47
    places; where nothing is, correlated noise of 0.25 stands in. Noise of 0.02, a slope of up to 0.375, 40 points.
    """
    rng = np.random.default_rng(seed)
    strokes = np.array([line.split() for line in STROKES.split("\n")[1:-1]], dtype=float)
    strokes = (strokes - strokes.mean(1, keepdims=True)) / strokes.std(1, keepdims=True)
    strokes = (strokes - strokes[:, :1]) / 6
    digits = np.arange(num_samples) % 10
    signals = np.empty((num_samples, num_steps))
    for i, digit in enumerate(digits):
        padded = np.concatenate([strokes[digit] + 1e-8, np.zeros(36 + rng.integers(25))])
        signal = np.roll(stretched(padded, 72) * (1 + 0.4 * (rng.random() - 0.5)), rng.integers(48))
        signal = np.where(signal != 0, signal, smoothed(0.25 * rng.standard_normal(72)))
        signal = signal + 0.02 * rng.standard_normal(72)
        signal = signal - 0.75 * (rng.random() - 0.5) * np.linspace(-0.5, 0.5, 72)
        signals[i] = stretched(signal, num_steps)
    order = rng.permutation(num_samples)
    signals = (signals - signals.mean()) / signals.std()
    return signals[order, :, None].astype(np.float32), digits[order]


def write(name, path):
    """Write a data set: 5,000, 1,000 and 1,000 points, or 5,000 signals of which the last 1,000 are the test part."""
    if name == "yinyang":
        parts = {"train": (5000, 42), "validation": (1000, 41), "test": (1000, 40)}
        made = {part: yinyang(*arguments) for part, arguments in parts.items()}
    else:
        x, y = mnist1d(5000, 42)
        made = {"train": (x[:4000], y[:4000]), "test": (x[4000:], y[4000:])}
    arrays = {f"{key}_{part}": value for part, pair in made.items() for key, value in zip("xy", pair, strict=True)}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    print(f"wrote {path}:", ", ".join(f"{key} {list(value.shape)}" for key, value in arrays.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("yinyang", "mnist1d"))
    parser.add_argument("path", help="the .npz file to write")
    write(**vars(parser.parse_args()))
