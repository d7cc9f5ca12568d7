"""Lists of what is chosen: the numbers of the bits that are set, or lanes of a vector, one after another."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.vectors import (
    I32,
    MANY,
    cgutils,
    count_ones,
    emitted,
    lowest_one,
    put_int,
    splat_many,
    store_many,
    types,
)
from neuromorphic.executors.native.processor import HAS_AVX512

AT_ONCE = MANY.lanes
_ONE = np.uint64(1)


@emitted(MANY)
def lane_numbers(builder: Any) -> Any:
    """Return 0, 1, 2 and so on."""
    return ir.Constant(MANY.llvm, list(range(MANY.lanes)))


@emitted(MANY, MANY, types.uint64)
def _compressed(builder: Any, x: Any, mask: Any) -> Any:
    """Return the lanes whose bit is set, side by side from the first on."""
    flags = ir.VectorType(ir.IntType(1), MANY.lanes)
    kind = ir.FunctionType(MANY.llvm, [MANY.llvm, MANY.llvm, flags])
    compress = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.avx512.mask.compress.v{MANY.lanes}i32")
    chosen = builder.bitcast(builder.trunc(mask, ir.IntType(MANY.lanes)), flags)
    return builder.call(compress, [x, MANY.constant(0), chosen])


@emitted(types.int64, MANY, types.int64)
def _lane(builder: Any, x: Any, place: Any) -> Any:
    return builder.sext(builder.extract_element(x, builder.trunc(place, I32)), ir.IntType(64))


def _put_compressed(ints, place, x, mask):  # type: ignore[no-untyped-def]
    store_many(ints, place, _compressed(x, mask))
    return count_ones(mask)


def _put_each(ints, place, x, mask):  # type: ignore[no-untyped-def]
    n = 0
    while mask != np.uint64(0):
        put_int(ints, place + n, _lane(x, lowest_one(mask)))
        n += 1
        mask &= mask - _ONE
    return n


put_chosen = kernel(_put_compressed if HAS_AVX512 else _put_each)
"""Write the lanes of a vector whose bit is set, and perhaps something after them; return how many they are."""


def _put_numbers_at_once(ints, place, first, word):  # type: ignore[no-untyped-def]
    n, numbers = 0, splat_many(first) + lane_numbers()
    for _ in range(64 // AT_ONCE):
        n += put_chosen(ints, place + n, numbers, word & np.uint64((1 << AT_ONCE) - 1))
        numbers, word = numbers + splat_many(AT_ONCE), word >> np.uint64(AT_ONCE)
    return n


def _put_each_number(ints, place, first, word):  # type: ignore[no-untyped-def]
    n = 0
    while word != np.uint64(0):
        put_int(ints, place + n, first + lowest_one(word))
        n += 1
        word &= word - _ONE
    return n


put_numbers = kernel(_put_numbers_at_once if HAS_AVX512 else _put_each_number)
"""Write ``first`` plus the number of each bit that is set, and perhaps more after them; return how many they are."""
