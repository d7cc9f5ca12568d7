"""Sums over the windows of an image: convolutions and sum pools.

They go through the image, past every zero, and add each value, times its weights, to the sums of all windows in which
it lies. The weights of one value lie together, in the order row, column, output: ternary ones at two bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.c.arrays import Array, Arrays
from neuromorphic.executors.c.packing import bits_of, word_bits_of
from neuromorphic.executors.c.text import loop, register
from neuromorphic.integers.symbols import Symbol

_MOST_AT_ONCE = 16  # statements of outputs that are written one after the other


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
    span : tuple of int
        Range of a sum while it grows.
    """

    symbol: Symbol
    source: Array
    to: Array
    span: tuple[int, int]

    @property
    def weights(self) -> NDArray[np.int16]:
        """``[O, C / groups, kh, kw]``."""
        return np.asarray(self.symbol.args[0].facts["array"], dtype=np.int16)

    @property
    def outputs(self) -> int:
        """Outputs of a group."""
        return int(self.weights.shape[0] // self.symbol.facts["groups"])

    @property
    def plane(self) -> int:
        """Windows of an output."""
        return self.symbol.shape[1] * self.symbol.shape[2]

    @property
    def term(self) -> str:
        """What a weight is multiplied by."""
        return "" if self.symbol.args[1].span == (0, 1) else " * x"


def convolution(arrays: Arrays, c: Convolution) -> list[str]:
    """Return the statements of a convolution; its weights enter the file."""
    image, weights, to = c.symbol.args[1], c.weights, c.to
    channels, height, width = image.shape
    group = f"i0 / {weights.shape[1]}" if weights.shape[1] > 1 else "i0"
    first = f"({group}) * {c.outputs * c.plane} + " if c.symbol.facts["groups"] > 1 else ""
    body = [f"{to.type} *const y = &{to.name}[{first}row * {c.symbol.shape[2]} + column];", *_added(arrays, c)]
    for axis in (1, 0):
        lines = [*_window(c, axis), *body]
        body = loop(((f"k{axis}", weights.shape[2 + axis]),), lines)
    body = [
        f"const {register(c.span)} x = {c.source.name}[(i0 * {height} + i1) * {width} + i2];",
        *("if (x == 0)", "    continue;"),
        *body,
    ]
    through = loop((("i0", channels), ("i1", height), ("i2", width)), body)
    return [*loop((("i", to.size),), [f"{to.name}[i] = 0;"]), *through]


def _window(c: Convolution, axis: int) -> list[str]:
    """Return how the window of a value follows from its place in it; where there is none, the loop goes on."""
    s, name = c.symbol, ("row", "column")[axis]
    stride, padding, dilation = (s.facts[fact][axis] for fact in ("stride", "padding", "dilation"))
    count, lowest = s.shape[1 + axis], padding - (c.weights.shape[2 + axis] - 1) * dilation
    highest = s.args[1].shape[1 + axis] - 1 + padding
    start = name if stride == 1 else f"from{axis}"
    outside = [f"{start} < 0"] if lowest < 0 else []
    outside += [f"{start} % {stride} != 0"] if stride > 1 else []
    outside += [f"{start} >= {count * stride}"] if highest >= count * stride else []
    lines = [f"const int32_t {start} = i{1 + axis} + {padding} - k{axis} * {dilation};"]
    lines += [f"if ({' || '.join(outside)})", "    continue;"] if outside else []
    return lines if stride == 1 else [*lines, f"const int32_t {name} = {start} / {stride};"]


def _added(arrays: Arrays, c: Convolution) -> list[str]:
    """Return the statements that add a value, times its weights, to one window of each output."""
    weights, to = c.weights, c.to
    by_value = weights.reshape(-1, c.outputs, *weights.shape[1:]).transpose(0, 2, 3, 4, 1).reshape(-1, c.outputs)
    place = f"((i0 * {weights.shape[2]} + k0) * {weights.shape[3]} + k1)"
    if (weights == 1).all() and c.outputs == 1:
        return [f"y[0] = ({to.type})(y[0] + x);"]
    if bits_of(weights) > 2:
        name = arrays.constant(by_value, "int8_t")
        add = f"y[o * {c.plane}] = ({to.type})(y[o * {c.plane}] + w[o]{c.term});"
        return [f"const int8_t *const w = &{name}[{place} * {c.outputs}];", *loop((("o", c.outputs),), [add])]
    at_once = _at_once(c.outputs)
    parts = c.outputs // at_once
    words, kind = _words(by_value, at_once)
    name = arrays.constant(words, kind)
    outputs = [f"y[{k * c.plane}]" for k in range(at_once)]
    start = f"const uint32_t w = {name}[{place}{f' * {parts} + part' if parts > 1 else ''}];"
    codes = [f"((int32_t)(w{f' >> {2 * k}' if k else ''} & 3u) - 1)" for k in range(at_once)]
    add_all = [f"{y} = ({to.type})({y} + {code}{c.term});" for y, code in zip(outputs, codes, strict=True)]
    if parts == 1:
        return [start, *add_all]
    add_all = [line.replace("y[", "z[") for line in add_all]
    body = [start, f"{to.type} *const z = y + part * {at_once * c.plane};", *add_all]
    return loop((("part", parts),), body)


def _at_once(outputs: int) -> int:
    """Return how many outputs a word holds the weights of, so that all words are full and take the fewest bytes."""
    divisors = [n for n in range(1, _MOST_AT_ONCE + 1) if outputs % n == 0]
    return min(divisors, key=lambda n: (outputs // n * word_bits_of(np.zeros(n, dtype=np.int8)), -n))


def _words(by_value: NDArray[Any], at_once: int) -> tuple[NDArray[np.uint32], str]:
    """Pack rows of ternary weights, so many to a word; return the type of a word too."""
    codes = (by_value + 1).astype(np.uint32).reshape(len(by_value), -1, at_once)
    words = np.bitwise_or.reduce(codes << (2 * np.arange(at_once, dtype=np.uint32)), axis=2)
    return words, f"uint{word_bits_of(np.zeros(at_once, dtype=np.int8))}_t"
