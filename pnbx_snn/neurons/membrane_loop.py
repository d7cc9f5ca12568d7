"""The step of a membrane, and all steps in torch's operations, where no compiled kernel runs them."""

from typing import Any

import torch
from torch import Tensor

from pnbx_snn.errors import PnbxError
from pnbx_snn.neurons.cells import Reset
from pnbx_snn.neurons.messages import TorusMessages, edge_gradient, torus_messages, transpose_edges
from pnbx_snn.surrogate import SpikeFunction


def membrane_step(
    drive: Tensor, beta: Tensor, threshold: Tensor, v: Tensor, z: Tensor,
    reset: Reset, fire: SpikeFunction, messages: TorusMessages | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return spikes and membrane of one step, ``[B, N]`` each: the definition."""
    u = beta * v + drive
    if messages is not None:
        u = u + messages(z)
    z = fire(u - threshold)
    return z, after_reset(reset, u, z, z, threshold)


class MembraneLoop(torch.autograd.Function):
    """All steps in torch's operations: no graph node per step, one saved tensor."""

    @staticmethod
    def forward(
        ctx: Any, drive: Tensor, beta: Tensor, threshold: Tensor, v: Tensor, z: Tensor, edges: Tensor | None,
        reset: Reset, spike_grad: SpikeFunction, messages: TorusMessages | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return the spikes ``[T, B, N]`` and the last membrane ``[B, N]``."""
        ctx.reset, ctx.spike_grad, ctx.messages = reset, spike_grad, messages
        potentials = torch.empty_like(drive, memory_format=torch.contiguous_format)  # u, [T, B, N]
        spikes = torch.empty_like(potentials)
        ctx.save_for_backward(potentials, beta, threshold, v, z, edges)
        for d, u, out in zip(drive.unbind(0), potentials.unbind(0), spikes.unbind(0), strict=True):
            torch.mul(v, beta, out=u)  # not addcmul, which may round once where step and kernel round twice
            u += d
            if messages is not None:
                u += _heard(messages, z, edges)
            fired = u > threshold
            out.copy_(fired)
            z, v = out, after_reset(reset, u, out, out, threshold)
        return spikes, v

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor, grad_v: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the steps from the stored potentials before the reset."""
        refuse_second_gradients()
        potentials, beta, threshold, v0, z0, edges = ctx.saved_tensors
        messages: TorusMessages | None = ctx.messages
        # The sum over neighbours is its own transpose, with the edges turned around.
        back = None if messages is None or edges is None else transpose_edges(edges, messages.rows, messages.columns)
        slope_at = slopes(ctx.spike_grad, potentials - threshold)  # dz/du, [T, B, N]
        grad_drive = torch.empty_like(potentials)
        grad_beta = torch.zeros_like(potentials[0]) if ctx.needs_input_grad[1] else None
        grad_threshold = torch.zeros_like(potentials[0]) if ctx.needs_input_grad[2] else None
        for t in range(len(potentials) - 1, -1, -1):
            u, slope, grad_z, grad_u = potentials[t], slope_at[t], grad_spikes[t], grad_drive[t]
            if messages is not None and t + 1 < len(potentials):
                grad_z = grad_z + _heard(messages, grad_drive[t + 1], back)
            fired = u > threshold
            if ctx.reset == "zero":  # v = u - z u
                grad_z = torch.addcmul(grad_z, grad_v, u, value=-1)
                torch.addcmul(grad_v.masked_fill(fired, 0.0), grad_z, slope, out=grad_u)
            else:
                if ctx.reset == "subtract":  # v = u - z threshold
                    grad_z = torch.addcmul(grad_z, grad_v, threshold.expand_as(u), value=-1)
                torch.addcmul(grad_v, grad_z, slope, out=grad_u)
            if grad_threshold is not None:
                grad_threshold.addcmul_(grad_z, slope, value=-1)
                if ctx.reset == "subtract":
                    grad_threshold.addcmul_(grad_v, fired.to(u.dtype), value=-1)
            if grad_beta is not None:
                before = v0 if t == 0 else _before(ctx.reset, potentials[t - 1], threshold)
                grad_beta.addcmul_(grad_u, before)
            grad_v = grad_u * beta
        grad_z0, grad_edges = None, None
        if messages is not None and ctx.needs_input_grad[4]:
            grad_z0 = _heard(messages, grad_drive[0], back)
        if messages is not None and edges is not None and ctx.needs_input_grad[5]:
            sent = torch.cat((z0.unsqueeze(0), (potentials[:-1] > threshold).to(z0.dtype)))  # z[t-1], [T, B, N]
            torus = (messages.rows, messages.columns, messages.kappa_shift)
            grad_edges = edge_gradient(sent, grad_drive, *torus).to(edges.dtype)
        of_parameters = summed(grad_beta, beta), summed(grad_threshold, threshold)
        return grad_drive, *of_parameters, grad_v, grad_z0, grad_edges, None, None, None


def _heard(messages: TorusMessages, values: Tensor, edges: Tensor | None) -> Tensor:
    """Messages with edges that are rounded already, or turned around."""
    return torus_messages(values, messages.rows, messages.columns, messages.kappa_shift, edges)


def after_reset(reset: Reset, u: Tensor, events: Tensor, fired: Tensor, threshold: Tensor) -> Tensor:
    """Return a membrane after its reset: it loses as many thresholds as its event is, or all where it ``fired``."""
    if reset == "none":
        return u
    return u - (fired * u if reset == "zero" else events * threshold)


def _before(reset: Reset, u: Tensor, threshold: Tensor) -> Tensor:
    """Membrane after the reset of the step whose potential was ``u``."""
    fired = (u > threshold).to(u.dtype)
    return after_reset(reset, u, fired, fired, threshold)


def refuse_second_gradients() -> None:
    """Raise a :class:`PnbxError` in a backward pass that is itself to be differentiated."""
    if torch.is_grad_enabled():  # only under create_graph=True
        raise PnbxError("membrane: gradients of gradients are not offered, got create_graph=True")


def slopes(spike_grad: SpikeFunction, distance: Tensor) -> Tensor:
    """Return the derivative of the surrogate at each ``v - threshold``."""
    with torch.enable_grad():
        distance = distance.detach().requires_grad_()
        spikes = spike_grad(distance)
        if not spikes.requires_grad:
            return torch.zeros_like(distance)
        (slopes,) = torch.autograd.grad(spikes, distance, torch.ones_like(spikes))
    return slopes


def summed(grad: Tensor | None, like: Tensor) -> Tensor | None:
    """Sum the gradient of a scalar or ``[N]`` parameter over what it was broadcast to."""
    return None if grad is None else grad.sum_to_size(like.shape)
