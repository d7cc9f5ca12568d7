"""A Transformer's step as torch.compile makes it: one graph for all positions, the cache written in place."""

from __future__ import annotations

import copy
import math
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from studies.rivals.cache import KVCache
from studies.rivals.other_forms import UnavailableError, check_model, check_step
from studies.rivals.transformer import Layer, Transformer

CompiledWeights = Literal["fp32", "int8"]


@final
class CompiledTransformer(nn.Module):
    r"""The step of a :class:`~studies.rivals.Transformer`, compiled to C++ for this processor.

    The position is a tensor and the capacity a variable, so no step compiles anew, but for the first of a cache beyond
    4,096 steps. The new key and value go to their row by ``index_copy_``, attention masks the steps that are not there
    yet. It reads the whole capacity: make a cache no longer than needed. Products are sums of rows times the
    activations, which the compiler turns into one loop each; its own matrix product of one row takes longer.

    Parameters
    ----------
    model
        In fp32, of tokens; positions learned or none. It is copied.
    weights
        ``"fp32"``, or ``"int8"``: a byte a weight of each product and a scale for each row; activations stay fp32.

    Raises
    ------
    PnbxValueError
        For a model or an option that is not allowed.
    UnavailableError
        If there is no C++ compiler, or it fails; found out by compiling a step here, which takes tens of seconds.

    References
    ----------
    Ansel et al. 2024, "PyTorch 2", ASPLOS.
    """

    def __init__(self, model: Transformer, *, weights: CompiledWeights = "fp32") -> None:
        super().__init__()
        check_model("CompiledTransformer", model, weights)
        self.model = copy.deepcopy(model).eval()
        self.model.readout = _Product(model.readout.weight, weights)  # type: ignore[assignment]
        for layer in self.model.layers:
            for name in ("qkv", "out", "up", "down"):
                setattr(layer, name, _Product(getattr(layer, name).weight, weights))
        self.compiled = torch.compile(self._step, fullgraph=True)
        self.written: KVCache | None = None
        self.parts: list[Tensor] = []
        try:
            self.step(torch.zeros(1, dtype=torch.long), self.cache(1, capacity=16))
        except Exception as error:  # the compiler's errors have no common class
            reason = str(error).strip().splitlines()[0]
            raise UnavailableError(f"torch.compile fails: {type(error).__name__}: {reason}") from error

    def cache(self, batch: int, *, capacity: int) -> KVCache:
        """Return an empty cache for ``capacity`` steps."""
        return self.model.cache(batch, capacity=capacity)

    @torch.no_grad()
    def step(self, token: Int[Tensor, " B"], cache: KVCache) -> tuple[Float[Tensor, "B C"], KVCache]:
        """One step: ``token`` ``[B]``, logits ``[B, C]``; the cache is one step longer afterwards.

        Raises
        ------
        ShapeError
            Another batch, or no room left in the cache.
        PnbxValueError
            A cache of another form.
        """
        check_step("CompiledTransformer", token, cache, torch.float32)
        if self.written is not cache:
            self.written, self.parts = cache, list(cache.numbers.flatten(0, 1))  # keys and values of each layer
            for part in self.parts:
                torch._dynamo.mark_dynamic(part, 2)
        logits: Tensor = self.compiled(token, torch.tensor([cache.length]), self.parts)
        cache.length += 1
        return logits, cache

    def _step(self, token: Tensor, place: Tensor, parts: list[Tensor]) -> Tensor:
        x = self.model.token(token).unsqueeze(1)  # [B, 1, D]
        if self.model.position is not None:
            x = x + self.model.position(place % self.model.position.num_embeddings)
        there = torch.arange(parts[0].shape[2]) <= place  # [capacity]
        for layer, keys, values in zip(self.model.layers, parts[::2], parts[1::2], strict=True):
            assert isinstance(layer, Layer)
            q, k, v = layer._heads(x if layer.place == "after" else layer.norm1(x))  # [B, heads, 1, D / heads]
            keys.index_copy_(2, place, k)
            values.index_copy_(2, place, v)
            scores = (keys * q).sum(dim=-1) / math.sqrt(q.shape[-1])  # [B, heads, capacity]
            share = scores.masked_fill(~there, -math.inf).softmax(dim=-1).unsqueeze(-1)
            x = layer._rest(x, (share * values).sum(dim=-2, keepdim=True))
        return self.model._read(x)[:, 0]


class _Product(nn.Module):
    """``x W^T`` of ``[B, 1, in]``, its weights fp32 or bytes."""

    def __init__(self, weight: Tensor, weights: CompiledWeights) -> None:
        super().__init__()
        weight = weight.detach().clone()
        scale = weight.abs().amax(dim=1).clamp_min(1e-12) / 127 if weights == "int8" else None
        stored = weight if scale is None else (weight / scale.unsqueeze(1)).round().to(torch.int8)
        self.weight: Tensor
        self.scale: Tensor | None
        self.register_buffer("weight", stored)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        sums = (x.unsqueeze(-2) * self.weight).sum(dim=-1)  # [B, 1, out]
        return sums if self.scale is None else sums * self.scale
