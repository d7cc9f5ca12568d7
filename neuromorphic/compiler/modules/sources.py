"""What a tensor is made of: the outputs of which modules, and which of their elements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

INPUT = "input"


@dataclass(frozen=True)
class Part:
    """Output of a module, or ``INPUT``.

    ``call`` numbers the calls from 1, ``None`` is all of them, stacked; ``port`` 0 is the output, others are states.
    ``factor`` is what it was multiplied by. ``place`` says where its features lie among those of several outputs put
    one behind the other: the first, how many, and of how many in all; ``None``: alone.
    """

    node: str
    call: int | None = None
    port: int = 0
    factor: float = 1.0
    place: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Source:
    """What a known tensor is: the sum of its parts, ``numel`` elements in all."""

    parts: tuple[Part, ...]
    numel: int


@dataclass(frozen=True)
class Lost:
    """A tensor made from known ones by an operation that is no module.

    ``readable`` is what modules may read it as: outputs times constants, or several put one behind the other.
    """

    reason: str
    readable: Source | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Axis:
    """An axis that an operation took together: how far apart its elements lie in the source, and how many they are."""

    stride: int
    length: int


@dataclass(frozen=True)
class Returnable(Lost):
    """A tensor with the order of a module's read-outs; a network may return it, but no module may read it.

    ``steps`` are the axes that were added up, which must be time; ``classes`` those among which it chose or normalised.
    """

    source: Source
    operations: tuple[str, ...] = ()
    steps: tuple[Axis, ...] = ()
    classes: tuple[Axis, ...] = ()


@dataclass
class Entry:
    """A tensor whose storage is known."""

    tensor: Tensor  # stored, so that nothing else gets its storage
    source: Source | Lost
    ids: Tensor  # of each element of the storage: where it lies in the output, -1 where it does not

    def indices(self, tensor: Tensor) -> Tensor:
        """Return where each element of a tensor lies in the output that it is a view of."""
        return self.ids.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    def is_whole(self, tensor: Tensor, source: Source | None = None) -> bool:
        """Return whether a tensor is all of an output, in its order."""
        source = self.source if source is None and isinstance(self.source, Source) else source
        ids = self.indices(tensor).reshape(-1)
        return source is not None and len(ids) == source.numel and torch.equal(ids, torch.arange(len(ids)))

    @property
    def readable(self) -> Source | None:
        """What modules may read it as."""
        return self.source if isinstance(self.source, Source) else self.source.readable

    def whole(self, tensor: Tensor) -> Source | None:
        """Return what modules may read a tensor as that is all of it, in its order."""
        return self.readable if self.is_whole(tensor, self.readable) else None

    def part(self) -> Part | None:
        """Return the one output that the tensor is a part of, ``None`` where it is none or a sum."""
        return self.source.parts[0] if isinstance(self.source, Source) and len(self.source.parts) == 1 else None


def rows_of(ids: Tensor, width: int) -> Tensor | None:
    """Return which rows of ``width`` features elements are, ``None`` where they are no whole rows in their order."""
    rows = ids.reshape(-1, width) if ids.numel() % width == 0 else ids[:0].reshape(0, width)
    if len(rows) == 0 or not torch.equal(rows, rows[:, :1] + torch.arange(width)) or bool((rows[:, 0] % width).any()):
        return None
    return rows[:, 0] // width


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples and dictionaries, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from tensors_of(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from tensors_of(inner)
