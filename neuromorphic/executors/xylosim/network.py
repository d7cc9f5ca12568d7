"""A program as a network of Xylo's core: input channels, one hidden population, one of output neurons.

In every step the core delivers the events of its input channels and then those that hidden neurons fired in the step
before, neuron after neuron, to hidden neurons; the latter also to output neurons. So in a program every hidden
population is read through a ``Delay`` of one step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import CompileError
from neuromorphic.ops import Delay, Input, XyloLIF
from neuromorphic.ops.shift_lif import MOST_SPIKES, PARAMETERS
from neuromorphic.program import Program
from neuromorphic.wording import counted

MOST_INPUT = 15
"""Events of an input channel in one step; the core limits what is more."""
MOST_OUTPUT = 1


@dataclass(frozen=True, eq=False)
class XyloNetwork:
    """The arrays of a network as the core has them.

    Attributes
    ----------
    inputs, recurrent, outputs
        Weights int8 ``[channels, hidden]``, ``[hidden, hidden]`` and ``[hidden, outputs]``: from rows to columns.
    hidden, out
        For hidden and for output neurons: ``synapse_shift``, ``membrane_shift``, ``threshold`` and ``bias``, int32.
    places
        Of each operation: its neurons among the hidden ones, or among the output neurons.
    output_names
        Operations whose neurons are output neurons.
    """

    inputs: NDArray[np.int8]
    recurrent: NDArray[np.int8]
    outputs: NDArray[np.int8]
    hidden: dict[str, NDArray[np.int32]]
    out: dict[str, NDArray[np.int32]]
    places: dict[str, slice]
    output_names: tuple[str, ...]

    def where(self, number: int, *, is_output: bool = False) -> str:
        """Return in words which neuron of which operation a hidden or output neuron is."""
        for name, place in self.places.items():
            if (name in self.output_names) == is_output and place.start <= number < place.stop:
                return f"{name}: neuron {number - place.start}"
        raise IndexError(number)


def is_output(op: XyloLIF) -> bool:
    """Return whether neurons are output neurons: these fire once in a step, hidden ones up to 31 times."""
    return op.most_spikes == MOST_OUTPUT


def xylo_network(program: Program) -> XyloNetwork:
    """Return a program as a network of the core.

    Raises
    ------
    CompileError
        When the program has another operation, wiring or order of sources than the core; the message names it.
    """
    entry = program.input
    if entry.low < 0 or entry.high > MOST_INPUT:
        raise CompileError(
            f"{entry.name}: Xylo takes 0 to {MOST_INPUT} events of a channel in a step, got {entry.low}..{entry.high}"
        )
    for op in program.ops:
        if not isinstance(op, (Input, Delay, XyloLIF)):
            raise CompileError(
                f"{op.name}: a {type(op).__name__} has no place on Xylo, which is made of XyloLIF, Input and Delay; "
                "neuromorphic.formats.xylo.to_xylo makes such a program of Dense and ShiftLIF"
            )
    neurons = program.of_type(XyloLIF)
    places: dict[str, slice] = {}
    counts = {True: 0, False: 0}
    for op in neurons:
        if op.most_spikes not in (MOST_OUTPUT, MOST_SPIKES):
            raise CompileError(
                f"{op.name}: most_spikes must be {MOST_SPIKES} (hidden neurons) or {MOST_OUTPUT} (output neurons) on "
                f"Xylo, got {op.most_spikes}"
            )
        first = counts[is_output(op)]
        counts[is_output(op)] += op.size
        places[op.name] = slice(first, first + op.size)
    if not all(counts.values()):
        lacking = "output" if counts[False] else "hidden"
        raise CompileError(
            f"program: Xylo has hidden and output neurons, and there are no {lacking} ones: XyloLIF with most_spikes "
            f"{MOST_OUTPUT if counts[False] else MOST_SPIKES}"
        )
    weights = {
        "input": np.zeros((entry.size, counts[False]), dtype=np.int8),
        "hidden": np.zeros((counts[False], counts[False]), dtype=np.int8),
        "output": np.zeros((counts[False], counts[True]), dtype=np.int8),
    }
    for op in neurons:
        _connect(program, op, places, weights)
    return XyloNetwork(
        weights["input"], weights["hidden"], weights["output"],
        hidden=_parameters([op for op in neurons if not is_output(op)]),
        out=_parameters([op for op in neurons if is_output(op)]),
        places=places,
        output_names=tuple(op.name for op in neurons if is_output(op)),
    )  # fmt: skip


def _connect(program: Program, op: XyloLIF, places: dict[str, slice], weights: dict[str, NDArray[np.int8]]) -> None:
    """Enter the weights of one operation, whose sources must arrive in the order of the core."""
    columns = np.cumsum((0, *op.widths))
    last = -1
    for source, start, end in zip(op.sources, columns[:-1], columns[1:], strict=True):
        part, (origin, steps) = op.weights[:, start:end].T, program.undelayed(source)
        if isinstance(origin, Input) and steps == 0 and not is_output(op):
            place, matrix = -1, weights["input"]
            rows = slice(0, origin.size)
        elif isinstance(origin, XyloLIF) and steps == 1 and not is_output(origin):
            rows = places[origin.name]
            place, matrix = rows.start, weights["output" if is_output(op) else "hidden"]
        else:
            raise CompileError(
                f"{op.name}: on Xylo {'output' if is_output(op) else 'hidden'} neurons read "
                f"{'' if is_output(op) else 'the input at once, and '}hidden neurons one step late, through a Delay of "
                f"1; {source!r} is {origin.name!r}, "
                f"{'an output neuron, ' * _is_out(origin)}{counted(steps, 'step')} late"
            )
        if place < last or (source != op.sources[0] and place == -1):
            raise CompileError(
                f"{op.name}: Xylo delivers the input first, then hidden neurons in their order in the program; the "
                f"sources {', '.join(op.sources)} are in another order, on which saturating sums depend"
            )
        last = place
        matrix[rows, places[op.name]] = part


def _is_out(op: object) -> bool:
    return isinstance(op, XyloLIF) and is_output(op)


def _parameters(neurons: list[XyloLIF]) -> dict[str, NDArray[np.int32]]:
    return {name: np.concatenate([getattr(op, name) for op in neurons]) for name, _, _ in PARAMETERS}
