"""Fast weights over a whole sequence as one operator of torch, run by compiled kernels."""

from typing import Any

import torch
from torch import Tensor

from pnbx_snn.checks import transformed
from pnbx_snn.errors import PnbxError
from pnbx_snn.kernels.dispatch import has_kernels, kernels
from pnbx_snn.kernels.operators import operator


def usable(keys: Tensor) -> bool:
    """Whether :func:`fast_weights_scan` can run this: kernels for the device, single or double precision.

    Not under ``torch.func``: there the caller's matrix products are what can be transformed.
    """
    return (
        not transformed()
        and keys.dtype in (torch.float32, torch.float64)
        and has_kernels("fast_weights", keys.device.type)
    )


def fast_weights_scan(
    keys: Tensor, F0: Tensor, key0: Tensor, decay: float, rate: float, *, delta: bool
) -> tuple[Tensor, Tensor]:
    r"""Write to and read from fast weights in every step; the equations stand in ``pnbx_snn.layers.fast_weights``.

    Parameters
    ----------
    keys : Tensor, ``[T, B, r]``
        One for which :func:`usable` answers True.
    F0, key0 : Tensor, ``[B, r, r]`` and ``[B, r]``
        Fast weights and key before the first step, of the same dtype.
    decay, rate : float
        :math:`\lambda` and :math:`\eta`.
    delta : bool
        Whether errors are written (delta rule), or the keys themselves (Hebbian).

    Returns
    -------
    Tensor, Tensor
        What is read ``[T, B, r]``, and the fast weights after the last step ``[B, r, r]``.

    Raises
    ------
    PnbxError
        In the backward pass, if it is asked for with ``create_graph=True``.

    Notes
    -----
    Saved for the backward pass: the keys, and in the delta rule as many errors. The fast weights of no step are: the
    backward pass makes them anew. Sums have a fixed order, the same for any number of threads; a multiplication is
    fused with an addition wherever the processor can do that (every x86-64 CPU since about 2014).

    Examples
    --------
    >>> keys = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]]])  # A, B, A
    >>> reads, F = fast_weights_scan(keys, torch.zeros(1, 2, 2), torch.zeros(1, 2), 0.5, 1.0, delta=False)
    >>> reads[2].tolist()
    [[0.0, 0.5]]
    """
    reads, F, _ = torch.ops.pnbx_snn.fast_weights(keys, F0, key0, decay, rate, delta)
    return reads, F


@operator("pnbx_snn::fast_weights")
def _forward(
    keys: Tensor, F0: Tensor, key0: Tensor, decay: float, rate: float, delta: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the reads, the last fast weights, and the errors (empty without the delta rule)."""
    found: tuple[Tensor, Tensor, Tensor] = _kernels(keys).run_forward(keys, F0, key0, decay, rate, delta)
    return found


@operator("pnbx_snn::fast_weights_backward")
def _backward(
    keys: Tensor, F0: Tensor, key0: Tensor, errors: Tensor, grad_reads: Tensor, grad_F: Tensor, decay: float,
    rate: float, delta: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of keys, F0 and key0."""
    found: tuple[Tensor, Tensor, Tensor] = _kernels(keys).run_backward(
        keys, F0, key0, errors, grad_reads, grad_F, decay, rate, delta
    )
    return found


@torch.library.register_fake("pnbx_snn::fast_weights")  # type: ignore[untyped-decorator,unused-ignore]
def _(keys: Tensor, F0: Tensor, key0: Tensor, decay: float, rate: float, delta: bool) -> tuple[Tensor, Tensor, Tensor]:
    return keys.new_empty(keys.shape), F0.new_empty(F0.shape), keys.new_empty(keys.shape if delta else (0,))


@torch.library.register_fake("pnbx_snn::fast_weights_backward")  # type: ignore[untyped-decorator,unused-ignore]
def _(
    keys: Tensor, F0: Tensor, key0: Tensor, errors: Tensor, grad_reads: Tensor, grad_F: Tensor, decay: float,
    rate: float, delta: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return keys.new_empty(keys.shape), F0.new_empty(F0.shape), key0.new_empty(key0.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    keys, F0, key0, *ctx.options = inputs
    ctx.save_for_backward(keys, F0, key0, output[2])
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)  # or torch would fill zeros for the errors


def _differentiate(ctx: Any, grad_reads: Tensor | None, grad_F: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # only under create_graph=True
        raise PnbxError(
            "fast weights: gradients of gradients are not offered over whole sequences, got create_graph=True; "
            "go step by step"
        )
    keys, F0, *_ = ctx.saved_tensors
    grad_reads = torch.zeros_like(keys) if grad_reads is None else grad_reads
    grad_F = torch.zeros_like(F0) if grad_F is None else grad_F
    gradients = torch.ops.pnbx_snn.fast_weights_backward(*ctx.saved_tensors, grad_reads, grad_F, *ctx.options)
    return *gradients, None, None, None


torch.library.register_autograd("pnbx_snn::fast_weights", _differentiate, setup_context=_keep)


def _kernels(keys: Tensor) -> Any:
    return kernels("fast_weights", keys.device.type)
