"""Scenes: minutes of a background with spoken digits at random places, and where each one begins and ends."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from pnbx_snn.data.fsdd import Sounds
from pnbx_snn.data.mel import SAMPLE_RATE_HZ

Background = Literal["silence", "white", "pink", "babble"]
SPEECH_RMS = 0.05
"""Of a word, full scale 1; the microphone's gain is drawn for each scene."""
SILENT_DB = 50.0
"""How far the hiss of "silence" lies below a word."""
VOICES = 6
"""Of the babble."""
RAMP = 80
"""Samples over which a word begins and ends, so that its edges are no clicks."""


class Word(NamedTuple):
    """A digit that was said, from sample ``start`` up to sample ``end``."""

    digit: int
    start: int
    end: int


class Scene(NamedTuple):
    """Sound ``[samples]`` at 8,000 Hz, full scale 1, and the words in it in their order."""

    sound: NDArray[np.float32]
    words: list[Word]


def recording(sounds: Sounds, number: int) -> NDArray[np.float32]:
    """Return a recording with a root mean square of 1."""
    samples = sounds.samples[sounds.offsets[number] : sounds.offsets[number + 1]].astype(np.float32)
    samples -= samples.mean()
    level = float(np.sqrt(np.mean(samples**2)))
    return samples / max(level, 1e-6)


def background(kind: Background, length: int, sounds: Sounds, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a background ``[length]`` with a root mean square of 1.

    ``"white"`` and ``"silence"`` are Gaussian; ``"pink"`` has a power that falls as 1 / f from 20 Hz on; ``"babble"``
    is six voices that say digits of ``sounds``, one after the other, backwards.
    """
    if kind == "pink":
        spectrum = np.fft.rfft(rng.standard_normal(length).astype(np.float32))
        hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
        noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(hertz, 20.0)), length)
    elif kind == "babble":
        noise = np.zeros(length)
        for _ in range(VOICES):
            place = -int(rng.integers(SAMPLE_RATE_HZ // 2))
            while place < length:
                voice = recording(sounds, int(rng.integers(len(sounds.labels))))[::-1]
                heard = voice[max(0, -place) : length - place]
                begin = max(place, 0)
                noise[begin : begin + len(heard)] += heard
                place += len(voice)
    else:
        noise = rng.standard_normal(length)
    scaled: NDArray[np.float32] = (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)
    return scaled


def make_scene(
    sounds: Sounds,
    kind: Background,
    snr_db: float,
    *,
    num_words: int,
    gap_s: tuple[float, float],
    rng: np.random.Generator,
) -> Scene:
    """Say digits in a background, with ``gap_s`` (least, most) seconds before, between and after them, log-uniform.

    The signal-to-noise ratio of every word is ``snr_db``: the power of the word over its own length, divided by the
    power of the background. In "silence" it is 50 dB whatever ``snr_db`` says. The whole scene is then up to 10 dB
    louder or quieter, as a microphone may be.
    """
    if kind not in get_args(Background):
        raise ValueError(f"kind must be one of {', '.join(get_args(Background))}, got {kind!r}")
    order: list[int] = []
    while len(order) < num_words:
        order += rng.permutation(len(sounds.labels)).tolist()
    gaps = (np.exp(rng.uniform(np.log(gap_s[0]), np.log(gap_s[1]), num_words + 1)) * SAMPLE_RATE_HZ).astype(int)
    spoken = [recording(sounds, number) for number in order[:num_words]]
    sound = np.zeros(int(gaps.sum()) + sum(map(len, spoken)), np.float32)
    words, place = [], 0
    ramp = np.linspace(0, 1, RAMP, dtype=np.float32)
    for number, voice, gap in zip(order, spoken, gaps, strict=False):
        place += int(gap)
        shaped = SPEECH_RMS * voice
        shaped[:RAMP] *= ramp
        shaped[-RAMP:] *= ramp[::-1]
        sound[place : place + len(voice)] += shaped
        words.append(Word(int(sounds.labels[number]), place, place + len(voice)))
        place += len(voice)
    decibels = SILENT_DB if kind == "silence" else snr_db
    sound += SPEECH_RMS * 10 ** (-decibels / 20) * background(kind, len(sound), sounds, rng)
    sound *= 10 ** (rng.uniform(-10, 10) / 20)
    return Scene(np.clip(sound, -1, 1), words)
