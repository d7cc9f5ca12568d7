r"""Sparse ternary weights in few bits: the lengths of the runs of zeros by a Golomb-Rice code, and signs.

Weights are read row by row. Before each of the :math:`m` weights that are not zero lie :math:`g` zeros, of which the
code is :math:`\lfloor g / 2^k \rfloor` zeros, a one, and the lowest :math:`k` bits of :math:`g`.

Byte 0 is :math:`k`, at most 15, and bytes 1 to 4 are :math:`m`, the lowest first. From byte 5 on lie :math:`m` signs
(1 is -1), :math:`m` times the lowest :math:`k` bits, and :math:`m` times zeros and a one, the first bit in the lowest
place of a byte, zeros behind the last one. Zeros after the last weight that is not zero are not written. The parts
stand one behind the other so that NumPy reads all of a kind at once.

The code is that of Golomb 1966, IEEE Trans. Inf. Theory 12:399, with the powers of two of Rice and Plaunt 1971, IEEE
Trans. Commun. 19:889.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnbx_snn.errors import CheckpointError, PnbxTypeError

HEADER_BYTES = 5
MAX_K = 15
MOST_ZEROS = 1024
"""Weights for each one that is not 0, at most: a few bytes could ask for any memory without it."""


def fits_runs(ternary: NDArray[np.int8]) -> bool:
    """Whether so many weights are not 0 that :func:`pack_runs` takes them."""
    return ternary.size <= MOST_ZEROS * int(np.count_nonzero(ternary))


def pack_runs(ternary: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return the bytes of an array of -1, 0 and 1 of any shape, with the :math:`k` that takes the fewest.

    Raises
    ------
    PnbxTypeError
        If another value is among them, there are :math:`2^{32}` or more, or fewer than one in 1024 is not 0.

    Examples
    --------
    >>> pack_runs(np.array([0, 0, 1, 0, -1], dtype=np.int8)).tolist()  # k 0, m 2: signs 01, then 001 01
    [0, 2, 0, 0, 0, 82]
    """
    flat = ternary.reshape(-1)
    if flat.size >= 1 << 32 or (np.abs(flat) > 1).any():
        raise PnbxTypeError(f"pack_runs: values must be fewer than 2^32 of -1, 0 and 1, got {flat.size}")
    if not fits_runs(flat):
        raise PnbxTypeError(
            f"pack_runs: one in {MOST_ZEROS} must not be 0, got {np.count_nonzero(flat)} of {flat.size}"
        )
    places = np.flatnonzero(flat)
    gaps = np.diff(places, prepend=-1) - 1
    k = min(range(MAX_K + 1), key=lambda k: len(gaps) * k + int((gaps >> k).sum()))
    low = (gaps[:, None] >> np.arange(k)) & 1
    ends = np.cumsum((gaps >> k) + 1) - 1
    runs = np.zeros(int(ends[-1]) + 1 if len(ends) else 0, np.uint8)
    runs[ends] = 1
    bits = np.concatenate([flat[places] < 0, low.reshape(-1), runs]).astype(np.uint8)
    header = np.array([k, *len(places).to_bytes(4, "little")], np.uint8)
    return np.concatenate([header, np.packbits(bits, bitorder="little")])


def unpack_runs(packed: NDArray[Any], size: int) -> NDArray[np.int8]:
    """Return the array of so many values that :func:`pack_runs` packed, ``[size]``.

    Sizes are compared before memory is taken for each value and each bit.

    Raises
    ------
    CheckpointError
        If the bytes are not those of so many values.

    Examples
    --------
    >>> unpack_runs(np.array([0, 2, 0, 0, 0, 82], dtype=np.uint8), 5).tolist()
    [0, 0, 1, 0, -1]
    """
    what = f"packed runs of {size} weights"
    if packed.dtype != np.uint8 or packed.ndim != 1 or len(packed) < HEADER_BYTES:
        raise CheckpointError(f"{what} must be at least {HEADER_BYTES} bytes, got {packed.dtype} {list(packed.shape)}")
    k, m = int(packed[0]), int.from_bytes(packed[1:HEADER_BYTES].tobytes(), "little")
    num_bits = 8 * (len(packed) - HEADER_BYTES)
    if k > MAX_K or m > size or not m * (k + 2) <= num_bits < m * (k + 2) + (size >> k) + 8:
        raise CheckpointError(
            f"{what} are altered: k {k} and {m} weights that are not 0 do not fit {len(packed)} bytes"
        )
    if size > MOST_ZEROS * m:
        raise CheckpointError(f"{what} are altered: one in {MOST_ZEROS} is not 0, got {m}")
    bits = np.unpackbits(packed[HEADER_BYTES:], bitorder="little")
    signs, low, runs = np.split(bits, [m, m * (k + 1)])
    ends = np.flatnonzero(runs)
    if len(ends) != m or len(runs) - (int(ends[-1]) + 1 if m else 0) >= 8:
        raise CheckpointError(f"{what} are altered: they hold {len(ends)} runs, and {m} weights are not 0")
    low_bits = low.reshape(m, k).astype(np.int64) << np.arange(k)
    gaps = (np.diff(ends, prepend=-1) - 1 << k) + low_bits.sum(axis=1)
    if gaps.sum() + m > size:
        raise CheckpointError(f"{what} are altered: their runs hold {int(gaps.sum()) + m}")
    ternary = np.zeros(size, np.int8)
    ternary[np.cumsum(gaps + 1) - 1] = 1 - 2 * signs.astype(np.int8)
    return ternary
