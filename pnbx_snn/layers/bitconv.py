"""A convolution whose weights are -1, 0 or 1 times one scale."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d

from pnbx_snn.checks import check_sizes
from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.layers.ternary_layer import InputRange, TernaryLayer
from pnbx_snn.quantization import WeightScale

Sides = int | tuple[int, int]


class BitConv2d(TernaryLayer):
    r"""Convolution with ternary weights, trained as :class:`pnbx_snn.layers.bitlinear.BitLinear` is.

    .. math::

        y = \gamma \, (\tilde W \star x_q) + b, \qquad
        \tilde W = \operatorname{clip}(\operatorname{round}(W/\gamma), -1, 1), \qquad \gamma = \operatorname{mean}|W|

    where :math:`\star` is the cross-correlation of ``torch.nn.Conv2d``. Gradients are straight-through, see
    :mod:`pnbx_snn.quantization`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As of ``torch.nn.Conv2d``; zeros lie outside. A convolution over one axis has height 1.
    scale, input_range
        As of ``BitLinear``: with ``"int8"``, :meth:`calibrate_input` comes before the first call.

    Attributes
    ----------
    weight, bias : Parameter
        Latent weights ``[out_channels, in_channels / groups, kh, kw]``, and ``[out_channels]`` or None.
    input_scale : Tensor
        A scalar buffer; 0.0 until it is measured.

    Notes
    -----
    Shapes: input ``[..., in_channels, H, W]``, output ``[..., out_channels, H', W']``, any number of axes in front.

    Integer counterpart: a ``Conv`` of two bits a weight; :math:`\gamma`, the input scale, :math:`b` and a batch norm
    behind it move into the thresholds and biases of the neurons, one for each channel.

    Raises
    ------
    PnbxValueError, ShapeError
        A size below 1, groups that do not divide the channels or an unknown option; an input of other channels.

    References
    ----------
    Ma et al. 2024, arXiv:2402.17764, for the rounding; convolutions are own.

    Examples
    --------
    >>> layer = BitConv2d(2, 4, 3, padding=1)
    >>> layer(torch.ones(5, 3, 2, 8, 8)).shape  # 5 steps of 3 samples
    torch.Size([5, 3, 4, 8, 8])
    >>> sorted(set(layer.ternary_weight().flatten().tolist()) | {-1, 0, 1})
    [-1, 0, 1]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sides,
        *,
        stride: Sides = 1,
        padding: Sides | Literal["same", "valid"] = 0,
        dilation: Sides = 1,
        groups: int = 1,
        bias: bool = False,
        scale: WeightScale = "absmean",
        input_range: InputRange = "spikes",
    ) -> None:
        super().__init__(scale=scale, input_range=input_range)
        check_sizes("BitConv2d", in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise PnbxValueError(
                f"BitConv2d: groups must divide the channels, got {groups} for {in_channels} and {out_channels}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = _pair("kernel_size", kernel_size, 1)
        self.stride, self.dilation = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
        if isinstance(padding, str):
            if padding not in ("same", "valid") or (padding == "same" and self.stride != (1, 1)):
                raise PnbxValueError(
                    f"BitConv2d: padding must be 'valid', whole numbers or, with a stride of 1, 'same', got {padding!r}"
                )
            self.padding: tuple[int, int] | str = padding
        else:
            self.padding = _pair("padding", padding, 0)
        self.padding_mode = "zeros"  # as torch.nn.Conv2d says it
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and bias uniformly from ±1/√fan-in, as ``torch.nn.Conv2d`` does."""
        border = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.weight, -border, border)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -border, border)

    def forward(self, x: Float[Tensor, "*batch C H W"]) -> Float[Tensor, "*batch O H2 W2"]:
        """Apply the layer; see the class."""
        self._check_shape("BitConv2d: input", x)
        codes, step = self._rounded_input(x)
        ternary, gamma = self.rounded()
        images = codes.reshape(-1, *codes.shape[-3:])
        sums = conv2d(images, ternary, None, self.stride, self.padding, self.dilation, self.groups).to(x.dtype)
        y = (gamma if step is None else gamma * step) * sums
        y = y if self.bias is None else y + self.bias[:, None, None]
        return y.reshape(*x.shape[:-3], *y.shape[1:])

    def _check_shape(self, what: str, x: Tensor) -> None:
        if x.ndim < 3 or x.shape[-3] != self.in_channels:
            raise ShapeError(f"{what} must be [..., {self.in_channels}, H, W], got {list(x.shape)}")

    def extra_repr(self) -> str:
        """Show the options in ``print(layer)``."""
        return (
            f"{self.in_channels}, {self.out_channels}, {self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding!r}, dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}, "
            f"scale={self.scale!r}, input_range={self.input_range!r}"
        )


def _pair(name: str, value: Sides, least: int) -> tuple[int, int]:
    sides = (value, value) if isinstance(value, int) else tuple(value)
    if len(sides) != 2 or any(isinstance(side, bool) or not isinstance(side, int) or side < least for side in sides):
        raise PnbxValueError(f"BitConv2d: {name} must be one or two whole numbers of {least} or more, got {value!r}")
    return sides
