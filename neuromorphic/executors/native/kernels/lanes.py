"""Between the lanes of the widest registers and numbers, tables, bytes and bits."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from neuromorphic.executors.native.kernels.vectors import I32, I64, MANY, Vector, cgutils, emitted, item_at, types
from neuromorphic.executors.native.processor import HAS_AVX512


def _make_reduction(name: str) -> Any:
    @emitted(types.int64, MANY)
    def reduced(builder: Any, x: Any) -> Any:
        kind = ir.FunctionType(I32, [MANY.llvm])
        reduce = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.{name}.v{MANY.lanes}i32")
        return builder.sext(builder.call(reduce, [x]), I64)

    return reduced


smallest_of, largest_of, total_of = (_make_reduction(name) for name in ("smin", "smax", "add"))
"""One number of all lanes."""


@emitted(types.void, types.int64, types.int64, MANY)
def store_low_bytes(builder: Any, address: Any, index: Any, x: Any) -> None:
    """Store the lowest byte of every lane; a place is counted in bytes."""
    low = Vector(8, MANY.lanes).llvm
    builder.store(builder.trunc(x, low), item_at(builder, address, index, 1, low), align=1)


@emitted(MANY, types.int64, types.int64, MANY)
def look_up_many(builder: Any, address: Any, place: Any, numbers: Any) -> Any:
    """Return the integers of those numbers of a table."""
    first = item_at(builder, address, place, 4, ir.IntType(8))
    flags = ir.VectorType(ir.IntType(1), MANY.lanes)
    if HAS_AVX512:
        kind = ir.FunctionType(MANY.llvm, [MANY.llvm, first.type, MANY.llvm, flags, I32])
        gather = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.mask.gather.dpi.512")
        every = ir.Constant(flags, [1] * MANY.lanes)
        return builder.call(gather, [MANY.constant(0), first, numbers, every, ir.Constant(I32, 4)])
    found, table = ir.Constant(MANY.llvm, ir.Undefined), builder.bitcast(first, I32.as_pointer())
    for lane in range(MANY.lanes):
        number = builder.zext(builder.extract_element(numbers, ir.Constant(I32, lane)), I64)
        found = builder.insert_element(found, builder.load(builder.gep(table, [number])), ir.Constant(I32, lane))
    return found


@emitted(types.int64, types.int64, types.int64, types.int64)
def bits_at(builder: Any, address: Any, place: Any, first: Any) -> Any:
    """Return as many bits as a vector has lanes, from bit ``first`` after byte ``place`` on."""
    bits = ir.IntType(MANY.lanes)
    byte = builder.add(place, builder.lshr(first, ir.Constant(I64, 3)))
    return builder.zext(builder.load(item_at(builder, address, byte, 1, bits), align=1), I64)
