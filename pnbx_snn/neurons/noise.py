"""Ornstein-Uhlenbeck noise: Gaussian noise with a correlation time, exact at any step."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.checks import check_shape
from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError


class OUState(NamedTuple):
    """What the noise carries to the next step: its last value ``xi``, ``[B, N]``, float32 or wider."""

    xi: Tensor


class OUNoise(nn.Module):
    r"""Ornstein-Uhlenbeck noise, one independent process per sample and neuron.

    .. math::

        \xi[t] = \rho\,\xi[t-1] + \sigma\sqrt{1-\rho^2}\,\varepsilon[t], \qquad
        \varepsilon \sim \mathcal N(0, 1), \qquad \rho = e^{-1/\tau}

    This is the exact solution of :math:`d\xi = -\xi/\tau\,dt + \sigma\sqrt{2/\tau}\,dW` at whole steps, not an Euler
    step: for every :math:`\rho` the stationary distribution is :math:`\mathcal N(0, \sigma^2)` and the correlation
    over :math:`k` steps :math:`\rho^k`. So :math:`\sigma` is the amplitude and :math:`\rho` only the colour.

    Parameters
    ----------
    sigma : float
        Stationary standard deviation, >= 0, in the units of what the noise is added to.
    tau_steps : float, optional
        Correlation time in steps, > 0; infinity is ``rho=1``.
    rho : float, optional
        Correlation from one step to the next, in [0, 1]. 0 is white noise, 1 a random offset that never changes.
        Exactly one of ``tau_steps`` and ``rho`` is given.

    Raises
    ------
    PnbxValueError
        A number is out of range, ``tau_steps`` and ``rho`` are both given or both missing, or the generator lives on
        another device than the input.
    PnbxTypeError, ShapeError
        The input is not floating point, no generator is given; a wrong number of axes, an empty one, another state.

    Notes
    -----
    A state of ``None`` draws :math:`\xi[-1]` from the stationary distribution first, so there is no transient; for a
    start at zero pass ``OUState(torch.zeros(B, N))``.

    No parameters, no buffers, no gradient, no mode: it draws whenever it is called, also after ``eval()``. Noise is
    for training, so call it there only; a program has none. All numbers come from the generator, one draw of
    ``[B, N]`` per step, so a sequence in pieces equals the whole sequence bit for bit. The state is float32 or wider
    (in bfloat16 a ``rho`` of 0.999 would round to 1).

    References
    ----------
    Uhlenbeck & Ornstein 1930, Phys. Rev. 36, 823; Gillespie 1996, Phys. Rev. E 54, 2084: the exact update.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> noise = OUNoise(sigma=0.1, tau_steps=20.0)
    >>> current = torch.zeros(5, 2, 3)  # [T, B, N]
    >>> xi, state = noise(current, generator=generator)
    >>> xi.shape, bool((state.xi == xi[-1]).all())
    (torch.Size([5, 2, 3]), True)
    >>> xi, state = noise(current, state, generator=generator)  # goes on where it stopped
    """

    def __init__(self, *, sigma: float, tau_steps: float | None = None, rho: float | None = None) -> None:
        super().__init__()
        if not (sigma >= 0 and math.isfinite(sigma)):
            raise PnbxValueError(f"noise: sigma must be >= 0 and finite, got {sigma}")
        if (tau_steps is None) == (rho is None):
            raise PnbxValueError(
                f"noise: give exactly one of tau_steps and rho, got tau_steps={tau_steps} and rho={rho}"
            )
        if tau_steps is not None:
            if not tau_steps > 0:
                raise PnbxValueError(f"noise: tau_steps must be > 0 steps, got {tau_steps}")
            rho = math.exp(-1 / tau_steps)
        if rho is None or not 0 <= rho <= 1:
            raise PnbxValueError(f"noise: rho must be in [0, 1], got {rho}")
        self.sigma = float(sigma)
        self.rho = float(rho)

    def step(
        self, like: Float[Tensor, "B N"], state: OUState | None = None, *, generator: torch.Generator
    ) -> tuple[Float[Tensor, "B N"], OUState]:
        """One step: ``like`` and noise ``[B, N]``; otherwise as :meth:`forward`."""
        _check(like, "[B, N]", generator)
        state = self._advance(like, self._initial(like, state, generator), generator)
        return state.xi.to(like.dtype, copy=True), state  # a copy: the caller may add in place

    def forward(
        self, like: Float[Tensor, "T B N"], state: OUState | None = None, *, generator: torch.Generator
    ) -> tuple[Float[Tensor, "T B N"], OUState]:
        """All steps of a sequence: :meth:`step` in a loop; ``None`` draws a state of the stationary distribution.

        ``like`` ``[T, B, N]`` gives shape, dtype and device of the noise, its values are not read; every random
        number comes from ``generator``, on the same device. The noise has no gradient.
        """
        _check(like, "[T, B, N]", generator)
        state = self._initial(like[0], state, generator)
        noise = torch.empty_like(like, requires_grad=False)
        for t in range(len(like)):
            state = self._advance(like[t], state, generator)
            noise[t] = state.xi
        return noise, state

    def extra_repr(self) -> str:
        """Show the options in ``print(noise)``."""
        return f"sigma={self.sigma:.4g}, rho={self.rho:.6g}"

    @torch.no_grad()
    def _advance(self, like: Tensor, state: OUState, generator: torch.Generator) -> OUState:
        # (1 - rho)(1 + rho) keeps its digits where 1 - rho**2 loses them, near rho = 1.
        kick = self.sigma * math.sqrt((1 - self.rho) * (1 + self.rho))
        return OUState(self.rho * state.xi + kick * _normal(like, generator))

    def _initial(self, first: Tensor, state: OUState | None, generator: torch.Generator) -> OUState:
        if state is None:
            return OUState(self.sigma * _normal(first, generator))
        check_shape("noise", "state.xi", "[B, N]", state.xi, first.shape)
        return state


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    dtype = torch.promote_types(like.dtype, torch.float32)
    return torch.randn(like.shape, generator=generator, dtype=dtype, device=like.device)  # [B, N]


def _check(like: Tensor, axes: str, generator: torch.Generator) -> None:
    if like.ndim != axes.count(",") + 1 or like.numel() == 0:
        raise ShapeError(f"noise: like must be {axes} without an empty axis, got shape {list(like.shape)}")
    if not like.is_floating_point():
        raise PnbxTypeError(f"noise: like must be floating point, got {like.dtype}")
    if not isinstance(generator, torch.Generator):
        raise PnbxTypeError(f"noise: generator must be a torch.Generator, got {type(generator).__name__}")
    if generator.device.type != like.device.type:
        raise PnbxValueError(f"noise: generator must be on {like.device} as like is, got one on {generator.device}")
