"""A rival's weights in a byte each: what it costs in accuracy is measured, what it takes is counted."""

import copy
from typing import TypeVar

import torch
from torch import nn

LARGEST = 127
Module = TypeVar("Module", bound=nn.Module)


def weight_bytes(network: nn.Module) -> int:
    """Return the bytes of a network whose matrices are int8: one for a weight, four for a row's scale, four for others.

    Examples
    --------
    >>> weight_bytes(nn.Linear(10, 3))  # 30 weights, 3 scales, 3 biases
    54
    """
    return sum(
        parameter.numel() + 4 * parameter.shape[0] if parameter.ndim > 1 else 4 * parameter.numel()
        for parameter in network.parameters()
    )


@torch.no_grad()
def in_int8(network: Module) -> Module:
    r"""Return a copy of a trained network whose matrices are rounded to int8, everything else as it is.

    .. math::

        \hat w_{ij} = s_i \operatorname{round}(w_{ij} / s_i), \qquad s_i = \max_j |w_{ij}| / 127

    Activations stay in floating point, which is in the rival's favour.

    Examples
    --------
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.27, 0.004]]))
    >>> in_int8(layer).weight.tolist()
    [[1.2699999809265137, 0.0]]
    """
    rounded = copy.deepcopy(network)
    for parameter in rounded.parameters():
        if parameter.ndim > 1:
            scale = parameter.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / LARGEST
            parameter.copy_((parameter / scale).round() * scale)
    return rounded
