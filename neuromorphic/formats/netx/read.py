"""A netx file as a program: what lava-dl makes of it, or a refusal that names the layer and the field."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import FileFormatError, ProgramError
from neuromorphic.executors.lava.mapping import LIF_INPUT_SHIFT, MAX_VTH
from neuromorphic.files.hdf5 import read_tree
from neuromorphic.formats.netx.weights import HIGHEST_POSITIVE, LOWEST, as_int8, out_of_range
from neuromorphic.integers.numbers import DECAY_ONE
from neuromorphic.ops import LIF, Dense, Input, Operation
from neuromorphic.program import Program

BIAS_EXPONENT = 6  # netx gives every bias this exponent
BIAS_LOW, BIAS_HIGH = -4096, 4095  # Loihi's 13 bits
MAX_CURRENT = 1 << 17  # of weights, before the shift by 6: above, Lava's synaptic current wraps
NEURONS = ("CUBA", "LOIHI")  # two names of one neuron
LAYER_FIELDS = {"type", "shape", "inFeatures", "outFeatures", "weight", "bias", "delay", "neuron"}
TRAINING_FIELDS = {"theta", "tauRho", "scaleRho"}  # of a surrogate gradient
NEURON_FIELDS = TRAINING_FIELDS | {
    "type", "iDecay", "vDecay", "vThMant", "refDelay", "gradedSpike", "messageBits", "wgtExp", "weight_exp"
}  # fmt: skip


class _Group:
    """The fields of a layer or of its neurons, and the words for where they stand."""

    def __init__(self, where: str, fields: Any) -> None:
        self.where = where
        if not isinstance(fields, Mapping):
            raise self.refuse("must be a group of fields")
        self.fields = fields

    def refuse(self, why: str) -> FileFormatError:
        """Return an error that says where."""
        return FileFormatError(f"{self.where}: {why}")

    def check_known(self, known: set[str]) -> None:
        """Refuse fields that are not known."""
        for name in self.fields:
            if name not in known:
                raise self.refuse(f"{name} is not read here; known are {', '.join(sorted(known))}")

    def text(self, name: str) -> str:
        """Return a field of text."""
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise self.refuse(f"{name} must be text, got {'nothing' if value is None else type(value).__name__}")
        return value

    def integers(self, name: str, low: int, high: int) -> NDArray[np.int64]:
        """Return an array of whole numbers in a range."""
        value = np.asarray(self.fields.get(name))
        if value.dtype.kind not in "fiub" or value.size == 0:
            raise self.refuse(f"{name} must be numbers, got {'nothing' if name not in self.fields else value.dtype}")
        wrong = ~((value >= low) & (value <= high) & (value == np.trunc(value)))  # NaN is wrong too
        if wrong.any():
            raise self.refuse(f"{name} must be whole numbers in {low}..{high}, got {value[wrong].flat[0]}")
        return value.astype(np.int64)

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return one whole number."""
        if name not in self.fields and default is not None:
            return default
        found = self.integers(name, low, high)
        if found.size != 1:
            raise self.refuse(f"{name} must be one number for all neurons, got {found.size}")
        return int(found.flat[0])

    def only(self, name: str, wanted: int, why: str) -> None:
        """Refuse another value than one; a field that is missing has it."""
        value = np.asarray(self.fields.get(name, wanted))
        if value.dtype.kind not in "fiub" or not (value == wanted).all():
            raise self.refuse(f"{name} is {_short(value)}; only {wanted} is read here: {why}")


def _short(value: NDArray[Any]) -> str:
    """Write a value, of an array the one farthest from 0."""
    if value.dtype.kind not in "fiu" or value.size == 0:
        return str(value)[:40]
    largest = str(value.flat[np.abs(value).argmax()])
    return largest if value.size == 1 else f"up to {largest}"


def read_netx(path: str | os.PathLike[str], *, num_steps: int) -> Program:
    """Read a netx file of dense layers as a program: ``input``, then ``fc1``, ``lif1``, ``fc2``, ...

    A weight matrix that 8 bits with a shift cannot hold becomes two, ``fc1`` and ``fc1_rest``; their sum is exact.

    Parameters
    ----------
    path : str or PathLike
        HDF5, at most 256 MiB. ``input`` with nothing but a shape may stand first; every other layer is ``dense`` with
        ``CUBA`` (or ``LOIHI``) neurons, whole weights in -256..254 (to 255 where none is negative) and biases in
        -4096..4095. A current lasts one step (``iDecay`` 4096), and so does a spike: no delay, no refractory time
        beyond one step, no graded spikes.
    num_steps : int
        Steps that a sample runs.

    Returns
    -------
    Program
        Equal in every spike to lava-dl's ``Network(net_config=path, reset_interval=num_steps, reset_offset=1)`` but for
        the step that each layer takes there. ``metadata["assumptions"]`` says what slayer or Lava would do otherwise.

    Raises
    ------
    FileFormatError
        If the file is none, damaged or too large, or holds what is not read here; the message names layer and field.
    ProgramError
        If ``num_steps`` is out of range.

    References
    ----------
    lava-dl ``lava/lib/dl/netx/hdf5.py``: ``Network.get_neuron_params``, ``create_dense``; what slayer writes:
    ``lava/lib/dl/slayer/block/base.py``, ``export_hdf5``.
    """
    layers = read_tree(path, "netx", FileFormatError)
    if not layers or sorted(layers) != sorted(map(str, range(len(layers)))):
        raise FileFormatError(f"{path}: layers must be named 0, 1, 2, ..., got {sorted(layers)[:20]}")
    groups = [_Group(f"{path}: layer {number}", layers[str(number)]) for number in range(len(layers))]
    for number, group in enumerate(groups):
        kind = group.text("type")
        if kind != "dense" and (number > 0 or kind != "input"):
            raise group.refuse(
                f"is of type {kind!r}; dense layers are read, behind an input or none. NIR has the others"
            )
    ops: list[Operation] = []
    notes: list[str] = []
    try:
        if groups[0].text("type") == "input":
            ops.append(_read_input(groups.pop(0)))
        for number, group in enumerate(groups, start=1):
            _read_dense(group, number, ops, notes)
        if not groups:
            raise FileFormatError(f"{path}: holds an input and no layer")
    except ProgramError as error:  # a layer larger than a program's may be
        raise FileFormatError(f"{path}: {error}") from error
    return Program(tuple(ops), num_steps=num_steps, metadata={"assumptions": notes})


def _read_input(group: _Group) -> Input:
    if "neuron" in group.fields:
        raise group.refuse(
            "its input has neurons of its own, which turn real values into spikes; an input that is spikes is read: "
            "leave that layer out and give its spikes"
        )
    group.check_known({"type", "shape"})
    return Input("input", math.prod(map(int, group.integers("shape", 1, 1 << 24).flat)))


def _read_dense(group: _Group, number: int, ops: list[Operation], notes: list[str]) -> None:
    """Append a layer's operations."""
    group.check_known(LAYER_FIELDS)
    weights = _weights(group)
    rows, columns = weights.shape
    if not ops:  # slayer writes no input layer
        ops.append(Input("input", columns))
    source = ops[-1]
    if source.size != columns:
        raise group.refuse(f"its weights read {columns} values, the layer before has {source.size}")
    group.only("delay", 0, "train without delay, or delay the events of the input")
    bias = np.zeros(rows, dtype=np.int64)
    if "bias" in group.fields:
        bias = group.integers("bias", BIAS_LOW, BIAS_HIGH)
        if bias.shape != (rows,):
            raise group.refuse(f"bias must have shape [{rows}], got {list(bias.shape)}")
        if isinstance(source, LIF) and bias.any():
            notes.append(
                f"lif{number}: biases count from the step in which a sample's first events arrive, as with "
                "reset_interval in lava-dl; in slayer they count from the first step, before the layer's input is there"
            )
    decay, threshold = _neurons(group)
    most = max(int(np.maximum(sign * weights, 0).sum(axis=1).max()) for sign in (1, -1))
    if most > MAX_CURRENT:
        notes.append(f"lif{number}: its input can reach {most}; beyond {MAX_CURRENT} Lava's current wraps, here not")
    matrices = zip((f"fc{number}", f"fc{number}_rest"), as_int8(weights), strict=False)
    synapses = [Dense(name, source.name, matrix, shift=shift) for name, (matrix, shift) in matrices]
    decays, thresholds = (np.full(rows, each, np.int32) for each in (decay, threshold << LIF_INPUT_SHIFT))
    biases = (bias << BIAS_EXPONENT).astype(np.int32)
    sources = tuple(dense.name for dense in synapses)
    ops += [*synapses, LIF(f"lif{number}", sources, decays, thresholds, biases, shift=LIF_INPUT_SHIFT)]


def _weights(group: _Group) -> NDArray[np.int64]:
    """Return the matrix, ``[out, in]``; older files hold it as one row after the other."""
    rows = math.prod(map(int, group.integers("shape", 1, 1 << 24).flat))
    weights = group.integers("weight", LOWEST, HIGHEST_POSITIVE)
    if weights.ndim == 1 and weights.size % rows == 0:
        weights = weights.reshape(rows, -1)
    if weights.ndim != 2 or weights.shape[0] != rows:
        raise group.refuse(f"weight must have shape [{rows}, in], as shape says, got {list(weights.shape)}")
    for name, size in zip(("outFeatures", "inFeatures"), weights.shape, strict=True):
        if group.integer(name, 1, 1 << 24, default=size) != size:
            raise group.refuse(f"{name} must be {size}, as weight says, got {_short(np.asarray(group.fields[name]))}")
    problem = out_of_range(weights)
    if problem:
        raise group.refuse(problem)
    return weights


def _neurons(group: _Group) -> tuple[int, int]:
    """Return decay and threshold (before the shift by 6) of a layer's neurons."""
    if "neuron" not in group.fields:
        raise group.refuse(
            "has no neurons (an Affine block); a sum is read as neurons with iDecay 4096, vDecay 0 and vThMant 131071"
        )
    neuron = _Group(f"{group.where}, neuron", group.fields["neuron"])
    kind = neuron.text("type")
    if kind not in NEURONS:
        raise neuron.refuse(f"is of type {kind!r}; {' and '.join(NEURONS)} are read")
    neuron.check_known(NEURON_FIELDS)
    i_decay = neuron.integer("iDecay", 0, DECAY_ONE)
    if i_decay != DECAY_ONE:
        raise neuron.refuse(
            f"iDecay is {i_decay}, a synaptic current that lasts; only {DECAY_ONE} is read here: train with "
            "current_decay=1"
        )
    neuron.only("refDelay", 1, "neurons that may fire again in the next step")
    neuron.only("gradedSpike", 0, "spikes that are 0 or 1")
    neuron.only("messageBits", 0, "spikes that are 0 or 1")
    neuron.only("wgtExp", 0, "weights as they stand")
    neuron.only("weight_exp", 0, "lava-dl leaves out the scale of a normalisation; train without, or with a mean only")
    return DECAY_ONE - neuron.integer("vDecay", 0, DECAY_ONE), neuron.integer("vThMant", 0, MAX_VTH)
