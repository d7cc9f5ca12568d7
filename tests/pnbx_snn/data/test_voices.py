"""Voices: pace, vocal tract and tone of recordings, changed at random."""

import pytest
import torch

from pnbx_snn.data import voices
from pnbx_snn.data.voices import change_voices
from pnbx_snn.errors import PnbxValueError, ShapeError


def drawn(features, **options):
    return change_voices(features, generator=torch.Generator().manual_seed(3), **options)


def test_the_same_seed_gives_the_same_and_zero_is_off():
    x = torch.rand(3, 12, 10)
    assert torch.equal(drawn(x), drawn(x))
    assert drawn(x, strength=0.0) is x
    assert drawn(x, strength=0.1).sub(x).abs().mean() < drawn(x).sub(x).abs().mean()


def test_a_longer_tract_and_a_slower_pace_move_what_there_is(monkeypatch):
    monkeypatch.setattr(voices, "TONE", 0.0)
    x = torch.zeros(64, 41, 40)
    x[:, 30, 20] = 1.0
    peaks = drawn(x).flatten(1).argmax(dim=1)
    frames, bands = peaks // 40, peaks % 40
    assert frames.min() >= 20 + 10 / 1.42 - 1
    assert frames.max() <= 20 + 10 / 0.70 + 1
    assert bands.min() >= 20 / 1.14 - 1
    assert bands.max() <= 20 / 0.88 + 1
    assert len(frames.unique()) > 3
    assert len(bands.unique()) > 3


def test_a_tone_is_the_same_in_all_frames(monkeypatch):
    monkeypatch.setattr(voices, "LARGEST_PACE", 0.0)
    monkeypatch.setattr(voices, "LARGEST_TRACT", 0.0)
    x = torch.rand(4, 12, 10)
    tone = drawn(x) - x
    torch.testing.assert_close(tone, tone[:, :1].expand_as(tone))
    assert tone.std() > 0.06


def test_what_is_no_recording_is_refused(unchecked):
    with pytest.raises(ShapeError, match=r"features must be \[B, T, F\], got \[2, 3\]"):
        drawn(torch.rand(2, 3))
    with pytest.raises(PnbxValueError, match=r"strength must be in \[0, 1\], got 2"):
        drawn(torch.rand(2, 3, 4), strength=2.0)
