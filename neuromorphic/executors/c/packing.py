"""Weights in words: ternary ones at two bits each, others at eight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS = (8, 16, 32)
"""Bits of a word; one that holds all outputs is taken, else the largest."""


@dataclass(frozen=True)
class Packed:
    """Weights ``[out, in]`` as ``words[block, source]``: a word holds those from one source to a block of outputs.

    Attributes
    ----------
    bits : int
        Of a weight, which is stored as ``weight + bias``: 2 or 8.
    word_bits : int
        Of a word.
    words : NDArray
        ``[blocks, sources]``.
    """

    bits: int
    word_bits: int
    words: NDArray[np.uint32]

    @property
    def bias(self) -> int:
        """What is added to each weight."""
        return _bias(self.bits)

    @property
    def per_word(self) -> int:
        """Outputs of a block."""
        return self.word_bits // self.bits

    @property
    def type(self) -> str:
        """Type of a word."""
        return f"uint{self.word_bits}_t"


def bits_of(weights: NDArray[Any]) -> int:
    """Return the bits that each of these weights takes."""
    return 2 if int(np.abs(weights.astype(np.int16)).max()) <= 1 else 8


def _bias(bits: int) -> int:
    return 1 if bits == 2 else 1 << (bits - 1)


def word_bits_of(weights: NDArray[Any]) -> int:
    """Return the bits of the words that hold these weights."""
    return next((n for n in WORDS if n >= len(weights) * bits_of(weights)), WORDS[-1])


def outputs_of(weights: NDArray[Any]) -> int:
    """Return how many outputs whole blocks have."""
    per_word = word_bits_of(weights) // bits_of(weights)
    return -(-len(weights) // per_word) * per_word


def packed(weights: NDArray[Any], parts: int = 1) -> Packed:
    """Pack weights ``[out, in]``.

    Parameters
    ----------
    weights : NDArray
        Within -128..127.
    parts : int
        The outputs of a block lie in the fields of a word in this order: the first of each of so many equal parts of
        the block, then the second of each, and so on.
    """
    bits, word_bits = bits_of(weights), word_bits_of(weights)
    per_word = word_bits // bits
    parts = min(parts, per_word)
    codes = np.full((outputs_of(weights), weights.shape[1]), _bias(bits), dtype=np.uint32)  # what fills up adds nothing
    codes[: len(weights)] = weights.astype(np.int16) + _bias(bits)
    fields = codes.reshape(-1, parts, per_word // parts, weights.shape[1]).swapaxes(1, 2)
    shifts = np.arange(per_word, dtype=np.uint32)[:, np.newaxis] * np.uint32(bits)
    shifted = fields.reshape(-1, per_word, weights.shape[1]) << shifts
    return Packed(bits, word_bits, np.bitwise_or.reduce(shifted, axis=1))
