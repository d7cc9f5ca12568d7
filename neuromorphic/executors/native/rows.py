"""What the compiled loop is told: the columns of its table, one row an operation, and the kinds of rows.

Places are counted in items of the array they lie in, from the start of what belongs to one sample (``ints``, ``bits``,
``counts``) or of what all share (``params``, ``words``, ``small``). A place of -1 says that nothing is there.
"""

from __future__ import annotations

(
    KIND,
    SIZE,
    OUT,  # in ints: what the operation gives
    BITS,  # in bits: its events, 64 a word
    LIST,  # in ints: the numbers of its events, for products that visit only those
    SOURCE,  # in ints: what it reads
    SOURCE_2,
    SOURCE_BITS,
    SOURCE_LIST,
    NUM_SOURCES,
    LINKS,  # where the sources of an operation that adds several stand in links
    P0,
    P1,
    P2,
    P3,
    P4,
    P5,
    P6,
    P7,
    P8,
    P9,
    P10,
    COLUMNS,
) = range(23)

(
    INPUT,
    DELAY_READ,
    DELAY_WRITE,
    TERNARY_EVENTS,
    TERNARY_FEW,
    TERNARY_VALUES,
    TERNARY_GRADED,
    BYTE_EVENTS,
    BYTE_VALUES,
    NEURONS,
    READOUT,
    INTEGRATE,
    SCALE,
    GATE,
    MULTIPLY,
    GATED,
    RESONATE,
    NEIGHBOURS,
    FAST_WEIGHTS,
    SLOTS,
    CONTROL,
) = range(21)

# A list of events in ints: how many stand in it (with the padding), whether it names the silent ones instead (those
# are fewer at high rates), then the numbers.
LIST_LENGTH, LIST_OF_SILENT, LIST_START = 0, 1, 8
EVENTS_AT_ONCE = 16  # a list is padded to a multiple of this with the number of a column of zeros
INTS_AT_ONCE = 64  # places in ints and params are padded to a multiple of this: loops have no tails
MAX_PLANES = 16  # bits of a counter of events
EVENTS_A_PASS = 32752  # that such a counter holds: two bits an event
WIDE_PLANES = 32  # bits of a sum of graded events

# Graded events in ints: for each bit of a value where its list starts and how long it is (with the padding), then the
# lists: twice the number of the input, and 1 more where the digit is -1.
DIGITS = 18
DIGIT_STARTS, DIGIT_LENGTHS, DIGIT_LISTS = 0, DIGITS, 2 * DIGITS + 4

# Columns of a row that says what a recording keeps: 0 integers or 1 spikes; its place, rows, columns and stride in
# ints or bits; where its [T, B, N] starts in the output.
REC_SPIKES, REC_PLACE, REC_ROWS, REC_COLUMNS, REC_STRIDE, REC_START, REC_WIDTH = range(7)

# What a network is to the compiled loop: addresses, sizes, the range of its inputs.
(
    AT_TABLE,
    NUM_ROWS,
    AT_LINKS,
    AT_PARAMS,
    AT_WORDS,
    AT_SMALL,
    AT_INTS,
    AT_BITS,
    AT_COUNTS,
    INT_STRIDE,
    BIT_STRIDE,
    COUNT_STRIDE,
    LOW,
    HIGH,
    BATCH,
    NUM_INPUTS,
    HEAD_WIDTH,
) = range(17)
