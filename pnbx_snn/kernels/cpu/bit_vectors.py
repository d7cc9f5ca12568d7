"""Vectors of bits, which count: comparisons as words, full adders, and counters that become numbers.

numba's own vectoriser does not turn 64 comparisons into one word. Everything here trusts its indices.
"""

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pnbx_snn.kernels.cpu.vectors import Vector, address_of, splat

_I64 = ir.IntType(64)
_intrinsic: Callable[[Any], Any] = intrinsic  # numba's own types do not know what it makes

WORDS = Vector(_I64, 4)
"""256 bits."""
HALVES = Vector(ir.IntType(16), 32)
FLOATS = Vector(ir.FloatType(), 32)


def _operation(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make an operation of compiled code, of these types, from what writes its instructions with a builder."""

    def decorate(write: Callable[..., Any]) -> Any:
        def typed(typing_context: Any, *given: Any) -> Any:
            def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return write(builder, *args)

            return result(*arguments), build

        names = ["typing_context", *(f"argument_{i}" for i in range(len(arguments)))]  # numba wants each by name
        parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return _intrinsic(typed)

    return decorate


def _load(vector: Vector) -> Any:
    def load(typing_context: Any, array: Any, index: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(address_of(context, builder, signature.args[0], args[0], args[1], vector.llvm), align=1)

        return vector(array, types.int64), build

    return _intrinsic(load)


def _store(vector: Vector) -> Any:
    def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(
                args[2], address_of(context, builder, signature.args[0], args[0], args[1], vector.llvm), align=1
            )
            return context.get_dummy_value()

        return types.void(array, types.int64, vector), build

    return _intrinsic(store)


_two_words, _three_words = (_operation(WORDS, *[WORDS] * n) for n in (2, 3))
_two_floats = _operation(FLOATS, FLOATS, FLOATS)

load_words, store_words = _load(WORDS), _store(WORDS)
no_words = _operation(WORDS)(lambda b: ir.Constant(WORDS.llvm, None))
both = _two_words(lambda b, x, y: b.and_(x, y))
either = _two_words(lambda b, x, y: b.xor(x, y))
odd = _three_words(lambda b, x, y, z: b.xor(b.xor(x, y), z))
"""Sum bit of three bits."""
most = _three_words(lambda b, x, y, z: b.or_(b.and_(x, y), b.and_(z, b.xor(x, y))))
"""Carry bit of three bits."""

load_floats, store_floats = _load(FLOATS), _store(FLOATS)
no_floats = _operation(FLOATS)(lambda b: ir.Constant(FLOATS.llvm, None))
add_floats = _two_floats(lambda b, x, y: b.fadd(x, y))
subtract_floats = _two_floats(lambda b, x, y: b.fsub(x, y))


def _compare(make: Callable[[Any, Any, Callable[[float], Any]], Any]) -> Any:
    """Answer a question about 64 numbers of an array with the bits of a word."""

    def compare(typing_context: Any, array: Any, index: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = Vector(context.get_value_type(signature.args[0].dtype), 64)
            values = builder.load(
                address_of(context, builder, signature.args[0], args[0], args[1], vector.llvm), align=1
            )
            return builder.bitcast(make(builder, values, vector.constant), _I64)

        return types.uint64(array, types.int64), build

    return _intrinsic(compare)


ones_of = _compare(lambda b, x, value: b.fcmp_ordered("==", x, value(1.0)))
above_zero = _compare(lambda b, x, value: b.fcmp_ordered(">", x, value(0.0)))
not_below_zero = _compare(lambda b, x, value: b.fcmp_ordered(">=", x, value(0.0)))
other_than_0_and_1 = _compare(  # NaN is other
    lambda b, x, value: b.and_(b.fcmp_unordered("!=", x, value(0.0)), b.fcmp_unordered("!=", x, value(1.0)))
)


@_operation(HALVES, types.int64)
def start(builder: Any, value: Any) -> Any:
    """Return the same int16 in all lanes."""
    return splat(builder, builder.trunc(value, HALVES.kind), HALVES)


@_operation(HALVES, types.uint32, types.int64, HALVES)
def add_plane(builder: Any, word: Any, plane: Any, total: Any) -> Any:
    """Add ``2**plane`` in every lane whose bit is set."""
    set_bits = builder.bitcast(word, ir.VectorType(ir.IntType(1), HALVES.lanes))
    amount = builder.shl(ir.Constant(HALVES.kind, 1), builder.trunc(plane, HALVES.kind))
    return builder.add(total, builder.select(set_bits, splat(builder, amount, HALVES), HALVES.constant(0)))


as_floats = _operation(FLOATS, HALVES)(lambda b, value: b.sitofp(value, FLOATS.llvm))


@_operation(types.int64, types.uint64)
def lowest_bit(builder: Any, word: Any) -> Any:
    """Return the place of the lowest set bit of a word that is not zero."""
    kind = ir.FunctionType(_I64, [_I64, ir.IntType(1)])
    function = builder.module.declare_intrinsic("llvm.cttz.i64", (), kind)
    return builder.call(function, [word, ir.Constant(ir.IntType(1), 1)])


@_operation(types.int64, types.uint64)
def set_bits(builder: Any, word: Any) -> Any:
    """Return how many bits of a word are set."""
    kind = ir.FunctionType(_I64, [_I64])
    return builder.call(builder.module.declare_intrinsic("llvm.ctpop.i64", (), kind), [word])
