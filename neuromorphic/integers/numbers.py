"""The number formats of a program, and the primitives from which every operation is written, in NumPy.

Number formats
    * a *state* (membrane potential, running sum) is a 24-bit signed value; it saturates at ``-STATE_MAX .. STATE_MAX``,
      symmetric, as Lava's and Loihi's membrane does;
    * a *decay* or a *gate* is unsigned Q0.12: ``decay / 4096`` is the factor;
    * a *current* is the exact int32 sum of weights times events; a proof before the run keeps it inside int32.

Primitives
    A step of an operation is written once, over the methods of :class:`NumPy` and the operators ``+ - * << >> &`` and
    the comparisons. Other back ends offer the same methods: on torch, on symbols that carry their proven range
    (:mod:`neuromorphic.integers.symbols`), and from those for ONNX. A step sees one sample: its shapes are ``[N]`` or
    ``[rows, columns]``. NumPy and torch carry a batch axis in front that no step mentions. All values are int64, which
    every intermediate result fits. ``>>`` rounds down; :meth:`NumPy.toward_zero` rounds toward zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

STATE_BITS = 24
STATE_MAX = (1 << (STATE_BITS - 1)) - 1
STATE_MIN = -STATE_MAX
DECAY_BITS = 12
DECAY_ONE = 1 << DECAY_BITS
INT32_MAX = (1 << 31) - 1
INT64_MIN = -(1 << 63)
_EXACT_FLOAT = 1 << 53

Int64 = NDArray[np.int64]
Pair = tuple[int, int]
"""Of an image: along its rows, along its columns."""


class NumPy:
    """The primitives on int64 arrays ``[B, ...]``: what they compute here is what they mean.

    Examples
    --------
    >>> xp = NumPy()
    >>> xp.toward_zero(np.array([[-5, 5]]), 1).tolist(), (np.array([[-5, 5]]) >> 1).tolist()
    ([[-2, 2]], [[-3, 2]])
    >>> xp.saturate(np.array([[1 << 30, -(1 << 30), 5]])).tolist()
    [[8388607, -8388607, 5]]
    """

    def constant(self, array: NDArray[Any]) -> Int64:
        """Return an array that is the same for all samples, without a batch axis."""
        return array.astype(np.int64, copy=False)

    def toward_zero(self, x: Any, bits: int) -> Any:
        """Divide by ``2**bits``, rounding toward zero: ``sign(x) * (|x| >> bits)``.

        References
        ----------
        Lava 0.10 ``lava/proc/lif/models.py``, ``subthr_dynamics``: the rounding of Loihi's decay.
        """
        return np.sign(x) * np.right_shift(np.abs(x), np.int64(bits))

    def clip(self, x: Any, low: int, high: int) -> Any:
        """Limit to ``low..high``."""
        return np.clip(x, np.int64(low), np.int64(high))

    def saturate(self, x: Any) -> Any:
        """Limit to the 24 bits of a state, ``-STATE_MAX..STATE_MAX``."""
        return self.clip(x, STATE_MIN, STATE_MAX)

    def absolute(self, x: Any) -> Any:
        """Return ``|x|``."""
        return np.abs(x)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """Return ``x`` where the condition holds, ``y`` elsewhere."""
        return np.where(condition, x, y)

    def take(self, table: NDArray[Any], index: Any) -> Any:
        """Return the entries of a constant table ``[K]`` at indices in ``0..K-1``."""
        return table[index].astype(np.int64)

    def product(self, weights: Any, x: Any) -> Any:
        """Return the exact sums ``weights @ x``: ``[out, in]`` times ``[in]`` is ``[out]``."""
        peak = int(np.abs(x).max(initial=0)) * int(np.abs(weights).max(initial=0))
        if peak * weights.shape[1] < _EXACT_FLOAT:  # no partial sum leaves what float64 holds, and BLAS is fast
            return (x.astype(np.float64) @ weights.T.astype(np.float64)).astype(np.int64)
        return x @ weights.T

    def convolve(
        self, weights: Any, image: Any, stride: Pair, padding: Pair, dilation: Pair = (1, 1), groups: int = 1
    ) -> Any:
        """Return exact sums over windows, as ``torch.nn.functional.conv2d`` does: zeros lie outside.

        ``[O, C / groups, kh, kw]`` over an image ``[C, H, W]`` is ``[O, rows, columns]``, see :func:`num_windows`.
        """
        outputs, inputs, *kernel = weights.shape
        peak = int(np.abs(image).max(initial=0)) * int(np.abs(weights).max(initial=0))
        kind = np.float64 if peak * weights[0].size < _EXACT_FLOAT else np.int64
        by_group = weights.reshape(groups, outputs // groups, inputs, *kernel).astype(kind)
        sums: Any = 0
        for (y, x), part in _shifted(image.astype(kind), kernel, stride, padding, dilation, 0):
            rows, columns = part.shape[2:]
            sums = sums + by_group[..., y, x] @ part.reshape(-1, groups, inputs, rows * columns)
        return sums.reshape(-1, outputs, rows, columns).astype(np.int64)

    def window_max(self, image: Any, kernel: Pair, stride: Pair, padding: Pair) -> Any:
        """Return the largest value of each window of an image ``[C, H, W]``; what lies outside is never the largest."""
        return reduce(np.maximum, (part for _, part in _shifted(image, kernel, stride, padding, (1, 1), INT64_MIN)))

    def pick(self, matrix: Any, index: Any) -> Any:
        """Return of every column of ``[rows, N]`` the entry in row ``index[i]``: ``[N]``."""
        places = np.broadcast_to(index, (len(matrix), matrix.shape[-1]))
        return np.take_along_axis(matrix, places[:, np.newaxis], axis=1)[:, 0]

    def deliver(self, weights: Any, counts: Any, start: Any, low: int, high: int) -> Any:
        """Add what events bring in their order, limiting every partial sum.

        Weights ``[out, in]``, counts ``[in]`` and a start ``[out]`` in ``low..high`` give ``[out]``: ``s = clip(s +
        weights[:, j] * counts[j], low, high)`` for ``j = 0, 1, ...``. Several events of one source bring the same
        weight: limited one by one they come to the same sum.
        """
        for j in np.flatnonzero(counts.any(axis=0)):
            start = self.clip(start + weights[:, j] * counts[:, j, np.newaxis], low, high)
        return start

    def roll(self, grid: Any, rows: int, columns: int) -> Any:
        """Move ``[rows, columns]`` by so many rows and columns; what leaves on one side enters on the other."""
        return np.roll(grid, (rows, columns), axis=(-2, -1))

    def argmax(self, x: Any) -> Any:
        """Return the place of the largest of ``[N]``, the first of equals: ``[1]``."""
        return np.argmax(x, axis=-1)[:, np.newaxis].astype(np.int64)

    def row(self, matrix: Any, index: Any) -> Any:
        """Return row ``index`` ``[1]`` of ``[rows, columns]``, a constant or a state: ``[columns]``."""
        place = index[:, 0]
        return matrix[place] if matrix.ndim == 2 else matrix[np.arange(len(place)), place]

    def set_row(self, matrix: Any, index: Any, row: Any) -> Any:
        """Return the matrix with one row replaced; the old one is given up, so that it may be overwritten."""
        matrix[np.arange(len(row)), index[:, 0]] = row
        return matrix

    def sum(self, x: Any) -> Any:
        """Sum over the last axis."""
        return x.sum(axis=-1, dtype=np.int64)

    def repeat(self, x: Any, times: int) -> Any:
        """Repeat every value of ``[N]`` so many times: ``[N * times]``."""
        return np.repeat(x, times, axis=-1)

    def reshape(self, x: Any, *shape: int) -> Any:
        """Give one sample another shape, in C order."""
        return x.reshape(-1, *shape)


def num_windows(size: Pair, kernel: Sequence[int], stride: Pair, padding: Pair, dilation: Pair = (1, 1)) -> Pair:
    """Return how many windows fit an image ``(height, width)``, along its rows and columns.

    Examples
    --------
    >>> num_windows((28, 28), kernel=(5, 5), stride=(1, 1), padding=(0, 0))
    (24, 24)
    """
    rows, columns = ((size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(2))
    return rows, columns


def _shifted(
    image: Any, kernel: Sequence[int], stride: Pair, padding: Pair, dilation: Pair, outside: int
) -> Iterator[tuple[Pair, Any]]:
    """Yield each place in a window, and what lies there in all windows: ``[B, C, rows, columns]``."""
    margins = ((0, 0), (0, 0), *((by, by) for by in padding))
    wide = np.pad(image, margins, constant_values=outside)
    counts = num_windows(image.shape[2:], kernel, stride, padding, dilation)
    for y, x in np.ndindex(*kernel):
        starts = (y * dilation[0], x * dilation[1])
        rows, columns = (
            slice(s, s + step * (n - 1) + 1, step) for s, step, n in zip(starts, stride, counts, strict=True)
        )
        yield (y, x), wide[:, :, rows, columns]
