"""The primitives of :class:`~neuromorphic.integers.numbers.NumPy` on a torch device, on which every operation runs.

All values are int64 tensors ``[B, ...]``, all constants are moved to the device once. Nothing waits for the device.
The one override is the product with a matrix: see :class:`Weights`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, reduce
from operator import add
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuromorphic.integers.numbers import STATE_MAX, STATE_MIN

DIGIT_BITS = 8
MAX_COLUMNS = 1 << 15
_EXACT_BITS = {torch.float32: 24, torch.float64: 53}
_FEW = 1 << 12  # elements for which one division on the CPU takes less time than four bitwise operations


class Weights:
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

    Notes
    -----
    Inputs of more than 8 bits are multiplied in float64, or cut into digits. Those and blocks of columns are so small
    that every partial sum is a whole number below 2**24, or 2**53 in float64: exact on every device, with or without
    TF32 or bfloat16, which hold 8 bits.
    """

    def __init__(self, weights: NDArray[Any], peak: int, device: torch.device, *, widest: torch.dtype) -> None:
        self.shape, self.ndim = weights.shape, 2
        heaviest = min(weights.shape[1], MAX_COLUMNS) * max(int(np.abs(weights.astype(np.int32)).max()), 1)
        self.dtype, self.bits = (
            torch.float32,
            max(1, min(DIGIT_BITS, _EXACT_BITS[torch.float32] - heaviest.bit_length())),
        )
        if peak.bit_length() > self.bits and widest == torch.float64:
            self.dtype, self.bits = widest, _EXACT_BITS[torch.float64] - heaviest.bit_length()
        self.num_digits = max(1, -(-peak.bit_length() // self.bits))
        real = torch.tensor(weights).to(device, self.dtype)
        self.blocks = [block.T.contiguous() for block in torch.split(real, MAX_COLUMNS, dim=1)]  # [in, out]

    def times(self, x: Tensor) -> Tensor:
        """Return int64 ``[B, out]`` for int64 ``[B, in]``."""
        if self.num_digits == len(self.blocks) == 1:
            return self._product(x, self.blocks[0])
        parts = zip(self.blocks, torch.split(x, MAX_COLUMNS, dim=1), strict=True)
        terms = (self._digit(part, i, block) for block, part in parts for i in range(self.num_digits))
        total: Tensor = reduce(add, terms)
        return total

    def _digit(self, x: Tensor, i: int, block: Tensor) -> Tensor:
        place = self.bits * i
        if self.num_digits > 1:
            x = torch.sign(x) * ((x.abs() >> place) & ((1 << self.bits) - 1))
        summed: Tensor = self._product(x, block) << place
        return summed

    def _product(self, x: Tensor, block: Tensor) -> Tensor:
        product: Tensor = x.to(self.dtype) @ block
        return product.to(torch.int64)

    def __getitem__(self, row: Any) -> Tensor:
        """Return a row, or one for each sample, as integers."""
        return torch.cat([block.T[row] for block in self.blocks], dim=-1).to(torch.int64)


class Torch:
    """The primitives on a device.

    Parameters
    ----------
    device : torch.device
        Where everything is held and computed.
    batch : int
        Samples.
    matrices : mapping of int to (NDArray, int)
        By the identity of each constant matrix that multiplies, itself and the proven peak of what it multiplies.
    """

    def __init__(self, device: torch.device, batch: int, matrices: Mapping[int, tuple[NDArray[Any], int]]) -> None:
        self.device, self.matrices = device, matrices
        self.samples = torch.arange(batch, device=device)
        self.places = cache(lambda size: torch.arange(size, device=device))
        self._constants: dict[int, tuple[NDArray[Any], Any]] = {}

    def constant(self, array: NDArray[Any]) -> Any:
        """Return an array on the device; of the same array, the same tensor."""
        if id(array) not in self._constants:
            if id(array) in self.matrices:
                widest = torch.float64 if self.device.type == "cpu" else torch.float32
                moved: Any = Weights(array, self.matrices[id(array)][1], self.device, widest=widest)
            else:
                moved = torch.from_numpy(array.astype(np.int64)).to(self.device)
            self._constants[id(array)] = (array, moved)  # with the array, so that its identity is not given away
        return self._constants[id(array)][1]

    def toward_zero(self, x: Tensor, bits: int) -> Tensor:
        """Divide by ``2**bits``, rounding toward zero."""
        if x.numel() < _FEW or x.device.type != "cpu":
            return torch.div(x, 1 << bits, rounding_mode="trunc")
        lifted = x >> 63  # -1 where negative: adding 2**bits - 1 there makes the shift, which rounds down, round up
        lifted &= (1 << bits) - 1
        lifted += x
        lifted >>= bits
        return lifted

    def clip(self, x: Tensor, low: int, high: int) -> Tensor:
        """Limit to ``low..high``."""
        return x.clamp(low, high)

    def saturate(self, x: Tensor) -> Tensor:
        """Limit to the 24 bits of a state."""
        return x.clamp(STATE_MIN, STATE_MAX)

    def absolute(self, x: Tensor) -> Tensor:
        """Return ``|x|``."""
        return x.abs()

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """Choose; on numbers that count steps, at once."""
        if isinstance(condition, bool):
            if not isinstance(x, Tensor) and not isinstance(y, Tensor):
                return x if condition else y
            condition = self.places(2)[int(condition)] > 0
        if isinstance(x, int) and isinstance(y, int) and (x, y) == (1, 0):
            return condition.to(torch.int64)
        return torch.where(condition, x, y)

    def take(self, table: NDArray[Any], index: Tensor) -> Tensor:
        """Return the entries of a constant table."""
        return torch.take(self.constant(table), index)

    def product(self, weights: Any, x: Tensor) -> Tensor:
        """Return exact sums: of a matrix that is also used otherwise, in integers."""
        return weights.times(x) if isinstance(weights, Weights) else (weights * x.unsqueeze(1)).sum(dim=-1)

    def deliver(self, weights: Tensor, counts: Tensor, start: Tensor, low: int, high: int) -> Tensor:
        """Add what events bring in their order, limiting every partial sum."""
        for weight, count in zip(weights.unbind(1), counts.unbind(1), strict=True):
            start = torch.addcmul(start, weight, count.unsqueeze(1)).clamp_(low, high)
        return start

    def roll(self, grid: Tensor, rows: int, columns: int) -> Tensor:
        """Move ``[rows, columns]`` round its edges; a side that does not move is not copied."""
        moves = [(by, axis) for by, axis in ((rows, -2), (columns, -1)) if by]
        return torch.roll(grid, *(tuple(part) for part in zip(*moves, strict=True))) if moves else grid

    def argmax(self, x: Tensor) -> Tensor:
        """Return the place of the largest, on every device the first of equals."""
        size = x.shape[-1]
        return torch.where(x == x.amax(-1, keepdim=True), self.places(size), size).amin(-1, keepdim=True)

    def row(self, matrix: Any, index: Any) -> Any:
        """Return one row of a constant or of a state; by a number that counts steps, without an index on the device."""
        if isinstance(index, int):
            return matrix[index] if matrix.ndim == 2 else matrix[:, index].clone()
        place = index[:, 0]
        return matrix[place] if matrix.ndim == 2 else matrix[self.samples, place]

    def set_row(self, matrix: Tensor, index: Any, row: Tensor) -> Tensor:
        """Overwrite one row."""
        if isinstance(index, int):
            matrix[:, index] = row
        else:
            matrix[self.samples, index[:, 0]] = row
        return matrix

    def sum(self, x: Tensor) -> Tensor:
        """Sum over the last axis."""
        return x.sum(dim=-1)

    def repeat(self, x: Tensor, times: int) -> Tensor:
        """Repeat every value."""
        return x.repeat_interleave(times, dim=-1)

    def reshape(self, x: Tensor, *shape: int) -> Tensor:
        """Give one sample another shape."""
        return x.reshape(-1, *shape)
