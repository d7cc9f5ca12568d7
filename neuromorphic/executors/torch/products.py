"""Exact products of constant weights on a torch device: matrices, and kernels that move over images.

Floats are fast on every device, and exact where every partial sum is a whole number that their significand holds. So
only matrix products are used, which add and multiply such whole numbers. ``torch.nn.functional.conv2d`` is none: cuDNN
and NNPACK choose Winograd's or a Fourier algorithm by shape and version, which multiply by fractions and round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuromorphic.integers.numbers import Pair, num_windows

DIGIT_BITS = 8
MAX_COLUMNS = 1 << 15
_EXACT_BITS = {torch.float32: 24, torch.float64: 53}
_PIECE = {"cpu": 1 << 20}
"""Values of windows that are laid out at a time: on a CPU what a cache holds."""
_LARGE_PIECE = 1 << 26


class _Exact:
    """Constant weights, ``shape[-1]`` of them in a sum, in floats that are exact for inputs up to a peak.

    Notes
    -----
    Inputs of more than 8 bits are multiplied in float64, or cut into digits. Those and blocks of columns are so small
    that every partial sum is a whole number below 2**24, or 2**53 in float64: exact on every device, with or without
    TF32 or bfloat16, which hold 8 bits.
    """

    def __init__(self, weights: NDArray[Any], peak: int, device: torch.device, widest: torch.dtype) -> None:
        heaviest = min(weights.shape[-1], MAX_COLUMNS) * max(int(np.abs(weights.astype(np.int32)).max()), 1)
        self.dtype, self.bits = (
            torch.float32,
            max(1, min(DIGIT_BITS, _EXACT_BITS[torch.float32] - heaviest.bit_length())),
        )
        if peak.bit_length() > self.bits and widest == torch.float64:
            self.dtype, self.bits = widest, _EXACT_BITS[torch.float64] - heaviest.bit_length()
        self.num_digits = max(1, -(-peak.bit_length() // self.bits))
        self.blocks = list(torch.split(torch.tensor(weights).to(device, self.dtype), MAX_COLUMNS, dim=-1))

    def _by_digits(self, x: Tensor, product: Callable[[Tensor], Tensor]) -> Tensor:
        """Sum the products of the digits of integers, each at its place."""
        if self.num_digits == 1:
            return product(x.to(self.dtype))
        sign, size, mask = torch.sign(x), x.abs(), (1 << self.bits) - 1
        places = (self.bits * i for i in range(self.num_digits))
        return _total(product((sign * (size >> place & mask)).to(self.dtype)) << place for place in places)


class Weights(_Exact):
    """A constant matrix in floats, whose products ``weights @ x`` are exact for ``|x| <= peak``.

    Parameters
    ----------
    weights : NDArray[np.integer]
        ``[out, in]``, -127..127.
    peak : int
        Largest magnitude of what it multiplies, proven.
    device : torch.device
        Where to multiply.
    widest : torch.dtype
        float64, or float32 where a device has no wider one or is slow with it.
    """

    def __init__(self, weights: NDArray[Any], peak: int, device: torch.device, *, widest: torch.dtype) -> None:
        super().__init__(weights, peak, device, widest)
        self.shape, self.ndim = weights.shape, 2
        self.blocks = [block.T.contiguous() for block in self.blocks]  # [in, out]

    def times(self, x: Tensor) -> Tensor:
        """Return int64 ``[B, out]`` for int64 ``[B, in]``."""
        return self._by_digits(x, self._product)

    def _product(self, x: Tensor) -> Tensor:
        parts = torch.split(x, MAX_COLUMNS, dim=1)
        return _total((part @ block).to(torch.int64) for part, block in zip(parts, self.blocks, strict=True))

    def __getitem__(self, row: Any) -> Tensor:
        """Return a row, or one for each sample, as integers."""
        return torch.cat([block.T[row] for block in self.blocks], dim=-1).to(torch.int64)


class Kernels(_Exact):
    """The weights of a convolution in floats, exact for ``|x| <= peak``: windows are laid out, then multiplied.

    Parameters
    ----------
    weights : NDArray[np.integer]
        ``[out, channels / groups, rows, columns]``, -127..127.
    peak, device, widest
        As of :class:`Weights`.
    """

    def __init__(self, weights: NDArray[Any], peak: int, device: torch.device, *, widest: torch.dtype) -> None:
        super().__init__(weights.reshape(len(weights), -1), peak, device, widest)
        self.shape, self.ndim = weights.shape, 4
        self.kernel: Pair = (weights.shape[2], weights.shape[3])
        self.piece = _PIECE.get(device.type, _LARGE_PIECE)

    def over(self, image: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Tensor:
        """Return int64 ``[B, out, rows, columns]`` for an int64 image ``[B, channels, height, width]``."""
        channels, height, width = image.shape[1:]
        rows, columns = num_windows((height, width), self.kernel, stride, padding, dilation)
        blocks = [block.reshape(groups, -1, block.shape[-1]) for block in self.blocks]  # [groups, out / groups, in]

        def product(x: Tensor) -> Tensor:
            laid = windows(x, self.kernel, stride, padding, dilation).permute(0, 1, 4, 5, 2, 3)
            parts = torch.split(laid.reshape(len(x), groups, -1, rows * columns), MAX_COLUMNS, dim=2)
            return _total((block @ part).to(torch.int64) for block, part in zip(blocks, parts, strict=True))

        samples = max(1, self.piece // (channels * self.kernel[0] * self.kernel[1] * rows * columns))
        pieces = [self._by_digits(piece, product) for piece in torch.split(image, samples)]
        summed = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
        return summed.reshape(len(image), -1, rows, columns)


def windows(
    image: Tensor, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1), outside: int = 0
) -> Tensor:
    """Return a view ``[B, C, rows, columns, *kernel]`` of the windows of an image ``[B, C, H, W]``."""
    (batch, channels, height, width), (down, right) = image.shape, padding
    if down or right:
        wide = image.new_full((batch, channels, height + 2 * down, width + 2 * right), outside)
        wide[:, :, down : down + height, right : right + width] = image
        image = wide
    for axis in (0, 1):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        image = image.unfold(2 + axis, reach, stride[axis])[..., :: dilation[axis]]
    return image


def _total(terms: Iterable[Tensor]) -> Tensor:
    total: Tensor = reduce(add, terms)
    return total
