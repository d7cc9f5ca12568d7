"""Products of one input with ternary matrices, whole in one operator: events are added up, not multiplied."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor
from torch.nn.functional import linear

from pnbx_snn.checks import transformed
from pnbx_snn.errors import PnbxTypeError, ShapeError
from pnbx_snn.kernels.dispatch import has_kernels, kernels
from pnbx_snn.kernels.operators import operator

SMALLEST = 1 << 25
"""Multiplications below which a plain matrix product is as fast (measured on a CPU: 64 x 2048 x 256; on no GPU)."""
FEWEST_ROWS = 64
"""Rows below which packing the weights costs more than the product."""


def faster_than_torch(x: Tensor, num_outputs: int) -> bool:
    """Whether :func:`ternary_products` is faster than what torch makes of the plain equation."""
    kind = x.device.type
    if transformed():  # torch.func cannot look into the operator
        return False
    if x.dtype != torch.float32 or not has_kernels("ternary", kind) or torch.is_autocast_enabled(kind):
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
        Large gradients of ``x`` add up entries of tables of signed sums, one for three weights. On cuda and xpu the
        weights are packed, bytes are multiplied (events, and codes where there is a step), and gradients are matrix
        products.
    latents, ternaries, scales
        :math:`W_j` ``[N_j, K]``, where the gradient goes; the constants :math:`\tilde W_j` of -1, 0 and 1, and
        :math:`s_j`.
    step
        Scale of the input where ``x`` are codes: ``scales`` hold it as a factor, and so does the latent gradient.

    Returns
    -------
    list of Tensor, ``[..., N_j]``
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


def packed_product(x: Shaped[Tensor, "*batch K"], codes: UInt8[Tensor, " bytes"], num_outputs: int) -> Tensor:
    r"""Multiply events or bytes with a packed ternary matrix, in whole numbers: :math:`y = \tilde W x`.

    ``x`` ``[..., K]`` holds events (bool) or int8, ``codes`` is :math:`\tilde W` ``[N, K]`` as
    :func:`pnbx_snn.training.packed.pack_sign_bits` packs it and packed files hold it. The result ``[..., N]`` is
    int32. On cuda and xpu with Triton, weights are unpacked on the way to the multipliers; elsewhere they are unpacked
    first.

    Raises
    ------
    PnbxTypeError, ShapeError
        If ``x`` is neither bool nor int8, or the number of bytes does not fit.

    Examples
    --------
    >>> codes = torch.tensor([9, 1], dtype=torch.uint8)  # 1 -1 0 0 1 and one more 0
    >>> packed_product(torch.tensor([[5, 6, 7]], dtype=torch.int8), codes, num_outputs=2).tolist()
    [[-1, 6]]
    """
    if x.dtype not in (torch.bool, torch.int8):
        raise PnbxTypeError(f"packed_product: x must be bool or int8, got {x.dtype}")
    N, K = num_outputs, x.shape[-1] if x.ndim else 0
    if codes.shape != ((N * K + 3) // 4,):
        raise ShapeError(
            f"packed_product: weights [{N}, {K}] must be {(N * K + 3) // 4} bytes, got shape {list(codes.shape)}"
        )
    y: Tensor = _packed_product(x.reshape(-1, K).to(torch.int8), codes, N)
    return y.reshape(*x.shape[:-1], N)


@operator("pnbx_snn::packed_product")
def _packed_product(x: Tensor, codes: Tensor, num_outputs: int) -> Tensor:
    N, K = num_outputs, x.shape[1]
    on_device = getattr(kernels("ternary", x.device.type), "packed_product", None)
    if on_device is not None:
        y: Tensor = on_device(x, codes, N, K)
        return y
    exact = torch.float32 if 128 * K < 1 << 24 else torch.float64
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=x.device)
    two = ((codes.unsqueeze(1) >> shifts) & 3).flatten()[: N * K].reshape(N, K).to(torch.int8)
    return linear(x.to(exact), ((two & 1) - (two >> 1)).to(exact)).to(torch.int32)


@torch.library.register_fake("pnbx_snn::packed_product")  # type: ignore[untyped-decorator,unused-ignore]
def _(x: Tensor, codes: Tensor, num_outputs: int) -> Tensor:
    return x.new_empty(x.shape[0], num_outputs, dtype=torch.int32)


def _kernels(x: Tensor) -> Any:
    """Return the compiled loops for a tensor's device and dtype, or ``None``."""
    return kernels("ternary", x.device.type) if x.dtype == torch.float32 else None


@operator("pnbx_snn::ternary_products")
def _products(
    x: Tensor, latents: Sequence[Tensor], ternaries: Sequence[Tensor], scales: Sequence[Tensor], step: Tensor | None
) -> list[Tensor]:
    """Products, then the bits of ``x`` and how many are set: -1 if it is not of 0 and 1 alone."""
    loops, sums = _kernels(x), None
    bits, active = _nothing_packed(x)
    if loops is not None:
        sums, number = loops.exact_sums(x, bits, ternaries, codes=step is not None)
        active.fill_(number)
    if sums is not None:
        products = [part * scale for part, scale in zip(sums, scales, strict=True)]
    else:
        products = [_product(loops, x, w.T).mul_(scale) for w, scale in zip(ternaries, scales, strict=True)]
    return [*products, bits, active]


@operator("pnbx_snn::ternary_products_backward")
def _products_backward(
    grads: Sequence[Tensor], x: Tensor, bits: Tensor, active: Tensor, ternaries: Sequence[Tensor],
    scales: Sequence[Tensor], step: Tensor | None, need_x: bool, need_weights: bool,
) -> list[Tensor]:  # fmt: skip
    """Gradients of the input and of each latent weight; those not needed are empty."""
    loops, grad_x = _kernels(x), x.new_empty(0)
    if need_x and loops is not None and loops.tables_fit(x, ternaries):
        grad_x = loops.by_tables(grads, ternaries, scales)
    elif need_x:
        first, *others = (
            _product(loops, grad, w).mul_(scale) for grad, w, scale in zip(grads, ternaries, scales, strict=True)
        )
        grad_x = sum(others, start=first)
    if not need_weights:
        return [grad_x, *(x.new_empty(0) for _ in grads)]
    if loops is not None and 0 <= int(active.item()) <= loops.DENSEST * x.numel():
        grad_weights: list[Tensor] = loops.gather(bits, x.shape[1], grads)
    else:
        grad_weights = [_product(loops, grad.T, x) for grad in grads]
    if step is not None:
        grad_weights = [grad.mul_(step) for grad in grad_weights]
    return [grad_x, *grad_weights]


def _product(loops: Any, a: Tensor, b: Tensor) -> Tensor:
    y: Tensor = getattr(loops, "product", torch.matmul)(a, b)
    return y


def _nothing_packed(x: Tensor) -> tuple[Tensor, Tensor]:
    bits = x.new_zeros((x.shape[0], (x.shape[1] + 63) // 64), dtype=torch.int64)
    return bits, x.new_full((), -1, dtype=torch.int64)


@torch.library.register_fake("pnbx_snn::ternary_products")  # type: ignore[untyped-decorator,unused-ignore]
def _(
    x: Tensor, latents: Sequence[Tensor], ternaries: Sequence[Tensor], scales: Sequence[Tensor], step: Tensor | None
) -> list[Tensor]:
    return [*(x.new_empty(x.shape[0], w.shape[0]) for w in ternaries), *_nothing_packed(x)]


@torch.library.register_fake("pnbx_snn::ternary_products_backward")  # type: ignore[untyped-decorator,unused-ignore]
def _(
    grads: Sequence[Tensor], x: Tensor, bits: Tensor, active: Tensor, ternaries: Sequence[Tensor],
    scales: Sequence[Tensor], step: Tensor | None, need_x: bool, need_weights: bool,
) -> list[Tensor]:  # fmt: skip
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


torch.library.register_autograd("pnbx_snn::ternary_products", _differentiate, setup_context=_keep)
