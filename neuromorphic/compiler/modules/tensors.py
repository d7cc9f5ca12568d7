"""Follows tensors: each one is known by its storage, through whatever operations leave its values as they are.

Behind each known storage stands an index that says which element of a module's output lies where, so views, flattening
and a step cut out of a sequence are followed exactly, and a part of an output or another order of it is noticed.
Copies, ``torch.stack`` and ``torch.cat`` over steps, ``torch.cat`` of features, sums of known tensors and constant
factors are followed too, and pools as the modules that they are; any other operation loses the trail, and its name is
stored for the error. :class:`Returnable` is what a network may make of the output of its last module, because it does
not change the order of read-outs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from neuromorphic.compiler.modules.sources import INPUT, Axis, Entry, Lost, Part, Returnable, Source, tensors_of

_COPIES = {"aten::clone", "aten::_to_copy"}
_CLASSES = {"_softmax", "_log_softmax", "argmax"}
_RISING = {"exp", "sigmoid", "tanh"}
_OVER_STEPS = {"sum", "mean", "max", "amax"}
_SCALED = {"mul", "div", "add", "sub"}
_SUMS = {"add", "sub"}
_VALUELESS = {"zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "new_zeros", "new_ones", "new_full"}


class Following(TorchDispatchMode):
    """Follows tensors while it is active and ``inside`` is 0."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = {INPUT: "the sample"}
        self.within: list[str] = []  # containers whose forward runs, by name and type
        self.inside = 0  # above 0: within a module that is one node, or within this class
        self._known: dict[int, Entry] = {}

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
        if name == "copy_" and args[0] is not args[1] and self._fill(args[0], args[1]):
            return
        is_copy = schema.name in _COPIES and (out.is_floating_point() or bool((known[0] == out).all()))
        if is_copy or self._changes_nothing(name, args, kwargs):
            entry = self.find(known[0])
            assert entry is not None
            self.remember(out, entry.source, entry.indices(known[0]))
        elif name in ("stack", "cat"):
            self._join(args[0], out, name, int(kwargs.get("dim", args[1] if len(args) > 1 else 0)))
        elif name.removesuffix("_") in _SUMS and len(args) == 2 and isinstance(args[1], Tensor) and not kwargs:
            self._add(args[0], args[1], out, name)
        elif self.follow_module(name, args, out):
            pass
        elif not self._follow_returnable(name.removesuffix("_"), args, kwargs, out) and not self._follow_scaled(
            name.removesuffix("_"), args, kwargs, out
        ):
            for tensor in tensors_of(out):
                if schema.is_mutable or self.find(tensor) is None:  # else it is a view
                    self._lose(tensor, known, name)

    def follow_module(self, name: str, args: Any, out: Any) -> bool:
        """Follow a function as the module that does the same; return whether it is one."""
        return False

    def _follow_scaled(self, name: str, args: Any, kwargs: dict[str, Any], out: Tensor) -> bool:
        """Follow a product with a constant; return whether it is one."""
        entry = self.find(args[0]) if isinstance(args[0], Tensor) else None
        scaled = None if entry is None else self._scaled(name, entry, args, kwargs)
        if entry is None or scaled is None:
            return False
        self._lose(out, [args[0]], name, scaled, entry.indices(args[0]))
        return True

    def _scaled(self, name: str, entry: Entry, args: Any, kwargs: dict[str, Any]) -> Source | None:
        """Return what modules may read a product with a constant as."""
        factor = -1.0 if name == "neg" else self._constant(args[1]) if len(args) == 2 and not kwargs else None
        if factor is None or entry.readable is None or name not in ("mul", "div", "neg") or not math.isfinite(factor):
            return None
        if name == "div":
            factor = 1.0 / factor if factor else math.inf
        parts = tuple(replace(part, factor=part.factor * factor) for part in entry.readable.parts)
        return replace(entry.readable, parts=parts) if math.isfinite(factor) else None

    def _constant(self, value: Any) -> float | None:
        """Return a number, or one in a tensor that comes from no module."""
        if isinstance(value, Tensor):
            value = value.item() if value.numel() == 1 and self.find(value) is None else None
        return float(value) if isinstance(value, int | float) else None

    def _join(self, listed: list[Tensor], out: Tensor, name: str, dim: int) -> None:
        """All calls of one module, in order, are its whole sequence, whatever axis they are put along."""
        entries = [self.find(tensor) for tensor in listed]
        ends = [self._end_of(entry, tensor) for entry, tensor in zip(entries, listed, strict=True)]
        first = ends[0]
        size = listed[0].numel()
        if (
            first is not None
            and [end and (replace(end[0], call=first[0].call), end[1]) for end in ends] == [first] * len(ends)
            and [end and end[0].call for end in ends] == list(range(1, len(ends) + 1))
            and (name == "stack" or all(tensor.shape[dim] == 1 for tensor in listed))
        ):
            ids = [torch.arange(size).reshape(listed[0].shape) + step * size for step in range(len(listed))]
            joined = torch.stack(ids, dim) if name == "stack" else torch.cat(ids, dim)
            source = Source((replace(first[0], call=None),), out.numel())
            self.remember(out, source if first[1] is None else replace(first[1], source=source), joined)
        else:
            known = [tensor for tensor in listed if self.find(tensor) is not None]
            self._lose(out, known, name, self._beside(listed, out, dim) if name == "cat" else None)

    def _beside(self, listed: list[Tensor], out: Tensor, dim: int) -> Source | None:
        """Return what modules may read features of several outputs as that lie one behind the other."""
        axis = dim % out.ndim
        total, first, parts = math.prod(out.shape[axis:]), 0, []
        for tensor in listed:
            entry, width = self.find(tensor), math.prod(tensor.shape[axis:])
            source = self._readable(entry, tensor)
            if source is None and (entry is not None or bool(tensor.any())):
                return None
            for part in source.parts if source is not None else ():
                start, own = part.place[:2] if part.place else (0, width)
                parts.append(replace(part, place=(first + start, own, total)))
            first += width
        return Source(tuple(parts), out.numel())

    def _readable(self, entry: Entry | None, tensor: Tensor) -> Source | None:
        """Return what modules may read a tensor as that is all of an output, or one step of it."""
        return None if entry is None else self._step_of(entry, tensor) or entry.whole(tensor)

    def _fill(self, target: Tensor, step: Tensor) -> bool:
        """Follow one call's output into its place in a tensor made before; return whether that is what happens."""
        entry = self.find(step)
        part = None if entry is None or not entry.is_whole(step) else entry.part()
        known = self.find(target)
        if part is None or part.call is None or target.shape != step.shape:
            return False
        storage = target.untyped_storage()
        numel = storage.nbytes() // target.element_size()
        source = Source((replace(part, call=None),), numel)
        if known is None:
            known = self._known[storage._cdata] = Entry(target, source, torch.full((numel,), -1))
        if known.source != source:
            return False
        known.ids[_places(target).reshape(-1)] = torch.arange(step.numel()) + (part.call - 1) * step.numel()
        return True

    def _step_of(self, entry: Entry | None, tensor: Tensor) -> Source | None:
        """Return one step cut out of a whole sequence as what that call gave."""
        part = None if entry is None else entry.part()
        if entry is None or part is None or part.call is not None or part.node == INPUT:
            return None
        ids = entry.indices(tensor).reshape(-1)
        first, size = int(ids[0]), len(ids)
        if first % size or not torch.equal(ids, torch.arange(size) + first):
            return None
        return Source((replace(part, call=first // size + 1),), size)

    def _end_of(self, entry: Entry | None, tensor: Tensor) -> tuple[Part, Returnable | None] | None:
        """Return the one part that a tensor is, and what was done to it, if it is all of that part in its order."""
        source = None if entry is None else entry.source
        origin = source if isinstance(source, Returnable) and not source.steps else None
        source = source if origin is None else origin.source
        if entry is None or not isinstance(source, Source) or len(source.parts) > 1 or source.parts[0].call is None:
            return None
        if not entry.is_whole(tensor, source):
            return None
        return source.parts[0], None if origin is None else replace(origin, source=Source((), 0))

    def _follow_returnable(self, name: str, args: Any, kwargs: dict[str, Any], out: Any) -> bool:
        """Follow an operation that does not change the order of read-outs; return whether it is one."""
        tensor = args[0] if args and isinstance(args[0], Tensor) else None
        entry = None if tensor is None else self.find(tensor)
        if entry is None or not isinstance(entry.source, Source | Returnable):
            return False
        assert tensor is not None
        origin = self.returned(entry.source)
        ids = entry.indices(tensor)
        values = out[0] if name == "max" and isinstance(out, tuple) else out
        axes = args[1] if len(args) > 1 else None
        axis = axes[0] if isinstance(axes, list | tuple) and len(axes) == 1 else axes
        if origin is not None and not origin.operations:
            where = self.names[origin.source.parts[0].node]
            origin = replace(origin, reason=f"{where} goes through torch's {name!r}{self._inside}, which is no module")
        if origin is None or not isinstance(values, Tensor) or (origin.classes and name not in _SCALED | _RISING):
            return False
        if name in _CLASSES and isinstance(axis, int):
            origin = replace(origin, classes=(*origin.classes, _axis(ids, axis)))
            ids = ids.select(axis, 0).reshape(values.shape) if name == "argmax" else ids
        elif name in _OVER_STEPS and isinstance(axis, int) and not _RISING & {*origin.operations}:
            origin = replace(origin, steps=(*origin.steps, _axis(ids, axis)))
            ids = ids.select(axis, 0).reshape(values.shape)
        elif not (name in _RISING or (name in _SCALED and self._is_scaled(name, args, kwargs))):
            return False
        again = origin.operations[-1:] == (name,)
        origin = origin if again else replace(origin, operations=(*origin.operations, name))
        self.remember(values, replace(origin, readable=self._scaled(name, entry, args, kwargs)), ids)
        return True

    @staticmethod
    def _changes_nothing(name: str, args: Any, kwargs: dict[str, Any]) -> bool:
        """Return whether a tensor is added to 0 or multiplied by 1, as by Python's ``sum``."""
        neutral = {"add": 0, "sub": 0, "mul": 1, "div": 1}.get(name)
        other = args[1] if len(args) == 2 and not kwargs else None
        if isinstance(other, Tensor):
            other = other.item() if other.ndim == 0 else None
        return neutral is not None and other == neutral

    def returned(self, source: Source | Returnable) -> Returnable | None:
        """Return a source as what a network may return: an output of a module or its sum over steps; else ``None``."""
        if isinstance(source, Returnable):
            return source
        first = source.parts[0]
        reason = f"{self.names[first.node]} is added up over steps"
        if len(source.parts) == 1:
            return Returnable(reason, source)
        if {(part.node, part.port) for part in source.parts} != {(first.node, first.port)}:
            return None
        calls = [part.call for part in source.parts]
        if sorted(call or 0 for call in calls) != list(range(1, len(calls) + 1)):
            return None
        return Returnable(reason, Source((first,), source.numel), ("sum",), (Axis(source.numel, len(calls)),))

    def _is_scaled(self, name: str, args: Any, kwargs: dict[str, Any]) -> bool:
        """Return whether a tensor is scaled by a positive number, or moved by one that is the same for all classes."""
        other = self._constant(args[1]) if len(args) == 2 and not kwargs else None
        return other is not None and (other > 0 or name in ("add", "sub"))

    def _add(self, left: Tensor, right: Tensor, out: Tensor, name: str) -> None:
        entries = [self.find(tensor) for tensor in (left, right)]
        sign = -1.0 if "sub" in name else 1.0
        parts: dict[Part, float] = {}
        for tensor, entry, factor in zip((left, right), entries, (1.0, sign), strict=True):
            if entry is None and not bool(tensor.any()):
                continue  # zeros stand for what a loop has not computed yet
            source = self._readable(entry, tensor)
            if source is None or tensor.shape != out.shape:
                break
            for part in source.parts:
                one = replace(part, factor=1.0)
                parts[one] = parts.get(one, 0.0) + part.factor * factor
        else:
            source = Source(tuple(replace(part, factor=factor) for part, factor in parts.items()), out.numel())
            if all(part.factor == 1.0 and part.place is None for part in source.parts):
                self.remember(out, source)
            else:
                self._lose(out, [t for t, entry in zip((left, right), entries, strict=True) if entry], name, source)
            return
        self._lose(out, [t for t, entry in zip((left, right), entries, strict=True) if entry is not None], name)

    @property
    def _inside(self) -> str:
        return f" in {self.within[-1]}" if self.within else ""

    def find(self, tensor: Tensor) -> Entry | None:
        """Return what is known of a tensor's storage."""
        return self._known.get(tensor.untyped_storage()._cdata)

    def remember(self, tensor: Tensor, source: Source | Lost, indices: Tensor | None = None) -> None:
        """Make a tensor known; ``indices`` are needed where it is in another order than its source."""
        storage = tensor.untyped_storage()
        ids = torch.full((storage.nbytes() // tensor.element_size(),), -1)
        if indices is None:
            indices = torch.arange(tensor.numel()).reshape(tensor.shape)
        # The first one counts where places repeat.
        ids[_places(tensor).reshape(-1).flip(0)] = indices.reshape(-1).flip(0)
        self._known[storage._cdata] = Entry(tensor, source, ids)

    def _lose(
        self,
        tensor: Tensor,
        known: list[Tensor],
        operation: str,
        readable: Source | None = None,
        indices: Tensor | None = None,
    ) -> None:
        """Note which operation a network may not return; ``readable`` is what modules may read it as."""
        first = self.find(known[0])
        assert first is not None
        lost, what = first.source, f"goes through torch's {operation.rstrip('_')!r}{self._inside}"
        if isinstance(lost, Source):
            nodes = [self.names[part.node] for part in lost.parts]
            lost = Lost(f"{' + '.join(dict.fromkeys(nodes))} {what}, which is no module")
        elif isinstance(lost, Returnable):
            lost = Lost(f"{self.names[lost.source.parts[0].node]} {what}")
        self.remember(tensor, replace(lost, readable=readable), indices)


def _places(tensor: Tensor) -> Tensor:
    """Return where each element of a tensor lies in its storage."""
    count = tensor.untyped_storage().nbytes() // tensor.element_size()
    return torch.arange(count).as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


def _axis(ids: Tensor, dim: int) -> Axis:
    """Describe an axis of what is known; a stride of 0 says that its elements do not lie evenly apart."""
    length = ids.shape[dim]
    if length == 1:
        return Axis(0, 1)
    steps = ids.diff(dim=dim)
    stride = int(steps.reshape(-1)[0])
    return Axis(stride if bool((steps == stride).all()) else 0, length)
