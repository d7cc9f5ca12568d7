"""A program as a netx file, read back and run beside the program before it is put in place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from neuromorphic.bounds import prove
from neuromorphic.errors import CompileError
from neuromorphic.execution import run
from neuromorphic.executors.lava.mapping import LIF_INPUT_SHIFT, MAX_MANTISSA, MAX_VTH, Layout
from neuromorphic.files.atomic_write import write_atomically
from neuromorphic.files.hdf5 import check_h5py
from neuromorphic.formats.netx.neurons import BIAS_EXPONENT
from neuromorphic.formats.netx.read import read_netx
from neuromorphic.formats.netx.weights import misread, out_of_range
from neuromorphic.integers.numbers import DECAY_ONE
from neuromorphic.ops import LIF, Dense, Readout
from neuromorphic.program import Program

CHECKED_STEPS, CHECKED_SAMPLES, CHECKED_RATE = 50, 4, 0.3  # of the spikes on which a file is checked


def _chain(program: Program) -> list[tuple[Dense, LIF | Readout]]:
    """Return the layers of a chain, or say what is none."""
    if (program.input.low, program.input.high) != (0, 1):
        span = f"{program.input.low}..{program.input.high}"
        raise CompileError(f"{program.input.name}: netx takes spikes, 0 or 1, got {span}")
    layers: list[tuple[Dense, LIF | Readout]] = []
    before: str = program.input.name
    rest = iter(program.ops[1:])
    for dense in rest:
        neurons = next(rest, None)
        if not isinstance(dense, Dense) or not isinstance(neurons, (LIF, Readout)):
            culprit = dense if not isinstance(dense, Dense) else neurons
            what = "nothing" if culprit is None else f"{culprit.name} ({type(culprit).__name__})"
            raise CompileError(f"{what}: netx holds synapses and neurons in turn")
        if dense.source != before or neurons.sources != (dense.name,):
            raise CompileError(f"{dense.name}: netx holds a chain, every layer reads the one before and no other")
        layers.append((dense, neurons))
        before = neurons.name
    return layers


def _layer(dense: Dense, neurons: LIF | Readout) -> dict[str, Any]:
    """Return the entries of a layer."""
    shift = dense.shift + neurons.shift - LIF_INPUT_SHIFT
    if shift < 0:
        raise CompileError(
            f"{neurons.name}: netx shifts its input by {LIF_INPUT_SHIFT}, this needs {dense.shift + neurons.shift}; "
            "counted in finer units it would fit"
        )
    weights = dense.weights.astype(np.int64) << shift
    problem = out_of_range(weights) or misread(weights)
    if problem:
        raise CompileError(f"{dense.name}: {problem}; NIR holds them (--to nir)")
    mantissa, left = np.divmod(neurons.bias.astype(np.int64), 1 << BIAS_EXPONENT)
    if left.any() or int(np.abs(mantissa).max()) > MAX_MANTISSA:
        raise CompileError(f"{neurons.name}: a bias must be a multiple of 64 with a mantissa of 13 bits in netx")
    if isinstance(neurons, LIF):
        decay, threshold = int(neurons.decay[0]), int(neurons.threshold[0]) >> LIF_INPUT_SHIFT
    else:  # a sum: no leak, and a threshold that it must not reach
        decay, threshold = DECAY_ONE, MAX_VTH
    neuron = {"type": b"CUBA", "iDecay": DECAY_ONE}  # Lava's du is this minus one: the current lasts one step
    neuron |= {"vDecay": DECAY_ONE - decay, "vThMant": threshold, "refDelay": 1, "gradedSpike": False}
    layer: dict[str, Any] = {"type": b"dense", "shape": [neurons.size], "inFeatures": dense.weights.shape[1]}
    layer |= {"outFeatures": neurons.size, "weight": weights.astype(np.int32), "neuron": neuron}
    return layer | ({"bias": mantissa.astype(np.int32)} if mantissa.any() else {})


def export_netx(program: Program, path: str | os.PathLike[str]) -> Path:
    """Write a program as a netx file, and read it back.

    Parameters
    ----------
    program : Program
        A chain of ``Dense`` and ``LIF`` on spikes, with a ``Readout`` at its end if there is one. Every ``LIF`` must be
        one that Lava's own ``LIFReset`` runs; a ``Readout`` becomes a layer that sums in its membrane and must not
        reach the largest threshold.
    path : str or PathLike
        Where to write; an existing file is replaced only once the new one is whole.

    Returns
    -------
    Path
        The file. ``lava.lib.dl.netx.hdf5.Network(net_config=path, reset_interval=T, reset_offset=1)`` builds it for
        samples of ``T`` steps that follow each other. Without ``reset_offset=1`` each layer clears itself one step
        early, and the last step of the sample before leaks into the next.

    Raises
    ------
    CompileError
        If the program is none that netx can hold, or that lava-dl would read otherwise; the message names the operation
        and the reason.
    StorageError
        If it cannot be written.
    """
    write_atomically(Path(path), _checked_bytes(program))
    return Path(path)


def check(program: Program) -> None:
    """Raise the error of :func:`export_netx` for a program that netx cannot hold."""
    _checked_bytes(program)


def write(program: Program, path: str | os.PathLike[str]) -> str:
    """Write a netx file, see :func:`export_netx`; return what was checked."""
    export_netx(program, path)
    return f"{len(program.ops)} operations, read back and firing equally"


def _checked_bytes(program: Program) -> bytes:
    """Return the file of a program, which was read back and ran beside it."""
    check_h5py("netx", CompileError)
    layout = Layout(program)
    layers = _chain(program)
    for _, neurons in layers:
        if isinstance(neurons, LIF) and not layout.placements[neurons.name].stock:
            raise CompileError(f"{neurons.name}: not for Lava's stock LIF ({layout.placements[neurons.name].reason})")
        if isinstance(neurons, Readout):
            _check_sum(program, neurons)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "written.net"
        _write_file(written, program.input.size, [_layer(*layer) for layer in layers])
        _check_equal(program, read_netx(written, num_steps=program.num_steps), layers)
        return written.read_bytes()


def _write_file(path: Path, inputs: int, layers: list[dict[str, Any]]) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        group = file.create_group("layer")
        _write(group.create_group("0"), {"type": b"input", "shape": [inputs]})
        for number, layer in enumerate(layers, start=1):
            _write(group.create_group(str(number)), layer)


def _check_sum(program: Program, readout: Readout) -> None:
    bound = next(bound for bound in prove(program) if bound.name == readout.name)
    if bound.peak > MAX_VTH << LIF_INPUT_SHIFT:
        raise CompileError(
            f"{readout.name}: its sum can reach {bound.peak}, a netx layer that only sums holds "
            f"{MAX_VTH << LIF_INPUT_SHIFT}; fewer steps or a smaller shift"
        )


def _check_equal(program: Program, back: Program, layers: list[tuple[Dense, LIF | Readout]]) -> None:
    """Run what was read back beside the program: every layer must fire equally."""
    shape = (min(program.num_steps, CHECKED_STEPS), CHECKED_SAMPLES, program.input.size)
    spikes = (np.random.default_rng(0).random(shape) < CHECKED_RATE).astype(np.int32)
    expected, got = (run(p, spikes).spikes() for p in (program, back))
    for number, (_, neurons) in enumerate(layers, start=1):
        if isinstance(neurons, LIF) and not np.array_equal(expected[neurons.name], got[f"lif{number}"]):
            raise CompileError(f"{neurons.name}: what was written fires otherwise when it is read back")


def _write(group: Any, entries: dict[str, Any]) -> None:
    for name, value in entries.items():
        if isinstance(value, dict):
            _write(group.create_group(name), value)
        else:
            group[name] = value
