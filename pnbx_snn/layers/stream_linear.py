"""A ternary layer of several streams: each reads its own inputs into its own neurons."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.checks import check_sizes
from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.layers.ternary_layer import InputRange
from pnbx_snn.quantization import WeightScale


class StreamLinear(nn.Module):
    r"""One :class:`~pnbx_snn.layers.bitlinear.BitLinear` for each stream, their outputs side by side.

    .. math::

        y = \begin{pmatrix} \gamma_1 \tilde W_1 x_1 \\ \vdots \\ \gamma_K \tilde W_K x_K \end{pmatrix}, \qquad
        x = (x_1, \dots, x_K)

    which is a ternary matrix of K blocks along its diagonal whose rows have the scale of their block.

    Parameters
    ----------
    widths
        Inputs of each stream, in the order in which they stand in ``x``.
    out_features
        Outputs together, at least one a stream; the streams share them as equally as they can, the first get more.
    scale, input_range
        As of :class:`~pnbx_snn.layers.bitlinear.BitLinear`. All streams have the input scale of the largest value:
        who has streams of different ranges brings them to one before, as :class:`pnbx_snn.networks.pnbx.PNBX` does.

    Notes
    -----
    Shapes: input ``[..., sum(widths)]``, output ``[..., out_features]``.

    Integer counterpart: one ternary product with zeros outside the blocks.

    Raises
    ------
    PnbxValueError, ShapeError
        Fewer outputs than streams, a width below 1; an input of another size.

    References
    ----------
    Own; the layers are those of Ma et al. 2024, arXiv:2402.17764.

    Examples
    --------
    >>> layer = StreamLinear([3, 2], 5)
    >>> layer(torch.ones(4, 5)).shape, [part.out_features for part in layer.parts]
    (torch.Size([4, 5]), [3, 2])
    """

    def __init__(
        self,
        widths: Sequence[int],
        out_features: int,
        *,
        scale: WeightScale = "absmean",
        input_range: InputRange = "spikes",
    ) -> None:
        super().__init__()
        if not 1 <= len(widths) <= out_features:
            raise PnbxValueError(
                f"StreamLinear: must have one output or more for each stream, got {out_features} for {len(widths)}"
            )
        for width in widths:
            check_sizes("StreamLinear", width=width)
        self.widths, self.in_features, self.out_features = list(widths), sum(widths), out_features
        self.input_range: InputRange = input_range
        each, more = divmod(out_features, len(widths))
        self.parts = nn.ModuleList(
            BitLinear(width, each + (number < more), scale=scale, input_range=input_range)
            for number, width in enumerate(widths)
        )

    @property
    def input_scale(self) -> Tensor:
        """The input scale that all streams have; 0.0 until it is measured."""
        scale: Tensor = self.parts[0].input_scale  # type: ignore[assignment]
        return scale

    def forward(self, x: Float[Tensor, "*batch n_in"]) -> Float[Tensor, "*batch n_out"]:
        """Apply the layer; see the class."""
        self._check_shape("StreamLinear: input", x)
        streams = torch.split(x, self.widths, dim=-1)
        return torch.cat([part(values) for part, values in zip(self.parts, streams, strict=True)], dim=-1)

    @torch.no_grad()
    def calibrate_input(self, x: Float[Tensor, "*batch n_in"]) -> None:
        """Set the input scale of all streams: that of the largest value in any, see :class:`BitLinear`."""
        self._check_shape("StreamLinear.calibrate_input: x", x)
        for part, values in zip(self.parts, torch.split(x, self.widths, dim=-1), strict=True):
            part.calibrate_input(values)  # type: ignore[operator]
        largest = torch.stack([part.input_scale for part in self.parts]).max()  # type: ignore[misc]
        for part in self.parts:
            part.input_scale.copy_(largest)  # type: ignore[operator]

    def _check_shape(self, what: str, x: Tensor) -> None:
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ShapeError(f"{what} must be [..., {self.in_features}], got {list(x.shape)}")
