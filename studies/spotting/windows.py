"""What the network learns from: windows cut from scenes, each with one whole digit in it, or with none."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pnbx_snn.data.fsdd import Sounds, load_sounds
from pnbx_snn.data.mel import HOP, WINDOW
from pnbx_snn.data.pcen import PCEN
from pnbx_snn.data.split import Part
from pnbx_snn.files.atomic_write import write_atomically
from studies.spotting.sounds import Background, Scene, make_scene

NUM_BANDS = 40
NUM_FRAMES = 80
"""Of a window, 10 ms each; 98 % of the recordings are shorter."""
NOTHING = 10
"""The class of a window without a whole digit."""
BACKGROUNDS: tuple[Background, ...] = ("silence", "white", "pink", "babble")
SNR_DB = (0.0, 25.0)
GAP_S = (0.1, 1.5)
WORDS_A_SCENE = 40
PARTLY = 0.4
"""At most this share of a word is in a window of nothing."""


class Windows(NamedTuple):
    """Windows ``[S, T, F]`` and their classes ``[S]``."""

    x: NDArray[np.float16]
    y: NDArray[np.int64]


def cut(
    frames: NDArray[np.float32], scene: Scene, *, words: int, nothings: float, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Choose windows of a scene: (first frame, class).

    Each word gets ``words`` windows at random places that hold it all (of one longer than a window, its end), but none
    that hold most of another. ``nothings`` windows a word are drawn where at most 40 % of any word are seen.
    """
    starts = np.array([word.start // HOP for word in scene.words])
    ends = np.array([max(0, word.end - WINDOW) // HOP + 1 for word in scene.words])  # the first frame behind it
    last = len(frames) - NUM_FRAMES

    def seen(first: int) -> NDArray[np.float64]:
        inside = np.minimum(ends, first + NUM_FRAMES) - np.maximum(starts, first)
        share: NDArray[np.float64] = np.maximum(inside, 0) / (ends - starts)
        return share

    chosen = []
    for number, word in enumerate(scene.words):
        low, high = max(0, int(ends[number]) - NUM_FRAMES), min(last, int(starts[number]))
        for _ in range(words):
            first = int(rng.integers(low, high + 1)) if high >= low else low
            share = seen(first)
            share[number] = 0
            if first <= last and share.max() < 0.6:
                chosen.append((first, word.digit))
    wanted = round(nothings * len(scene.words))
    for first in rng.integers(0, last + 1, 20 * wanted).tolist():
        if wanted and seen(first).max() <= PARTLY:
            chosen.append((first, NOTHING))
            wanted -= 1
    return chosen


def make_windows(sounds: Sounds, *, passes: int, words: int, nothings: float, rng: np.random.Generator) -> Windows:
    """Say ``passes`` times as many words as there are recordings, in scenes of 40, and cut windows from them."""
    x, y = [], []
    for number in range(max(1, round(passes * len(sounds.labels) / WORDS_A_SCENE))):
        kind = BACKGROUNDS[number % len(BACKGROUNDS)]
        snr_db = float(rng.uniform(*SNR_DB))
        scene = make_scene(sounds, kind, snr_db, num_words=WORDS_A_SCENE, gap_s=GAP_S, rng=rng)
        frames = PCEN(NUM_BANDS)(scene.sound)
        for first, label in cut(frames, scene, words=words, nothings=nothings, rng=rng):
            x.append(frames[first : first + NUM_FRAMES].astype(np.float16))
            y.append(label)
    return Windows(np.stack(x), np.array(y))


def write_arrays(path: Path, data: Path, *, passes: int = 3, seed: int = 0) -> None:
    """Write the ``.npz`` that ``data.name = "arrays"`` learns from: windows of the three parts of FSDD, kept apart."""
    parts: tuple[Part, ...] = ("train", "validation", "test")
    arrays: dict[str, NDArray[Any]] = {}
    for number, part in enumerate(parts):
        rng = np.random.default_rng([seed, number])
        found = make_windows(
            load_sounds(data, part=part), passes=passes if part == "train" else 2, words=2, nothings=1.5, rng=rng
        )
        arrays |= {f"x_{part}": found.x, f"y_{part}": found.y}
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes any name for allow_pickle
    write_atomically(path, file.getvalue(), what="arrays")
