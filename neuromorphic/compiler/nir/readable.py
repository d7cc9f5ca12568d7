"""Convolutions as the package ``nir`` 1.0 reads them back, which takes shapes from the first side of a kernel alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from neuromorphic.compiler.nir.nodes import POOLS
from neuromorphic.compiler.nir.paths import ungrouped
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.errors import CompileError


def readable(graph: Any) -> Any:
    """Return a graph whose convolutions have square kernels without groups, and no node that NIR has not.

    ``graph`` is not changed. Zeros fill what a kernel lacks.

    Raises
    ------
    CompileError
        When a kernel cannot be written so, or a node is a max pool, by name.
    """
    nodes = {name: _readable(name, node) for name, node in graph.nodes.items()}
    made = copy.copy(graph)
    made.nodes = nodes
    return made


def _readable(name: str, node: Any) -> Any:
    kind = type(node).__name__
    if kind == "NIRGraph":
        return readable(node)
    if kind in POOLS:
        raise CompileError(
            f"{name}: a {kind} has no node in NIR, which has sums and means of windows; compile the network itself"
        )
    if kind not in ("Conv1d", "Conv2d") or node.input_shape is None:
        return node
    made = copy.copy(node)
    kernel = node.weight.shape[2:]
    padding = _padding(name, node, kernel)
    weight, padding = _square(
        name, ungrouped(np.asarray(node.weight), node.groups), padding, _each(node.dilation, kernel)
    )
    made.weight, made.groups = weight, 1
    made.padding = padding[0] if kind == "Conv1d" else padding
    return made


def _each(value: Any, kernel: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(size) for size in np.broadcast_to(value, (len(kernel),)))


def _padding(name: str, node: Any, kernel: tuple[int, ...]) -> tuple[int, ...]:
    if node.padding == "valid":
        return (0,) * len(kernel)
    if node.padding == "same":
        spans = [d * (k - 1) for d, k in zip(_each(node.dilation, kernel), kernel, strict=True)]
        if any(span % 2 for span in spans):
            raise CompileError(f"{name}: padding='same' pads its two sides unequally; use an odd kernel")
        return tuple(span // 2 for span in spans)
    return _each(node.padding, kernel)


def _square(
    name: str, weight: Float64, padding: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[Float64, tuple[int, ...]]:
    """Make a kernel square with zeros around it."""
    sides = weight.shape[2:]
    missing = [max(sides) - side for side in sides]
    if any(gap % 2 for gap in missing):
        raise CompileError(
            f"{name}: a kernel of {list(sides)} cannot be exported; use sides that are both odd or equal"
        )
    grown = np.pad(weight, [(0, 0), (0, 0), *((gap // 2, gap // 2) for gap in missing)])
    return grown, tuple(p + d * gap // 2 for p, d, gap in zip(padding, dilation, missing, strict=True))
