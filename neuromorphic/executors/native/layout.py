"""Where every value and state of a program lies, its weights packed once and for all, and the table of its rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.native import rows
from neuromorphic.executors.native.alignment import aligned_zeros
from neuromorphic.executors.native.bit_planes import FEW_OUTPUTS
from neuromorphic.executors.native.sizes import (
    FEW_CHANNELS,
    LARGEST_GRADED,
    MOST_ROWS,
    PIXELS_AT_ONCE,
    SUMS_SIZE,
    digit_words,
    event_words,
    list_size,
)
from neuromorphic.executors.native.window_costs import costs
from neuromorphic.executors.native.window_lists import Windows, as_conv, fits_registers, merged
from neuromorphic.integers.numbers import INT32_MAX
from neuromorphic.ops import Conv, Delay, Delays, Dense, Operation, ShiftLIF, Slots, SpikePool, SumPool, XyloLIF
from neuromorphic.program import Program

_BY_LIST = (rows.TERNARY_EVENTS, rows.BYTE_EVENTS)


def padded(size: int, to: int = rows.INTS_AT_ONCE) -> int:
    """Return the next multiple."""
    return -(-size // to) * to


@dataclass
class Arena:
    """An array that grows while a program is laid out."""

    dtype: type[np.generic]
    size: int = 0
    parts: list[tuple[int, NDArray[Any]]] = field(default_factory=list)

    def reserve(self, size: int) -> int:
        """Return the place of so many items, from a multiple of what loops take at once."""
        place = self.size
        self.size += padded(size)
        return place

    def place(self, array: NDArray[Any]) -> int:
        """Return the place where an array will stand."""
        flat = np.ascontiguousarray(array).reshape(-1)
        where = self.reserve(flat.size)
        self.parts.append((where, flat))
        return where

    def build(self) -> NDArray[Any]:
        """Return the whole; each part goes as soon as it is copied."""
        whole = aligned_zeros((max(self.size, rows.INTS_AT_ONCE),), self.dtype)
        while self.parts:
            where, part = self.parts.pop()
            whole[where : where + part.size] = part
        return whole


@dataclass(frozen=True)
class Held:
    """Where a variable lies for one sample: spikes in bits, everything else in ints, row by row.

    ``form`` is how a recording stores it, for example :data:`rows.AS_BITS`.
    """

    form: int
    place: int
    rows: int
    columns: int
    stride: int

    @property
    def size(self) -> int:
        """Values of a step and sample."""
        return self.rows * self.columns


def scratch(op: Conv) -> tuple[int, int]:
    """Return what a convolution by rows computes in: ints (sums, lists of spikes), and words (digits of an image)."""
    (_, channels, *kernel), pixels = op.weights.shape, op.input_shape[1] * op.input_shape[2]
    places, digits = PIXELS_AT_ONCE * math.prod(kernel), (pixels + 1) * padded(channels, 2)  # digits of 16 bits
    window = channels * min(pixels, math.prod(kernel))
    return SUMS_SIZE + pixels + 1 + channels * pixels + window + 16, max(padded(channels, 64), places + -(-digits // 4))


class Layout:
    """The tables of one program; :func:`neuromorphic.executors.native.operations.lay_out` fills them."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.rows: list[NDArray[np.int64]] = []
        self.links: list[int] = []
        self.params, self.words, self.small = Arena(np.int32), Arena(np.uint64), Arena(np.int8)
        self.ints, self.bits, self.counts = Arena(np.int32), Arena(np.uint64), Arena(np.int64)
        self.variables: dict[str, Held] = {}
        self.spike_counts: dict[str, int] = {}
        self.starts: list[tuple[int, NDArray[np.int32]]] = []
        self.values: dict[str, int] = {}
        self.events: dict[str, int] = {}
        self.lists: dict[str, int] = {}
        self._counted: dict[str, Windows | None] = {}
        # The scratch of a product: planes of counters, or four digits of every value it reads; of a convolution.
        widest = max((op.weights.shape[1] for op in program.of_type(Dense)), default=0)
        sums = [as_conv(op) for op in program.of_type(SumPool) if self.counted(as_conv(op))]
        images = [(0, 0), *(self._scratch(op) for op in (*program.of_type(Conv), *sums))]
        pools = [(op, Windows.of(op)) for op in map(as_conv, program.of_type(SpikePool))]
        images += [(0, windows.scratch(op, 1)) for op, windows in pools if windows is not None]
        words = max(event_words(widest), digit_words(widest), *(words for _, words in images))
        self.spare, self.spare_ints = self.bits.reserve(words), self.ints.reserve(max(ints for ints, _ in images))

    def event_range(self, name: str) -> tuple[int, int] | None:
        """Return the range of an operation's events, ``None`` if it gives something else."""
        op, _ = self.program.undelayed(name)
        return op.event_range if op.kind == "events" else None

    def is_spikes(self, name: str) -> bool:
        """Whether an operation gives 0 and 1 only."""
        return self.event_range(name) == (0, 1)

    def readers(self, name: str) -> list[Operation]:
        """Return the operations that read another."""
        return [op for op in self.program.ops if name in op.sources]

    def place_events(self, op: Operation) -> None:
        """Reserve places for events in each form that their readers take: bits, lists, integers."""
        readers = self.readers(op.name)
        if self.is_spikes(op.name):
            self.events[op.name] = self.bits.reserve(padded(op.size) // 64)
            if any(isinstance(reader, Dense) and self.dense_kind(reader) in _BY_LIST for reader in readers):
                self.lists[op.name] = self.ints.reserve(list_size(op.size))
            packs = isinstance(op, (ShiftLIF, XyloLIF)) or (isinstance(op, Delays) and not self.is_spikes(op.source))
            if not packs and all(self._reads_bits(reader) for reader in readers):
                return
        self.values[op.name] = self.ints.reserve(op.size)

    def _reads_bits(self, reader: Operation) -> bool:
        """Whether an operation takes spikes as bits or as a list."""
        if isinstance(reader, Conv):
            return self.counted(reader) is not None or self.by_rows(reader)
        if isinstance(reader, SumPool):
            return self.counted(as_conv(reader)) is not None
        return isinstance(reader, (Dense, Delay, Slots, SpikePool)) or (
            isinstance(reader, Delays) and self.is_spikes(reader.name)
        )

    def _scratch(self, op: Conv) -> tuple[int, int]:
        windows, ints, words = self.counted(op), 0, 0
        if self.by_rows(op) and (windows is None or costs(op, windows) is not None):
            ints, words = scratch(op)
        return ints, words if windows is None else max(words, windows.scratch(op, merged(op)[0].shape[1]))

    def counted(self, op: Conv) -> Windows | None:
        """Return the windows of a convolution that counts spikes, if 16 bits number its rows and registers its sums."""
        if op.name not in self._counted:
            few = self.is_spikes(op.source) and math.prod(op.weights.shape[1:]) <= MOST_ROWS
            self._counted[op.name] = Windows.of(op) if few and fits_registers(op.weights) else None
        return self._counted[op.name]

    def by_rows(self, op: Conv) -> bool:
        """Whether a convolution has outputs enough in a group to compute them side by side."""
        return bool(op.weights.shape[0] // op.groups > FEW_CHANNELS)

    def dense_kind(self, op: Dense) -> int:
        """Return the kind of product that a matrix takes, by its weights and by what it reads."""
        if self.is_spikes(op.source):
            if not op.is_ternary:
                return rows.BYTE_EVENTS
            return rows.TERNARY_FEW if op.size <= FEW_OUTPUTS else rows.TERNARY_EVENTS
        if not op.is_ternary:
            return rows.BYTE_VALUES
        low, high = self.event_range(op.source) or (-INT32_MAX, INT32_MAX)
        graded = max(-low, high) <= LARGEST_GRADED and op.size > FEW_OUTPUTS
        return rows.TERNARY_GRADED if graded else rows.TERNARY_VALUES

    def value(self, op: Operation, more: int = 0) -> int:
        """Reserve the place of what an operation gives, and of what it may write behind."""
        self.values[op.name] = self.ints.reserve(op.size + more)
        return self.values[op.name]

    def hold(
        self,
        op: Operation,
        variable: str,
        place: int,
        count: int = 1,
        columns: int | None = None,
        form: int = rows.AS_INTS,
    ) -> None:
        """Say where a variable lies."""
        width = op.size if columns is None else columns
        self.variables[f"{op.name}.{variable}"] = Held(form, place, count, width, padded(width, 8))

    def row(self, kind: int, op: Operation, *numbers: int, size: int | None = None) -> None:
        """Add a row of the table: what the operation reads and gives, and numbers of its own."""
        row = np.full(rows.COLUMNS, -1, dtype=np.int64)
        row[rows.KIND], row[rows.SIZE] = kind, op.size if size is None else size
        for column, placed in ((rows.OUT, self.values), (rows.BITS, self.events), (rows.LIST, self.lists)):
            row[column] = placed.get(op.name, -1)
        places = [self.values.get(source, -1) for source in op.sources]
        row[rows.SOURCE : rows.SOURCE + len(places[:2])] = places[:2]
        if op.sources:
            row[rows.SOURCE_BITS] = self.events.get(op.sources[0], -1)
            row[rows.SOURCE_LIST] = self.lists.get(op.sources[0], -1)
        row[rows.NUM_SOURCES], row[rows.LINKS] = len(places), len(self.links)
        self.links += places
        row[rows.P0 : rows.P0 + len(numbers)] = numbers
        self.rows.append(row)
