"""The scan: a diagonal linear recurrence over all steps, safe for every decay, with its own backward pass."""

from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

from pnbx_snn.errors import PnbxError, PnbxTypeError, ShapeError


def diagonal_scan(
    decay: Inexact[Tensor, "T B S"] | Inexact[Tensor, "S"],
    inputs: Inexact[Tensor, "T B S"],
    initial: Inexact[Tensor, "B S"],
) -> Inexact[Tensor, "T B S"]:
    r"""Run the diagonal linear recurrence over all steps.

    .. math::

        s_t = d_t \odot s_{t-1} + x_t, \qquad s_{-1} = \text{initial}

    Parameters
    ----------
    decay : Tensor, ``[T, B, S]`` or ``[S]``
        :math:`d`, real or complex; any value, 0 and 1 included.
    inputs : Tensor, ``[T, B, S]``
        :math:`x`.
    initial : Tensor, ``[B, S]``
        State before the first step.

    Returns
    -------
    Tensor, ``[T, B, S]``
        States after every step, in the dtype that the three arguments promote to.

    Raises
    ------
    ShapeError
        If the shapes do not fit each other or an axis of ``inputs`` is empty.
    PnbxTypeError
        If an argument is neither floating point nor complex.
    PnbxError
        In the backward pass, if it is asked for with ``create_graph=True``.

    Notes
    -----
    Time and memory are linear in T. Nothing is divided by a product of decays: such a product underflows after a few
    dozen steps (``snntorch.AssociativeLeaky`` loses its state that way), while the plain recurrence is safe for every
    decay. The loop writes into one tensor and has its own backward pass, the same recurrence from the end:
    :math:`g_t = \bar s_t + d_{t+1}^* g_{t+1}`, with :math:`\partial x_t = g_t` and
    :math:`\partial d_t = g_t s_{t-1}^*`. On a CPU that trains faster than chunks, doubling or matrices of decays
    once B·S reaches about 500. Gradients of gradients are not offered: ``create_graph=True`` is an error.

    References
    ----------
    Own loop; adjoint as in Martin and Cundy 2018, arXiv:1709.04057, section 2.

    Examples
    --------
    >>> inputs = torch.zeros(4, 1, 1)
    >>> inputs[0] = 1.0
    >>> diagonal_scan(torch.tensor([0.5]), inputs, torch.zeros(1, 1)).flatten().tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    if inputs.ndim != 3 or inputs.numel() == 0:
        raise ShapeError(f"diagonal_scan: inputs must be [T, B, S], no axis empty, got shape {list(inputs.shape)}")
    if decay.shape not in (inputs.shape, inputs.shape[2:]):
        raise ShapeError(
            f"diagonal_scan: decay must be [T, B, S] = {list(inputs.shape)} or [S] = {list(inputs.shape[2:])}, "
            f"got {list(decay.shape)}"
        )
    if initial.shape != inputs.shape[1:]:
        raise ShapeError(f"diagonal_scan: initial must be [B, S] = {list(inputs.shape[1:])}, got {list(initial.shape)}")
    for name, tensor in (("decay", decay), ("inputs", inputs), ("initial", initial)):
        if not (tensor.is_floating_point() or tensor.is_complex()):
            raise PnbxTypeError(f"diagonal_scan: {name} must be floating point or complex, got {tensor.dtype}")
    dtype = torch.promote_types(torch.promote_types(decay.dtype, inputs.dtype), initial.dtype)
    # Expanding is free, and autograd sums the gradient of a [S] decay over T and B.
    decay = decay.to(dtype).expand_as(inputs)
    states: Tensor = _DiagonalScan.apply(decay, inputs.to(dtype), initial.to(dtype))  # type: ignore[no-untyped-call]
    return states


class _DiagonalScan(torch.autograd.Function):
    """The loop of :func:`diagonal_scan` without a graph node per step: trains 1.6 to 2.9 times faster (measured)."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
        states = torch.empty_like(inputs, memory_format=torch.contiguous_format)  # [T, B, S]
        s = initial
        for d, x, out in zip(decay.unbind(0), inputs.unbind(0), states.unbind(0), strict=True):
            s = torch.addcmul(x, d, s, out=out)
        ctx.save_for_backward(decay, initial, states)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        if torch.is_grad_enabled():  # only under create_graph=True; torch's once_differentiable is silent in some cases
            raise PnbxError("diagonal_scan: gradients of gradients are not offered, got create_graph=True")
        decay, initial, states = ctx.saved_tensors
        grad_inputs = torch.empty_like(states)  # [T, B, S]
        decays, grads, out = decay.conj().unbind(0), grad.unbind(0), grad_inputs.unbind(0)
        out[-1].copy_(grads[-1])
        for t in range(len(out) - 2, -1, -1):
            torch.addcmul(grads[t], decays[t + 1], out[t + 1], out=out[t])
        grad_decay = None
        if ctx.needs_input_grad[0]:
            grad_decay = torch.empty_like(states)
            torch.mul(grad_inputs[0], initial.conj(), out=grad_decay[0])
            torch.mul(grad_inputs[1:], states[:-1].conj(), out=grad_decay[1:])
        return grad_decay, grad_inputs, decays[0] * out[0]
