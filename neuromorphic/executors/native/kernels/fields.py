"""Products of fields of two bits with bytes where the processor has VNNI: one mask and one instruction for 64.

A block is 16 inputs of 16 outputs. Field ``f`` of its bytes is taken by a mask and stays where it is, so that its
products come out ``4**f`` times too large: sums of each field are kept apart, and shifted at the end.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from neuromorphic.executors.native.kernels.vectors import (
    I32,
    I64,
    MANY,
    Vector,
    cgutils,
    emitted,
    intrinsic,
    item_at,
    splat,
    types,
)

GROUPS_AT_ONCE = 4  # whose sums registers hold
_BYTES = Vector(8, 64)
_SUMS = types.UniTuple(MANY, 4 * GROUPS_AT_ONCE)
_FOUR = types.UniTuple(MANY, GROUPS_AT_ONCE)


def _dot(builder: Any, sums: Any, fields: Any, digits: Any) -> Any:
    """Add products of unsigned and signed bytes to sums of four neighbours."""
    kind = ir.FunctionType(MANY.llvm, [MANY.llvm] * 3)
    dot = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(dot, [sums, fields, digits])


@intrinsic
def no_products(typing: Any) -> Any:
    """Return sums of no products."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.make_tuple(builder, _SUMS, [MANY.constant(0)] * len(_SUMS))

    return _SUMS(), build


def _products(builder: Any, groups: Any, block: Any, digits: Any, held: list[Any]) -> list[Any]:
    """Add the products of a block of 16 inputs, the digits of each at addresses, with groups of outputs."""
    masks = [ir.Constant(_BYTES.llvm, [3 << (2 * f)] * 64) for f in range(4)]
    fours: list[Any] = []
    for address in digits:
        places = (item_at(builder, address, ir.Constant(I64, f), 4, I32) for f in range(4))
        fours += [splat(builder, builder.load(place, align=4), MANY) for place in places]
    found: list[Any] = []
    for group in groups:
        weights = builder.load(item_at(builder, group, block, 64, _BYTES.llvm), align=8)
        fields = [builder.bitcast(builder.and_(weights, mask), MANY.llvm) for mask in masks]
        found += [_dot(builder, held[len(found) + i], fields[i % 4], four) for i, four in enumerate(fours)]
    return found


@intrinsic
def multiply_block(typing: Any, a: Any, b: Any, c: Any, d: Any, block: Any, digits: Any, sums: Any) -> Any:
    """Add the products of a block of 16 inputs, one digit of each, with four groups of outputs."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        *groups, block, digits, sums = args
        held = list(cgutils.unpack_tuple(builder, sums, len(_SUMS)))
        return context.make_tuple(builder, _SUMS, _products(builder, groups, block, [digits], held))

    return _SUMS(*[types.int64] * 6, _SUMS), build


@intrinsic
def multiply_block_twice(typing: Any, a: Any, b: Any, block: Any, digits: Any, more: Any, sums: Any) -> Any:
    """Add those of two digits of each with two groups: the fields are masked once."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b, block, digits, more, sums = args
        held = list(cgutils.unpack_tuple(builder, sums, len(_SUMS)))
        return context.make_tuple(builder, _SUMS, _products(builder, [a, b], block, [digits, more], held))

    return _SUMS(*[types.int64] * 5, _SUMS), build


@intrinsic
def whole_products(typing: Any, sums: Any) -> Any:
    """Return the whole sums of four groups, or of two digits of two."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        held, found = list(cgutils.unpack_tuple(builder, args[0], len(_SUMS))), []
        for g in range(GROUPS_AT_ONCE):
            total = held[4 * g]
            for f in range(1, 4):
                total = builder.add(total, builder.ashr(held[4 * g + f], MANY.constant(2 * f)))
            found.append(total)
        return context.make_tuple(builder, _FOUR, found)

    return _FOUR(_SUMS), build


@emitted(MANY, MANY, types.int64, types.int64)
def add_four_bytes(builder: Any, sums: Any, address: Any, index: Any) -> Any:
    """Add sums of four neighbours each of 64 signed bytes."""
    values = builder.load(item_at(builder, address, index, 64, MANY.llvm), align=8)
    return _dot(builder, sums, ir.Constant(MANY.llvm, [0x01010101] * MANY.lanes), values)
