"""Files as lava-dl's slayer writes them, and what lava-dl and Lava make of a file, written out here."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from neuromorphic.files import hdf5 as hdf5_files
from neuromorphic.files import hdf5_reader
from neuromorphic.formats.netx import read

NEURON = {"type": "CUBA", "iDecay": 4096, "vDecay": 600, "vThMant": 200, "refDelay": 1, "gradedSpike": False}


def slayer_layer(group, weights, bias=None, neuron=NEURON, **fields):
    """Write a dense layer: float32 weights, the type in an array of one, no chunks."""
    group.create_dataset("type", (1,), "S10", [b"dense"])
    group["shape"] = np.array([len(weights)])
    group["inFeatures"], group["outFeatures"] = np.shape(weights)[::-1]
    group["weight"] = np.asarray(weights, dtype=np.float32)
    if bias is not None:
        group["bias"] = np.asarray(bias, dtype=np.float32)
    for name, value in (neuron or {}).items():
        group[f"neuron/{name}"] = value
    for name, value in fields.items():
        if name in group:
            del group[name]
        group[name] = value


def slayer_file(path, *layers, inputs=None):
    """Write a file; without ``inputs`` it starts with a dense layer, as slayer's do."""
    with h5py.File(path, "w") as file:
        if inputs is not None:
            file.create_dataset("layer/0/type", (1,), "S10", [b"input"])
            file["layer/0/shape"] = np.atleast_1d(inputs)
        first = 0 if inputs is None else 1
        for number, layer in enumerate(layers, start=first):
            layer = layer if isinstance(layer, dict) else {"weights": layer}
            slayer_layer(file.create_group(f"layer/{number}"), **layer)
    return path


def netx_layers(path, spikes):
    """Run a file ``[T, in]``: Dense, then LIF with du = iDecay - 1. Return each layer's spikes and last membranes."""
    found = []
    with h5py.File(path) as file:
        x = spikes
        for number in range(len(file["layer"])):
            layer = file["layer"][str(number)]
            if "weight" not in layer:
                continue
            neuron = layer["neuron"]
            w = layer["weight"][()].astype(int)
            bias = layer["bias"][()].astype(int) << 6 if "bias" in layer else np.zeros(len(w), dtype=int)
            du, dv, vth = int(neuron["iDecay"][()]) - 1, int(neuron["vDecay"][()]), int(neuron["vThMant"][()])
            u, v, out = np.zeros(len(w), dtype=int), np.zeros(len(w), dtype=int), []
            for x_t in x:
                u = np.sign(u) * (np.abs(u) * (4096 - (du + 1)) >> 12) + ((w @ x_t) << 6)
                v = np.clip(np.sign(v) * (np.abs(v) * (4096 - dv) >> 12) + u + bias, -(2**23) + 1, 2**23 - 1)
                fired = v > vth << 6
                v = np.where(fired, 0, v)
                out.append(fired.astype(int))
            x = np.array(out)
            found.append((x, v))
    return found


@pytest.fixture
def netx_here(monkeypatch):
    """Let this process read, which takes a hundredth of the time; another test says that it reads apart."""

    def read_tree(path, kind, error):
        try:
            tree, arrays = hdf5_reader.read_tree(str(path), kind)
        except hdf5_reader.RefusedError as refused:
            raise error(f"{path}: {refused}") from refused
        return hdf5_files._tree(tree, {f"array{number}": np.asarray(array) for number, array in enumerate(arrays)})

    monkeypatch.setattr(read, "read_tree", read_tree)
