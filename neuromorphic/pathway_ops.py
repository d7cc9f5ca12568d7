"""Operations beside the membrane: scales, delays, gates, linear states, fast weights, memory slots, messages.

Their arithmetic is in :mod:`neuromorphic.pathway_arithmetic`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import ProgramError
from neuromorphic.fixed_point import DECAY_ONE, INT32_MAX, STATE_MAX
from neuromorphic.op_fields import (
    MAX_SHIFT,
    MAX_SIZE,
    Variable,
    Wanted,
    check_lengths,
    checked_array,
    checked_choice,
    checked_flag,
    checked_integer,
    restore,
)
from neuromorphic.pathway_arithmetic import KEY_BITS, MEMORY_BITS, NEIGHBOURS

MAX_SCALE_SHIFT = 47
MAX_DELAY = 4096
MIN_SIDE = 3
FAST_RULES = ("hebbian", "delta")


class _OneSource:
    """What operations with one source of their own size share."""

    name: str
    source: str
    size: int
    accepts: ClassVar[tuple[str, ...]] = ("values",)
    __setstate__ = restore

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the operations it reads."""
        return (self.source,)

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """What it asks of its sources."""
        return (Wanted(self.source, self.accepts, self.size),)


@dataclass(frozen=True, eq=False)
class Scale(_OneSource):
    """A constant factor per unit; see :func:`neuromorphic.pathway_arithmetic.scale_values`.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events or values.
    factor : NDArray[np.int32]
        ``[N]``.
    shift : int
        Right shift of the product, 0..47.
    """

    name: str
    source: str
    factor: NDArray[np.int32]
    shift: int = 0
    kind: ClassVar[str] = "values"
    accepts: ClassVar[tuple[str, ...]] = ("events", "values")
    variables: ClassVar[tuple[Variable, ...]] = ()

    def __post_init__(self) -> None:
        factor = checked_array(self.name, "factor", self.factor, np.int32, 1, -INT32_MAX, INT32_MAX)
        object.__setattr__(self, "factor", factor)
        checked_integer(self.name, "shift", self.shift, 0, MAX_SCALE_SHIFT)

    @property
    def size(self) -> int:  # type: ignore[override]
        """Number of units."""
        return int(self.factor.shape[0])


@dataclass(frozen=True)
class Delay(_OneSource):
    """Events as they were ``steps`` steps ago, zeros before. The only operation that may stand before its source.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events; a loop through a program passes through at least one ``Delay``.
    size : int
        Number of units.
    steps : int
        1..4096.
    """

    name: str
    source: str
    size: int
    steps: int = 1
    kind: ClassVar[str] = "events"
    accepts: ClassVar[tuple[str, ...]] = ("events",)
    variables: ClassVar[tuple[Variable, ...]] = ()

    def __post_init__(self) -> None:
        checked_integer(self.name, "size", self.size, 1, MAX_SIZE)
        checked_integer(self.name, "steps", self.steps, 1, MAX_DELAY)


@dataclass(frozen=True, eq=False)
class Gate(_OneSource):
    """A sigmoid from the table; see :func:`neuromorphic.pathway_arithmetic.gate`.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Values in units of 1/256.
    offset : NDArray[np.int32]
        Added to them, ``[N]``.
    """

    name: str
    source: str
    offset: NDArray[np.int32]
    kind: ClassVar[str] = "gate"
    variables: ClassVar[tuple[Variable, ...]] = ()

    def __post_init__(self) -> None:
        offset = checked_array(self.name, "offset", self.offset, np.int32, 1, -STATE_MAX, STATE_MAX)
        object.__setattr__(self, "offset", offset)

    @property
    def size(self) -> int:  # type: ignore[override]
        """Number of gates."""
        return int(self.offset.shape[0])


@dataclass(frozen=True)
class Multiply:
    """Values weighed by a gate; see :func:`neuromorphic.pathway_arithmetic.multiply`.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Values.
    gate : str
        A ``Gate``.
    size : int
        Number of units.
    shift : int
        Right shift of the result, 0..16.
    """

    name: str
    source: str
    gate: str
    size: int
    shift: int = 0
    kind: ClassVar[str] = "values"
    variables: ClassVar[tuple[Variable, ...]] = ()

    def __post_init__(self) -> None:
        checked_integer(self.name, "size", self.size, 1, MAX_SIZE)
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the operations it reads."""
        return (self.source, self.gate)

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """What it asks of its sources."""
        return (Wanted(self.source, ("values",), self.size), Wanted(self.gate, ("gate",), self.size))


@dataclass(frozen=True, eq=False)
class LI:
    """Leaky integrators that never spike; see :func:`neuromorphic.pathway_arithmetic.integrate_step`.

    Parameters
    ----------
    name : str
        Name of the operation.
    sources : tuple of str
        Values; they are added.
    decay, bias : NDArray[np.int32]
        Q0.12 in 0..4096, and state units within 24 bits, ``[N]``.
    shift : int
        Fractional bits of the state relative to the input, 0..16.
    """

    name: str
    sources: tuple[str, ...]
    decay: NDArray[np.int32]
    bias: NDArray[np.int32]
    shift: int = 0
    kind: ClassVar[str] = "values"
    __setstate__ = restore

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        for name, low, high in (("decay", 0, DECAY_ONE), ("bias", -STATE_MAX, STATE_MAX)):
            object.__setattr__(self, name, checked_array(self.name, name, getattr(self, name), np.int32, 1, low, high))
        check_lengths(self.name, decay=self.decay, bias=self.bias)
        checked_integer(self.name, "shift", self.shift, 0, MAX_SHIFT)

    @property
    def size(self) -> int:
        """Number of integrators."""
        return int(self.decay.shape[0])

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """What it asks of its sources."""
        return tuple(Wanted(source, ("values",), self.size) for source in self.sources)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The state after the step."""
        return (Variable("v", "int32", self.size),)


@dataclass(frozen=True)
class GatedState:
    """Gated moving averages; see :func:`neuromorphic.pathway_arithmetic.gated_step`.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Values that the state averages.
    gate : str
        A ``Gate``: how much of the state is kept.
    size : int
        Number of states.
    """

    name: str
    source: str
    gate: str
    size: int
    kind: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        checked_integer(self.name, "size", self.size, 1, MAX_SIZE)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the operations it reads."""
        return (self.source, self.gate)

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """What it asks of its sources."""
        return (Wanted(self.source, ("values",), self.size), Wanted(self.gate, ("gate",), self.size))

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The state after the step."""
        return (Variable("s", "int32", self.size),)


@dataclass(frozen=True, eq=False)
class Resonator(_OneSource):
    """Damped oscillators; see :func:`neuromorphic.pathway_arithmetic.resonate_step`. What it gives is the real part.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Values.
    cosine, sine : NDArray[np.int32]
        Real and imaginary part of the factor per step, Q0.12 in -4096..4096, ``[N]``; their squares add up to at most
        ``4096**2``.
    """

    name: str
    source: str
    cosine: NDArray[np.int32]
    sine: NDArray[np.int32]
    kind: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        for name in ("cosine", "sine"):
            part = checked_array(self.name, name, getattr(self, name), np.int32, 1, -DECAY_ONE, DECAY_ONE)
            object.__setattr__(self, name, part)
        check_lengths(self.name, cosine=self.cosine, sine=self.sine)
        squares = self.cosine.astype(np.int64) ** 2 + self.sine.astype(np.int64) ** 2
        if int(squares.max()) > DECAY_ONE**2:
            raise ProgramError(
                f"{self.name}: cosine**2 + sine**2 must be at most {DECAY_ONE**2} or it would grow, "
                f"got {int(squares.max())} at {int(squares.argmax())}"
            )

    @property
    def size(self) -> int:  # type: ignore[override]
        """Number of oscillators."""
        return int(self.cosine.shape[0])

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Real and imaginary part after the step."""
        return (Variable("re", "int32", self.size), Variable("im", "int32", self.size))


@dataclass(frozen=True, eq=False)
class Torus(_OneSource):
    """Sums over the eight neighbours on a torus; see :func:`neuromorphic.pathway_arithmetic.torus_sums`.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Events.
    rows, columns : int
        3 at least.
    edges : NDArray[np.int8], optional
        ``[8, N]``, ternary; ``None``: all 1.
    """

    name: str
    source: str
    rows: int
    columns: int
    edges: NDArray[np.int8] | None = None
    kind: ClassVar[str] = "values"
    accepts: ClassVar[tuple[str, ...]] = ("events",)
    variables: ClassVar[tuple[Variable, ...]] = ()

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            checked_integer(self.name, name, getattr(self, name), MIN_SIDE, MAX_SIZE // MIN_SIDE)
        if self.edges is not None:
            edges = checked_array(self.name, "edges", self.edges, np.int8, 2, -1, 1)
            if edges.shape != (len(NEIGHBOURS), self.size):
                raise ProgramError(f"{self.name}: edges must be [8, {self.size}], got {list(edges.shape)}")
            object.__setattr__(self, "edges", edges)

    @property
    def size(self) -> int:  # type: ignore[override]
        """Number of neurons."""
        return self.rows * self.columns


@dataclass(frozen=True)
class FastWeights(_OneSource):
    """A matrix that the activity writes; see :func:`neuromorphic.pathway_arithmetic.fast_weights_step`.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Values in Q.12, clipped to keys.
    size : int
        Rank r.
    decay : int
        Q0.12, 0..4096.
    rate_bits : int
        0..12.
    frac : int
        Fractional bits of the matrix, 0..22.
    rule : str
        ``"hebbian"`` or ``"delta"``.
    """

    name: str
    source: str
    size: int
    decay: int
    rate_bits: int
    frac: int
    rule: str = "hebbian"
    kind: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        checked_integer(self.name, "size", self.size, 1, 4096)
        checked_integer(self.name, "decay", self.decay, 0, DECAY_ONE)
        checked_integer(self.name, "rate_bits", self.rate_bits, 0, KEY_BITS)
        checked_integer(self.name, "frac", self.frac, 0, 22)
        checked_choice(self.name, "rule", self.rule, FAST_RULES)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The matrix after the write, row by row, and the key."""
        return (Variable("F", "int32", self.size * self.size), Variable("key", "int32", self.size))


@dataclass(frozen=True, eq=False)
class Slots:
    """Winner-take-all memory; see :func:`neuromorphic.pathway_arithmetic.slots_step`.

    Parameters
    ----------
    name : str
        Name of the operation.
    source : str
        Spikes.
    keys : NDArray[np.int8]
        Slow half, ternary, ``[M, H]``.
    gain : int
        What an entry of ``keys`` is worth in the output.
    shift : int
        Bits that the output has less than the fast half, 0..22.
    decay_bits, rate_bits : int
        2..12 and 1..12.
    fast : NDArray[np.int32], optional
        Fast half at the start of every sample, 0..2**22, ``[M, H]``; ``None``: zeros.
    plastic : bool
        ``False``: the fast half stays as it is.
    """

    name: str
    source: str
    keys: NDArray[np.int8]
    gain: int
    shift: int
    decay_bits: int = 6
    rate_bits: int = 2
    fast: NDArray[np.int32] | None = None
    plastic: bool = True
    kind: ClassVar[str] = "values"
    __setstate__ = restore

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", checked_array(self.name, "keys", self.keys, np.int8, 2, -1, 1))
        checked_integer(self.name, "gain", self.gain, -STATE_MAX, STATE_MAX)
        checked_integer(self.name, "shift", self.shift, 0, MEMORY_BITS)
        checked_integer(self.name, "decay_bits", self.decay_bits, 2, 12)
        checked_integer(self.name, "rate_bits", self.rate_bits, 1, 12)
        checked_flag(self.name, "plastic", self.plastic)
        if self.fast is not None:
            fast = checked_array(self.name, "fast", self.fast, np.int32, 2, 0, 1 << MEMORY_BITS)
            if fast.shape != self.keys.shape:
                raise ProgramError(
                    f"{self.name}: fast must be {list(self.keys.shape)} like keys, got {list(fast.shape)}"
                )
            object.__setattr__(self, "fast", fast)

    @property
    def size(self) -> int:
        """Number of outputs, H."""
        return int(self.keys.shape[1])

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the operations it reads."""
        return (self.source,)

    @property
    def wants(self) -> tuple[Wanted, ...]:
        """What it asks of its sources."""
        return (Wanted(self.source, ("events",), self.size),)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The winner, what was read, and the fingerprint of the fast half after the step."""
        return (Variable("winner", "int32", 1), Variable("read", "int32", self.size), Variable("E", "int32", 1))
