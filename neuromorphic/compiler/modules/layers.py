"""Layers without state to NIR nodes: linear, convolutions, pooling, and the BatchNorm behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from neuromorphic.compiler.folding import batch_norm, to_numpy
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.errors import CompileError
from neuromorphic.formats.nir import nir_package
from pnbx_snn.layers.bitlinear import BitLinear


def layer_node(where: str, layer: Any, features: tuple[int, ...], norm: nn.Module | None = None) -> Any:
    """Return the node of a layer without state, with the BatchNorm behind it folded in."""
    nir = nir_package()
    if isinstance(layer, nn.AvgPool2d):
        return _pool(where, layer)
    if isinstance(layer, BitLinear):
        weight = to_numpy(layer.ternary_weight()) * float(layer.gamma())
    else:
        weight = to_numpy(layer.weight)
    bias = None if layer.bias is None else to_numpy(layer.bias)
    if norm is not None:
        gain, offset = batch_norm(norm, where)
        weight = weight * gain.reshape(-1, *(1,) * (weight.ndim - 1))
        bias = offset if bias is None else bias * gain + offset
    if isinstance(layer, nn.Linear | BitLinear):
        return nir.Linear(weight=weight) if bias is None else nir.Affine(weight=weight, bias=bias)
    if layer.padding_mode != "zeros":
        raise CompileError(f"{where}: padding_mode={layer.padding_mode!r} cannot be exported; use 'zeros'")
    bias = np.zeros(len(weight)) if bias is None else bias
    weight, padding = _square(where, _ungrouped(weight, layer.groups), _padding(where, layer), layer.dilation)
    if isinstance(layer, nn.Conv1d):
        return nir.Conv1d(int(features[-1]), weight, layer.stride[0], padding[0], layer.dilation[0], 1, bias)
    shape = (int(features[-2]), int(features[-1]))
    return nir.Conv2d(shape, weight, tuple(layer.stride), padding, tuple(layer.dilation), 1, bias)


def _ungrouped(weight: Float64, groups: int) -> Float64:
    """Write a grouped kernel as a full one, zeros between the groups: nir 1.0 checks grouped shapes wrongly."""
    if groups == 1:
        return weight
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    full = np.zeros((weight.shape[0], inputs * groups, *weight.shape[2:]))
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        full[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return full


def _padding(where: str, layer: Any) -> tuple[int, ...]:
    if layer.padding == "valid":
        return (0,) * len(layer.kernel_size)
    if layer.padding == "same":
        spans = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        if any(span % 2 for span in spans):
            raise CompileError(f"{where}: padding='same' pads its two sides unequally; use an odd kernel")
        return tuple(span // 2 for span in spans)
    return tuple(int(p) for p in layer.padding)


def _square(
    where: str, weight: Float64, padding: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[Float64, tuple[int, ...]]:
    """Make a kernel square with zeros around it: nir 1.0 takes the output's shape from its first side."""
    sides = weight.shape[2:]
    missing = [max(sides) - side for side in sides]
    if any(gap % 2 for gap in missing):
        raise CompileError(
            f"{where}: a kernel of {list(sides)} cannot be exported; use sides that are both odd or equal"
        )
    grown = np.pad(weight, [(0, 0), (0, 0), *((gap // 2, gap // 2) for gap in missing)])
    return grown, tuple(p + d * gap // 2 for p, d, gap in zip(padding, dilation, missing, strict=True))


def _pool(where: str, pool: nn.AvgPool2d) -> Any:
    def pair(value: Any) -> NDArray[np.int64]:
        return np.array(np.broadcast_to(value, (2,)), dtype=np.int64)

    padded = bool(pair(pool.padding).any())
    if pool.ceil_mode or pool.divisor_override is not None or (padded and not pool.count_include_pad):
        raise CompileError(
            f"{where}: ceil_mode, divisor_override and count_include_pad=False are not in NIR; use their defaults"
        )
    return nir_package().AvgPool2d(pair(pool.kernel_size), pair(pool.stride), pair(pool.padding))
