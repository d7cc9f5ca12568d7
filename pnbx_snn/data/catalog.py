"""The data sets that a configuration can name.

To add one: a module beside this one, its name in ``DataName``, and a row in ``DATA_SETS``.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from pnbx_snn.data.array_streams import load_array_streams
from pnbx_snn.data.arrays import ArraySizes, load_arrays, windows
from pnbx_snn.data.augment import affine_elastic, augment_features
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.data.download import MIRRORS, Mirror, OpenUrl, Progress
from pnbx_snn.data.events import SENSORS, load_events
from pnbx_snn.data.fsdd import download_fsdd, load_fsdd
from pnbx_snn.data.mnist import SIDE, download_mnist, load_mnist
from pnbx_snn.data.shrunk import shrink, shrunk
from pnbx_snn.data.split import Part, Sequences, Split
from pnbx_snn.data.streams import Pairs, Stream, each_stream
from pnbx_snn.data.time_series import SERIES, SeriesData, load_series
from pnbx_snn.errors import DataError, PnbxValueError
from pnbx_snn.files.atomic_write import make_folder

DataName = Literal[
    "digits", "mnist", "mnist_rows", "mnist_pixels", "fsdd", "shd", "ssc", "nmnist", "dvs_gesture", SeriesData,
    "arrays", "pairs",
]  # fmt: skip
DATA_VARIABLE = "PNBX_DATA"

Section = Any
"""The section ``[data]``, a :class:`pnbx_snn.training.settings.DataConfig`: that room lies above this one."""


class DataSet(NamedTuple):
    """What there is to know of a data set.

    ``load(section, part)`` returns its samples, ``sizes(section)`` the values in a step, the steps (1: static samples)
    and the classes. ``augment(x, generator=..., strength=...)`` changes samples at random in training; that of pairs
    also takes ``data``, the section. Where there is a ``url``, an address that ends in ``/``,
    ``download(folder, mirror)`` puts the files into a folder.
    """

    load: Callable[[Section, Part], Split]
    sizes: Callable[[Section], ArraySizes]
    augment: Callable[..., Tensor] | None = None
    url: str = ""
    download: Callable[[Path, Mirror], list[Path]] | None = None


def _distorted(x: Tensor, *, generator: torch.Generator, strength: float) -> Tensor:
    flat = x.flatten(1)
    return affine_elastic(flat, math.isqrt(flat.shape[1]), generator=generator, strength=strength).reshape(x.shape)


def _mnist(data: Section, part: Part) -> Split:
    """Return images, or sequences of their rows or of their pixels, shrunk to ``data.side``."""
    split = load_mnist(data_folder(data), part=part)
    steps = {"mnist_rows": (SIDE, SIDE), "mnist_pixels": (SIDE**2, 1)}.get(data.name, (SIDE**2,))
    split = Split(split.images[:].reshape(-1, *steps), split.labels)
    return shrunk(split, SIDE, data.side, keep_whole=part in ("train", "train_all"))


def _fsdd(data: Section, part: Part) -> Split:
    recordings = load_fsdd(
        data_folder(data),
        part=part,
        held_out_speaker=data.held_out_speaker or None,
        validation_speaker=data.validation_speaker or None,
        num_frames=data.num_frames,
        num_bands=data.num_bands,
    )
    return Split(recordings.features, recordings.labels)


def _events(data: Section, part: Part) -> Split:
    options = {"num_steps": data.num_frames, "step_ms": data.step_ms, "pool": data.pool}
    return Split(*load_events(data_folder(data), data.name, part=part, **options))


def _event_sizes(data: Section) -> ArraySizes:
    sensor = SENSORS[data.name]
    return ArraySizes(sensor.num_inputs(data.pool), data.num_frames, sensor.num_classes)


def _series(data: Section, part: Part) -> Split:
    folder = data.folder or os.environ.get(DATA_VARIABLE, "")  # without one, the package aeon has them
    return load_series(folder, data.name, part=part, window=data.window)


def _series_sizes(data: Section) -> ArraySizes:
    known = SERIES[data.name]
    return ArraySizes(known.channels * data.window, known.num_steps, known.num_classes)


def _arrays(data: Section, part: Part) -> Split:
    options: dict[str, Any] = {"part": part, "split_seed": data.split_seed, "values": data.values}
    options |= {"validation_share": data.validation_share, "test_share": data.test_share}
    if data.streams:
        return load_array_streams(arrays_path(data), data.streams, widths=data.widths, **options)
    sizes = ArraySizes(data.features, data.steps, data.classes) if data.is_resolved else None
    split = load_arrays(arrays_path(data), sizes=sizes, **options)
    if data.window == 1:
        return split
    seen = windows(split.images[:], data.window)
    return Split(seen if split.lengths is None else Sequences(seen, split.lengths), split.labels)


def _pairs(data: Section, part: Part) -> Split:
    splits = [load_split(data.model_copy(update={"name": source, "streams": ()}), part) for source in data.sources]
    count = data.pairs if part in ("train", "train_all") else 0
    pairs = Pairs(splits, count=count, seed=data.split_seed)
    return Split(pairs, pairs.labels)


def _pair_sizes(data: Section) -> ArraySizes:
    sizes = [DATA_SETS[source].sizes(data) for source in data.sources]
    return ArraySizes(sum(one.features for one in sizes), max(one.steps for one in sizes), sizes[0].classes)


def _pairs_changed(x: Tensor, *, data: Section, generator: torch.Generator, strength: float) -> Tensor:
    """Change every stream as its own data set is changed; one that cannot be changed stays."""

    def change(number: int, values: Tensor) -> Tensor:
        own = DATA_SETS[data.sources[number]].augment
        return values if own is None else own(values, generator=generator, strength=strength)

    return each_stream(x, pair_streams(data), change)


def pair_streams(data: Section) -> list[Stream]:
    """Return the streams of ``data.name = "pairs"``: name, width and own steps of each."""
    sizes = [DATA_SETS[source].sizes(data) for source in data.sources]
    return [Stream(name, size.features, size.steps) for name, size in zip(data.streams, sizes, strict=True)]


DATA_SETS: dict[str, DataSet] = {
    "digits": DataSet(
        load=lambda _, part: load_digits_split(part=part), sizes=lambda _: ArraySizes(64, 1, 10), augment=_distorted
    ),
    "mnist": DataSet(
        load=_mnist,
        sizes=lambda data: ArraySizes(data.side**2, 1, 10),
        augment=_distorted,
        url=MIRRORS["mnist"],
        download=download_mnist,
    ),
    "mnist_rows": DataSet(load=_mnist, sizes=lambda data: ArraySizes(data.side, data.side, 10), augment=_distorted),
    "mnist_pixels": DataSet(load=_mnist, sizes=lambda data: ArraySizes(1, data.side**2, 10), augment=_distorted),
    "fsdd": DataSet(
        load=_fsdd,
        sizes=lambda data: ArraySizes(data.num_bands, data.num_frames, 10),
        augment=augment_features,
        url=MIRRORS["fsdd"],
        download=download_fsdd,
    ),
    **{name: DataSet(load=_events, sizes=_event_sizes) for name in SENSORS},
    **{name: DataSet(load=_series, sizes=_series_sizes) for name in SERIES},
    "arrays": DataSet(
        load=_arrays, sizes=lambda data: ArraySizes(data.features * data.window, data.steps, data.classes)
    ),
    "pairs": DataSet(load=_pairs, sizes=_pair_sizes, augment=_pairs_changed),
}
SHRINKING = ("mnist", "mnist_rows", "mnist_pixels")
"""Data sets of which ``data.side`` makes the pictures smaller."""
assert set(DATA_SETS) == set(get_args(DataName))
assert {name for name, row in DATA_SETS.items() if row.download} == set(MIRRORS)


def data_folder(data: Section) -> Path:
    """Return the folder of the data sets: ``data.folder``, or what the environment variable ``PNBX_DATA`` says.

    A :class:`DataError` if neither names one.
    """
    folder = data.folder or os.environ.get(DATA_VARIABLE, "")
    if folder:
        return Path(folder)
    where = f"--data DIR, data.folder or {DATA_VARIABLE}"
    if data.name in SENSORS:
        raise DataError(f"data.name = {data.name!r} needs the folder where Tonic put it: {where}")
    raise DataError(
        f"data.name = {data.name!r} needs a folder: {where}; "
        f"to get the files: pnbx-snn download {data.name.removesuffix('_rows')} --data DIR"
    )


def arrays_path(data: Section) -> Path:
    """Return where a user's arrays lie: ``data.path``, from ``data.folder`` if that is set."""
    return Path(data.folder, data.path)


def load_split(data: Section, part: Part) -> Split:
    """Load a part of the data that a configuration names: ``images`` are ``[n, N]``, or ``[n, T, N]`` for sequences.

    What is in ``"train"``, ``"validation"``, ``"train_all"`` (both) and ``"test"`` says the function that loads this
    data set. Event data are read as they are indexed.

    Raises
    ------
    DataError
        If the files are missing or broken.

    Examples
    --------
    >>> from pnbx_snn.training.settings import DataConfig
    >>> load_split(DataConfig(), "test").images.shape
    torch.Size([360, 64])
    """
    return DATA_SETS[data.name].load(data, part)


def augment(
    x: Float[Tensor, "B *shape"], data: Section, *, strength: float, generator: torch.Generator
) -> Float[Tensor, "B *changed"]:
    """Change samples of :func:`load_split` at random, with a strength of 0 (as they are) to 1.

    Images: affine and elastic distortion; spoken digits: shifts, masks and noise; pairs: each stream in its own way; a
    :class:`PnbxValueError` for others. Images of MNIST are those that :func:`pnbx_snn.data.shrunk.before_shrinking`
    has, and :func:`in_size` shrinks them afterwards.
    """
    if strength == 0:
        return x
    change = DATA_SETS[data.name].augment
    if change is None:
        raise PnbxValueError(f"augment: samples of {data.name!r} cannot be changed: strength must be 0, got {strength}")
    section = {"data": data} if data.name == "pairs" else {}
    return change(x, generator=generator, strength=strength, **section)


def in_size(x: Float[Tensor, "B *shape"], data: Section, side: int) -> Float[Tensor, "B *smaller"]:
    """Return samples whose pictures, of the size of MNIST, are shrunk to ``side``; others as they are."""
    return shrink(x, SIDE, side) if data.name in SHRINKING else x


def download(
    name: str,
    folder: str | Path,
    *,
    progress: Progress | None = None,
    base_url: str | None = None,
    open_url: OpenUrl | None = None,
) -> list[Path]:
    """Put a data set into a folder, where :func:`load_split` finds it, and return the paths of its files.

    What arrives is not trusted: it has a largest size, and is checked in memory before a file is written, in one step.

    Parameters
    ----------
    name
        ``"mnist"``: the four files of MNIST (12 MB) into ``folder/mnist``. ``"fsdd"``: the 3,000 spoken digits (a zip
        of 16 MB) as ``folder/fsdd/fsdd.npz``.
    folder
        Made if it is not there. Files in it that are right stay, so a second call continues the first one.
    progress
        Told about every 64 KiB that arrives.
    base_url, open_url
        Another mirror, an ``https://`` address that ends in ``/``, with files of the same names; another way to open an
        address, for tests and for networks with rules of their own.

    Raises
    ------
    DataError
        If the mirror cannot be reached, or what it sends is cut short, altered or something else; nothing is written.
    StorageError
        If a file cannot be written.
    PnbxValueError
        If there is no data set of this name, or ``base_url`` is not an https address.

    Examples
    --------
    >>> download("mnist", getfixture("tmp_path"), base_url="http://example.org/")
    Traceback (most recent call last):
    pnbx_snn.errors.PnbxValueError: download: base_url must start with https:// and end in /, got 'http://example.org/'
    """
    row = DATA_SETS.get(name)
    if row is None or row.download is None:
        known = " or ".join(repr(name) for name, row in DATA_SETS.items() if row.download)
        raise PnbxValueError(f"download: name must be {known}, got {name!r}")
    base_url = row.url if base_url is None else base_url
    if not (base_url.startswith("https://") and base_url.endswith("/")):
        raise PnbxValueError(f"download: base_url must start with https:// and end in /, got {base_url!r}")
    target = make_folder(Path(folder) / name)
    return row.download(target, Mirror(base_url, open_url=open_url, progress=progress))
