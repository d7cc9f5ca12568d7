"""What every data set gives: samples and labels of one of its parts, and perhaps the length of each sample."""

from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pnbx_snn.errors import PnbxValueError, ShapeError

Part = Literal["train", "validation", "train_all", "test"]


@runtime_checkable
class Samples(Protocol):
    """Samples by their numbers: a tensor, or something that makes one when it is indexed."""

    @property
    def shape(self) -> torch.Size:
        """``[n, ...]``."""

    def __getitem__(self, index: Any, /) -> Tensor:
        """Return the samples of a slice, or of a tensor of numbers."""


class Sequences:
    """Sequences of different lengths, padded with zeros to the longest.

    Parameters
    ----------
    values
        ``[n, T, N]``.
    lengths
        ``[n]`` int64, the steps that belong to each sample, in 1..T.

    Examples
    --------
    >>> samples = Sequences(torch.ones(2, 3, 1), torch.tensor([1, 3]))
    >>> samples[:1].flatten().tolist()
    [1.0, 0.0, 0.0]
    """

    def __init__(self, values: Float[Tensor, "n T N"], lengths: Int64[Tensor, " n"]) -> None:
        if values.ndim != 3 or lengths.shape != values.shape[:1]:
            raise ShapeError(
                f"Sequences: values must be [n, T, N] and lengths [n], got {list(values.shape)} and "
                f"{list(lengths.shape)}"
            )
        if len(lengths) and not (int(lengths.min()) >= 1 and int(lengths.max()) <= values.shape[1]):
            raise PnbxValueError(
                f"Sequences: lengths must be in 1..{values.shape[1]}, got {int(lengths.min())} to {int(lengths.max())}"
            )
        own = torch.arange(values.shape[1]) < lengths.unsqueeze(1)  # [n, T]
        self.values = torch.where(own.unsqueeze(2), values, values.new_zeros(()))
        self.lengths = lengths

    @property
    def shape(self) -> torch.Size:
        """``[n, T, N]``."""
        return self.values.shape

    def __getitem__(self, index: Any, /) -> Tensor:
        """Return the padded samples of a slice, or of a tensor of numbers; ``lengths[index]`` are their steps."""
        return self.values[index]


class Split(NamedTuple):
    """Samples and their classes.

    Attributes
    ----------
    images : Samples
        ``[n, N]`` float32 in [0, 1], rows of pixels one after the other; ``[n, T, N]`` for sequences.
    labels : Tensor
        ``[n]`` int64.
    """

    images: Samples
    labels: Int64[Tensor, " n"]

    @property
    def lengths(self) -> Int64[Tensor, " n"] | None:
        """Steps of each sample, ``[n]``; ``None`` where all samples have the same."""
        return self.images.lengths if isinstance(self.images, Sequences) else None

    def of_equal_lengths(self, where: str) -> "Split":
        """Return itself, for what looks at all steps of a sample.

        Raises
        ------
        PnbxValueError
            If samples have lengths of their own.
        """
        if self.lengths is not None:
            raise PnbxValueError(
                f"{where}: samples must all have the same number of steps, got {int(self.lengths.min())} to "
                f"{int(self.lengths.max())}; training, `pnbx-snn eval` and `neuromorphic compile` know lengths"
            )
        return self

    def first(self, number: int) -> "Split":
        """Return the first samples, with their lengths."""
        images: Samples = self.images[:number]
        if self.lengths is not None:
            images = Sequences(self.images[:number], self.lengths[:number])
        return Split(images, self.labels[:number])


def check_part(where: str, part: str) -> None:
    """Raise a :class:`PnbxValueError` unless a part of a data set is one of the four."""
    if part not in get_args(Part):
        raise PnbxValueError(f"{where}: part must be 'train', 'validation', 'train_all' or 'test', got {part!r}")
