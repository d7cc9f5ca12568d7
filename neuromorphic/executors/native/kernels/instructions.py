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
from neuromorphic.executors.native.processor import HAS_AVX2, LANES

_PLANES = 5
_WAITING = 32 if LANES == 8 else 4
"""Bits of a plane that wait for an adder: as registers hold them, adders stand side by side instead of in a row."""
_MANY = Vector(32, BYTES.lanes)


def full_add(builder: Any, a: Any, b: Any, c: Any) -> tuple[Any, Any]:
    """Add three bits in every place: carry and sum."""
    if LANES == 8:  # AVX-512 has any function of three bits in one instruction; LLVM would take two for the carry
        name = "avx512.pternlog.q.512"
        carry, total = (_call(builder, name, WORDS, a, b, c, ir.Constant(I32, table)) for table in (0xE8, 0x96))
        return carry, total
    either = builder.xor(a, b)
    return builder.or_(builder.and_(a, b), builder.and_(c, either)), builder.xor(either, c)


@intrinsic
def count_block(typing: Any, matrix: Any, events: Any, held: Any) -> Any:
    """Add the two bits of the columns of 16 events to five planes; return them and the carry out of the highest.

    ``matrix`` is the address of the columns, ``events`` that of the numbers of the events (int32), ``held`` the planes,
    the lowest first.
    """

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        matrix, events, held = args
        column_bytes, waiting = ir.Constant(I64, 16 * LANES), [[] for _ in range(_PLANES + 1)]  # type: ignore[var-annotated]

        def add(plane: int) -> None:
            three, waiting[plane] = waiting[plane][:3], waiting[plane][3:]
            carry, total = full_add(builder, *three)
            waiting[plane].append(total)
            put(carry, plane + 1)

        def put(bit: Any, plane: int) -> None:
            """Let a bit wait; of too many, add the oldest three."""
            waiting[plane].append(bit)
            if len(waiting[plane]) > _WAITING and plane < _PLANES:
                add(plane)

        for place in range(1 << (_PLANES - 1)):
            event = builder.load(item_at(builder, events, ir.Constant(I64, place), 4, I32), align=4)
            address = builder.add(matrix, builder.mul(builder.zext(event, I64), column_bytes))
            for part in (0, LANES):
                put(builder.load(item_at(builder, address, ir.Constant(I64, part), 8, WORDS.llvm), align=8), 0)
        for plane, before in enumerate(cgutils.unpack_tuple(builder, held, _PLANES)):
            waiting[plane].append(before)  # comes last: the next block waits for these adders only
            while len(waiting[plane]) > 1:
                add(plane)
        return context.make_tuple(builder, sig.return_type, [bits[0] for bits in waiting])

    held_type = types.UniTuple(WORDS, _PLANES)
    return types.UniTuple(WORDS, _PLANES + 1)(types.int64, types.int64, held_type), build


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

no_sums = emitted(HALVES)(lambda builder: HALVES.constant(0))


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
    """Add products of bytes to sums of two neighbours."""
    if HAS_AVX2:
        return builder.add(sums, _call(builder, "avx2.pmadd.ub.sw", HALVES, fields, digits))
    wide = Vector(16, BYTES.lanes)
    each = builder.mul(builder.zext(fields, wide.llvm), builder.sext(digits, wide.llvm))
    return builder.add(sums, _pair_sums(builder, each, wide))


@emitted(HALVES, HALVES, BYTES, BYTES, BYTES, BYTES)
def add_products(builder: Any, sums: Any, fields: Any, digits: Any, more_fields: Any, more_digits: Any) -> Any:
    """Add the products of fields and signed bytes, twice; each at most 128 times the largest field.

    The two are added to each other first: the next ones then wait for an addition only, not for two products.
    """
    both = _dot(builder, more_fields, more_digits, _dot(builder, fields, digits, HALVES.constant(0)))
    return builder.add(sums, both)


@emitted(INTS, HALVES)
def whole_sums(builder: Any, x: Any) -> Any:
    """Return eight integers: the sums of four products each."""
    if HAS_AVX2:
        return _call(builder, "avx2.pmadd.wd", INTS, x, HALVES.constant(1))
    wide = Vector(32, HALVES.lanes)
    return _pair_sums(builder, builder.sext(x, wide.llvm), wide)
