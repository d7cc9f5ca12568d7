"""Rounding with a straight-through gradient: ternary weights, weights and inputs of 8 bits.

All functions give exact integers in the forward pass (held in a floating-point tensor) and pretend, in the backward
pass, that rounding did not happen. The integers are exact: not ``w + (round(w) - w)``, which may miss by one ulp.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from pnbx_snn.checks import has_values
from pnbx_snn.errors import PnbxValueError

WeightScale = Literal["absmean", "median"]
WeightsInUse = Literal["ternary", "float"]

EPS = 1e-6
"""Smallest weight scale. A floor rather than an addend, see :func:`ternarize`."""

INT8_MIN, INT8_MAX = -128, 127
_KEPT, _IN_USE = "_kept_ternary", "_weights_in_use"


def ternarize(
    weight: Float[Tensor, "*shape"], *, scale: WeightScale = "absmean", mask: Bool[Tensor, "*shape"] | None = None
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, ""]]:
    r"""Round a weight matrix to {-1, 0, 1} and one positive scale.

    .. math::

        \gamma = \max(\operatorname{mean}|W|, \epsilon), \qquad
        \tilde W = \operatorname{clip}(\operatorname{round}(W / \gamma), -1, 1)

    so a weight survives if it is larger than half the scale: :math:`|W| > \gamma / 2` (a tie rounds to zero).
    :math:`\epsilon` is a floor under :math:`\gamma`, where the paper adds it to the divisor: it never moves the
    rounding border of a matrix with :math:`\gamma > \epsilon`, and an all-zero matrix gives zeros and not NaN.

    With a ``mask`` of connections, the weights inside are 1 where the latent weight is zero or more and else -1, those
    outside are 0, and the mean is that of the connections: the share of zeros is exactly that of the mask.

    Parameters
    ----------
    weight
        Latent weights of any shape, finite; NaN goes through to the results.
    scale
        ``"absmean"``: mean of the absolute weights (BitNet b1.58). ``"median"``: their median, the lower of the two
        middle values as ``torch.median`` has it ("b1.58 Reloaded"), which ignores outliers and keeps more weights.
    mask
        Which weights are connections, for sparse matrices: see :mod:`pnbx_snn.training.sparsity`.

    Returns
    -------
    ternary
        Same shape and dtype as ``weight``, values exactly -1, 0 or 1. Its gradient is straight-through:
        :math:`\partial(\gamma \tilde W)/\partial W = 1` for every entry, with :math:`\gamma` taken as a constant; also
        outside a mask, where latent weights may grow until they become connections.
    gamma
        The scale, a scalar without gradient.

    Notes
    -----
    Integer counterpart: ``ternary`` as it is; ``gamma`` moves into the threshold of the neuron that receives the sum.

    Raises
    ------
    PnbxValueError
        If the weight has no entries or ``scale`` is not one of the two names.

    References
    ----------
    Ma et al. 2024, arXiv:2402.17764, eq. 1-3; Nielsen and Schneider-Kamp 2024, arXiv:2407.09527 (median); Li and Liu
    2016, arXiv:1605.04711, eq. 5 (the mean of those that are not 0).

    Examples
    --------
    >>> weight = torch.tensor([[0.9, -0.1, 0.4], [-2.0, 0.0, 0.2]])
    >>> ternary, gamma = ternarize(weight)
    >>> ternary
    tensor([[ 1.,  0.,  1.],
            [-1.,  0.,  0.]])
    >>> round(gamma.item(), 3)
    0.6
    >>> ternarize(weight, mask=weight.abs() > 0.8)[0]
    tensor([[ 1.,  0.,  0.],
            [-1.,  0.,  0.]])
    """
    if weight.numel() == 0:
        raise PnbxValueError(f"ternarize: weight must have at least one entry, got shape {tuple(weight.shape)}")
    magnitude = weight.detach().abs()
    if scale == "absmean":
        gamma = magnitude.mean() if mask is None else (magnitude * mask).sum() / mask.sum()
    elif scale == "median":
        gamma = (magnitude if mask is None else magnitude[mask]).median()
    else:
        raise PnbxValueError(f"ternarize: scale must be 'absmean' or 'median', got {scale!r}")
    gamma = gamma.clamp_min(EPS)
    rule, given = (_RoundToTernary, ()) if mask is None else (_SignInside, (mask,))
    ternary: Tensor = rule.apply(weight, gamma, *given)  # type: ignore[no-untyped-call]
    return ternary, gamma


class _RoundToTernary(torch.autograd.Function):
    """``clip(round(w / gamma), -1, 1)`` with the gradient of ``w / gamma``: four passes over the weights, not seven."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, gamma: Tensor) -> Tensor:
        return (weight / gamma).round_().clamp_(-1, 1).add_(0.0)  # 0.0 for -0.0

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (gamma,) = ctx.saved_tensors
        return grad / gamma, None


class _SignInside(torch.autograd.Function):
    """The sign inside a mask, 1 for 0.0, with the gradient of ``w / gamma`` everywhere."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, gamma: Tensor, mask: Tensor) -> Tensor:
        return torch.where(weight < 0, -1.0, 1.0).to(weight.dtype) * mask + 0.0  # 0.0 for -0.0

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (gamma,) = ctx.saved_tensors
        return grad / gamma, None, None


@contextmanager
def keep_ternary(model: nn.Module) -> Iterator[None]:
    """Round the weights of a network once instead of in every call, as long as they do not change.

    For streaming and evaluation, where rounding costs more than the products: 10 ms of 12 a step in the reference
    network. Results are equal bit for bit. Inside, all modules with ``rounded()`` have no gradient to their weights,
    and changed weights are not seen. Training does not use it: each layer is called once for each change of its
    weights, and torch's version counter, which says that weights did not change, does not see ``weight.data``.

    Examples
    --------
    >>> from pnbx_snn import BitLinear
    >>> layer, x = BitLinear(4, 2), torch.ones(1, 4)
    >>> with keep_ternary(layer):
    ...     y = layer(x)
    >>> bool((y == layer(x)).all())
    True
    """
    layers: list[Any] = [module for module in model.modules() if hasattr(module, "rounded")]
    with torch.no_grad():
        values = [layer.rounded() for layer in layers]
    try:
        for layer, value in zip(layers, values, strict=True):
            layer.__dict__[_KEPT] = value
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop(_KEPT, None)


def kept_ternary(layer: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Return what :func:`keep_ternary` keeps for a layer at the moment, if anything."""
    value: tuple[Tensor, Tensor] | None = layer.__dict__.get(_KEPT)
    return value


def use_weights(model: nn.Module, kind: WeightsInUse) -> None:
    """Let the layers of a network multiply with ternary weights, as they do unless told, or with their latent ones.

    For a training that begins in floating point. With ``"float"``, ``rounded()`` of a layer returns what
    :func:`unrounded` makes of its weights. Learned edges of messages stay ternary; so do ``ternary_weight()``, files
    and whatever is compiled.

    Examples
    --------
    >>> from pnbx_snn import BitLinear
    >>> layer = BitLinear(4, 2)
    >>> use_weights(layer, "float")
    >>> layer.rounded()[0] is layer.weight
    True
    >>> use_weights(layer, "ternary")
    """
    for module in model.modules():
        if kind == "ternary":
            module.__dict__.pop(_IN_USE, None)
        elif hasattr(module, "rounded"):
            module.__dict__[_IN_USE] = kind


def weights_in_use(layer: nn.Module) -> WeightsInUse:
    """Return what :func:`use_weights` said for a layer."""
    kind: WeightsInUse = layer.__dict__.get(_IN_USE, "ternary")
    return kind


def rounded_weights(
    layer: nn.Module, latent: Tensor, *, scale: WeightScale = "absmean", mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return what a layer multiplies with and its scale: kept ones, else those that :func:`use_weights` chose."""
    kept = kept_ternary(layer)
    if kept is not None:
        return kept
    if weights_in_use(layer) == "ternary":
        return ternarize(latent, scale=scale, mask=mask)
    return unrounded(latent, scale=scale)


def unrounded(
    weight: Float[Tensor, "*shape"], *, scale: WeightScale = "absmean"
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, ""]]:
    r"""Return latent weights as they are, and a scale with which their products are as large as the ternary ones.

    .. math::

        c = \gamma \, \frac{\lVert \tilde W \rVert_2}{\lVert W \rVert_2}

    so :math:`c W` and :math:`\gamma \tilde W` (:func:`ternarize`) have equal norms, and sums over many inputs the same
    root mean square: gates and thresholds behind them see no jump when rounding begins. The scale has no gradient.

    Examples
    --------
    >>> weight = torch.tensor([0.75, -0.75, 0.25, -0.25])  # gamma is 0.5, and a tie rounds to zero
    >>> round(unrounded(weight)[1].item(), 4)
    0.6325
    """
    ternary, gamma = ternarize(weight.detach(), scale=scale)
    norm = weight.detach().norm().clamp_min(torch.finfo(weight.dtype).tiny)
    return weight, gamma * (ternary.norm() / norm)


def quantize_int8(x: Float[Tensor, "*shape"], scale: Float[Tensor, ""] | float) -> Float[Tensor, "*shape"]:
    r"""Round values of any shape to the 8-bit integers -128 ... 127 with a fixed scale.

    .. math::

        q = \operatorname{clip}(\operatorname{round}(x / s), -128, 127)

    so that ``scale * q`` stands for ``x``. Half an odd step rounds to even, as ``np.rint`` does. ``q`` has the dtype of
    ``x``; its gradient is straight-through, :math:`\partial q/\partial x = 1/s` where it is not clipped, else zero, and
    none flows to the scale.

    Notes
    -----
    Integer counterpart: the int8 codes that a compiled program takes as input.

    Raises
    ------
    PnbxValueError
        If the scale is not a positive finite number.

    References
    ----------
    Jacob et al. 2018, arXiv:1712.05877 (symmetric, zero point 0); gradient: Bengio et al. 2013, arXiv:1308.3432.

    Examples
    --------
    >>> quantize_int8(torch.tensor([0.0, 0.26, -0.5, 100.0]), 0.5)
    tensor([  0.,   1.,  -1., 127.])
    """
    # A tensor on the device of x: divided by a number of the host, CUDA would multiply by the rounded reciprocal.
    step = torch.as_tensor(scale, device=x.device).detach()
    if has_values(step) and not 0.0 < step.item() < float("inf"):
        raise PnbxValueError(f"quantize_int8: scale must be positive and finite, got {step.item()}")
    scaled = (x / step).clamp(INT8_MIN, INT8_MAX)
    return scaled.detach().round() + (scaled - scaled.detach())


GRID = 127
"""Weights of 8 bits lie in -127..127."""


class RoundToGrid(nn.Module):
    r"""Latent weights as whole numbers of 8 bits: :math:`\operatorname{clip}(\operatorname{round}(127 w), -127, 127)`.

    A parametrization: see :func:`integer_weights`. The gradient is that of :math:`127 w`, zero where it is clipped.
    """

    def forward(self, latent: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Round latent weights of any shape."""
        scaled = (GRID * latent).clamp(-GRID, GRID)
        return straight_through(scaled.detach().round(), scaled)


def integer_weights(layer: nn.Linear) -> nn.Linear:
    """Let a linear layer train with whole weights in -127..127, and return it.

    Its ``weight`` is what :class:`RoundToGrid` makes of a latent weight, 127 for 1.0, wherever it is read: in training,
    in evaluation and by a compiler. Optimizers change the latent weight, at their usual rates.

    Raises
    ------
    PnbxValueError
        If the layer has a bias: a neuron with whole states has its own.

    Integer counterpart: a ``Dense`` of 8-bit weights.

    Examples
    --------
    >>> layer = integer_weights(nn.Linear(4, 2, bias=False))
    >>> bool((layer.weight == layer.weight.round()).all())
    True
    """
    if getattr(layer, "bias", None) is not None:
        raise PnbxValueError("integer_weights: the layer must have no bias, got one; use the neuron's")
    register_parametrization(layer, "weight", RoundToGrid())
    return layer


def straight_through(value: Float[Tensor, "*shape"], carrier: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return ``value`` to the bit, with the gradient of ``carrier``, which is finite.

    Examples
    --------
    >>> x = torch.tensor(2.6, requires_grad=True)
    >>> straight_through(x.round(), 10 * x).backward()
    >>> x.grad.item()
    10.0
    """
    return value.detach() + (carrier - carrier.detach())


DECAY_ONE = 4096
GATE_INPUT_ONE = 256


def table_sigmoid(x: Float[Tensor, "*shape N"], offset: Float[Tensor, " N"] | float = 0.0) -> Float[Tensor, "*shape N"]:
    r"""Sigmoid as a compiled program looks it up, with the gradient of the sigmoid.

    .. math::

        i = \operatorname{trunc}(256\,x) + \operatorname{round}(256\,b), \qquad
        y = \lfloor 4096\,\sigma(i / 256) + \tfrac12 \rfloor / 4096

    The offset :math:`b` is a number or one for each unit. The result holds whole multiples of 1/4096 in 0 .. 1, with
    the gradient of :math:`\sigma(x + b)`.

    Notes
    -----
    Integer counterpart: the ``Gate`` op of a compiled program, whose table this is. In float32 a value that a program
    finds just beside a whole index may round to the other one.

    References
    ----------
    Own; straight-through gradient: Bengio et al. 2013, arXiv:1308.3432.

    Examples
    --------
    >>> (4096 * table_sigmoid(torch.tensor([0.0, 1.0, -1.0, 99.0]))).tolist()
    [2048.0, 2994.0, 1102.0, 4096.0]
    """
    smooth = torch.sigmoid(x + offset)
    with torch.no_grad():
        index = (x * GATE_INPUT_ONE).trunc() + torch.as_tensor(offset * GATE_INPUT_ONE).round()
        magnitude = index.abs().clamp(max=DECAY_ONE - 1)
        found = (DECAY_ONE * torch.sigmoid(magnitude.double() / GATE_INPUT_ONE) + 0.5).floor().to(x.dtype)
        looked_up = torch.where(index >= 0, found, DECAY_ONE - found) / DECAY_ONE
    return looked_up + (smooth - smooth.detach())


def round_decay(decay: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Round factors in [-1, 1] to the 12 fractional bits of a program, with a straight-through gradient.

    Examples
    --------
    >>> (4096 * round_decay(torch.tensor([0.9, 0.99999]))).tolist()
    [3686.0, 4096.0]
    """
    return (decay.detach() * DECAY_ONE).round() / DECAY_ONE + (decay - decay.detach())
