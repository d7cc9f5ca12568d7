"""Whether a program that was compiled from a graph is the one that the graph was made from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neuromorphic.compiler.nir.paths import Path, start
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.compiler.windows import Layout, Window
from neuromorphic.errors import CompileError
from neuromorphic.ops import LI, LIF, Conv, Delay, Delays, Dense, Operation, Readout, Scale, SumPool
from neuromorphic.program import Program


def _drive(program: Program, op: LIF | LI | Readout) -> dict[tuple[str, int, Layout], Float64]:
    """Return what one integer of each source and delay adds to an operation, where that is not 0."""
    drive: dict[tuple[str, int, Layout], Float64] = {}
    waiting: list[tuple[str, list[Operation]]] = [(source, []) for source in reversed(op.sources)]
    while waiting:
        name, onward = waiting.pop()
        synapse: Any = program[name]
        between = isinstance(synapse, Dense | Scale | Delay | Conv | SumPool)
        if between or (isinstance(synapse, Delays) and synapse.steps.min() == synapse.steps.max()):
            waiting.append((synapse.source, [synapse, *onward]))
            continue
        path = start((synapse.size,))
        for op_between in onward:
            further = _through(path, op_between)
            if further is None:
                raise CompileError(
                    f"{op_between.name}: stands behind other shared weights without neurons between, and what is "
                    'compiled from NIR has a matrix there; round_trip="close" exports it'
                )
            path = further
        path = path.normal()
        key = (name, path.steps, path.layout)
        weights = path.weights * 2.0**op.shift
        drive[key] = drive[key] + weights if key in drive else weights
    return {key: value for key, value in drive.items() if value.any()}


def _through(path: Path, op: Operation) -> Path | None:
    """Return a path through one operation between neurons."""
    if isinstance(op, Delay):
        return replace(path, steps=path.steps + op.steps)
    if isinstance(op, Delays):
        return replace(path, steps=path.steps + int(op.steps[0]))
    if isinstance(op, Scale):
        return path.times(op.factor / 2.0**op.shift)
    if isinstance(op, Dense):
        return path.matrix(op.weights.astype(np.float64) * 2.0**op.shift)
    if isinstance(op, SumPool):
        return path.pool(Window(op.input_shape[1:], op.kernel, op.stride, op.padding), np.ones(1))
    assert isinstance(op, Conv)
    kernel = (op.weights.shape[2], op.weights.shape[3])
    window = Window(op.input_shape[1:], kernel, op.stride, op.padding, op.dilation, op.groups)
    return path.convolution(window, op.weights.astype(np.float64) * 2.0**op.shift)


def check_same(program: Program, back: Program) -> None:
    """Refuse a program whose graph compiles to other integers."""
    names = {op.name for op in back.ops}
    for delays in program.of_type(Delays):
        if delays.steps.min() == delays.steps.max():
            continue  # a Delay of a graph, or nothing
        again: Any = back[delays.name] if delays.name in names else None
        if (
            not isinstance(again, Delays)
            or again.source != delays.source
            or not np.array_equal(delays.steps, again.steps)
        ):
            raise _not_the_same(delays, "has other lengths or another source")
    for op in program.ops:
        if not isinstance(op, LIF | LI | Readout):
            continue
        other: Any = back[op.name] if op.name in names else None
        if type(other) is not type(op):
            raise _not_the_same(op, "is no operation of its own")
        here, there = _drive(program, op), _drive(back, other)
        if here.keys() != there.keys():
            raise _not_the_same(op, f"is driven by {_listed(there)}, not {_listed(here)}")
        factor = 1.0
        if isinstance(op, Readout) and here:  # an exact sum: finer units change no label
            key = next(iter(here))
            factor = float(np.abs(there[key]).max() / np.abs(here[key]).max())
        threshold, theirs = (getattr(each, "threshold", None) for each in (op, other))
        if threshold is not None and theirs is not None and not np.array_equal(threshold, theirs):
            ratio = float(theirs.max()) / max(float(threshold.max()), 1.0)
            raise _not_the_same(op, f"counts in units {ratio:.6g} times finer, in which its leak rounds otherwise")
        fields = [name for name in ("decay", "reset") if hasattr(op, name)]
        same = all(np.array_equal(getattr(op, name), getattr(other, name)) for name in fields)
        same = same and np.array_equal(op.bias * factor, other.bias)
        if not same or not all(np.array_equal(here[key] * factor, there[key]) for key in here):
            raise _not_the_same(op, "has other weights, decays, biases or another reset")


def _listed(drive: dict[tuple[str, int, Layout], Float64]) -> list[tuple[str, int]]:
    return sorted((name, steps) for name, steps, _ in drive)


def _not_the_same(op: Operation, what: str) -> CompileError:
    return CompileError(
        f"{op.name}: compiled back from NIR it {what}. NIR has no place for fractional bits, and the compiler takes "
        'the most that are proven to fit: what it compiled comes back the same. round_trip="close" exports it anyway'
    )
