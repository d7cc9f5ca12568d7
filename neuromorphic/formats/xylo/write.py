"""Write a program as a specification of Xylo, in JSON."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from neuromorphic.errors import CompileError
from neuromorphic.executors.xylosim.network import XyloNetwork, xylo_network
from neuromorphic.files.atomic_write import write_atomically
from neuromorphic.formats.xylo.limits import check_limits
from neuromorphic.formats.xylo.order import saturating, to_xylo
from neuromorphic.ops import Operation, XyloLIF
from neuromorphic.program import Program

NEURONS = {"synapse_shift": "dash_syn", "membrane_shift": "dash_mem", "threshold": "threshold"}
"""Rockpool's names of parameters; those of output neurons end in ``_out``. Biases are ``bias_hidden``, ``bias_out``."""


def export_xylo(program: Program, path: str | os.PathLike[str]) -> Path:
    """Write a program for XyloAudio 2: ``{"specification": {...}, "program": {...}}``.

    Parameters
    ----------
    program : Program
        Of ``XyloLIF``, or of ``Dense`` and ``ShiftLIF`` that are proven equal to that: see
        :func:`~neuromorphic.formats.xylo.to_xylo`.
    path : str or PathLike
        Where to write; an existing file is replaced only once the new one is whole.

    Returns
    -------
    Path
        The file. ``"specification"`` holds the arguments of rockpool's ``config_from_specification`` as nested lists,
        which it takes as arrays; ``"program"`` the names and wiring of the operations, for
        :func:`~neuromorphic.formats.xylo.read_xylo`.

    Raises
    ------
    CompileError
        When the program is no network of Xylo, exceeds a limit of the chip, or depends on the order of its events.
    StorageError
        If it cannot be written.

    References
    ----------
    rockpool 3.0, ``rockpool/devices/xylo/syns61201/xylo_samna.py``, ``config_from_specification``.
    """
    write_atomically(Path(path), _content(program))
    return Path(path)


def check(program: Program) -> None:
    """Raise the error of :func:`export_xylo` for a program that the chip cannot hold."""
    _content(program)


def write(program: Program, path: str | os.PathLike[str]) -> str:
    """Write a program with :func:`export_xylo`; return its sizes."""
    export_xylo(program, path)
    network = xylo_network(to_xylo(program))
    (channels, hidden), outputs = network.inputs.shape, network.outputs.shape[1]
    return f"{channels} input channels, {hidden} hidden neurons, {outputs} output neurons"


def specification(network: XyloNetwork) -> dict[str, Any]:
    """Return the arguments of rockpool's ``config_from_specification``; without biases it switches those off."""
    spec: dict[str, Any] = {
        "weights_in": network.inputs,
        "weights_rec": network.recurrent,
        "weights_out": network.outputs,
    }
    for suffix, neurons in (("", network.hidden), ("_out", network.out)):
        spec |= {f"{theirs}{suffix}": neurons[ours] for ours, theirs in NEURONS.items()}
    if network.hidden["bias"].any() or network.out["bias"].any():
        spec |= {"bias_hidden": network.hidden["bias"], "bias_out": network.out["bias"]}
    return spec


def _content(program: Program) -> bytes:
    made = to_xylo(program)
    name = saturating(made)
    if made is not program and name is not None:
        raise CompileError(
            f"{name}: a partial sum can leave 16 bits, where Xylo's result depends on the order of the events and that "
            "of ShiftLIF does not; neuromorphic.formats.xylo.to_xylo(program) returns the program that does what Xylo "
            "does: measure that, and export it"
        )
    network = xylo_network(made)
    check_limits(network)
    spec = {key: np.asarray(value).tolist() for key, value in specification(network).items()}
    wiring = [_scalars(op) for op in made.ops]
    kept = {"num_steps": made.num_steps, "metadata": dict(made.metadata), "ops": wiring}
    return json.dumps({"specification": spec, "program": kept}, indent=1).encode()


def _scalars(op: Operation) -> dict[str, Any]:
    """Return what the specification does not hold of an operation: its type, names and sizes."""
    found = {f.name: getattr(op, f.name) for f in fields(op)}  # type: ignore[arg-type]
    plain = {key: value for key, value in found.items() if not isinstance(value, np.ndarray)}
    return {"op": type(op).__name__, **plain, **({"size": op.size} if isinstance(op, XyloLIF) else {})}
