"""``Delays``: a delay for each channel, whose length is learned; :func:`sharpen` narrows those of a network."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import conv1d

from pnbx_snn.checks import check_input, check_shape, check_sizes, narrow, wide, without_autocast
from pnbx_snn.errors import PnbxValueError

MOST_STEPS = 63
"""Longest delay: 6 bits, as those of an axon on Loihi and of the operation ``Delays`` of a program."""
SHARPEST = 0.25
"""Width at the end of a training, in steps: 99.9 % of a whole length's kernel is then at that length."""


class DelaysState(NamedTuple):
    """What a :class:`Delays` carries to the next step: its last ``max_delay`` inputs, oldest first, ``[D, B, N]``."""

    past: Tensor


class Delays(nn.Module):
    r"""Each channel as it was some steps ago, by a length of its own that is learned.

    In training, a length :math:`d_i` that need not be whole is a Gaussian over the whole lengths
    :math:`k = 0 \dots D`, so that it has a gradient:

    .. math::

        y_{t, i} = \sum_k w_{i, k}\, x_{t-k, i}, \qquad
        w_{i, k} = \frac{e^{-(k - d_i)^2 / 2 \sigma^2}}{\sum_j e^{-(j - d_i)^2 / 2 \sigma^2}}

    In evaluation the lengths are rounded, and ``y[t, i] = x[t - steps[i], i]`` exactly: what is evaluated and saved is
    what is compiled. A wide kernel finds a length from afar, a narrow one is nearly the rounded delay, so
    :attr:`sigma` has to fall during a training: call :func:`sharpen` once an epoch. The trainer of ``pnbx_snn`` does.

    Parameters
    ----------
    num_features : int
        N channels, at least 1.
    max_delay : int
        D, the longest delay in steps, 1..63.
    sigma : float, optional
        Width of the Gaussian at the start in steps, > 0; ``None``: ``max_delay / 4``, and at least 1.
    lengths : Tensor, optional
        Lengths at the start ``[N]``, in steps, 0..``max_delay``; ``None``: uniformly random.

    Attributes
    ----------
    fraction : Parameter
        Lengths as fractions of ``max_delay``, ``[N]``: with Adam, a learning rate of 0.001 moves a length by about
        ``max_delay / 1000`` steps in an update. One that leaves 0..1 is reflected at the end.
    sigma : float
        The present width in steps. No part of the ``state_dict``: a training sets it.

    Raises
    ------
    PnbxValueError
        A size, ``max_delay``, ``sigma`` or a length out of range.
    ShapeError, PnbxTypeError
        Input that is not floating point ``[T, B, N]``, an empty axis, a state or lengths of another shape.

    Notes
    -----
    Shapes: input and output ``[T, B, N]`` (:meth:`step`: ``[B, N]``), state ``[D, B, N]``; before the first step lie
    zeros. The input may be spikes or any other values; a program delays events, so compile a network whose delays
    stand behind spikes or its input.

    Integer counterpart: the operation ``Delays`` of a compiled program, equal to evaluation in every value.

    References
    ----------
    Hammouamri, Khalfaoui-Hassani, Masquelier 2024, "Learning Delays in Spiking Neural Networks using Dilated
    Convolutions with Learnable Spacings", ICLR, arXiv:2306.17670, section 3.2: the Gaussian, its narrowing, the
    rounding. There every synapse has a length; here every channel has one, as on Loihi. The reflection: own.

    Examples
    --------
    >>> delays = Delays(2, max_delay=3, lengths=torch.tensor([0.0, 2.0])).eval()
    >>> y, state = delays(torch.arange(1.0, 4.0)[:, None, None].expand(3, 1, 2))  # [T, B, N]
    >>> y[:, 0].T.tolist()
    [[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]
    >>> y, state = delays.step(torch.zeros(1, 2), state)  # streaming
    >>> y.tolist()
    [[0.0, 2.0]]
    """

    def __init__(
        self, num_features: int, *, max_delay: int = 31, sigma: float | None = None, lengths: Tensor | None = None
    ) -> None:
        super().__init__()
        check_sizes("Delays", num_features=num_features, max_delay=max_delay)
        if max_delay > MOST_STEPS:
            raise PnbxValueError(f"Delays: max_delay must be in 1..{MOST_STEPS}, got {max_delay}")
        sigma = max(1.0, max_delay / 4) if sigma is None else float(sigma)
        if not 0 < sigma < math.inf:
            raise PnbxValueError(f"Delays: sigma must be > 0 steps and finite, got {sigma}")
        self.num_features, self.max_delay = num_features, max_delay
        self.sigma = self.first_sigma = sigma
        if lengths is None:
            fraction = torch.rand(num_features)
        else:
            check_shape("Delays", "lengths", "[N]", lengths, [num_features])
            inside = (lengths >= 0) & (lengths <= max_delay)
            if not bool(inside.all()):
                raise PnbxValueError(f"Delays: lengths must be in 0..{max_delay}, got {lengths[~inside][0].item():g}")
            fraction = lengths.detach().to(torch.get_default_dtype()) / max_delay
        self.fraction = nn.Parameter(fraction)

    @property
    def lengths(self) -> Float[Tensor, " N"]:
        """The learned lengths in steps, 0..``max_delay``, with gradient."""
        turned = self.fraction.remainder(2.0)
        return torch.where(turned <= 1.0, turned, 2.0 - turned) * self.max_delay

    @property
    def steps(self) -> Int64[Tensor, " N"]:
        """The lengths rounded to whole steps, as evaluation and programs have them."""
        return self.lengths.detach().round().long()

    def kernel(self) -> Float[Tensor, "N K"]:
        """Return the weights of the lengths ``0..max_delay`` of each channel, ``[N, max_delay + 1]``; rows sum to 1."""
        lengths = self.lengths[:, None]
        away = (torch.arange(self.max_delay + 1, device=lengths.device, dtype=lengths.dtype) - lengths) / self.sigma
        return torch.softmax(-0.5 * away.square(), dim=1)

    def step(self, x: Float[Tensor, "B N"], state: DelaysState | None = None) -> tuple[Tensor, DelaysState]:
        """One step: ``x`` and output ``[B, N]``; otherwise as :meth:`forward`."""
        check_input("Delays", "x", x, "[B, N]", self.num_features)
        y, state = self(x[None], state)
        return y[0], state

    def forward(
        self, x: Float[Tensor, "T B N"], state: DelaysState | None = None
    ) -> tuple[Float[Tensor, "T B N"], DelaysState]:
        """All steps of a sequence, from ``state`` (``None``: zeros); see the class."""
        check_input("Delays", "x", x, "[T, B, N]", self.num_features)
        num_steps, batch, _ = x.shape
        if state is None:
            past = x.new_zeros(self.max_delay, batch, self.num_features)
        else:
            past = state.past
            check_shape("Delays", "state.past", "[D, B, N]", past, [self.max_delay, batch, self.num_features])
        known = torch.cat([past.to(x.dtype), x])  # [D + T, B, N]
        after = DelaysState(known[num_steps:])
        if not self.training:
            rows = torch.arange(num_steps, device=x.device)[:, None] + self.max_delay - self.steps  # [T, N]
            return known.gather(0, rows[:, None].expand_as(x)), after
        by_channel = wide(known).permute(1, 2, 0)  # [B, N, D + T]
        weights = self.kernel().flip(1)[:, None].to(by_channel.dtype)  # [N, 1, D + 1], the oldest first
        with without_autocast(x):
            y = conv1d(by_channel, weights, groups=self.num_features).permute(2, 0, 1)
        return narrow(y, x), after

    def extra_repr(self) -> str:
        """Say what ``print(delays)`` shows."""
        return f"{self.num_features}, max_delay={self.max_delay}, sigma={self.sigma:.4g}"


def sharpen(network: nn.Module, progress: float) -> None:
    r"""Set the width of all :class:`Delays` in a network: what it was at the start, falling to 0.25 steps.

    .. math::

        \sigma = \sigma_0 \, (0.25 / \sigma_0)^{\min(1,\, 2 p)}

    Parameters
    ----------
    network : nn.Module
        Its layers may lie at any depth; one without delays is left as it is.
    progress : float
        How much of the training is done, ``p`` in 0..1. The widths are narrow after half of it, so that the other half
        trains the weights for delays that are nearly whole.

    Raises
    ------
    PnbxValueError
        ``progress`` outside 0..1.

    Examples
    --------
    >>> net = nn.Sequential(Delays(4, max_delay=16))
    >>> sharpen(net, 0.0), net[0].sigma
    (None, 4.0)
    >>> sharpen(net, 0.25), net[0].sigma
    (None, 1.0)
    """
    if not 0 <= progress <= 1:
        raise PnbxValueError(f"sharpen: progress must be in 0..1, got {progress}")
    for layer in network.modules():
        if isinstance(layer, Delays):
            layer.sigma = layer.first_sigma * min(1.0, SHARPEST / layer.first_sigma) ** min(1.0, 2 * progress)
