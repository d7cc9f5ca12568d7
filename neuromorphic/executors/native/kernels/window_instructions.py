"""What convolutions that count are made of: bits that move, full adders of many bits, and bits turned to integers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from neuromorphic.executors.native.kernels.image_instructions import shuffled
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
from neuromorphic.executors.native.processor import HAS_GFNI, LANES
from neuromorphic.executors.native.sizes import HELD_PLANES, WINDOWS_AT_ONCE

BYTES_OF_WINDOWS, SUMS = Vector(8, WINDOWS_AT_ONCE), Vector(32, WINDOWS_AT_ONCE)
_EIGHT_WORDS = Vector(64, 8)
AT_ONCE = 8  # bits of a plane that are added up before it
_HELD = types.UniTuple(WORDS, HELD_PLANES)


@emitted(WORDS, types.int64, types.int64, types.int64)
def moved_words(builder: Any, address: Any, index: Any, bits: Any) -> Any:
    """Return words from place ``index`` on, after 0 to 63 bits that are left out."""
    low, high = (
        builder.load(item_at(builder, address, builder.add(index, ir.Constant(I64, i)), 8, WORDS.llvm), align=8)
        for i in (0, 1)
    )
    kind = ir.FunctionType(WORDS.llvm, [WORDS.llvm] * 3)
    name = f"llvm.fshr.v{WORDS.lanes}i64"
    return builder.call(
        cgutils.get_or_insert_function(builder.module, kind, name), [high, low, splat(builder, bits, WORDS)]
    )


@emitted(types.uint64, types.uint64, types.uint64)
def extract_bits(builder: Any, word: Any, mask: Any) -> Any:
    """Return the bits of a word where a mask has ones, close together from the lowest on (BMI2)."""
    kind = ir.FunctionType(I64, [I64, I64])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.bmi.pext.64"), [word, mask])


def _make_count(inputs: int) -> Any:
    @intrinsic
    def count(typing: Any, table: Any, numbers: Any, held: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            table, numbers, held = args
            state = list(cgutils.unpack_tuple(builder, held, HELD_PLANES))

            def row(place: int) -> Any:
                """Load a row; four of their numbers come at once, as loads are what there are most of."""
                if place % 4 == 0:
                    pointer = item_at(builder, numbers, ir.Constant(I64, place // 4), 8, I64)
                    four.append(builder.load(pointer, align=2))
                number = builder.lshr(four[-1], ir.Constant(I64, 16 * (place % 4)))
                number = builder.and_(number, ir.Constant(I64, 0xFFFF))
                return builder.load(item_at(builder, table, number, 8, WORDS.llvm), align=8)

            def add_up(bits: list[Any], plane: int) -> list[Any]:
                """Add bits to a plane; return the carries. The plane comes last: the next eight wait for it only."""
                carries, total = [], bits[0]
                for one, other in zip(bits[1::2], [*bits[2::2], state[plane]], strict=True):
                    carry, total = full_add(builder, total, one, other)
                    carries.append(carry)
                state[plane] = total
                return carries

            def carries_into(plane: int, count: int) -> list[Any]:
                """Take in as many rows as make ``count`` carries into a plane."""
                if plane == 0:
                    return [row(next(places)) for _ in range(count)]
                step = min(2 * count, AT_ONCE)
                each = [add_up(carries_into(plane - 1, step), plane - 1) for _ in range(2 * count // step)]
                return [carry for carries in each for carry in carries]

            four: list[Any] = []
            places, planes = iter(range(inputs)), inputs.bit_length() - 1
            (carry,) = carries_into(planes, 1)
            for plane in range(planes, HELD_PLANES):
                state[plane], carry = builder.xor(state[plane], carry), builder.and_(state[plane], carry)
            return context.make_tuple(builder, sig.return_type, state)

        return _HELD(types.int64, types.int64, _HELD), build

    return count


count_many, count_few = _make_count(32), _make_count(8)
"""``count_many(table, numbers, held)``: add 32 rows of bits (8 rows) to planes, the lowest first; return the planes.

``numbers`` is the address of their places in the table, in words, 16 bits each. What carries out of the last is lost.
"""


@intrinsic
def no_counts(typing: Any) -> Any:
    """Return planes of zeros."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.make_tuple(builder, sig.return_type, [WORDS.constant(0)] * HELD_PLANES)

    return _HELD(), build


@intrinsic
def turned_over(typing: Any, held: Any) -> Any:
    """Turn over all bits of planes."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        planes = [builder.not_(plane) for plane in cgutils.unpack_tuple(builder, args[0], HELD_PLANES)]
        return context.make_tuple(builder, sig.return_type, planes)

    return _HELD(_HELD), build


@intrinsic
def put_counts(typing: Any, counters: Any, first: Any, held: Any) -> Any:
    """Write planes from plane ``first`` of counters on."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        counters, first, held = args
        for i, plane in enumerate(cgutils.unpack_tuple(builder, held, HELD_PLANES)):
            place = builder.add(first, ir.Constant(I64, i))
            builder.store(plane, item_at(builder, counters, place, 8 * LANES, WORDS.llvm), align=8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, _HELD), build


@intrinsic
def put_lowest(typing: Any, counters: Any, first: Any, held: Any) -> Any:
    """Write the lowest plane as plane ``first`` of counters."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        counters, first, held = args
        where = item_at(builder, counters, first, 8 * LANES, WORDS.llvm)
        builder.store(cgutils.unpack_tuple(builder, held, HELD_PLANES)[0], where, align=8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, _HELD), build


@intrinsic
def halved(typing: Any, held: Any) -> Any:
    """Leave the lowest plane out."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        planes = cgutils.unpack_tuple(builder, args[0], HELD_PLANES)
        return context.make_tuple(builder, sig.return_type, [*planes[1:], WORDS.constant(0)])

    return _HELD(_HELD), build


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose as many registers of words as one holds."""
    rows, lanes, width = list(rows), len(rows), len(rows) // 2
    while width:  # swap blocks of this many on both sides of the diagonal
        near = [lane if not lane & width else lanes + lane - width for lane in range(lanes)]
        far = [lane + width if not lane & width else lanes + lane for lane in range(lanes)]
        for i in (i for i in range(lanes) if not i & width):
            a, b = rows[i], rows[i + width]
            rows[i], rows[i + width] = shuffled(builder, a, b, near), shuffled(builder, a, b, far)
        width //= 2
    return rows


def _turned_bits(builder: Any, x: Any) -> Any:
    """Transpose, in each of eight words, the 8 x 8 bits of its bytes, the last byte first."""
    if HAS_GFNI:  # multiplies a matrix of bits with each byte: with bytes of one bit, its columns come out
        kind = ir.FunctionType(BYTES_OF_WINDOWS.llvm, [BYTES_OF_WINDOWS.llvm] * 2 + [ir.IntType(8)])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.vgf2p8affineqb.512")
        ones = ir.Constant(BYTES_OF_WINDOWS.llvm, [1 << i for i in range(8)] * 8)
        return builder.call(function, [ones, builder.bitcast(x, BYTES_OF_WINDOWS.llvm), ir.Constant(ir.IntType(8), 0)])
    eight = builder.bitcast(x, BYTES_OF_WINDOWS.llvm)
    places = [8 * (i // 8) + 7 - i % 8 for i in range(64)]
    x = builder.bitcast(shuffled(builder, eight, eight, places), _EIGHT_WORDS.llvm)
    for by, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0)):
        bits = _EIGHT_WORDS.constant(by)
        swapped = builder.and_(builder.xor(x, builder.lshr(x, bits)), _EIGHT_WORDS.constant(mask))
        x = builder.xor(builder.xor(x, swapped), builder.shl(swapped, bits))
    return builder.bitcast(x, BYTES_OF_WINDOWS.llvm)


@emitted(types.void, types.int64, types.int64, types.int64)
def turn_planes(builder: Any, counters: Any, plane: Any, target: Any) -> None:
    """Write a byte for each window of a register: its bits in eight planes from ``plane`` on."""
    rows = []
    for i in range(7, -1, -1):
        place = builder.add(plane, ir.Constant(I64, i))
        rows.append(builder.load(item_at(builder, counters, place, 8 * LANES, WORDS.llvm), align=8))
    parts = [_transposed(builder, rows[first : first + LANES]) for first in range(0, 8, LANES)]
    for lane in range(LANES):
        words = parts[0][lane]
        if len(parts) == 2:
            words = shuffled(builder, words, parts[1][lane], list(range(8)))
        planes = builder.bitcast(words, BYTES_OF_WINDOWS.llvm)
        by_place = shuffled(builder, planes, planes, [8 * (i % 8) + i // 8 for i in range(64)])
        turned = _turned_bits(builder, builder.bitcast(by_place, _EIGHT_WORDS.llvm))
        where = item_at(builder, target, ir.Constant(I64, lane), WINDOWS_AT_ONCE, BYTES_OF_WINDOWS.llvm)
        builder.store(turned, where, align=8)


def _make_put(num_bytes: int) -> Any:
    @emitted(types.void, types.int64, types.int64, types.int64, types.int64)
    def put(builder: Any, bytes_at: Any, lane: Any, address: Any, index: Any) -> None:
        values = []
        for i in range(num_bytes):
            place = builder.add(lane, ir.Constant(I64, LANES * i))
            pointer = item_at(builder, bytes_at, place, WINDOWS_AT_ONCE, BYTES_OF_WINDOWS.llvm)
            values.append(builder.load(pointer, align=8))
        bits, both = 8, [place for i in range(64) for place in (i, 64 + i)]
        while len(values) > 1:  # the lower half of each number, then the upper
            bits *= 2
            pairs = zip(values[::2], values[1::2], strict=True)
            values = [builder.bitcast(shuffled(builder, *pair, both), Vector(bits, 64).llvm) for pair in pairs]
        sums = values[0] if bits == 32 else builder.sext(values[0], SUMS.llvm)
        builder.store(sums, item_at(builder, address, index, 4, SUMS.llvm), align=4)

    return put


put_bytes, put_pairs, put_fours = (_make_put(num_bytes) for num_bytes in (1, 2, 4))
"""``put_bytes(turned, lane, address, index)``: write the sums of 64 windows, of one byte, two or four, as integers."""
