"""What a run leaves: every recorded variable as ``[T, B, N]``, and the first place where two runs differ."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import FileFormatError
from neuromorphic.files.container import read_container, write_container
from neuromorphic.wording import counted, some_of

KIND = "pnbx-recording"
FORMAT_VERSION = 2  # 2: a digest for any language
MAX_FILE_BYTES = 16 << 30


@dataclass(frozen=True)
class Divergence:
    """The first value in which two recordings differ."""

    op: str
    variable: str
    step: int
    sample: int
    neuron: int
    expected: int
    got: int

    def __str__(self) -> str:
        return (
            f"first divergence: op {self.op}, variable {self.variable}, step {self.step}, sample {self.sample}, "
            f"neuron {self.neuron}: expected {self.expected}, got {self.got}"
        )


@dataclass(frozen=True)
class Comparison:
    """How many values of two recordings were compared, and how many differ.

    Examples
    --------
    >>> print(Comparison(480, 0, 960, 0, None))
    0 of 480 spikes differ, 0 of 960 states differ
    """

    spikes_compared: int
    spikes_different: int
    states_compared: int
    states_different: int
    first: Divergence | None

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.first is None

    def __str__(self) -> str:
        spikes = f"{self.spikes_different} of {self.spikes_compared} spikes differ"
        states = f"{self.states_different} of {self.states_compared} states differ"
        return f"{spikes}, {states}" + ("" if self.first is None else f"\n{self.first}")


@dataclass(frozen=True, eq=False, repr=False)
class Recording:
    """Variables of a run by name ``"op.variable"``, each ``[T, B, N]``; index t is the program's step t.

    Parameters
    ----------
    variables : Mapping[str, NDArray]
        ``"lif1.spikes"`` uint8, ``"lif1.v"`` int32, ``"readout.y"`` int32, in the program's order.
    executor : str
        Who ran it.
    metadata : Mapping[str, Any]
        JSON-able facts: seconds, versions, the program's SHA-256; ``lengths``, the steps that belong to each sample
        where they were told to :func:`neuromorphic.run`; and ``graded``, the levels of each operation whose spikes are
        graded events.

    Examples
    --------
    >>> a = Recording({"lif1.spikes": np.zeros((2, 1, 3), dtype=np.uint8)}, "numpy")
    >>> changed = a.variables["lif1.spikes"].copy()
    >>> changed[1, 0, 2] = 1
    >>> print(first_divergence(a, Recording({"lif1.spikes": changed}, "other")))
    first divergence: op lif1, variable spikes, step 1, sample 0, neuron 2: expected 0, got 1
    >>> a
    Recording of numpy: 2 steps x 1 sample, 1 variable
    lif1.spikes 3
    firing rates: lif1 0.0 %
    """

    variables: Mapping[str, NDArray[Any]]
    executor: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Steps and samples."""
        num_steps, batch = next(iter(self.variables.values())).shape[:2]
        return num_steps, batch

    def __repr__(self) -> str:
        who = f"Recording of {self.executor}"
        if not self.variables:
            return f"{who}: no variables"
        if any(array.ndim != 3 for array in self.variables.values()):
            return f"{who}: variables that are not [T, B, N]: {some_of(list(self.variables))}"
        (steps, samples), found = self.shape, self.variables.items()
        sizes = f"{counted(steps, 'step')} x {counted(samples, 'sample')}, {counted(len(found), 'variable')}"
        lines = [f"{who}: {sizes}", some_of([f"{name} {array.shape[2]}" for name, array in found])]
        try:
            rates = [f"{name} {100 * rate:.1f} %" for name, rate in self.firing_rates().items()]
        except ValueError as error:  # of lengths that were changed: a repr says so and raises nothing
            rates = [str(error)]
        return "\n".join([*lines, *([f"firing rates: {some_of(rates)}"] if rates else [])])

    def firing_rates(self) -> dict[str, float]:
        """Return spikes per neuron and step by operation name; with ``lengths`` of a sample's own steps only.

        Of graded events it is the share that is not 0.
        """
        graded = self._graded()
        return self._means({name: array != 0 if name in graded else array for name, array in self.spikes().items()})

    def event_means(self) -> dict[str, float]:
        """Return the mean value of graded events by operation name: beside the firing rate, how much they carry."""
        graded = self._graded()
        return self._means({name: array for name, array in self.spikes().items() if name in graded})

    def _graded(self) -> Mapping[str, Any]:
        graded = self.metadata.get("graded", {})
        return graded if isinstance(graded, Mapping) else {}

    def _means(self, spikes: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        lengths = self.lengths
        if lengths is None:
            return {name: float(array.sum() / max(array.size, 1)) for name, array in spikes.items()}
        own = np.arange(self.shape[0])[:, None] < lengths  # [T, B]
        return {name: float(array[own].mean()) for name, array in spikes.items()}

    def spikes(self) -> dict[str, NDArray[np.uint8]]:
        """Return spikes by operation name."""
        return {key.removesuffix(".spikes"): a for key, a in self.variables.items() if key.endswith(".spikes")}

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """Steps that belong to each sample, ``[B]``; ``None``: all steps belong to all.

        Raises
        ------
        ValueError
            When what is stored does not fit the recording (it was changed).
        """
        stored = self.metadata.get("lengths")
        if stored is None:
            return None
        num_steps, batch = next(iter(self.variables.values())).shape[:2]
        whole = isinstance(stored, (list, tuple)) and all(type(n) is int and 1 <= n <= num_steps for n in stored)
        if not whole or len(stored) != batch:
            raise ValueError(f"metadata['lengths'] must be {batch} whole numbers in 1..{num_steps}, got {stored!r:.80}")
        return np.array(stored, dtype=np.int64)

    def labels(self) -> NDArray[np.int64]:
        """Return the class of each sample, ``[B]``: the argmax of the last running sum after a sample's last own step.

        That is the last step of all, or with ``lengths`` step ``lengths[b] - 1``: no step sees a later one, so nothing
        that comes after it can change the label.

        Raises
        ------
        ValueError
            When the program has no ``Readout``.
        """
        sums = [a for key, a in self.variables.items() if key.endswith(".y")]
        if not sums:
            raise ValueError("this recording holds no running sum: the program has no Readout, so there are no labels")
        lengths = self.lengths
        last = sums[-1][-1] if lengths is None else sums[-1][lengths - 1, np.arange(len(lengths))]  # [B, C]
        labels: NDArray[np.int64] = np.argmax(last, axis=1)
        return labels

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the recording to an ``.npz`` and return its SHA-256.

        Raises
        ------
        StorageError
            When the file cannot be written, or could not be read back: metadata that JSON does not know, a dtype that
            files do not hold.
        """
        body = {"executor": self.executor, "metadata": dict(self.metadata), "order": list(self.variables)}
        return write_container(path, KIND, FORMAT_VERSION, body, self.variables, max_bytes=MAX_FILE_BYTES)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recording:
        """Read a recording.

        Raises
        ------
        FileFormatError
            When the file is missing, truncated, altered, newer than this package or not a recording.
        """
        body, arrays, _ = read_container(path, KIND, FORMAT_VERSION, max_bytes=MAX_FILE_BYTES)
        try:
            order, executor, metadata = body["order"], body["executor"], body["metadata"]
            if sorted(order) != sorted(arrays) or not isinstance(executor, str) or not isinstance(metadata, dict):
                raise ValueError(
                    f"order must name every array once, executor be text and metadata a mapping, got {order!r:.100}, "
                    f"{executor!r:.100} and {type(metadata).__name__}"
                )
            if any(array.ndim != 3 for array in arrays.values()):
                raise ValueError(f"variables must be [T, B, N], got {[list(a.shape) for a in arrays.values()][:20]}")
            return cls({name: arrays[name] for name in order}, executor, metadata)
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path}: not a usable recording ({error})") from error


def first_divergence(expected: Recording, got: Recording) -> Divergence | None:
    """Find the earliest step in which two recordings differ, and there the first operation, sample and neuron.

    It is ``None`` when every value is equal. Recordings that hold different variables or shapes are a ``ValueError``.
    """
    if list(expected.variables) != list(got.variables):
        raise ValueError(f"recordings hold different variables: {list(expected.variables)} and {list(got.variables)}")
    for name, array in expected.variables.items():
        if array.shape != got.variables[name].shape:
            raise ValueError(f"{name}: shapes differ, {list(array.shape)} and {list(got.variables[name].shape)}")
    best: Divergence | None = None
    for name, array in expected.variables.items():
        differs = array.astype(np.int64) != got.variables[name].astype(np.int64)  # [T, B, N]
        if not differs.any():
            continue
        step, sample, neuron = (int(i) for i in np.argwhere(differs)[0])
        if best is None or step < best.step:
            op, variable = name.rsplit(".", 1)
            where = (step, sample, neuron)
            best = Divergence(op, variable, *where, int(array[where]), int(got.variables[name][where]))
    return best


def compare(expected: Recording, got: Recording) -> Comparison:
    """Compare two recordings of the same program and inputs value by value; see :func:`first_divergence`."""
    first = first_divergence(expected, got)
    counts = {True: [0, 0], False: [0, 0]}
    for name, array in expected.variables.items():
        count = counts[name.endswith(".spikes")]
        count[0] += array.size
        count[1] += int((array.astype(np.int64) != got.variables[name].astype(np.int64)).sum())
    return Comparison(counts[True][0], counts[True][1], counts[False][0], counts[False][1], first)
