"""What convolutions are made of: rows of 64 weights, sums of them, and images turned from pixels to channels."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from neuromorphic.executors.native.kernels.vectors import (
    I32,
    I64,
    INTS,
    Vector,
    cgutils,
    emitted,
    intrinsic,
    item_at,
    splat,
    types,
)
from neuromorphic.executors.native.processor import HAS_AVX2, HAS_AVX512
from neuromorphic.executors.native.sizes import OUTPUTS_A_ROW, PIXELS_AT_ONCE

ROW, SHORT_ROW, SUMS = Vector(8, OUTPUTS_A_ROW), Vector(16, OUTPUTS_A_ROW), Vector(32, OUTPUTS_A_ROW)
_QUARTER, _FIELDS = Vector(8, OUTPUTS_A_ROW // 4), Vector(64, OUTPUTS_A_ROW // 8)
_PAIRS, _PART = Vector(16, 32), Vector(32, 16)  # of 16 outputs: pairs of numbers, and their sums


def shuffled(builder: Any, a: Any, b: Any, places: list[int]) -> Any:
    """Return the items of two registers, one behind the other, at some places."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(places)), places))


def _row_at(builder: Any, address: Any, index: Any, ternary: bool) -> Any:
    """Load the weights of one input as bytes, ternary ones as fields ``w + 1``."""
    if not ternary:
        return builder.load(item_at(builder, address, index, OUTPUTS_A_ROW, ROW.llvm), align=1)
    packed = builder.load(item_at(builder, address, index, OUTPUTS_A_ROW // 4, _QUARTER.llvm), align=1)
    four_times = shuffled(builder, packed, ir.Constant(_QUARTER.llvm, ir.Undefined), [*range(16)] * 4)
    shifts = ir.Constant(_FIELDS.llvm, [0, 0, 2, 2, 4, 4, 6, 6])  # across bytes: what comes over is masked away
    apart = builder.lshr(builder.bitcast(four_times, _FIELDS.llvm), shifts)
    return builder.and_(builder.bitcast(apart, ROW.llvm), ROW.constant(3))


@emitted(ROW, types.int64, types.int64)
def ternary_row(builder: Any, address: Any, index: Any) -> Any:
    """Return row ``index`` of packed ternary weights, as bytes ``w + 1``."""
    return _row_at(builder, address, index, ternary=True)


@emitted(SHORT_ROW, types.int64, types.int64)
def byte_row(builder: Any, address: Any, index: Any) -> Any:
    """Return row ``index`` of 8-bit weights, in 16 bits each."""
    return builder.sext(_row_at(builder, address, index, ternary=False), SHORT_ROW.llvm)


no_row, no_short_row = (
    emitted(ROW)(lambda builder: ROW.constant(0)),
    emitted(SHORT_ROW)(lambda builder: SHORT_ROW.constant(0)),
)


def _make_put(kind: Vector, extend: str, adds: bool) -> Any:
    @emitted(types.void, types.int64, types.int64, kind, types.int64)
    def put(builder: Any, address: Any, index: Any, row: Any, less: Any) -> None:
        where = item_at(builder, address, index, 4, SUMS.llvm)
        value = builder.sub(getattr(builder, extend)(row, SUMS.llvm), splat(builder, less, SUMS))
        builder.store(builder.add(builder.load(where, align=4), value) if adds else value, where, align=4)

    return put


put_row, put_short_row = _make_put(ROW, "zext", adds=False), _make_put(SHORT_ROW, "sext", adds=False)
add_row, add_short_row = _make_put(ROW, "zext", adds=True), _make_put(SHORT_ROW, "sext", adds=True)
"""``put_row(address, index, row, less)``: write 64 integers ``row - less``, or add them to what is there."""


def _pair_products(builder: Any, weights: Any, x: Any) -> Any:
    """Multiply 32 numbers of 16 bits, and add neighbours."""
    if HAS_AVX512:
        name, parts = "avx512.pmaddw.d.512", 1
    elif HAS_AVX2:
        name, parts = "avx2.pmadd.wd", 2
    else:
        wide = Vector(32, 32)
        products = builder.mul(builder.sext(weights, wide.llvm), builder.sext(x, wide.llvm))
        even, odd = (shuffled(builder, products, products, [*range(i, 32, 2)]) for i in (0, 1))
        return builder.add(even, odd)
    lanes = 32 // parts
    kind = ir.FunctionType(ir.VectorType(I32, lanes // 2), [ir.VectorType(ir.IntType(16), lanes)] * 2)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}")
    found = [
        builder.call(function, [shuffled(builder, v, v, [*range(p * lanes, (p + 1) * lanes)]) for v in (weights, x)])
        for p in range(parts)
    ]
    return found[0] if parts == 1 else shuffled(builder, found[0], found[1], [*range(16)])


_PARTS = OUTPUTS_A_ROW // 16
_HELD = types.UniTuple(_PART, PIXELS_AT_ONCE * _PARTS)


@intrinsic
def no_sums_of_pixels(typing: Any) -> Any:
    """Return zeros: the sums of four pixels, 64 integers each, in registers."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.make_tuple(builder, sig.return_type, [_PART.constant(0)] * len(_HELD))

    return _HELD(), build


@intrinsic
def put_sums_of_pixels(typing: Any, ints: Any, target: Any, held: Any) -> Any:
    """Write the sums of four pixels, pixel by pixel."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        ints, target, held = args
        for i, part in enumerate(cgutils.unpack_tuple(builder, held, len(_HELD))):
            place = builder.add(target, ir.Constant(I64, 16 * i))
            builder.store(part, item_at(builder, ints, place, 4, _PART.llvm), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, _HELD), build


def _make_add_pair(ternary: bool) -> Any:
    @intrinsic
    def add_pair(typing: Any, weights: Any, row: Any, pixels: Any, pair: Any, held: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            weights, row, pixels, pair, held = args
            first, second = (
                _row_at(builder, weights, builder.add(row, ir.Constant(I64, i)), ternary) for i in range(2)
            )
            if ternary:
                first, second = (builder.sub(x, ROW.constant(1)) for x in (first, second))
            parts = []
            for start in range(0, OUTPUTS_A_ROW, 16):
                places = [place for i in range(start, start + 16) for place in (i, OUTPUTS_A_ROW + i)]
                parts.append(builder.sext(shuffled(builder, first, second, places), _PAIRS.llvm))
            sums = list(cgutils.unpack_tuple(builder, held, len(_HELD)))
            for pixel in range(PIXELS_AT_ONCE):
                address = builder.load(item_at(builder, pixels, ir.Constant(I64, pixel), 8, I64), align=8)
                both = builder.load(item_at(builder, address, pair, 4, I32), align=2)
                x = builder.bitcast(splat(builder, both, _PART), _PAIRS.llvm)
                for i, part in enumerate(parts, _PARTS * pixel):
                    sums[i] = builder.add(sums[i], _pair_products(builder, part, x))
            return context.make_tuple(builder, sig.return_type, sums)

        return _HELD(types.int64, types.int64, types.int64, types.int64, _HELD), build

    return add_pair


add_ternary_pair, add_byte_pair = _make_add_pair(ternary=True), _make_add_pair(ternary=False)
"""``add_ternary_pair(weights, row, pixels, pair, held)``: add the products of two rows of weights with two values each.

At ``pixels`` stand four addresses of values of 16 bits, of which those of number ``2 pair`` and ``2 pair + 1`` are
taken; ``held`` are the sums of those four pixels.
"""


@emitted(types.void, types.int64, types.int64, types.int64, types.int64, types.int64, types.int64)
def put_turned(builder: Any, ints: Any, source: Any, stride: Any, target: Any, out_stride: Any, shift: Any) -> None:
    """Write eight rows of eight integers as columns, shifted to the left."""

    def at(place: Any, step: Any, i: int) -> Any:
        return builder.add(place, builder.mul(step, ir.Constant(I64, i)))

    rows = [
        builder.load(item_at(builder, ints, at(source, stride, i), 4, INTS.llvm), align=4) for i in range(INTS.lanes)
    ]
    for width in (4, 2, 1):  # swap blocks of this many on both sides of the diagonal
        near = [lane if not lane & width else 8 + lane - width for lane in range(8)]
        far = [lane + width if not lane & width else 8 + lane for lane in range(8)]
        for i in (i for i in range(8) if not i & width):
            a, b = rows[i], rows[i + width]
            rows[i], rows[i + width] = shuffled(builder, a, b, near), shuffled(builder, a, b, far)
    for i, row in enumerate(rows):
        where = item_at(builder, ints, at(target, out_stride, i), 4, INTS.llvm)
        builder.store(builder.shl(row, splat(builder, shift, INTS)), where, align=4)
