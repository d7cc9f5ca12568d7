"""The bare products: a packed ternary matrix times spikes, or times integers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import InputError
from neuromorphic.executors.native.bit_planes import OUTPUTS_A_GROUP, columns_for_events, fields_for_values
from neuromorphic.executors.native.compiled import STAMP, entry_point
from neuromorphic.executors.native.kernels.events import (
    SPARE_WORDS,
    finish_sums,
    list_events,
    list_size,
    ternary_events,
)
from neuromorphic.executors.native.kernels.values import split_digits, ternary_values
from neuromorphic.executors.native.kernels.vectors import get_int, get_long, get_word, put_int

_INT32, _UINT64 = np.dtype(np.int32), np.dtype(np.uint64)
READS = ("spikes", "values", "both")


def _make(stamp: int) -> tuple[Callable[..., int], Callable[..., int]]:
    def times_spikes(head, packed_bits, result, batch):  # type: ignore[no-untyped-def]
        if stamp < 0:
            return stamp  # never: the number only has to be used
        words, lists, totals, spare = get_long(head, 0), get_long(head, 1), get_long(head, 2), get_long(head, 3)
        num_inputs, size, stride = get_long(head, 4), get_long(head, 5), get_long(head, 6)
        num_words, packed, out = (num_inputs + 63) >> 6, packed_bits.ctypes.data, result.ctypes.data
        for b in range(batch if num_inputs & 63 else 0):
            if get_word(packed, b * num_words + num_words - 1) >> np.uint64(num_inputs & 63):
                return 0
        for b in range(batch):
            list_events(packed, b * num_words, num_inputs, lists, b * stride)
        ternary_events(words, 0, num_inputs, lists, 0, stride, batch, spare, 0, 0, out, 0, size, size)
        for b in range(batch):
            finish_sums(lists, b * stride, totals, 0, out, b * size, size, 0)
        return 1

    def times_values(head, values, result, batch):  # type: ignore[no-untyped-def]
        if stamp < 0:
            return stamp
        words, room, spare = get_long(head, 7), get_long(head, 8), get_long(head, 3)
        num_inputs, size, x, out = get_long(head, 4), get_long(head, 5), values.ctypes.data, result.ctypes.data
        for b in range(batch):
            num_digits = split_digits(x, b * num_inputs, num_inputs, spare, 0)
            ternary_values(words, 0, num_inputs, spare, 0, num_digits, room, 0, size, 0)
            for i in range(size):
                put_int(out, b * size + i, get_int(room, i))
        return 0

    return entry_point(times_spikes), entry_point(times_values)


_times_spikes, _times_values = _make(STAMP)


class TernaryMatrix:
    """Ternary weights packed at two bits, for products without a network around them.

    Threads may share one: each has its own room to compute in.

    Parameters
    ----------
    weights : NDArray[np.int8]
        ``[N, K]`` in {-1, 0, 1}.
    reads : str
        ``"spikes"``, ``"values"`` or ``"both"``: each has a packing of its own.

    Examples
    --------
    >>> from neuromorphic.executors.native import bits_of
    >>> matrix = TernaryMatrix(np.array([[1, 0, -1], [1, 1, 1]], dtype=np.int8))
    >>> matrix.times_spikes(bits_of(np.array([[True, False, False]]))).tolist()
    [[1, 1]]
    >>> matrix.times_values(np.array([[5, -7, 100]], dtype=np.int32)).tolist()
    [[-95, 98]]
    """

    def __init__(self, weights: NDArray[np.int8], *, reads: Literal["spikes", "values", "both"] = "both") -> None:
        array = np.asarray(weights)
        if array.dtype != np.int8 or array.ndim != 2 or array.size == 0:
            raise InputError(f"weights must be a non-empty int8 matrix, got {array.dtype}{list(array.shape)}")
        if int(array.min()) < -1 or int(array.max()) > 1:
            raise InputError(f"weights must lie in -1..1, got {int(array.min())}..{int(array.max())}")
        if reads not in READS:
            raise InputError(f"reads must be one of {', '.join(READS)}, got {reads!r}")
        self.size, self.num_inputs = array.shape
        self._columns = None if reads == "values" else columns_for_events(array).reshape(-1)
        self._fields = None if reads == "spikes" else fields_for_values(array).reshape(-1)
        self._totals = array.sum(axis=1, dtype=np.int32)
        self._stride = list_size(self.num_inputs)
        self._scratch = threading.local()

    def _head(self, batch: int) -> int:
        """Return where the addresses stand that the compiled products go by.

        What a product writes beside its result belongs to the calling thread: products run without Python's lock.
        """
        scratch, rows = self._scratch, max(batch, 1)
        if getattr(scratch, "rows", 0) < rows:
            scratch.lists = np.zeros(rows * self._stride, dtype=np.int32)
            scratch.spare = np.zeros(max(SPARE_WORDS, -(-self.num_inputs // 16) * 8), dtype=np.uint64)
            scratch.room = np.zeros(-(-self.size // OUTPUTS_A_GROUP) * OUTPUTS_A_GROUP, dtype=np.int32)
            spikes, values = (self._totals if x is None else x for x in (self._columns, self._fields))
            scratch.head = np.array(
                [
                    *(x.ctypes.data for x in (spikes, scratch.lists, self._totals, scratch.spare)),
                    *(self.num_inputs, self.size, self._stride),
                    *(x.ctypes.data for x in (values, scratch.room)),
                ],
                dtype=np.int64,
            )
            scratch.address, scratch.rows = scratch.head.ctypes.data, rows
        return int(scratch.address)

    def __getstate__(self) -> None:
        raise TypeError("a TernaryMatrix holds addresses and cannot be copied or pickled; make another")

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed weights."""
        return sum(x.nbytes for x in (self._columns, self._fields) if x is not None)

    def times_spikes(self, bits: NDArray[np.uint64], out: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
        """Multiply with spikes: ``out[b, i] = sum_j weights[i, j] * spikes[b, j]``.

        Parameters
        ----------
        bits : NDArray[np.uint64]
            ``[B, ceil(K / 64)]``, as :func:`bits_of` packs them.
        out : NDArray[np.int32], optional
            ``[B, N]``; without it a new array. It is returned.

        Raises
        ------
        InputError
            Wrong dtype, shape or layout, or a matrix that does not read spikes.
        """
        if self._columns is None:
            raise InputError("this matrix was not packed for spikes; make it with reads='both'")
        bits = _usable("bits", bits, _UINT64, -(-self.num_inputs // 64))
        batch = len(bits)
        out = self._out(batch, out)
        if not _times_spikes(self._head(batch), bits, out, batch):
            raise InputError(f"bits beyond the {self.num_inputs} inputs must be 0")
        return out

    def times_values(self, x: NDArray[np.int32], out: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
        """Multiply with integers: ``out[b, i] = sum_j weights[i, j] * x[b, j]``, modulo ``2**32``.

        Parameters
        ----------
        x : NDArray[np.int32]
            ``[B, K]``; the fewer bytes its largest value needs, the faster.
        out : NDArray[np.int32], optional
            ``[B, N]``; without it a new array. It is returned.

        Raises
        ------
        InputError
            Wrong dtype, shape or layout, or a matrix that does not read values.
        """
        if self._fields is None:
            raise InputError("this matrix was not packed for values; make it with reads='both'")
        x = _usable("x", x, _INT32, self.num_inputs)
        batch = len(x)
        out = self._out(batch, out)
        _times_values(self._head(1), x, out, batch)
        return out

    def _out(self, batch: int, out: NDArray[np.int32] | None) -> NDArray[np.int32]:
        if out is None:
            return np.empty((batch, self.size), dtype=np.int32)
        if _usable("out", out, _INT32, self.size) is not out:
            raise InputError("out must be writable")
        if len(out) != batch:
            raise InputError(f"out must have {batch} rows, got {len(out)}")
        return out


def _usable(name: str, array: NDArray[Any], dtype: np.dtype[Any], width: int) -> NDArray[Any]:
    """Return an array that compiled code can take, itself unless it is read-only: that is another type to numba."""
    if type(array) is np.ndarray and array.dtype == dtype and array.ndim == 2 and array.shape[1] == width:
        flags = array.flags
        if flags.carray:
            return array
        if flags.c_contiguous and flags.aligned:
            return array.copy()
        raise InputError(f"{name} must be contiguous; use numpy.ascontiguousarray({name})")
    got = f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
    raise InputError(f"{name} must be {dtype}[B, {width}], got {got}")
