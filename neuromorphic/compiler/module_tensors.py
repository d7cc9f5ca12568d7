"""Where tensors come from: each one is known by its storage, through whatever operations keep its values.

Behind each known storage stands an index that says which element of a module's output lies where, so views, flattening
and a step cut out of a sequence are followed exactly, and a part of an output or another order of it is noticed.
Copies, ``torch.stack`` over steps and sums of known tensors are followed too; any other operation loses the trail, and
its name is kept for the error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

INPUT = "input"
_COPIES = {"aten::clone", "aten::_to_copy"}
_VALUELESS = {"zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "new_zeros", "new_ones", "new_full"}


@dataclass(frozen=True)
class Part:
    """Output of a module, or ``INPUT``.

    ``call`` numbers the calls from 1, ``None`` is all of them, stacked; ``port`` 0 is the output, others are states.
    """

    node: str
    call: int | None = None
    port: int = 0


@dataclass(frozen=True)
class Source:
    """What a known tensor is: the sum of its parts, ``numel`` elements in all."""

    parts: tuple[Part, ...]
    numel: int


@dataclass(frozen=True)
class Lost:
    """A tensor made from known ones by an operation that is no module."""

    reason: str


@dataclass
class Known:
    """A tensor whose storage is known."""

    tensor: Tensor  # kept, so that nothing else gets its storage
    source: Source | Lost
    ids: Tensor  # of each element of the storage: where it lies in the output, -1 where it does not


class Following(TorchDispatchMode):
    """Follows tensors while it is active and ``inside`` is 0."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = {INPUT: "the sample"}
        self.inside = 0  # above 0: within a module that is one node, or within this class
        self._known: dict[int, Known] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if self.inside == 0:
            self.inside += 1
            try:
                self._follow(func._schema, args, kwargs or {}, out)
            finally:
                self.inside -= 1
        return out

    def _follow(self, schema: Any, args: Any, kwargs: dict[str, Any], out: Any) -> None:
        known = [tensor for tensor in tensors_of((args, kwargs)) if self.find(tensor) is not None]
        name = schema.name.removeprefix("aten::")
        if not known or name in _VALUELESS:
            return
        if schema.name in _COPIES:
            entry = self.find(known[0])
            assert entry is not None
            self.remember(out, entry.source, self.indices(entry, known[0]))
        elif name == "stack" and (kwargs.get("dim", args[1] if len(args) > 1 else 0)) == 0:
            self._stack(args[0], out)
        elif name in ("add", "add_") and len(args) == 2 and isinstance(args[1], Tensor) and not kwargs:
            self._add(args[0], args[1], out, name)
        else:
            for tensor in tensors_of(out):
                if schema.is_mutable or self.find(tensor) is None:  # else it is a view
                    self._lose(tensor, known, name)

    def _stack(self, listed: list[Tensor], out: Tensor) -> None:
        """All calls of one module, in order, are its whole sequence."""
        entries = [self.find(tensor) for tensor in listed]
        whole = [
            entry.source.parts[0]
            for entry, tensor in zip(entries, listed, strict=True)
            if entry is not None
            and isinstance(entry.source, Source)
            and len(entry.source.parts) == 1
            and self.is_whole(entry, tensor)
        ]
        first = whole[0] if whole else None
        if (
            first is not None
            and len(whole) == len(listed)
            and [part.call for part in whole] == list(range(1, len(listed) + 1))
            and {(part.node, part.port) for part in whole} == {(first.node, first.port)}
        ):
            self.remember(out, Source((Part(first.node, None, first.port),), out.numel()))
        else:
            self._lose(out, [tensor for tensor in listed if self.find(tensor) is not None], "stack")

    def _add(self, left: Tensor, right: Tensor, out: Tensor, name: str) -> None:
        entries = [self.find(tensor) for tensor in (left, right)]
        parts: list[Part] = []
        for tensor, entry in zip((left, right), entries, strict=True):
            if entry is None and not bool(tensor.any()):
                continue  # zeros stand for what a loop has not computed yet
            if entry is None or isinstance(entry.source, Lost) or not self.is_whole(entry, tensor):
                break
            if tensor.shape != out.shape:
                break
            parts += entry.source.parts
        else:
            self.remember(out, Source(tuple(parts), out.numel()))
            return
        self._lose(out, [t for t, entry in zip((left, right), entries, strict=True) if entry is not None], name)

    def find(self, tensor: Tensor) -> Known | None:
        """Return what is known of a tensor's storage."""
        return self._known.get(tensor.untyped_storage()._cdata)

    def indices(self, entry: Known, tensor: Tensor) -> Tensor:
        """Return where each element of a tensor lies in the output that it is a view of."""
        return entry.ids.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    def is_whole(self, entry: Known, tensor: Tensor) -> bool:
        """Say whether a tensor is all of an output, in its order."""
        if isinstance(entry.source, Lost):
            return False
        ids = self.indices(entry, tensor).reshape(-1)
        return ids.numel() == entry.source.numel and torch.equal(ids, torch.arange(len(ids)))

    def remember(self, tensor: Tensor, source: Source | Lost, indices: Tensor | None = None) -> None:
        """Make a tensor known; ``indices`` are needed where it is in another order than its source."""
        storage = tensor.untyped_storage()
        ids = torch.full((storage.nbytes() // tensor.element_size(),), -1)
        if indices is None:
            indices = torch.arange(tensor.numel()).reshape(tensor.shape)
        places = torch.arange(len(ids)).as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
        ids[places.reshape(-1).flip(0)] = indices.reshape(-1).flip(0)  # the first one counts where places repeat
        self._known[storage._cdata] = Known(tensor, source, ids)

    def _lose(self, tensor: Tensor, known: list[Tensor], operation: str) -> None:
        first = self.find(known[0])
        assert first is not None
        lost = first.source
        if isinstance(lost, Source):
            nodes = [self.names[part.node] for part in lost.parts]
            lost = Lost(f"{' + '.join(nodes)} goes through torch's {operation.rstrip('_')!r}, which is no module")
        self.remember(tensor, lost)


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
