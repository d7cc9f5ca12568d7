"""Networks of a wanted number of parameters."""

from collections.abc import Callable

import torch
from torch import nn


def count(model: nn.Module) -> int:
    """Return the number of parameters, a shared one once.

    Examples
    --------
    >>> count(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in model.parameters())


def nearest(make: Callable[[int], nn.Module], wanted: int, high: int) -> nn.Module:
    """Return what ``make`` makes of the size in [1, high) whose number of parameters is nearest to ``wanted``.

    Parameters
    ----------
    make
        Makes a network of a size; more size, more parameters.
    wanted
        Number of parameters.
    high
        Above every size that is tried.

    Examples
    --------
    >>> nearest(lambda size: nn.Linear(size, 10), 500, 1000)
    Linear(in_features=49, out_features=10, bias=True)
    """

    def size_of(size: int) -> int:
        with torch.device("meta"):  # shapes only
            return count(make(size))

    low = 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size_of(middle) <= wanted else (low, middle)
    return make(min((low, high), key=lambda size: abs(size_of(size) - wanted)))
