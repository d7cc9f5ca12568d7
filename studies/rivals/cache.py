"""Keys and values of all steps so far, a Transformer's state: numbers of the model's type, or bytes."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from pnbx_snn.checks import check_sizes
from pnbx_snn.errors import PnbxValueError, ShapeError

StoredAs = Literal["model", "int8"]
CHUNK = 512
"""Steps whose bytes are turned into numbers at a time, so that the numbers of all steps never exist together."""


class KVCache:
    r"""Keys and values ``[B, heads, capacity, D / heads]`` of each layer, made once and written in place.

    ``stored="int8"`` keeps one byte a number and one fp32 scale for each head and step, symmetric:
    :math:`\hat x = s \operatorname{round}(x / s)`, :math:`s = \max|x| / 127`, so :math:`|\hat x - x| \le s / 2`.

    Parameters
    ----------
    layers, batch, heads, d_head, capacity
        Sizes, at least 1 each.
    dtype
        Of the numbers with ``stored="model"``.
    stored
        ``"model"`` or ``"int8"``.

    Attributes
    ----------
    length : int
        Steps written so far.
    nbytes : int
        Of all arrays.

    Examples
    --------
    >>> cache = KVCache(layers=1, batch=1, heads=2, d_head=4, capacity=8, stored="int8")
    >>> cache.write(0, 0, torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4))
    >>> cache.attend(0, torch.ones(1, 2, 1, 4), 3).flatten()[0]
    tensor(1.)
    >>> cache.nbytes  # 2 · 64 bytes and 2 · 16 scales
    256
    """

    def __init__(
        self,
        *,
        layers: int,
        batch: int,
        heads: int,
        d_head: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        stored: StoredAs = "model",
    ) -> None:
        check_sizes("KVCache", layers=layers, batch=batch, heads=heads, d_head=d_head, capacity=capacity)
        if stored not in ("model", "int8"):
            raise PnbxValueError(f"KVCache: stored must be model or int8, got {stored!r}")
        self.batch, self.capacity, self.stored, self.length = batch, capacity, stored, 0
        shape = (layers, 2, batch, heads, capacity, d_head)
        self.numbers = torch.zeros(shape, dtype=torch.int8 if stored == "int8" else dtype)
        self.scales = torch.zeros(shape[:-1]) if stored == "int8" else None

    @property
    def nbytes(self) -> int:
        """Bytes of keys, values and scales."""
        return self.numbers.nbytes + (0 if self.scales is None else self.scales.nbytes)

    def write(self, layer: int, start: int, keys: Tensor, values: Tensor) -> None:
        """Put keys and values ``[B, heads, T, D / heads]`` at the steps from ``start`` on.

        Raises
        ------
        ShapeError
            More steps than the capacity.
        """
        end = start + keys.shape[2]
        if end > self.capacity:
            raise ShapeError(f"KVCache: capacity must hold all steps, got step {end} of {self.capacity}")
        for place, x in enumerate((keys, values)):
            x = x.detach()
            if self.scales is not None:
                scale = x.abs().amax(dim=-1).float().clamp_min(1e-12) / 127  # [B, heads, T]
                self.scales[layer, place, :, :, start:end] = scale
                x = (x / scale.unsqueeze(-1)).round()
            self.numbers[layer, place, :, :, start:end] = x

    def attend(self, layer: int, query: Tensor, length: int) -> Tensor:
        """Return what the query ``[B, heads, 1, D / heads]`` reads of the first ``length`` steps, in the same shape."""
        keys, values = self.numbers[layer, :, :, :, :length]
        if self.scales is None:
            return scaled_dot_product_attention(query, keys, values)
        # A scale is one number for a step: it multiplies the step's score, and its weight, not the bytes.
        key_scale, value_scale = self.scales[layer, :, :, :, :length]
        scores = torch.cat(
            [query @ part.to(query.dtype).transpose(-1, -2) for part in keys.split(CHUNK, dim=2)], dim=-1
        )
        scores = scores * (key_scale * query.shape[-1] ** -0.5).unsqueeze(2)
        weights = scores.softmax(dim=-1) * value_scale.unsqueeze(2)
        out = torch.zeros_like(query)
        for share, part in zip(weights.split(CHUNK, dim=-1), values.split(CHUNK, dim=2), strict=True):
            out += share.to(query.dtype) @ part.to(query.dtype)
        return out
