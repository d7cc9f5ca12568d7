"""How the entry points of compiled code are compiled and cached."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def _stamp() -> int:
    """Return a number of all sources: numba keys its cache by one function's file, and inlines those of others."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "little")


STAMP = _stamp()
_njit: Any = numba.njit
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
kernel: Callable[..., Any] = _njit(**_OPTIONS)
"""Compile a function that compiled code calls."""
pasted: Callable[..., Any] = _njit(inline="always", **_OPTIONS)
"""The same, as if written in its caller: all that it calls is not optimised once more on the way."""
inlined: Callable[..., Any] = _njit(forceinline=True, **_OPTIONS)
"""The same, always into its caller."""


def entry_point(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function, released from the interpreter's lock, at its first call or from the cache on disk.

    The function must refer to ``STAMP`` as a variable of an enclosing function: what closures hold is part of numba's
    key, so that a change in any file of this package compiles anew.
    """
    assert isinstance(function, types.FunctionType)
    assert function.__closure__ is not None
    try:
        compiled: Callable[..., Any] = _njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # nowhere to keep the cache: a read-only installation without a home
        compiled = _njit(nogil=True, error_model="numpy")(function)
    return compiled
