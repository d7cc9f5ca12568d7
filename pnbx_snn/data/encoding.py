"""Encoders: how a vector of values in [0, 1] becomes an input over time.

``direct`` repeats the values as a constant current; ``rate`` and ``latency`` make spikes; ``delta`` turns a sequence
into spikes where it changes. Latency and delta are snnTorch's, behind checks that say what is wrong.
"""

from typing import Literal

import torch
from jaxtyping import Float
from snntorch import spikegen
from torch import Tensor

from pnbx_snn.checks import check_finite, check_sizes
from pnbx_snn.errors import PnbxValueError, ShapeError

Encoder = Literal["direct", "rate", "latency"]


def _check_values(where: str, x: Tensor, num_steps: int, *, unit: bool = True) -> None:
    check_sizes(where, num_steps=num_steps)
    if x.ndim != 2 or x.numel() == 0:
        raise ShapeError(f"{where}: x must be [B, N] with at least one sample and one value, got {list(x.shape)}")
    check_finite(where, "x", x)
    low, high = x.min().item(), x.max().item()
    if unit and (low < 0.0 or high > 1.0):
        raise PnbxValueError(f"{where}: x must be in [0, 1], got values from {low:g} to {high:g}")


def encode(
    where: str, encoder: Encoder, x: Float[Tensor, "B N"], num_steps: int, generator: torch.Generator | None
) -> Float[Tensor, "T B N"]:
    """Encode with the encoder of a name.

    Raises
    ------
    PnbxValueError
        If ``"rate"`` gets no generator, or the encoder refuses the values.
    """
    if encoder == "direct":
        return direct(x, num_steps)
    if encoder == "latency":
        return latency(x, num_steps)
    if generator is None:
        raise PnbxValueError(f"{where}.encode: encoder='rate' draws spikes and needs a generator, got None")
    return rate(x, num_steps, generator=generator)


def direct(x: Float[Tensor, "B N"], num_steps: int) -> Float[Tensor, "T B N"]:
    """Repeat the values ``[B, N]`` at each step, ``[T, B, N]``: a constant input current :math:`I_t = x`.

    The result is a read-only view (stride 0 over time, no copy): a layer notices and computes its product once. Any
    finite values are taken; the first layer quantises them to int8. Integer counterpart: the same int8 codes at each
    step.

    Raises
    ------
    PnbxValueError, ShapeError
        If ``num_steps`` is below 1, ``x`` is not ``[B, N]``, is empty or not finite.

    References
    ----------
    Rathi and Roy 2020, "DIET-SNN", arXiv:2008.03658 (direct input encoding).

    Examples
    --------
    >>> direct(torch.tensor([[0.0, 0.5]]), 3).shape
    torch.Size([3, 1, 2])
    """
    _check_values("encoding.direct", x, num_steps, unit=False)
    return x.expand(num_steps, *x.shape)


def rate(x: Float[Tensor, "B N"], num_steps: int, *, generator: torch.Generator) -> Float[Tensor, "T B N"]:
    """Draw spikes ``[T, B, N]`` whose probability at each step is the value, :math:`P(z_t = 1) = x` in [0, 1].

    The generator is on the device of ``x``; ``snntorch.spikegen.rate`` draws from torch's global one, which a run with
    a seed of its own cannot use. Integer counterpart: the spikes, drawn on the host.

    Raises
    ------
    PnbxValueError, ShapeError
        If ``num_steps`` is below 1, ``x`` is not ``[B, N]``, is empty, not finite or leaves [0, 1].

    References
    ----------
    Independent Bernoulli draws, as in ``snntorch.spikegen.rate`` with ``gain=1`` and ``offset=0``.

    Examples
    --------
    >>> rate(torch.tensor([[0.0, 1.0]]), 2, generator=torch.Generator().manual_seed(0)).tolist()
    [[[0.0, 1.0]], [[0.0, 1.0]]]
    """
    _check_values("encoding.rate", x, num_steps)
    return torch.bernoulli(x.expand(num_steps, *x.shape), generator=generator)


def latency(x: Float[Tensor, "B N"], num_steps: int, *, threshold: float = 0.01) -> Float[Tensor, "T B N"]:
    r"""Spike once, the earlier the larger the value in [0, 1]; values under the threshold, in (0, 1), stay silent.

    .. math::

        z_t = [t = \operatorname{round}((T - 1)(1 - x))] \, [x \ge \vartheta]

    Half a step rounds to the even step. It is ``snntorch.spikegen.latency`` with ``linear=True, normalize=True,
    clip=True``. snnTorch's logarithmic code is not offered: normalised, it divides by the latest spike of the batch, so
    a sample's spikes depend on the others. ``[B, N]`` becomes ``[T, B, N]``. Integer counterpart: the spikes, made on
    the host.

    Raises
    ------
    PnbxValueError, ShapeError
        If an argument is out of range, or ``x`` is not ``[B, N]``, is empty, not finite or leaves [0, 1].

    References
    ----------
    Eshraghian et al. 2023, "Training Spiking Neural Networks Using Lessons From Deep Learning", arXiv:2109.12894,
    section on latency coding.

    Examples
    --------
    >>> latency(torch.tensor([[1.0, 0.5, 0.02, 0.0]]), 3)[:, 0]
    tensor([[1., 0., 0., 0.],
            [0., 1., 0., 0.],
            [0., 0., 1., 0.]])
    """
    _check_values("encoding.latency", x, num_steps)
    if not 0 < threshold < 1:
        raise PnbxValueError(f"encoding.latency: threshold must be in (0, 1), got {threshold}")
    spikes: Tensor = spikegen.latency(x, num_steps, threshold=threshold, linear=True, normalize=True, clip=True)
    return spikes.to(x.dtype)  # [T, B, N]


def delta(x: Float[Tensor, "T B N"], *, threshold: float = 0.1) -> Float[Tensor, "T B N"]:
    r"""Spike where a sequence ``[T, B, N]`` rises by the threshold or more from one step to the next.

    .. math::

        z_t = [x_t - x_{t-1} \ge \vartheta], \qquad x_{-1} = x_0

    It is ``snntorch.spikegen.delta`` with ``padding=True``: the first step is silent. For falls as well, encode both:
    ``torch.cat([delta(x), delta(-x)], dim=-1)``. Integer counterpart: the spikes, made on the host.

    Raises
    ------
    PnbxValueError, ShapeError
        If the threshold is not positive, or ``x`` is not ``[T, B, N]``, is empty or not finite.

    References
    ----------
    ``snntorch.spikegen.delta``; the principle is that of an event camera.

    Examples
    --------
    >>> delta(torch.tensor([0.0, 0.5, 0.55, 0.7]).reshape(4, 1, 1)).flatten()
    tensor([0., 1., 0., 1.])
    """
    if not threshold > 0:
        raise PnbxValueError(f"encoding.delta: threshold must be positive, got {threshold}")
    if x.ndim != 3 or x.numel() == 0:
        raise ShapeError(f"encoding.delta: x must be [T, B, N] and not empty, got {list(x.shape)}")
    check_finite("encoding.delta", "x", x)
    spikes: Tensor = spikegen.delta(x, threshold=threshold, padding=True)
    return spikes  # [T, B, N]
