"""What a random module computes, written from the equations in NumPy and float64, without torch and without a compiler.

A network is a list of blocks, ``layers -> sum -> neurons``, read by both :mod:`random_modules`, which makes a torch
module of it, and by this file, which says what is right. Axes: ``[T, B, ...]``, a step ``[B, ...]``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass
class Layer:
    """Weights with what stands around them: ``pool`` and ``flatten`` before, ``norm`` and ``behind`` behind."""

    kind: str  # linear, bitlinear, conv1d, conv2d
    weight: Array
    bias: Array | None = None
    stride: int = 1
    padding: int = 0
    groups: int = 1
    pool: str = ""  # mean or max of 2 x 2 before the weights
    behind: str = ""  # and after norm
    flatten: bool = False
    norm: dict[str, Array] | None = None  # mean, var, gain, bias
    input_scale: float | None = None  # of a BitLinear that rounds its input to int8
    gain: float = 1.0  # of a module that a hook or a new forward multiplies
    drift: float = 1.0  # of weights that the network multiplies in every step


@dataclass
class Neuron:
    """Neurons: a kind of :data:`STEPS`, parameters as numbers or arrays that broadcast to the features."""

    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    recurrent: Array | None = None  # [N, N], or a number or [N] for one-to-one
    recurrent_bias: Array | None = None
    inputs: Array | None = None  # Norse's recurrent neurons have weights of their own
    mask: Array | None = None  # a hook that silences neurons
    mask_behind: Array | None = None  # the same done to its spikes by nobody's module
    start: float = 0.0  # a membrane that does not start at zero
    keep: float = 1.0  # what is left of a membrane that the network multiplies between two steps
    forget: bool = False  # a membrane set to zero before each step
    drift: float = 1.0  # of a threshold that the network multiplies in every step


@dataclass
class Block:
    """One population and what reaches it."""

    layer: Layer
    neuron: Neuron | None  # None: a read-out without one
    skip: Layer | None = None  # from the sample
    back: Layer | None = None  # from the last spiking block, one step late
    between: tuple[float, float] = (1.0, 0.0)  # the current times the first plus the second, outside modules
    relu: bool = False
    residual: bool = False  # what goes on is its spikes and those of the block before
    beside: bool = False  # the same, one behind the other
    twice: bool = False  # its layer also reads what came a step before


def applied(layer: Layer, x: Array) -> Array:
    """Return what a layer makes of ``[B, ...]``."""
    x = _pooled(layer.pool, x)
    if layer.flatten:
        x = x.reshape(len(x), -1)
    weight = layer.weight
    if layer.kind == "bitlinear":
        gamma = np.abs(weight).mean()
        weight = np.clip(np.rint(weight / gamma), -1, 1) * gamma
        if layer.input_scale is not None:
            x = layer.input_scale * np.clip(np.rint(x / layer.input_scale), -128, 127)
    y = x @ weight.T if weight.ndim == 2 else _convolved(layer, x)
    shape = (-1,) + (1,) * (y.ndim - 2)
    if layer.bias is not None:
        y = y + layer.bias.reshape(shape)
    y = y * layer.gain
    if layer.norm is not None:
        norm = {key: value.reshape(shape) for key, value in layer.norm.items()}
        y = (y - norm["mean"]) / np.sqrt(norm["var"] + 1e-5) * norm["gain"] + norm["bias"]
    return _pooled(layer.behind, y)


def _pooled(kind: str, x: Array) -> Array:
    """Return the mean or the largest of every 2 x 2 windows."""
    if not kind:
        return x
    rows, columns = x.shape[2] // 2, x.shape[3] // 2
    windows = x[:, :, : rows * 2, : columns * 2].reshape(*x.shape[:2], rows, 2, columns, 2)
    pooled: Array = windows.mean(axis=(3, 5)) if kind == "mean" else windows.max(axis=(3, 5))
    return pooled


def _convolved(layer: Layer, x: Array) -> Array:
    weight, lead = layer.weight, x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0)] + [(layer.padding, layer.padding)] * lead)
    if lead == 1:  # a convolution over one axis is one over two, of which one is 1 long
        x, weight = x[:, :, None], weight[:, :, None]
    kh, kw = weight.shape[2:]
    rows, columns = (x.shape[2] - kh) // layer.stride + 1, (x.shape[3] - kw) // layer.stride + 1
    rows = 1 if lead == 1 else rows
    out = np.zeros((len(x), weight.shape[0], rows, columns))
    per_in, per_out = weight.shape[1], weight.shape[0] // layer.groups
    for o in range(weight.shape[0]):
        first = (o // per_out) * per_in
        for i in range(per_in):
            for a in range(kh):
                for b in range(kw):
                    seen = x[:, first + i, a : a + rows * layer.stride : layer.stride]
                    out[:, o] += weight[o, i, a, b] * seen[:, :, b : b + columns * layer.stride : layer.stride]
    return out[:, :, 0] if lead == 1 else out


def _leaky(n: Neuron, i: Array, s: dict[str, Array]) -> Array:
    """snnTorch's Leaky, RLeaky, Synaptic, RSynaptic: the reset is decided before the step, or mended after it."""
    o, theta = n.options, n.options["threshold"]
    reset, late = o["reset"], o["delay"]
    held = (s["v"] > theta).astype(np.float64)
    alpha = o.get("alpha")
    if alpha is not None:
        s["i"] = np.clip(alpha, 0, 1) * s["i"] + i
        i = s["i"]
    beta = np.clip(o["beta"], 0, 1)
    plain = alpha is None and n.recurrent is None
    if reset == "zero":  # Leaky forgets its membrane; all others lose the input of that step too
        v = beta * (1 - held) * s["v"] + i if plain else (1 - held) * (beta * s["v"] + i)
    else:
        v = beta * s["v"] + i - (held * theta if reset == "subtract" else 0.0)
    z = (v > theta).astype(np.float64)
    if not late:
        v = v - (z - held) * {"zero": v, "subtract": theta, "none": 0.0}[reset]
    s["v"] = v
    return z


def _box(n: Neuron, i: Array, s: dict[str, Array]) -> Array:
    """Norse's lif_box and lif: Euler steps towards the input, then the reset in the same step."""
    o = n.options
    if "syn" in o:
        s["i"] = s["i"] + i
        i = s["i"]
    v = s["v"] + o["mem"] * (o.get("leak", 0.0) - s["v"] + i)
    if "syn" in o:
        s["i"] = s["i"] - o["syn"] * s["i"]
    if "threshold" not in o:  # an integrator gives its membrane
        s["v"] = v
        return v
    z = (v > o["threshold"]).astype(np.float64)
    after = {"zero": o.get("to", 0.0), "subtract": v - o["threshold"], "none": v}[o["reset"]]
    s["v"] = np.where(z > 0, after, v)
    return z


def _hand(n: Neuron, i: Array, s: dict[str, Array]) -> Array:
    """A neuron of nobody's library: half of the way to the input, threshold 1 of its own unit, reset to zero."""
    v = (s["v"] + i) / 2
    z = (v > n.options["threshold"]).astype(np.float64)
    s["v"] = np.where(z > 0, 0.0, v)
    return z


STEPS: dict[str, Callable[[Neuron, Array, dict[str, Array]], Array]] = {"leaky": _leaky, "box": _box, "hand": _hand}


def step(n: Neuron, current: Array, s: dict[str, Array], t: int = 0) -> Array:
    """Return spikes, or values of an integrator, ``[B, ...]``; ``s`` is the state and changes."""
    if n.drift != 1.0:
        n = replace(n, options=n.options | {"threshold": n.options["threshold"] * n.drift**t})
    if n.inputs is not None:
        current = current @ n.inputs.T
    if not s:
        s["v"] = np.broadcast_to(np.asarray(n.options.get("leak", 0.0), np.float64) + n.start, current.shape).copy()
        s["i"], s["z"] = np.zeros(current.shape), np.zeros(current.shape)
    elif n.keep != 1.0:
        s["v"] = s["v"] * n.keep
    if n.forget:
        s["v"] = np.zeros_like(s["v"])
    if n.recurrent is not None:
        back = s["z"] @ n.recurrent.T if np.ndim(n.recurrent) == 2 else s["z"] * n.recurrent
        current = current + back + (0.0 if n.recurrent_bias is None else n.recurrent_bias)
    z = STEPS[n.kind](n, current, s)
    s["z"] = z
    return z if n.mask is None else z * n.mask


@dataclass
class Truth:
    """What is right, ``[T, B, ...]``: of each block what it gives, spikes or values, and its neurons' membranes."""

    given: list[Array]
    passed: list[Array]  # the same after what lies between modules
    membranes: list[Array]


def simulated(blocks: list[Block], steps: Array, spiking: int | None = None) -> Truth:
    """Run the blocks over ``[T, B, ...]``; ``spiking`` is the one whose spikes come back a step late."""
    states: list[dict[str, Array]] = [{} for _ in blocks]
    given, passed, membranes = ([[] for _ in blocks] for _ in range(3))
    late: Array | None = None
    inputs: list[Array] = [np.zeros(0) for _ in blocks]
    for t, x in enumerate(steps):
        h, ends = x, x
        for k, block in enumerate(blocks):
            layer = replace(block.layer, weight=block.layer.weight * block.layer.drift**t)
            current = applied(layer, h)
            if block.twice:
                current = current + applied(layer, inputs[k] if t else np.zeros_like(h))
                inputs[k] = h
            if block.skip is not None:
                current = current + applied(block.skip, x)
            if block.back is not None and late is not None:
                current = current + applied(block.back, late)
            elif block.back is not None:
                size = block.back.weight.shape[1]
                current = current + applied(block.back, np.zeros((len(x), size)))
            current = current * block.between[0] + block.between[1]
            current = np.maximum(current, 0.0) if block.relu else current
            h = current if block.neuron is None else step(block.neuron, current, states[k], t)
            given[k].append(h)
            if block.neuron is not None and block.neuron.mask_behind is not None:
                h = h * block.neuron.mask_behind
            if k == spiking:
                ends = h
            if block.residual:
                h = h + passed[k - 1][-1]
            if block.beside:
                h = np.concatenate([h, passed[k - 1][-1]], axis=1)
            passed[k].append(h)
            membranes[k].append(current if block.neuron is None else states[k]["v"])
        late = ends.reshape(len(x), -1)
    return Truth(*([np.stack(each) for each in lists] for lists in (given, passed, membranes)))


def softmax(x: Array, axis: int) -> Array:
    """Return exponentials that sum to one along an axis."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    e /= e.sum(axis=axis, keepdims=True)
    return e
