"""Vectors of the processor as values of compiled code, and memory without bounds or aliasing in the way.

numba knows numbers and arrays; LLVM knows ``<8 x i32>``. A :class:`Vector` is one as a numba type, with the operators
one expects. LLVM lowers it to what the processor has, so one source serves AVX2, AVX-512 and the rest; where an
instruction has no portable name, the plain form stands beside it. Everything here trusts its indices: the tables that
:mod:`neuromorphic.executors.native.layout` makes are the only thing that may call it.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numba.core.cgutils
import numba.core.types
from llvmlite import ir
from numba.core import extending
from numba.core.typing import templates

from neuromorphic.executors.native.processor import HAS_AVX512, LANES

# What numba says of the types of its own tools changes from version to version.
cgutils: Any = numba.core.cgutils
types: Any = numba.core.types
signature: Any = templates.signature
intrinsic: Callable[[Any], Any] = extending.intrinsic
register_model: Any = extending.register_model
infer_global: Any = templates.infer_global
lower_builtin: Callable[..., Callable[[Any], Any]] = extending.lower_builtin


class Vector(numba.core.types.Type):
    """A fixed number of integers in one register (or two)."""

    def __init__(self, bits: int, lanes: int) -> None:
        self.bits, self.lanes = bits, lanes
        super().__init__(name=f"vector_{lanes}_of_i{bits}")

    @property
    def key(self) -> tuple[int, int]:
        """What makes two of them equal."""
        return self.bits, self.lanes

    @property
    def llvm(self) -> ir.VectorType:
        """As LLVM writes it."""
        return ir.VectorType(ir.IntType(self.bits), self.lanes)

    def constant(self, value: int) -> ir.Constant:
        """Return the same number in every lane."""
        return ir.Constant(self.llvm, [value] * self.lanes)


@register_model(Vector)
class _VectorModel(extending.models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.llvm)  # type: ignore[no-untyped-call,unused-ignore]


WORDS, INTS, BYTES, HALVES = Vector(64, LANES), Vector(32, 8), Vector(8, 32), Vector(16, 16)
MANY = Vector(32, 16 if HAS_AVX512 else 8)
"""As many integers as the widest register holds; :data:`INTS` are eight everywhere."""
I64, I32 = ir.IntType(64), ir.IntType(32)


def _operator(function: Any, method: str) -> None:
    """Let an operator take two vectors of one kind."""

    @infer_global(function)
    class _Template(templates.AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1] and not kws:
                return signature(args[0], *args)
            return None

    @lower_builtin(function, Vector, Vector)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, method)(*args)


for _name in ("add", "sub", "mul", "and_", "or_", "xor"):
    _operator(getattr(operator, _name), _name)


def emitted(result: Any, *kinds: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a function ``write(builder, *values)``, which writes instructions, one of compiled code, of these types."""

    def make(write: Callable[..., Any]) -> Any:
        def typed(*_: Any) -> Any:
            def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                written = write(builder, *args)
                return context.get_dummy_value() if result is types.void else written

            return result(*kinds), build

        typed.__name__, typed.__doc__ = write.__name__, write.__doc__
        typed.__signature__ = inspect.signature(write)  # type: ignore[attr-defined]  # numba drops the first
        return intrinsic(typed)

    return make


def alike(write: Callable[..., Any]) -> Any:
    """Make a function ``write(builder, x, *values)`` one of compiled code: all vectors are of x's kind."""

    def typed(_: Any, first: Any, *more: Any) -> Any:
        kinds = [first if isinstance(kind, Vector) else types.int64 for kind in more]
        return first(first, *kinds), lambda context, builder, sig, args: write(builder, *args)

    typed.__name__, typed.__doc__ = write.__name__, write.__doc__
    typed.__signature__ = inspect.signature(write)  # type: ignore[attr-defined]  # numba drops the first
    return intrinsic(typed)


def kind_of(x: Any) -> Vector:
    """Return the kind of a vector."""
    return Vector(x.type.element.width, x.type.count)


def item_at(builder: Any, address: Any, index: Any, item_bytes: int, kind: Any) -> Any:
    """Return the place ``index``, counted in items, after an address, as a pointer to one of ``kind``."""
    first = builder.inttoptr(address, ir.IntType(8).as_pointer())
    return builder.bitcast(builder.gep(first, [builder.mul(index, ir.Constant(I64, item_bytes))]), kind.as_pointer())


def splat(builder: Any, value: Any, kind: Vector) -> Any:
    """Return a number in every lane."""
    item = value if value.type.width == kind.bits else builder.trunc(value, ir.IntType(kind.bits))
    empty = ir.Constant(kind.llvm, ir.Undefined)
    first = builder.insert_element(empty, item, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(I32, kind.lanes), [0] * kind.lanes))


def _make_splat(kind: Vector) -> Any:
    return emitted(kind, types.int64)(lambda b, value: splat(b, value, kind))


def _make_load(kind: Vector, item_bytes: int) -> Any:
    @emitted(kind, types.int64, types.int64)
    def load(builder: Any, address: Any, index: Any) -> Any:
        return builder.load(item_at(builder, address, index, item_bytes, kind.llvm), align=1)

    return load


def _make_store(kind: Vector, item_bytes: int) -> Any:
    @emitted(types.void, types.int64, types.int64, kind)
    def store(builder: Any, address: Any, index: Any, value: Any) -> None:
        builder.store(value, item_at(builder, address, index, item_bytes, kind.llvm), align=1)

    return store


splat_words, splat_ints, splat_bytes = (_make_splat(kind) for kind in (WORDS, INTS, BYTES))
load_words, store_words = _make_load(WORDS, 8), _make_store(WORDS, 8)
load_ints, store_ints = _make_load(INTS, 4), _make_store(INTS, 4)
splat_many, load_many, store_many = _make_splat(MANY), _make_load(MANY, 4), _make_store(MANY, 4)
load_bytes = _make_load(BYTES, 8)
"""A place is counted in the items of the array: integers of 4 bytes, and words of 8 wherever weights are packed."""


def _make_get(result: Any) -> Any:
    bits = result.bitwidth

    @emitted(result if bits == 64 else types.int64, types.int64, types.int64)
    def get(builder: Any, address: Any, index: Any) -> Any:
        value = builder.load(item_at(builder, address, index, bits // 8, ir.IntType(bits)), align=1)
        return value if bits == 64 else (builder.sext if result.signed else builder.zext)(value, I64)

    return get


def _make_put(bits: int, kind: Any = types.int64) -> Any:
    @emitted(types.void, types.int64, types.int64, kind)
    def put(builder: Any, address: Any, index: Any, value: Any) -> None:
        item = ir.IntType(bits)
        value = value if bits == 64 else builder.trunc(value, item)
        builder.store(value, item_at(builder, address, index, bits // 8, item), align=1)

    return put


get_word, get_long, get_int = (_make_get(kind) for kind in (types.uint64, types.int64, types.int32))
get_half_word, get_half, get_byte, get_signed_byte = (
    _make_get(kind) for kind in (types.uint32, types.uint16, types.uint8, types.int8)
)
"""``get_int(address, i)``: item ``i`` after an address, as a number of 64 bits; so for other widths."""
put_word, put_long = _make_put(64, types.uint64), _make_put(64)
put_int, put_half, put_byte = _make_put(32), _make_put(16), _make_put(8)


@emitted(types.int64, *[types.int64] * 7)
def call_at(  # one name each, since numba goes by them
    builder: Any, address: Any, row: Any, head: Any, first: Any, last: Any, now: Any, marks: Any
) -> Any:
    """Call the function of six numbers that stands at an address."""
    kind = ir.FunctionType(I64, [I64] * 6)
    return builder.call(builder.inttoptr(address, kind.as_pointer()), (row, head, first, last, now, marks))


def _make_shift(name: str) -> Any:
    return alike(lambda builder, x, bits: getattr(builder, name)(x, splat(builder, bits, kind_of(x))))


shift_left, shift_right, shift_right_signed = _make_shift("shl"), _make_shift("lshr"), _make_shift("ashr")


@alike
def greater(builder: Any, x: Any, y: Any) -> Any:
    """Return all ones where ``x > y``, signed, and zero elsewhere."""
    return builder.sext(builder.icmp_signed(">", x, y), x.type)


@alike
def larger(builder: Any, x: Any, y: Any) -> Any:
    """Return the larger one in every lane."""
    return builder.select(builder.icmp_signed(">", x, y), x, y)


@alike
def smaller(builder: Any, x: Any, y: Any) -> Any:
    """Return the smaller one in every lane."""
    return builder.select(builder.icmp_signed("<", x, y), x, y)


def _make_signs(kind: Vector) -> Any:
    @emitted(types.uint64, kind)
    def signs(builder: Any, x: Any) -> Any:
        negative = builder.icmp_signed("<", x, kind.constant(0))
        return builder.zext(builder.bitcast(negative, ir.IntType(kind.lanes)), I64)

    return signs


def _make_masks(kind: Vector) -> Any:
    @emitted(kind, types.int64)
    def masks(builder: Any, bits: Any) -> Any:
        low = builder.trunc(bits, ir.IntType(kind.lanes))
        return builder.sext(builder.bitcast(low, ir.VectorType(ir.IntType(1), kind.lanes)), kind.llvm)

    return masks


signs_as_bits, signs_of_many = _make_signs(INTS), _make_signs(MANY)
"""The sign of lane ``i`` as bit ``i`` of a word."""
bits_as_masks, masks_of_many = _make_masks(INTS), _make_masks(MANY)
"""All ones in the lanes whose bit is set."""


def _make_bit_count(name: str, *flags: Any) -> Any:
    @emitted(types.int64, types.uint64)
    def count(builder: Any, x: Any) -> Any:
        kind = ir.FunctionType(I64, [I64, *(flag.type for flag in flags)])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.i64"), [x, *flags])

    return count


count_ones, lowest_one = _make_bit_count("ctpop"), _make_bit_count("cttz", ir.Constant(ir.IntType(1), 1))


def _make_choice(comparison: str) -> Any:
    @emitted(types.int64, types.int64, types.int64)
    def choose(builder: Any, x: Any, y: Any) -> Any:
        return builder.select(builder.icmp_signed(comparison, x, y), x, y)

    return choose


min_of, max_of = _make_choice("<"), _make_choice(">")
"""The smaller and the larger of two numbers: numba's own ``min`` and ``max`` take it longer to compile."""


def _clip(builder: Any, x: Any, low: Any, high: Any) -> Any:
    x = builder.select(builder.icmp_signed("<", x, high), x, high)
    return builder.select(builder.icmp_signed(">", x, low), x, low)


@alike
def clip(builder: Any, x: Any, limit: Any) -> Any:
    """Clip integers to ``-limit .. limit``."""
    high = splat(builder, limit, kind_of(x))
    return _clip(builder, x, builder.neg(high), high)


@emitted(types.int64, types.int64, types.int64)
def between(builder: Any, x: Any, limit: Any) -> Any:
    """Clip a number of 64 bits to ``-limit .. limit``."""
    return _clip(builder, x, builder.neg(limit), limit)


def _magnitude(builder: Any, x: Any, top: Any) -> tuple[Any, Any]:
    """Return the magnitude of a number and all ones where it is negative."""
    sign = builder.ashr(x, top)
    return builder.sub(builder.xor(x, sign), sign), sign


def _make_weighed(signed: bool) -> Any:
    @alike
    def weighed(builder: Any, x: Any, gain: Any, more: Any) -> Any:
        kind = kind_of(x)
        bits, top = kind.constant(12), kind.constant(31)
        size, sign = _magnitude(builder, x, top)
        if signed:
            gain, gain_sign = _magnitude(builder, gain, top)
            sign = builder.xor(sign, gain_sign)
        low = builder.mul(builder.and_(size, kind.constant(4095)), gain)
        whole = builder.add(builder.mul(builder.lshr(size, bits), gain), builder.lshr(low, bits))
        return builder.sub(builder.xor(builder.lshr(whole, splat(builder, more, kind)), sign), sign)

    return weighed


weighed, faded = _make_weighed(signed=True), _make_weighed(signed=False)
"""``tz(x * factor, 12 + more)`` in 32 bits, for factors in -4096..4096, or 0..4096.

``|x| * f >> 12`` is ``(|x| >> 12) * f + ((|x| & 4095) * f >> 12)``, which never leaves 32 bits.
"""


@emitted(types.int64, types.int64, types.int64)
def toward_zero(builder: Any, x: Any, bits: Any) -> Any:
    """Divide a number of 64 bits by ``2**bits``, rounding toward zero."""
    size, sign = _magnitude(builder, x, ir.Constant(I64, 63))
    return builder.sub(builder.xor(builder.lshr(size, bits), sign), sign)
