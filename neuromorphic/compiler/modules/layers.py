"""Layers without state to NIR nodes: linear, convolutions, pooling, and the BatchNorm behind them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuromorphic.compiler.folding import batch_norm, to_numpy
from neuromorphic.errors import CompileError
from neuromorphic.formats.nir import nir_package
from neuromorphic.integers.numbers import num_windows
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.layers.ternary_layer import TernaryLayer

POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MaxPool2d)


def pool_of(name: str, args: Any, out: Any) -> nn.Module | None:
    """Return the module that does what a function of torch, by its name in ATen, does to an image; else ``None``."""
    tensor: Tensor = args[0]
    given: list[Any] = list(args[1:])
    if tensor.ndim != 4:
        return None
    if name == "max_pool2d_with_indices":
        defaults: list[Any] = [(), 0, 1, False]
        kernel, stride, padding, dilation, ceil = given + defaults[len(given) - 1 :]
        return nn.MaxPool2d(kernel, stride or None, padding, dilation, ceil_mode=ceil)
    if name == "avg_pool2d":
        kernel, stride, *rest = (*given, ()) if len(given) == 1 else given
        return nn.AvgPool2d(kernel, stride or None, *rest)
    over_image = name == "mean" and given and isinstance(given[0], list) and {axis % 4 for axis in given[0]} == {2, 3}
    if name == "_adaptive_avg_pool2d" or (over_image and out.ndim == 4):
        return nn.AdaptiveAvgPool2d(tuple(out.shape[2:]))
    return None


def layer_node(where: str, layer: Any, features: tuple[int, ...], norm: nn.Module | None = None) -> Any:
    """Return the node of a layer without state, with the BatchNorm behind it folded in."""
    nir = nir_package()
    if isinstance(layer, POOLS):
        return _pool(where, layer, features)
    if isinstance(layer, TernaryLayer):
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
    shape = tuple(int(size) for size in features[1:])
    padding = layer.padding if isinstance(layer.padding, str) else tuple(layer.padding)
    fields: tuple[Any, ...] = (weight, tuple(layer.stride), padding, tuple(layer.dilation), layer.groups, bias)
    if isinstance(layer, nn.Conv1d):
        fields = tuple(field[0] if isinstance(field, tuple) else field for field in fields)
        return _typed(nir.Conv1d(shape[0], *fields), features, _output(layer, features))
    return _typed(nir.Conv2d(shape, *fields), features, _output(layer, features))


def _typed(node: Any, features: tuple[int, ...], outputs: tuple[int, ...]) -> Any:
    """Return a node with the shapes that it has: nir 1.0 computes those of grouped and oblong kernels wrongly."""
    node.input_type, node.output_type = {"input": np.array(features)}, {"output": np.array(outputs)}
    return node


def _output(layer: nn.Module, features: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that a layer makes of features, found by running it on none."""
    with torch.no_grad(), torch.device("meta"):
        twin = copy.deepcopy(layer).to("meta")
        return tuple(twin(torch.zeros(1, *features, dtype=_dtype(layer))).shape[1:])


def _dtype(layer: nn.Module) -> torch.dtype:
    return next((parameter.dtype for parameter in layer.parameters()), torch.get_default_dtype())


def _pool(where: str, pool: Any, features: tuple[int, ...]) -> Any:
    """Return the node of a pool over windows that lie within the image, or whose zeros count."""

    def pair(value: Any) -> tuple[int, int]:
        rows, columns = np.broadcast_to(value, (2,))
        return int(rows), int(columns)

    outputs = _output(pool, features)
    if isinstance(pool, nn.AdaptiveAvgPool2d):
        if any(size % count for size, count in zip(features[1:], outputs[1:], strict=True)):
            raise CompileError(
                f"{where}: makes {list(outputs[1:])} of {list(features[1:])} with windows of several sizes; an output "
                "size that divides the input's compiles"
            )
        kernel = stride = pair([size // count for size, count in zip(features[1:], outputs[1:], strict=True)])
        padding = (0, 0)
    else:
        kernel, stride, padding = pair(pool.kernel_size), pair(pool.stride), pair(pool.padding)
        if pool.ceil_mode and outputs[1:] != num_windows(pair(features[1:]), kernel, stride, padding):
            raise CompileError(f"{where}: ceil_mode adds windows that lie partly outside; use ceil_mode=False")
    arrays = [np.array(value) for value in (kernel, stride, padding)]
    if isinstance(pool, nn.MaxPool2d):
        from neuromorphic.compiler.nir.max_pool import MaxPool2d

        if pair(pool.dilation) != (1, 1) or pool.return_indices:
            raise CompileError(f"{where}: dilation and return_indices cannot be compiled; use their defaults")
        return _typed(MaxPool2d(*arrays), features, outputs)
    counts_all = isinstance(pool, nn.AdaptiveAvgPool2d) or pool.count_include_pad or padding == (0, 0)
    if not counts_all or getattr(pool, "divisor_override", None) is not None:
        raise CompileError(f"{where}: divisor_override and count_include_pad=False are not in NIR; use their defaults")
    return _typed(nir_package().AvgPool2d(*arrays), features, outputs)
