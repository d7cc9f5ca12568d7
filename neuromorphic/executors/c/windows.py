"""Sums and maxima over the windows of an image.

A convolution goes through the image, past every zero, and adds each value, times its weights, to the sums of all windows
that it lies in. The weights of one value lie together, in the order row, column, output: ternary ones at two bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.c.arrays import Array, Arrays
from neuromorphic.executors.c.text import indented, loop, register
from neuromorphic.integers.symbols import Symbol


@dataclass(frozen=True)
class Convolution:
    """What is convolved and where the sums go.

    Attributes
    ----------
    symbol : Symbol
        The sums, ``[O, rows, columns]``.
    source : Array
        The image.
    to : Array
        Where the sums go.
    partial : tuple of int
        Range of a sum while it grows.
    """

    symbol: Symbol
    source: Array
    to: Array
    partial: tuple[int, int]


def convolution(arrays: Arrays, c: Convolution) -> list[str]:
    """Return the statements of a convolution; its weights enter the file."""
    s, (weights, image) = c.symbol, c.symbol.args
    values = weights.facts["array"].astype(np.int16)
    groups = s.facts["groups"]
    outputs, inputs = values.shape[0] // groups, values.shape[1]
    channels, height, width = image.shape
    _, rows, columns = s.shape
    wide = register(c.partial)
    y = f"{c.to.name}[{'(i0 / ' + str(inputs) + ')' if inputs > 1 else 'i0'} * {outputs * rows * columns} + row * {columns} + column]"
    if groups == 1:
        y = f"{c.to.name}[row * {columns} + column]"
    term = "x" if image.span != (0, 1) else "1"
    if (values == 1).all():
        add = [
            f"{c.to.type} *y = &{y};",
            *_for("o", outputs, [f"*y = ({c.to.type})(*y + {term});", f"y += {rows * columns};"]),
        ]
        if outputs == 1:
            add = [f"{y} = ({c.to.type})({y} + {term});"]
    else:
        add = [f"{c.to.type} *y = &{y};", *_weighted(arrays, values, s, c.to, term)]
    places = [_places(axis, s, image.shape[1 + axis], values.shape[2 + axis]) for axis in range(2)]
    inner = _for("k1", values.shape[3], [*places[1], *add])
    inner = _for("k0", values.shape[2], [*places[0], *inner])
    body = [
        f"const {wide} x = {c.source.name}[(i0 * {height} + i1) * {width} + i2];",
        "if (x == 0)",
        "    continue;",
        *inner,
    ]
    through = loop((("i0", channels), ("i1", height), ("i2", width)), body)
    return [*loop((("i", c.to.size),), [f"{c.to.name}[i] = 0;"]), *through]


def _weighted(arrays: Arrays, values: NDArray[Any], s: Symbol, to: Array, term: str) -> list[str]:
    """Return the loop over the outputs of a value."""
    outputs = values.shape[0] // s.facts["groups"]
    step = s.shape[1] * s.shape[2]
    kernel = values.shape[2] * values.shape[3]
    by_input = (
        values.reshape(s.facts["groups"], outputs, *values.shape[1:]).transpose(0, 2, 3, 4, 1).reshape(-1, outputs)
    )
    at = f"(i0 * {kernel} + k0 * {values.shape[3]} + k1)"
    times = "" if term == "1" else " * x"
    if np.abs(values).max() > 1:
        name = arrays.constant(by_input)
        return [
            f"const int8_t *w = &{name}[{at} * {outputs}];".replace("int8_t", _type_of(arrays, name)),
            *_for("o", outputs, [f"*y = ({to.type})(*y + w[o]{times});", f"y += {step};"]),
        ]
    stride = -(-outputs // 16)
    codes = np.ones((len(by_input), stride * 16), dtype=np.uint32)
    codes[:, :outputs] = by_input + 1
    words = np.bitwise_or.reduce(codes.reshape(-1, stride, 16) << (2 * np.arange(16, dtype=np.uint32)), axis=2)
    name = arrays.constant(words, "uint32_t")
    return [
        f"const uint32_t *word = &{name}[{at} * {stride}];",
        "uint32_t w = 0;",
        *_for(
            "o",
            outputs,
            [
                "if ((o & 15) == 0)",
                "    w = *word++;",
                f"*y = ({to.type})(*y + ((int32_t)(w & 3u) - 1){times});",
                f"y += {step};",
                "w >>= 2;",
            ],
        ),
    ]


def _type_of(arrays: Arrays, name: str) -> str:
    return next(a.type for a in arrays.flash if a.name == name)


def _places(axis: int, s: Symbol, size: int, kernel: int) -> list[str]:
    """Return how the window of a value follows from its place in it; where there is none, the loop goes on."""
    name = ("row", "column")[axis]
    stride, padding, dilation = (s.facts[f][axis] for f in ("stride", "padding", "dilation"))
    count = s.shape[1 + axis]
    far = f"i{1 + axis} + {padding} - k{axis} * {dilation}"
    first, last = padding - (kernel - 1) * dilation, size - 1 + padding
    if stride == 1:
        refused = [f"{name} < 0"] * (first < 0) + [f"{name} >= {count}"] * (last >= count)
        lines = [f"const int32_t {name} = {far};"]
    else:
        refused = (
            ["far < 0"] * (first < 0)
            + [f"far % {stride} != 0"]
            + [f"far >= {count * stride}"] * (last >= count * stride)
        )
        lines = [f"const int32_t far = {far};"]
    if refused:
        lines += [f"if ({' || '.join(refused)})", "    continue;"]
    return lines if stride == 1 else [*lines, f"const int32_t {name} = far / {stride};"]


def _for(name: str, n: int, body: list[str]) -> list[str]:
    return [f"for (int32_t {name} = 0; {name} < {n}; {name}++) {{", *indented(body), "}"]
