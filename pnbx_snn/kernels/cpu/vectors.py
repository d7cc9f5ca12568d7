"""Vectors of the processor as values of compiled code: LLVM lowers them to what it finds, AVX2, AVX-512 or less.

numba's own vectoriser does not keep a dozen vectors in registers through a loop. What counts bits is in
``bit_vectors``, what scans and fast weights need besides in ``lanes``. Everything here trusts its indices.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, Signature, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

from pnbx_snn.kernels.cpu.compiled import inlined

_I64 = ir.IntType(64)
_intrinsic: Callable[[Any], Any] = intrinsic  # numba's own types do not know what it makes
_intrinsic_of_literals: Callable[[Any], Any] = intrinsic(prefer_literal=True)  # type: ignore[no-untyped-call,unused-ignore]


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


def address_of(context: Any, builder: Any, array_type: Any, array: Any, index: Any, kind: Any) -> Any:
    """Return the address of ``array[index]``, counted in items of a contiguous array, as one of ``kind``."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index], inbounds=True), kind.as_pointer())


def splat(builder: Any, value: Any, vector: Vector) -> Any:
    """Return the same value in all lanes."""
    empty = ir.Constant(vector.llvm, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), None))


@inlined
def aligned_zeros(size, like):  # type: ignore[no-untyped-def]
    """Return zeros that begin with a line of the cache: else every vector of a whole line would lie in two."""
    memory = np.zeros(size + 16, like.dtype)
    first = -memory.ctypes.data % 64 // memory.itemsize
    return memory[first : first + size]


# Vectors of floating-point numbers as wide as the largest register, and of one lane: with them the same code runs over
# whole vectors and over what is left. They add, subtract, multiply, divide and compare as numbers do.

_REGISTER = 512
_REAL = {32: ir.FloatType(), 64: ir.DoubleType()}


def _reals(wide: Any, item: Any) -> Vector:
    return Vector(_REAL[item.bitwidth], _REGISTER * wide.literal_value // item.bitwidth or 1)


_signature: Any = Signature


def _bits(vector: Vector) -> int:
    return next(bits for bits, real in _REAL.items() if real == vector.kind)


class _OfTwo(AbstractTemplate):
    """The type of an operation on two vectors."""

    def generic(self, args: Any, kws: Any) -> Any:
        """Return it, nothing for other arguments."""
        if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
            return _signature(self.answer(args[0]), args, None)
        return None

    def answer(self, vector: Vector) -> Vector:
        """Return the type of the result."""
        return vector


class _Comparison(_OfTwo):
    def answer(self, vector: Vector) -> Vector:
        """Return bits."""
        return Vector(ir.IntType(1), vector.lanes)


class _Negation(AbstractTemplate):
    """The type of the negative of a vector."""

    def generic(self, args: Any, kws: Any) -> Any:
        """Return it, nothing for other arguments."""
        if len(args) == 1 and isinstance(args[0], Vector):
            return _signature(args[0], args, None)
        return None


def _operator(name: Any, template: Any, write: Callable[..., Any]) -> None:
    infer_global(name)(type(f"_{name.__name__}", (template,), {}))  # type: ignore[no-untyped-call]
    operands = [Vector] * (1 if template is _Negation else 2)
    lower_builtin(name, *operands)(lambda context, builder, signature, args: write(builder, *args))  # type: ignore[no-untyped-call]


_operator(operator.add, _OfTwo, lambda b, x, y: b.fadd(x, y))
_operator(operator.sub, _OfTwo, lambda b, x, y: b.fsub(x, y))
_operator(operator.mul, _OfTwo, lambda b, x, y: b.fmul(x, y))
_operator(operator.truediv, _OfTwo, lambda b, x, y: b.fdiv(x, y))
_operator(operator.neg, _Negation, lambda b, x: b.fneg(x))
_operator(operator.gt, _Comparison, lambda b, x, y: b.fcmp_ordered(">", x, y))
_operator(operator.ge, _Comparison, lambda b, x, y: b.fcmp_ordered(">=", x, y))


@_intrinsic_of_literals
def lanes_of(typing_context: Any, wide: Any, array: Any) -> Any:
    """Return how many numbers of an array are in a vector of ``wide`` registers of 64 bytes."""
    lanes = ir.Constant(_I64, _reals(wide, array.dtype).lanes)
    return types.int64(wide, array), lambda context, builder, signature, args: lanes


@_intrinsic_of_literals
def load(typing_context: Any, wide: Any, array: Any, index: Any) -> Any:
    """Return the numbers of an array from an index on: ``wide`` registers of 64 bytes, one number for 0."""
    vector = _reals(wide, array.dtype)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = address_of(context, builder, signature.args[1], args[1], args[2], vector.llvm)
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return vector(wide, array, types.int64), build


@_intrinsic
def store(typing_context: Any, array: Any, index: Any, value: Any, past: Any) -> Any:
    """Write a vector to an array from an index on; if ``past``, past the caches, and the place is then aligned."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = address_of(context, builder, signature.args[0], args[0], args[1], value.llvm)
        item = array.dtype.bitwidth // 8
        if value.lanes == 1:
            builder.store(args[2], place, align=item)
            return context.get_dummy_value()
        with builder.if_else(builder.trunc(args[3], ir.IntType(1))) as (then, otherwise):
            with then:
                flag = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
                builder.store(args[2], place, align=_REGISTER // 8).set_metadata("nontemporal", flag)
            with otherwise:
                builder.store(args[2], place, align=item)
        return context.get_dummy_value()

    return types.void(array, types.int64, value, types.int64), build


@_intrinsic_of_literals
def fill(typing_context: Any, wide: Any, value: Any) -> Any:
    """Return a number in every lane."""
    vector = _reals(wide, value)
    return vector(wide, value), lambda context, builder, signature, args: splat(builder, args[1], vector)


@_intrinsic
def where(typing_context: Any, condition: Any, yes: Any, no: Any) -> Any:
    """Choose in each lane."""
    return yes(condition, yes, yes), lambda context, builder, signature, args: builder.select(*args)


@_intrinsic
def magnitude(typing_context: Any, value: Any) -> Any:
    """Return numbers without their signs."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name = f"llvm.fabs.v{value.lanes}f{_bits(value)}"
        kind = ir.FunctionType(value.llvm, [value.llvm])
        return builder.call(builder.module.declare_intrinsic(name, (), kind), args)

    return value(value), build


@_intrinsic
def multiply_add(typing_context: Any, x: Any, y: Any, z: Any) -> Any:
    """Return ``x * y + z``, rounded once."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(x.llvm, [x.llvm] * 3)
        name = f"llvm.fma.v{x.lanes}f{_bits(x)}"
        return builder.call(builder.module.declare_intrinsic(name, (), kind), args)

    return x(x, x, x), build


@_intrinsic
def exponential(typing_context: Any, value: Any) -> Any:
    """Return e to the power of each number, as :func:`math.exp` has it."""
    item = types.Float(f"float{_bits(value)}")

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        exp = context.get_function(math.exp, item(item))
        found = args[0]
        for lane in (ir.Constant(ir.IntType(32), i) for i in range(value.lanes)):
            found = builder.insert_element(found, exp(builder, [builder.extract_element(args[0], lane)]), lane)
        return found

    return value(value), build
