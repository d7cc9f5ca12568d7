"""Recordings as other speakers could have made them: longer or shorter vocal tracts, faster or slower, other tones."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from pnbx_snn.errors import PnbxValueError, ShapeError

LARGEST_TRACT = 0.125
"""Natural logarithm of the largest factor of a vocal tract: 0.88 to 1.13, about as much as men differ by."""
LARGEST_PACE = 0.35
"""That of the pace: 0.70 to 1.42."""
TONE = 0.1
"""Standard deviation of each of the cosines that a tone is made of, in units of the features."""
NUM_COSINES = 3


def change_voices(
    features: Float[Tensor, "B T F"], *, generator: torch.Generator, strength: float = 1.0
) -> Float[Tensor, "B T F"]:
    r"""Change the vocal tract, the pace and the tone of each recording at random.

    .. math::

        y_{t, f} = x\Big(c_t + e^{a_1}(t - c_t),\; e^{a_2} f\Big)
        + \sum_{k=1}^{3} g_k \cos\!\Big(\pi k \tfrac{f + 1/2}{F}\Big)

    with :math:`c_t` the middle of the frames, :math:`a_1` and :math:`a_2` uniform in ±0.35 and ±0.125 times
    ``strength`` and :math:`g_k` normal with a standard deviation of 0.1 times ``strength``. Values between frames and
    bands are interpolated; outside stands the nearest one. Bands lie on the mel scale, so a factor for their number is
    a warp of the frequency that is nearly linear at the low end.

    Parameters
    ----------
    features
        ``[B, T, F]``, as :func:`pnbx_snn.data.fsdd.load_fsdd` returns them; the result is a new tensor like it.
    generator
        A CPU generator, wherever the features are.
    strength
        In [0, 1]; 0 returns the features as they are, and draws nothing.

    Raises
    ------
    PnbxValueError
        If ``strength`` is out of its range.
    ShapeError
        If the features are not ``[B, T, F]``.

    References
    ----------
    Jaitly and Hinton 2013, "Vocal Tract Length Perturbation (VTLP) improves speech recognition", ICML workshop; Ko et
    al. 2015, "Audio augmentation for speech recognition", Interspeech (the pace).

    Examples
    --------
    >>> x = torch.rand(2, 16, 8)
    >>> change_voices(x, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 16, 8])
    """
    if features.ndim != 3:
        raise ShapeError(f"change_voices: features must be [B, T, F], got {list(features.shape)}")
    if not 0.0 <= strength <= 1.0:
        raise PnbxValueError(f"change_voices: strength must be in [0, 1], got {strength}")
    if strength == 0.0 or features.numel() == 0:
        return features
    batch, num_frames, num_bands = features.shape
    drawn = 2.0 * torch.rand(batch, 2, generator=generator) - 1.0
    pace, tract = (strength * drawn * torch.tensor([LARGEST_PACE, LARGEST_TRACT])).exp().unbind(1)  # [B] each
    gains = strength * TONE * torch.randn(batch, NUM_COSINES, generator=generator)

    # Coordinates of grid_sample: -1 is the outer edge of the first frame or band, 1 that of the last.
    frame = pace[:, None] * (2.0 * (torch.arange(num_frames) + 0.5) / num_frames - 1.0)  # [B, T]
    band = 2.0 * (tract[:, None] * torch.arange(num_bands) + 0.5) / num_bands - 1.0  # [B, F]
    shape = (batch, num_frames, num_bands)
    grid = torch.stack([band.unsqueeze(1).expand(shape), frame.unsqueeze(2).expand(shape)], dim=3).to(features)
    warped = grid_sample(features.unsqueeze(1), grid, padding_mode="border", align_corners=False).squeeze(1)
    places = math.pi * (torch.arange(num_bands) + 0.5) / num_bands
    tones = gains @ torch.cos(torch.arange(1, NUM_COSINES + 1)[:, None] * places)  # [B, F]
    return warped + tones.to(warped).unsqueeze(1)
