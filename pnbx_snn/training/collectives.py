"""Sums over the processes of a training, with their gradients, and batch norm of all samples of all processes."""

from typing import Any

import torch
from torch import Tensor, distributed, nn


def num_processes() -> int:
    """Return how many processes train together; 1 outside ``torchrun`` and ``accelerate launch``."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class _Sum(torch.autograd.Function):
    """Every process gets the sum; the loss of each depends on it, so gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total


def shared_sum(x: Tensor) -> Tensor:
    r"""Return :math:`\sum_r x_r` over the processes ``r``, the same in each; its gradient is that of all their losses.

    With one process it is ``x``. Every process must call it, with the same shape.

    Examples
    --------
    >>> shared_sum(torch.ones(2))
    tensor([1., 1.])
    """
    if num_processes() == 1:
        return x
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total


class _OfAllProcesses:
    r"""The training half of batch norm with the statistics of all samples, wherever they are.

    .. math::

        \mu = \frac{1}{n}\sum_r \sum_i x_{ri}, \qquad \sigma^2 = \frac{1}{n}\sum_r \sum_i (x_{ri} - \mu)^2, \qquad
        y = g\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + b

    torch's own ``SyncBatchNorm`` refuses tensors on a CPU.
    """

    def forward(self: Any, x: Tensor) -> Tensor:
        if not self.training or num_processes() == 1:
            return super().forward(x)  # type: ignore[misc, no-any-return]
        axes = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        values = x.to(torch.promote_types(x.dtype, torch.float32))  # sums of half precision would be wrong
        count = values.new_tensor([x.numel() // x.shape[1]])
        sums = shared_sum(torch.cat([values.sum(dim=axes), count]))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        centred = values - mean.reshape(shape)
        variance = shared_sum(centred.square().sum(dim=axes)) / total
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * (total / (total - 1)), share)
        y = centred * torch.rsqrt(variance + self.eps).reshape(shape)
        if self.affine:
            y = y * self.weight.reshape(shape) + self.bias.reshape(shape)
        return y.to(x.dtype)


class SharedBatchNorm1d(_OfAllProcesses, nn.BatchNorm1d):
    """``nn.BatchNorm1d`` over the samples of all processes."""


class SharedBatchNorm2d(_OfAllProcesses, nn.BatchNorm2d):
    """``nn.BatchNorm2d`` over the samples of all processes."""


_SHARED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SharedBatchNorm1d,
    nn.BatchNorm2d: SharedBatchNorm2d,
}


def share_batch_norms(model: nn.Module) -> None:
    """Let every batch norm of a model see the samples of all processes; parameters, buffers and names stay.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    >>> share_batch_norms(model)
    >>> model[1](torch.randn(4, 3)).shape, isinstance(model[1], nn.BatchNorm1d)
    (torch.Size([4, 3]), True)
    """
    for module in model.modules():
        if type(module) in _SHARED:
            # The class alone: whoever holds the module (an optimiser, a hook, another module) holds the same one.
            module.__class__ = _SHARED[type(module)]
