"""Computed voices: every digit, reproducible, within range, with the energy where its sounds have it."""

import numpy as np
import pytest
import torch

from pnbx_snn.data.mel import HOP, SAMPLE_RATE_HZ, WINDOW, log_mel, mel_filters
from pnbx_snn.data.synthetic_speech import speak_digit
from pnbx_snn.errors import PnbxValueError


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_is_a_short_sound_of_its_own_voice(digit):
    first, again, other = (speak_digit(digit, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or not np.array_equal(first, other)
    for sound in (first, other):
        assert sound.dtype == np.float32
        assert 0.1 < len(sound) / SAMPLE_RATE_HZ < 0.8
        assert 0.3 <= np.abs(sound).max() <= 0.9
        assert np.abs(sound[[0, -1]]).max() < 0.01 * np.abs(sound).max()  # comes from nothing, goes to nothing


def test_the_energy_is_where_the_sounds_have_it():
    filters = mel_filters(24)

    def bands(digit, seed):  # mean log power of the first and of the middle 40 ms
        windows = torch.from_numpy(speak_digit(digit, np.random.default_rng(seed))).unfold(0, WINDOW, HOP)
        power = log_mel(windows, filters)
        return power[2:5].mean(dim=0), power[len(power) // 2 - 2 :][:4].mean(dim=0)

    for seed in range(5):
        hiss, vowel = bands(6, seed)  # s, then ih
        assert hiss[-4:].mean() > hiss[:8].mean() + 2
        assert vowel[:8].mean() > hiss[:8].mean() + 2
        _, open_vowel = bands(4, seed)  # ao: no energy at the second formant of ih
        assert (open_vowel - vowel)[14:19].mean() < (open_vowel - vowel)[5:10].mean()


@pytest.mark.parametrize("digit", [-1, 10])
def test_another_digit_is_refused(digit):
    with pytest.raises(PnbxValueError, match=f"digit must be 0 to 9, got {digit}"):
        speak_digit(digit, np.random.default_rng(0))
