"""Vectors of whatever numbers an array holds, real or pairs of them, with a number of lanes that the kernel says.

For kernels that carry a vector through several steps in registers, or write past the caches, which numba's own
vectoriser does not do. LLVM lowers them to what the processor has. Everything here trusts its indices.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pnbx_snn.kernels.cpu.vectors import Vector, address_of, splat

LINE_BYTES = 64
"""Bytes of a line of the cache, and of the widest vectors."""

_I32 = ir.IntType(32)
_intrinsic: Any = intrinsic  # numba has no types
_literal: Any = _intrinsic(prefer_literal=True)


def _vector(array: Any, lanes: Any) -> Vector:
    return Vector(ir.FloatType() if array.dtype == types.float32 else ir.DoubleType(), lanes.literal_value)


@_literal  # type: ignore[untyped-decorator,unused-ignore]
def load(typing_context: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Return ``lanes`` numbers from ``array[index]`` on."""
    vector = _vector(array, lanes)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = address_of(context, builder, array, args[0], args[1], vector.llvm)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return vector(array, types.int64, lanes), build


@_literal  # type: ignore[untyped-decorator,unused-ignore]
def repeat(typing_context: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Return ``array[index]`` in all lanes."""
    vector = _vector(array, lanes)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.load(address_of(context, builder, array, args[0], args[1], vector.kind))
        return splat(builder, value, vector)

    return vector(array, types.int64, lanes), build


@_literal  # type: ignore[untyped-decorator,unused-ignore]
def nothing(typing_context: Any, array: Any, lanes: Any) -> Any:
    """Return zeros, as many and of the kind of the array."""
    vector = _vector(array, lanes)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(vector.llvm, None)

    return vector(array, lanes), build


def _writer(*, around: bool) -> Any:
    def write(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            address = address_of(context, builder, array, args[0], args[1], value.llvm)
            stored = builder.store(args[2], address, align=LINE_BYTES if around else array.dtype.bitwidth // 8)
            if around:
                stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(_I32, 1)]))
            return context.get_dummy_value()

        return types.void(array, types.int64, value), build

    return _intrinsic(write)


store = _writer(around=False)
"""Write a vector to ``array[index]``."""
stream = _writer(around=True)
"""The same for a whole line, past the caches: it is not read from memory first. Call :func:`finish` in the end."""


@_intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def fetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Ask for the line of ``array[index]`` before it is needed; beyond the end of an array this does nothing."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = address_of(context, builder, array, args[0], args[1], ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [address.type, _I32, _I32, _I32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(function, [address, *(ir.Constant(_I32, value) for value in (0, 3, 1))])  # read, all caches, data
        return context.get_dummy_value()

    return types.void(array, types.int64), build


@_intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def finish(typing_context: Any) -> Any:
    """Let other threads see what :func:`stream` wrote."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), build


def _operation(write: Callable[..., Any], count: int) -> Any:
    """Make an operation on ``count`` vectors of one kind from what writes it with a builder."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return write(builder, signature.return_type, *args)

    def one(typing_context: Any, a: Any) -> Any:
        return a(a), build

    def three(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
        return a(a, a, a), build

    return _intrinsic({1: one, 3: three}[count])


def _fused(builder: Any, vector: Any, a: Any, b: Any, c: Any) -> Any:
    name = f"llvm.fmuladd.v{vector.lanes}f{32 if vector.kind == ir.FloatType() else 64}"
    function = builder.module.declare_intrinsic(name, (), ir.FunctionType(vector.llvm, [vector.llvm] * 3))
    return builder.call(function, [a, b, c])


def _shuffle(choose: Callable[[int], int]) -> Any:
    def write(builder: Any, vector: Any, a: Any) -> Any:
        mask = ir.Constant(ir.VectorType(_I32, vector.lanes), [choose(i) for i in range(vector.lanes)])
        return builder.shuffle_vector(a, ir.Constant(vector.llvm, ir.Undefined), mask)

    return _operation(write, 1)


def _conjugate(builder: Any, vector: Any, a: Any) -> Any:
    kind = ir.VectorType(ir.IntType(32 if vector.kind == ir.FloatType() else 64), vector.lanes)
    sign = 1 << (kind.element.width - 1)
    signs = ir.Constant(kind, [sign * (i % 2) for i in range(vector.lanes)])
    return builder.bitcast(builder.xor(builder.bitcast(a, kind), signs), vector.llvm)


multiply_add = _operation(_fused, 3)
"""``a * b + c``, rounded once where the processor can do that as fast: what torch's ``addcmul`` does too."""

# Of pairs (real, imaginary), one after the other.
reals = _shuffle(lambda i: i - i % 2)
"""The real part in both places."""
imaginaries = _shuffle(lambda i: i - i % 2 + 1)
"""The imaginary part in both places."""
swapped = _shuffle(lambda i: i + 1 - 2 * (i % 2))
"""Both parts in each other's place."""
conjugate = _operation(_conjugate, 1)
"""The imaginary part with the other sign."""


@_literal  # type: ignore[untyped-decorator,unused-ignore]
def filled(typing_context: Any, array: Any, value: Any, lanes: Any) -> Any:
    """Return a number of the array's kind in all lanes."""
    vector = _vector(array, lanes)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return splat(builder, args[1], vector)

    return vector(array, array.dtype, lanes), build


@_literal  # type: ignore[untyped-decorator,unused-ignore]
def spread(typing_context: Any, vector: Any, lane: Any, lanes: Any) -> Any:
    """Return what is in one lane in all lanes of a new vector."""
    wide = Vector(vector.kind, lanes.literal_value)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        mask = ir.Constant(ir.VectorType(_I32, wide.lanes), [lane.literal_value] * wide.lanes)
        return builder.shuffle_vector(args[0], ir.Constant(vector.llvm, ir.Undefined), mask)

    return wide(vector, lane, lanes), build


@_intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def totals(typing_context: Any, vectors: Any) -> Any:
    """Return the sums of the lanes of a tuple of vectors, in the first lanes of one.

    The halves of a vector are added to each other, then their halves, so that the order is fixed.
    """
    vector, count = vectors.dtype, vectors.count

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes, undefined = vector.lanes, ir.Constant(vector.llvm, ir.Undefined)
        rows = [builder.extract_value(args[0], i) for i in range(count)] + [undefined] * (lanes - count)
        group = lanes
        while group > 1:
            half = group // 2
            places = [group * (i // half) + i % half for i in range(lanes)]  # the first halves of all groups of two
            masks = [ir.Constant(ir.VectorType(_I32, lanes), [place + more for place in places]) for more in (0, half)]
            pairs = zip(rows[::2], rows[1::2], strict=True)
            rows = [
                undefined if x is undefined else builder.fadd(*(builder.shuffle_vector(x, y, mask) for mask in masks))
                for x, y in pairs
            ]
            group = half
        return rows[0]

    return vector(vectors), build
