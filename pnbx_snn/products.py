"""Products of one input with ternary matrices, whole in one operator: events are added up, not multiplied."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

SMALLEST = 1 << 25
"""Multiplications below which a plain matrix product is as fast (measured: 64 x 2048 x 256)."""
FEWEST_ROWS = 64
"""Rows below which packing the weights costs more than the product."""


def worth(x: Tensor, num_outputs: int) -> bool:
    """Whether :func:`ternary_products` is faster than what torch makes of the plain equation."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    rows = x.numel() // x.shape[-1]
    return rows >= FEWEST_ROWS and rows * x.shape[-1] * num_outputs >= SMALLEST


def ternary_products(
    x: Float[Tensor, "*batch K"],
    latents: Sequence[Tensor],
    ternaries: Sequence[Tensor],
    scales: Sequence[Tensor],
    step: Tensor | None = None,
) -> list[Tensor]:
    r"""Multiply one input with several ternary matrices.

    .. math::

        y_j = s_j \, \tilde W_j x, \qquad
        \partial W_j = \bar y_j^\top x, \qquad \partial x = \sum_j s_j \, \tilde W_j^\top \bar y_j

    The gradient of the latent weights is straight-through, as if :math:`y_j = W_j x`.

    Parameters
    ----------
    x
        ``[..., K]``. If all of it is 0 or 1, nothing is multiplied: the weights of the active inputs are counted as
        bits, and the gradient of the weights of an input adds up the samples in which it was active. Any other value,
        NaN included, takes matrix products. The sums are whole numbers below 2^24, so both give the same bits.
        Large gradients of ``x`` add up entries of tables of signed sums, one for three weights.
    latents
        :math:`W_j`, ``[N_j, K]``: where the gradient goes.
    ternaries
        :math:`\tilde W_j`, of -1, 0 and 1; constants.
    scales
        :math:`s_j`, scalars; constants.
    step
        Scale of the input where ``x`` are codes: ``scales`` hold it as a factor, and so does the latent gradient.

    Returns
    -------
    list of Tensor
        ``[..., N_j]``.

    Notes
    -----
    An operator of torch, ``pnbx_snn::ternary_products``. Gradients of gradients are those of the formulas above.

    References
    ----------
    Harley and Seal's carry-save counting: Mula, Kurz and Lemire 2018, arXiv:1611.07612; with weights as two planes of
    bits and only the rows of active inputs: own.

    Examples
    --------
    >>> weight, x = torch.tensor([[1.0, -1.0, 0.0]]), torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    >>> (y,) = ternary_products(x, [weight], [weight], [torch.tensor(0.5)])
    >>> y.tolist()
    [[0.5], [-0.5]]
    """
    rows = x.reshape(-1, x.shape[-1])
    *products, _, _ = _products(rows, latents, ternaries, scales, step)
    return [y.reshape(*x.shape[:-1], y.shape[1]) for y in products]


@functools.cache
def _cpu_kernels() -> Any:
    """Return the compiled loops, or ``None`` without numba."""
    try:
        from pnbx_snn.kernels import ternary_cpu
    except ImportError:
        return None
    return ternary_cpu


@torch.library.custom_op("pnbx_snn::ternary_products", mutates_args=())
def _products(
    x: Tensor, latents: Sequence[Tensor], ternaries: Sequence[Tensor], scales: Sequence[Tensor], step: Tensor | None
) -> list[Tensor]:
    """Products, then the bits of ``x`` and how many are set: -1 if it is not of 0 and 1 alone."""
    kernels = _cpu_kernels()
    bits, active = _nothing_packed(x)
    if kernels is not None and x.dtype == torch.float32 and x.device.type == "cpu":
        active.fill_(kernels.pack(x, bits))
    if active.item() >= 0:
        sums = kernels.count(bits, ternaries)
        products = [part * scale for part, scale in zip(sums, scales, strict=True)]
    else:
        products = [linear(x, w).mul_(scale) for w, scale in zip(ternaries, scales, strict=True)]
    return [*products, bits, active]


@torch.library.custom_op("pnbx_snn::ternary_products_backward", mutates_args=())
def _products_backward(
    grads: Sequence[Tensor],
    x: Tensor,
    bits: Tensor,
    active: Tensor,
    ternaries: Sequence[Tensor],
    scales: Sequence[Tensor],
    step: Tensor | None,
    need_x: bool,
    need_weights: bool,
) -> list[Tensor]:
    """Gradients of the input and of each latent weight; those not needed are empty."""
    kernels, grad_x = _cpu_kernels(), x.new_empty(0)
    on_cpu = kernels is not None and x.dtype == torch.float32 and x.device.type == "cpu"
    if need_x and on_cpu and kernels.tables_fit(x, ternaries):
        grad_x = kernels.by_tables(grads, ternaries, scales)
    elif need_x:
        grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
        for j, (grad, w, scale) in enumerate(zip(grads, ternaries, scales, strict=True)):
            torch.addmm(grad_x, grad, w, beta=1 if j else 0, alpha=scale.item(), out=grad_x)
    if not need_weights:
        return [grad_x, *(x.new_empty(0) for _ in grads)]
    number = int(active.item())
    if on_cpu and 0 <= number <= kernels.DENSEST * x.numel():
        grad_weights: list[Tensor] = kernels.gather(bits, x.shape[1], grads)
    else:
        grad_weights = [grad.T @ x for grad in grads]
    if step is not None:
        grad_weights = [grad.mul_(step) for grad in grad_weights]
    return [grad_x, *grad_weights]


def _nothing_packed(x: Tensor) -> tuple[Tensor, Tensor]:
    bits = x.new_zeros((x.shape[0], (x.shape[1] + 63) // 64), dtype=torch.int64)
    return bits, x.new_full((), -1, dtype=torch.int64)


@_products.register_fake
def _(
    x: Tensor, latents: Sequence[Tensor], ternaries: Sequence[Tensor], scales: Sequence[Tensor], step: Tensor | None
) -> list[Tensor]:
    return [*(x.new_empty(x.shape[0], w.shape[0]) for w in ternaries), *_nothing_packed(x)]


@_products_backward.register_fake
def _(
    grads: Sequence[Tensor],
    x: Tensor,
    bits: Tensor,
    active: Tensor,
    ternaries: Sequence[Tensor],
    scales: Sequence[Tensor],
    step: Tensor | None,
    need_x: bool,
    need_weights: bool,
) -> list[Tensor]:
    shapes = [w.shape if need_weights else (0,) for w in ternaries]
    return [x.new_empty(x.shape if need_x else (0,)), *(x.new_empty(shape) for shape in shapes)]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, latents, ternaries, scales, step = inputs
    ctx.count, ctx.has_step = len(ternaries), step is not None
    ctx.need_weights = any(latent.requires_grad for latent in latents)
    ctx.save_for_backward(x, *output[-2:], *ternaries, *scales, *([] if step is None else [step]))


def _differentiate(ctx: Any, grads: list[Tensor]) -> tuple[Any, ...]:
    x, bits, active, *constants = ctx.saved_tensors
    n = ctx.count
    ternaries, scales = constants[:n], constants[n : 2 * n]
    step = constants[-1] if ctx.has_step else None
    need_x, outer = ctx.needs_input_grad[0], [grad.contiguous() for grad in grads[:n]]
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # under create_graph=True: torch's own operations
        found = [sum(g * s @ w for g, s, w in zip(outer, scales, ternaries, strict=True))]
        found += [g.T @ x if step is None else g.T @ x * step for g in outer]
    else:
        found = _products_backward(outer, x, bits, active, ternaries, scales, step, need_x, ctx.need_weights)
    of_weights = found[1:] if ctx.need_weights else [None] * n
    return found[0] if need_x else None, of_weights, [None] * n, [None] * n, None


_products.register_autograd(_differentiate, setup_context=_keep)
