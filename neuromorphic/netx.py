"""Programs as the HDF5 files that lava-dl's ``netx`` builds Lava networks from.

A ``netx`` file is a chain: each layer's matrix reads the layer before, and its neurons share one decay and one
threshold. A program that is such a chain, every neuron at home on Lava's stock ``LIF``, is written so that netx's
arithmetic equals it; any other is refused with the reason.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from neuromorphic.bounds import prove
from neuromorphic.container import write_atomically
from neuromorphic.errors import CompileError, FileFormatError
from neuromorphic.execution import run
from neuromorphic.fixed_point import DECAY_ONE
from neuromorphic.lava_mapping import LIF_INPUT_SHIFT, MAX_MANTISSA, MAX_VTH, Layout
from neuromorphic.neuron_ops import LIF
from neuromorphic.ops import Dense, Input, Readout
from neuromorphic.program import Program

MAX_WEIGHT = 254
BIAS_EXPONENT = 6  # netx gives every bias this exponent
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
    if int(np.abs(weights).max()) > MAX_WEIGHT or (int(np.abs(weights).max()) > 127 and (weights % 2).any()):
        raise CompileError(f"{dense.name}: weights reach {int(np.abs(weights).max())}, netx holds -256..{MAX_WEIGHT}")
    mantissa, left = np.divmod(neurons.bias.astype(np.int64), 1 << BIAS_EXPONENT)
    if left.any() or int(np.abs(mantissa).max()) > MAX_MANTISSA:
        raise CompileError(f"{neurons.name}: a bias must be a multiple of 64 with a mantissa of 13 bits in netx")
    if isinstance(neurons, LIF):
        decay, threshold = int(neurons.decay[0]), int(neurons.threshold[0]) >> LIF_INPUT_SHIFT
    else:  # a sum: no leak, and a threshold that it must not reach
        decay, threshold = DECAY_ONE, MAX_VTH
    neuron = {
        "type": b"CUBA",
        "iDecay": DECAY_ONE,  # Lava's du is this minus one: the current lasts one step
        "vDecay": DECAY_ONE - decay,
        "vThMant": threshold,
        "refDelay": 1,
        "gradedSpike": False,
    }
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
        The file. ``lava.lib.dl.netx.hdf5.Network(net_config=path, reset_interval=T)`` builds it.

    Raises
    ------
    CompileError
        If the program is none that netx can hold; the message names the operation and the reason.
    StorageError
        If it cannot be written.
    """
    import h5py

    layout = Layout(program)
    layers = _chain(program)
    for _, neurons in layers:
        if isinstance(neurons, LIF) and not layout.placements[neurons.name].stock:
            raise CompileError(f"{neurons.name}: not for Lava's stock LIF ({layout.placements[neurons.name].reason})")
        if isinstance(neurons, Readout):
            _check_sum(program, neurons)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("layer")
        _write(group.create_group("0"), {"type": b"input", "shape": [program.input.size]})
        for number, (dense, neurons) in enumerate(layers, start=1):
            _write(group.create_group(str(number)), _layer(dense, neurons))
    write_atomically(Path(path), buffer.getvalue())
    _check_equal(program, read_netx(path, num_steps=program.num_steps), layers)
    return Path(path)


def read_netx(path: str | os.PathLike[str], *, num_steps: int) -> Program:
    """Read a netx file of dense layers as a program: ``input``, then ``fc1``, ``lif1``, ``fc2``, ...

    Raises
    ------
    FileFormatError
        If the file is no HDF5 file or holds something else than dense layers of ``CUBA`` neurons without memory of
        their current.

    References
    ----------
    lava-dl ``lava/lib/dl/netx/hdf5.py``: ``Network.get_neuron_params``, ``create_dense``.
    """
    import h5py

    ops: list[Any] = []
    try:
        with h5py.File(path, "r") as file:
            layers = file["layer"]
            ops.append(Input("input", int(np.prod(layers["0"]["shape"][()]))))
            for number in range(1, len(layers)):
                ops += _read_layer(layers[str(number)], number, ops[-1].name)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path}: not a netx file of dense layers ({error})") from error
    return Program(tuple(ops), num_steps=num_steps)


def _read_layer(layer: Any, number: int, source: str) -> list[Any]:
    if layer["type"][()] != b"dense":
        raise ValueError(f"layer {number} is of type {layer['type'][()]!r}")
    neuron = layer["neuron"]
    if int(neuron["iDecay"][()]) != DECAY_ONE:
        raise ValueError(f"layer {number} has a synaptic current that lasts")
    weights = layer["weight"][()]
    size = int(weights.shape[0])
    bias = layer["bias"][()].astype(np.int64) << BIAS_EXPONENT if "bias" in layer else np.zeros(size, dtype=np.int64)
    scaled = 0
    while int(np.abs(weights).max()) > 127:  # weights above 127 are even, so that nothing is lost
        weights, scaled = weights // 2, scaled + 1
    constant = np.ones(size, dtype=np.int32)
    return [
        Dense(f"fc{number}", source, weights.astype(np.int8), shift=scaled),
        LIF(
            f"lif{number}",
            (f"fc{number}",),
            decay=constant * np.int32(DECAY_ONE - int(neuron["vDecay"][()])),
            threshold=constant * np.int32(int(neuron["vThMant"][()]) << LIF_INPUT_SHIFT),
            bias=bias.astype(np.int32),
            shift=LIF_INPUT_SHIFT,
        ),
    ]


def _check_sum(program: Program, readout: Readout) -> None:
    bound = next(bound for bound in prove(program) if bound.name == readout.name)
    if bound.peak > MAX_VTH << LIF_INPUT_SHIFT:
        raise CompileError(
            f"{readout.name}: its sum can reach {bound.peak}, a netx layer that only sums holds "
            f"{MAX_VTH << LIF_INPUT_SHIFT}; fewer steps or a smaller shift"
        )


def _check_equal(program: Program, back: Program, layers: list[tuple[Dense, LIF | Readout]]) -> None:
    """Run what was read back beside the program: every layer must fire alike."""
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
