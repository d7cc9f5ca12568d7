"""What counting the windows of a convolution takes, and what walking lists of spikes does: a model of a few numbers.

The compiled code counts the spikes and takes what is less: counting takes the same whatever they are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.native.processor import LANES
from neuromorphic.executors.native.sizes import FEW_CHANNELS, OUTPUTS_A_ROW
from neuromorphic.executors.native.window_lists import ROWS_A_BLOCK, Windows, num_planes, signed_digits
from neuromorphic.ops import Conv

# In picoseconds, measured on a Zen 5. Counting, for a register of windows: a block of rows added up, a row moved, and a
# byte of an output turned into integers. Lists: a window of 64 outputs, and a row added.
BLOCK, ROW, BYTE = (2_400 if LANES == 8 else 4_400), 1_500, 20_000
FAR, NEAR_BYTES = 1.4, 40 << 10  # times a block whose rows do not stay in the first cache
WINDOW, ADDED = 26_000, 400
WORTH_LISTS = 1.4
"""Lists are laid out beside where, without a spike, they take so many times less."""
LARGEST = 1 << 30


def costs(op: Conv, windows: Windows) -> NDArray[np.int32] | None:
    """Return the numbers from ``COUNT_COST`` on in :mod:`.rows`, or ``None`` where counting is always chosen."""
    (outputs, channels, *kernel), pixels = op.weights.shape, math.prod(op.input_shape[1:])
    size, num_rows = math.prod(op.output_shape[1:]), op.input_shape[0] * math.prod(kernel)
    together = max(LANES // windows.words, 1)
    blocks = np.count_nonzero(signed_digits(op.weights)) / ROWS_A_BLOCK + outputs
    num_bytes = (num_planes(op.weights) + op.shift) / 8
    far = FAR if channels * math.prod(kernel) * 8 * LANES > NEAR_BYTES else 1
    count = windows.stride // LANES * (blocks * far * BLOCK + num_rows * ROW + outputs * num_bytes * BYTE)
    chunks = -(-outputs // op.groups // OUTPUTS_A_ROW)
    image, spike = op.groups * size * chunks * WINDOW, math.prod(kernel) * chunks * min(size / pixels, 1) * ADDED
    if outputs // op.groups <= FEW_CHANNELS or count < WORTH_LISTS * image:
        return None
    unit = max(1, count / LARGEST)  # only what one is to the other counts
    numbers = (count / unit, image / unit, spike / unit, together, -(-math.prod(op.input_shape) // 64))
    return np.array(numbers, dtype=np.int32)
