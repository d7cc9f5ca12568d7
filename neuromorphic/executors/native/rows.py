"""What the compiled loop is told: the columns of its table, one row an operation, and the kinds of rows.

Places are counted in items of the array they lie in, from the start of what belongs to one sample (``ints``, ``bits``,
``counts``) or of what all share (``params``, ``words``, ``small``). A place of -1 says that nothing is there.
"""

from __future__ import annotations

from types import MappingProxyType

# OUT: in ints, what the operation puts out; BITS: its events, 64 a word; LIST: in ints, the numbers of its events, for
# products that visit only those; the same of its sources; LINKS: where they stand in links if there are several;
# CODE: the address of what runs the row.
KIND, SIZE, OUT, BITS, LIST, SOURCE, SOURCE_2, SOURCE_BITS, SOURCE_LIST, NUM_SOURCES, LINKS = range(11)
P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, CODE, COLUMNS = range(11, 24)

INPUT, DELAY_READ, DELAY_WRITE, TERNARY_EVENTS, TERNARY_FEW, TERNARY_VALUES, TERNARY_GRADED = range(7)
BYTE_EVENTS, BYTE_VALUES, NEURONS, READOUT, INTEGRATE, SCALE, GATE, MULTIPLY, GATED, RESONATE = range(7, 17)
NEIGHBOURS, FAST_WEIGHTS, SLOTS, CONTROL = range(17, 21)
DELAY_UNITS, SHIFT_NEURONS, CHANGES, SUMMED_CHANGES, RECTIFY, RAISE, RAISE_MORE = range(21, 28)
CONVOLVE, COUNT_WINDOWS, LIST_WINDOWS, SLIDE_WINDOWS, POOL_MOVED, POOL_SPIKES, GRADED_NEURONS = range(28, 35)

ENTRIES = MappingProxyType(
    {
        DELAY_READ: "delay",
        DELAY_WRITE: "delay",
        TERNARY_EVENTS: "ternary_events",
        TERNARY_FEW: "ternary_few",
        TERNARY_VALUES: "ternary_values",
        TERNARY_GRADED: "ternary_graded",
        BYTE_EVENTS: "byte_events",
        BYTE_VALUES: "byte_values",
        NEURONS: "neurons",
        GRADED_NEURONS: "graded_neurons",
        READOUT: "readout",
        INTEGRATE: "integrate",
        SCALE: "scale",
        GATE: "gate",
        MULTIPLY: "multiply",
        GATED: "gated",
        RESONATE: "resonate",
        NEIGHBOURS: "neighbours",
        FAST_WEIGHTS: "fast_weights",
        SLOTS: "slots",
        CONTROL: "control",
        DELAY_UNITS: "delay_units",
        SHIFT_NEURONS: "shift_neurons",
        CHANGES: "changes",
        SUMMED_CHANGES: "summed_changes",
        RECTIFY: "rectify",
        RAISE: "raise_thresholds",
        RAISE_MORE: "raise_by_spikes",
        CONVOLVE: "convolve",
        COUNT_WINDOWS: "count_windows",
        LIST_WINDOWS: "list_windows",
        SLIDE_WINDOWS: "slide_windows",
        POOL_SPIKES: "pool_spikes",
        POOL_MOVED: "pool_moved",
    }
)
"""What runs a kind of row: a function of :mod:`neuromorphic.executors.native.entries`, compiled apart. Inputs are taken
in by the loop itself."""

# What params say of an operation on images; channels and outputs are those of one group.
CHANNELS, HEIGHT, WIDTH, OUTPUTS, OUT_HEIGHT, OUT_WIDTH, GROUPS, SHIFT, KERNEL_Y, KERNEL_X = range(10)
STRIDE_Y, STRIDE_X, PADDING_Y, PADDING_X, DILATION_Y, DILATION_X = range(10, 16)
# Of one that counts its windows: words of windows of a sample, of the image before and behind, planes, digits.
WORDS, MARGIN, PITCH, COLUMNS_OF_PITCH, PLANES, PLACES = range(16, 22)
# What both ways to convolve spikes take, in picoseconds, and for how many samples at once this is decided.
COUNT_COST, IMAGE_COST, SPIKE_COST, SAMPLES_TOGETHER, INPUT_WORDS = range(5)

INTS_AT_ONCE = 64  # places in ints and params are padded to a multiple of this: loops have no tails

# Columns of a row that says what a recording stores: its form, its place, rows, columns and stride in ints or bits;
# where its [T, B, N] starts in the output.
REC_FORM, REC_PLACE, REC_ROWS, REC_COLUMNS, REC_STRIDE, REC_START, REC_WIDTH = range(7)
AS_INTS, AS_BITS, AS_BYTES = range(3)  # forms: integers, bits as bytes, small integers as bytes

# What a network is to the compiled loop: addresses, sizes, the range of its inputs, types of arrays that it takes.
AT_TABLE, NUM_ROWS, AT_LINKS, AT_PARAMS, AT_WORDS, AT_SMALL, AT_INTS, AT_BITS, AT_COUNTS = range(9)
INT_STRIDE, BIT_STRIDE, COUNT_STRIDE, LOW, HIGH, BATCH, NUM_INPUTS = range(9, 16)
ARRAY_TYPE, INT32_TYPE, UINT64_TYPE, HEAD_WIDTH = range(16, 20)

# What a call is to it: the network, the input (an array of NumPy), the samples and steps, where recordings go. A single
# step looks at its array by itself, counts the time and ends at the most steps that are proven.
HEAD, INPUTS, FIRST, LAST, NUM_STEPS, TIME, PACKED, MARKS = range(8)
RECORDINGS, NUM_RECORDINGS, OUT_INTS, OUT_SPIKES, ALONE, MOST_STEPS, CALL_WIDTH = range(8, 15)

FINE, UNUSABLE = -1, -2  # what the loop returns if no input is out of range, and for what a single step cannot take
