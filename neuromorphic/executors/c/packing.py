"""Weights in words: sixteen ternary ones at two bits each, or four of eight bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD_BITS = 32


@dataclass(frozen=True)
class Packed:
    """Weights ``[out, in]`` as ``words[block, source]``, for blocks of 16 or 4 outputs.

    A weight is stored as ``weight + bias``, the first output of a block in the lowest bits. After the columns of the
    sources stands one of zeros.
    """

    bits: int
    words: NDArray[np.uint32]

    @property
    def bias(self) -> int:
        """What is added to each weight: 1 or 128."""
        return 1 << (self.bits - 1) if self.bits > 2 else 1

    @property
    def per_word(self) -> int:
        """Outputs of a block."""
        return WORD_BITS // self.bits

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return int(self.words.shape[0])

    @property
    def stride(self) -> int:
        """Words of a block."""
        return int(self.words.shape[1])

    @property
    def outputs(self) -> int:
        """Sums that whole blocks write."""
        return self.blocks * self.per_word


def packed(weights: NDArray[Any]) -> Packed:
    """Pack weights of at most eight bits: at two bits if none is beyond -1..1."""
    bits, bias = (2, 1) if int(np.abs(weights.astype(np.int16)).max()) <= 1 else (8, 128)
    (out, sources), per_word = weights.shape, WORD_BITS // bits
    codes = np.zeros((-(-out // per_word) * per_word, sources + 1), dtype=np.uint32)
    codes[:, :sources] = bias  # what fills the last block adds nothing
    codes[:out, :sources] = weights.astype(np.int16) + bias
    shifts = np.arange(per_word, dtype=np.uint32)[None, :, None] * np.uint32(bits)
    shifted = codes.reshape(-1, per_word, sources + 1) << shifts
    return Packed(bits, np.bitwise_or.reduce(shifted, axis=1))
