"""How the fields of an operation are checked, and what operations say about themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ProgramError

MAX_SHIFT = 16
MAX_SIZE = 1 << 24
"""Units of one operation: more than any network here has, little enough to take memory for."""


def checked_array(
    op: str, name: str, value: Any, dtype: type[np.integer[Any]], ndim: int, low: int, high: int
) -> NDArray[Any]:
    """Return ``value`` as a read-only array of ``dtype``, refusing whatever would change by the cast."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.ndim != ndim or array.size == 0:
        raise ProgramError(
            f"{op}: {name} must be a non-empty {ndim}-dimensional integer array, got {array.dtype}{list(array.shape)}"
        )
    if int(array.min()) < low or int(array.max()) > high:
        raise ProgramError(f"{op}: {name} must lie in {low}..{high}, got {int(array.min())}..{int(array.max())}")
    frozen = np.array(array, dtype=dtype)
    frozen.setflags(write=False)
    return frozen


def restore(self: Any, state: dict[str, Any]) -> None:
    """Be the ``__setstate__`` of an operation: pickles and deep copies hold arrays that can be written."""
    for value in state.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    self.__dict__.update(state)


def checked_integer(op: str, name: str, value: Any, low: int, high: int) -> int:
    """Return ``value`` as an int, refusing whatever is none or lies outside ``low..high``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= int(value) <= high:
        raise ProgramError(f"{op}: {name} must be an integer in {low}..{high}, got {value!r}")
    return int(value)


def checked_choice(op: str, name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return ``value`` if it is one of the words that are allowed."""
    if value not in allowed:
        raise ProgramError(f"{op}: {name} must be one of {', '.join(allowed)}, got {value!r}")
    return str(value)


def checked_flag(op: str, name: str, value: Any) -> bool:
    """Return ``value`` if it is a Boolean."""
    if not isinstance(value, bool):
        raise ProgramError(f"{op}: {name} must be true or false, got {value!r}")
    return value


def check_lengths(op: str, **arrays: NDArray[Any]) -> None:
    """Refuse arrays of different lengths."""
    if len({array.shape for array in arrays.values()}) > 1:
        names = list(arrays)
        listed = ", ".join(names[:-1]) + " and " + names[-1]
        raise ProgramError(f"{op}: {listed} must have one length, got {[list(a.shape) for a in arrays.values()]}")


@dataclass(frozen=True)
class Wanted:
    """What an operation asks of one of its sources: its kind, one of several, and its size."""

    source: str
    kinds: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Variable:
    """What a recording keeps of an operation: a name, a dtype and how many values a step and sample."""

    name: str
    dtype: str
    size: int
