"""Read a specification of Xylo as a program."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import FileFormatError, NeuromorphicError
from neuromorphic.executors.xylosim.network import MOST_INPUT, MOST_OUTPUT, xylo_network
from neuromorphic.files.canonical import read_json
from neuromorphic.files.regular_files import read_regular
from neuromorphic.formats.xylo.write import NEURONS, specification
from neuromorphic.ops import Delay, Input, Operation, XyloLIF
from neuromorphic.ops.shift_lif import MOST_SPIKES
from neuromorphic.program import Program

MAX_BYTES = 64 << 20
MAX_NEURONS = 1024
DEFAULT_STEPS = 100
_SHIFTS = ("weight_shift_in", "weight_shift_rec", "weight_shift_out")


def read_xylo(path: str | os.PathLike[str], *, num_steps: int | None = None) -> Program:
    """Read a specification: one that :func:`~neuromorphic.formats.xylo.export_xylo` wrote, or one of rockpool's.

    A dictionary of rockpool is read from ``{"specification": {...}}``, its arrays as nested lists; what rockpool lets
    out has its defaults. Its hidden neurons become ``hidden``, its output neurons ``out``, and ``late`` is what hidden
    neurons fired a step before.

    Parameters
    ----------
    path : str or PathLike
        The file, JSON.
    num_steps : int, optional
        Steps of a sample; ``None``: those in the file, else 100.

    Returns
    -------
    Program
        Of ``XyloLIF``; equal to the one that was written, metadata included.

    Raises
    ------
    FileFormatError
        When the file is no specification, or uses what programs do not have: a second synapse, aliases, shifts of
        weights, a threshold of 0.
    """
    data = read_regular(path, FileFormatError, max_bytes=MAX_BYTES)
    try:
        body = read_json(data)
        if not isinstance(body, dict) or not isinstance(body.get("specification"), dict):
            raise TypeError('it must be an object with an object "specification"')
        spec = _checked(body["specification"])
        ops, steps, metadata = _wiring(body.get("program"), spec)
        program = Program(tuple(ops), num_steps=steps if num_steps is None else num_steps, metadata=metadata)
        same = specification(xylo_network(program))
        if any(not np.array_equal(spec[key], value) for key, value in same.items()):
            raise ValueError("its program and its specification are of different networks")
    except (KeyError, TypeError, ValueError, OverflowError, NeuromorphicError) as error:
        raise FileFormatError(f"{path}: not a usable specification of Xylo ({error})") from error
    return program


def _checked(given: dict[str, Any]) -> dict[str, NDArray[np.int64]]:
    """Return the arrays of a specification, with rockpool's defaults."""
    given = {key: value for key, value in given.items() if value is not None}
    spec = {
        "weights_in": _whole(given, "weights_in", 2),
        "weights_out": _whole(given, "weights_out", 2),
    }
    (hidden, outputs), (channels, reached) = spec["weights_out"].shape, spec["weights_in"].shape
    if not (hidden <= MAX_NEURONS and outputs <= MAX_NEURONS and channels <= MAX_NEURONS and reached <= hidden):
        raise ValueError(f"weights_in is {channels} x {reached}, weights_out {hidden} x {outputs}")
    spec["weights_in"] = np.pad(spec["weights_in"], ((0, 0), (0, hidden - reached)))
    none = np.zeros((hidden, hidden), dtype=np.int64)
    spec["weights_rec"] = _whole(given, "weights_rec", 2, none)
    for suffix, count in (("", hidden), ("_out", outputs)):
        one, zero = np.ones(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        for theirs, default in (
            *((name, one) for name in NEURONS.values() if name != "threshold"),
            ("threshold", zero),
        ):
            spec[f"{theirs}{suffix}"] = _whole(given, f"{theirs}{suffix}", 1, default)
        name = "bias_out" if suffix else "bias_hidden"
        spec[name] = _whole(given, name, 1, zero)
    _refuse_what_is_not_there(given, spec)
    return spec


def _refuse_what_is_not_there(given: dict[str, Any], spec: dict[str, NDArray[np.int64]]) -> None:
    known = {*spec, *_SHIFTS, "dash_syn_2", "aliases", "dt"}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"it has an unknown part {unknown[0]!r}; the bias of hidden neurons is 'bias_hidden'")
    for name in _SHIFTS:
        if given.get(name, 0) != 0:
            raise ValueError(f"{name} must be 0, got {given[name]!r:.40}")
    if any(given.get("aliases", [])):
        raise ValueError("aliases are not read: a program has no neuron that fires for another")


def _whole(given: dict[str, Any], name: str, axes: int, default: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return an array of whole numbers; of weights with a second synapse the first, where the second is 0."""
    if name not in given:
        if default is None:
            raise ValueError(f"it lacks {name}")
        return default
    array = np.array(given[name])
    if name in ("weights_in", "weights_rec") and array.ndim == 3:
        if array.shape[2] > 1 and array[:, :, 1:].any():
            raise ValueError(f"{name} has weights of a second synapse, which programs do not have")
        array = array[:, :, 0]
    if array.dtype != np.int64 or array.ndim != axes or array.size == 0:
        raise ValueError(f"{name} must be whole numbers with {axes} axes, got {array.dtype}{list(array.shape)}")
    if default is not None and array.shape != default.shape:
        raise ValueError(f"{name} must be {list(default.shape)}, got {list(array.shape)}")
    return array.astype(np.int64)


def _wiring(written: Any, spec: dict[str, NDArray[np.int64]]) -> tuple[list[Operation], int, dict[str, Any]]:
    """Return the operations, steps and metadata that a file states, or those of a specification alone."""
    channels, hidden = spec["weights_in"].shape
    outputs = spec["weights_out"].shape[1]
    if written is None:
        loops = bool(spec["weights_rec"].any())
        into = {"sources": ["x", *["late"] * loops], "widths": [channels, *[hidden] * loops]}
        out = {"sources": ["late"], "widths": [hidden]}
        wiring: list[dict[str, Any]] = [
            {"op": "Input", "name": "x", "size": channels, "low": 0, "high": MOST_INPUT},
            {"op": "Delay", "name": "late", "source": "hidden", "size": hidden},
            {"op": "XyloLIF", "name": "hidden", "size": hidden, "most_spikes": MOST_SPIKES, **into},
            {"op": "XyloLIF", "name": "out", "size": outputs, "most_spikes": MOST_OUTPUT, **out},
        ]
        written = {"num_steps": DEFAULT_STEPS, "metadata": {}, "ops": wiring}
    wiring = [dict(entry) for entry in written["ops"]]
    plain = [{key: value for key, value in entry.items() if key != "op"} for entry in wiring]
    populations = [(entry["op"], one) for entry, one in zip(wiring, plain, strict=True)]
    places, ends = {}, {True: 0, False: 0}
    for kind, entry in populations:
        if kind == "XyloLIF":
            is_output, size = entry["most_spikes"] == MOST_OUTPUT, int(entry["size"])
            places[entry["name"]] = slice(ends[is_output], ends[is_output] + size)
            ends[is_output] += size
    origins = {entry["name"]: entry["source"] for kind, entry in populations if kind == "Delay"}
    ops: list[Operation] = []
    for kind, entry in populations:
        if kind != "XyloLIF":
            ops.append({"Input": Input, "Delay": Delay}[kind](**entry))
            continue
        suffix = "_out" if entry["most_spikes"] == MOST_OUTPUT else ""
        columns = places[entry["name"]]
        del entry["size"]
        parts = [
            spec["weights_out" if suffix else "weights_rec"][places[origins[source]], columns].T
            if source in origins
            else spec["weights_in"][:, columns].T
            for source in entry["sources"]
        ]
        neurons: dict[str, Any] = {ours: spec[f"{theirs}{suffix}"][columns] for ours, theirs in NEURONS.items()}
        neurons["bias"] = spec["bias_out" if suffix else "bias_hidden"][columns]
        ops.append(XyloLIF(**entry, weights=np.concatenate(parts, axis=1), **neurons))
    return ops, written["num_steps"], written["metadata"]
