"""Sums over the windows of an image: convolutions and sum pools.

They go through the image, past every zero, and add each value, times its weights, to the sums of all windows in which
it lies. The weights of one value lie together, in the order row, column, output: ternary ones at two bits.

Of spikes and ternary weights, stored as ``weight + 1``, every fourth field of a word is added at once to the sums of as
many outputs, which have eight bits each. How many spikes lie in a window is counted, and subtracted in the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.c.arrays import Array, Arrays
from neuromorphic.executors.c.packing import bits_of, word_bits_of
from neuromorphic.executors.c.text import loop, register
from neuromorphic.integers.symbols import Symbol

_MOST_AT_ONCE = 16  # statements of outputs that are written one after the other
_BYTE = 255


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
    def by_value(self) -> NDArray[np.int16]:
        """Weights ``[C * kh * kw, outputs]``: those of one value are a row."""
        w = self.weights
        return w.reshape(-1, self.outputs, *w.shape[1:]).transpose(0, 2, 3, 4, 1).reshape(-1, self.outputs)

    @property
    def place(self) -> str:
        """The row of a value ``i0`` in the places ``k0`` and ``k1`` of a window."""
        return f"((i0 * {self.weights.shape[2]} + k0) * {self.weights.shape[3]} + k1)"

    @property
    def adds_words(self) -> bool:
        """Whether it adds words of weights to sums of eight bits, which twice as many spikes as a window holds fit."""
        w, at_once = self.weights, _at_once(self.outputs)
        fits = bits_of(w) == 2 and at_once % 4 == 0 and at_once > 4 and 2 * w[0].size <= _BYTE
        return fits and not self.term and self.symbol.facts["groups"] == 1

    @property
    def term(self) -> str:
        """What a weight is multiplied by."""
        return "" if self.symbol.args[1].span == (0, 1) else " * x"


def convolution(arrays: Arrays, c: Convolution) -> list[str]:
    """Return the statements of a convolution; its weights enter the file."""
    to, weights = c.to, c.weights
    if c.adds_words:
        return _of_words(arrays, c)
    group = f"i0 / {weights.shape[1]}" if weights.shape[1] > 1 else "i0"
    first = f"({group}) * {c.outputs * c.plane} + " if c.symbol.facts["groups"] > 1 else ""
    place = f"{to.type} *const y = &{to.name}[{first}row * {c.symbol.shape[2]} + column];"
    return [*loop((("i", to.size),), [f"{to.name}[i] = 0;"]), *_through(c, [place, *_added(arrays, c)])]


def _through(c: Convolution, body: list[str]) -> list[str]:
    """Return the loops over all that is not zero, and over the windows in which it lies."""
    channels, height, width = c.symbol.args[1].shape
    for axis in (1, 0):
        body = loop(((f"k{axis}", c.weights.shape[2 + axis]),), [*_window(c, axis), *body])
    x = f"{c.source.name}[(i0 * {height} + i1) * {width} + i2]"
    if c.term:
        body = [f"const {register(c.span)} x = {x};", "if (x == 0)", "    continue;", *body]
    else:
        body = [f"if ({x} == 0)", "    continue;", *body]
    return loop((("i0", channels), ("i1", height), ("i2", width)), body)


def _of_words(arrays: Arrays, c: Convolution) -> list[str]:
    """Return a convolution of spikes that adds words of weights."""
    at_once = _at_once(c.outputs)
    parts, per_sum, plane = c.outputs // at_once, at_once // 4, c.plane
    name, place = _stored(arrays, c, at_once)
    sums = arrays.variable(f"{c.to.name}_sums", "uint32_t", 4 * parts * plane).name
    counts = arrays.variable(f"{c.to.name}_spikes", "uint8_t", plane).name
    window = f"row * {c.symbol.shape[2]} + column"
    body = [f"uint32_t *sum = &{sums}[({window}) * {4 * parts}];", f"const {_word(at_once)} *word = &{name}[{place}];"]
    add = ["const uint32_t w = *word++;"]
    add += [f"*sum++ += w{f' >> {2 * k}' if k else ''} & 0x03030303u;" for k in range(4)]
    body += [f"{counts}[{window}]++;", *loop((("part", parts),), add)]
    outputs = [
        f"y[{4 * k + j} * {plane}] = ({c.to.type})((int32_t)(sum[{j}]{f' >> {8 * k}' if k else ''} & 255u) - count);"
        for k in range(per_sum)
        for j in range(4)
    ]
    end = [f"const uint32_t *const sum = &{sums}[(i * {parts} + part) * 4];"]
    end += [f"{c.to.type} *const y = &{c.to.name}[part * {at_once * plane} + i];", *outputs]
    return [
        *loop((("i", 4 * parts * plane),), [f"{sums}[i] = 0;"]),
        *loop((("i", plane),), [f"{counts}[i] = 0;"]),
        *_through(c, body),
        *loop((("i", plane),), [f"const int32_t count = {counts}[i];", *loop((("part", parts),), end)]),
    ]


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
    if (weights == 1).all() and c.outputs == 1:
        return [f"y[0] = ({to.type})(y[0] + {'x' if c.term else '1'});"]
    if bits_of(weights) > 2:
        name = arrays.constant(c.by_value, "int8_t")
        add = f"y[o * {c.plane}] = ({to.type})(y[o * {c.plane}] + w[o]{c.term});"
        return [f"const int8_t *const w = &{name}[{c.place} * {c.outputs}];", *loop((("o", c.outputs),), [add])]
    at_once = _at_once(c.outputs)
    parts = c.outputs // at_once
    name, place = _stored(arrays, c, at_once)
    outputs = [f"y[{k * c.plane}]" for k in range(at_once)]
    start = f"const uint32_t w = {name}[{place}{' + part' if parts > 1 else ''}];"
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


def _word(at_once: int) -> str:
    """Return the type of a word of so many ternary weights."""
    return f"uint{word_bits_of(np.zeros(at_once, dtype=np.int8))}_t"


def _stored(arrays: Arrays, c: Convolution, at_once: int) -> tuple[str, str]:
    """Store ternary weights, so many to a word; return their name, and where the words of a value are."""
    codes = (c.by_value + 1).astype(np.uint32).reshape(-1, at_once)
    words = np.bitwise_or.reduce(codes << (2 * np.arange(at_once, dtype=np.uint32)), axis=1)
    parts = c.outputs // at_once
    return arrays.constant(words, _word(at_once)), c.place if parts == 1 else f"{c.place} * {parts}"
