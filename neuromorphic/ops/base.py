"""What every operation of a program is: a frozen record of checked fields, its states, and one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ProgramError
from neuromorphic.integers.symbols import Bound, Range, bound_by_step

MAX_SHIFT = 16
MAX_SIZE = 1 << 24
"""Units of one operation: more than any network here has, little enough to take memory for."""


@dataclass(frozen=True)
class Wanted:
    """What an operation asks of one of its sources: its kind, one of several, and its size."""

    source: str
    kinds: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Variable:
    """What a recording stores of an operation: a name, a dtype and how many values per step and sample."""

    name: str
    dtype: str
    size: int


class State(NamedTuple):
    """What an operation carries from step to step: its shape for one sample, and its value before the first step.

    ``counts_steps`` says that it is one number, the same for all samples whatever arrives. A back end may hold it as a
    Python integer, so that comparisons with it are Booleans.
    """

    shape: tuple[int, ...]
    first: NDArray[Any] | int = 0
    counts_steps: bool = False


class Operation(ABC):
    """One operation of a program. A subclass is one file: fields, checks, states and :meth:`step`.

    What flows between operations has a kind: ``"events"`` (spikes or graded integers in a stated range), ``"values"``
    (integers proven to fit int32), ``"gate"`` (Q0.12 in 0..4096), or ``"sum"`` (24-bit running sums, never fed onward).

    :meth:`step` is the definition. From it come, without being written again, the NumPy reference, the torch executor,
    the Lava process, the ONNX model and, unless a subclass knows better, the proof that nothing overflows.
    """

    name: str
    kind: ClassVar[str]
    accepts: ClassVar[tuple[str, ...]] = ("values",)
    """Kinds of its sources."""

    if TYPE_CHECKING:  # fields of some subclasses, properties of others; a property here would be a field's default

        @property
        def size(self) -> int:
            """Number of units."""

        @property
        def sources(self) -> tuple[str, ...]:
            """Names of the operations that it reads."""

    @property
    def event_range(self) -> tuple[int, int]:
        """Lowest and highest event that it gives, where its kind is ``"events"``."""
        return (0, 1)

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """What it asks of its sources."""
        return tuple(Wanted(source, self.accepts, self.size) for source in self.sources)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """What a recording stores, all after the step."""
        return ()

    def states(self) -> dict[str, State]:
        """Return what it carries from step to step, by name."""
        return {}

    @property
    def weight_bytes(self) -> int:
        """Bytes its weights take when packed: 2 bits each if ternary, else 8; 0 where it has none."""
        return 0

    @abstractmethod
    def step(self, xp: Any, state: Any, *inputs: Any) -> Any:
        """Make one step.

        Parameters
        ----------
        xp
            The primitives of a back end, such as :class:`neuromorphic.integers.numbers.NumPy`. Arrays of ``self`` are
            constants of that back end: see :meth:`placed`.
        state
            Holds the states by name; the step assigns the new ones, and every variable that a recording stores.
        *inputs
            One value for each of its sources, in order.

        Returns
        -------
        value
            What flows to its readers, ``[size]``.
        """

    def bound(self, inputs: list[Range], num_steps: int) -> Bound:
        """Prove the range of what it puts out and of its states, from those of its inputs, by running :meth:`step`.

        A subclass overrides this where intervals alone prove too little: where terms are correlated.

        Raises
        ------
        BoundError
            When an accumulator could overflow.
        """
        return bound_by_step(self, inputs, num_steps)

    def placed(self: OperationT, constant: Callable[[NDArray[Any]], Any]) -> OperationT:
        """Return this operation with its arrays as constants of a back end: what :meth:`step` is called on."""
        twin: OperationT = object.__new__(type(self))
        fields = {name: constant(v) if isinstance(v, np.ndarray) else v for name, v in vars(self).items()}
        twin.__dict__.update(fields)
        return twin

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Freeze the arrays of a copy: pickles and deep copies hold arrays that can be written."""
        for value in state.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
        self.__dict__.update(state)


class OneSource(Operation):
    """An operation that reads one other."""

    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        """The name of the operation that it reads."""
        return (self.source,)


class Synapses(OneSource):
    """An operation of weights, int8, that multiply what one other gives."""

    weights: NDArray[np.int8]
    shift: int

    @abstractmethod
    def fan_in(self) -> NDArray[np.int64]:
        """Return how many synapses, whose weight is not 0, each output has: ``[size]``."""

    @property
    def is_ternary(self) -> bool:
        """Whether every weight is -1, 0 or 1."""
        return bool(np.abs(self.weights.astype(np.int32)).max() <= 1)

    @property
    def weight_bytes(self) -> int:
        """Bytes its weights take when packed: 2 bits each if ternary, else 8."""
        return -(-self.weights.size * (2 if self.is_ternary else 8) // 8)


class Gated(OneSource):
    """An operation that reads values and a gate of the same size."""

    gate: str

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the values and of the gate."""
        return (self.source, self.gate)

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """Values and a gate."""
        return (Wanted(self.source, ("values",), self.size), Wanted(self.gate, ("gate",), self.size))


OperationT = TypeVar("OperationT", bound=Operation)

_types: dict[str, type[Operation]] = {}
OP_TYPES: Mapping[str, type[Operation]] = MappingProxyType(_types)
"""Every operation by the name of its class, which files and messages use."""


def operation(cls: type[OperationT]) -> type[OperationT]:
    """Enter a class into the table of operations, so that programs can be saved, loaded and run with it."""
    _types[cls.__name__] = cls
    return cls


def first_states(op: Operation, batch: int) -> SimpleNamespace:
    """Return the states of an operation before the first step, int64 ``[B, ...]``, as its NumPy step takes them."""
    return SimpleNamespace(
        **{
            name: np.array(np.broadcast_to(np.asarray(first, dtype=np.int64), (batch, *shape)))
            for name, (shape, first, _) in op.states().items()
        }
    )


def total(currents: tuple[Any, ...]) -> Any:
    """Sum what several sources send; a source that is named twice counts twice."""
    return reduce(add, currents)


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


def checked_integers(op: str, name: str, value: Any, count: int, low: int, high: int) -> tuple[int, ...]:
    """Return ``value`` as a tuple of ``count`` integers in ``low..high``."""
    if not isinstance(value, (tuple, list)) or len(value) != count:
        raise ProgramError(f"{op}: {name} must be {count} integers in {low}..{high}, got {value!r:.100}")
    return tuple(checked_integer(op, name, number, low, high) for number in value)


def check_lengths(op: str, **arrays: NDArray[Any]) -> None:
    """Refuse arrays of different lengths."""
    if len({array.shape for array in arrays.values()}) > 1:
        names = list(arrays)
        listed = ", ".join(names[:-1]) + " and " + names[-1]
        raise ProgramError(f"{op}: {listed} must have one length, got {[list(a.shape) for a in arrays.values()]}")
