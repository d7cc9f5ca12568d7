"""A user's own arrays as a data set: a ``.npz``, or a folder of ``.npy``, with samples, labels and perhaps lengths."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from pnbx_snn.data.array_parts import ArrayPart, Values, read_given_parts, with_missing_parts
from pnbx_snn.data.split import Part, Sequences, Split, check_part
from pnbx_snn.errors import DataError, DataWarning, PnbxValueError, ShapeError
from pnbx_snn.wording import counted

INT8_UNITS = 254
"""A column whose largest value is below this part of the largest of all becomes 0 in an 8-bit input."""


class ArraySizes(NamedTuple):
    """What a configuration has to know of the arrays: values in a step, steps (1: static) and classes."""

    features: int
    steps: int
    classes: int


def load_arrays(
    path: str | Path,
    *,
    part: Part,
    test_share: float = 0.2,
    validation_share: float = 0.1,
    split_seed: int = 0,
    values: Values = "real",
    sizes: ArraySizes | None = None,
    x: str = "x",
    others: Sequence[str] = (),
) -> Split:
    """Load a part of a data set that is a file of arrays.

    With lengths, ``images`` is a :class:`pnbx_snn.data.split.Sequences`, whose ``T`` is the largest length of all
    parts; otherwise it is ``[n, N]`` or ``[n, T, N]`` float32.

    Parameters
    ----------
    path
        A ``.npz``, or a folder with a ``.npy`` for each array. Its arrays are

        ``x``
            ArrayPart: ``[S, N]`` (static), ``[S, T, N]`` (sequences), or, with ``lengths``, ``[sum(lengths), N]``
            (sequences end to end). Numbers or bool; what stands beyond a sample's length is not looked at.
        ``y``
            ``[S]``, whole numbers from 0.
        ``lengths``
            ``[S]``, steps of each sample, 1 or more. Without it all ``T`` steps count.

        ``x_train``, ``y_train``, ``lengths_train`` are the same as ``x``, ``y``, ``lengths``; ``x_test`` and
        ``x_validation`` with their ``y`` (and ``lengths``) are parts that are given.
    part
        ``"train"``, ``"validation"``, ``"train_all"`` (both) or ``"test"``.
    test_share, validation_share
        Of the samples in ``x``: the shares that become a part which is not given, class by class, each at least one.
    split_seed
        Of the parts that are made; a constant of the data set, not of a training.
    values
        ``"real"``, or ``"spikes"``: every value must be 0 or 1, and enters a program as it is.
    sizes
        What a network was trained on: other arrays are then refused.
    x, others
        Of a file with several streams: the name of the array that is read as ``x``, and those that are left alone. See
        :func:`pnbx_snn.data.array_streams.load_array_streams`.

    Notes
    -----
    The file is not trusted: names, types, shapes and sizes are checked from the headers before anything is read, and
    nothing in it is ever unpickled.

    A network with 8-bit inputs has one scale for all columns. A column that is so small beside the largest one that it
    becomes 0 there is a :class:`pnbx_snn.errors.DataWarning`.

    Raises
    ------
    DataError
        If something is missing, cut short, altered, of a type or shape that does not fit, not finite, or a label that
        the training part does not have.
    PnbxValueError
        If the part is not one of the four.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "mine.npz"
    >>> np.savez(path, x=np.random.default_rng(0).random((40, 5, 3)), y=np.arange(40) % 2)
    >>> load_arrays(path, part="train").images.shape, load_arrays(path, part="test").labels.bincount().tolist()
    (torch.Size([28, 5, 3]), [4, 4])
    """
    check_part("load_arrays", part)
    path = Path(path)
    found, parts, largest = _load_parts(path, values, test_share, validation_share, split_seed, x, others)
    if sizes is not None and sizes != found:
        raise DataError(
            f"{path}: the network was made for {_sizes_text(sizes)}, the arrays have {_sizes_text(found)}; name the "
            "arrays it was trained on, or train anew"
        )
    wanted = ("train", "validation") if part == "train_all" else (part,)
    chosen = [parts[name] for name in wanted]
    if part in ("train", "train_all") and values == "real":
        _check_columns(path, largest)
    images = torch.from_numpy(np.concatenate([samples.x for samples in chosen]))
    labels = torch.from_numpy(np.concatenate([samples.y for samples in chosen]))
    if chosen[0].lengths is None:
        return Split(images, labels)
    lengths = np.concatenate([samples.lengths for samples in chosen if samples.lengths is not None])
    return Split(Sequences(images, torch.from_numpy(lengths)), labels)


def array_sizes(path: str | Path, *, values: Values = "real", x: str = "x", others: Sequence[str] = ()) -> ArraySizes:
    """Return the sizes of the arrays in a file, after checking all that :func:`load_arrays` checks."""
    return _load_parts(Path(path), values, 0.2, 0.1, 0, x, others)[0]


def _load_parts(
    path: Path,
    values: Values,
    test_share: float,
    validation_share: float,
    split_seed: int,
    x: str,
    others: Sequence[str],
) -> tuple[ArraySizes, dict[str, ArrayPart], NDArray[np.float32]]:
    given, classes = read_given_parts(path, values, x=x, others=others)
    parts = with_missing_parts(path, given, classes, {"test": test_share, "validation": validation_share}, split_seed)
    train = given["train"]
    largest = np.abs(train.x).reshape(-1, train.x.shape[-1]).max(axis=0)
    steps = 1 if train.x.ndim == 2 else max(samples.x.shape[1] for samples in given.values())
    if train.lengths is not None:
        parts = {name: samples.padded(steps) for name, samples in parts.items()}
    return ArraySizes(train.x.shape[-1], steps, classes), parts, largest


def _check_columns(path: Path, largest: NDArray[np.float32]) -> None:
    lost = np.flatnonzero((largest > 0) & (largest * INT8_UNITS < largest.max()))
    if len(lost):
        some = ", ".join(str(column) for column in lost[:5]) + (", ..." if len(lost) > 5 else "")
        warnings.warn(
            f"{path}: columns {some} of x are so small beside the largest value ({largest.max():.3g}) that an 8-bit "
            "input makes 0 of them; bring the columns to one scale, for example (x - mean) / deviation",
            DataWarning,
            stacklevel=4,
        )


def _sizes_text(sizes: ArraySizes) -> str:
    steps = "static samples" if sizes.steps == 1 else counted(sizes.steps, "step")
    return f"{steps} of {counted(sizes.features, 'value')} and {sizes.classes} classes"


def windows(x: Float[Tensor, "S T N"], size: int) -> Float[Tensor, "S T M"]:
    """Let each step of a sequence ``[S, T, N]`` see itself and the ``size - 1`` steps before (or zeros).

    In the result, ``[S, T, N * size]``, value n of the step k steps ago stands at ``n * size + size - 1 - k``. A step
    does not see later ones, so a network reads a stream in the same way, and lengths stay what they are.

    Raises
    ------
    PnbxValueError, ShapeError
        If the size is below 1, or x is not ``[S, T, N]``.

    Examples
    --------
    >>> windows(torch.tensor([[[1.0], [2.0], [3.0]]]), 2).tolist()
    [[[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]]
    """
    if size < 1:
        raise PnbxValueError(f"windows: size must be at least 1, got {size}")
    if x.ndim != 3:
        raise ShapeError(f"windows: x must be [S, T, N], got {list(x.shape)}")
    padded = torch.nn.functional.pad(x, (0, 0, size - 1, 0))  # [S, size - 1 + T, N]
    return padded.unfold(1, size, 1).flatten(2)
