"""Vectors of the processor as values of compiled code: LLVM lowers them to what it finds, AVX2, AVX-512 or less.

numba's own vectoriser does not keep a dozen vectors in registers through a loop over lists of rows, nor does it turn
64 comparisons into one word. Everything here trusts its indices.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

_I64 = ir.IntType(64)


class Vector(types.Type):
    """Some numbers of one kind in registers."""

    def __init__(self, kind: Any, lanes: int) -> None:
        self.kind, self.lanes = kind, lanes
        super().__init__(name=f"vector_{lanes}_of_{kind}")

    @property
    def llvm(self) -> Any:
        """As LLVM writes it."""
        return ir.VectorType(self.kind, self.lanes)

    def constant(self, value: int | float) -> Any:
        """Return the same number in every lane."""
        return ir.Constant(self.llvm, [value] * self.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.llvm)  # type: ignore[no-untyped-call]


WORDS = Vector(_I64, 4)
"""256 bits."""
HALVES = Vector(ir.IntType(16), 32)
FLOATS = Vector(ir.FloatType(), 32)


def _at(context: Any, builder: Any, array_type: Any, array: Any, index: Any, kind: Any) -> Any:
    """Return the address of ``array[index]``, counted in items of a contiguous array, as one of ``kind``."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index], inbounds=True), kind.as_pointer())


def _splat(builder: Any, value: Any, vector: Vector) -> Any:
    empty = ir.Constant(vector.llvm, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), None))


def _load(vector: Vector) -> Any:
    def load(typing_context: Any, array: Any, index: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(_at(context, builder, signature.args[0], args[0], args[1], vector.llvm), align=1)

        return vector(array, types.int64), build

    return intrinsic(load)


def _store(vector: Vector) -> Any:
    def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[2], _at(context, builder, signature.args[0], args[0], args[1], vector.llvm), align=1)
            return context.get_dummy_value()

        return types.void(array, types.int64, vector), build

    return intrinsic(store)


def _of_two(vector: Vector, make: Callable[[Any, Any, Any], Any]) -> Any:
    def of_two(typing_context: Any, a: Any, b: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return make(builder, *args)

        return vector(vector, vector), build

    return intrinsic(of_two)


def _of_three(vector: Vector, make: Callable[[Any, Any, Any, Any], Any]) -> Any:
    def of_three(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return make(builder, *args)

        return vector(vector, vector, vector), build

    return intrinsic(of_three)


def _zero(vector: Vector) -> Any:
    def zero(typing_context: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return ir.Constant(vector.llvm, None)

        return vector(), build

    return intrinsic(zero)


load_words, store_words, no_words = _load(WORDS), _store(WORDS), _zero(WORDS)
both = _of_two(WORDS, lambda b, x, y: b.and_(x, y))
either = _of_two(WORDS, lambda b, x, y: b.xor(x, y))
odd = _of_three(WORDS, lambda b, x, y, z: b.xor(b.xor(x, y), z))
"""Sum bit of three bits."""
most = _of_three(WORDS, lambda b, x, y, z: b.or_(b.and_(x, y), b.and_(z, b.xor(x, y))))
"""Carry bit of three bits."""

load_floats, store_floats, no_floats = _load(FLOATS), _store(FLOATS), _zero(FLOATS)
add_floats = _of_two(FLOATS, lambda b, x, y: b.fadd(x, y))
subtract_floats = _of_two(FLOATS, lambda b, x, y: b.fsub(x, y))


def _compare(make: Callable[[Any, Any, Callable[[float], Any]], Any]) -> Any:
    """Answer a question about 64 numbers of an array with the bits of a word."""

    def compare(typing_context: Any, array: Any, index: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = Vector(context.get_value_type(signature.args[0].dtype), 64)
            values = builder.load(_at(context, builder, signature.args[0], args[0], args[1], vector.llvm), align=1)
            return builder.bitcast(make(builder, values, vector.constant), _I64)

        return types.uint64(array, types.int64), build

    return intrinsic(compare)


ones_of = _compare(lambda b, x, value: b.fcmp_ordered("==", x, value(1.0)))
above_zero = _compare(lambda b, x, value: b.fcmp_ordered(">", x, value(0.0)))
not_below_zero = _compare(lambda b, x, value: b.fcmp_ordered(">=", x, value(0.0)))
other_than_0_and_1 = _compare(  # NaN is other
    lambda b, x, value: b.and_(b.fcmp_unordered("!=", x, value(0.0)), b.fcmp_unordered("!=", x, value(1.0)))
)


def _start(typing_context: Any, value: Any) -> Any:
    """Return the same int16 in all lanes."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, builder.trunc(args[0], HALVES.kind), HALVES)

    return HALVES(types.int64), build


def _add_plane(typing_context: Any, word: Any, plane: Any, total: Any) -> Any:
    """Add ``2**plane`` in every lane whose bit is set."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        set_bits = builder.bitcast(args[0], ir.VectorType(ir.IntType(1), HALVES.lanes))
        amount = builder.shl(ir.Constant(HALVES.kind, 1), builder.trunc(args[1], HALVES.kind))
        chosen = builder.select(set_bits, _splat(builder, amount, HALVES), HALVES.constant(0))
        return builder.add(args[2], chosen)

    return HALVES(types.uint32, types.int64, HALVES), build


def _as_floats(typing_context: Any, value: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sitofp(args[0], FLOATS.llvm)

    return FLOATS(HALVES), build


start: Any = intrinsic(_start)
add_plane: Any = intrinsic(_add_plane)
as_floats: Any = intrinsic(_as_floats)


def _lowest_bit(typing_context: Any, word: Any) -> Any:
    """Return the place of the lowest set bit of a word that is not zero."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_I64, [_I64, ir.IntType(1)])
        function = builder.module.declare_intrinsic("llvm.cttz.i64", (), kind)
        return builder.call(function, [args[0], ir.Constant(ir.IntType(1), 1)])

    return types.int64(types.uint64), build


def _set_bits(typing_context: Any, word: Any) -> Any:
    """Return how many bits of a word are set."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_I64, [_I64])
        return builder.call(builder.module.declare_intrinsic("llvm.ctpop.i64", (), kind), args)

    return types.int64(types.uint64), build


lowest_bit: Any = intrinsic(_lowest_bit)
set_bits: Any = intrinsic(_set_bits)
