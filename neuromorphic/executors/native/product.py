"""What a product of ``TernaryMatrix`` is to compiled code: the columns of its call."""

from __future__ import annotations

X, OUT, MOST_SAMPLES, NUM_INPUTS, SIZE, LIST_STRIDE = range(6)  # arrays of NumPy, and sizes
COLUMNS, FIELDS, TOTALS, LISTS, SPARE, ROOM = range(6, 12)  # addresses; 0 for weights that are not packed so
ARRAY_TYPE, INT32_TYPE, UINT64_TYPE, WIDTH = range(12, 16)
