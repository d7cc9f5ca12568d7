"""The nodes of a program's convolutions and pools, and the shapes of images between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuromorphic.errors import CompileError
from neuromorphic.formats.nir import nir_package
from neuromorphic.ops import Conv, Dense, Readout, SumPool
from neuromorphic.program import Program

Shapes = tuple[tuple[int, ...], tuple[int, ...]]
"""What a node takes and gives."""


def window_node(op: Conv | SumPool, taken: tuple[int, ...], given: tuple[int, ...]) -> Any:
    """Return a convolution or a pool; one of images that are rows, ``[C, L]``, is a Conv1d."""
    nir = nir_package()
    node: Any
    if isinstance(op, SumPool):
        node = nir.SumPool2d(*(np.array(value) for value in (op.kernel, op.stride, op.padding)))
    else:
        weights, bias = op.weights * 2.0**op.shift, np.zeros(len(op.weights))
        if len(taken) == 2:
            node = nir.Conv1d(taken[1], weights[:, :, 0], op.stride[1], op.padding[1], op.dilation[1], op.groups, bias)
        else:
            node = nir.Conv2d(taken[1:], weights, op.stride, op.padding, op.dilation, op.groups, bias)
    node.input_type, node.output_type = {"input": np.array(taken)}, {"output": np.array(given)}
    return node


def image_shapes(program: Program) -> dict[str, Shapes]:
    """Return the shapes that the nodes of operations take and give: images where a convolution or pool is beside them.

    Raises
    ------
    CompileError
        When an operation reads as an image what is none, or another image: NIR can only flatten.
    """
    windows = [op for op in program.ops if isinstance(op, Conv | SumPool)]
    rows = all(isinstance(op, Conv) and op.input_shape[1] == 1 == op.weights.shape[2] for op in windows)
    found: dict[str, Shapes] = {}
    for window in windows:
        found[window.name] = tuple((s[0], s[2]) if rows else s for s in (window.input_shape, window.output_shape))  # type: ignore[assignment]
    readers = {op.name: [other for other in program.ops if op.name in other.sources] for op in program.ops}
    changed = True
    while changed:  # neurons have the shape of what is beside them
        changed = False
        for op in program.ops:
            if op.name in found or isinstance(op, Dense | Readout):
                continue
            beside = [found[other.name][0] for other in readers[op.name] if other.name in found]
            beside += [found[source][1] for source in op.sources if source in found]
            if beside:
                found[op.name], changed = (beside[0], beside[0]), True
    for op in program.ops:
        taken = (op.weights.shape[1],) if isinstance(op, Dense) else (op.size,)
        found.setdefault(op.name, (taken, (op.size,)))
        for other in readers[op.name]:
            wanted = found.get(other.name, ((op.size,),))[0]
            if len(wanted) > 1 and wanted != found[op.name][1] and not isinstance(other, Dense | Readout):
                raise CompileError(
                    f"{other.name}: reads {list(wanted)} where {op.name} gives {list(found[op.name][1])}; NIR can only "
                    "flatten"
                )
    return found
