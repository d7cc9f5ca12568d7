"""The scan: a diagonal linear recurrence over all steps, safe for every decay, with its own backward pass."""

from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

from pnbx_snn.checks import transformed
from pnbx_snn.errors import PnbxError, PnbxTypeError, ShapeError
from pnbx_snn.kernels.dispatch import kernels
from pnbx_snn.kernels.operators import operator


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
    inputs, initial : Tensor, ``[T, B, S]`` and ``[B, S]``
        :math:`x`, and the state before the first step.

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
    decay. The backward pass is the same recurrence from the end: :math:`g_t = \bar s_t + d_{t+1}^* g_{t+1}`, with
    :math:`\partial x_t = g_t` and :math:`\partial d_t = g_t s_{t-1}^*`; that of a decay ``[S]`` is summed on the way
    and never exists as ``[T, B, S]``.

    An operator of torch, ``pnbx_snn::diagonal_scan``, so it can be compiled and exported. In single or double
    precision it is one compiled pass over time: on a CPU by numba, on cuda and xpu by Triton; elsewhere, or without
    these, a loop of torch operations. Real numbers are equal bit for bit wherever torch fuses a multiplication with an
    addition (every x86-64 CPU since about 2014), complex ones up to the rounding of their products.

    References
    ----------
    Own; adjoint as in Martin and Cundy 2018, arXiv:1709.04057, section 2.

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
    decay, inputs, initial = decay.to(dtype), inputs.to(dtype), initial.to(dtype)
    if not transformed():
        states: Tensor = _scan(decay, inputs, initial)
        return states
    s, after = initial, []
    for d, x in zip(decay.expand_as(inputs).unbind(0), inputs.unbind(0), strict=True):
        s = torch.addcmul(x, d, s)
        after.append(s)
    return torch.stack(after)


def _kernels(tensor: Tensor) -> Any:
    """Return the compiled loops for a tensor's device and dtype, or ``None``."""
    found = kernels("scan", tensor.device.type)
    return found if found is not None and found.usable(tensor) else None


@operator("pnbx_snn::diagonal_scan")
def _scan(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """States ``[T, B, S]``; all three arguments of one dtype."""
    loops = _kernels(inputs)
    if loops is not None:
        compiled: Tensor = loops.run_forward(decay, inputs, initial)
        return compiled
    states = torch.empty_like(inputs, memory_format=torch.contiguous_format)
    s = initial
    for d, x, out in zip(decay.expand_as(inputs).unbind(0), inputs.unbind(0), states.unbind(0), strict=True):
        s = torch.addcmul(x, d, s, out=out)
    return states


@operator("pnbx_snn::diagonal_scan_backward")
def _scan_backward(
    decay: Tensor, initial: Tensor, states: Tensor, grad: Tensor, need_decay: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of decay (empty if not needed), inputs and initial."""
    loops = _kernels(states)
    if loops is not None:
        compiled: tuple[Tensor, Tensor, Tensor] = loops.run_backward(
            decay, initial, states, grad, need_decay=need_decay
        )
        return compiled
    grad_inputs = torch.empty_like(states)  # [T, B, S]
    decays, grads, out = decay.conj().expand_as(states).unbind(0), grad.unbind(0), grad_inputs.unbind(0)
    out[-1].copy_(grads[-1])
    for t in range(len(out) - 2, -1, -1):
        torch.addcmul(grads[t], decays[t + 1], out[t + 1], out=out[t])
    grad_decay = decay.new_empty(0)
    if need_decay:
        grad_decay = torch.empty_like(states)
        torch.mul(grad_inputs[0], initial.conj(), out=grad_decay[0])
        torch.mul(grad_inputs[1:], states[:-1].conj(), out=grad_decay[1:])
        if decay.ndim == 1:
            grad_decay = grad_decay.sum((0, 1))
    return grad_decay, grad_inputs, decays[0] * out[0]


@torch.library.register_fake("pnbx_snn::diagonal_scan")  # type: ignore[untyped-decorator,unused-ignore]
def _(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    return torch.empty_like(inputs, memory_format=torch.contiguous_format)


@torch.library.register_fake("pnbx_snn::diagonal_scan_backward")  # type: ignore[untyped-decorator,unused-ignore]
def _(decay: Tensor, initial: Tensor, states: Tensor, grad: Tensor, need_decay: bool) -> tuple[Tensor, Tensor, Tensor]:
    grad_decay = torch.empty_like(decay, memory_format=torch.contiguous_format) if need_decay else decay.new_empty(0)
    return grad_decay, torch.empty_like(states), torch.empty_like(initial, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], inputs[2], output)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # only under create_graph=True
        raise PnbxError("diagonal_scan: gradients of gradients are not offered, got create_graph=True")
    need_decay = ctx.needs_input_grad[0]
    grad_decay, grad_inputs, grad_initial = _scan_backward(*ctx.saved_tensors, grad, need_decay)
    return grad_decay if need_decay else None, grad_inputs, grad_initial


torch.library.register_autograd("pnbx_snn::diagonal_scan", _differentiate, setup_context=_keep)
