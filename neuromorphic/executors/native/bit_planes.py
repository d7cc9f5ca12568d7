"""Weights as the compiled products read them: two bits each if ternary, a byte otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.native.processor import LANES
from neuromorphic.executors.native.sizes import CHUNK, INPUTS_A_BLOCK, OUTPUTS_A_GROUP, OUTPUTS_A_ROW

FEW_OUTPUTS = 32  # up to here rows of bits are shorter than a chunk of columns


def bits_of(flags: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack flags along the last axis, 64 a word, the first in the lowest bit; the rest of the last word is 0."""
    size = flags.shape[-1]
    padded = np.zeros((*flags.shape[:-1], -(-size // 64) * 64), dtype=np.uint8)
    padded[..., :size] = flags
    return np.packbits(padded, axis=-1, bitorder="little").view("<u8").astype(np.uint64, copy=False)


def columns_for_events(weights: NDArray[np.int8]) -> NDArray[np.uint64]:
    """Pack ternary weights ``[N, K]`` for :func:`ternary_events`: ``[chunk, K + 1, 2, words]``.

    Column ``K`` holds zeros: lists of events are padded with it. Outputs beyond ``N`` have weights of 0.
    """
    outputs, inputs = weights.shape
    chunks = -(-outputs // CHUNK)
    packed = np.empty((chunks, inputs + 1, 2, LANES), dtype=np.uint64)
    for chunk in range(chunks):
        block = np.zeros((inputs + 1, CHUNK), dtype=np.int8)
        part = weights[chunk * CHUNK : (chunk + 1) * CHUNK]
        block[:inputs, : len(part)] = part.T
        packed[chunk, :, 0], packed[chunk, :, 1] = bits_of(block > 0), bits_of(block >= 0)
    return packed


def rows_for_few(weights: NDArray[np.int8]) -> NDArray[np.uint64]:
    """Pack ternary weights ``[N, K]`` for :func:`ternary_few` and memory slots: ``[N, 2, words]``, 1s then -1s."""
    return np.stack((bits_of(weights > 0), bits_of(weights < 0)), axis=1)


def fields_for_values(weights: NDArray[np.int8]) -> NDArray[np.uint64]:
    """Pack ternary weights ``[N, K]`` for :func:`ternary_values`: fields ``w + 1``, in words.

    They are ``[N / group, K / 16, group / 2]``. Byte ``4 i + j`` of a block belongs to output ``i`` of the group; its
    field ``f`` to input ``4 f + j`` of the 16.
    Inputs and outputs beyond the matrix have weights of 0, a field of 1.
    """
    outputs, inputs = weights.shape
    groups, blocks = -(-outputs // OUTPUTS_A_GROUP), -(-inputs // INPUTS_A_BLOCK)
    padded = np.zeros((groups * OUTPUTS_A_GROUP, blocks * INPUTS_A_BLOCK), dtype=np.int8)
    padded[:outputs, :inputs] = weights
    split = (padded + np.int8(1)).astype(np.uint8).reshape(groups, OUTPUTS_A_GROUP, blocks, 4, 4)
    packed = np.zeros((groups, OUTPUTS_A_GROUP, blocks, 4), dtype=np.uint8)
    for f in range(4):
        packed |= np.left_shift(split[:, :, :, f, :], np.uint8(2 * f))
    ordered = np.ascontiguousarray(packed.transpose(0, 2, 1, 3))  # [group, block, output, byte]
    return ordered.reshape(groups, blocks, 4 * OUTPUTS_A_GROUP).view(np.uint64)


def rows_for_images(weights: NDArray[np.int8], groups: int) -> NDArray[np.uint8]:
    """Pack the weights ``[O, C, kh, kw]`` of a convolution: ``[groups, outputs / 64, kh, kw, C]`` rows, and one more.

    A row is 64 bytes, or, of ternary weights, 16: byte ``b`` has fields ``w + 1`` of the outputs ``b``, ``16 + b``,
    ``32 + b`` and ``48 + b``. Outputs beyond those there are have weights of 0.
    """
    outputs, channels, *kernel = weights.shape
    each = outputs // groups
    chunks = -(-each // OUTPUTS_A_ROW)
    padded = np.zeros((groups, chunks * OUTPUTS_A_ROW, channels, *kernel), dtype=np.int8)
    padded[:, :each] = weights.reshape(groups, each, channels, *kernel)
    by_row = padded.reshape(groups, chunks, OUTPUTS_A_ROW, channels, *kernel).transpose(0, 1, 4, 5, 3, 2)
    flat = np.concatenate((by_row.reshape(-1, OUTPUTS_A_ROW), np.zeros((1, OUTPUTS_A_ROW), dtype=np.int8)))
    if int(np.abs(weights.astype(np.int16)).max()) > 1:
        return flat.view(np.uint8)
    fields = (flat + np.int8(1)).astype(np.uint8).reshape(-1, 4, OUTPUTS_A_ROW // 4)
    shifted = np.left_shift(fields, np.arange(0, 8, 2, dtype=np.uint8)[:, np.newaxis])
    return np.ascontiguousarray(np.bitwise_or.reduce(shifted, axis=1))
