"""Pictures made smaller, whose augmentation still sees them as they were."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from pnbx_snn.data.split import Samples, Split


def shrink(x: Float[Tensor, "n *rows"], old: int, side: int) -> Float[Tensor, "n *smaller"]:
    """Return pictures ``[n, old * old]``, ``[n, old, old]`` or ``[n, old * old, 1]`` with that many pixels each way.

    Bilinear, each pixel a weighted mean of those it covers (antialias), as torchvision's ``resize`` does by default.

    Examples
    --------
    >>> shrink(torch.tensor([[0.0, 1.0], [1.0, 0.0]]).reshape(1, 4), 2, 1)
    tensor([[0.5000]])
    """
    if side == old:
        return x
    pictures = x.reshape(-1, 1, old, old)
    small = interpolate(pictures, (side, side), mode="bilinear", antialias=True, align_corners=False)
    rows = (side * side, *x.shape[2:]) if x.shape[1] == old * old else (side, side)
    return small.reshape(len(x), *rows)


class Shrunk:
    """Samples of which each is a smaller picture, and ``whole``, the pictures of which they were made.

    Parameters
    ----------
    whole
        As :func:`shrink` takes them.
    old, side
        Pixels each way, before and after.
    """

    def __init__(self, whole: Float[Tensor, "n *rows"], old: int, side: int) -> None:
        self.whole, self._small = whole, shrink(whole, old, side)

    @property
    def shape(self) -> torch.Size:
        """``[n, ...]``, of the smaller pictures."""
        return self._small.shape

    def __getitem__(self, index: Any, /) -> Tensor:
        """Return the smaller pictures of a slice, or of a tensor of numbers."""
        return self._small[index]


def shrunk(split: Split, old: int, side: int, *, keep_whole: bool) -> Split:
    """Return samples with smaller pictures; ``keep_whole`` for those that :func:`before_shrinking` is asked for."""
    if side == old:
        return split
    images = split.images[:]
    return Split(Shrunk(images, old, side) if keep_whole else shrink(images, old, side), split.labels)


def before_shrinking(samples: Samples) -> Samples:
    """Return the pictures that augmentation changes: those before they were shrunk, any others as they are."""
    return samples.whole if isinstance(samples, Shrunk) else samples
