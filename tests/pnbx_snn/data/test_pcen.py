"""Per-channel energy normalisation: the equation, in pieces as a whole, and nothing from the future."""

import numpy as np
import pytest
import torch

from pnbx_snn.data.mel import HOP, WINDOW, log_mel, mel_filters, mel_power
from pnbx_snn.data.pcen import PCEN
from pnbx_snn.errors import PnbxValueError, ShapeError

SOUND = 0.1 * np.random.default_rng(0).standard_normal(WINDOW + 30 * HOP + 7).astype(np.float32)


def test_the_equation():
    """The slow oracle: frame by frame, band by band."""
    frames = PCEN(6, smoothing=0.2, alpha=0.7, delta=1.5, power=0.4, floor=1e-3)(SOUND)
    assert frames.shape == (31, 6)
    filters, level = mel_filters(6), None
    for t, got in enumerate(frames):
        window = torch.from_numpy(SOUND[t * HOP : t * HOP + WINDOW])[None]
        power = mel_power(window, filters)[0].double().numpy()
        torch.testing.assert_close(torch.log(1e-6 + mel_power(window, filters)), log_mel(window, filters))
        level = power if level is None else 0.8 * level + 0.2 * power
        for band in range(6):
            expected = (power[band] / (1e-3 + level[band]) ** 0.7 + 1.5) ** 0.4 - 1.5**0.4
            assert got[band] == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_pieces_of_any_size_give_the_whole():
    whole = PCEN(8)(SOUND)
    for size in (1_000, 80, 33):
        front = PCEN(8)
        pieces = [front(SOUND[start : start + size]) for start in range(0, len(SOUND), size)]
        assert np.array_equal(np.concatenate(pieces), whole)
    changed = SOUND.copy()
    changed[WINDOW + 10 * HOP :] = 0
    assert np.array_equal(PCEN(8)(changed)[:11], whole[:11])  # the future cannot change the past


def test_a_steady_background_is_one_number_at_any_level():
    loud = PCEN(8)(np.tile(SOUND, 5))[-60:]
    quiet = PCEN(8)(0.05 * np.tile(SOUND, 5))[-60:]
    assert abs(loud.mean() / quiet.mean() - 1) < 0.15  # 400 ** 0.02 is 1.13


def test_what_is_refused():
    for keys, message in (
        ({"smoothing": 0.0}, r"smoothing must be in \(0, 1\], got 0.0"),
        ({"alpha": 1.1}, r"alpha must be in \[0, 1\], got 1.1"),
        ({"delta": 0.0}, "delta must be > 0"),
        ({"power": 2.0}, r"power must be in \(0, 1\]"),
        ({"floor": -1.0}, "floor must be > 0"),
    ):
        with pytest.raises(PnbxValueError, match=message):
            PCEN(4, **keys)
    with pytest.raises(ShapeError, match=r"sound must be \[samples\], got \[2, 3\]"):
        PCEN(4)(np.zeros((2, 3)))
