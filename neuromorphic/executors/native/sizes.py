"""Sizes on which the layout of a program and the compiled code agree; numba is not needed to know them."""

from __future__ import annotations

from neuromorphic.executors.native.processor import HAS_AVX512, HAS_VNNI, LANES

# A list of events in ints: how many stand in it (with the padding), whether it names the silent ones instead (those
# are fewer at high rates), then the numbers.
LIST_LENGTH, LIST_OF_SILENT, LIST_START = 0, 1, 8
EVENTS_AT_ONCE = 16  # a list is padded to a multiple of this with the number of a column of zeros
WIDE_PLANES = 32  # bits of a sum of graded events
CHUNK = 64 * LANES  # outputs a register counts
COLUMN = 2 * LANES  # words of one input's column of one chunk
PLANE_WORDS = (WIDE_PLANES + 5) * LANES
EVENTS_A_PASS = 8160  # that are counted before the counts are added to integers
# What a product needs of bits: the planes; 32 integers; for every 16 events a carry, and for every 32 a number.
NUMBER_WORDS = PLANE_WORDS + 64
CARRY_WORDS = NUMBER_WORDS + 192

# Graded events in ints: for the digits of 1 and those of -1 at each bit of a value, where their list starts and how
# long it is (with the padding), then the lists; room for the inputs that are not 0, their numbers and values.
DIGITS, LARGEST_GRADED = 18, 1 << 15
DIGIT_STARTS, DIGIT_LENGTHS, DIGIT_LISTS = 0, 2 * DIGITS, 4 * DIGITS + 8

# A product with values: the outputs of a group, integers of one register, and the inputs of a block, which fields of
# two bits in four bytes of each output hold. Digits of inputs are padded to whole registers of bytes.
OUTPUTS_A_GROUP = 16 if HAS_VNNI else 8
INPUTS_A_BLOCK = 16
DIGITS_PADDED_TO = 64

FADED_AT_ONCE = 64 if HAS_AVX512 else 32  # values of a row of memory slots: of four registers

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


def event_words(num_inputs: int) -> int:
    """Return the words that a product with a list of events computes in."""
    events = min(num_inputs // 2 + EVENTS_AT_ONCE, EVENTS_A_PASS)
    return CARRY_WORDS + (events // EVENTS_AT_ONCE + 2 * EVENTS_AT_ONCE) * LANES


def digit_words(num_inputs: int) -> int:
    """Return the words that four digits of every input take."""
    return -(-num_inputs // DIGITS_PADDED_TO) * DIGITS_PADDED_TO // 2


def digit_lists_size(num_inputs: int) -> int:
    """Return the ints that lists of digits take: no two neighbours of a value's digits are other than 0."""
    return DIGIT_LISTS + (DIGITS + 1) // 2 * num_inputs + 2 * DIGITS * 2 * EVENTS_AT_ONCE


def others_size(num_inputs: int) -> int:
    """Return the ints that the inputs take that are not 0: numbers and values."""
    return 2 * (num_inputs + EVENTS_AT_ONCE)
