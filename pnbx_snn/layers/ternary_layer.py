"""What all layers of ternary weights are: latent weights, the scale they are rounded by, and what they read."""

from typing import Literal

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from pnbx_snn.checks import has_values
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.quantization import INT8_MAX, WeightScale, quantize_int8, rounded_weights, ternarize

InputRange = Literal["spikes", "int8"]


class TernaryLayer(nn.Module):
    r"""A layer whose weights are -1, 0 or 1 times one scale, trained through latent floating-point weights; abstract.

    A subclass makes ``weight`` and ``bias``. See :class:`pnbx_snn.layers.bitlinear.BitLinear` for the equation.

    Parameters
    ----------
    scale
        ``"absmean"`` or ``"median"``: how :math:`\gamma` is taken from the weights.
    input_range
        ``"spikes"``: inputs are 0 or 1 as they are; ``"int8"``: they are rounded with one static scale.

    Raises
    ------
    PnbxValueError
        An unknown option.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    input_scale: Tensor
    mask: Tensor | None

    def __init__(self, *, scale: WeightScale, input_range: InputRange) -> None:
        super().__init__()
        if scale not in ("absmean", "median"):
            raise PnbxValueError(f"{self._name}: scale must be 'absmean' or 'median', got {scale!r}")
        if input_range not in ("spikes", "int8"):
            raise PnbxValueError(f"{self._name}: input_range must be 'spikes' or 'int8', got {input_range!r}")
        self.scale: WeightScale = scale
        self.input_range: InputRange = input_range
        self.register_buffer("input_scale", torch.tensor(0.0))
        self.register_buffer("mask", None)  # of connections, in sparse networks: see pnbx_snn.training.sparsity

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _rounded_input(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what the weights multiply, whole numbers, and the value of one, ``None`` where it is 1."""
        if self.input_range == "spikes":
            return x, None
        if has_values(self.input_scale) and self.input_scale.item() == 0.0:
            raise PnbxValueError(
                f"{self._name}: input_range='int8' needs an input scale, got none (0.0); "
                "call calibrate_input(x) with typical inputs first"
            )
        return quantize_int8(x, self.input_scale), self.input_scale

    def rounded(self) -> tuple[Float[Tensor, "n_out *rest"], Float[Tensor, ""]]:
        """Return ternary weights and their scale, see :func:`pnbx_snn.quantization.ternarize`.

        While :func:`pnbx_snn.quantization.use_weights` says so, they are the latent weights and a scale for those.
        """
        return rounded_weights(self, self.weight, scale=self.scale, mask=self.mask)

    @torch.no_grad()
    def calibrate_input(self, x: Float[Tensor, "*batch n_in"]) -> None:
        r"""Set the input scale to :math:`\max|x| / 127`, so that the largest value seen becomes ±127.

        ``x`` are typical inputs of the layer, for example the training set; larger ones met later saturate.

        Raises
        ------
        PnbxValueError
            If the layer takes spikes, or ``x`` is empty, not finite or zero everywhere.
        ShapeError
            If ``x`` is no input of the layer.

        Examples
        --------
        >>> from pnbx_snn import BitLinear
        >>> layer = BitLinear(2, 1, input_range="int8")
        >>> layer.calibrate_input(torch.tensor([[0.0, 2.54]]))
        >>> round(layer.input_scale.item(), 6)
        0.02
        """
        where = f"{self._name}.calibrate_input"
        if self.input_range != "int8":
            raise PnbxValueError(f"{where}: input_range must be 'int8' to have a scale, got {self.input_range!r}")
        self._check_shape(f"{where}: x", x)
        largest = x.abs().max().item() if x.numel() else 0.0
        if not 0.0 < largest < float("inf"):
            raise PnbxValueError(
                f"{where}: x must hold finite values that are not all zero, "
                f"got shape {list(x.shape)} with largest magnitude {largest}"
            )
        self.input_scale.fill_(largest / INT8_MAX)

    def _check_shape(self, what: str, x: Tensor) -> None:
        """Raise a :class:`~pnbx_snn.errors.ShapeError` for what is no input of the layer."""
        raise NotImplementedError

    @torch.no_grad()
    def ternary_weight(self) -> Int8[Tensor, "n_out *rest"]:
        """Return the weights that the forward pass uses, -1, 0 and 1, as int8, in the shape of ``weight``.

        Raises
        ------
        PnbxValueError
            If a latent weight is not finite (a training that diverged).
        """
        broken = int((~torch.isfinite(self.weight)).sum())
        if broken:
            raise PnbxValueError(
                f"{self._name}.ternary_weight: weights must be finite, got {broken} of {self.weight.numel()} that are "
                "not"
            )
        return ternarize(self.weight, scale=self.scale, mask=self.mask)[0].to(torch.int8)

    @torch.no_grad()
    def gamma(self) -> Float[Tensor, ""]:
        r"""Return the weight scale :math:`\gamma > 0`, a scalar."""
        return ternarize(self.weight, scale=self.scale, mask=self.mask)[1]
