"""Whole arrays: products with matrices, tables, rows, rolls and sums over an axis."""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.onnx.graph import INT32, INT64, Operand, Tensor
from neuromorphic.executors.onnx.integers import EXACT
from neuromorphic.executors.onnx.lowering import Lowering, fixed_value
from neuromorphic.executors.onnx.products import product
from neuromorphic.executors.onnx.rules.wide import digits_of, limbs, matrix_and_vector
from neuromorphic.integers.symbols import Symbol


def take(to: Lowering, s: Symbol) -> Tensor:
    """Look up in a constant table."""
    index, table = s.args
    return to.g.op("Gather", table.facts["array"].astype(np.int32), to.tensor(index))


def matrix_product(to: Lowering, s: Symbol) -> Tensor:
    """Multiply by a constant matrix."""
    weights, x = s.args
    return product(to.g, weights.facts["array"], to.tensor(x), *x.span, to.products)


def reshape(to: Lowering, s: Symbol) -> Tensor:
    """Change the shape, or roll."""
    return _shaped(to, s, s.shape)


def _shaped(to: Lowering, s: Symbol, shape: tuple[int, ...]) -> Tensor:
    """Return a symbol with another shape; a way through other shapes and back costs nothing."""
    while s.kind == "reshape" and fixed_value(s) is None:
        s = s.args[0]
    found, tensor = s.shape, ""
    if s.kind == "roll" and fixed_value(s) is None:
        places = np.arange(np.prod(s.shape), dtype=np.int32).reshape(s.shape)
        places = np.roll(places, (s.facts["rows"], s.facts["columns"]), (-2, -1)).ravel()
        found, tensor = places.shape, to.g.op("Gather", _shaped(to, s.args[0], places.shape), places, axis=1)
    tensor = tensor or to.tensor(s)
    return tensor if found == shape else to.g.reshape(tensor, -1, *shape)


def repeat(to: Lowering, s: Symbol) -> Tensor:
    """Repeat every value."""
    (x,), times = s.args, np.array([s.facts["times"]], dtype=np.int64)
    return to.g.reshape(to.g.op("Expand", to.g.reshape(to.tensor(x), -1, *x.shape, 1), times), -1, *s.shape)


def accumulated(to: Lowering, s: Symbol) -> Tensor:
    """Sum over the last axis."""
    (x,) = s.args
    if x.peak * x.shape[-1] <= EXACT:
        axes = np.array([-1], dtype=np.int64)
        return to.g.sealed(to.g.op("ReduceSum", to.g.narrow(to.tensor(x)), axes, keepdims=0))
    if matrix_and_vector(to, s):
        return limbs(to, s).floor(0)
    return to.g.reshape(to.g.halved_sum(to.tensor(x), x.shape[-1]), -1, *s.shape)


def argmax(to: Lowering, s: Symbol) -> Tensor:
    """Return the place of the first of the largest: by the highest digit, then by the next."""
    g, (x,) = to.g, s.args
    none, last = x.shape[0], np.array([1], dtype=np.int64)
    places = np.arange(none, dtype=np.int32)
    candidates: Operand = places
    for digit in [to.tensor(x)] if x.peak <= EXACT else reversed(digits_of(to, x)):
        if candidates is not places:  # only what was best so far
            digit = g.where(g.op("Equal", candidates, none), -1, digit)
        best = g.op("ReduceMax", g.narrow(g.constant(digit)), last, keepdims=1)
        candidates = g.where(g.op("Equal", digit, best), places, none)
    return g.sealed(g.op("ReduceMin", candidates, last, keepdims=1))


def row(to: Lowering, s: Symbol) -> Tensor:
    """Take one row."""
    matrix, index = s.args
    fixed = fixed_value(matrix)
    if fixed is None:
        return _row_of(to, to.tensor(matrix), index)
    table = fixed.astype(np.int8 if matrix.peak < 128 else np.int32)
    return to.g.cast(to.g.op("Gather", table, to.g.reshape(to.tensor(index), -1)), INT32)


def _row_of(to: Lowering, matrix: Tensor, index: Symbol) -> Tensor:
    fixed = fixed_value(index)
    if fixed is not None:
        return to.g.op("Gather", matrix, int(fixed[0]), axis=1)
    return to.g.op("GatherND", matrix, to.g.cast(to.tensor(index), INT64), batch_dims=1)


def set_row(to: Lowering, s: Symbol) -> Tensor:
    """Replace one row."""
    matrix, index, new = s.args
    return _with_row(to, s, to.tensor(matrix), index, to.tensor(new))


def _with_row(to: Lowering, s: Symbol, matrix: Tensor, index: Symbol, new: Tensor) -> Tensor:
    g, (rows, columns) = to.g, s.shape
    place, new = g.reshape(to.tensor(index), -1, 1, 1), g.reshape(new, -1, 1, columns)
    if any(fixed_value(a) is not None for a in s.args):  # without the axis of samples
        return g.where(g.op("Equal", place, np.arange(rows, dtype=np.int32).reshape(1, -1, 1)), new, matrix)
    places = g.op("Expand", place, np.array([1, 1, columns], dtype=np.int64))
    return g.op("ScatterElements", matrix, places, new, axis=1)


def pick(to: Lowering, s: Symbol) -> Tensor:
    """Take of every column the entry in a row of its own, from all columns in one row."""
    g, (matrix, index) = to.g, s.args
    rows, columns = matrix.shape
    table, places = fixed_value(matrix), fixed_value(index)
    if table is not None:
        first = g.op("Mul", to.operand(index, s.shape), columns)
        return g.op("Gather", table.astype(np.int32).ravel(), g.op("Add", first, np.arange(columns, dtype=np.int32)))
    flat = g.reshape(to.tensor(matrix), -1, rows * columns)
    if places is not None:
        fixed = np.broadcast_to(places, s.shape) * columns + np.arange(columns)
        return g.sealed(g.op("Gather", flat, fixed.astype(np.int32), axis=1))
    at = g.op("Add", g.op("Mul", to.tensor(index), columns), np.arange(columns, dtype=np.int32))
    return g.sealed(g.op("GatherElements", flat, at, axis=1))


def real_sum(to: Lowering, s: Symbol) -> Tensor:
    """Add or subtract in float32."""
    return to.g.op("Add" if s.kind == "add" else "Sub", *(to.real(a) for a in s.args))


def real_right(to: Lowering, s: Symbol) -> Tensor:
    """Shift down in float32."""
    power = (2.0 ** -s.args[1].low).astype(np.float32)
    return to.g.op("Floor", to.g.op("Mul", to.real(s.args[0]), power))


def real_row(to: Lowering, s: Symbol) -> Tensor:
    """Take one row of float32."""
    return _row_of(to, to.real(s.args[0]), s.args[1])


def real_set_row(to: Lowering, s: Symbol) -> Tensor:
    """Replace one row of float32."""
    return _with_row(to, s, to.real(s.args[0]), s.args[1], to.real(s.args[2]))
