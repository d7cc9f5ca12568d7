"""Where training runs: devices, processes and precision, by ``accelerate``; sums and batch norm over processes."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object, is_bf16_available
from torch import Tensor, distributed, nn

from pnbx_snn.errors import PnbxError
from pnbx_snn.networks.base import Network

MixedPrecision = Literal["auto", "no", "bf16", "fp16"]


def bf16_is_fast() -> bool:
    """Whether bfloat16 products have instructions here; a CPU without them took 8 times as long as in float32."""
    if torch.accelerator.is_available():
        return bool(is_bf16_available(ignore_tpu=True))
    can: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in torch 2.6
    return bool(can.get("avx512_bf16") or can.get("amx_bf16") or can.get("bf16"))  # the last is Arm's name


class Learner(nn.Module):
    """What processes share: ``forward`` asks the network to classify, so that gradients are averaged behind it.

    With ``every_step`` it asks for the logits of each step too.
    """

    def __init__(self, model: Network, *, every_step: bool = False) -> None:
        super().__init__()
        self.model, self.every_step = model, every_step

    def forward(
        self, x: Tensor, *, generator: torch.Generator | None, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
        """Return logits, spikes and, if asked for, the logits of each step."""
        if self.every_step:
            return self.model.classify_steps(x, generator=generator, lengths=lengths)
        return (*self.model.classify(x, generator=generator, lengths=lengths), None)


class Workers(AbstractContextManager["Workers"]):
    """The processes of a training and their devices; one process on one device is the usual case.

    Parameters
    ----------
    mixed_precision
        ``"bf16"``, ``"fp16"`` (with a scaled loss; needs a GPU), ``"no"``, or ``"auto"``: bf16 where it is fast. The
        attribute of this name is what ``"auto"`` became.

    Attributes
    ----------
    device : torch.device
        Of this process: cuda or xpu where there is one, else cpu.
    rank, num_processes : int
        Number of this process, and how many there are; process 0 is the one that writes files.

    Raises
    ------
    PnbxError
        If this device cannot compute in that precision.
    """

    def __init__(self, mixed_precision: MixedPrecision = "no") -> None:
        # accelerate finds several processes on a CPU (torchrun) only when told that it is one.
        on_cpu = not torch.accelerator.is_available()
        if mixed_precision == "fp16" and on_cpu:
            raise PnbxError("train.mixed_precision = 'fp16' needs a GPU, and there is none; on a CPU take 'bf16'")
        if mixed_precision == "auto":
            mixed_precision = "bf16" if bf16_is_fast() else "no"
        self.mixed_precision: MixedPrecision = mixed_precision
        AcceleratorState._reset_state()  # it keeps the precision of an earlier training in this process
        self.accelerator = Accelerator(mixed_precision=mixed_precision, cpu=on_cpu)
        self.device: torch.device = self.accelerator.device
        self.rank: int = self.accelerator.process_index
        self.num_processes: int = self.accelerator.num_processes
        self.is_main = self.rank == 0

    def prepare(self, learner: Learner, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Return learner and optimiser with gradients averaged over the processes and products in half precision.

        Batch norms take the statistics of all processes from now on.
        """
        if self.num_processes > 1:
            share_batch_norms(learner)
        learner_, optimizer_ = self.accelerator.prepare(learner, optimizer)
        return learner_, optimizer_

    def share(self, batch: Tensor) -> Tensor:
        """Return this process's part of a batch of sample numbers."""
        return batch.tensor_split(self.num_processes)[self.rank]

    def total(self, x: Tensor) -> Tensor:
        """Return the sum of all processes' tensors, without gradients, the same in each process; ``x`` if alone."""
        summed: Tensor = self.accelerator.reduce(x.detach(), reduction="sum")
        return summed

    def gathered(self, value: Any) -> list[Any]:
        """Return what each process gave, in the order of the processes: plain numbers, texts, lists."""
        return list(gather_object([value]))

    def collecting(self, learner: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Return the context of one piece of a batch: gradients add up here and are averaged with the ``last`` one."""
        context: AbstractContextManager[Any] = nullcontext() if last else self.accelerator.no_sync(learner)
        return context

    def backward(self, loss: Tensor) -> None:
        """Compute gradients and add them to those that are there."""
        self.accelerator.backward(loss)

    def clip(self, learner: nn.Module, clip_norm: float) -> None:
        """Scale gradients down to ``clip_norm`` where they are longer (0: leave them as they are)."""
        if clip_norm:
            self.accelerator.clip_grad_norm_(learner.parameters(), clip_norm)

    def __exit__(self, *_: object) -> None:
        """Let the next training in this process choose anew."""
        AcceleratorState._reset_state()


def num_processes() -> int:
    """Return how many processes train together; 1 outside ``torchrun`` and ``accelerate launch``."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class _Sum(torch.autograd.Function):
    """Every process gets the sum; the loss of each depends on it, so gradients are summed as well.

    ``torch.distributed.nn.functional.all_reduce`` computes the same, but torch 2.13 calls it deprecated and names a
    private module instead.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _Sum.forward(ctx, grads[0])


def shared_sum(x: Tensor) -> Tensor:
    r"""Return :math:`\sum_r x_r` over the processes ``r``, the same in each; its gradient is that of all their losses.

    With one process it is ``x``. Every process must call it, with the same shape.
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


_SHARED: dict[type[nn.Module], type[nn.Module]] = {nn.BatchNorm1d: SharedBatchNorm1d, nn.BatchNorm2d: SharedBatchNorm2d}


def share_batch_norms(model: nn.Module) -> None:
    """Let every batch norm of a model see the samples of all processes; parameters, buffers and names stay."""
    for module in model.modules():
        if type(module) in _SHARED:
            # The class alone: whoever holds the module (an optimiser, a hook, another module) holds the same one.
            module.__class__ = _SHARED[type(module)]
