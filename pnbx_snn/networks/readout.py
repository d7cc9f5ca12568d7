"""What PNB-X answers: ternary logits of the last block's spikes, and how they come together over time."""

import math
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from pnbx_snn.checks import check_option
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.kernels.scan import diagonal_scan
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.networks.masks import running_mean
from pnbx_snn.quantization import WeightScale, round_decay

ReadoutKind = Literal["mean", "leaky", "last", "step"]
InsideUnit = Annotated[float, Interval(gt=0, lt=1)]


class Readout(BitLinear):
    r"""Ternary logits of spikes over time.

    .. math::

        \text{mean: } \gamma_o \tilde W_o \tfrac{1}{T} \textstyle\sum_t z_t, \qquad
        \text{leaky: } o_t = \lambda \odot o_{t-1} + \gamma_o \tilde W_o z_t, \qquad
        \text{last and step: } \gamma_o \tilde W_o z_t

    Parameters
    ----------
    in_features, out_features, scale
        Neurons H, classes C, and the scale of the ternary weights, as of :class:`pnbx_snn.layers.bitlinear.BitLinear`.
    kind
        ``"mean"``, ``"leaky"``, ``"last"`` (of the last step alone) or ``"step"`` (of every step).
    beta
        Initial decay per step of ``"leaky"``, in (0, 1); each class learns its own.
    dropout
        Share of the neurons that are left out in training, in [0, 1).
    quantize
        ``True``: decays have the 12 fractional bits that they have in a program.

    Notes
    -----
    Shapes: spikes ``[T, B, H]``, logits ``[B, C]``, or ``[T, B, C]`` of ``"step"``.

    Raises
    ------
    PnbxValueError
        An unknown kind, a decay or a share that is not allowed.

    Examples
    --------
    >>> readout = Readout(4, 2, kind="last")
    >>> logits, total = readout.over_time(torch.ones(5, 3, 4), None, 5)
    >>> logits.shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kind: ReadoutKind = "mean",
        beta: InsideUnit = 0.9,
        dropout: float = 0.0,
        scale: WeightScale = "absmean",
        quantize: bool = False,
    ) -> None:
        check_option("PNBX", "readout", kind, ReadoutKind)
        if not 0 <= dropout < 1:
            raise PnbxValueError(f"PNBX: dropout must be in [0, 1), got {dropout}")
        super().__init__(in_features, out_features, scale=scale)
        self.kind: ReadoutKind = kind
        self.quantize = quantize
        self.dropout = nn.Dropout(dropout)
        if kind == "leaky":
            if not 0 < beta < 1:
                raise PnbxValueError(f"PNBX: beta_readout must be in (0, 1), got {beta}")
            self.leak = nn.Parameter(torch.full((out_features,), math.log(beta / (1 - beta))))

    @property
    def adds_logits(self) -> bool:
        """The logits of steps are added up with a decay, as of ``"leaky"`` and, with a decay of 0, ``"last"``."""
        return self.kind in ("leaky", "last")

    @property
    def decay(self) -> Float[Tensor, " C"]:
        """Decay per step of each class's logit: of ``"leaky"``, the logistic function of ``leak``."""
        if self.kind != "leaky":
            return self.weight.new_full((self.out_features,), float(self.kind == "mean"))
        decay = torch.sigmoid(self.leak)
        return round_decay(decay) if self.quantize else decay

    def over_time(
        self,
        z: Float[Tensor, "T B H"],
        before: Tensor | None,
        num_steps: int | Tensor,
        lengths: Int64[Tensor, " B"] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of spikes, and what is carried to the next steps.

        Parameters
        ----------
        z
            Spikes; those after a sample's own steps are 0.
        before
            What was carried from the steps before; ``None`` at the beginning.
        num_steps
            Steps since the beginning, these included; with ``lengths`` ``[B, 1]``.
        lengths
            Steps that belong to each sample; ``None``: all.

        Returns
        -------
        tuple of Tensor
            Logits; carried are the logits ``[B, C]`` where they are added up, else the sum of the spikes ``[B, H]`` in
            float64, which is exact.
        """
        if self.adds_logits:
            logits = self.integrated(z, before, lengths)
            return logits, logits
        total = z.sum(dim=0)  # exact: whole numbers, as many as there are steps
        if before is not None:
            total = before + total
        if self.kind == "step":
            return self(self.dropout(z)), total.double()
        return self(self.dropout((total / num_steps).to(z.dtype))), total.double()

    def integrated(self, z: Tensor, before: Tensor | None, lengths: Tensor | None) -> Float[Tensor, "B C"]:
        """Return the logits that leaky integrators make of spikes, after each sample's own last step."""
        if self.training and self.dropout.p > 0:
            z = z * self.dropout(torch.ones_like(z[0]))  # the same neurons in all steps
        sums = self._sums(self(z), before)
        if lengths is None:
            return sums[-1]
        return sums[lengths - 1, torch.arange(len(lengths), device=z.device)]

    def after_each_step(self, z: Float[Tensor, "T B H"]) -> Float[Tensor, "T B C"]:
        """Return the logits after each step: of the mean so far with ``"mean"`` and ``"step"``, else those carried."""
        return self._sums(self(z)) if self.adds_logits else running_mean(self(z))

    @torch.no_grad()
    def calibrate(self, z: Tensor, own: Bool[Tensor, "T B"] | None, lengths: Tensor | None) -> None:
        """Scale the weights so that the logits of these spikes have a standard deviation of 1."""
        if self.adds_logits:
            logits = self.integrated(z, None, lengths)
        elif self.kind == "step":
            logits = self(z if own is None else z[own])
        else:
            logits = self(z.mean(dim=0) if own is None else z.sum(dim=0) / own.sum(dim=0).unsqueeze(1))
        self.weight.div_(logits.std().clamp_min(1e-3))

    def _sums(self, logits: Tensor, before: Tensor | None = None) -> Tensor:
        """Return the sums, each of its own decay, of the logits ``[T, B, C]`` of all steps so far."""
        first = torch.zeros_like(logits[0]) if before is None else before.to(logits)
        return diagonal_scan(self.decay, logits, first)
