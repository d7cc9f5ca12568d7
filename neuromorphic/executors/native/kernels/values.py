"""Weights times integers: ternary ones through byte digits and packed fields, 8-bit ones as they are.

A value is written in balanced digits of a byte, ``x = d0 + 256 d1 + 65536 d2 + ...`` with ``d`` in -128..127; as many
as the largest value of the step and sample needs, so int8 read-outs take one. A digit times a field ``w + 1`` in 0..2
is what processors multiply fastest: 32 of them in one instruction on AVX2, which adds pairs, or with VNNI, which adds
four to sums of 32 bits. The sum of the digits is subtracted for the 1 in ``w + 1``. Everything is exact modulo 2**32,
and the results are proven to fit.

References
----------
Packed two-bit fields: bitnet.cpp (Wang et al. 2025, arXiv:2502.11880), ``I2_S``; digits of larger values: own.
"""

from __future__ import annotations

from neuromorphic.executors.native.compiled import inlined, kernel
from neuromorphic.executors.native.kernels.fields import (
    GROUPS_AT_ONCE,
    add_four_bytes,
    multiply_block,
    multiply_block_twice,
    no_products,
    whole_products,
)
from neuromorphic.executors.native.kernels.instructions import (
    add_products,
    field_0,
    field_1,
    field_2,
    field_3,
    four_bytes,
    no_sums,
    whole_sums,
)
from neuromorphic.executors.native.kernels.lanes import largest_of, smallest_of, store_low_bytes, total_of
from neuromorphic.executors.native.kernels.vectors import (
    MANY,
    get_int,
    get_signed_byte,
    larger,
    load_bytes,
    load_ints,
    load_many,
    max_of,
    min_of,
    put_byte,
    put_int,
    shift_left,
    shift_right_signed,
    smaller,
    splat_ints,
    splat_many,
    store_ints,
    store_many,
)
from neuromorphic.executors.native.processor import HAS_VNNI
from neuromorphic.executors.native.sizes import (
    DIGITS_PADDED_TO,
    INPUTS_A_BLOCK,
    LIST_LENGTH,
    LIST_START,
    OUTPUTS_A_GROUP,
)

AT_ONCE = MANY.lanes
# Of 16 inputs, in 16 bits: two pairs of fields of 8 times 128 each, 7 * 4096. With VNNI, in 32: four times 192 * 128.
BLOCKS_A_SUM = 1 << 14 if HAS_VNNI else 7


@kernel
def split_digits(ints, source, num_inputs, bits, place):  # type: ignore[no-untyped-def]
    """Write the digits of the values to bytes at word ``place``; return how many digits there are.

    Each digit takes :data:`DIGITS_PADDED_TO` bytes or a multiple, padded with zeros.
    """
    whole, padded = num_inputs & -AT_ONCE, _padded(num_inputs)
    lows, highs = splat_many(0), splat_many(0)
    for j in range(0, whole, AT_ONCE):
        x = load_many(ints, source + j)
        lows, highs = smaller(lows, x), larger(highs, x)
    low, high = smallest_of(lows), largest_of(highs)
    for j in range(whole, num_inputs):
        low, high = min_of(low, get_int(ints, source + j)), max_of(high, get_int(ints, source + j))
    num_digits, reach = 1, 127  # the largest number of that many digits; what four miss vanishes modulo 2**32
    while num_digits < 4 and (high > reach or low < -(reach // 127 * 128)):
        num_digits += 1
        reach = 256 * reach + 127
    for j in range(0, whole, AT_ONCE):
        x = load_many(ints, source + j)
        for d in range(num_digits):
            store_low_bytes(bits, 8 * place + d * padded + j, x)
            x = shift_right_signed(x + splat_many(128), 8)
    for j in range(whole, padded):
        rest = get_int(ints, source + j) if j < num_inputs else 0
        for d in range(num_digits):
            put_byte(bits, 8 * place + d * padded + j, rest)
            rest = (rest + 128) >> 8
    return num_digits


@inlined
def _padded(num_inputs):  # type: ignore[no-untyped-def]
    return (num_inputs + DIGITS_PADDED_TO - 1) // DIGITS_PADDED_TO * DIGITS_PADDED_TO


@kernel
def _digit_sum(bits, first, num_inputs):  # type: ignore[no-untyped-def]
    """Sum the digits that stand from byte ``first`` on."""
    total = 0
    for j in range(num_inputs):
        total += get_signed_byte(bits, first + j)
    return total


@kernel
def _one_digit(words, matrix, num_blocks, bits, first, weight, less, out, target, size, shift):  # type: ignore[no-untyped-def]
    """Add one digit's products, times ``2**weight``, for two groups of eight outputs at once."""
    row = 4 * num_blocks  # words of a group
    for i in range(0, size, 16):
        near = matrix + i // 8 * row
        far = near + row if i + 8 < size else near
        sums, other_sums = splat_ints(-less), splat_ints(-less)
        for start in range(0, num_blocks, BLOCKS_A_SUM):
            a, a_fourfold, b, b_fourfold = no_sums(), no_sums(), no_sums(), no_sums()
            for block in range(start, min_of(start + BLOCKS_A_SUM, num_blocks)):
                x = first + 4 * block
                x0, x1 = four_bytes(bits, x), four_bytes(bits, x + 1)
                x2, x3 = four_bytes(bits, x + 2), four_bytes(bits, x + 3)
                w = load_bytes(words, near + 4 * block)
                a = add_products(a, field_0(w), x0, field_2(w), x2)
                a_fourfold = add_products(a_fourfold, field_1(w), x1, field_3(w), x3)
                w = load_bytes(words, far + 4 * block)
                b = add_products(b, field_0(w), x0, field_2(w), x2)
                b_fourfold = add_products(b_fourfold, field_1(w), x1, field_3(w), x3)
            sums = sums + whole_sums(a) + shift_right_signed(whole_sums(a_fourfold), 2)
            other_sums = other_sums + whole_sums(b) + shift_right_signed(whole_sums(b_fourfold), 2)
        _place(sums, out, target + i, weight, shift)
        if i + 8 < size:
            _place(other_sums, out, target + i + 8, weight, shift)


@kernel
def _two_digits(words, matrix, num_blocks, bits, first, second, weight, less, more, out, target, size, shift):  # type: ignore[no-untyped-def]
    """Add two digits at once, the second counting 256 times the first, for one group: fields are taken apart once."""
    row = 4 * num_blocks
    for i in range(0, size, 8):
        near = matrix + i // 8 * row
        sums, high_sums = splat_ints(-less), splat_ints(-more)
        for start in range(0, num_blocks, BLOCKS_A_SUM):
            a, a_fourfold, b, b_fourfold = no_sums(), no_sums(), no_sums(), no_sums()
            for block in range(start, min_of(start + BLOCKS_A_SUM, num_blocks)):
                x, y = first + 4 * block, second + 4 * block
                w = load_bytes(words, near + 4 * block)
                w0, w1, w2, w3 = field_0(w), field_1(w), field_2(w), field_3(w)
                a = add_products(a, w0, four_bytes(bits, x), w2, four_bytes(bits, x + 2))
                b = add_products(b, w0, four_bytes(bits, y), w2, four_bytes(bits, y + 2))
                x, y = x + 1, y + 1
                a_fourfold = add_products(a_fourfold, w1, four_bytes(bits, x), w3, four_bytes(bits, x + 2))
                b_fourfold = add_products(b_fourfold, w1, four_bytes(bits, y), w3, four_bytes(bits, y + 2))
            sums = sums + whole_sums(a) + shift_right_signed(whole_sums(a_fourfold), 2)
            high_sums = high_sums + whole_sums(b) + shift_right_signed(whole_sums(b_fourfold), 2)
        _place(sums + shift_left(high_sums, 8), out, target + i, weight, shift)


@kernel
def _sum_of_digit(bits, first, num_inputs):  # type: ignore[no-untyped-def]
    """Sum the digits that stand from byte ``first`` on, 64 at once."""
    sums = splat_many(0)
    for j in range(_padded(num_inputs) // DIGITS_PADDED_TO):
        sums = add_four_bytes(sums, bits + first, j)
    return total_of(sums)


@kernel
def _digit_at_once(words, matrix, num_inputs, bits, first, weight, out, target, size, shift):  # type: ignore[no-untyped-def]
    """Add one digit's products, times ``2**weight``, for four groups of 16 outputs at once."""
    num_blocks, digits = (num_inputs + INPUTS_A_BLOCK - 1) // INPUTS_A_BLOCK, bits + first
    less, row = splat_many(-_sum_of_digit(bits, first, num_inputs)), 64 * num_blocks
    for i in range(0, size, GROUPS_AT_ONCE * OUTPUTS_A_GROUP):
        a = words + 8 * matrix + i // OUTPUTS_A_GROUP * row
        b = a + row if i + OUTPUTS_A_GROUP < size else a  # beyond the last group it is that once more
        c = b + row if i + 2 * OUTPUTS_A_GROUP < size else b
        d = c + row if i + 3 * OUTPUTS_A_GROUP < size else c
        a_sums, b_sums, c_sums, d_sums = less, less, less, less
        for start in range(0, num_blocks, BLOCKS_A_SUM):
            held = no_products()
            for block in range(start, min_of(start + BLOCKS_A_SUM, num_blocks)):
                held = multiply_block(a, b, c, d, block, digits + INPUTS_A_BLOCK * block, held)
            a_more, b_more, c_more, d_more = whole_products(held)
            a_sums, b_sums, c_sums, d_sums = a_sums + a_more, b_sums + b_more, c_sums + c_more, d_sums + d_more
        _place_many(a_sums, out, target + i, weight, shift)
        if b != a:
            _place_many(b_sums, out, target + i + OUTPUTS_A_GROUP, weight, shift)
        if c != b:
            _place_many(c_sums, out, target + i + 2 * OUTPUTS_A_GROUP, weight, shift)
        if d != c:
            _place_many(d_sums, out, target + i + 3 * OUTPUTS_A_GROUP, weight, shift)


@kernel
def _two_digits_at_once(words, matrix, num_inputs, bits, first, weight, out, target, size, shift):  # type: ignore[no-untyped-def]
    """Add two digits' products, the second counting 256 times the first, for two groups of 16 outputs at once."""
    num_blocks, second = (num_inputs + INPUTS_A_BLOCK - 1) // INPUTS_A_BLOCK, first + _padded(num_inputs)
    less = splat_many(-_sum_of_digit(bits, first, num_inputs) - (_sum_of_digit(bits, second, num_inputs) << 8))
    row, digits, more = 64 * num_blocks, bits + first, bits + second
    for i in range(0, size, 2 * OUTPUTS_A_GROUP):
        a = words + 8 * matrix + i // OUTPUTS_A_GROUP * row
        b = a + row if i + OUTPUTS_A_GROUP < size else a
        a_sums, b_sums = less, less
        for start in range(0, num_blocks, BLOCKS_A_SUM):
            held = no_products()
            for block in range(start, min_of(start + BLOCKS_A_SUM, num_blocks)):
                place = INPUTS_A_BLOCK * block
                held = multiply_block_twice(a, b, block, digits + place, more + place, held)
            a_low, a_high, b_low, b_high = whole_products(held)
            a_sums, b_sums = a_sums + a_low + shift_left(a_high, 8), b_sums + b_low + shift_left(b_high, 8)
        _place_many(a_sums, out, target + i, weight, shift)
        if b != a:
            _place_many(b_sums, out, target + i + OUTPUTS_A_GROUP, weight, shift)


@inlined
def _place_many(sums, out, where, weight, shift):  # type: ignore[no-untyped-def]
    shifted = shift_left(shift_left(sums, weight), shift)  # the two together may exceed 31
    if weight:
        shifted = shifted + load_many(out, where)
    store_many(out, where, shifted)


@inlined
def _place(sums, out, where, weight, shift):  # type: ignore[no-untyped-def]
    shifted = shift_left(shift_left(sums, weight), shift)
    if weight:
        shifted = shifted + load_ints(out, where)
    store_ints(out, where, shifted)


def _by_vnni(words, matrix, num_inputs, bits, place, num_digits, out, target, size, shift):  # type: ignore[no-untyped-def]
    for d in range(0, num_digits, 2):
        first = 8 * place + d * _padded(num_inputs)
        if d + 1 < num_digits:
            _two_digits_at_once(words, matrix, num_inputs, bits, first, 8 * d, out, target, size, shift)
        else:
            _digit_at_once(words, matrix, num_inputs, bits, first, 8 * d, out, target, size, shift)


def _by_pairs(words, matrix, num_inputs, bits, place, num_digits, out, target, size, shift):  # type: ignore[no-untyped-def]
    num_blocks, padded = (num_inputs + INPUTS_A_BLOCK - 1) // INPUTS_A_BLOCK, _padded(num_inputs)
    for d in range(0, num_digits, 2):
        first, second = 8 * place + padded * d, 8 * place + padded * (d + 1)
        less = _digit_sum(bits, first, num_inputs)
        if d + 1 < num_digits:
            more = _digit_sum(bits, second, num_inputs)
            x, y = first // 4, second // 4
            _two_digits(words, matrix, num_blocks, bits, x, y, 8 * d, less, more, out, target, size, shift)
        else:
            _one_digit(words, matrix, num_blocks, bits, first // 4, 8 * d, less, out, target, size, shift)


ternary_values = kernel(_by_vnni if HAS_VNNI else _by_pairs)
"""Multiply digits with packed fields: ``out[i] = sum_j w[i, j] x[j] << shift``; ``out`` holds whole groups."""


@kernel
def byte_events(small, matrix, stride, ints, events, out, target, size):  # type: ignore[no-untyped-def]
    """Add the rows of 8-bit weights ``[K + 1, stride]`` of a list of events."""
    for i in range(size):
        put_int(out, target + i, 0)
    n = get_int(ints, events + LIST_LENGTH)
    for e in range(0, n, 4):
        place = events + LIST_START + e
        r0, r1 = matrix + get_int(ints, place) * stride, matrix + get_int(ints, place + 1) * stride
        r2, r3 = matrix + get_int(ints, place + 2) * stride, matrix + get_int(ints, place + 3) * stride
        for i in range(size):
            near = get_signed_byte(small, r0 + i) + get_signed_byte(small, r1 + i)
            far = get_signed_byte(small, r2 + i) + get_signed_byte(small, r3 + i)
            put_int(out, target + i, get_int(out, target + i) + near + far)


@kernel
def byte_values(small, matrix, num_inputs, ints, source, out, target, size, shift):  # type: ignore[no-untyped-def]
    """Multiply 8-bit weights ``[N, K]`` with any integers, modulo 2**32."""
    for i in range(size):
        row = matrix + i * num_inputs
        total = 0
        for j in range(num_inputs):
            total += get_signed_byte(small, row + j) * get_int(ints, source + j)
        put_int(out, target + i, total << shift)
