"""Random netx files of every kind of layer, and what they mean in loops over steps, apart from any program."""

from __future__ import annotations

import h5py
import numpy as np
import torch
from torch.nn.functional import conv2d

CUBA = {"type": "CUBA", "iDecay": 4096, "vDecay": 600, "vThMant": 200, "refDelay": 1, "gradedSpike": False}
SDNN = {"type": "SDNN", "vThMant": 3, "activation": "relu"}


def write_chain(path, layers):
    """Write layers as slayer does; a layer is its fields, ``neuron`` among them."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            group = file.create_group(f"layer/{number}")
            for name, value in layer.items():
                if name == "type":
                    group.create_dataset("type", (1,), "S10", [value.encode()])
                elif name == "neuron":
                    for key, fact in value.items():
                        group[f"neuron/{key}"] = fact
                else:
                    group[name] = value
    return path


def _even(rng, most, shape):
    return (2 * rng.integers(-most, most + 1, shape)).astype(np.float32)


def _neuron(rng, graded, threshold):
    if graded:
        return SDNN | {"vThMant": int(rng.choice([0, 1, 5]))}
    decays = {"iDecay": int(rng.choice([4096, 4096, 410, 2000])), "vDecay": int(rng.choice([0, 409, 4096]))}
    return CUBA | decays | {"vThMant": int(rng.integers(1, threshold))}


def random_chain(rng, *, graded=False, delays=False, pools=False, encoder=False, biases=True):
    """Draw layers: convolutions, pools and dense layers behind an input of some channels."""
    shape = tuple(int(n) for n in (rng.integers(1, 4), 2 * rng.integers(3, 6), 2 * rng.integers(3, 6)))
    layers = [{"type": "input", "shape": np.array(shape)}]
    if encoder or graded:
        layers[0]["neuron"] = SDNN | {"vThMant": 1} if graded else CUBA | {"vThMant": 25}
        layers[0] |= {} if graded else {"weight": np.float32([36.0]), "bias": np.float32([34.0])}
    for _ in range(int(rng.integers(1, 3))):
        groups = shape[0] if rng.random() < 0.3 else 1
        outputs, kernel = groups * int(rng.integers(1, 4)), tuple(int(n) for n in rng.integers(1, 4, 2))
        stride, padding, dilation = ([int(n) for n in rng.integers(low, high, 2)]
                                     for low, high in ((1, 3), (0, 2), (1, 3)))  # fmt: skip
        after = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(shape[1:], padding, dilation, kernel, stride, strict=True)
        ]
        if min(after) < 1:
            continue
        layer = {"type": "conv", "weight": _even(rng, 12, (outputs, shape[0] // groups, *kernel)), "groups": groups}
        layer |= {"stride": stride, "padding": padding, "dilation": dilation, "shape": [outputs, *after]}
        shape = (outputs, *after)
        layers.append(layer | {"neuron": _neuron(rng, graded, 60)})
    if pools and shape[1] % 2 == shape[2] % 2 == 0:
        layer = {"type": "pool", "weight": np.full((1, 1, 2, 2), 64.0), "stride": [2, 2], "padding": [0, 0]}
        shape = (shape[0], shape[1] // 2, shape[2] // 2)
        layers.append(layer | {"dilation": [1, 1], "shape": list(shape), "neuron": _neuron(rng, graded, 60)})
    layers.append({"type": "flatten", "shape": [int(np.prod(shape)), 1, 1]})
    before = int(np.prod(shape))
    for _ in range(2):
        size = int(rng.integers(2, 9))
        layers.append({"type": "dense", "weight": _even(rng, 20, (size, before)), "shape": [size]})
        layers[-1]["neuron"] = _neuron(rng, graded, 100)
        before = size
    for layer in layers[1:]:
        channels = layer["shape"][0] if layer["type"] in ("conv", "dense") else 0
        if channels and biases:
            layer["bias"] = _even(rng, 10, channels)
        if channels and delays and rng.random() < 0.7:
            layer["delay"] = rng.integers(0, int(rng.choice([2, 6])), channels).astype(np.float32)
    if graded:
        layers[-1]["neuron"]["sigma_output"] = True
        for name in ("bias", "delay"):
            layers[-1].pop(name, None)
    return layers


def meaning(layers, inputs, layer_steps):
    """Return what every layer of neurons sends, ``[T, N]``, before its delay, for inputs ``[T, N]``."""
    steps, found = len(inputs), []
    x, shape = np.asarray(inputs, dtype=np.int64), None
    for layer in layers:
        if layer["type"] == "flatten":
            continue
        neuron = layer.get("neuron")
        if layer["type"] == "input":
            shape = [int(n) for n in layer["shape"]]
            if neuron and neuron["type"] == "SDNN":
                x = _delta(x << 12, neuron["vThMant"] << 12) >> 6
                found.append(x)
            elif neuron:
                drive = x + int(layer["bias"][0])
                x = _cuba(np.zeros_like(x), neuron, drive)
                found.append(x)
            continue
        late = np.zeros_like(x)
        late[layer_steps:] = x[: steps - layer_steps]
        current, shape = _synapses(layer, late, shape)
        bias = np.repeat(np.broadcast_to(layer.get("bias", 0), shape[:1]), np.prod(shape[1:], dtype=int)).astype(int)
        if neuron["type"] != "SDNN":
            x = _cuba(current, neuron, bias)
        elif "sigma_output" in neuron:
            x = current.cumsum(axis=0)
        else:
            x = _delta(np.maximum(current.cumsum(axis=0) + (bias << 12), 0), neuron["vThMant"] << 12) >> 6
        found.append(x)
        if "delay" in layer:
            delay = np.repeat(np.asarray(layer["delay"], dtype=int), np.prod(shape[1:], dtype=int))
            moved = np.zeros_like(x)
            for unit, by in enumerate(delay):
                moved[by:, unit] = x[: steps - by, unit]
            x = moved
    return found


def _synapses(layer, x, shape):
    weights = torch.as_tensor(np.asarray(layer["weight"]), dtype=torch.float64)
    if layer["type"] == "dense":
        return x @ weights.numpy().astype(np.int64).T, [len(weights)]
    image = torch.as_tensor(x, dtype=torch.float64).reshape(-1, *shape)
    groups = layer.get("groups", 1)
    if layer["type"] == "pool":
        weights, groups = weights.repeat(shape[0], 1, 1, 1), shape[0]
    windows = {name: layer[name] for name in ("stride", "padding", "dilation")}
    summed = conv2d(image, weights, groups=groups, **windows)
    return summed.reshape(len(x), -1).numpy().astype(np.int64), list(summed.shape[1:])


def _toward_zero(x, bits):
    return np.sign(x) * (np.abs(x) >> bits)


def _cuba(current, neuron, bias):
    u, v, out = np.zeros(current.shape[1], np.int64), np.zeros(current.shape[1], np.int64), []
    for step, arriving in enumerate(current):
        u = _toward_zero(u * (4096 - neuron["iDecay"]), 12) + (arriving << 6)
        drive = bias if np.ndim(bias) == 1 else bias[step]
        v = np.clip(_toward_zero(v * (4096 - neuron["vDecay"]), 12) + u + (drive << 6), 1 - (1 << 23), (1 << 23) - 1)
        out.append(v > neuron["vThMant"] << 6)
        v = np.where(out[-1], 0, v)
    return np.array(out, dtype=np.int64)


def _delta(values, threshold):
    """Encode as Lava's code does: the change of the value, and what was not sent before."""
    before, residue, out = np.zeros(values.shape[1], np.int64), np.zeros(values.shape[1], np.int64), []
    for value in values:
        change = value - before + residue
        sent = np.where(np.abs(change) >= threshold, change, 0)
        before, residue = value, change - sent
        out.append(sent)
    return np.array(out)
