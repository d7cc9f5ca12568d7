"""Several streams from one file of a user's arrays: an array for each, the labels common to all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pnbx_snn.data.arrays import ArraySizes, array_sizes, load_arrays
from pnbx_snn.data.split import Part, Split
from pnbx_snn.data.streams import side_by_side
from pnbx_snn.errors import DataError


def load_array_streams(
    path: str | Path, streams: Sequence[str], *, part: Part, widths: Sequence[int] = (), **options: Any
) -> Split:
    """Load a part of arrays with several streams: :func:`pnbx_snn.data.arrays.load_arrays`, one ``x`` for each stream.

    Parameters
    ----------
    path
        A ``.npz``, or a folder of ``.npy``. Stream ``sound`` is the array ``sound`` where a single stream is ``x``, so
        ``sound_train`` and ``sound_test`` are parts that are given. Sample ``i`` of each stream has label ``y[i]``.
        A stream of fewer steps is stretched and a static one shown in all steps, see
        :func:`pnbx_snn.data.streams.shown`; with ``lengths``, which hold for all, every stream is a sequence.
    streams
        The names, in the order in which the streams stand side by side.
    part, **options
        As of :func:`pnbx_snn.data.arrays.load_arrays`.
    widths
        Values of each stream that a network was trained on: others are refused.

    Raises
    ------
    DataError
        What :func:`pnbx_snn.data.arrays.load_arrays` refuses, and streams of other widths or of different samples.

    Examples
    --------
    >>> import numpy as np
    >>> path = getfixture("tmp_path") / "mine.npz"
    >>> rng = np.random.default_rng(0)
    >>> np.savez(path, sound=rng.random((40, 6, 3)), image=rng.random((40, 8)), y=np.arange(40) % 2)
    >>> load_array_streams(path, ["sound", "image"], part="train").images.shape
    torch.Size([28, 6, 11])
    """
    splits = [
        load_arrays(path, part=part, x=name, others=[other for other in streams if other != name], **options)
        for name in streams
    ]
    found = tuple(split.images.shape[-1] for split in splits)
    if widths and tuple(widths) != found:
        raise DataError(
            f"{path}: the network was made for streams of {list(widths)} values, the arrays have {list(found)}"
        )
    _check_samples(path, streams, splits)
    return side_by_side(splits)


def _check_samples(path: str | Path, streams: Sequence[str], splits: Sequence[Split]) -> None:
    """Refuse streams of which one has lengths and none of them is static, or with another number of steps."""
    for name, split in zip(streams, splits, strict=True):
        if split.lengths is not None and split.images.shape[1] != splits[0].images.shape[1]:
            raise DataError(
                f"{path}: with lengths all streams must have the same steps, got {splits[0].images.shape[1]} of "
                f"{streams[0]} and {split.images.shape[1]} of {name}"
            )


def array_stream_sizes(path: str | Path, streams: Sequence[str], **options: Any) -> tuple[ArraySizes, tuple[int, ...]]:
    """Return the sizes of all streams together, and the values in a step of each."""
    sizes = [
        array_sizes(path, x=name, others=[other for other in streams if other != name], **options) for name in streams
    ]
    widths = tuple(one.features for one in sizes)
    return ArraySizes(sum(widths), max(one.steps for one in sizes), sizes[0].classes), widths
