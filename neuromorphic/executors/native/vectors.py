"""Vectors of the processor as values of compiled code, and memory without bounds or aliasing in the way.

numba knows numbers and arrays; LLVM knows ``<8 x i32>``. A :class:`Vector` is one as a numba type, with the operators
one expects. LLVM lowers it to what the processor has, so one source serves AVX2, AVX-512 and the rest; where an
instruction has no portable name, the plain form stands beside it. Everything here trusts its indices: the tables that
:mod:`neuromorphic.executors.native.layout` makes are the only thing that may call it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numba.core.cgutils
import numba.core.types
from llvmlite import ir
from numba.core import extending
from numba.core.registry import cpu_target
from numba.core.typing import templates

# What numba says of the types of its own tools changes from version to version.
cgutils: Any = numba.core.cgutils
types: Any = numba.core.types
signature: Any = templates.signature
intrinsic: Callable[[Any], Any] = extending.intrinsic
register_model: Any = extending.register_model
infer_global: Any = templates.infer_global
lower_builtin: Callable[..., Callable[[Any], Any]] = extending.lower_builtin
_TARGET: Any = cpu_target
_FEATURES = frozenset(_TARGET.target_context.codegen().magic_tuple()[2].split(","))
HAS_AVX2 = "+avx2" in _FEATURES
HAS_VNNI = {"+avx512vl", "+avx512vnni"} <= _FEATURES
LANES = 8 if "+avx512f" in _FEATURES else 4
"""64-bit words of a :data:`WORDS`: what one register holds."""


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


WORDS = Vector(64, LANES)
INTS = Vector(32, 8)
BYTES = Vector(8, 32)
HALVES = Vector(16, 16)
_I64, _I32 = ir.IntType(64), ir.IntType(32)


def _operator(function: Any, build: Callable[[Any, Any, Any], Any]) -> None:
    """Let an operator take two vectors of one kind."""

    @infer_global(function)
    class _Template(templates.AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1] and not kws:
                return signature(args[0], *args)
            return None

    @lower_builtin(function, Vector, Vector)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return build(builder, *args)


_operator(operator.add, lambda b, x, y: b.add(x, y))
_operator(operator.sub, lambda b, x, y: b.sub(x, y))
_operator(operator.mul, lambda b, x, y: b.mul(x, y))
_operator(operator.and_, lambda b, x, y: b.and_(x, y))
_operator(operator.or_, lambda b, x, y: b.or_(x, y))
_operator(operator.xor, lambda b, x, y: b.xor(x, y))


def _at(builder: Any, address: Any, index: Any, item_bytes: int, kind: Any) -> Any:
    """Return the place ``index``, counted in items, after an address, as a pointer to one of ``kind``."""
    first = builder.inttoptr(address, ir.IntType(8).as_pointer())
    return builder.bitcast(builder.gep(first, [builder.mul(index, ir.Constant(_I64, item_bytes))]), kind.as_pointer())


def _splat(builder: Any, value: Any, kind: Vector) -> Any:
    item = value if value.type.width == kind.bits else builder.trunc(value, ir.IntType(kind.bits))
    empty = ir.Constant(kind.llvm, ir.Undefined)
    first = builder.insert_element(empty, item, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(_I32, kind.lanes), [0] * kind.lanes))


def _make_load(kind: Vector, item_bytes: int) -> Any:
    @intrinsic
    def load(typing: Any, address: Any, index: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.load(_at(builder, args[0], args[1], item_bytes, kind.llvm), align=1)

        return kind(types.int64, types.int64), build

    return load


def _make_store(kind: Vector, item_bytes: int) -> Any:
    @intrinsic
    def store(typing: Any, address: Any, index: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            builder.store(args[2], _at(builder, args[0], args[1], item_bytes, kind.llvm), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, kind), build

    return store


def _make_splat(kind: Vector) -> Any:
    @intrinsic
    def splat(typing: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _splat(builder, args[0], kind)

        return kind(types.int64), build

    return splat


splat_words, splat_ints, splat_bytes = (_make_splat(kind) for kind in (WORDS, INTS, BYTES))
load_words, store_words = _make_load(WORDS, 8), _make_store(WORDS, 8)
load_ints, store_ints = _make_load(INTS, 4), _make_store(INTS, 4)
load_bytes = _make_load(BYTES, 8)
"""A place is counted in the items of the array: integers of 4 bytes, and words of 8 wherever weights are packed."""


def _make_get(bits: int, result: Any) -> Any:
    @intrinsic
    def get(typing: Any, address: Any, index: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            value = builder.load(_at(builder, args[0], args[1], bits // 8, ir.IntType(bits)), align=1)
            return value if bits == 64 else (builder.sext if result.signed else builder.zext)(value, _I64)

        return (result if bits == 64 else types.int64)(types.int64, types.int64), build

    return get


def _make_put(bits: int, value_type: Any) -> Any:
    @intrinsic
    def put(typing: Any, address: Any, index: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            item = ir.IntType(bits)
            value = args[2] if bits == 64 else builder.trunc(args[2], item)
            builder.store(value, _at(builder, args[0], args[1], bits // 8, item), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, value_type), build

    return put


get_word, get_long, get_int = _make_get(64, types.uint64), _make_get(64, types.int64), _make_get(32, types.int32)
get_half_word, get_byte, get_signed_byte = (
    _make_get(32, types.uint32),
    _make_get(8, types.uint8),
    _make_get(8, types.int8),
)
"""``get_int(address, i)``: item ``i`` after an address, as a number of 64 bits; so for other widths."""
put_word, put_long = _make_put(64, types.uint64), _make_put(64, types.int64)
put_int, put_byte = _make_put(32, types.int64), _make_put(8, types.int64)


def _make_shift(name: str) -> Any:
    @intrinsic
    def shift(typing: Any, x: Any, bits: Any) -> Any:
        if not isinstance(x, Vector):
            return None

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return getattr(builder, name)(args[0], _splat(builder, args[1], sig.args[0]))

        return x(x, types.int64), build

    return shift


shift_left, shift_right, shift_right_signed = _make_shift("shl"), _make_shift("lshr"), _make_shift("ashr")


@intrinsic
def greater(typing: Any, x: Any, y: Any) -> Any:
    """Return all ones where ``x > y``, signed, and zero elsewhere."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sext(builder.icmp_signed(">", *args), sig.return_type.llvm)

    return x(x, y), build


@intrinsic
def signs_as_bits(typing: Any, x: Any) -> Any:
    """Return the sign of lane ``i`` of eight integers as bit ``i`` of a word."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        negative = builder.icmp_signed("<", args[0], INTS.constant(0))
        return builder.zext(builder.bitcast(negative, ir.IntType(INTS.lanes)), _I64)

    return types.uint64(x), build


@intrinsic
def bits_as_masks(typing: Any, byte: Any) -> Any:
    """Return eight integers, all ones where the bit of that number is set."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        low = builder.trunc(args[0], ir.IntType(INTS.lanes))
        return builder.sext(builder.bitcast(low, ir.VectorType(ir.IntType(1), INTS.lanes)), INTS.llvm)

    return INTS(types.int64), build


def _full_add(builder: Any, a: Any, b: Any, c: Any) -> tuple[Any, Any]:
    """Add three bits in every place: carry and sum."""
    either = builder.xor(a, b)
    total = builder.xor(either, c)
    if LANES == 8:  # AVX-512 has any function of three bits in one instruction, if nothing else reads its parts
        return builder.or_(builder.and_(a, b), builder.and_(c, builder.or_(a, b))), total
    return builder.or_(builder.and_(a, b), builder.and_(c, either)), total


def _make_count_block(signed: bool) -> Any:
    @intrinsic
    def count_block(typing: Any, matrix: Any, events: Any, held: Any) -> Any:
        planes = 5

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            matrix, events, held = args
            state = list(cgutils.unpack_tuple(builder, held, planes))
            column_bytes, one = ir.Constant(_I64, 16 * LANES), ir.Constant(_I32, 1)

            def column(place: int) -> tuple[Any, Any]:
                where = _at(builder, events, ir.Constant(_I64, place), 4, _I32)
                event = builder.load(where, align=4)
                number = builder.zext(builder.lshr(event, one) if signed else event, _I64)
                start = builder.mul(number, column_bytes)
                address = builder.add(matrix, start)
                parts = (_at(builder, address, ir.Constant(_I64, i), 8, WORDS.llvm) for i in (0, LANES))
                first, second = (builder.load(part, align=8) for part in parts)
                if signed:  # -w is a column with both bits turned over
                    sign = builder.sext(builder.sub(ir.Constant(_I32, 0), builder.and_(event, one)), _I64)
                    mask = _splat(builder, sign, WORDS)
                    return builder.xor(first, mask), builder.xor(second, mask)
                return first, second

            def take(first: int, count: int, plane: int) -> Any:
                """Add ``count`` events from ``first`` to the planes below; return the carry out of ``plane``."""
                if count == 1:
                    carry, state[0] = _full_add(builder, *column(first), state[0])
                    return carry
                half = count // 2
                one, other = take(first, half, plane - 1), take(first + half, half, plane - 1)
                carry, state[plane] = _full_add(builder, one, other, state[plane])
                return carry

            carry = take(0, 1 << (planes - 1), planes - 1)
            return context.make_tuple(builder, sig.return_type, [*state, carry])

        return types.UniTuple(WORDS, planes + 1)(types.int64, types.int64, types.UniTuple(WORDS, planes)), build

    return count_block


count_block, count_signed_block = _make_count_block(signed=False), _make_count_block(signed=True)
"""``count_block(matrix, events, held)``: add the two bits of the columns of 16 events to five planes.

``matrix`` is the address of the columns, ``events`` that of the numbers of the events (int32; if signed, twice the
number, and 1 more where the column counts negative), ``held`` the planes, the lowest first. Gives the planes and the
carry out of the highest.
"""


@intrinsic
def spread_bits(typing: Any, word: Any, value: Any) -> Any:
    """Return 32 bytes: ``value`` where the bit of that number is set in the low half of the word, 0 elsewhere."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(builder.trunc(args[0], _I32), ir.VectorType(ir.IntType(1), BYTES.lanes))
        return builder.and_(builder.sext(bits, BYTES.llvm), _splat(builder, args[1], BYTES))

    return BYTES(types.int64, types.int64), build


@intrinsic
def store_counts(typing: Any, address: Any, index: Any, low: Any, high: Any, less: Any) -> Any:
    """Store 32 integers ``low + 256 * high - less``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        half, whole = ir.VectorType(ir.IntType(16), BYTES.lanes), Vector(32, BYTES.lanes)
        upper = builder.shl(builder.zext(args[3], half), ir.Constant(half, [8] * BYTES.lanes))
        count = builder.zext(builder.or_(builder.zext(args[2], half), upper), whole.llvm)
        count = builder.sub(count, _splat(builder, args[4], whole))
        builder.store(count, _at(builder, args[0], args[1], 4, whole.llvm), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, BYTES, BYTES, types.int64), build


@intrinsic
def add_bytes(typing: Any, address: Any, index: Any, values: Any, bits: Any) -> Any:
    """Add 32 bytes, shifted to the left, to 32 integers."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole = Vector(32, BYTES.lanes)
        where = _at(builder, args[0], args[1], 4, whole.llvm)
        more = builder.shl(builder.zext(args[2], whole.llvm), _splat(builder, args[3], whole))
        builder.store(builder.add(builder.load(where, align=4), more), where, align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, BYTES, types.int64), build


@intrinsic
def four_bytes(typing: Any, address: Any, index: Any) -> Any:
    """Repeat the four bytes at place ``index`` (counted in four bytes) eight times."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(_at(builder, args[0], args[1], 4, _I32), align=1)
        return builder.bitcast(_splat(builder, value, INTS), BYTES.llvm)

    return BYTES(types.int64, types.int64), build


def _make_fields(shift: int, mask: int) -> Any:
    @intrinsic
    def fields(typing: Any, x: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shifted = args[0]
            if shift:  # no processor shifts bytes; what crosses over from a neighbour is masked away
                wide = builder.lshr(builder.bitcast(shifted, HALVES.llvm), HALVES.constant(shift))
                shifted = builder.bitcast(wide, BYTES.llvm)
            return builder.and_(shifted, BYTES.constant(mask))

        return BYTES(BYTES), build

    return fields


field_0, field_1, field_2, field_3 = (_make_fields(*at) for at in ((0, 3), (0, 12), (4, 3), (4, 12)))
"""The two-bit fields of every byte; ``field_1`` and ``field_3`` are left four times their value: a shift less each."""


def _halves_of(builder: Any, x: Any, kind: Any, lanes: int) -> tuple[Any, Any]:
    """Return the even and the odd lanes."""
    empty, index = ir.Constant(x.type, ir.Undefined), ir.VectorType(_I32, lanes // 2)
    even = builder.shuffle_vector(x, empty, ir.Constant(index, list(range(0, lanes, 2))))
    odd = builder.shuffle_vector(x, empty, ir.Constant(index, list(range(1, lanes, 2))))
    return even, odd


SUMS = INTS if HAS_VNNI else HALVES
"""Sums of products of bytes on their way: of four each, or of two."""


@intrinsic
def no_sums(typing: Any) -> Any:
    """Return sums of nothing."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return SUMS.constant(0)

    return SUMS(), build


def _dot(builder: Any, fields: Any, digits: Any, sums: Any) -> Any:
    """Add products of bytes to sums of four neighbours (AVX-512), or return those of two."""
    if HAS_VNNI:
        kind, name = ir.FunctionType(INTS.llvm, [INTS.llvm] * 3), "llvm.x86.avx512.vpdpbusd.256"
        parts = [sums, *(builder.bitcast(part, INTS.llvm) for part in (fields, digits))]
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), parts)
    if HAS_AVX2:
        kind, name = ir.FunctionType(HALVES.llvm, [BYTES.llvm, BYTES.llvm]), "llvm.x86.avx2.pmadd.ub.sw"
        products = builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [fields, digits])
    else:
        wide = ir.VectorType(ir.IntType(16), BYTES.lanes)
        each = builder.mul(builder.zext(fields, wide), builder.sext(digits, wide))
        products = builder.add(*_halves_of(builder, each, wide, BYTES.lanes))
    return builder.add(sums, products)


@intrinsic
def add_products(typing: Any, sums: Any, fields: Any, digits: Any, more_fields: Any, more_digits: Any) -> Any:
    """Add the products of fields and signed bytes, twice; each at most 128 times the largest field.

    The two are added to each other first: the next ones then wait for an addition only, not for two products.
    """

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums, fields, digits, more_fields, more_digits = args
        both = _dot(builder, more_fields, more_digits, _dot(builder, fields, digits, SUMS.constant(0)))
        return builder.add(sums, both)

    return SUMS(SUMS, BYTES, BYTES, BYTES, BYTES), build


@intrinsic
def whole_sums(typing: Any, x: Any) -> Any:
    """Return eight integers: the sums of four products each."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if HAS_VNNI:
            return args[0]
        if HAS_AVX2:
            kind = ir.FunctionType(INTS.llvm, [HALVES.llvm, HALVES.llvm])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmadd.wd")
            return builder.call(function, [args[0], HALVES.constant(1)])
        wide = ir.VectorType(_I32, HALVES.lanes)
        return builder.add(*_halves_of(builder, builder.sext(args[0], wide), wide, HALVES.lanes))

    return INTS(SUMS), build


def _make_bit_count(name: str) -> Any:
    @intrinsic
    def count(typing: Any, x: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            flags = [ir.Constant(ir.IntType(1), 1)] if name == "cttz" else []
            kind = ir.FunctionType(_I64, [_I64, *(flag.type for flag in flags)])
            function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.i64")
            return builder.call(function, [args[0], *flags])

        return types.int64(types.uint64), build

    return count


count_ones, lowest_one = _make_bit_count("ctpop"), _make_bit_count("cttz")


def _clip(builder: Any, x: Any, limit: Any) -> Any:
    low = builder.sub(INTS.constant(0), limit)
    x = builder.select(builder.icmp_signed("<", x, limit), x, limit)
    return builder.select(builder.icmp_signed(">", x, low), x, low)


@intrinsic
def clip(typing: Any, x: Any, limit: Any) -> Any:
    """Clip eight integers to ``-limit .. limit``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _clip(builder, args[0], _splat(builder, args[1], INTS))

    return INTS(INTS, types.int64), build


def _make_weighed(signed: bool) -> Any:
    @intrinsic
    def weighed(typing: Any, x: Any, factor: Any, more: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            x, gain, more = args
            bits, top = INTS.constant(12), INTS.constant(31)

            def magnitude(value: Any) -> tuple[Any, Any]:
                sign = builder.ashr(value, top)
                return builder.sub(builder.xor(value, sign), sign), sign

            size, sign = magnitude(x)
            if signed:
                gain, gain_sign = magnitude(gain)
                sign = builder.xor(sign, gain_sign)
            low = builder.mul(builder.and_(size, INTS.constant(4095)), gain)
            whole = builder.add(builder.mul(builder.lshr(size, bits), gain), builder.lshr(low, bits))
            return builder.sub(builder.xor(builder.lshr(whole, _splat(builder, more, INTS)), sign), sign)

        return INTS(INTS, INTS, types.int64), build

    return weighed


weighed, faded = _make_weighed(signed=True), _make_weighed(signed=False)
"""``tz(x * factor, 12 + more)`` of eight integers in 32 bits, for factors in -4096..4096, or 0..4096.

``|x| * f >> 12`` is ``(|x| >> 12) * f + ((|x| & 4095) * f >> 12)``, which never leaves 32 bits.
"""


@intrinsic
def toward_zero(typing: Any, x: Any, bits: Any) -> Any:
    """Divide a number of 64 bits by ``2**bits``, rounding toward zero."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sign = builder.ashr(args[0], ir.Constant(_I64, 63))
        size = builder.lshr(builder.sub(builder.xor(args[0], sign), sign), args[1])
        return builder.sub(builder.xor(size, sign), sign)

    return types.int64(types.int64, types.int64), build


@intrinsic
def between(typing: Any, x: Any, limit: Any) -> Any:
    """Clip a number of 64 bits to ``-limit .. limit``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, high = args
        low = builder.neg(high)
        x = builder.select(builder.icmp_signed("<", x, high), x, high)
        return builder.select(builder.icmp_signed(">", x, low), x, low)

    return types.int64(types.int64, types.int64), build
