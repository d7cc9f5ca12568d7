"""Programs of ``Dense`` and ``ShiftLIF`` as programs of ``XyloLIF``, in which events arrive one after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neuromorphic.bounds import prove
from neuromorphic.errors import CompileError
from neuromorphic.executors.xylosim.network import xylo_network
from neuromorphic.ops import Delay, Dense, Input, Operation, ShiftLIF, XyloLIF
from neuromorphic.ops.shift_lif import PARAMETERS
from neuromorphic.program import Program


def to_xylo(program: Program) -> Program:
    """Return a program of ``Dense`` and ``ShiftLIF`` as one of ``XyloLIF``; its ``Input`` and delays stay.

    Xylo saturates after every event, ``ShiftLIF`` after their sum. Where no partial sum can leave 16 bits, the two
    programs have equal spikes and states, always: then ``metadata["xylo"]["order"]`` is ``"indifferent"``. Otherwise it
    is ``"emulated"``: what is returned is what the chip does, and where a sum saturates it may differ from ``program``,
    so measure it anew. A program of ``XyloLIF`` comes back as it is.

    Raises
    ------
    CompileError
        When the program has another operation or wiring than Xylo; the message names it.

    Examples
    --------
    >>> from neuromorphic import Input, Program
    >>> def lif(name, source, most):
    ...     one = np.ones(2, dtype=np.int32)
    ...     return ShiftLIF(name, (source,), one, 2 * one, 90 * one, 0 * one, most_spikes=most)
    >>> weights = np.array([[40, -3], [5, 100]], dtype=np.int8)
    >>> ops = [Input("x", 2, 0, 15), Delay("late", "hidden", 2), Dense("w", "x", weights), lif("hidden", "w", 31)]
    >>> program = Program((*ops, Dense("w_out", "late", weights), lif("out", "w_out", 1)), num_steps=20)
    >>> [type(op).__name__ for op in to_xylo(program).ops]
    ['Input', 'Delay', 'XyloLIF', 'XyloLIF']
    >>> dict(to_xylo(program).metadata["xylo"])
    {'order': 'indifferent'}
    """
    if all(isinstance(op, (Input, Delay, XyloLIF)) for op in program.ops):
        xylo_network(program)
        return program
    ops: list[Operation] = []
    for op in program.ops:
        if isinstance(op, ShiftLIF):
            ops.append(_with_synapses(program, op))
        elif isinstance(op, (Input, Delay, XyloLIF)):
            ops.append(op)
        elif not isinstance(op, Dense):
            raise CompileError(f"{op.name}: a {type(op).__name__} has no place on Xylo, nor in a XyloLIF")
    made = replace(program, ops=tuple(ops))
    xylo_network(made)
    saturates = any(bound.can_saturate for bound in prove(made))
    metadata = {key: value for key, value in program.metadata.items() if not (saturates and key == "agreement")}
    return replace(made, metadata={**metadata, "xylo": {"order": "emulated" if saturates else "indifferent"}})


def saturating(program: Program) -> str | None:
    """Return the name of neurons of a program of ``XyloLIF`` of which a partial sum can leave 16 bits."""
    return next((bound.name for bound in prove(program) if bound.can_saturate), None)


def _with_synapses(program: Program, op: ShiftLIF) -> XyloLIF:
    """Return neurons with the weights of all that they read, in the order in which Xylo delivers."""
    places = {other.name: place for place, other in enumerate(program.ops)}
    layers = [program[source] for source in op.sources]
    for layer in layers:
        if not isinstance(layer, Dense):
            raise CompileError(f"{op.name}: on Xylo neurons read weights; {layer.name!r} is a {type(layer).__name__}")
        if layer.shift:
            raise CompileError(f"{layer.name}: shift must be 0 on Xylo, got {layer.shift}; scale the weights instead")
    dense = sorted((layer for layer in layers if isinstance(layer, Dense)), key=lambda x: _origin(program, x, places))
    sources = [layer.source for layer in dense]
    if len(set(sources)) < len(sources):
        raise CompileError(
            f"{op.name}: reads {sources} through several Dense; a synapse on Xylo has one weight: add them"
        )
    return XyloLIF(
        op.name,
        tuple(sources),
        tuple(layer.weights.shape[1] for layer in dense),
        np.concatenate([layer.weights for layer in dense], axis=1),
        **{name: getattr(op, name) for name, _, _ in PARAMETERS},
        most_spikes=op.most_spikes,
    )


def _origin(program: Program, layer: Dense, places: dict[str, int]) -> int:
    """Return the place in the program of the operation whose events a layer of weights reads: the input's is 0."""
    return places[program.undelayed(layer.source)[0].name]
