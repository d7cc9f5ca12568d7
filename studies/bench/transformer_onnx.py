"""A Transformer's step in ONNX Runtime, on one thread: the fastest form of it that this library has on a CPU.

``pnbx_snn`` knows no deployment library, so this form of its rival stands here. As a program it is the process that
:mod:`studies.measurements.run` asks:

    python -m studies.bench.transformer_onnx "Transformer, equal" "int8, ONNX Runtime"
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import Any, final, get_args

import numpy as np
import onnxruntime as runtime
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pnbx_snn.errors import PnbxValueError
from studies.bench.transformer_graph import StepGraph, Weights
from studies.measurements import worker as measure_worker
from studies.measurements.process import ONNX
from studies.rivals.cache import KVCache, StoredAs
from studies.rivals.other_forms import UnavailableError, check_model, check_step
from studies.rivals.transformer import Transformer


@final
class OnnxTransformer:
    r"""The step of a :class:`~studies.rivals.Transformer`, run by ONNX Runtime.

    One graph for all lengths. Attention is ONNX Runtime's own, ``GroupQueryAttention``: it writes the new key and value
    into the cache and reads the steps that are there, and nothing of the cache is copied.

    Parameters
    ----------
    model
        In fp32, of tokens; positions learned or none; ``d_model / num_heads`` a multiple of 8. It is not kept.
    weights
        ``"fp32"``, or ``"int8"`` or ``"int4"``: all products (not the tables) as ``MatMulNBits`` of so many bits, a
        scale for 128 weights of a row; activations are rounded to bytes at each call.
    stored
        What the cache holds: ``"model"`` fp32, ``"int8"`` bytes of one scale.
    largest
        With ``stored="int8"``: keys and values are cut off at this size.

    References
    ----------
    ONNX Runtime, ``docs/ContribOperators.md``.

    Examples
    --------
    >>> sizes = {"num_tokens": 5, "d_model": 16, "num_heads": 2, "num_layers": 1, "d_ff": 16, "num_positions": 10}
    >>> model = Transformer(**sizes).eval()
    >>> step = OnnxTransformer(model)
    >>> logits, cache = step.step(torch.tensor([3]), step.cache(1, capacity=7))
    >>> torch.allclose(logits, model.step(torch.tensor([3]), model.cache(1, capacity=7))[0], atol=1e-4)
    True
    """

    def __init__(
        self, model: Transformer, *, weights: Weights = "fp32", stored: StoredAs = "model", largest: float = 4.0
    ) -> None:
        check_model("OnnxTransformer", model, weights, get_args(Weights))
        if stored not in ("model", "int8"):
            raise PnbxValueError(f"OnnxTransformer: stored must be model or int8, got {stored!r}")
        if not 0 < largest < math.inf:
            raise PnbxValueError(f"OnnxTransformer: largest must be above 0 and finite, got {largest}")
        d_head = model.d_model // model.num_heads
        if d_head % 8:
            raise PnbxValueError(f"OnnxTransformer: d_model / num_heads must be a multiple of 8, got {d_head}")
        self.sizes: dict[str, Any] = {"layers": len(model.layers), "heads": model.num_heads, "d_head": d_head}
        self.dtype = torch.int8 if stored == "int8" else torch.float32
        self.num_positions = 1 if model.position is None else model.position.num_embeddings
        self.num_classes = len(model.readout.weight)
        file = StepGraph(model, weights=weights, stored=stored, largest=largest).model()
        self.file_bytes = len(file)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors
        try:
            with tempfile.TemporaryDirectory() as folder:  # of bytes, the session would keep a second copy
                path = Path(folder) / "step.onnx"
                path.write_bytes(file)
                self.session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common class of their own
            raise UnavailableError(f"onnxruntime {runtime.__version__} cannot run the graph: {error}") from error
        self.bound: _Bound | None = None

    def cache(self, batch: int, *, capacity: int) -> KVCache:
        """Return an empty cache for ``capacity`` steps."""
        return KVCache(**self.sizes, batch=batch, capacity=capacity, dtype=self.dtype)

    def step(self, token: Int[Tensor, " B"], cache: KVCache) -> tuple[Float[Tensor, "B C"], KVCache]:
        """One step: ``token`` ``[B]``, logits ``[B, C]``; the cache is one step longer afterwards."""
        check_step("OnnxTransformer", token, cache, self.dtype)
        if self.bound is None or self.bound.cache is not cache:
            self.bound = _Bound(self, cache)
        bound = self.bound
        bound.token[:] = token.numpy()
        bound.position[0] = cache.length % self.num_positions
        bound.last[:] = cache.length
        bound.steps[0] = cache.length + 1
        self.session.run_with_iobinding(bound.binding)
        cache.length += 1
        return bound.logits[:, 0].clone(), cache


class _Bound:
    """Where the runtime finds its inputs and puts its outputs: memory of this class, and the cache's, as both."""

    def __init__(self, step: OnnxTransformer, cache: KVCache) -> None:
        self.cache = cache
        self.token = np.zeros(cache.batch, np.int64)
        self.position = np.zeros(1, np.int64)
        self.last, self.steps = np.zeros(cache.batch, np.int32), np.zeros(1, np.int32)
        self.logits = torch.zeros(cache.batch, 1, step.num_classes)
        self.binding: Any = step.session.io_binding()
        for name in ("token", "position", "last", "steps"):
            array = getattr(self, name)
            self.binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self.binding.bind_output("logits", "cpu", 0, np.float32, tuple(self.logits.shape), self.logits.data_ptr())
        kind = np.int8 if step.dtype == torch.int8 else np.float32
        for number, layer in enumerate(cache.numbers):
            for place, x in zip(("key", "value"), layer, strict=True):
                where = ("cpu", 0, kind, tuple(x.shape), x.data_ptr())
                self.binding.bind_input(f"{place}_{number}", *where)
                self.binding.bind_output(f"new_{place}_{number}", *where)


if __name__ == "__main__":
    measure_worker.main(*sys.argv[1:], runtimes={ONNX: OnnxTransformer})
