"""The scan of a state that a gate keeps or replaces: gate and recurrence as one operator of torch."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pnbx_snn.checks import transformed
from pnbx_snn.errors import PnbxError, ShapeError
from pnbx_snn.kernels.dispatch import has_kernels, kernels
from pnbx_snn.kernels.operators import operator
from pnbx_snn.kernels.scan import diagonal_scan


def gated_scan(
    gate: Float[Tensor, "T B S"], inputs: Float[Tensor, "T B S"], initial: Float[Tensor, "B S"]
) -> Float[Tensor, "T B S"]:
    r"""Run a gated linear recurrence over all steps.

    .. math::

        f_t = \sigma(\text{gate}_t), \qquad s_t = f_t \odot s_{t-1} + (1 - f_t) \odot x_t

    Parameters
    ----------
    gate, inputs : Tensor, ``[T, B, S]``
        What the sigmoid takes, and :math:`x`.
    initial : Tensor, ``[B, S]``
        State before the first step.

    Returns
    -------
    Tensor, ``[T, B, S]``
        States after every step: bit for bit those of :func:`~pnbx_snn.kernels.scan.diagonal_scan` with
        ``sigmoid(gate)`` and ``(1 - sigmoid(gate)) * inputs``.

    Raises
    ------
    ShapeError, PnbxTypeError
        As of :func:`~pnbx_snn.kernels.scan.diagonal_scan`.
    PnbxError
        In the backward pass, if it is asked for with ``create_graph=True``.

    Notes
    -----
    On a CPU with numba one pass over memory forward and one backward, after torch's sigmoid: 16 times a row of
    numbers is read or written, where torch's operations around the scan need 35. Elsewhere it is those.

    Examples
    --------
    >>> gate, inputs = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    >>> gated_scan(gate, inputs, torch.zeros(1, 1)).flatten().tolist()
    [0.5, 0.75, 0.875]
    """
    if gate.shape != inputs.shape:
        raise ShapeError(
            f"gated_scan: gate must be [T, B, S] = {list(inputs.shape)} like the inputs, got {list(gate.shape)}"
        )
    dtype = torch.promote_types(torch.promote_types(gate.dtype, inputs.dtype), initial.dtype)
    if (
        gate.ndim == 3
        and gate.numel() > 0
        and gate.shape[1:] == initial.shape
        and gate.dtype == dtype  # or the sigmoid would be another's
        and dtype in (torch.float32, torch.float64)
        and not transformed()
        and has_kernels("gated_scan", gate.device.type)
    ):
        states: Tensor = torch.ops.pnbx_snn.gated_scan(gate, inputs.to(dtype), initial.to(dtype))[0]
        return states
    keep = torch.sigmoid(gate)
    # 1 - keep is exact above one half, so the rounded weights still add up to 1 and the state stays bounded.
    return diagonal_scan(keep, (1 - keep) * inputs, initial)


@operator("pnbx_snn::gated_scan")
def _forward(gate: Tensor, inputs: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """Return states and what is kept in each step, ``[T, B, S]``."""
    found: tuple[Tensor, Tensor] = _kernels(gate).run_forward(gate, inputs, initial)
    return found


@operator("pnbx_snn::gated_scan_backward")
def _backward(
    keep: Tensor, inputs: Tensor, initial: Tensor, states: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of gate, inputs and initial."""
    found: tuple[Tensor, Tensor, Tensor] = _kernels(keep).run_backward(keep, inputs, initial, states, grad)
    return found


@torch.library.register_fake("pnbx_snn::gated_scan")  # type: ignore[untyped-decorator,unused-ignore]
def _(gate: Tensor, inputs: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    return gate.new_empty(gate.shape), gate.new_empty(gate.shape)


@torch.library.register_fake("pnbx_snn::gated_scan_backward")  # type: ignore[untyped-decorator,unused-ignore]
def _(keep: Tensor, inputs: Tensor, initial: Tensor, states: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return keep.new_empty(keep.shape), keep.new_empty(keep.shape), initial.new_empty(initial.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    states, keep = output
    ctx.save_for_backward(keep, inputs[1], inputs[2], states)
    ctx.mark_non_differentiable(keep)
    ctx.set_materialize_grads(False)  # or torch would fill zeros for what has no gradient


def _differentiate(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return None, None, None
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # only under create_graph=True
        raise PnbxError("gated_scan: gradients of gradients are not offered, got create_graph=True")
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.pnbx_snn.gated_scan_backward(*ctx.saved_tensors, grad)
    return gradients


torch.library.register_autograd("pnbx_snn::gated_scan", _differentiate, setup_context=_keep)


def _kernels(tensor: Tensor) -> Any:
    return kernels("gated_scan", tensor.device.type)
