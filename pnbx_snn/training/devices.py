"""Where training runs: devices, processes and precision, by ``accelerate``."""

from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object, is_bf16_available
from torch import Tensor, nn

from pnbx_snn.errors import PnbxError
from pnbx_snn.networks.base import Network
from pnbx_snn.training.collectives import share_batch_norms

MixedPrecision = Literal["auto", "no", "bf16", "fp16"]


def bf16_is_fast() -> bool:
    """Whether bfloat16 products have instructions here; a CPU without them took 8 times as long as in float32."""
    if torch.accelerator.is_available():
        return bool(is_bf16_available(ignore_tpu=True))
    can: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in torch 2.6
    return bool(can.get("avx512_bf16") or can.get("amx_bf16") or can.get("bf16"))  # the last is Arm's name


class Learner(nn.Module):
    """What processes share: ``forward`` asks the network to classify, so that gradients are averaged behind it."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, x: Tensor, *, generator: torch.Generator | None, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return logits and spikes."""
        return self.model.classify(x, generator=generator, lengths=lengths)


class Workers:
    """The processes of a training and their devices; one process on one device is the usual case.

    Parameters
    ----------
    mixed_precision
        ``"bf16"``, ``"fp16"`` (with a scaled loss; needs a GPU), ``"no"``, or ``"auto"``: bf16 where it is fast.

    Attributes
    ----------
    mixed_precision : str
        What ``"auto"`` became.
    device : torch.device
        Of this process: cuda or xpu where there is one, else cpu.
    rank : int
        Number of this process; 0 is the one that writes files.
    num_processes : int
        How many there are.

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
        self._accelerator = Accelerator(mixed_precision=mixed_precision, cpu=on_cpu)
        self.device: torch.device = self._accelerator.device
        self.rank: int = self._accelerator.process_index
        self.num_processes: int = self._accelerator.num_processes

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def prepare(self, learner: Learner, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Return learner and optimiser with gradients averaged over the processes and products in half precision.

        Batch norms take the statistics of all processes from now on.
        """
        if self.num_processes > 1:
            share_batch_norms(learner)
        learner_, optimizer_ = self._accelerator.prepare(learner, optimizer)
        return learner_, optimizer_

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which products are computed in half precision, as inside the prepared learner."""
        context: AbstractContextManager[Any] = self._accelerator.autocast()
        return context

    def share(self, batch: Tensor) -> Tensor:
        """Return this process's part of a batch of sample numbers."""
        return batch.tensor_split(self.num_processes)[self.rank]

    def total(self, x: Tensor) -> Tensor:
        """Return the sum of all processes' tensors, without gradients, the same in each process; ``x`` if alone."""
        if self.num_processes == 1:
            return x
        summed: Tensor = self._accelerator.reduce(x.detach(), reduction="sum")
        return summed

    def gathered(self, value: Any) -> list[Any]:
        """Return what each process gave, in the order of the processes: plain numbers, texts, lists."""
        return list(gather_object([value]))

    def collecting(self, learner: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Return the context of one piece of a batch: gradients add up here and are averaged with the ``last`` one."""
        context: AbstractContextManager[Any] = nullcontext() if last else self._accelerator.no_sync(learner)
        return context

    def backward(self, loss: Tensor) -> None:
        """Compute gradients and add them to those that are there."""
        self._accelerator.backward(loss)

    def clip(self, learner: nn.Module, clip_norm: float) -> None:
        """Scale gradients down to ``clip_norm`` where they are longer (0: leave them as they are)."""
        if clip_norm:
            self._accelerator.clip_grad_norm_(learner.parameters(), clip_norm)

    def wait(self) -> None:
        """Wait until every process is here."""
        self._accelerator.wait_for_everyone()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let the next training in this process choose anew."""
        AcceleratorState._reset_state()
