"""The handwritten digits that ship inside scikit-learn, split once and for all, and their augmentation."""

from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pnbx_snn.errors import PnbxValueError, ShapeError

Part = Literal["train", "validation", "train_all", "test"]

NUM_TEST = 360
NUM_VALIDATION = 180
SPLIT_SEED = 0
"""Of the two stratified splits. A constant, not an option: a test set that moves with the seed is no test set."""


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
    """Raise unless a part of a data set is one of the four.

    Raises
    ------
    PnbxValueError
        Another name.

    Examples
    --------
    >>> check_part("load_mnist", "all")
    Traceback (most recent call last):
    pnbx_snn.errors.PnbxValueError: load_mnist: part must be 'train', 'validation', 'train_all' or 'test', got 'all'
    """
    if part not in get_args(Part):
        raise PnbxValueError(f"{where}: part must be 'train', 'validation', 'train_all' or 'test', got {part!r}")


def load_digits_split(*, part: Part) -> Split:
    """Load a part of the 1,797 handwritten 8x8 digits of scikit-learn. Nothing is downloaded.

    Parameters
    ----------
    part
        ``"train"`` (1,257 images) and ``"validation"`` (180) are for choosing; ``"train_all"`` (1,437) is both, for
        the last training; ``"test"`` (360) is for the last measurement and never for choosing. Each part has the
        classes in equal shares.

    Returns
    -------
    Split
        The same images in the same order at each call: pixels / 16, digits 0 to 9.

    Notes
    -----
    Shapes: images ``[n, 64]``, labels ``[n]``.

    Raises
    ------
    PnbxValueError
        If the part is not one of the four.

    References
    ----------
    Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository (CC BY 4.0);
    the copy in scikit-learn is the test file of that data set.

    Examples
    --------
    >>> {part: len(load_digits_split(part=part).labels) for part in ("train", "validation", "train_all", "test")}
    {'train': 1257, 'validation': 180, 'train_all': 1437, 'test': 360}
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    check_part("load_digits_split", part)
    images, labels = load_digits(return_X_y=True)
    train_all, test = train_test_split(range(len(labels)), test_size=NUM_TEST, stratify=labels, random_state=SPLIT_SEED)
    train, validation = train_test_split(
        train_all, test_size=NUM_VALIDATION, stratify=labels[train_all], random_state=SPLIT_SEED
    )
    index = {"train": train, "validation": validation, "train_all": train_all, "test": test}[part]
    return Split(
        images=torch.tensor(images[index] / 16.0, dtype=torch.float32),
        labels=torch.tensor(labels[index], dtype=torch.int64),
    )


def shift_images(
    images: Float[Tensor, "B N"],
    side: int,
    *,
    generator: torch.Generator,
    max_shift: int = 1,
    probability: float = 1.0,
) -> Float[Tensor, "B N"]:
    """Shift each image by whole pixels, at random; what comes in over the edge is 0.

    Parameters
    ----------
    images
        Square images, rows of pixels one after the other.
    side
        Height and width in pixels.
    generator
        Source of the random numbers (a CPU generator).
    max_shift
        Each direction moves by -max_shift ... max_shift pixels, all equally likely (0 among them).
    probability
        Share of the images that is shifted at all: lower it towards the end of a training to anneal the augmentation.

    Returns
    -------
    Tensor
        New images; the input is not changed.

    Notes
    -----
    Shapes: ``[B, side²]`` to ``[B, side²]``.

    Raises
    ------
    PnbxValueError
        If ``max_shift`` is not in [0, side) or ``probability`` not in [0, 1].
    ShapeError
        If the images do not have ``side²`` pixels.

    References
    ----------
    Own.

    Examples
    --------
    >>> image = torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    >>> shifted = shift_images(image, 3, generator=torch.Generator().manual_seed(0))
    >>> shifted.shape, shifted.sum()
    (torch.Size([1, 9]), tensor(1.))
    """
    if images.ndim != 2 or images.shape[1] != side * side:
        raise ShapeError(f"shift_images: images must be [B, {side * side}] for side={side}, got {list(images.shape)}")
    if not 0 <= max_shift < side:
        raise PnbxValueError(f"shift_images: max_shift must be in [0, {side}), got {max_shift}")
    if not 0.0 <= probability <= 1.0:
        raise PnbxValueError(f"shift_images: probability must be in [0, 1], got {probability}")
    num_images = len(images)
    shift = torch.randint(-max_shift, max_shift + 1, (num_images, 2), generator=generator)  # [B, (down, right)]
    shift *= torch.rand(num_images, 1, generator=generator) < probability
    padded = torch.nn.functional.pad(images.reshape(num_images, side, side), [max_shift] * 4)
    source = max_shift + torch.arange(side) - shift[:, :, None]  # [B, 2, side]: where each row and column comes from
    source = source.to(images.device)
    image = torch.arange(num_images, device=images.device)
    shifted = padded[image[:, None, None], source[:, 0, :, None], source[:, 1, None, :]]  # [B, side, side]
    return shifted.reshape(num_images, side * side)
