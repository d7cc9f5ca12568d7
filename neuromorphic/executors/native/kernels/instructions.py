"""What ternary products are made of: full adders of many bits at once, and sums of products of bytes."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from neuromorphic.executors.native.kernels.vectors import (
    BYTES,
    HALVES,
    I32,
    I64,
    INTS,
    WORDS,
    Vector,
    cgutils,
    emitted,
    intrinsic,
    item_at,
    splat,
    types,
)
from neuromorphic.executors.native.processor import HAS_AVX2, HAS_VNNI, LANES

_PLANES = 5
_MANY = Vector(32, BYTES.lanes)


def full_add(builder: Any, a: Any, b: Any, c: Any) -> tuple[Any, Any]:
    """Add three bits in every place: carry and sum."""
    if LANES == 8:  # AVX-512 has any function of three bits in one instruction; LLVM would take two for the carry
        name = "avx512.pternlog.q.512"
        carry, total = (_call(builder, name, WORDS, a, b, c, ir.Constant(I32, table)) for table in (0xE8, 0x96))
        return carry, total
    either = builder.xor(a, b)
    return builder.or_(builder.and_(a, b), builder.and_(c, either)), builder.xor(either, c)


def _make_count_block(signed: bool) -> Any:
    @intrinsic
    def count_block(typing: Any, matrix: Any, events: Any, held: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            matrix, events, held = args
            state = list(cgutils.unpack_tuple(builder, held, _PLANES))
            column_bytes, one = ir.Constant(I64, 16 * LANES), ir.Constant(I32, 1)

            def column(place: int) -> tuple[Any, Any]:
                where = item_at(builder, events, ir.Constant(I64, place), 4, I32)
                event = builder.load(where, align=4)
                number = builder.zext(builder.lshr(event, one) if signed else event, I64)
                address = builder.add(matrix, builder.mul(number, column_bytes))
                parts = (item_at(builder, address, ir.Constant(I64, i), 8, WORDS.llvm) for i in (0, LANES))
                first, second = (builder.load(part, align=8) for part in parts)
                if signed:  # -w is a column with both bits turned over
                    sign = builder.sext(builder.sub(ir.Constant(I32, 0), builder.and_(event, one)), I64)
                    mask = splat(builder, sign, WORDS)
                    return builder.xor(first, mask), builder.xor(second, mask)
                return first, second

            def take(first: int, count: int, plane: int) -> Any:
                """Add ``count`` events from ``first`` to the planes below; return the carry out of ``plane``."""
                if count == 1:
                    carry, state[0] = full_add(builder, *column(first), state[0])
                    return carry
                half = count // 2
                one, other = take(first, half, plane - 1), take(first + half, half, plane - 1)
                carry, state[plane] = full_add(builder, one, other, state[plane])
                return carry

            carry = take(0, 1 << (_PLANES - 1), _PLANES - 1)
            return context.make_tuple(builder, sig.return_type, [*state, carry])

        held_type = types.UniTuple(WORDS, _PLANES)
        return types.UniTuple(WORDS, _PLANES + 1)(types.int64, types.int64, held_type), build

    return count_block


count_block, count_signed_block = _make_count_block(signed=False), _make_count_block(signed=True)
"""``count_block(matrix, events, held)``: add the two bits of the columns of 16 events to five planes.

``matrix`` is the address of the columns, ``events`` that of the numbers of the events (int32; if signed, twice the
number, and 1 more where the column counts negative), ``held`` the planes, the lowest first. Returns the planes and the
carry out of the highest.
"""


@emitted(BYTES, types.int64, types.int64)
def spread_bits(builder: Any, word: Any, value: Any) -> Any:
    """Return 32 bytes: ``value`` where the bit of that number is set in the low half of the word, 0 elsewhere."""
    bits = builder.bitcast(builder.trunc(word, I32), ir.VectorType(ir.IntType(1), BYTES.lanes))
    return builder.and_(builder.sext(bits, BYTES.llvm), splat(builder, value, BYTES))


@emitted(types.void, types.int64, types.int64, BYTES, BYTES, types.int64)
def store_counts(builder: Any, address: Any, index: Any, low: Any, high: Any, less: Any) -> None:
    """Store 32 integers ``low + 256 * high - less``."""
    half = Vector(16, BYTES.lanes)
    upper = builder.shl(builder.zext(high, half.llvm), half.constant(8))
    count = builder.zext(builder.or_(builder.zext(low, half.llvm), upper), _MANY.llvm)
    count = builder.sub(count, splat(builder, less, _MANY))
    builder.store(count, item_at(builder, address, index, 4, _MANY.llvm), align=4)


@emitted(types.void, types.int64, types.int64, BYTES, types.int64)
def add_bytes(builder: Any, address: Any, index: Any, values: Any, bits: Any) -> None:
    """Add 32 bytes, shifted to the left, to 32 integers."""
    where = item_at(builder, address, index, 4, _MANY.llvm)
    more = builder.shl(builder.zext(values, _MANY.llvm), splat(builder, bits, _MANY))
    builder.store(builder.add(builder.load(where, align=4), more), where, align=4)


@emitted(BYTES, types.int64, types.int64)
def four_bytes(builder: Any, address: Any, index: Any) -> Any:
    """Repeat the four bytes at place ``index`` (counted in four bytes) eight times."""
    value = builder.load(item_at(builder, address, index, 4, I32), align=1)
    return builder.bitcast(splat(builder, value, INTS), BYTES.llvm)


def _make_fields(shift: int, mask: int) -> Any:
    @emitted(BYTES, BYTES)
    def fields(builder: Any, x: Any) -> Any:
        if shift:  # no processor shifts bytes; what crosses over from a neighbour is masked away
            wide = builder.lshr(builder.bitcast(x, HALVES.llvm), HALVES.constant(shift))
            x = builder.bitcast(wide, BYTES.llvm)
        return builder.and_(x, BYTES.constant(mask))

    return fields


field_0, field_1, field_2, field_3 = (_make_fields(*at) for at in ((0, 3), (0, 12), (4, 3), (4, 12)))
"""The two-bit fields of every byte; ``field_1`` and ``field_3`` are left four times their value: a shift less each."""

SUMS = INTS if HAS_VNNI else HALVES
"""Sums of products of bytes on their way: of four each, or of two."""
no_sums = emitted(SUMS)(lambda builder: SUMS.constant(0))


def _pair_sums(builder: Any, x: Any, kind: Vector) -> Any:
    """Add the even and the odd lanes."""
    empty, index = ir.Constant(x.type, ir.Undefined), ir.VectorType(I32, kind.lanes // 2)
    even = builder.shuffle_vector(x, empty, ir.Constant(index, list(range(0, kind.lanes, 2))))
    odd = builder.shuffle_vector(x, empty, ir.Constant(index, list(range(1, kind.lanes, 2))))
    return builder.add(even, odd)


def _call(builder: Any, name: str, result: Vector, *values: Any) -> Any:
    """Call an instruction of x86 by its name."""
    kind = ir.FunctionType(result.llvm, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), values)


def _dot(builder: Any, fields: Any, digits: Any, sums: Any) -> Any:
    """Add products of bytes to sums of four neighbours (AVX-512), or return those of two."""
    if HAS_VNNI:
        parts = (builder.bitcast(part, INTS.llvm) for part in (fields, digits))
        return _call(builder, "avx512.vpdpbusd.256", INTS, sums, *parts)
    if HAS_AVX2:
        return builder.add(sums, _call(builder, "avx2.pmadd.ub.sw", HALVES, fields, digits))
    wide = Vector(16, BYTES.lanes)
    each = builder.mul(builder.zext(fields, wide.llvm), builder.sext(digits, wide.llvm))
    return builder.add(sums, _pair_sums(builder, each, wide))


@emitted(SUMS, SUMS, BYTES, BYTES, BYTES, BYTES)
def add_products(builder: Any, sums: Any, fields: Any, digits: Any, more_fields: Any, more_digits: Any) -> Any:
    """Add the products of fields and signed bytes, twice; each at most 128 times the largest field.

    The two are added to each other first: the next ones then wait for an addition only, not for two products.
    """
    both = _dot(builder, more_fields, more_digits, _dot(builder, fields, digits, SUMS.constant(0)))
    return builder.add(sums, both)


@emitted(INTS, SUMS)
def whole_sums(builder: Any, x: Any) -> Any:
    """Return eight integers: the sums of four products each."""
    if HAS_VNNI:
        return x
    if HAS_AVX2:
        return _call(builder, "avx2.pmadd.wd", INTS, x, HALVES.constant(1))
    wide = Vector(32, HALVES.lanes)
    return _pair_sums(builder, builder.sext(x, wide.llvm), wide)
