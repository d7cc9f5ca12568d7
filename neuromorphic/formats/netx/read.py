"""A netx file as a program: what slayer trained, or a refusal that names the layer and the field."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

from neuromorphic.errors import FileFormatError, ProgramError
from neuromorphic.files.hdf5 import read_tree
from neuromorphic.formats.netx.chain import Chain
from neuromorphic.formats.netx.fields import Group
from neuromorphic.formats.netx.neurons import read_encoder, read_neurons
from neuromorphic.formats.netx.synapses import Synapses, read_conv, read_dense, read_pool, shape_of
from neuromorphic.ops import Readout
from neuromorphic.program import Program

SYNAPSES: dict[str, Callable[[Chain, Group], Synapses]] = {
    "dense": read_dense,
    "conv": read_conv,
    "pool": read_pool,
}
KINDS = ("input", *SYNAPSES, "flatten")


def read_netx(path: str | os.PathLike[str], *, num_steps: int, layer_steps: int = 0) -> Program:
    """Read a netx file, as lava-dl's slayer writes it, as a program.

    Its operations are called ``input``, then ``fc1`` or ``conv1`` and ``lif1``, ``fc2`` and so on by layer; weights
    that 8 bits with a shift cannot hold become two operations, such as ``fc1`` and ``fc1_rest``, whose sum is exact.
    A lasting current is ``current1``, a delay ``late2`` in front of layer 2. Sigma-delta neurons are ``sigma1``,
    ``relu1`` and ``delta1``. Neurons of an input layer are ``pixels`` and ``lif0``, or ``delta0``; a last layer that
    only sums is a ``Readout``, such as ``sum3``.

    Parameters
    ----------
    path : str or PathLike
        HDF5, at most 256 MiB: a chain of ``input``, ``dense``, ``conv``, ``pool`` and ``flatten`` with ``CUBA`` (or
        ``LOIHI``) or ``SDNN`` neurons, whole weights in -256..254 (to 255 where none is negative), biases in
        -4096..4095, delays in 0..62. No refractory time beyond one step, no graded spikes of CUBA neurons.
    num_steps : int
        Steps that a sample runs.
    layer_steps : int
        Steps that a layer takes: 0, or 1 as on Lava and Loihi, where layer ``n`` hears the first events of a sample in
        step ``n`` and its biases count from step 1 on.

    Returns
    -------
    Program
        With CUBA neurons and ``layer_steps`` 0, equal in every spike to lava-dl's
        ``Network(net_config=path, reset_interval=num_steps, reset_offset=1)`` but for the step that each layer takes
        there; with 1, to ``Network(net_config=path)``, in the same steps. Sigma-delta neurons are those of Lava with 1,
        and those of slayer, which let a value through all layers in one step, with 0.
        ``metadata["assumptions"]`` says what slayer or Lava would do otherwise.

    Raises
    ------
    FileFormatError
        If the file is none, damaged or too large, or holds what is not read here; the message names layer and field.
    ProgramError
        If ``num_steps`` is out of range, or ``layer_steps`` neither 0 nor 1.

    References
    ----------
    lava-dl ``lava/lib/dl/netx/hdf5.py``: ``Network.get_neuron_params``, ``create_dense``, ``create_conv``; what slayer
    writes: ``lava/lib/dl/slayer/block/base.py``, ``export_hdf5``.
    """
    if layer_steps not in (0, 1):
        raise ProgramError(f"layer_steps must be 0 or 1, got {layer_steps!r}")
    layers = read_tree(path, "netx", FileFormatError)
    if not layers or sorted(layers) != sorted(map(str, range(len(layers)))):
        raise FileFormatError(f"{path}: layers must be named 0, 1, 2, ..., got {sorted(layers)[:20]}")
    chain = Chain(layer_steps)
    try:
        for number in range(len(layers)):
            _read_layer(chain, Group(f"{path}: layer {number}", layers[str(number)]), first=number == 0)
    except ProgramError as error:  # a layer larger than a program's may be
        raise FileFormatError(f"{path}: {error}") from error
    if chain.number == 0:
        raise FileFormatError(f"{path}: holds an input and no layer")
    chain.end()
    return Program(tuple(chain.ops), num_steps=num_steps, metadata={"assumptions": chain.notes})


def _read_layer(chain: Chain, group: Group, *, first: bool) -> None:
    """Append a layer's operations."""
    kind = group.text("type")
    if kind not in KINDS or (kind == "input") > first:
        where = ", input only as the first" if kind == "input" else ""
        raise group.refuse(f"is of type {kind!r}; {', '.join(KINDS)} are read{where}")
    if chain.ops and isinstance(chain.source, Readout):
        raise group.refuse("reads a layer that only sums, which must be the last")
    if kind == "input":
        _read_input(chain, group)
    elif kind == "flatten":
        group.check_known({"type", "shape"})
        if not chain.ops:
            raise group.refuse("has nothing to flatten")
        if math.prod(chain.shape) != math.prod(shape_of(group)):
            raise group.refuse(f"shape must be of {math.prod(chain.shape)} values, got {list(shape_of(group))}")
        chain.shape = (math.prod(chain.shape),)
    else:
        chain.number += 1
        read_neurons(chain, group, SYNAPSES[kind](chain, group))


def _read_input(chain: Chain, group: Group) -> None:
    group.check_known({"type", "shape", "weight", "bias", "neuron"})
    shape = shape_of(group)
    if "neuron" in group:
        read_encoder(chain, group, shape)
    else:
        chain.begin(group, shape)
