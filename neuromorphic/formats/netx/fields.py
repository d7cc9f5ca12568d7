"""The fields of a netx file, and the words for where they stand: what is read is checked here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import FileFormatError


class Group:
    """The fields of a layer or of its neurons, and the words for where they stand."""

    def __init__(self, where: str, fields: Any) -> None:
        self.where = where
        if not isinstance(fields, Mapping):
            raise self.refuse("must be a group of fields")
        self.fields = fields

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def refuse(self, why: str) -> FileFormatError:
        """Return an error that says where."""
        return FileFormatError(f"{self.where}: {why}")

    def check_known(self, known: set[str]) -> None:
        """Refuse fields that are not known."""
        for name in self.fields:
            if name not in known:
                raise self.refuse(f"{name} is not read here; known are {', '.join(sorted(known))}")

    def group(self, name: str) -> Group:
        """Return a group of fields in this one."""
        return Group(f"{self.where}, {name}", self.fields[name])

    def text(self, name: str) -> str:
        """Return a field of text."""
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise self.refuse(f"{name} must be text, got {'nothing' if value is None else type(value).__name__}")
        return value

    def integers(self, name: str, low: int, high: int) -> NDArray[np.int64]:
        """Return an array of whole numbers in a range."""
        value = np.asarray(self.fields.get(name))
        if value.dtype.kind not in "fiub" or value.size == 0:
            raise self.refuse(f"{name} must be numbers, got {'nothing' if name not in self.fields else value.dtype}")
        wrong = ~((value >= low) & (value <= high) & (value == np.trunc(value)))  # NaN is wrong too
        if wrong.any():
            raise self.refuse(f"{name} must be whole numbers in {low}..{high}, got {value[wrong].flat[0]}")
        return value.astype(np.int64)

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return one whole number."""
        if name not in self.fields and default is not None:
            return default
        found = self.integers(name, low, high)
        if found.size != 1:
            raise self.refuse(f"{name} must be one number, got {found.size}")
        return int(found.flat[0])

    def pair(self, name: str, low: int, high: int, default: tuple[int, int] | None = None) -> tuple[int, int]:
        """Return two whole numbers, along rows and along columns; one stands for both."""
        if name not in self.fields and default is not None:
            return default
        found = self.integers(name, low, high).reshape(-1)
        if found.size > 2:
            raise self.refuse(f"{name} must be one or two numbers, got {found.size}")
        return int(found[0]), int(found[-1])

    def per_channel(self, name: str, low: int, high: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Return a whole number for every unit of ``shape``, channels first; the file has one, or one a channel."""
        found = self.integers(name, low, high).reshape(-1)
        if found.size not in (1, shape[0]):
            raise self.refuse(f"{name} must be one number or one for each of {shape[0]} channels, got {found.size}")
        units = found.reshape(-1, *(1,) * (len(shape) - 1))
        return np.broadcast_to(units, shape).reshape(-1)

    def same(self, name: str, wanted: int, source: str) -> None:
        """Refuse a number that contradicts another field; one that is missing does not."""
        if name in self.fields and self.integer(name, 1, 1 << 24) != wanted:
            raise self.refuse(f"{name} must be {wanted}, as {source} says, got {short(np.asarray(self.fields[name]))}")

    def only(self, name: str, wanted: int, why: str) -> None:
        """Refuse another value than one; a field that is missing has it."""
        value = np.asarray(self.fields.get(name, wanted))
        if value.dtype.kind not in "fiub" or not (value == wanted).all():
            raise self.refuse(f"{name} is {short(value)}; only {wanted} is read here: {why}")


def short(value: NDArray[Any]) -> str:
    """Write a value, of an array the one farthest from 0."""
    if value.dtype.kind not in "fiu" or value.size == 0:
        return str(value)[:40]
    largest = str(value.flat[np.abs(value).argmax()])
    return largest if value.size == 1 else f"up to {largest}"
