"""Spoken digits that are computed, for demonstrations without any recording: a small formant synthesiser."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pnbx_snn.data.mel import SAMPLE_RATE_HZ
from pnbx_snn.errors import PnbxValueError

_WORDS = (
    "z iy r ow uw", "w ah n", "t uw", "th r iy", "f ao r",
    "f aa iy v", "s ih k s", "s eh v ah n", "eh iy t", "n aa iy n",
)  # fmt: skip
_PHONES: dict[str, tuple[float, float, float, float, float, float, float]] = {
    # milliseconds, three formants in Hz, loudness of the voice, centre of the noise in Hz, its loudness
    "iy": (90, 270, 2290, 3010, 1.0, 2500, 0),
    "ih": (80, 390, 1990, 2550, 1.0, 2500, 0),
    "eh": (90, 530, 1840, 2480, 1.0, 2500, 0),
    "ah": (90, 640, 1190, 2390, 1.0, 2500, 0),
    "aa": (110, 730, 1090, 2440, 1.0, 2500, 0),
    "ao": (120, 570, 840, 2410, 1.0, 2500, 0),
    "ow": (90, 450, 880, 2300, 1.0, 2500, 0),
    "uw": (120, 300, 870, 2240, 0.9, 2500, 0),
    "w": (70, 290, 610, 2150, 0.6, 2500, 0),
    "r": (70, 310, 1060, 1380, 0.7, 2500, 0),
    "n": (80, 250, 1500, 2500, 0.4, 2500, 0),
    "v": (60, 220, 1100, 2080, 0.3, 2800, 0.05),
    "z": (80, 240, 1600, 2600, 0.25, 3500, 0.2),
    "s": (110, 300, 1600, 2600, 0.0, 3500, 0.4),
    "f": (90, 300, 1100, 2080, 0.0, 2600, 0.08),
    "th": (80, 300, 1400, 2500, 0.0, 3000, 0.06),
    "t": (50, 350, 1700, 2600, 0.0, 3300, 0.25),
    "k": (50, 350, 1900, 2500, 0.0, 1900, 0.25),
}
_WIDTHS_HZ, _GAINS = (90.0, 120.0, 180.0), (1.0, 0.6, 0.35)
_LOUDNESS = (3, 5)
_GLIDE = SAMPLE_RATE_HZ // 25  # 40 ms, in which one sound becomes the next


def speak_digit(digit: int, rng: np.random.Generator) -> NDArray[np.float32]:
    r"""Return one English digit as a synthetic voice says it: ``[n]`` at 8 kHz, some 0.4 s, within -1 and 1.

    Harmonics of a pitch, weighted by three resonances that glide from sound to sound, and band noise for consonants:

    .. math::

        x_n = v_n \sum_k \frac{1}{3 \sqrt k} \Big(\sum_i \frac{g_i}{1 + ((k f_n - F_{i,n}) / b_i)^2}\Big)
        \sin\Big(2\pi k \sum_{m \le n} f_m / 8000\Big) + a_n \xi_n \cos\Big(2\pi \sum_{m \le n} c_m / 8000\Big)

    with pitch f, formants F, loudness v and a, low noise :math:`\xi` and its centre c, then scaled to a peak of 0.3 to
    0.9.

    Each call draws a voice of its own: pitch 90 to 220 Hz, length of the vocal tract, speed, melody and loudness. It is
    no recording, and easier than one: a network that is right here is not thereby right for people.

    Parameters
    ----------
    digit
        0 to 9.
    rng
        Draws the voice: the same state, the same sound.

    Raises
    ------
    PnbxValueError
        If the digit is not one of the ten.

    References
    ----------
    Formants: Peterson and Barney 1952, "Control methods used in a study of the vowels", table II (men); synthesis by
    resonances: Klatt 1980, JASA 67, 971. The consonants are our own, coarse guesses.

    Examples
    --------
    >>> sound = speak_digit(7, np.random.default_rng(0))
    >>> sound.dtype, 2000 < len(sound) < 6000
    (dtype('float32'), True)
    """
    if digit not in range(len(_WORDS)):
        raise PnbxValueError(f"speak_digit: digit must be 0 to 9, got {digit}")
    phones = np.array([_PHONES[name] for name in _WORDS[digit].split()])  # [phone, 7]
    num_samples = (phones[:, 0] * rng.uniform(0.8, 1.25) * SAMPLE_RATE_HZ / 1000).astype(int)
    tracks = np.repeat(phones[:, 1:], num_samples, axis=0).T  # [6, n]
    smooth = np.hanning(_GLIDE + 2) / np.hanning(_GLIDE + 2).sum()
    # Formants go on beyond both ends, loudness comes from nothing and goes to nothing.
    padded = [np.pad(track, _GLIDE, mode="constant" if i in _LOUDNESS else "edge") for i, track in enumerate(tracks)]
    f1, f2, f3, voice, centre, noise = (np.convolve(track, smooth, mode="valid") for track in padded)
    pitch = rng.uniform(90, 220) * (1 + rng.uniform(-0.15, 0.15) * np.linspace(-0.5, 0.5, len(voice)))
    phase, tract, sound = _phase(pitch), rng.uniform(0.88, 1.18), np.zeros(len(voice))
    for k in range(1, int(SAMPLE_RATE_HZ / 2 / pitch.max())):
        resonances = zip(_GAINS, (f1, f2, f3), _WIDTHS_HZ, strict=True)
        gain = sum(g / (1 + ((k * pitch - tract * f) / width) ** 2) for g, f, width in resonances)
        sound += gain * np.sin(k * phase) / (3 * k**0.5)
    low = np.convolve(rng.standard_normal(len(voice)), np.hanning(12) / 3, mode="same")  # below some 600 Hz
    sound = voice * sound + noise * low * np.cos(_phase(np.minimum(tract * centre, 3700.0)))
    scaled: NDArray[np.float32] = (rng.uniform(0.3, 0.9) * sound / np.abs(sound).max()).astype(np.float32)
    return scaled


def _phase(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    phase: NDArray[np.float64] = 2 * np.pi * np.cumsum(frequency_hz) / SAMPLE_RATE_HZ
    return phase
