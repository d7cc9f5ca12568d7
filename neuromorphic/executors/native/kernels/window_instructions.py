"""What convolutions that count are made of: rows of bits moved, full adders of many bits, and bits turned to integers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from neuromorphic.executors.native.kernels.instructions import full_add
from neuromorphic.executors.native.kernels.vectors import (
    I64,
    WORDS,
    Vector,
    cgutils,
    emitted,
    intrinsic,
    item_at,
    splat,
    types,
)
from neuromorphic.executors.native.sizes import HELD_PLANES

SUMS = Vector(32, 64)
"""The sums of 64 windows."""
_PLACES = Vector(8, 64)
_I16 = ir.IntType(16)
_HELD = types.UniTuple(WORDS, HELD_PLANES)
_COUNTED = types.UniTuple(WORDS, HELD_PLANES + 1)


@emitted(WORDS, types.int64, types.int64, types.int64)
def moved_words(builder: Any, address: Any, index: Any, bits: Any) -> Any:
    """Return words from place ``index`` on, after 0 to 63 bits that are left out."""
    low, high = (
        builder.load(item_at(builder, address, builder.add(index, ir.Constant(I64, i)), 8, WORDS.llvm), align=8)
        for i in (0, 1)
    )
    kind = ir.FunctionType(WORDS.llvm, [WORDS.llvm] * 3)
    name = f"llvm.fshr.v{WORDS.lanes}i64"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [high, low, splat(builder, bits, WORDS)])


def _make_count(inputs: int) -> Any:
    @intrinsic
    def count(typing: Any, table: Any, numbers: Any, held: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            table, numbers, held = args
            state = list(cgutils.unpack_tuple(builder, held, HELD_PLANES))

            def row(place: int) -> Any:
                number = builder.load(item_at(builder, numbers, ir.Constant(I64, place), 2, _I16), align=2)
                return builder.load(item_at(builder, table, builder.zext(number, I64), 8, WORDS.llvm), align=8)

            def take(first: int, count: int, plane: int) -> Any:
                """Add ``count`` rows from ``first`` to the planes up to ``plane``; return the carry out of it."""
                if count == 2:
                    carry, state[0] = full_add(builder, row(first), row(first + 1), state[0])
                    return carry
                half = count // 2
                one, other = take(first, half, plane - 1), take(first + half, half, plane - 1)
                carry, state[plane] = full_add(builder, one, other, state[plane])
                return carry

            planes = inputs.bit_length() - 1
            carry = take(0, inputs, planes - 1)
            for plane in range(planes, HELD_PLANES):
                state[plane], carry = builder.xor(state[plane], carry), builder.and_(state[plane], carry)
            return context.make_tuple(builder, sig.return_type, [*state, carry])

        return _COUNTED(types.int64, types.int64, _HELD), build

    return count


count_many, count_few = _make_count(32), _make_count(8)
"""``count_many(table, numbers, held)``: add 32 rows of bits (8 rows) to five planes, the lowest first.

``numbers`` is the address of their places in the table, in words, 16 bits each. Returns the planes and the carry.
"""


@emitted(_PLACES, types.int64, types.int64)
def eight_planes(builder: Any, address: Any, index: Any) -> Any:
    """Return 64 bytes: bit ``i`` of each is that of the word of plane ``i`` at place ``index``."""
    found = _PLACES.constant(0)
    for plane in range(8):
        place = builder.add(index, ir.Constant(I64, plane * WORDS.lanes))
        word = builder.load(item_at(builder, address, place, 8, I64), align=8)
        bits = builder.bitcast(word, ir.VectorType(ir.IntType(1), 64))
        found = builder.or_(found, builder.and_(builder.sext(bits, _PLACES.llvm), _PLACES.constant(1 << plane)))
    return found


signed_sums = emitted(SUMS, _PLACES)(lambda builder, x: builder.sext(x, SUMS.llvm))


@emitted(SUMS, SUMS, _PLACES)
def lower_byte(builder: Any, sums: Any, x: Any) -> Any:
    """Return ``256 sums + x`` with ``x`` in 0..255."""
    return builder.or_(builder.shl(sums, SUMS.constant(8)), builder.zext(x, SUMS.llvm))


@emitted(types.void, types.int64, types.int64, SUMS, types.int64)
def put_sums(builder: Any, address: Any, index: Any, sums: Any, shift: Any) -> None:
    """Write 64 integers, shifted to the left."""
    where = item_at(builder, address, index, 4, SUMS.llvm)
    builder.store(builder.shl(sums, splat(builder, shift, SUMS)), where, align=4)
