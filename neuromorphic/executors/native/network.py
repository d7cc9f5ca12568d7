"""A program that is ready to run: one step at a time, or many, in memory that does not grow."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.bounds import ANY_STEPS, most_steps
from neuromorphic.errors import ExecutorError, InputError
from neuromorphic.executors.native import arrays, rows
from neuromorphic.executors.native.alignment import aligned_zeros
from neuromorphic.executors.native.layout import Held
from neuromorphic.executors.native.object_code import addresses_of, function_at
from neuromorphic.executors.native.operations import lay_out
from neuromorphic.executors.native.port import Port
from neuromorphic.executors.native.rows import FINE, INPUTS  # by their own names, as every step looks them up
from neuromorphic.program import Program
from neuromorphic.wording import counted

STEPS_A_CALL = 256


def give_back_memory() -> None:
    """Return to the system what proving and packing took and freed: several times the packed weights."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # not glibc
        return
    trim(ctypes.c_size_t(0))


class NativeNetwork:
    """A program as packed weights and the state of ``batch`` samples, run by one compiled loop.

    Equal to the NumPy reference bit for bit. Weights take two bits if ternary (in convolutions of spikes two bytes for
    each that is not 0), spikes one; a step allocates nothing, and the program itself is not stored. A network is one
    stream: it refuses to run in two threads at once.

    Parameters
    ----------
    program : Program
        Any program; its bounds are proven first.
    batch : int
        Samples that run side by side.
    threads : int
        Threads that share the samples; at most as many as these are used.

    Raises
    ------
    BoundError
        When an accumulator could overflow.
    ExecutorError
        For an operation that this executor does not know, or a batch or a number of threads below 1.

    Examples
    --------
    >>> from neuromorphic import LIF, Dense, Input, Program, Readout
    >>> one = np.ones(1, dtype=np.int32)
    >>> ops = (
    ...     Input("x", 2),
    ...     Dense("fc", "x", np.array([[1, 1]], dtype=np.int8)),
    ...     LIF("lif", ("fc",), decay=4096 * one, threshold=2 * one, bias=0 * one, shift=0),
    ...     Dense("out", "lif", np.array([[1]], dtype=np.int8)),
    ...     Readout("readout", ("out",), bias=0 * one, shift=0),
    ... )
    >>> network = NativeNetwork(Program(ops, num_steps=4))
    >>> x = np.ones((1, 2), dtype=np.int32)
    >>> [int(network.step(x)[0, 0]) for _ in range(4)]
    [0, 1, 1, 2]
    """

    def __init__(self, program: Program, *, batch: int = 1, threads: int = 1) -> None:
        for name, value in (("batch", batch), ("threads", threads)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ExecutorError(f"native: {name} must be an integer of 1 or more, got {value!r}")
        proven = most_steps(program)
        self._most_steps = sys.maxsize if proven == ANY_STEPS else proven
        self.batch, self.threads = batch, min(threads, batch)
        self._port = Port(program.input, batch)
        layout = lay_out(program)
        self._variables, self._spike_counts, self._starts = layout.variables, layout.spike_counts, layout.starts
        self._table = np.stack(layout.rows)
        self._links = np.array([*layout.links, -1], dtype=np.int64)
        self._params, self._words, self._small = (x.build() for x in (layout.params, layout.words, layout.small))
        ints, bits, counts = (max(x.size, 1) for x in (layout.ints, layout.bits, layout.counts))
        self._ints = aligned_zeros((batch, ints), np.int32)
        self._bits = aligned_zeros((batch, bits), np.uint64)
        self._counts = np.zeros((batch, counts), dtype=np.int64)
        self._head, self._lock = np.zeros(rows.HEAD_WIDTH, dtype=np.int64), Lock()
        self._acquire, self._release = self._lock.acquire, self._lock.release
        self._one_step = self._arguments(0, (0, batch), 1)
        self._one_step_place = ctypes.addressof(self._one_step)
        self.reset()  # zeros that were never written are not in memory yet: it would grow later
        entries = [rows.ENTRIES.get(int(kind), "run_steps") for kind in self._table[:, rows.KIND]]  # inputs have none
        addresses = addresses_of([*entries, "run_steps"])
        self._table[:, rows.CODE] = [addresses[entry] for entry in entries]
        self._run_steps = function_at(addresses["run_steps"], 1)
        self._head[:] = (
            self._table.ctypes.data, len(self._table),
            *(x.ctypes.data for x in (self._links, self._params, self._words, self._small)),
            *(x.ctypes.data for x in (self._ints, self._bits, self._counts)), ints, bits, counts,
            self._port.low, self._port.high, batch, self._port.size, *arrays.TYPES,
        )  # fmt: skip
        self._one_step[rows.ALONE], self._one_step[rows.MOST_STEPS] = 1, self._most_steps if self.threads == 1 else 0
        self._pool: tuple[int, ThreadPoolExecutor] | None = None
        del layout
        give_back_memory()
        shown = [name for name in self._variables if not name.endswith(".E")]  # fingerprints are for recordings
        self.output = ([name for name in shown if name.endswith(".y")] or shown or [""])[-1]
        self._output_view = self.view(self.output) if self.output else np.zeros((1, 0), dtype=np.int32)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, batch: int = 1, threads: int = 1) -> NativeNetwork:
        """Load a program file, as :meth:`Program.load` does, and hold only what runs: less memory stays taken."""
        network = cls(Program.load(path), batch=batch, threads=threads)
        give_back_memory()  # what held the program, which lay between what stays
        return network

    def __getstate__(self) -> None:
        raise TypeError("a NativeNetwork holds addresses and cannot be copied or pickled; make another of its program")

    def reset(self) -> None:
        """Start all samples anew: states as at the beginning, no events in delays, spike counts zero."""
        self._begin(0)
        try:
            for state in (self._ints, self._bits, self._counts):
                state.fill(0)
            for place, values in self._starts:
                self._ints[:, place : place + values.size] = values
            self._one_step[rows.TIME] = 0
        finally:
            self._lock.release()

    @property
    def time(self) -> int:
        """Steps since the reset."""
        return self._one_step[rows.TIME]

    @property
    def most_steps(self) -> int | None:
        """Steps from a reset in which every accumulator is proven to fit; ``None``: any number, as of most programs."""
        return None if self._most_steps == sys.maxsize else self._most_steps

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of what a recording can hold, ``"op.variable"``."""
        return tuple(self._variables)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed weights and keys."""
        return self._words.nbytes + self._small.nbytes

    @property
    def parameter_bytes(self) -> int:
        """Bytes of thresholds, decays, factors, tables and the like."""
        return self._params.nbytes + self._table.nbytes + self._links.nbytes

    @property
    def state_bytes(self) -> int:
        """Bytes of all states, values and spikes of all samples: all that a run of any length needs."""
        return self._ints.nbytes + self._bits.nbytes + self._counts.nbytes

    def view(self, name: str) -> NDArray[Any]:
        """Return a read-only view of a variable ``"op.variable"``: it shows the present step and moves on with it.

        Fingerprints (``E`` of ``Slots``) are computed in recordings only.

        Returns
        -------
        NDArray
            int32 ``[B, N]`` (a matrix: ``[B, r, r]``); spikes of 0 and 1 as bits, uint64 ``[B, N / 64]``, the first
            lowest.

        Raises
        ------
        ExecutorError
            When there is no such variable.
        """
        held = self._held(name)
        if held.form == rows.AS_BITS:
            shown: NDArray[Any] = self._bits[:, held.place : held.place + -(-held.columns // 64)]
        elif held.rows == 1:
            shown = self._ints[:, held.place : held.place + held.columns]
        else:
            last = held.place + (held.rows - 1) * held.stride + held.columns
            strides = (self._ints.strides[0], 4 * held.stride, 4)
            shape = (self.batch, held.rows, held.columns)
            shown = np.lib.stride_tricks.as_strided(self._ints[:, held.place : last], shape, strides)
        shown = shown.view()
        shown.setflags(write=False)
        return shown

    def spikes(self, name: str) -> NDArray[np.uint8]:
        """Return the spikes of an operation in the present step, unpacked: a new array ``[B, N]``."""
        held = self._held(f"{name}.spikes")
        if held.form == rows.AS_BYTES:
            return self.view(f"{name}.spikes").astype(np.uint8)
        packed = np.ascontiguousarray(self.view(f"{name}.spikes")).view(np.uint8)
        return np.unpackbits(packed, axis=1, count=held.columns, bitorder="little")

    def spike_counts(self) -> dict[str, NDArray[np.int64]]:
        """Return how many spikes each operation fired since the reset, ``[B]``."""
        return {name: self._counts[:, place].copy() for name, place in self._spike_counts.items()}

    def _held(self, name: str) -> Held:
        if name not in self._variables:
            raise ExecutorError(f"native: there is no variable {name!r}; the program has {', '.join(self._variables)}")
        return self._variables[name]

    def step(self, x: NDArray[Any]) -> NDArray[Any]:
        """Run one step.

        Parameters
        ----------
        x : NDArray
            int32 ``[B, N]``; or, for spikes, uint64 ``[B, ceil(N / 64)]`` of bits as :func:`bits_of` packs them.

        Returns
        -------
        NDArray
            The view of :attr:`output`: of the last running sum; without one of the last variable, of ``Slots`` what
            they read; without any, ``[1, 0]``. See :meth:`view`.

        Raises
        ------
        InputError
            Wrong dtype, shape, layout or range, or one step more than :attr:`most_steps`; nothing has changed then.
        ExecutorError
            When another thread is running the network.
        """
        if self._acquire(False):
            try:
                self._one_step[INPUTS] = id(x)
                found = self._run_steps(self._one_step_place)
            finally:
                self._release()
            if found == FINE:
                return self._output_view
        # Nothing has changed; several threads, another layout in memory, or an error to raise.
        self._run(self._port.checked(x[np.newaxis] if isinstance(x, np.ndarray) else x, one_step=True))
        return self._output_view

    def run(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Run many steps, ``[T, B, N]`` of what :meth:`step` takes; return and raise what that does for the last."""
        self._run(self._port.checked(inputs))
        return self._output_view

    def record(
        self,
        inputs: NDArray[Any],
        variables: Iterable[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Run many steps and return variables of each.

        Parameters
        ----------
        inputs : NDArray
            ``[T, B, N]`` of what :meth:`step` takes.
        variables : iterable of str, optional
            Names of those; by default all.
        progress : callable, optional
            Called with (steps done, steps in all).

        Returns
        -------
        dict of NDArray
            ``[T, B, N]`` each, in the program's order, spikes as uint8.
        """
        array = self._port.checked(inputs)
        wanted = set(self._variables) if variables is None else {str(name) for name in variables}
        for name in wanted:
            self._held(name)
        kept = {name: held for name, held in self._variables.items() if name in wanted}
        num_steps = len(array)
        table = np.zeros((len(kept), rows.REC_WIDTH), dtype=np.int64)
        sizes = {True: 0, False: 0}
        for row, held in zip(table, kept.values(), strict=True):
            as_ints = held.form == rows.AS_INTS
            row[:] = (held.form, held.place, held.rows, held.columns, held.stride, sizes[as_ints])
            sizes[as_ints] += num_steps * self.batch * held.size
        ints, spikes = np.zeros(max(sizes[True], 1), dtype=np.int32), np.zeros(max(sizes[False], 1), dtype=np.uint8)
        marks = any(name.endswith(".E") for name in kept)
        self._run(array, (table, ints, spikes), marks, progress)
        found: dict[str, NDArray[Any]] = {}
        for row, (name, held) in zip(table, kept.items(), strict=True):
            first, size = int(row[rows.REC_START]), num_steps * self.batch * held.size
            whole: NDArray[Any] = ints if held.form == rows.AS_INTS else spikes
            found[name] = whole[first : first + size].reshape(num_steps, self.batch, held.size)
        return found

    def _run(
        self,
        inputs: NDArray[Any],
        recording: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]] | None = None,
        marks: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Run all steps, some at a time: in between, Ctrl-C and a progress bar get their turn."""
        num_steps = len(inputs)
        self._begin(num_steps)
        try:
            self._call(inputs, (0, 0), (0, 0, 0, 0), marks)  # all inputs are looked at before the first step
            for start in range(0, num_steps, STEPS_A_CALL):
                part = inputs[start : start + STEPS_A_CALL]
                kept = (0, 0, 0, 0)
                if recording is not None:
                    table, ints, spikes = recording
                    moved = table.copy()
                    values = table[:, rows.REC_ROWS] * table[:, rows.REC_COLUMNS]
                    moved[:, rows.REC_START] += start * self.batch * values
                    kept = (moved.ctypes.data, len(table), ints.ctypes.data, spikes.ctypes.data)
                if self.threads == 1:
                    self._call(part, (0, self.batch), kept, marks)
                else:
                    ends = [self.batch * i // self.threads for i in range(self.threads + 1)]
                    if self._pool is None or self._pool[0] != os.getpid():  # threads do not survive a fork
                        workers = ThreadPoolExecutor(self.threads, thread_name_prefix="neuromorphic-native")
                        self._pool = (os.getpid(), workers)
                    calls = [self._pool[1].submit(self._call, part, span, kept, marks) for span in pairwise(ends)]
                    for call in calls:
                        call.result()
                self._one_step[rows.TIME] += len(part)
                if progress is not None:
                    progress(start + len(part), num_steps)
        finally:
            self._lock.release()

    def _call(self, inputs: NDArray[Any], span: tuple[int, int], kept: tuple[int, ...], marks: bool) -> None:
        usable = inputs if inputs.flags.carray else inputs.copy()
        packed = int(inputs.dtype == np.uint64)
        arguments = self._arguments(id(usable), span, len(inputs), self.time, packed, int(marks), *kept)
        bad = self._run_steps(ctypes.addressof(arguments))
        if bad != FINE:
            self._port.refuse(inputs, bad)

    def _arguments(
        self, inputs: int, span: tuple[int, int], num_steps: int, *more: int
    ) -> ctypes.Array[ctypes.c_int64]:
        return (ctypes.c_int64 * rows.CALL_WIDTH)(self._head.ctypes.data, inputs, *span, num_steps, *more)

    def _begin(self, count: int) -> None:
        """Take the lock for so many steps, or refuse them: a second caller would mix its stream with the first's."""
        if not self._lock.acquire(blocking=False):
            raise ExecutorError("native: this network is running in another thread; a network is one stream")
        if self.time + count > self._most_steps:
            self._lock.release()
            raise InputError(
                f"{self._port.name}: {counted(count, 'more step')} would make {self.time + count} since the reset, "
                "the program is "
                f"proven for at most {self._most_steps}; reset() starts anew"
            )
