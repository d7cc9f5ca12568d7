"""One step of an operation on images: compiled apart, where a program has one, and called by its address."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import int64

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import STAMP, callback
from neuromorphic.executors.native.kernels.convolutions import convolve
from neuromorphic.executors.native.kernels.vectors import get_long
from neuromorphic.executors.native.kernels.windows import pool_spikes, slide_windows


@cache
def _compiled(stamp: int) -> Any:
    def image_step(row, head, ints, bits):  # type: ignore[no-untyped-def]
        if stamp < 0:
            return stamp  # never: the number only has to be used
        params, small, kind = get_long(head, rows.AT_PARAMS), get_long(head, rows.AT_SMALL), get_long(row, rows.P0)
        if kind == rows.CONVOLVE:
            convolve(row, params, get_long(head, rows.AT_WORDS), small, ints, bits)
        elif kind == rows.SLIDE_WINDOWS:
            slide_windows(row, params, small, ints)
        else:
            pool_spikes(row, params, bits)
        return 0

    return callback(image_step, int64(int64, int64, int64, int64))


def address_of_images() -> int:
    """Compile the code, or load it from the cache; return where it stands."""
    return int(_compiled(STAMP).address)
