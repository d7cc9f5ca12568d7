"""Importing this compiles one function, so that numba has loaded what it loads at its first function."""

import numba


@numba.njit("float32(float32)")
def same(value):
    return value


same(1.0)
