"""The weights of a convolution as lists: which rows of windows each output adds up, and which it subtracts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.native.bit_planes import bits_of
from neuromorphic.executors.native.processor import LANES
from neuromorphic.executors.native.sizes import COUNTERS, HELD_PLANES, WINDOWS_AT_ONCE
from neuromorphic.ops import Conv, SpikePool, SumPool

ROWS_A_BLOCK = 8
ROWS_TOGETHER = 576  # of merged groups: half of the first cache
LONGEST_MOVE = 1 << 14  # pixels
MOST_PARTS = 16  # of an image
LARGEST_MASKS = 1 << 26  # bits


def signed_digits(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return ``d`` with ``w = sum_i d[i] << i``, each -1, 0 or 1, and as few as possible not 0."""
    left, digits = weights.astype(np.int16), []
    while left.any():
        odd = left & 1
        digit = np.where(odd == 1, 2 - (left & 3), 0)  # -1 where the next bit is set too
        digits.append(digit.astype(np.int8))
        left = (left - digit) >> 1
    return np.array(digits or [weights])


def num_planes(weights: NDArray[np.int8]) -> int:
    """Return the bits, with a sign, of any sum of an output's weights."""
    flat = weights.reshape(len(weights), -1).astype(np.int64)
    high, low = int(np.maximum(flat, 0).sum(axis=1).max()), int(np.minimum(flat, 0).sum(axis=1).min())
    return max(high.bit_length(), (-low - 1).bit_length() if low else 0) + 1


def fits_registers(weights: NDArray[np.int8]) -> bool:
    """Whether the planes in registers hold what they count: sums of an output, or of its digits from each on down."""
    flat = weights.reshape(len(weights), -1)
    digits = signed_digits(flat)
    if len(digits) == 1:
        return num_planes(flat) <= HELD_PLANES
    largest = 0
    for sign in (-1, 1):
        held = np.zeros(len(flat), dtype=np.int64)
        for digit in digits:
            held = (held >> 1) + np.count_nonzero(digit == sign, axis=1) + 1  # the row of ones
            largest = max(largest, int(held.max()))
    return largest < 1 << (HELD_PLANES - 1)  # and a sign


def window_lists(weights: NDArray[np.int8]) -> tuple[NDArray[np.uint16], int]:
    """Return the lists of all outputs, one after another, and how many digits weights have.

    For each output, sign (-1 first) and digit: how many blocks of eight, then where in a table of words the rows
    ``tap * channels + channel`` begin. Blocks are filled up with the row of zeros that stands after them; after it one
    of ones, which every output adds.
    """
    outputs, channels = weights.shape[:2]
    flat = weights.reshape(outputs, channels, -1).transpose(0, 2, 1).reshape(outputs, -1)
    digits, zeros = signed_digits(flat), flat.shape[1]
    parts: list[NDArray[np.int64]] = []
    for o in range(outputs):
        for sign in (-1, 1):
            for d, digit in enumerate(digits):
                found = np.flatnonzero(digit[o] == sign)
                if sign == 1 and d == 0:
                    found = np.append(found, zeros + 1)
                blocks = -(-found.size // ROWS_A_BLOCK)
                filled = np.full(1 + ROWS_A_BLOCK * blocks, zeros * LANES)
                filled[0], filled[1 : 1 + found.size] = blocks, found * LANES
                parts.append(filled)
    return np.concatenate(parts).astype(np.uint16), len(digits)


def merged(op: Conv) -> tuple[NDArray[np.int8], int]:
    """Return the weights of fewer groups that have more channels, most of them 0 to each output, and how many groups.

    A weight of 0 costs nothing, and what comes before the counting is done for many channels at once.
    """
    outputs, channels, *kernel = op.weights.shape
    most = max(ROWS_TOGETHER // (channels * math.prod(kernel)), 1)
    together = max(n for n in range(1, op.groups + 1) if op.groups % n == 0 and n <= most)
    weights = np.zeros((op.groups // together, together, outputs // op.groups, together, channels, *kernel), np.int8)
    for n in range(together):
        weights[:, n, :, n] = op.weights.reshape(op.groups, -1, channels, *kernel)[n::together]
    return weights.reshape(outputs, together * channels, *kernel), op.groups // together


@dataclass(frozen=True)
class Windows:
    """How the windows of an image lie in bits: ``pitch`` from one row of them to the next, of which ``columns`` count.

    Rows of windows are the image, moved by whole pixels, if windows are as far apart as pixels. If they are further,
    the image is split into ``parts``, of every second pixel for example, named by the ``(row, column)`` of the first.
    ``margin`` is how many words moves reach beyond.
    """

    words: int
    pitch: int
    columns: int
    margin: int
    parts: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, op: Conv) -> Windows | None:
        """Return those of a convolution; ``None`` where steps do not divide the width or it takes much room."""
        (height, width), (out_height, out_width), (step_y, step_x) = op.input_shape[1:], op.output_shape[1:], op.stride
        pitch, reach = width // step_x, max(abs(by) for _, by in moves(op))
        parts = tuple(sorted({part for part, _ in moves(op)}))
        large = len(taps(op)) * out_height * pitch > LARGEST_MASKS or len(parts) > MOST_PARTS or reach > LONGEST_MOVE
        if width % step_x or out_width > pitch or large:
            return None
        span = (out_height - 1) * pitch + out_width
        words = -(-max(span, -(-height // step_y) * pitch) // WINDOWS_AT_ONCE)
        pitch, columns = (span, span) if out_width == pitch else (pitch, out_width)
        return cls(words, pitch, columns, reach // WINDOWS_AT_ONCE + 2, parts)

    @property
    def stride(self) -> int:
        """Words of a channel: of one sample in whole registers, or of as many samples as fill one."""
        return -(-self.words // LANES) * LANES

    def scratch(self, op: Conv, channels: int) -> int:
        """Return the words that counting needs: sums, counters, rows, and the image with its margins."""
        image = 2 * self.margin + len(self.parts) * channels * self.stride + LANES
        left = LANES + 2 * LANES * WINDOWS_AT_ONCE // 2
        return left + (2 * COUNTERS + channels * math.prod(op.weights.shape[2:]) + 2) * LANES + image

    def shown(self, op: Conv) -> NDArray[np.uint64]:
        """Return which of the windows there are."""
        marks = np.zeros(self.words * WINDOWS_AT_ONCE, dtype=np.bool_)
        (_, out_height, _), places = op.output_shape, np.arange(marks.size)
        rows = 1 if self.pitch == self.columns else out_height
        marks[:] = (places % self.pitch < self.columns) & (places < rows * self.pitch)
        return bits_of(marks)

    def moved_bits(self, op: Conv, channels: int) -> NDArray[np.int32]:
        """Return, for every place of the kernel, the bit of the parts of an image with which its row begins."""
        size = WINDOWS_AT_ONCE * channels * self.stride
        return np.array([size * self.parts.index(part) + by for part, by in moves(op)], dtype=np.int32)

    def part_masks(self, op: Conv) -> NDArray[np.uint64]:
        """Return the pixels of each part: ``[parts, words of a channel]``."""
        marks = np.zeros((len(self.parts), *op.input_shape[1:]), dtype=np.bool_)
        for mark, (y, x) in zip(marks, self.parts, strict=True):
            mark[y :: op.stride[0], x :: op.stride[1]] = True
        return bits_of(marks.reshape(len(marks), -1))

    def masks(self, op: Conv) -> NDArray[np.uint64]:
        """Return, for every place of the kernel, the windows in which it lies on the image: ``[taps, stride]``."""
        (height, width), out_height, (step_y, step_x) = op.input_shape[1:], op.output_shape[1], op.stride
        places = np.array(taps(op))[:, :, np.newaxis]
        y, x = places[:, 0] + step_y * np.arange(out_height), places[:, 1] + step_x * np.arange(width // step_x)
        inside = ((y >= 0) & (y < height))[:, :, np.newaxis] & ((x >= 0) & (x < width))[:, np.newaxis]
        marks = inside.reshape(len(inside), -1)[:, : self.words * WINDOWS_AT_ONCE]
        packed, found = bits_of(marks), np.zeros((len(marks), self.stride), dtype=np.uint64)
        for first in range(0, max(LANES // self.words, 1) * self.words, self.words):
            found[:, first : first + packed.shape[1]] = packed
        return found


def as_conv(pool: SpikePool | SumPool) -> Conv:
    """Return the convolution with weights of 1 whose windows a pool has."""
    ones = np.ones((pool.input_shape[0], 1, *pool.kernel), dtype=np.int8)
    (source,), groups = pool.sources, pool.input_shape[0]
    return Conv(pool.name, source, ones, pool.input_shape, pool.stride, pool.padding, groups=groups)


def taps(op: Conv) -> list[tuple[int, int]]:
    """Return where the places of a kernel lie, from the place of its window."""
    (rows, columns), (step_y, step_x), (pad_y, pad_x) = op.weights.shape[2:], op.dilation, op.padding
    return [(k * step_y - pad_y, m * step_x - pad_x) for k in range(rows) for m in range(columns)]


def moves(op: Conv) -> list[tuple[tuple[int, int], int]]:
    """Return, for the places of a kernel, in which part of the image each looks, and how many pixels further on."""
    (step_y, step_x), width = op.stride, op.input_shape[2]
    return [((y % step_y, x % step_x), y // step_y * (width // step_x) + x // step_x) for y, x in taps(op)]
