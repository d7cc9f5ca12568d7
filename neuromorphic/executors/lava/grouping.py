"""Which operations share a Lava process, where several do: all of a block, or all of a program.

A block ends with neurons, where nothing but events goes on to later operations: what two processes send each other then
are spikes, as two cores of a chip do. Of a PNB-X network these are the encoder, each of its blocks, and the readout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from neuromorphic.ops import Delay, Operation
from neuromorphic.program import Program

Processes = Literal["operation", "block", "one"]
PROCESSES: tuple[Processes, ...] = ("operation", "block", "one")
"""What has a Lava process of its own."""


@dataclass(frozen=True)
class Group:
    """Operations that share a Lava process, which makes their steps in the order of the program.

    Attributes
    ----------
    name : str
        That of its last operation.
    ops : tuple of Operation
        In program order, delays among them.
    heard, heard_late : tuple of str
        Operations of other processes that it hears: before its own step, and after it. What stands later in the
        program is heard by delays only, which pass on what they held before.
    sent : tuple of str
        Its operations that others hear, in the order in which they step.
    """

    name: str
    ops: tuple[Operation, ...]
    heard: tuple[str, ...]
    heard_late: tuple[str, ...]
    sent: tuple[str, ...]


def groups_of(program: Program, processes: Processes) -> list[Group]:
    """Divide the operations of a program, its ``Input`` apart, into its blocks, or leave them in one group.

    Examples
    --------
    >>> import numpy as np
    >>> from neuromorphic import LIF, Dense, Input, Readout
    >>> one, weights = np.ones(1, dtype=np.int32), np.ones((1, 1), dtype=np.int8)
    >>> lif = LIF("lif", ("fc",), decay=one, threshold=one, bias=one, shift=0)
    >>> first, last = Dense("fc", "x", weights), Dense("out", "lif", weights)
    >>> ops = (Input("x", 1), first, lif, last, Readout("y", ("out",), bias=one, shift=0))
    >>> [[op.name for op in group.ops] for group in groups_of(Program(ops, num_steps=5), "block")]
    [['fc', 'lif'], ['out', 'y']]
    """
    ops = program.ops[1:]
    ends = _ends(program) if processes == "block" else [len(ops)]
    place = {program.input.name: 0} | {op.name: place for place, op in enumerate(ops, start=1)}
    groups, first = [], 0
    for end in ends:
        own = ops[first:end]
        sources = dict.fromkeys(source for op in own for source in op.sources)
        heard = tuple(name for name in sources if place[name] <= first)
        late = tuple(name for name in sources if place[name] > end)
        others = {source for op in (*ops[:first], *ops[end:]) for source in op.sources}
        delays = [op.name for op in own if isinstance(op, Delay)]
        sent = tuple(name for name in (*delays, *(op.name for op in own)) if name in others)
        groups.append(Group(own[-1].name, own, heard, late, tuple(dict.fromkeys(sent))))
        first = end
    return groups


def _ends(program: Program) -> list[int]:
    """Return after how many operations a block ends."""
    ops = program.ops[1:]
    kinds = {op.name: op.kind for op in program.ops}
    last = dict.fromkeys(kinds, 0)  # the last place where values of an operation are read
    for place, op in enumerate(ops):
        last |= {source: max(last[source], place) for source in op.sources if kinds[source] != "events"}
    ends, reach = [], 0
    for place, op in enumerate(ops):
        reach = max(reach, last[op.name])
        fires = any(variable.name == "spikes" for variable in op.variables)
        if (fires and reach <= place) or place + 1 == len(ops):
            ends.append(place + 1)
    return ends
