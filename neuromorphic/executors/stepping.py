"""One step of a program by the steps of its operations, whatever back end they run on."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from neuromorphic.ops import Delay, Input, Operation
from neuromorphic.program import Program


class Stepper:
    """A program whose operations hold constants of a back end, and the order in which they step.

    Parameters
    ----------
    program : Program
        What to run.
    xp
        The primitives of the back end.
    states : Mapping
        The states of every operation but the ``Input``, by its name; they change in place.
    """

    def __init__(self, program: Program, xp: Any, states: Mapping[str, SimpleNamespace]) -> None:
        placed = {op.name: op.placed(xp.constant) for op in program.ops if not isinstance(op, Input)}
        self._entry, self._xp, self._states = program.input.name, xp, states
        self._delays: dict[str, Delay] = {name: op for name, op in placed.items() if isinstance(op, Delay)}
        self._others: dict[str, Operation] = {name: op for name, op in placed.items() if name not in self._delays}

    def step(self, given: Any) -> None:
        """Make one step from what the ``Input`` gives: delays are read first and written last."""
        xp, states = self._xp, self._states
        values = {name: op.read(xp, states[name]) for name, op in self._delays.items()}
        values[self._entry] = given
        for name, op in self._others.items():
            values[name] = op.step(xp, states[name], *(values[source] for source in op.sources))
        for name, delay in self._delays.items():
            delay.step(xp, states[name], values[delay.source])
