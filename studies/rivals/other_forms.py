"""What the forms of a Transformer outside eager torch ask of a model, a step and a machine."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pnbx_snn.errors import PnbxError, PnbxValueError, ShapeError
from studies.rivals.cache import KVCache
from studies.rivals.transformer import Transformer


class UnavailableError(PnbxError, RuntimeError):
    """A form cannot be had on this machine; the message says what is missing."""


def check_model(where: str, model: Transformer, weights: str, allowed: Sequence[str] = ("fp32", "int8")) -> None:
    """Raise unless these forms can take the model: of tokens, in fp32, its positions learned or none.

    Raises
    ------
    PnbxValueError
        Another model, or weights in a form that is not ``allowed``.
    """
    if weights not in allowed:
        raise PnbxValueError(f"{where}: weights must be one of {', '.join(allowed)}, got {weights!r}")
    if not isinstance(model.token, nn.Embedding):
        raise PnbxValueError(f"{where}: model must take tokens, got one with in_features")
    if model.positions == "sinusoidal":
        raise PnbxValueError(f"{where}: positions must be learned or none, got 'sinusoidal'")
    if model.token.weight.dtype != torch.float32:
        raise PnbxValueError(f"{where}: model must be in fp32, got {model.token.weight.dtype}")


def check_step(where: str, token: Tensor, cache: KVCache, dtype: torch.dtype) -> None:
    """Raise unless a step can be made of this token with this cache.

    Raises
    ------
    ShapeError
        A token for another batch, or no room left in the cache.
    PnbxValueError
        A cache of another form.
    """
    if token.shape != (cache.batch,):
        raise ShapeError(f"{where}: token must be [B] = [{cache.batch}], got shape {list(token.shape)}")
    if cache.length >= cache.capacity:
        raise ShapeError(f"{where}: capacity must hold all steps, got step {cache.length + 1} of {cache.capacity}")
    if cache.numbers.dtype != dtype or cache.scales is not None:
        raise PnbxValueError(f"{where}: cache must be of {where}.cache, got one of another form")
