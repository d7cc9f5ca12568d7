"""Arrays of NumPy as compiled code takes them."""

from __future__ import annotations

from neuromorphic.executors.native import arrays
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.vectors import get_int, get_long

AT_TYPE, AT_SHAPE, AT_DTYPE = arrays.AT_TYPE, arrays.AT_SHAPE, arrays.AT_DTYPE
AT_NUM_DIMENSIONS, AT_FLAGS, CARRAY = arrays.AT_NUM_DIMENSIONS, arrays.AT_FLAGS, arrays.CARRAY


@kernel
def fits(array, array_type, dtype, rows, columns):  # type: ignore[no-untyped-def]
    """Whether an object is an array of two dimensions and of a type of items, without gaps, aligned and writable."""
    if get_long(array, AT_TYPE) != array_type or get_long(array, AT_DTYPE) != dtype:
        return False
    if get_int(array, 2 * AT_NUM_DIMENSIONS) != 2 or get_int(array, 2 * AT_FLAGS) & CARRAY != CARRAY:
        return False
    shape = get_long(array, AT_SHAPE)
    return get_long(shape, 0) == rows and get_long(shape, 1) == columns


@kernel
def num_rows(array, array_type):  # type: ignore[no-untyped-def]
    """Return the rows of an array of two dimensions, -1 of anything else."""
    if get_long(array, AT_TYPE) != array_type or get_int(array, 2 * AT_NUM_DIMENSIONS) != 2:
        return -1
    return get_long(get_long(array, AT_SHAPE), 0)
