"""What a compiled network is: a frozen list of integer operations, and the file that holds it.

Within a step the operations run in order and see each other's results of the same step: the latency of every operation
is 0, that of a ``Delay`` its ``steps``. A machine that passes messages (Lava, Loihi) adds steps of its own; recordings
are aligned to the program's steps.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.description import described
from neuromorphic.errors import ExecutorError, FileFormatError, ProgramError
from neuromorphic.files.canonical import plain_json
from neuromorphic.files.container import complete_header, read_container, write_container
from neuromorphic.files.ternary import is_ternary, pack_offset_binary, unpack_offset_binary
from neuromorphic.inputs import prepared
from neuromorphic.integers.numbers import INT32_MAX
from neuromorphic.ops import OP_TYPES, Delay, Input, Operation, Variable, Wanted
from neuromorphic.ops.base import checked_integer

KIND = "pnbx-program"
FORMAT_VERSION = 4
"""2: operations of pathway_ops, resets one step late; 3: ternary arrays at two bits; 4: a digest for any language."""
MAX_NAME = 1000
MAX_VALUES = 1 << 27
"""Values of one sample that a program may hold at once, states and queues included: 512 MiB as int32."""


def _unpacked(name: str, array: NDArray[Any], entry: Any) -> NDArray[Any]:
    """Return an array as a file holds it: as it is, or ternary where its entry says of which shape."""
    if entry is None:
        return array
    shape = entry["ternary"]
    if not isinstance(shape, list) or any(type(n) is not int or n < 1 for n in shape):
        raise ProgramError(f"{name}: a shape must be whole numbers of 1 or more, got {shape!r}")
    return unpack_offset_binary(name, array, tuple(shape))


def _check_wiring(ops: tuple[Operation, ...]) -> None:
    seen: dict[str, Operation] = {}
    later: list[tuple[Operation, Wanted]] = []  # a Delay may stand before its source
    for op in ops:
        if not isinstance(op.name, str) or not op.name.replace("_", "").isalnum():
            raise ProgramError(f"operation name must be letters, digits and underscores, got {op.name!r:.100}")
        if len(op.name) > MAX_NAME:
            raise ProgramError(f"operation name must have at most {MAX_NAME} letters, got {len(op.name)}")
        if op.name in seen:
            raise ProgramError(f"{op.name}: two operations have this name")
        if not isinstance(op, Input) and not op.sources:
            raise ProgramError(f"{op.name}: has no source")
        if not all(isinstance(source, str) for source in op.sources):
            raise ProgramError(f"{op.name}: sources must be names of operations, got {op.sources!r:.100}")
        for wanted in op.wants:
            if wanted.source in seen:
                _check_source(op, wanted, seen[wanted.source])
            elif isinstance(op, Delay):
                later.append((op, wanted))
            else:
                raise ProgramError(
                    f"{op.name}: source {wanted.source!r} is not an operation that stands before it; "
                    "only a Delay may read a later one"
                )
        seen[op.name] = op
    for op, wanted in later:
        if wanted.source not in seen:
            raise ProgramError(f"{op.name}: source {wanted.source!r} is not an operation of this program")
        _check_source(op, wanted, seen[wanted.source])
    followed: set[str] = set()
    for op, _ in later:
        chain = {op.name}
        while isinstance(op, Delay) and op.name not in followed:
            op = seen[op.source]
            if op.name in chain:  # delays that only read each other would be followed for ever
                raise ProgramError(f"{op.name}: reads itself through delays alone")
            chain.add(op.name)
        followed |= chain
    if [isinstance(op, Input) for op in ops].count(True) != 1 or not isinstance(ops[0], Input):
        raise ProgramError("a program has exactly one Input, and it stands first")
    _check_connected(ops)


def _check_memory(ops: tuple[Operation, ...]) -> None:
    """Refuse programs of which a few bytes ask for all memory: sizes that no array of theirs backs."""
    held = {}
    for op in ops:
        sizes = {name: math.prod(state.shape) for name, state in op.states().items() if len(state.shape) > 1}
        sizes |= {variable.name: variable.size for variable in op.variables}
        held[op.name] = op.size + sum(sizes.values())
    if sum(held.values()) > MAX_VALUES:
        most = max(held, key=lambda name: held[name])
        raise ProgramError(
            f"{most}: holds {held[most]} of {sum(held.values())} values that the program takes for one sample; "
            f"at most {MAX_VALUES} are allowed in all (queues of delays, states, what flows between operations)"
        )


def _check_connected(ops: tuple[Operation, ...]) -> None:
    """Refuse loops that nothing connects with the input: a simulator that follows connections would miss them."""
    neighbours: dict[str, set[str]] = {op.name: set(op.sources) for op in ops}
    for op in ops:
        for source in op.sources:
            neighbours[source].add(op.name)
    found, waiting = {ops[0].name}, [ops[0].name]
    while waiting:
        new = neighbours[waiting.pop()] - found
        found |= new
        waiting += new
    for op in ops:
        if op.name not in found:
            raise ProgramError(f"{op.name}: nothing connects it with the input")


def _check_source(op: Operation, wanted: Wanted, source: Operation) -> None:
    if source.kind not in wanted.kinds or source.size != wanted.size:
        raise ProgramError(
            f"{op.name}: source {wanted.source!r} must give {' or '.join(wanted.kinds)} of size {wanted.size}, "
            f"got {source.kind} of size {source.size}"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """A compiled network: operations in execution order, how many steps it is meant to run, and where it comes from.

    Parameters
    ----------
    ops : tuple of Operation
        ``Input`` first; every source stands before its reader, except that of a ``Delay``.
    num_steps : int
        Steps per sample it was compiled for; bounds are proven for this many. It runs longer where they are proven for
        more: :func:`neuromorphic.bounds.most_steps`.
    metadata : Mapping[str, Any]
        Facts that JSON knows: source network, measured agreement, versions. Kept as a file gives them back: tuples
        become lists, integer keys text.

    Raises
    ------
    ProgramError
        When a name repeats, a source is missing or of the wrong kind or size, a value is out of range, the metadata
        hold what JSON does not know (NaN, objects), or one sample would take more than :data:`MAX_VALUES` values.

    Examples
    --------
    >>> from neuromorphic import LIF, Dense, Input
    >>> one = np.ones(2, dtype=np.int32)
    >>> program = Program(
    ...     ops=(
    ...         Input("pixels", 3),
    ...         Dense("fc1", "pixels", np.array([[1, 0, -1], [1, 1, 1]], dtype=np.int8)),
    ...         LIF("lif1", ("fc1",), decay=3686 * one, threshold=64 * one, bias=0 * one, shift=6),
    ...     ),
    ...     num_steps=10,
    ... )
    >>> program["lif1"].size
    2
    >>> program
    Program: 3 operations, 10 steps, 2 bytes of weights
    input: pixels 3, 0..1
    operations: Dense fc1 2, LIF lif1 2
    """

    ops: tuple[Operation, ...]
    num_steps: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ops", tuple(self.ops))
        if not self.ops:
            raise ProgramError("a program needs at least an Input")
        object.__setattr__(self, "num_steps", checked_integer("program", "num_steps", self.num_steps, 1, INT32_MAX))
        if not isinstance(self.metadata, Mapping):
            raise ProgramError(f"program: metadata must be a mapping, got {type(self.metadata).__name__}")
        try:
            object.__setattr__(self, "metadata", plain_json(self.metadata, "metadata"))
        except ValueError as error:
            raise ProgramError(f"program: {error}") from error
        _check_wiring(self.ops)
        _check_memory(self.ops)

    def __repr__(self) -> str:
        return described(self.ops, self.num_steps, self.metadata)

    @property
    def input(self) -> Input:
        """The one ``Input``."""
        first = self.ops[0]
        assert isinstance(first, Input)
        return first

    @cached_property
    def _by_name(self) -> dict[str, Operation]:
        return {op.name: op for op in self.ops}

    @cached_property
    def _undelayed(self) -> dict[str, tuple[Operation, int]]:
        """What :meth:`undelayed` returns, of every ``Delay``; each is looked at once."""
        found: dict[str, tuple[Operation, int]] = {}
        for op in self.of_type(Delay):
            waiting = []
            while isinstance(op, Delay) and op.name not in found:
                waiting.append(op)
                op = self[op.source]
            origin, steps = found.get(op.name, (op, 0))
            for delay in reversed(waiting):
                steps += delay.steps
                found[delay.name] = origin, steps
        return found

    def __getitem__(self, name: str) -> Operation:
        """Return the operation of that name."""
        return self._by_name[name]

    def undelayed(self, name: str) -> tuple[Operation, int]:
        """Return the operation whose events come through a ``Delay``, or several, and how many steps they take."""
        op = self[name]
        return self._undelayed[name] if isinstance(op, Delay) else (op, 0)

    def of_type(self, cls: type[Any]) -> list[Any]:
        """Operations of one class, in order."""
        return [op for op in self.ops if isinstance(op, cls)]

    def variables_to_record(self, record: Iterable[str] | None, executor: str) -> dict[str, tuple[str, Variable]]:
        """Return the variables ``"op.variable"`` of ``record``, in the program's order, each with its operation.

        ``None`` is all. One that the program does not have is an ``ExecutorError`` in the name of ``executor``.
        """
        known = {f"{op.name}.{v.name}": (op.name, v) for op in self.ops for v in op.variables}
        wanted = set(known) if record is None else set(record)
        for name in sorted(wanted - set(known)):
            raise ExecutorError(f"{executor}: there is no variable {name!r}; the program has {', '.join(known)}")
        return {name: found for name, found in known.items() if name in wanted}

    def prepare_inputs(self, inputs: Any) -> NDArray[np.int32]:
        """Check inputs and bring them to int32 ``[T, B, N]``: see :func:`neuromorphic.inputs.prepared`."""
        return prepared(inputs, self.input, self.num_steps)

    def _content(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        body: dict[str, Any] = {"num_steps": self.num_steps, "metadata": dict(self.metadata), "ops": []}
        arrays: dict[str, NDArray[Any]] = {}
        for op in self.ops:
            entry: dict[str, Any] = {"op": type(op).__name__}
            for f in fields(op):  # type: ignore[arg-type]
                value, key = getattr(op, f.name), f"{op.name}.{f.name}"
                if isinstance(value, np.ndarray) and value.dtype == np.int8 and is_ternary(value):
                    arrays[key], entry[f.name] = pack_offset_binary(value), {"ternary": list(value.shape)}
                elif isinstance(value, np.ndarray):
                    arrays[key] = value
                else:
                    entry[f.name] = list(value) if isinstance(value, tuple) else value
            body["ops"].append(entry)
        return body, arrays

    @property
    def sha256(self) -> str:
        """The SHA-256 its file carries: equal programs, metadata included, have equal ones."""
        return str(complete_header(KIND, FORMAT_VERSION, *self._content())["sha256"])

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the program to an ``.npz`` and return its SHA-256.

        Raises
        ------
        StorageError
            When the file cannot be written; an older file of that name is untouched.
        """
        return write_container(path, KIND, FORMAT_VERSION, *self._content())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Program:
        """Read a program, checking everything a constructor checks.

        Raises
        ------
        FileFormatError
            When the file is missing, truncated, altered, newer than this package or not a program.
        """
        body, arrays, _ = read_container(path, KIND, FORMAT_VERSION)
        try:
            ops = []
            for entry in body["ops"]:
                arguments = dict(entry)
                op_class = OP_TYPES[arguments.pop("op")]
                for f in fields(op_class):  # type: ignore[arg-type]
                    key = f"{arguments['name']}.{f.name}"
                    if key in arrays:
                        arguments[f.name] = _unpacked(key, arrays.pop(key), arguments.get(f.name))
                ops.append(op_class(**arguments))
            program = cls(ops=tuple(ops), num_steps=body["num_steps"], metadata=body["metadata"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(f"{path}: not a usable program ({error})") from error
        if arrays:
            raise FileFormatError(f"{path}: arrays that no operation uses: {', '.join(sorted(arrays))}")
        return program
