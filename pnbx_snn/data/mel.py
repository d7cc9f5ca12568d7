"""Log power of sound in mel bands, 100 frames a second."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pnbx_snn.errors import PnbxValueError

SAMPLE_RATE_HZ = 8_000
WINDOW = 200
HOP = 80
FFT = 256
"""25 ms windows every 10 ms, padded with zeros to 256 samples: 129 frequencies, 31.25 Hz apart."""
LOWEST_HZ, HIGHEST_HZ = 60.0, 3_800.0
POWER_FLOOR = 1e-6
"""Added to a band's power; full scale is an amplitude of 1."""


def mel_filters(num_bands: int) -> Float[Tensor, "K F"]:
    r"""Return the triangular weights ``[129, F]`` of mel bands between 60 and 3,800 Hz.

    Band ``i`` rises from 0 at :math:`f_i` to 1 at :math:`f_{i+1}` and falls to 0 at :math:`f_{i+2}`; the
    :math:`f_0 \dots f_{F+1}` are equally far apart in

    .. math::

        m(f) = 2595 \log_{10}(1 + f / 700)

    Raises
    ------
    PnbxValueError
        If ``num_bands`` is below 1, or so large that a band holds none of the 129 frequencies of the spectrum.

    References
    ----------
    Davis and Mermelstein 1980, "Comparison of parametric representations for monosyllabic word recognition"; the mel
    scale of O'Shaughnessy 1987 and the filters of HTK (peak 1).

    Examples
    --------
    >>> mel_filters(40).shape
    torch.Size([129, 40])
    """
    frequencies = torch.arange(FFT // 2 + 1, dtype=torch.float64) * (SAMPLE_RATE_HZ / FFT)  # [K]
    low, high = (2595.0 * math.log10(1.0 + hz / 700.0) for hz in (LOWEST_HZ, HIGHEST_HZ))
    if 1 <= num_bands <= len(frequencies):
        edges = 700.0 * (10.0 ** (torch.linspace(low, high, num_bands + 2, dtype=torch.float64) / 2595.0) - 1.0)
        rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
        filters = torch.minimum(rising, falling).clamp_(min=0.0).float()  # [K, F]
        if (filters.sum(dim=0) > 0).all():
            return filters
    raise PnbxValueError(
        f"num_bands must be at least 1, and each band must hold one of the {len(frequencies)} frequencies of the "
        f"spectrum, got {num_bands}"
    )


def log_mel(frames: Float[Tensor, "M 200"], filters: Float[Tensor, "129 F"]) -> Float[Tensor, "M F"]:
    r"""Return the log power ``[M, F]`` of windows of sound ``[M, 200]`` (25 ms at 8 kHz, full scale 1) in mel bands.

    .. math::

        y_i = \log\Bigl(10^{-6} + \sum_k W_{ki} \Bigl|\sum_n h_n x_n e^{-2\pi\mathrm{i} k n / 256}\Bigr|^2\Bigr),
        \qquad h_n = \sin^2(\pi n / 200)

    with the ``W`` of :func:`mel_filters`.

    References
    ----------
    Davis and Mermelstein 1980, without the cosine transform; ``torch.fft.rfft``.

    Examples
    --------
    >>> log_mel(torch.zeros(1, 200), mel_filters(2))
    tensor([[-13.8155, -13.8155]])
    """
    return torch.log(POWER_FLOOR + mel_power(frames, filters))


def mel_power(frames: Float[Tensor, "M 200"], filters: Float[Tensor, "129 F"]) -> Float[Tensor, "M F"]:
    r"""Return the power ``[M, F]`` of windows of sound in mel bands: what :func:`log_mel` takes the logarithm of.

    Examples
    --------
    >>> mel_power(torch.zeros(1, 200), mel_filters(2))
    tensor([[0., 0.]])
    """
    window = torch.hann_window(WINDOW, periodic=True)
    power = torch.fft.rfft(frames * window, n=FFT).abs().square()  # [M, K]
    bands: Tensor = power @ filters
    return bands
