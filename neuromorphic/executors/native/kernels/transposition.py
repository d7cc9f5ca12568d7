"""Upright counters turned into integers, 512 at once: bits are transposed by multiplying with a matrix of bits.

Eight planes of 512 bits are 64 matrices of eight times eight bits, one for each byte. Unpacking brings the eight bytes
of a matrix side by side, and GFNI's affine transformation of the unit vectors by it is its transpose.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from neuromorphic.executors.native.kernels.vectors import I32, I64, Vector, cgutils, emitted, item_at, splat, types

_BYTES, _INTS = Vector(8, 64), Vector(32, 16)
_LANE = 16  # bytes of which unpacking takes neighbours
_UNITS = ir.Constant(_BYTES.llvm, [1 << (i % 8) for i in range(64)])


def _shuffle(builder: Any, x: Any, y: Any, places: list[int]) -> Any:
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(places)), places))


def _unpacked(builder: Any, x: Any, y: Any, width: int) -> list[Any]:
    """Return the items of ``width`` bytes of x and y by turns: those of the lower halves of lanes, and of the upper."""
    found = []
    for half in (0, _LANE // 2):
        places: list[int] = []
        for lane in range(0, 64, _LANE):
            for item in range(lane + half, lane + half + _LANE // 2, width):
                places += [*range(item, item + width), *range(64 + item, 64 + item + width)]
        found.append(_shuffle(builder, x, y, places))
    return found


def _transposed(builder: Any, planes: Any, first: int) -> list[Any]:
    """Return the bytes that eight planes hold: vector ``k`` has, in lane ``l``, those from ``128 l + 16 k``."""
    parts = [[builder.load(item_at(builder, planes, ir.Constant(I64, first + p), 64, _BYTES.llvm), align=8)]
             for p in range(7, -1, -1)]  # fmt: skip  # the affine transformation counts rows from the last
    for width in (1, 2, 4):
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [[x for a, b in zip(*pair, strict=True) for x in _unpacked(builder, a, b, width)] for pair in pairs]
    kind = ir.FunctionType(_BYTES.llvm, [_BYTES.llvm, _BYTES.llvm, ir.IntType(8)])
    affine = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.vgf2p8affineqb.512")
    return [builder.call(affine, [_UNITS, matrix, ir.Constant(ir.IntType(8), 0)]) for matrix in parts[0]]


@emitted(types.void, types.int64, types.int64, types.int64)
def store_sixteen_planes(builder: Any, planes: Any, out: Any, less: Any) -> None:
    """Store 512 integers at ``out``, what 16 planes hold minus ``less``."""
    low, high, less = _transposed(builder, planes, 0), _transposed(builder, planes, 8), splat(builder, less, _INTS)
    for lane in range(4):
        for k in range(8):
            places = [x for i in range(16 * lane, 16 * lane + 16) for x in (i, 64 + i)]
            halves = builder.bitcast(_shuffle(builder, low[k], high[k], places), ir.VectorType(ir.IntType(16), 16))
            where = item_at(builder, out, ir.Constant(I64, 8 * lane + k), 64, _INTS.llvm)
            builder.store(builder.sub(builder.zext(halves, _INTS.llvm), less), where, align=4)


@emitted(types.void, types.int64, types.int64, types.int64)
def add_eight_planes(builder: Any, planes: Any, out: Any, bits: Any) -> None:
    """Add to 512 integers at ``out`` what eight planes hold, shifted to the left."""
    low, bits = _transposed(builder, planes, 0), splat(builder, bits, _INTS)
    for lane in range(4):
        for k in range(8):
            places = list(range(16 * lane, 16 * lane + 16))
            where = item_at(builder, out, ir.Constant(I64, 8 * lane + k), 64, _INTS.llvm)
            counts = builder.zext(_shuffle(builder, low[k], low[k], places), _INTS.llvm)
            total = builder.add(builder.load(where, align=4), builder.shl(counts, bits))
            builder.store(total, where, align=4)
