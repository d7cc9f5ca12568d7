"""How the entry points of compiled code are compiled and cached."""

from __future__ import annotations

import contextlib
import hashlib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import caching, ccallback

from neuromorphic.errors import ExecutorError

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise ExecutorError(
        "native: numba compiles nothing, since NUMBA_DISABLE_JIT is set; without it this executor runs, and the numpy "
        "executor gives the same numbers"
    )


def _stamp() -> int:
    """Return a number of all sources: numba keys its cache by one function's file, and inlines those of others."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
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


_FunctionCache: Any = caching.FunctionCache


class _Cache(_FunctionCache):  # type: ignore[misc]  # numba has no types
    """numba's cache on disk; one that cannot be read (cut, altered) or written is compiled anew, not an error."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what is stored for a signature, ``None`` if nothing is."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # what a damaged pickle raises has no common class
            self._forget()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store what was compiled, where there is a place for it."""
        try:
            super().save_overload(sig, data)
        except (OSError, EOFError, ValueError):  # a full disk, a folder that is gone, an index cut meanwhile
            self._forget()

    def _forget(self) -> None:
        try:
            self.flush()
        except OSError:
            self.disable()


def entry_point(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function, released from the interpreter's lock, at its first call or from the cache on disk.

    The function must refer to ``STAMP`` as a variable of an enclosing function: what closures hold is part of numba's
    key, so that a change in any file of this package compiles anew.
    """
    assert isinstance(function, types.FunctionType)
    assert function.__closure__ is not None
    compiled: Any = _njit(nogil=True, error_model="numpy")(function)
    with contextlib.suppress(RuntimeError):  # nowhere to keep the cache: a read-only installation without a home
        compiled._cache = _Cache(function)
    return compiled  # type: ignore[no-any-return]


def callback(function: Callable[..., Any], kind: Any) -> Any:
    """Compile a function of a fixed signature, which compiled code calls by its ``address``; or load it.

    The function refers to ``STAMP`` as one of :func:`entry_point` does.
    """
    assert isinstance(function, types.FunctionType)
    compiled: Any = ccallback.CFunc(function, (kind.args, kind.return_type), {}, {"error_model": "numpy"})  # type: ignore[no-untyped-call,unused-ignore]
    with contextlib.suppress(RuntimeError):
        compiled._cache = _Cache(function)
    compiled.compile()
    return compiled
