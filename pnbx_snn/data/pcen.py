"""``PCEN``: sound in mel bands, each divided by how loud it was lately, frame by frame as it arrives."""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from pnbx_snn.data.mel import FFT, HOP, WINDOW, mel_filters
from pnbx_snn.errors import PnbxValueError, ShapeError

FRAMES_AT_ONCE = 256


class PCEN:
    r"""Per-channel energy normalisation of a sound at 8,000 Hz that need not end: 100 frames a second.

    With :math:`E` the power of :func:`pnbx_snn.data.mel.mel_power` in a band,

    .. math::

        M_t = (1 - s) M_{t-1} + s E_t, \qquad
        y_t = \left(\frac{E_t}{(\epsilon + M_t)^{\alpha}} + \delta\right)^{r} - \delta^{r}

    A steady background becomes nearly the same number at any level, and what begins stands out. Nothing later than the
    frame itself is used, so a microphone can be read this way; log-mel features that are normalised over a whole
    recording cannot.

    Parameters
    ----------
    num_bands
        F, mel bands.
    smoothing, alpha, delta, power
        :math:`s` in (0, 1] (its inverse is a time constant in frames), :math:`\alpha` in [0, 1], :math:`\delta` above 0
        and :math:`r` in (0, 1].
    floor
        :math:`\epsilon`, in the units of the power; full scale is an amplitude of 1.

    Raises
    ------
    PnbxValueError
        An argument out of its range.
    ShapeError
        Sound that is not ``[samples]``.

    Notes
    -----
    A stream of two pieces gives the frames of the whole, to the last bit: all frames come from the same loop. What is
    kept between two calls are ``F`` numbers and less than 200 samples.

    References
    ----------
    Wang, Getreuer, Hughes, Lyon, Saurous 2017, "Trainable frontend for robust and far-field keyword spotting",
    arXiv:1607.05666, equations 1 to 3, with their fixed parameters.

    Examples
    --------
    >>> front = PCEN(8)
    >>> front(np.zeros(240, np.float32)).shape, front(np.zeros(40, np.float32)).shape, front(np.zeros(40)).shape
    ((1, 8), (1, 8), (0, 8))
    """

    def __init__(
        self,
        num_bands: int = 40,
        *,
        smoothing: float = 0.025,
        alpha: float = 0.98,
        delta: float = 2.0,
        power: float = 0.5,
        floor: float = 1e-6,
    ) -> None:
        for name, value, fits in (
            ("smoothing must be in (0, 1]", smoothing, 0 < smoothing <= 1),
            ("alpha must be in [0, 1]", alpha, 0 <= alpha <= 1),
            ("delta must be > 0", delta, delta > 0),
            ("power must be in (0, 1]", power, 0 < power <= 1),
            ("floor must be > 0", floor, floor > 0),
        ):
            if not fits:
                raise PnbxValueError(f"PCEN: {name}, got {value}")
        self.num_bands = num_bands
        self._bands = np.ascontiguousarray(mel_filters(num_bands).numpy().T)  # [F, K]
        self._window = torch.hann_window(WINDOW, periodic=True).numpy()
        self.smoothing, self.alpha, self.delta, self.power, self.floor = smoothing, alpha, delta, power, floor
        self._level: NDArray[np.float64] | None = None
        self._left = np.zeros(0, np.float32)

    def __call__(self, sound: "NDArray[np.floating] | Float[Tensor, ' n']") -> NDArray[np.float32]:
        """Return the frames ``[T, F]`` that the next samples ``[n]`` complete, the first after 200 samples."""
        samples = np.asarray(sound, dtype=np.float32)
        if samples.ndim != 1:
            raise ShapeError(f"PCEN: sound must be [samples], got {list(samples.shape)}")
        samples = np.concatenate([self._left, samples])
        count = max(0, (len(samples) - WINDOW) // HOP + 1)
        self._left = samples[count * HOP :].copy()
        if count == 0:
            return np.zeros((0, self.num_bands), np.float32)
        frames = torch.from_numpy(samples[: (count - 1) * HOP + WINDOW]).unfold(0, WINDOW, HOP)
        return np.concatenate([self._normalised(some) for some in torch.split(frames, FRAMES_AT_ONCE)])

    def _normalised(self, frames: Float[Tensor, "T 200"]) -> NDArray[np.float32]:
        spectrum = np.fft.rfft(frames.numpy() * self._window, n=FFT).astype(np.complex64)
        # No matrix product: one of many rows may add in another order than one of one row.
        power = ((np.abs(spectrum) ** 2)[:, None] * self._bands).sum(axis=2, dtype=np.float64)  # [T, F]
        levels = np.empty_like(power)
        level = power[0] if self._level is None else self._level
        for t, now in enumerate(power):
            level = level + self.smoothing * (now - level)
            levels[t] = level
        self._level = level
        shown = (power / (self.floor + levels) ** self.alpha + self.delta) ** self.power - self.delta**self.power
        result: NDArray[np.float32] = shown.astype(np.float32)
        return result
