"""Rivals for static images: a plain perceptron and LeNet-5."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.checks import check_sizes
from pnbx_snn.errors import ShapeError


def mlp(*sizes: int, dropout: float = 0.0) -> nn.Sequential:
    """Return layers of ``nn.Linear`` with ReLU between: 784, 1908, 1908, 10 has 5,155,416 weights and 3,826 biases.

    Examples
    --------
    >>> [tuple(layer.weight.shape) for layer in mlp(4, 3, 2)[::2]]
    [(3, 4), (2, 3)]
    """
    if len(sizes) < 2:
        raise ShapeError(f"mlp: sizes must be at least an input and an output, got {list(sizes)}")
    check_sizes("mlp", **{f"size {number}": size for number, size in enumerate(sizes)})
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes[:-1]):
        layers += [nn.Linear(n_in, n_out), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


class LeNet5(nn.Module):
    """LeNet-5 with plain convolutions and average pooling: 61,706 parameters.

    Notes
    -----
    Shapes: images ``[B, 784]``, logits ``[B, 10]``.

    References
    ----------
    LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition"; full connections between S2 and C3.

    Examples
    --------
    >>> LeNet5()(torch.rand(2, 784)).shape
    torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)
        )
        self.classifier = nn.Sequential(
            nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)
        )

    def forward(self, x: Float[Tensor, "B 784"]) -> Float[Tensor, "B 10"]:
        """Return logits."""
        if x.ndim != 2 or x.shape[1] != 784:
            raise ShapeError(f"LeNet5: images must be [B, 784], got shape {list(x.shape)}")
        logits: Tensor = self.classifier(torch.flatten(self.features(x.reshape(-1, 1, 28, 28)), 1))
        return logits
