"""The networks whose steps are measured: each fills its memory to a length, steps, and says what it holds."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pnbx_snn.errors import PnbxValueError
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.quantization import keep_ternary
from pnbx_snn.training.packed import pack_sign_bits
from studies.measurements.forms import Runtimes, formed
from studies.measurements.process import ONNX
from studies.rivals import SEQUENCE_MODELS, KVCache, Transformer

NATIVE, TORCH_PNBX = "PNB-X", "PNB-X, torch"
FULL: tuple[tuple[str, str], ...] = (
    (NATIVE, "native"),
    (TORCH_PNBX, "fp32"),
    *(("Transformer, equal", form) for form in ("fp32", "bf16", "fp16", "int8", "int8, int8 KV")),
    *(("Transformer, equal", form) for form in ("fp32, compiled", "int8, compiled")),
    *(("Transformer, equal", f"{form}, {ONNX}") for form in ("fp32", "int8", "int8, int8 KV", "int4, int8 KV")),
    *(("Transformer, document", form) for form in ("fp32", "int8", "int8, int8 KV")),
    *(("GRU", form) for form in ("fp32", "int8")),
    *(("SSM", form) for form in ("fp32", "int8")),
)
QUICK: tuple[tuple[str, str], ...] = (
    (NATIVE, "native"),
    ("Transformer, equal", "int8, int8 KV"),
)
PIECE = 256


def images(number: int) -> Tensor:
    """Return ``[n, 784]``, as sparse as MNIST: 19 % of the values are not 0."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(number, 784, generator=generator) * (torch.rand(number, 784, generator=generator) < 0.19)


@torch.no_grad()
def settled(model: PNBX, inputs: Tensor) -> PNBX:
    """Let glia bring the firing rates to 18.8 % on ``[T, B, N]``, as in a trained network, for evaluation."""
    model.eval()
    for block in model.blocks:
        block.glia.train()  # type: ignore[union-attr]
    for _ in range(40):
        model.adapt(model(inputs, keep_state=False).spikes)
    return model.eval()


def settled_reference(d_hidden: int = 2048) -> PNBX:
    """Return the reference network with random weights, its firing rates settled on a stream.

    Slow states fill for a thousand steps, and the rates with them: settled on 32 steps, the block fires at 26.6 % in a
    stream of 2,048, settled on 1,024 at 19.1 %.
    """
    torch.manual_seed(0)
    model = PNBX(in_features=784, num_classes=10, num_steps=8, d_hidden=d_hidden)
    shown = images(128)
    model.calibrate(shown)
    return settled(model, shown.repeat(8, 1).unsqueeze(1))


class Stepped:
    """A rival at batch 1, in one form.

    Parameters
    ----------
    name, form
        One of :data:`FULL`, but for the native executor's.
    small
        ``True``: the smallest network of the kind, to have the same code run once.
    runtimes
        See :func:`studies.measurements.forms.formed`.

    Raises
    ------
    PnbxValueError
        Another name or form.
    UnavailableError
        A form that this machine lacks a package or a compiler for.
    """

    def __init__(self, name: str, form: str, *, small: bool = False, runtimes: Runtimes | None = None) -> None:
        self.form = form
        self.make_cache: Callable[[int], KVCache] | None = None
        self.state: Any = None
        self.cache: Any = None
        self.kept: Any = None
        if name == TORCH_PNBX:
            self.model: Any = settled_reference(256) if small else settled_reference()
            self.kept = keep_ternary(self.model)  # weights are rounded once
            self.kept.__enter__()
            self.inputs = images(PIECE).unsqueeze(1)  # [T, 1, 784]
        elif name in SEQUENCE_MODELS:
            torch.manual_seed(0)
            model = _small(name) if small else SEQUENCE_MODELS[name]()
            self.model, self.make_cache = formed(model, form, runtimes or {})
            self.inputs = torch.randint(10, (PIECE, 1), generator=torch.Generator().manual_seed(0))
        else:
            known = "; ".join(sorted({known for known, _ in FULL}))
            raise PnbxValueError(f"measure: model must be one of {known}, got {name!r}")
        self.number = 0

    @torch.no_grad()
    def fill(self, length: int) -> dict[str, Any]:
        """Be at step ``length``: a Transformer's cache holds random keys and values, others have run."""
        self.state = self.cache = None
        if self.make_cache is not None:
            self.cache = self.make_cache(length + 16)
            numbers = self.cache.numbers
            numbers.uniform_(-1, 1) if numbers.is_floating_point() else numbers.random_(-100, 100)
            if self.cache.scales is not None:
                self.cache.scales.fill_(0.01)
            self.cache.length = length
        else:
            for first in range(0, length, PIECE):
                inputs = self.inputs[: min(PIECE, length - first)]
                out = self.model(inputs, self.state)
                self.state = out.state if isinstance(self.model, PNBX) else out[1]
        return {"steps": length}

    @torch.no_grad()
    def steps(self, count: int) -> dict[str, Any]:
        """Return the seconds of each of ``count`` steps; a cache is never more than 8 steps beyond its length."""
        wall, cpu = [], []
        length = 0 if self.cache is None else self.cache.length
        for number in range(count):
            x = self.inputs[number % len(self.inputs)]
            if self.cache is not None and number % 8 == 0:
                self.cache.length = length
            start, start_cpu = time.perf_counter(), time.thread_time()
            if self.cache is not None:
                self.model.step(x, self.cache)
            elif isinstance(self.model, PNBX):
                _, self.state = self.model.stream(x, self.state)
            else:
                _, self.state = self.model.step(x, self.state)
            cpu.append(time.thread_time() - start_cpu)
            wall.append(time.perf_counter() - start)
        if self.cache is not None:
            self.cache.length = length
        return {"cpu": cpu, "wall": wall}

    @torch.no_grad()
    def total(self, length: int) -> dict[str, Any]:
        """Return the seconds of a whole sequence of tokens at once: a Transformer's prefill, or a scan."""
        if self.make_cache is not None and not isinstance(self.model, Transformer):
            raise PnbxValueError(f"measure: a whole sequence at once has no form {self.form!r}")
        tokens = torch.randint(10, (length, 1), generator=torch.Generator().manual_seed(0))
        cache = self.model.cache(1, capacity=length) if isinstance(self.model, Transformer) else None
        start, start_cpu = time.perf_counter(), time.thread_time()
        self.model(tokens, cache)
        return {"cpu": time.thread_time() - start_cpu, "wall": time.perf_counter() - start}

    def state_bytes(self) -> int:
        """Return the bytes of the state as it is now: all tensors in it, or the cache without its spare steps."""
        if self.cache is not None:
            return int(self.cache.nbytes * self.cache.length / self.cache.capacity)
        return sum(tensor.nbytes for tensor in _tensors(self.state))

    def file_bytes(self) -> int:
        """Return the size of the saved weights; ternary ones packed at two bits."""
        if isinstance(self.model, PNBX):
            return int(
                sum(pack_sign_bits(p.sign().to(torch.int8)).nbytes for p in self.model.parameters() if p.ndim == 2)
            )
        if not isinstance(self.model, nn.Module):  # of another runtime
            return int(self.model.file_bytes)
        buffer = io.BytesIO()
        torch.save(self.model.state_dict(), buffer)
        return buffer.tell()


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in _tensors(part)]
    return []


def _small(name: str) -> nn.Module:
    from studies.rivals import GRU, DiagonalStateSpaces

    if name == "GRU":
        return GRU(num_tokens=10, num_classes=10, d_model=8, d_hidden=8)
    if name == "SSM":
        return DiagonalStateSpaces(num_tokens=10, num_classes=10, d_model=8, d_state=8, num_layers=1, d_ff=8)
    return Transformer(num_tokens=10, d_model=16, num_heads=2, num_layers=1, d_ff=8, num_positions=8)
