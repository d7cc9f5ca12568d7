"""Sizes on which the layout of a program and the compiled code agree; numba is not needed to know them."""

from __future__ import annotations

from neuromorphic.executors.native.processor import LANES

# A list of events in ints: how many stand in it (with the padding), whether it names the silent ones instead (those
# are fewer at high rates), then the numbers.
LIST_LENGTH, LIST_OF_SILENT, LIST_START = 0, 1, 8
EVENTS_AT_ONCE = 16  # a list is padded to a multiple of this with the number of a column of zeros
WIDE_PLANES = 32  # bits of a sum of graded events
CHUNK = 64 * LANES  # outputs a register counts
COLUMN = 2 * LANES  # words of one input's column of one chunk
PLANE_WORDS = WIDE_PLANES * LANES
SPARE_WORDS = PLANE_WORDS + 16  # of bits that a product needs: the planes, and 32 integers

# Graded events in ints: for each bit of a value where its list starts and how long it is (with the padding), then the
# lists: twice the number of the input, and 1 more where the digit is -1.
DIGITS, LARGEST_GRADED = 18, 1 << 15
DIGIT_STARTS, DIGIT_LENGTHS, DIGIT_LISTS = 0, DIGITS, 2 * DIGITS + 4

FADED_AT_ONCE = 32  # values of a row of memory slots

FEW_CHANNELS = 4  # up to here a group of a convolution has too few outputs to compute them side by side
OUTPUTS_A_ROW = 64  # of a convolution by rows
PIXELS_AT_ONCE = 4  # of a dense product
TURNED = 64  # windows whose sums are turned from [window, channel] to [channel, window] at once: lines of the cache
SUMS_SIZE = TURNED * OUTPUTS_A_ROW

HELD_PLANES = 12  # of the counters of windows, in registers
COUNTERS = 48  # planes: 32, and what held ones reach beyond; twice, of what is added and of what is subtracted
WINDOWS_AT_ONCE = 64
MOST_ROWS = (1 << 16) // LANES - 2  # of windows: places of 16 bits find them, and one of zeros and one of ones

SUM, LARGEST, WEIGHED = range(3)  # what an operation takes of a window


def list_size(num_inputs: int) -> int:
    """Return the ints that a list of events takes: half the inputs at most stand in it, and its padding."""
    return LIST_START + num_inputs // 2 + 2 * EVENTS_AT_ONCE
