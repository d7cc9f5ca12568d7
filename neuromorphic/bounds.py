"""Proof, before anything runs, that no accumulator of a program can overflow, and where a state could saturate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from neuromorphic.errors import BoundError, InputError
from neuromorphic.integers.numbers import INT32_MAX, STATE_MAX
from neuromorphic.integers.symbols import Bound, Range, uniform
from neuromorphic.ops import Delay, Delays, Input
from neuromorphic.program import Program
from neuromorphic.wording import counted

ANY_STEPS = INT32_MAX
"""A proof for this many steps holds for any number: until then whatever grows has met its 24-bit limit."""


@dataclass(frozen=True)
class OpBound:
    """The proven range of what an operation puts out or holds.

    ``low`` and ``high`` bound what flows out, a ``LIF``'s membrane before its reset or a ``Readout``'s sum;
    ``can_saturate`` says whether the 24-bit limit can be reached within the program's ``num_steps``.
    """

    name: str
    low: int
    high: int
    can_saturate: bool

    @property
    def peak(self) -> int:
        """Largest magnitude."""
        return max(-self.low, self.high)


def event_range(program: Program, name: str) -> Range:
    """Return the range of events, of every unit in the memory of one: zeros flow before anything arrives."""
    op, _ = program.undelayed(name)
    return uniform(op.size, *op.event_range)


def prove_ranges(program: Program) -> dict[str, Bound]:
    """Prove the ranges of every operation and of its states, except those of inputs and delays, by name.

    Raises
    ------
    BoundError
        When an accumulator could overflow.
    """
    bounds: dict[str, Bound] = {}
    for op in program.ops:
        if not isinstance(op, (Input, Delay)):
            inputs = [flowing_range(program, source, bounds) for source in op.sources]
            bounds[op.name] = op.bound(inputs, program.num_steps)
    return bounds


def flowing_range(program: Program, name: str, bounds: dict[str, Bound]) -> Range:
    """Return the range of what an operation gives to its readers: declared for events, else from its bound.

    Of ``Delays`` it is the bound, which may be far narrower than what they declare; of other events that is of a state.
    """
    op = program[name]
    if op.kind == "events" and not isinstance(op, Delays):
        return event_range(program, name)
    return bounds[name].low, bounds[name].high


def prove(program: Program, *, strict: bool = False) -> list[OpBound]:
    """Prove that every accumulator stays in int32, by interval arithmetic over the weights and input range.

    Parameters
    ----------
    program : Program
        Of which each operation but the input and delays has a bound, in this order.
    strict : bool
        Also refuse a program in which a state could reach its 24-bit limit within ``num_steps`` steps.

    Raises
    ------
    BoundError
        When an accumulator could overflow, or, in strict mode, a state could saturate.

    References
    ----------
    Interval arithmetic over Loihi's 24-bit membrane; nengo-loihi raises on the same conditions at run time.

    Examples
    --------
    >>> import numpy as np
    >>> from neuromorphic import Dense
    >>> ops = (Input("x", 2, low=-128, high=127), Dense("fc", "x", np.array([[1, -1]], dtype=np.int8)))
    >>> prove(Program(ops, num_steps=1))
    [OpBound(name='fc', low=-255, high=255, can_saturate=False)]
    """
    bounds: list[OpBound] = []
    for name, found in prove_ranges(program).items():
        bound = OpBound(name, int(found.low.min()), int(found.high.max()), found.saturates)
        if strict and bound.can_saturate:
            raise BoundError(
                f"{name}: a state can reach {bound.peak} within {counted(program.num_steps, 'step')} and "
                f"saturate at {STATE_MAX}; lower its shift, or run without strict"
            )
        bounds.append(bound)
    return bounds


def most_steps(program: Program, limit: int = ANY_STEPS) -> int:
    """Return for how many steps from zero every accumulator is proven to fit, :data:`ANY_STEPS` for any number.

    A state that saturates is no obstacle: it stays at its limit, on every executor. What flows onward in a program
    stops growing there, so most programs are proven for any number of steps. One is not where the state of an ``LI``, a
    ``Resonator`` or ``FastWeights`` that still grows after ``num_steps`` steps is summed by another operation.

    The answer is ``program.num_steps`` or more, and at most ``limit``, where the search ends.

    Raises
    ------
    BoundError
        When not even ``program.num_steps`` steps are proven.

    Examples
    --------
    >>> import numpy as np
    >>> from neuromorphic.ops import LI, Dense, Scale
    >>> one = np.ones(1, dtype=np.int32)
    >>> ops = (
    ...     Input("x", 1),
    ...     Dense("fc", "x", np.array([[1]], dtype=np.int8)),
    ...     LI("sum", ("fc",), decay=4096 * one, bias=0 * one),
    ...     Scale("large", "sum", factor=(1 << 20) * one),
    ... )
    >>> most_steps(Program(ops, num_steps=10))
    2047
    """
    if program.num_steps < limit and _is_proven(program, limit):
        return limit
    prove(program)
    if program.num_steps >= limit:
        return program.num_steps
    proven, refused = program.num_steps, limit
    while refused - proven > 1:
        middle = (proven + refused) // 2
        proven, refused = (middle, refused) if _is_proven(program, middle) else (proven, middle)
    return proven


def _is_proven(program: Program, num_steps: int) -> bool:
    try:
        prove(replace(program, num_steps=num_steps))
    except BoundError:
        return False
    return True


def proven_for(program: Program, num_steps: int) -> Program:
    """Return a program as one of at least ``num_steps`` steps, those of the inputs; executors run that.

    It is the program itself if the inputs have no more steps than it has, for which it is proven already.

    Raises
    ------
    InputError
        When the inputs have more, and an accumulator could overflow in them.
    """
    if num_steps <= program.num_steps:
        return program
    longer = replace(program, num_steps=min(num_steps, ANY_STEPS))
    try:
        prove(longer)
    except BoundError as error:
        most = most_steps(program, num_steps)
        raise InputError(
            f"{program.input.name}: inputs have {counted(num_steps, 'step')}, the program is proven for at most "
            f"{most} (it was "
            f"compiled for {program.num_steps}): in {counted(num_steps, 'step')}, {error}"
        ) from error
    return longer
