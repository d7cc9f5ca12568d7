"""The synapses of a netx layer, dense, convolution or pool, as operations whose sum is exact."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromorphic.formats.netx.chain import MAX_UNITS, Chain
from neuromorphic.formats.netx.fields import Group
from neuromorphic.formats.netx.weights import HIGHEST_POSITIVE, LOWEST, as_int8, out_of_range
from neuromorphic.integers.numbers import num_windows
from neuromorphic.ops import Conv, Dense
from neuromorphic.ops.conv import MAX_WINDOW, Shape

SHARED_FIELDS = {"type", "shape", "weight", "delay", "neuron"}
DENSE_FIELDS = SHARED_FIELDS | {"bias", "inFeatures", "outFeatures"}
WINDOW_FIELDS = SHARED_FIELDS | {"kernelSize", "stride", "padding", "dilation"}
CONV_FIELDS = WINDOW_FIELDS | {"bias", "inChannels", "outChannels", "groups"}
GRADED_INPUT = {"low": -(1 << 15), "high": 1 << 15}


class Synapses(NamedTuple):
    """What a layer's neurons hear: operations that they add up, of a shape, and the most that these give for spikes."""

    names: tuple[str, ...]
    shape: tuple[int, ...]
    most: int


def shape_of(group: Group) -> tuple[int, ...]:
    """Return the field ``shape``: channels, rows and columns, or one number."""
    found = group.integers("shape", 1, 1 << 24).reshape(-1)
    if found.size not in (1, 2, 3):
        raise group.refuse(f"shape must be one to three numbers, got {found.size}")
    return tuple(map(int, found))


def read_dense(chain: Chain, group: Group) -> Synapses:
    """Append a layer's matrix; older files hold it as one row after the other."""
    group.check_known(DENSE_FIELDS)
    rows = math.prod(shape_of(group))
    weights = _weights(group)
    if weights.ndim == 1 and weights.size % rows == 0:
        weights = weights.reshape(rows, -1)
    if weights.ndim != 2 or weights.shape[0] != rows:
        raise group.refuse(f"weight must have shape [{rows}, in], as shape says, got {list(weights.shape)}")
    columns = int(weights.shape[1])
    group.same("outFeatures", rows, "weight")
    group.same("inFeatures", columns, "weight")
    if not chain.ops:  # slayer writes no input layer
        chain.graded = "neuron" in group and group.group("neuron").fields.get("type") == "SDNN"
        chain.begin(group, (columns,), **(GRADED_INPUT if chain.graded else {}))
    if chain.source.size != columns:
        raise group.refuse(f"its weights read {columns} values, the layer before has {chain.source.size}")
    chain.reserve(group, (rows,))
    return _appended(chain, "fc", (rows,), weights, Dense)


def read_conv(chain: Chain, group: Group) -> Synapses:
    """Append a layer's convolution."""
    group.check_known(CONV_FIELDS)
    weights, image = _kernel(group), _image(chain, group)
    groups = group.integer("groups", 1, 1 << 24, default=1)
    outputs, inputs = weights.shape[:2]
    if inputs * groups != image[0] or outputs % groups:
        raise group.refuse(
            f"weight must have shape [{groups} * n, {image[0] / groups:g}, rows, columns], as the {image[0]} channels "
            f"before and {groups} groups say, got {list(weights.shape)}"
        )
    group.same("inChannels", image[0], "the layer before")
    group.same("outChannels", outputs, "weight")
    return _convolution(chain, group, weights, image, groups, stride=(1, 1))


def read_pool(chain: Chain, group: Group) -> Synapses:
    """Append a layer's pool: one kernel, the same for each channel."""
    group.check_known(WINDOW_FIELDS)
    weights, image = _kernel(group), _image(chain, group)
    kernel = (int(weights.shape[2]), int(weights.shape[3]))
    if weights.shape[:2] != (1, 1):
        raise group.refuse(f"weight must have shape [1, 1, rows, columns], got {list(weights.shape)}")
    if image[1] % kernel[0] or image[2] % kernel[1]:
        raise group.refuse(
            f"its kernel {list(kernel)} must divide the image {list(image[1:])}: slayer pads others, at one side"
        )
    if image[0] * math.prod(kernel) > MAX_UNITS:
        raise group.refuse(f"{image[0]} kernels of {list(kernel)} are more than {MAX_UNITS} weights")
    kernels = np.broadcast_to(weights, (image[0], 1, *kernel))
    return _convolution(chain, group, kernels, image, image[0], stride=kernel)


def _weights(group: Group) -> NDArray[np.int64]:
    """Return the weights, which Loihi's synapses hold."""
    weights = group.integers("weight", LOWEST, HIGHEST_POSITIVE)
    problem = out_of_range(weights)
    if problem:
        raise group.refuse(problem)
    return weights


def _kernel(group: Group) -> NDArray[np.int64]:
    """Return the weights of a convolution; slayer may add an axis of length 1, for time."""
    weights = _weights(group)
    weights = weights[..., 0] if weights.ndim == 5 and weights.shape[-1] == 1 else weights
    if weights.ndim != 4:
        raise group.refuse(f"weight must have 4 axes, got shape {list(weights.shape)}")
    if "kernelSize" in group and group.pair("kernelSize", 1, MAX_WINDOW) != weights.shape[2:]:
        raise group.refuse(f"kernelSize must be {list(weights.shape[2:])}, as weight says")
    return weights


def _image(chain: Chain, group: Group) -> Shape:
    if not chain.ops:
        raise group.refuse("the size of its image is not known; a layer of type input with a shape must stand first")
    if len(chain.shape) != 3:
        raise group.refuse(f"reads an image, the layer before has shape {list(chain.shape)}")
    return chain.shape


def _convolution(
    chain: Chain, group: Group, weights: NDArray[np.int64], image: Shape, groups: int, *, stride: tuple[int, int]
) -> Synapses:
    windows = {
        "stride": group.pair("stride", 1, MAX_WINDOW, default=stride),
        "padding": group.pair("padding", 0, MAX_WINDOW, default=(0, 0)),
        "dilation": group.pair("dilation", 1, MAX_WINDOW, default=(1, 1)),
    }
    counts = num_windows(image[1:], weights.shape[2:], **windows)
    if min(counts) < 1:
        raise group.refuse(f"no window fits its image {list(image[1:])}: kernel {list(weights.shape[2:])}")
    shape = (int(weights.shape[0]), *counts)
    if shape_of(group) != shape:
        raise group.refuse(f"shape must be {list(shape)}, as its windows say, got {list(shape_of(group))}")
    chain.reserve(group, shape)
    return _appended(chain, "conv", shape, weights, Conv, input_shape=image, groups=groups, **windows)


def _appended(
    chain: Chain, name: str, shape: tuple[int, ...], weights: NDArray[np.int64], kind: Any, **fields: Any
) -> Synapses:
    """Append one or two operations whose sum is that of the weights."""
    source, names = chain.arriving(), (f"{name}{chain.number}", f"{name}{chain.number}_rest")
    made = [
        chain.add(kind(each, source.name, matrix, shift=shift + chain.shift, **fields))
        for each, (matrix, shift) in zip(names, as_int8(weights), strict=False)
    ]
    sums = (np.maximum(sign * weights, 0).reshape(len(weights), -1).sum(axis=1).max() for sign in (1, -1))
    return Synapses(tuple(op.name for op in made), shape, int(max(sums)))
