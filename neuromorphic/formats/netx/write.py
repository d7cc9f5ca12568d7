"""A program as a netx file, read back and run beside the program before it is put in place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import CompileError
from neuromorphic.execution import run
from neuromorphic.files.atomic_write import write_atomically
from neuromorphic.files.hdf5 import check_h5py
from neuromorphic.formats.netx.layers import Layers, layers_of
from neuromorphic.formats.netx.read import read_netx
from neuromorphic.ops import LIF, Delta, Readout
from neuromorphic.program import Program

CHECKED_STEPS, CHECKED_SAMPLES, CHECKED_RATE = 50, 4, 0.3  # of the inputs on which a file is checked


def export_netx(program: Program, path: str | os.PathLike[str]) -> Path:
    """Write a program as a netx file, and read it back.

    Parameters
    ----------
    program : Program
        A chain, in which every layer reads the one before: ``Dense``, ``Conv`` or ``SumPool``, then neurons, then
        ``Delays`` where its spikes come later. Neurons are a ``LIF`` whose arithmetic is that of Lava's own, with an
        ``LI`` before it where its current lasts, or a ``Sigma``, a ``ReLU`` and a ``Delta`` that count as netx's. The
        input is spikes, a ``Scale`` of ones and a ``LIF``, or a ``Delta``. A ``Readout`` may stand at the end; behind
        spikes it becomes a layer that sums in its membrane and must not reach the largest threshold. A ``SumPool``
        becomes a convolution with a group for each channel, since lava-dl reads no pools.
    path : str or PathLike
        Where to write; an existing file is replaced only once the new one is whole.

    Returns
    -------
    Path
        The file. ``lava.lib.dl.netx.hdf5.Network(net_config=path, reset_interval=T, reset_offset=1)`` builds it for
        samples of ``T`` steps that follow each other. Without ``reset_offset=1`` each layer clears itself one step
        early, and the last step of the sample before leaks into the next. lava-dl cannot reset sigma-delta neurons.

    Raises
    ------
    CompileError
        If the program is none that netx can hold, or that lava-dl would read otherwise; the message names the operation
        and the reason.
    StorageError
        If it cannot be written.
    """
    write_atomically(Path(path), _checked_bytes(program, layers_of(program)))
    return Path(path)


def check(program: Program) -> str | None:
    """Raise the error of :func:`export_netx` for a program that netx cannot hold; say what lava-dl does otherwise."""
    layers = layers_of(program)
    _checked_bytes(program, layers)
    return "; ".join(layers.notes) or None


def write(program: Program, path: str | os.PathLike[str]) -> str:
    """Write a netx file, see :func:`export_netx`; return what was checked, and what lava-dl does otherwise."""
    layers = layers_of(program)
    write_atomically(Path(path), _checked_bytes(program, layers))
    return "; ".join([f"{len(program.ops)} operations, read back and firing equally", *layers.notes])


def _checked_bytes(program: Program, layers: Layers) -> bytes:
    """Return the file of a program, which was read back and ran beside it."""
    check_h5py("netx", CompileError)
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "written.net"
        with h5py.File(written, "w") as file:
            for number, fields in enumerate(layers.fields):
                _write(file.create_group(f"layer/{number}"), fields)
        _check_equal(program, read_netx(written, num_steps=program.num_steps), layers.variables)
        return written.read_bytes()


def _check_equal(program: Program, back: Program, variables: list[str]) -> None:
    """Run what was read back beside the program: every layer must send and hold the same."""
    port, rng = program.input, np.random.default_rng(0)
    shape = (min(program.num_steps, CHECKED_STEPS), CHECKED_SAMPLES, port.size)
    inputs: NDArray[Any] = (rng.random(shape) < CHECKED_RATE).astype(np.int32)
    if (port.low, port.high) != (0, 1):
        inputs *= rng.integers(max(port.low, back.input.low), min(port.high, back.input.high) + 1, shape, np.int32)
    expected, got = (run(each, inputs).variables for each in (program, back))
    kinds = {LIF: "v", Delta: "delta", Readout: "y"}
    names = [f"{op.name}.{kinds[type(op)]}" for op in back.ops if type(op) in kinds]
    for mine, theirs in zip(variables, names, strict=True):
        if not np.array_equal(expected[mine], got[theirs]):
            raise CompileError(f"{mine.split('.')[0]}: what was written fires otherwise when it is read back")


def _write(group: Any, entries: dict[str, Any]) -> None:
    for name, value in entries.items():
        if isinstance(value, dict):
            _write(group.create_group(name), value)
        else:
            group[name] = value
