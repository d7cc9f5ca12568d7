"""Recordings of NIR, ``nir.data_ir``: inputs read from them, and what a run leaves written as them.

NIR keeps signals ``[B, T, N]`` on a grid of steps (``TimeGriddedData``) or as a list of events with times in seconds
(``EventData``, with values ``ValuedEventData``), by node and observable (``NIRGraphData``); ``nir.write_data`` and
``nir.read_data`` store them as HDF5. A file here is such a file. It is read in a process of its own, with limits, by
:mod:`neuromorphic.files.hdf5`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import InputError, StorageError
from neuromorphic.files.hdf5 import read_tree
from neuromorphic.formats.nir import nir_package
from neuromorphic.recording import Recording
from neuromorphic.wording import counted

SUFFIXES = (".nir", ".h5", ".hdf5")
MAX_VALUES = 1 << 29  # of a signal on its grid, in 4 bytes each
NEAR = 1e-6  # of a step: an event that stands so little before a step is in it, since times are rounded
Form = Literal["grid", "events"]


def read_nir_data(path: str | os.PathLike[str]) -> Any:
    """Read a ``nir.NIRGraphData`` from a file that nobody vouches for, as ``nir.write_data`` writes it.

    Raises
    ------
    InputError
        When the file is missing, too large, no HDF5, damaged or no such recording.
    CompileError
        When the package ``nir`` is missing.
    """
    nir = nir_package()
    tree = read_tree(path, "NIR data", InputError)
    try:
        return nir.NIRGraphData({name: _node(node) for name, node in tree.items()})
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: not a readable recording of NIR ({type(error).__name__}: {error})") from error


def _node(node: Mapping[str, Any]) -> Any:
    nir = nir_package()
    if node["__type__"] != "NIRNodeData":
        raise ValueError(f"a node is a {node['__type__']}; those of a flat graph are NIRNodeData")
    return nir.NIRNodeData({name: _signal(signal) for name, signal in node["observables"].items()})


def _signal(signal: Mapping[str, Any]) -> Any:
    nir, kind = nir_package(), signal["__type__"]
    if kind == "TimeGriddedData":
        return nir.TimeGriddedData(signal["data"], float(signal["dt"]))
    size = {"n_neurons": int(signal["n_neurons"]), "t_max": float(signal["t_max"])}
    if kind == "EventData":
        return nir.EventData(signal["idx"], signal["time"], **size)
    if kind == "ValuedEventData":
        return nir.ValuedEventData(idx=signal["idx"], time=signal["time"], value=signal["value"], **size)
    raise ValueError(f"an observable is a {kind}")


def write_nir_data(data: Any, path: str | os.PathLike[str]) -> None:
    """Write a ``nir.NIRGraphData`` with ``nir.write_data``, whole or not at all.

    Raises
    ------
    StorageError
        When the file cannot be written.
    """
    nir, target = nir_package(), Path(path)
    written = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        nir.write_data(written, data)
        written.replace(target)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        written.unlink(missing_ok=True)


def signal_of(data: Any, node: str) -> Any:
    """Return the one signal of a ``nir.NIRGraphData`` that is an input: that of ``node``, else of the only node.

    Raises
    ------
    InputError
        When there are several to choose from, or none.
    """
    name = node if node in data.nodes or len(data.nodes) != 1 else next(iter(data.nodes))
    found = data.nodes.get(name)
    signals = {} if found is None else found.observables
    if len(signals) != 1:
        there = ", ".join(f"{key}.{what}" for key, one in data.nodes.items() for what in one.observables)
        raise InputError(
            f"{node}: a recording for an input holds one signal, or one of a node {node!r}, got {there or 'none'}"
        )
    return next(iter(signals.values()))


def array_of(signal: Any, dt: float | None = None) -> NDArray[Any]:
    """Return a signal as inputs ``[T, B, N]``.

    Parameters
    ----------
    signal : nir.TimeGriddedData, nir.EventData or nir.ValuedEventData
        On a grid: taken as it is, booleans as 0 and 1. Events of one unit in one step are counted, and their values
        added: an event at ``time`` is in step ``floor(time / dt)``. An index below 0 is no event.
    dt : float, optional
        Seconds of a step. Events need it; a grid must have this one.

    Raises
    ------
    InputError
        A grid of another ``dt``, events without ``dt``, an event beyond ``t_max`` or ``n_neurons``, times that are no
        numbers, shapes that do not fit, or more than 2^29 values.

    Examples
    --------
    >>> import nir
    >>> events = nir.EventData(idx=np.array([[1, 0, -1]]), time=np.array([[0.0, 0.25, np.inf]]), n_neurons=2, t_max=0.3)
    >>> array_of(events, dt=0.1)[:, 0].tolist()
    [[0, 1], [0, 0], [1, 0]]
    """
    if dt is not None and not 0 < dt < np.inf:
        raise InputError(f"dt must be a positive number of seconds, got {dt!r}")
    if hasattr(signal, "data"):
        grid: NDArray[Any] = np.asarray(signal.data)
        if grid.ndim != 3 or grid.dtype.kind not in "iufb":
            raise InputError(f"a grid of NIR is numbers [B, T, N], got {grid.dtype} {list(grid.shape)}")
        if dt is not None and not np.isclose(signal.dt, dt, rtol=NEAR, atol=0.0):
            raise InputError(f"a step of the recording takes {signal.dt:g} s, one of the program {dt:g} s")
        return np.ascontiguousarray(grid.transpose(1, 0, 2))
    if dt is None:
        raise InputError("events have times in seconds: say how long a step is (dt, --dt)")
    return _gridded(signal, dt)


def _gridded(signal: Any, dt: float) -> NDArray[Any]:
    idx, time = np.asarray(signal.idx), np.asarray(signal.time, dtype=np.float64)
    values = np.asarray(signal.value) if hasattr(signal, "value") else np.ones(idx.shape, dtype=np.int32)
    if idx.ndim != 2 or idx.dtype.kind not in "iu" or not idx.shape == time.shape == values.shape:
        shapes = f"{idx.dtype} {list(idx.shape)}, {list(time.shape)} and {list(values.shape)}"
        raise InputError(f"events are [B, E]: whole indices, times and values of one shape, got {shapes}")
    steps = np.rint(signal.t_max / dt) if np.isfinite(signal.t_max) else np.inf
    if not (steps >= 1 and signal.n_neurons >= 1 and steps * signal.n_neurons * len(idx) <= MAX_VALUES):
        raise InputError(
            f"{counted(len(idx), 'sample')} of t_max {signal.t_max:g} s and {counted(signal.n_neurons, 'unit')} "
            f"at {dt:g} s a step are "
            f"{steps:g} steps; 1 step to {MAX_VALUES} values can be taken"
        )
    sample, event = np.nonzero(idx >= 0)
    unit, at = idx[sample, event], time[sample, event] / dt + NEAR
    outside = ~((at >= 0) & (at < steps)) | (unit >= signal.n_neurons)
    if outside.any():
        worst = int(np.argmax(outside))
        raise InputError(
            f"sample {sample[worst]}: an event of unit {unit[worst]} at {time[sample[worst], event[worst]]:g} s is not "
            f"within {signal.n_neurons} units and {signal.t_max:g} s"
        )
    grid = np.zeros((int(steps), len(idx), signal.n_neurons), dtype=values.dtype)
    np.add.at(grid, (at.astype(np.int64), sample, unit), values[sample, event])
    return grid


def grid_of(values: NDArray[Any], dt: float) -> Any:
    """Return ``[T, B, N]`` as a ``nir.TimeGriddedData``, spikes (uint8 or bool) as booleans."""
    grid = np.ascontiguousarray(values.transpose(1, 0, 2))
    return nir_package().TimeGriddedData(grid.astype(bool) if grid.dtype in (np.uint8, np.bool_) else grid, float(dt))


def events_of(values: NDArray[Any], dt: float) -> Any:
    """Return ``[T, B, N]`` as ``nir.EventData``, or ``nir.ValuedEventData`` where a value is not 0 or 1.

    An event stands in the middle of its step, where rounding cannot move it into another one.
    """
    nir, (num_steps, batch, size) = nir_package(), values.shape
    sample, step, unit = np.nonzero(values.transpose(1, 0, 2))
    counts = np.bincount(sample, minlength=batch)
    column = np.arange(len(sample)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (batch, int(counts.max(initial=0)))
    idx, time, value = np.full(shape, -1), np.full(shape, np.inf), np.zeros(shape, dtype=np.int32)
    idx[sample, column], time[sample, column] = unit, (step + 0.5) * dt
    value[sample, column] = values[step, sample, unit]
    t_max = num_steps * float(dt)
    while int(t_max / dt) < num_steps:  # how NIR counts steps
        t_max = np.nextafter(t_max, np.inf)
    about: dict[str, Any] = {"idx": idx, "time": time, "n_neurons": size, "t_max": float(t_max)}
    if (value <= 1).all() and (value >= 0).all():
        return nir.EventData(**about)
    return nir.ValuedEventData(value=value, **about)


def recording_data(recording: Recording, dt: float, form: Form = "grid") -> Any:
    """Return a recording as a ``nir.NIRGraphData``: a node for each operation, an observable for each variable.

    Parameters
    ----------
    recording : Recording
        What a run left.
    dt : float
        Seconds of a step.
    form : {"grid", "events"}
        Spikes on the grid, or as events. All other variables are whole numbers on the grid.

    Examples
    --------
    >>> spikes = np.array([[[0, 1]], [[1, 1]]], dtype=np.uint8)  # [T, B, N]
    >>> data = recording_data(Recording({"lif.spikes": spikes}, "numpy"), dt=1e-3, form="events")
    >>> data.nodes["lif"].observables["spikes"].idx.tolist()
    [[1, 0, 1]]
    """
    nir = nir_package()
    nodes: dict[str, Any] = {}
    for name, values in recording.variables.items():
        op, variable = name.rsplit(".", 1)
        signal = events_of(values, dt) if form == "events" and variable == "spikes" else grid_of(values, dt)
        nodes.setdefault(op, {})[variable] = signal
    return nir.NIRGraphData({op: nir.NIRNodeData(signals) for op, signals in nodes.items()})
