"""A decoder-only Transformer of PyTorch's own parts: fused attention for prefill, a cache of keys and values for steps.

``nn.TransformerEncoderLayer`` has no cache, so the layer is put together here of ``nn.Linear``, ``nn.LayerNorm``,
``nn.Embedding`` and ``scaled_dot_product_attention``; a test holds it equal to ``nn.TransformerEncoderLayer``.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from pnbx_snn.checks import check_sizes
from pnbx_snn.errors import PnbxValueError, ShapeError
from studies.rivals.cache import KVCache, StoredAs
from studies.rivals.inputs import check_inputs, input_layer

Positions = Literal["learned", "sinusoidal", "none"]
NormPlace = Literal["after", "before"]


class Transformer(nn.Module):
    r"""Causal Transformer over tokens.

    .. math::

        x = E_{\text{token}} + P_t, \qquad
        x \leftarrow \operatorname{LN}(x + W_o \operatorname{attend}(W_q x, W_k x, W_v x)), \qquad
        x \leftarrow \operatorname{LN}(x + W_2 \operatorname{relu}(W_1 x)), \qquad \text{logits} = W x

    Parameters
    ----------
    num_tokens, in_features
        Vocabulary, or else the numbers of a step (then a product takes the embedding's place).
    num_classes
        Logits. ``None``: as many as tokens, with the embedding as readout (tied).
    d_model, num_heads, num_layers, d_ff
        Sizes; ``d_model`` is a multiple of ``num_heads``.
    num_positions
        Learned positions; position t takes row ``t % num_positions``, so a longer sequence costs what it would cost
        with more rows, and adds no parameters.
    positions
        ``"learned"``, ``"sinusoidal"`` (fixed) or ``"none"``.
    norm
        ``"after"`` each sum, as in the first paper; or ``"before"`` each part, with one more norm at the end.

    Notes
    -----
    Shapes: tokens ``[T, B]`` or steps ``[T, B, N]``, logits ``[T, B, C]``. Without biases in the products, norms with
    gain and bias, the parameters are ``layers (4 d² + 2 d d_ff + 4 d) + positions d + tokens d`` (+ ``classes d`` if
    not tied, + ``2 d`` with ``norm="before"``). The document's count, 19,293,184, is of this form.

    Raises
    ------
    PnbxValueError
        A size below 1, heads that do not divide, an unknown option.
    ShapeError
        Tokens that are not ``[T, B]``, a cache for another batch.

    References
    ----------
    Vaswani et al. 2017, "Attention Is All You Need".

    Examples
    --------
    >>> model = Transformer(num_tokens=5, d_model=8, num_heads=2, num_layers=1, d_ff=16, num_positions=10).eval()
    >>> tokens = torch.randint(0, 5, (7, 3))  # [T, B]
    >>> logits, _ = model(tokens)
    >>> cache = model.cache(3, capacity=7)
    >>> for token in tokens:
    ...     last, cache = model.step(token, cache)
    >>> last.shape, cache.length
    (torch.Size([3, 5]), 7)
    """

    def __init__(
        self,
        *,
        num_tokens: int | None = None,
        in_features: int | None = None,
        num_classes: int | None = None,
        d_model: int,
        num_heads: int,
        num_layers: int,
        d_ff: int,
        num_positions: int,
        positions: Positions = "learned",
        norm: NormPlace = "after",
    ) -> None:
        super().__init__()
        check_sizes("Transformer", d_model=d_model, num_heads=num_heads, num_layers=num_layers)
        check_sizes("Transformer", d_ff=d_ff, num_positions=num_positions)
        if d_model % num_heads:
            raise PnbxValueError(f"Transformer: d_model must be a multiple of {num_heads} heads, got {d_model}")
        for name, value, allowed in (
            ("positions", positions, ("learned", "sinusoidal", "none")),
            ("norm", norm, ("after", "before")),
        ):
            if value not in allowed:
                raise PnbxValueError(f"Transformer: {name} must be one of {', '.join(allowed)}, got {value!r}")
        self.d_model, self.num_heads, self.positions = d_model, num_heads, positions
        self.token = input_layer("Transformer", num_tokens, in_features, d_model)
        self.position = nn.Embedding(num_positions, d_model) if positions == "learned" else None
        self.layers = nn.ModuleList(Layer(d_model, num_heads, d_ff, norm) for _ in range(num_layers))
        self.norm = nn.LayerNorm(d_model) if norm == "before" else None
        classes = num_tokens if num_classes is None else num_classes
        if classes is None:
            raise PnbxValueError("Transformer: num_classes must be given with in_features, got None")
        self.readout = nn.Linear(d_model, classes, bias=False)
        if num_classes is None:
            self.readout.weight = self.token.weight
        for embedding in (self.token, self.position):
            if isinstance(embedding, nn.Embedding):
                nn.init.normal_(embedding.weight, std=d_model**-0.5)

    def cache(self, batch: int, *, capacity: int, stored: StoredAs | None = None) -> KVCache:
        """Return an empty cache for ``capacity`` steps; ``stored="int8"`` keeps bytes, else the model's own type."""
        return KVCache(
            layers=len(self.layers),
            batch=batch,
            heads=self.num_heads,
            d_head=self.d_model // self.num_heads,
            capacity=capacity,
            dtype=self.token.weight.dtype,
            stored=stored or "model",
        )

    def forward(
        self, tokens: Int[Tensor, "T B"] | Float[Tensor, "T B N"], cache: KVCache | None = None
    ) -> tuple[Float[Tensor, "T B C"], None]:
        """All steps of a sequence at once, with fused causal attention; an empty ``cache`` is filled on the way."""
        check_inputs("Transformer", self.token, tokens)
        if cache is not None and cache.length:
            raise PnbxValueError(f"Transformer: a prefill needs an empty cache, got one of {cache.length} steps")
        x = self._embed(tokens, 0).transpose(0, 1)  # [B, T, D]
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            x = layer(x, cache, number)
        if cache is not None:
            cache.length = len(tokens)
        return self._read(x).transpose(0, 1), None

    @torch.no_grad()
    def step(self, token: Int[Tensor, " B"], cache: KVCache) -> tuple[Float[Tensor, "B C"], KVCache]:
        """One step: ``token`` ``[B]``, logits ``[B, C]``; the cache is one step longer afterwards."""
        if token.shape != (cache.batch,):
            raise ShapeError(f"Transformer.step: token must be [B] = [{cache.batch}], got shape {list(token.shape)}")
        x = self._embed(token.unsqueeze(0), cache.length).transpose(0, 1)  # [B, 1, D]
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            x = layer.step(x, cache, number)
        cache.length += 1
        return self._read(x)[:, 0], cache

    def _embed(self, tokens: Tensor, start: int) -> Tensor:
        x: Tensor = self.token(tokens)  # [T, B, D]
        if self.positions == "none":
            return x
        place = torch.arange(start, start + len(tokens), device=tokens.device)
        if self.position is not None:
            rows: Tensor = self.position(place % self.position.num_embeddings)  # [T, D]
        else:
            rows = _waves(place, self.d_model).to(x.dtype) * self.d_model**-0.5
        return x + rows.unsqueeze(1)

    def _read(self, x: Tensor) -> Tensor:
        logits: Tensor = self.readout(x if self.norm is None else self.norm(x))
        return logits


class Layer(nn.Module):
    """Attention and a feed-forward part, each with a sum around it and a norm."""

    def __init__(self, d_model: int, num_heads: int, d_ff: int, norm: NormPlace) -> None:
        super().__init__()
        self.num_heads, self.place = num_heads, norm
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)
        self.up = nn.Linear(d_model, d_ff, bias=False)
        self.down = nn.Linear(d_ff, d_model, bias=False)
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)

    def forward(self, x: Tensor, cache: KVCache | None, number: int) -> Tensor:
        """Return ``[B, T, D]``."""
        q, k, v = self._heads(x if self.place == "after" else self.norm1(x))
        if cache is not None:
            cache.write(number, 0, k, v)
        return self._rest(x, scaled_dot_product_attention(q, k, v, is_causal=True))

    def step(self, x: Tensor, cache: KVCache, number: int) -> Tensor:
        """Return ``[B, 1, D]``."""
        q, k, v = self._heads(x if self.place == "after" else self.norm1(x))
        cache.write(number, cache.length, k, v)
        return self._rest(x, cache.attend(number, q, cache.length + 1))

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # [B, heads, T, D / heads]
        return q, k, v

    def _rest(self, x: Tensor, attended: Tensor) -> Tensor:
        part = self.out(attended.transpose(1, 2).flatten(2))
        if self.place == "after":
            x = self.norm1(x + part)
            after: Tensor = self.norm2(x + self.down(torch.relu(self.up(x))))
            return after
        x = x + part
        before: Tensor = x + self.down(torch.relu(self.up(self.norm2(x))))
        return before


def _waves(place: Tensor, d_model: int) -> Tensor:
    """Return Vaswani's sines and cosines ``[T, D]``."""
    half = torch.arange(0, d_model, 2, device=place.device)
    angle = place.unsqueeze(1) * torch.exp(-math.log(10_000.0) * half / d_model)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :d_model]
