"""A small convolutional network: a teacher for distillation, and a measure of what spikes and ternary weights cost."""

import math
from typing import Annotated, ClassVar

import torch
from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.checks import Share
from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.networks.base import Network


class SmallCNN(Network):
    """Four 3x3 convolutions in two stages, batch norm, ReLU, pooling, one hidden layer; floating point, no spikes.

    Parameters
    ----------
    height, width
        Of the picture that a sample is, at least 4 each: an image, or a sequence of ``height`` steps.
    num_classes, channels
        At least 1; C channels of the first stage, 2·C of the second, 4·C units of the hidden layer.
    dropout
        Before each dense layer, in [0, 1).

    Notes
    -----
    Shapes: input ``[B, height * width]`` or ``[B, height, width]``, logits ``[B, num_classes]``.

    Raises
    ------
    PnbxValueError, ShapeError
        If a size is below what is allowed, or a sample does not have ``height * width`` values.

    References
    ----------
    Simonyan and Zisserman 2015, arXiv:1409.1556 (stacked 3x3 convolutions), at a hundredth of the size.

    Examples
    --------
    >>> SmallCNN(28, 28, 10, channels=8)(torch.rand(2, 784)).shape
    torch.Size([2, 10])
    """

    section: ClassVar[str] = "cnn"

    def __init__(
        self,
        height: int,
        width: int,
        num_classes: int,
        *,
        channels: Annotated[int, Interval(ge=1, le=1024)] = 32,
        dropout: Share = 0.3,
    ) -> None:
        super().__init__()
        if min(height, width) < 4 or num_classes < 1 or channels < 1:
            raise PnbxValueError(
                "SmallCNN: height and width must be at least 4, num_classes and channels at least 1, "
                f"got {height}, {width}, {num_classes} and {channels}"
            )
        if not 0 <= dropout < 1:
            raise PnbxValueError(f"SmallCNN: dropout must be in [0, 1), got {dropout}")
        self.height, self.width = height, width
        stages: list[nn.Module] = []
        for n_in, n_out in ((1, channels), (channels, 2 * channels)):
            for n in (n_in, n_out):
                stages += [nn.Conv2d(n, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
            stages.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*stages)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * channels * (height // 4) * (width // 4), 4 * channels),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4 * channels, num_classes),
        )
        # Twice as fast on a CPU. torch documents this form of to(), its stubs do not know it.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Float[Tensor, "B *shape"]) -> Float[Tensor, "B C"]:
        """Return the logits of samples ``[B, height * width]`` or ``[B, height, width]``."""
        if x.ndim < 2 or math.prod(x.shape[1:]) != self.height * self.width:
            raise ShapeError(
                f"SmallCNN: a sample must have {self.height} x {self.width} values, got shape {list(x.shape)}"
            )
        picture = x.reshape(-1, 1, self.height, self.width).to(memory_format=torch.channels_last)
        logits: Tensor = self.head(self.features(picture))
        return logits
