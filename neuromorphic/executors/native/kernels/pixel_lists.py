"""Lists of the spikes of an image, pixel by pixel; and bits that begin anywhere in a word.

References
----------
Transposing bits: Warren, "Hacker's Delight", 7-3.
"""

from __future__ import annotations

import numpy as np

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.compiled import kernel
from neuromorphic.executors.native.kernels.vectors import (
    count_ones,
    get_int,
    get_word,
    lowest_one,
    min_of,
    put_int,
    put_word,
)

_ONE = np.uint64(1)


@kernel
def load_bits(bits, place, first, count):  # type: ignore[no-untyped-def]
    """Return ``count`` bits, 1 to 64, from bit ``first`` after word ``place``."""
    w, s = place + (first >> 6), first & 63
    word = get_word(bits, w) >> np.uint64(s)
    if s + count > 64:
        word |= get_word(bits, w + 1) << np.uint64(64 - s)
    if count < 64:
        word &= (_ONE << np.uint64(count)) - _ONE
    return word


@kernel
def _transpose(bits, block):  # type: ignore[no-untyped-def]
    """Transpose 64 words of 64 bits in place."""
    width, mask = 32, np.uint64(0x00000000FFFFFFFF)
    while width:
        for start in range(0, 64, 2 * width):
            for i in range(block + start, block + start + width):
                a, b = get_word(bits, i), get_word(bits, i + width)
                moved = ((a >> np.uint64(width)) ^ b) & mask
                put_word(bits, i + width, b ^ moved)
                put_word(bits, i, a ^ (moved << np.uint64(width)))
        width >>= 1
        mask ^= mask << np.uint64(width)


@kernel
def list_spikes(bits, place, first, channels, pixels, width, spare, ints, starts, listed):  # type: ignore[no-untyped-def]
    """List the spikes of an image ``[channels, pixels]`` by pixel: ``column * channels + channel``.

    Where each pixel's begin is written to ``starts``, ``pixels + 1`` of them.
    """
    n, x = 0, 0
    for start in range(0, pixels, 64):
        count = min_of(64, pixels - start)
        for c in range(0, channels, 64):
            for i in range(64):
                word = np.uint64(0)
                if c + i < channels:
                    word = load_bits(bits, place, first + (c + i) * pixels + start, count)
                put_word(bits, spare + c + i, word)
            _transpose(bits, spare + c)
        for p in range(count):
            put_int(ints, starts + start + p, n)
            for c in range(0, channels, 64):
                word = get_word(bits, spare + c + p)
                while word != np.uint64(0):
                    put_int(ints, listed + n, x * channels + c + lowest_one(word))
                    n += 1
                    word &= word - _ONE
            x += 1
            if x == width:
                x = 0
    put_int(ints, starts + pixels, n)


@kernel
def counting_pays(params, costs, bits, bit_stride, place, samples):  # type: ignore[no-untyped-def]
    """Whether counting the windows of some samples takes less than walking the lists of their spikes."""
    spikes = 0
    for b in range(samples):
        for w in range(get_int(params, costs + rows.INPUT_WORDS)):
            spikes += count_ones(get_word(bits + 8 * bit_stride * b, place + w))
    listing = samples * get_int(params, costs + rows.IMAGE_COST) + spikes * get_int(params, costs + rows.SPIKE_COST)
    return get_int(params, costs + rows.COUNT_COST) <= listing
