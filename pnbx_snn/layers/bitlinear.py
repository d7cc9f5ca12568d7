"""A linear layer whose weights are -1, 0 or 1 times one scale."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from pnbx_snn.checks import check_sizes
from pnbx_snn.errors import ShapeError
from pnbx_snn.kernels.ternary import faster_than_torch, ternary_products
from pnbx_snn.layers.ternary_layer import InputRange, TernaryLayer
from pnbx_snn.quantization import WeightScale, kept_ternary, ternarize, weights_in_use

__all__ = ["BitLinear", "InputRange", "apply_all"]


class BitLinear(TernaryLayer):
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

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = False,
        scale: WeightScale = "absmean",
        input_range: InputRange = "spikes",
    ) -> None:
        super().__init__(scale=scale, input_range=input_range)
        check_sizes("BitLinear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and bias uniformly from ±1/√in_features, as ``torch.nn.Linear`` does."""
        border = 1 / math.sqrt(self.in_features)
        nn.init.uniform_(self.weight, -border, border)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -border, border)

    def forward(self, x: Float[Tensor, "*batch n_in"]) -> Float[Tensor, "*batch n_out"]:
        """Apply the layer; see the class."""
        self._check_shape("BitLinear: input", x)
        x, step = self._rounded_input(x)
        if faster_than_torch(x, self.out_features) and weights_in_use(self) == "ternary":
            return _products(x, [self], step)[0]
        ternary, gamma = self.rounded()
        scale = gamma if step is None else gamma * step
        # Under autocast the product is rounded to half precision; what follows goes on in the precision of the input.
        return self._biased(scale * linear(x, ternary).to(x.dtype))  # [..., out_features]

    def _biased(self, y: Tensor) -> Tensor:
        return y if self.bias is None else y + self.bias

    def _check_shape(self, what: str, x: Tensor) -> None:
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ShapeError(f"{what} must be [..., {self.in_features}], got {list(x.shape)}")

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
        layer.input_range == "spikes"
        and x.ndim
        and x.shape[-1] == layer.in_features
        and weights_in_use(layer) == "ternary"
        for layer in layers
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
        constants.append(unchanged or ternarize(latent, scale=layer.scale, mask=layer.mask))
    scales = [gamma if step is None else gamma * step for _, gamma in constants]
    products = ternary_products(x, latents, [ternary for ternary, _ in constants], scales, step)
    return [layer._biased(y) for layer, y in zip(layers, products, strict=True)]
