"""The forms in which a sequence model is measured, by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from pnbx_snn.errors import PnbxValueError
from studies.rivals import KVCache, Transformer, in_form
from studies.rivals.cache import StoredAs
from studies.rivals.compiled_form import CompiledTransformer
from studies.rivals.forms import FORMS, Form

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

    Raises
    ------
    PnbxValueError
        Another form, or one that this network or this runtime does not have.
    UnavailableError
        See :class:`~studies.rivals.compiled_form.CompiledTransformer`.
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
