"""A linear layer whose weights are -1, 0 or 1 times one scale."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn
from torch.nn.functional import linear

from pnbx_snn.checks import check_sizes, has_values
from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.kernels.ternary import faster_than_torch, ternary_products
from pnbx_snn.quantization import INT8_MAX, WeightScale, kept_ternary, quantize_int8, ternarize

InputRange = Literal["spikes", "int8"]


class BitLinear(nn.Module):
    r"""Linear layer with ternary weights (BitNet b1.58), trained through latent floating-point weights.

    .. math::

        y = \gamma \, \tilde W x_q + b, \qquad
        \tilde W = \operatorname{clip}(\operatorname{round}(W/\gamma), -1, 1), \qquad \gamma = \operatorname{mean}|W|

    The sum :math:`\tilde W x_q` runs over whole numbers, so it is exact and the same on every machine; the scale
    multiplies the finished sum. Gradients are straight-through, see :mod:`pnbx_snn.quantization`.

    Parameters
    ----------
    in_features, out_features
        Number of inputs and outputs, at least 1.
    bias
        Adds a learned :math:`b`, which stays in floating point here.
    scale
        ``"absmean"`` or ``"median"``: how :math:`\gamma` is taken from the weights.
    input_range
        ``"spikes"``: :math:`x_q = x`, for inputs that are already 0 or 1 (or a mean of such). ``"int8"``:
        :math:`x_q = s \operatorname{clip}(\operatorname{round}(x/s), -128, 127)` with one static scale :math:`s`,
        which :meth:`calibrate_input` measures; calling the layer before is an error.

    Attributes
    ----------
    weight, bias : Parameter
        Latent weights ``[out_features, in_features]``, and ``[out_features]`` or None.
    input_scale : Tensor
        :math:`s`, a scalar buffer; 0.0 until it is measured.

    Notes
    -----
    Shapes: input ``[..., in_features]``, output ``[..., out_features]``.

    Integer counterpart: a ternary matrix product; :math:`\gamma`, :math:`s` and :math:`b` move into the threshold and
    bias of the neuron behind it. It does not inherit from ``torch.nn.Linear``: exporters that know ``Linear`` would
    silently take the latent weights.

    Raises
    ------
    PnbxValueError, ShapeError
        A size below 1 or an unknown option; an input whose last axis is not ``in_features`` long.

    References
    ----------
    Ma et al. 2024, arXiv:2402.17764.

    Examples
    --------
    >>> layer = BitLinear(4, 2)
    >>> layer(torch.ones(3, 4)).shape
    torch.Size([3, 2])
    >>> sorted(set(layer.ternary_weight().flatten().tolist()) | {-1, 0, 1})
    [-1, 0, 1]
    """

    input_scale: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = False,
        scale: WeightScale = "absmean",
        input_range: InputRange = "spikes",
    ) -> None:
        super().__init__()
        check_sizes("BitLinear", in_features=in_features, out_features=out_features)
        if scale not in ("absmean", "median"):
            raise PnbxValueError(f"BitLinear: scale must be 'absmean' or 'median', got {scale!r}")
        if input_range not in ("spikes", "int8"):
            raise PnbxValueError(f"BitLinear: input_range must be 'spikes' or 'int8', got {input_range!r}")
        self.in_features, self.out_features = in_features, out_features
        self.scale: WeightScale = scale
        self.input_range: InputRange = input_range
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.register_buffer("input_scale", torch.tensor(0.0))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and bias uniformly from ±1/√in_features, as ``torch.nn.Linear`` does."""
        border = 1 / math.sqrt(self.in_features)
        nn.init.uniform_(self.weight, -border, border)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -border, border)

    def forward(self, x: Float[Tensor, "*batch n_in"]) -> Float[Tensor, "*batch n_out"]:
        """Apply the layer; see the class."""
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ShapeError(f"BitLinear: input must be [..., {self.in_features}], got {list(x.shape)}")
        step = None
        if self.input_range == "int8":
            if has_values(self.input_scale) and self.input_scale.item() == 0.0:
                raise PnbxValueError(
                    "BitLinear: input_range='int8' needs an input scale, got none (0.0); "
                    "call calibrate_input(x) with typical inputs first"
                )
            step = self.input_scale
            x = quantize_int8(x, step)
        if faster_than_torch(x, self.out_features):
            return _products(x, [self], step)[0]
        ternary, gamma = self.rounded()
        scale = gamma if step is None else gamma * step
        # Under autocast the product is rounded to half precision; what follows goes on in the precision of the input.
        return self._biased(scale * linear(x, ternary).to(x.dtype))  # [..., out_features]

    def _biased(self, y: Tensor) -> Tensor:
        return y if self.bias is None else y + self.bias

    def rounded(self) -> tuple[Float[Tensor, "n_out n_in"], Float[Tensor, ""]]:
        """Return ternary weights and their scale, see :func:`pnbx_snn.quantization.ternarize`."""
        return kept_ternary(self) or ternarize(self.weight, scale=self.scale)

    @torch.no_grad()
    def calibrate_input(self, x: Float[Tensor, "*batch n_in"]) -> None:
        r"""Set the input scale to :math:`\max|x| / 127`, so that the largest value seen becomes ±127.

        ``x`` ``[..., in_features]`` are typical inputs, for example the training set; larger ones met later saturate.

        Raises
        ------
        PnbxValueError
            If the layer takes spikes, or ``x`` is empty, not finite or zero everywhere.
        ShapeError
            If the last axis of ``x`` is not ``in_features`` long.

        Examples
        --------
        >>> layer = BitLinear(2, 1, input_range="int8")
        >>> layer.calibrate_input(torch.tensor([[0.0, 2.54]]))
        >>> round(layer.input_scale.item(), 6)
        0.02
        """
        if self.input_range != "int8":
            raise PnbxValueError(
                f"BitLinear.calibrate_input: input_range must be 'int8' to have a scale, got {self.input_range!r}"
            )
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ShapeError(f"BitLinear.calibrate_input: x must be [..., {self.in_features}], got {list(x.shape)}")
        largest = x.abs().max().item() if x.numel() else 0.0
        if not 0.0 < largest < float("inf"):
            raise PnbxValueError(
                "BitLinear.calibrate_input: x must hold finite values that are not all zero, "
                f"got shape {list(x.shape)} with largest magnitude {largest}"
            )
        self.input_scale.fill_(largest / INT8_MAX)

    @torch.no_grad()
    def ternary_weight(self) -> Int8[Tensor, "n_out n_in"]:
        """Return the weights that the forward pass uses, -1, 0 and 1, as int8 ``[out_features, in_features]``.

        Raises
        ------
        PnbxValueError
            If a latent weight is not finite (a training that diverged).
        """
        broken = int((~torch.isfinite(self.weight)).sum())
        if broken:
            raise PnbxValueError(
                f"BitLinear.ternary_weight: weights must be finite, got {broken} of {self.weight.numel()} that are not"
            )
        return ternarize(self.weight, scale=self.scale)[0].to(torch.int8)

    @torch.no_grad()
    def gamma(self) -> Float[Tensor, ""]:
        r"""Return the weight scale :math:`\gamma > 0`, a scalar."""
        return ternarize(self.weight, scale=self.scale)[1]

    def extra_repr(self) -> str:
        """Show the options in ``print(layer)``."""
        return (
            f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, "
            f"scale={self.scale!r}, input_range={self.input_range!r}"
        )


def apply_all(layers: Sequence[BitLinear], x: Float[Tensor, "*batch n_in"]) -> list[Tensor]:
    """Return ``[layer(x) for layer in layers]``; events are looked at once for all layers that take spikes.

    Layers with hooks are called, so that whoever watches them sees what goes in and out.

    Examples
    --------
    >>> one, two = BitLinear(4, 2), BitLinear(4, 3)
    >>> [tuple(y.shape) for y in apply_all([one, two], torch.ones(5, 4))]
    [(5, 2), (5, 3)]
    """
    watched = any(layer._forward_pre_hooks or layer._forward_hooks for layer in layers)
    fits = not watched and all(
        layer.input_range == "spikes" and x.ndim and x.shape[-1] == layer.in_features for layer in layers
    )
    if not fits or not faster_than_torch(x, sum(layer.out_features for layer in layers)):
        return [layer(x) for layer in layers]
    return _products(x, layers, None)


def _products(x: Tensor, layers: Sequence[BitLinear], step: Tensor | None) -> list[Tensor]:
    """Answers of all layers by :func:`pnbx_snn.kernels.ternary.ternary_products`."""
    constants, latents = [], []
    for layer in layers:
        unchanged = kept_ternary(layer)
        latent = layer.weight.detach()
        latents.append(layer.weight if unchanged is None else latent)  # kept weights have no gradient
        constants.append(unchanged or ternarize(latent, scale=layer.scale))
    scales = [gamma if step is None else gamma * step for _, gamma in constants]
    products = ternary_products(x, latents, [ternary for ternary, _ in constants], scales, step)
    return [layer._biased(y) for layer, y in zip(layers, products, strict=True)]
