"""The weights of a convolution as lists: which rows of windows each output adds up, and which it subtracts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.native.bit_planes import bits_of
from neuromorphic.executors.native.processor import LANES
from neuromorphic.executors.native.sizes import COUNTERS, WINDOWS_AT_ONCE
from neuromorphic.ops import Conv

ROWS_A_BLOCK = 8
ROWS_TOGETHER = 576  # of merged groups: half of the first cache
LONGEST_MOVE = 1 << 14  # pixels


def signed_digits(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return ``d`` with ``w = sum_i d[i] << i``, each -1, 0 or 1 and as few as possible not 0: no two neighbours are."""
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

    Where windows are as far apart as pixels, rows of them are the image, moved by whole pixels, and ``margin`` is how
    many words that reaches beyond it. A ``margin`` of -1: they are picked bit by bit.
    """

    words: int
    pitch: int
    columns: int
    margin: int

    @classmethod
    def of(cls, op: Conv) -> Windows:
        """Return those of a convolution."""
        (height, width), (out_height, out_width) = op.input_shape[1:], op.output_shape[1:]
        reach = max(abs(y * width + x) for y, x in taps(op))
        if op.stride != (1, 1) or out_width > width or reach > LONGEST_MOVE:
            size = out_height * out_width
            return cls(-(-size // WINDOWS_AT_ONCE), size, size, -1)
        span = (out_height - 1) * width + out_width
        words = -(-max(span, height * width) // WINDOWS_AT_ONCE)
        pitch, columns = (span, span) if out_width == width else (width, out_width)
        return cls(words, pitch, columns, reach // 64 + 2)

    @property
    def stride(self) -> int:
        """Words of a channel: of one sample in whole registers, or of as many samples as fill one."""
        return -(-self.words // LANES) * LANES

    def scratch(self, op: Conv, channels: int) -> int:
        """Return the words that counting needs: sums, counters, rows, and the image with its margins."""
        places = math.prod(op.weights.shape[2:])
        image = 2 * self.margin + channels * self.stride + LANES if self.margin >= 0 else 0
        left = LANES + 2 * LANES * WINDOWS_AT_ONCE // 2
        return left + (COUNTERS + channels * places + 2) * LANES + image

    def masks(self, op: Conv) -> NDArray[np.uint64]:
        """Return, for every place of the kernel, the windows in which it lies on the image: ``[taps, stride]`` words."""
        (height, width), (out_height, out_width) = op.input_shape[1:], op.output_shape[1:]
        marks = np.zeros((math.prod(op.weights.shape[2:]), out_height, width), dtype=np.bool_)
        for mark, (y, x) in zip(marks, taps(op), strict=True):
            mark[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(min(width - x, out_width), 0)] = True
        padded = np.zeros((len(marks), self.words * WINDOWS_AT_ONCE), dtype=np.bool_)
        size = min(out_height * width, padded.shape[1])
        padded[:, :size] = marks.reshape(len(marks), -1)[:, :size]
        packed, found = bits_of(padded), np.zeros((len(marks), self.stride), dtype=np.uint64)
        for first in range(0, max(LANES // self.words, 1) * self.words, self.words):
            found[:, first : first + self.words] = packed
        return found


def taps(op: Conv) -> list[tuple[int, int]]:
    """Return where the places of a kernel lie, from the place of its window."""
    (rows, columns), (step_y, step_x), (pad_y, pad_x) = op.weights.shape[2:], op.dilation, op.padding
    return [(k * step_y - pad_y, m * step_x - pad_x) for k in range(rows) for m in range(columns)]
