"""Glia: PID loops that hold the firing rate of small domains of neurons by moving their thresholds."""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.checks import has_values
from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError

Loop = Literal["encoder", "membrane"]
NUM_NUMBERS = 4
"""Per loop: moving average, integral, previous error, offset."""


class Glia(nn.Module):
    r"""Firing-rate homeostasis: each domain of neighbouring neurons has two PID loops, each moving one threshold.

    With the rate :math:`r` of a domain since the last update and the target :math:`r^*`, one update is

    .. math::

        a &= a^- + (1 - e^{-\Delta t/\tau})\,(r - a^-) && \text{moving average} \\
        \epsilon &= a - r^* && \text{error; positive: too active} \\
        i &= \operatorname{clip}(i^- + \epsilon\,\Delta t,\; o_{min}/k_i,\; o_{max}/k_i) && \text{integral} \\
        o &= \operatorname{clip}(k_p \epsilon + k_i i + k_d (\epsilon - \epsilon^-)/\Delta t,\; o_{min},\; o_{max})
        && \text{offset} \\
        \theta &= \theta_{base}\,e^{o} && \text{threshold}

    The offset is that of the threshold's logarithm: every threshold stays positive, and gains have no units. The
    integral is clamped to what the output can use (anti-windup): a domain that could not reach the target for a long
    time returns as fast as one that could not for a short time.

    Parameters
    ----------
    num_neurons, neurons_per_domain : int
        N, a multiple of ``neurons_per_domain``; neuron ``n`` belongs to domain ``n // neurons_per_domain``.
    target : float
        Wanted firing rate in spikes per neuron and step, in (0, 1).
    kp, ki, kd : float
        Gains, in e-folds of the threshold per unit of rate; ``ki`` > 0 (it alone removes a lasting error), the others
        >= 0.
    tau : float
        Time constant of the moving average, in the unit of ``dt``, > 0.
    offset_range : tuple of two floats
        :math:`o_{min} < 0 < o_{max}`; by default thresholds stay within 1/16 and 16 times their bases.
    adapt : {"training", "always"}
        ``"training"``: :meth:`update` does nothing after ``eval()``. ``"always"``: it goes on, for a network that has
        to live with drift or damage.

    Attributes
    ----------
    state : Tensor, ``[domains, 8]``
        A buffer, saved in the ``state_dict``: for the encoder loop and then the membrane loop moving average,
        integral, previous error, offset. It starts at the target and zeros, where thresholds are their bases.

    Raises
    ------
    PnbxValueError
        A number out of range or not one of those named, ``num_neurons`` that is no multiple of ``neurons_per_domain``,
        a rate that is not in [0, 1] (NaN included), a base threshold that is not > 0.
    PnbxTypeError, ShapeError
        Spikes or a base threshold that are not floating point, or for another number of domains or neurons.

    Notes
    -----
    For 2,048 neurons: 128 domains x 8 numbers = 1,024. They are no Parameters: no gradient reaches them. The gradient
    of a base threshold passes :meth:`thresholds`.

    The defaults suit one update per chunk. Near the target, where a rate falls by :math:`g` per e-fold of the
    threshold (0.1 to 0.3 in the noise-driven LIF populations of the tests), they shrink an error to 0.8 to 0.7 per
    update, and stay stable up to a ``g`` of 1.8; steeper populations need a smaller ``ki`` or a longer ``tau``.

    Integer counterpart: a compiled program holds the frozen thresholds, or the controllers themselves
    (``HomeostaticLIF``, one update per chunk of each sample).

    References
    ----------
    Åström & Murray 2008, Feedback Systems, chapter 10: PID control, anti-windup. Stellwagen & Malenka 2006,
    Nature 440, 1054: glia scale synapses to activity. The combination is our own.

    Examples
    --------
    >>> glia = Glia(32, target=0.2)
    >>> glia.state.shape
    torch.Size([2, 8])
    >>> encoder, membrane = torch.tensor([0.2, 0.2]), torch.tensor([0.2, 0.5])  # the second domain is too active
    >>> glia.update(encoder, membrane)
    >>> theta = glia.thresholds(1.0, "membrane")  # [N]
    >>> theta.shape, bool((theta[:16] == 1).all()), bool((theta[16:] > 1.2).all())
    (torch.Size([32]), True, True)
    """

    state: Tensor

    def __init__(
        self,
        num_neurons: int,
        *,
        neurons_per_domain: int = 16,
        target: float = 0.188,
        kp: float = 1.0,
        ki: float = 1.5,
        kd: float = 0.2,
        tau: float = 2.0,
        offset_range: tuple[float, float] = (-math.log(16), math.log(16)),
        adapt: Literal["training", "always"] = "training",
    ) -> None:
        super().__init__()
        if num_neurons < 1 or neurons_per_domain < 1 or num_neurons % neurons_per_domain:
            raise PnbxValueError(
                "glia: num_neurons must be a multiple of neurons_per_domain, both at least 1, "
                f"got num_neurons={num_neurons} and neurons_per_domain={neurons_per_domain}"
            )
        if not 0 < target < 1:
            raise PnbxValueError(f"glia: target must be in (0, 1) spikes per neuron and step, got {target}")
        if not (0 <= kp < math.inf and 0 < ki < math.inf and 0 <= kd < math.inf):
            raise PnbxValueError(f"glia: kp and kd must be >= 0 and ki > 0, all finite, got {kp}, {kd} and {ki}")
        if not tau > 0:
            raise PnbxValueError(f"glia: tau must be > 0, got {tau}")
        if not -math.inf < offset_range[0] < 0 < offset_range[1] < math.inf:
            raise PnbxValueError(f"glia: offset_range must be (low, high) with low < 0 < high, got {offset_range}")
        if adapt not in ("training", "always"):
            raise PnbxValueError(f"glia: adapt must be 'training' or 'always', got {adapt!r}")
        self.num_neurons, self.neurons_per_domain = num_neurons, neurons_per_domain
        self.num_domains = num_neurons // neurons_per_domain
        self.target, self.tau = float(target), float(tau)
        self.kp, self.ki, self.kd = float(kp), float(ki), float(kd)
        self.offset_range, self.adapt = offset_range, adapt
        start = torch.zeros(self.num_domains, len(get_args(Loop)), NUM_NUMBERS)
        start[:, :, 0] = self.target
        self.register_buffer("state", start.flatten(1))  # [domains, 8]

    @torch.no_grad()
    def update(
        self, rate_encoder: Float[Tensor, " domains"], rate_membrane: Float[Tensor, " domains"], dt: float = 1.0
    ) -> None:
        """Move the thresholds by what was fired since the last update; call it once per chunk or batch.

        The rates ``[domains]`` are spikes per neuron and step in [0, 1], see :meth:`rates`; ``dt`` > 0 is the time
        since the last update, 1 for one usual chunk.
        """
        if not (dt > 0 and math.isfinite(dt)):
            raise PnbxValueError(f"glia: dt must be > 0 and finite, got {dt}")
        for name, rate in (("rate_encoder", rate_encoder), ("rate_membrane", rate_membrane)):
            if rate.shape != (self.num_domains,):
                raise ShapeError(f"glia: {name} must be [{self.num_domains}] (domains), got shape {list(rate.shape)}")
            good = (rate >= 0) & (rate <= 1)
            if not bool(good.all()):
                raise PnbxValueError(f"glia: {name} must be in [0, 1], got {rate[~good][0].item():.6g}")
        if self.adapt == "training" and not self.training:
            return
        rate = torch.stack([rate_encoder, rate_membrane], dim=1).to(self.state)  # [domains, 2]
        average, integral, previous, _ = self.state.reshape(self.num_domains, -1, NUM_NUMBERS).unbind(2)
        low, high = self.offset_range
        average = average - math.expm1(-dt / self.tau) * (rate - average)
        error = average - self.target
        integral = (integral + error * dt).clamp(low / self.ki, high / self.ki)
        wanted = self.kp * error + self.ki * integral + self.kd * (error - previous) / dt
        self.state.copy_(torch.stack([average, integral, error, wanted.clamp(low, high)], dim=2).flatten(1))

    def thresholds(self, base: float | Float[Tensor, ""] | Float[Tensor, " N"], loop: Loop) -> Float[Tensor, " N"]:
        """Return the threshold of every neuron, ``base * exp(offset)``, all > 0; later updates do not change it.

        ``base`` is the threshold without glia, > 0, and ``loop`` says whose offset is taken.
        """
        if loop not in get_args(Loop):
            raise PnbxValueError(f"glia: loop must be 'encoder' or 'membrane', got {loop!r}")
        base = torch.as_tensor(base, dtype=None if isinstance(base, Tensor) else self.state.dtype)
        if not base.is_floating_point():
            raise PnbxTypeError(f"glia: base must be floating point, got {base.dtype}")
        if base.ndim and base.shape != (self.num_neurons,):
            raise ShapeError(f"glia: base must be a scalar or [{self.num_neurons}], got shape {list(base.shape)}")
        good = base > 0
        if has_values(good) and not bool(good.all()):
            raise PnbxValueError(f"glia: base threshold must be > 0, got {base[~good].flatten()[0].item():.6g}")
        offset = self.state[:, get_args(Loop).index(loop) * NUM_NUMBERS + NUM_NUMBERS - 1]  # [domains]
        return base * offset.exp().repeat_interleave(self.neurons_per_domain)  # [N]

    @torch.no_grad()
    def rates(self, spikes: Float[Tensor, "*batch N"]) -> Float[Tensor, " domains"]:
        """Return the firing rate of each domain: the mean of ``spikes`` ``[..., N]`` over all else, ``[domains]``."""
        if spikes.ndim == 0 or spikes.shape[-1] != self.num_neurons or spikes.numel() == 0:
            raise ShapeError(
                f"glia: spikes must be [..., {self.num_neurons}] and not empty, got shape {list(spikes.shape)}"
            )
        if not spikes.is_floating_point():
            raise PnbxTypeError(f"glia: spikes must be floating point, got {spikes.dtype}; convert with .float()")
        rows = spikes.reshape(-1, self.num_neurons)
        counts = rows.sum(dim=0, dtype=self.state.dtype)  # [N], whole numbers: exact in any order
        return counts.reshape(self.num_domains, -1).sum(dim=1) / (len(rows) * self.neurons_per_domain)

    def extra_repr(self) -> str:
        """Show the options in ``print(glia)``."""
        return (
            f"{self.num_neurons}, domains={self.num_domains}, target={self.target:.4g}, "
            f"kp={self.kp:.4g}, ki={self.ki:.4g}, kd={self.kd:.4g}, tau={self.tau:.4g}, adapt={self.adapt!r}"
        )
