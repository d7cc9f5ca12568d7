"""The networks whose steps are measured: each fills its memory to a length, steps, and says what it holds."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pnbx_snn.errors import PnbxValueError
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.quantization import keep_ternary
from pnbx_snn.training.packed import pack_sign_bits
from studies.measurements.process import ONNX
from studies.measurements.reference import images, settled_reference
from studies.rivals import GRU, SEQUENCE_MODELS, DiagonalStateSpaces, KVCache, Transformer, in_form
from studies.rivals.cache import StoredAs
from studies.rivals.compiled_form import CompiledTransformer
from studies.rivals.forms import FORMS, Form

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
QUICK: tuple[tuple[str, str], ...] = ((NATIVE, "native"), ("Transformer, equal", "int8, int8 KV"))
PIECE = 256
WEIGHTS: dict[str, Form] = {form: form for form in FORMS}
ONLY_RUNTIMES = ("int4",)
"""Weights that a runtime may have and torch has not."""
BYTES = "int8 KV"

MakeCache = Callable[[int], KVCache]
Runtimes = Mapping[str, Callable[..., Any]]


def _compiled(model: Transformer, *, weights: Any, stored: StoredAs) -> CompiledTransformer:
    if stored == "int8":
        raise PnbxValueError(f"measure: compiled has no form '{weights}, {BYTES}, compiled'")
    return CompiledTransformer(model, weights=weights)


def formed(model: nn.Module, form: str, runtimes: Runtimes) -> tuple[Any, MakeCache | None]:
    """Return a model in a form, and what makes its cache for so many steps, if it is a Transformer.

    Parameters
    ----------
    model
        In fp32.
    form
        ``"WEIGHTS"``, ``"WEIGHTS, int8 KV"`` and, of a Transformer, one of them with ``", compiled"`` or the name of
        one of the ``runtimes`` behind it.
    runtimes
        By name, what makes a step of another library: called with the model, ``weights`` and ``stored``.

    Returns
    -------
    tuple
        The model has ``step``; the second part is ``None`` for networks without a cache.
    """
    known: Runtimes = {"compiled": _compiled, **runtimes}
    weights, *rest = form.split(", ")
    allowed = (*WEIGHTS, *ONLY_RUNTIMES)
    if weights not in allowed:
        raise PnbxValueError(f"measure: weights must be one of {', '.join(allowed)}, got {weights!r}")
    stored: StoredAs = "model"
    if rest[:1] == [BYTES]:
        stored, rest = "int8", rest[1:]
    if rest not in ([], *([runtime] for runtime in known)):
        raise PnbxValueError(f"measure: a form ends in {BYTES}, {' or '.join(known)}, got {form!r}")
    if weights in ONLY_RUNTIMES and rest in ([], ["compiled"]):
        raise PnbxValueError(f"measure: torch has no form {form!r}")
    if not isinstance(model, Transformer):
        if rest or stored == "int8":
            raise PnbxValueError(f"measure: only a Transformer has the form {form!r}")
        return in_form(model, WEIGHTS[weights]), None
    if not rest:
        eager = in_form(model, WEIGHTS[weights])
        return eager, lambda capacity: eager.cache(1, capacity=capacity, stored=stored)
    made = known[rest[0]](model, weights=weights, stored=stored)
    return made, lambda capacity: made.cache(1, capacity=capacity)


class Stepped:
    """A rival at batch 1, in one form.

    Parameters
    ----------
    name, form
        One of :data:`FULL`, but for the native executor's.
    small
        ``True``: the smallest network of the kind, to have the same code run once.
    runtimes
        See :func:`formed`.
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
            matrices = (p.sign().to(torch.int8) for p in self.model.parameters() if p.ndim == 2)
            return sum(pack_sign_bits(matrix).nbytes for matrix in matrices)
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
    if name == "GRU":
        return GRU(num_tokens=10, num_classes=10, d_model=8, d_hidden=8)
    if name == "SSM":
        return DiagonalStateSpaces(num_tokens=10, num_classes=10, d_model=8, d_state=8, num_layers=1, d_ff=8)
    return Transformer(num_tokens=10, d_model=16, num_heads=2, num_layers=1, d_ff=8, num_positions=8)
