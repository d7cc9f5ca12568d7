"""Graded events: LIF neurons whose spikes carry one of a few sizes, all powers of two."""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from pnbx_snn.checks import transformed
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.kernels.lif import Scan, lif_scan, usable
from pnbx_snn.neurons.cells import Reset
from pnbx_snn.neurons.membrane_loop import after_reset, refuse_second_gradients, slopes, summed
from pnbx_snn.surrogate import SpikeFunction

Levels = Literal[2, 3, 4]
"""Of events: 2 are binary (0, 1); 3 are 0, 1, 2; 4 are 0, 1, 2, 4."""

WEIGHTS = (1, 1, 2)
"""What an event grows by at the threshold, at twice the threshold and at four times the threshold."""


def check_levels(where: str, levels: int, name: str = "levels") -> None:
    """Raise a :class:`PnbxValueError` unless there are 2, 3 or 4 levels.

    Examples
    --------
    >>> check_levels("lif", 5)
    Traceback (most recent call last):
    pnbx_snn.errors.PnbxValueError: lif: levels must be 2, 3 or 4, got 5
    """
    if levels not in get_args(Levels):
        raise PnbxValueError(f"{where}: {name} must be 2, 3 or 4, got {levels!r}")


def graded_events(
    u: Float[Tensor, "*shape"], threshold: Tensor, levels: int, fire: SpikeFunction
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    r"""Return graded events of a membrane, and beside them 1 where an event is not 0: the definition.

    .. math::

        e = \sum_{i=0}^{L-2} w_i\, H(u - 2^i \theta), \quad w = (1, 1, 2), \qquad
        \frac{\partial e}{\partial u} = \sum_{i=0}^{L-2} \frac{w_i}{2^i}\, g\!\left(\frac{u - 2^i \theta}{2^i}\right)

    with L levels and the surrogate derivative :math:`g`: an event is the largest of 1, 2 and 4 below
    :math:`u / \theta`, and 0 if there is none. The derivatives widen with their thresholds, so that an event follows
    its membrane about as a straight line does.

    Examples
    --------
    >>> from pnbx_snn.surrogate import Surrogate
    >>> u = torch.tensor([1.0, 1.5, 2.5, 9.0])
    >>> events, fired = graded_events(u, torch.tensor(1.0), 4, Surrogate("atan"))
    >>> events.tolist(), fired.tolist()
    ([0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 1.0, 1.0])
    """
    events = fired = fire(u - threshold)
    for i in range(1, levels - 1):  # dividing by a power of two is exact: the same comparison
        events = events + WEIGHTS[i] * fire(u * 0.5**i - threshold)
    return events, fired


def graded_step(
    drive: Tensor, beta: Tensor, threshold: Tensor, v: Tensor, levels: int, reset: Reset, fire: SpikeFunction
) -> tuple[Tensor, Tensor]:
    """Return events and membrane of one step, ``[B, N]`` each; a reset subtracts as many thresholds as an event is."""
    u = beta * v + drive
    events, fired = graded_events(u, threshold, levels, fire)
    return events, after_reset(reset, u, events, fired, threshold)


def graded_scan(
    drive: Tensor, beta: Tensor, threshold: Tensor, v: Tensor, levels: int, reset: Reset, fire: SpikeFunction,
    *, traced: bool = False,
) -> Scan:  # fmt: skip
    """Run :func:`graded_step` over all steps: events ``[T, B, N]``, the last membrane ``[B, N]``, if traced all.

    The compiled loops run it where there are some; else, where the decay is the number 0, steps know nothing of each
    other, and all of them are made at once.
    """
    if usable(drive, beta, threshold, v, fire):
        step: Any = f"graded_{levels}"
        return lif_scan(drive, beta, threshold, v, step=step, reset=reset, spike_grad=fire, traced=traced)
    if transformed() or traced:
        events, membranes = [], []
        for d in drive.unbind(0):
            e, v = graded_step(d, beta, threshold, v, levels, reset, fire)
            events.append(e)
            membranes.append(v)
        return Scan(torch.stack(events), v, torch.stack(membranes) if traced else None)
    run: Any
    if _is_zero(beta):
        same = len(drive) > 1 and drive.stride(0) == 0
        run = _Memoryless.apply
        answer = run(drive[:1] if same else drive, threshold, levels, fire)
        _, v = graded_step(drive[-1], beta, threshold, v, levels, reset, fire)
        return Scan(answer.expand(drive.shape), v, None)
    run = _Loop.apply
    answer, v = run(drive, beta, threshold, v, levels, reset, fire)
    return Scan(answer, v, None)


def _is_zero(beta: Tensor) -> bool:
    """Whether a decay is the number 0, where that can be looked at without waiting for a device."""
    known = beta.ndim == 0 and beta.device.type == "cpu" and not beta.requires_grad
    return known and not torch.compiler.is_compiling() and beta.item() == 0.0


def _digits(u: Tensor, threshold: Tensor, levels: int) -> Tensor:
    events = (u > threshold).to(u.dtype)
    for i in range(1, levels - 1):
        events.add_(u > 2**i * threshold, alpha=WEIGHTS[i])
    return events


def _level_slopes(fire: SpikeFunction, u: Tensor, threshold: Tensor, levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return by what an event grows with its membrane and falls with its threshold, and the same of being not 0."""
    first = slopes(fire, u - threshold)
    of_u, of_threshold = first, first
    for i in range(1, levels - 1):
        slope = slopes(fire, u * 0.5**i - threshold)
        of_threshold = of_threshold.add(slope, alpha=WEIGHTS[i])
        of_u = of_u.add(slope, alpha=WEIGHTS[i] * 0.5**i)
    return of_u, of_threshold, first


class _Memoryless(torch.autograd.Function):
    """Events of membranes that forget everything between steps."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, threshold: Tensor, levels: int, fire: SpikeFunction) -> Tensor:
        ctx.levels, ctx.fire = levels, fire
        ctx.save_for_backward(drive, threshold)
        return _digits(drive, threshold, levels)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_gradients()
        drive, threshold = ctx.saved_tensors
        of_drive, of_threshold, _ = _level_slopes(ctx.fire, drive, threshold, ctx.levels)
        learned = -(grad * of_threshold).sum_to_size(threshold.shape) if ctx.needs_input_grad[1] else None
        return grad * of_drive, learned, None, None


class _Loop(torch.autograd.Function):
    """All steps in torch's operations: no graph node per step, one saved tensor."""

    @staticmethod
    def forward(
        ctx: Any, drive: Tensor, beta: Tensor, threshold: Tensor, v: Tensor,
        levels: int, reset: Reset, fire: SpikeFunction,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        ctx.levels, ctx.reset, ctx.fire = levels, reset, fire
        potentials = torch.empty_like(drive, memory_format=torch.contiguous_format)  # u, [T, B, N]
        events = torch.empty_like(potentials)
        ctx.save_for_backward(potentials, beta, threshold, v)
        for d, u, out in zip(drive.unbind(0), potentials.unbind(0), events.unbind(0), strict=True):
            torch.mul(v, beta, out=u)
            u += d
            out.copy_(_digits(u, threshold, levels))
            v = after_reset(reset, u, out, out > 0, threshold)
        return events, v

    @staticmethod
    def backward(ctx: Any, grad_events: Tensor, grad_v: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_gradients()
        potentials, beta, threshold, v0 = ctx.saved_tensors
        of_u, of_threshold, first = _level_slopes(ctx.fire, potentials, threshold, ctx.levels)
        grad_drive = torch.empty_like(potentials)
        grad_beta = torch.zeros_like(potentials[0]) if ctx.needs_input_grad[1] else None
        grad_threshold = torch.zeros_like(potentials[0]) if ctx.needs_input_grad[2] else None
        for t in range(len(potentials) - 1, -1, -1):
            u, grad_e, grad_u = potentials[t], grad_events[t], grad_drive[t]
            if ctx.reset == "subtract":  # v = u - e threshold
                grad_e = torch.addcmul(grad_e, grad_v, threshold.expand_as(u), value=-1)
            torch.mul(grad_e, of_u[t], out=grad_u)
            if grad_threshold is not None:
                grad_threshold.addcmul_(grad_e, of_threshold[t], value=-1)
            if ctx.reset == "zero":  # v = u - [e > 0] u
                lost = grad_v * u * first[t]
                grad_u += grad_v * (u <= threshold) - lost
                if grad_threshold is not None:
                    grad_threshold += lost
            else:
                grad_u += grad_v
                if ctx.reset == "subtract" and grad_threshold is not None:
                    grad_threshold.addcmul_(grad_v, _digits(u, threshold, ctx.levels), value=-1)
            if grad_beta is not None:
                before = potentials[t - 1] if t else v0
                if t:
                    events = _digits(before, threshold, ctx.levels)
                    before = after_reset(ctx.reset, before, events, events > 0, threshold)
                grad_beta.addcmul_(grad_u, before)
            grad_v = grad_u * beta
        of_parameters = summed(grad_beta, beta), summed(grad_threshold, threshold)
        return grad_drive, *of_parameters, grad_v, None, None, None
