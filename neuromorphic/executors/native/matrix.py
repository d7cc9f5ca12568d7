"""The bare products: a packed ternary matrix times spikes, or times integers."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import InputError
from neuromorphic.executors.native import arrays
from neuromorphic.executors.native.alignment import aligned, aligned_zeros
from neuromorphic.executors.native.bit_planes import columns_for_events, fields_for_values
from neuromorphic.executors.native.object_code import address_of, function_at
from neuromorphic.executors.native.product import OUT, X
from neuromorphic.executors.native.rows import FINE
from neuromorphic.executors.native.sizes import OUTPUTS_A_GROUP, digit_words, event_words, list_size

_INT32, _UINT64 = np.dtype(np.int32), np.dtype(np.uint64)
READS = ("spikes", "values", "both")


@cache
def _compiled(name: str) -> Callable[..., int]:
    return function_at(address_of(name), 1)


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
        self._columns = None if reads == "values" else aligned(columns_for_events(array).reshape(-1))
        self._fields = None if reads == "spikes" else aligned(fields_for_values(array).reshape(-1))
        self._totals = array.sum(axis=1, dtype=np.int32)
        self._stride = list_size(self.num_inputs)
        self._scratch = threading.local()

    def _make_room(self, batch: int) -> None:
        """Make what the compiled products of this thread go by.

        What a product writes beside its result belongs to the calling thread: products run without Python's lock.
        """
        scratch = self._scratch
        if getattr(scratch, "samples", 0) < max(batch, 1):
            scratch.lists = np.zeros(max(batch, 1) * self._stride, dtype=np.int32)
            scratch.spare = aligned_zeros((max(event_words(self.num_inputs), digit_words(self.num_inputs)),), np.uint64)
            scratch.room = aligned_zeros((-(-self.size // OUTPUTS_A_GROUP) * OUTPUTS_A_GROUP,), np.int32)
            packed = (0 if x is None else x.ctypes.data for x in (self._columns, self._fields))
            places = (x.ctypes.data for x in (self._totals, scratch.lists, scratch.spare, scratch.room))
            numbers = (0, 0, max(batch, 1), self.num_inputs, self.size, self._stride, *packed, *places, *arrays.TYPES)
            scratch.call = (ctypes.c_int64 * len(numbers))(*numbers)
            scratch.place, scratch.samples = ctypes.addressof(scratch.call), max(batch, 1)

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
        if out is not None and self._multiply("times_spikes", bits, out):
            return out
        # Nothing was written: there is no room yet, something to copy, or an error to raise.
        if self._columns is None:
            raise InputError("this matrix was not packed for spikes; make it with reads='both'")
        bits = _usable("bits", bits, _UINT64, -(-self.num_inputs // 64))
        out = self._out(len(bits), out)
        self._make_room(len(bits))
        if not self._multiply("times_spikes", bits.view(_UINT64), out.view(_INT32)):
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
        if out is not None and self._multiply("times_values", x, out):
            return out
        if self._fields is None:
            raise InputError("this matrix was not packed for values; make it with reads='both'")
        x = _usable("x", x, _INT32, self.num_inputs)
        out = self._out(len(x), out)
        self._make_room(1)
        self._multiply("times_values", x.view(_INT32), out.view(_INT32))
        return out

    def _multiply(self, name: str, x: NDArray[Any], out: NDArray[np.int32]) -> bool:
        """Let compiled code multiply, if it can take the arrays as they are."""
        scratch = self._scratch
        try:
            call = scratch.call
        except AttributeError:
            return False
        call[X], call[OUT] = id(x), id(out)
        return _compiled(name)(scratch.place) == FINE

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
