"""Time series in the ``.ts`` files of the UCR and UEA archives: those that ship in the package aeon, or your own."""

import functools
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from pnbx_snn.data.arrays import windows
from pnbx_snn.data.split import Part, Sequences, Split, check_part
from pnbx_snn.errors import DataError, PnbxValueError
from pnbx_snn.files.regular_files import read_regular
from pnbx_snn.wording import counted

SeriesData = Literal[
    "japanese_vowels",
    "basic_motions",
    "arrow_head",
    "gun_point",
    "italy_power_demand",
    "osu_leaf",
    "pickup_gesture",
]
VALIDATION_EVERY = 5
"""Every fifth series of a class in the training file is the validation part."""
MAX_BYTES = 256 << 20
MAX_STEPS = 100_000


class Archived(NamedTuple):
    """A data set of the archive: the name of its files, channels, the longest series of both files, and classes."""

    name: str
    channels: int
    num_steps: int
    num_classes: int


SERIES: dict[str, Archived] = {
    "japanese_vowels": Archived("JapaneseVowels", 12, 29, 9),
    "basic_motions": Archived("BasicMotions", 6, 100, 4),
    "arrow_head": Archived("ArrowHead", 1, 251, 3),
    "gun_point": Archived("GunPoint", 1, 150, 2),
    "italy_power_demand": Archived("ItalyPowerDemand", 1, 24, 2),
    "osu_leaf": Archived("OSULeaf", 1, 427, 6),
    "pickup_gesture": Archived("PickupGestureWiimoteZ", 1, 361, 10),
}
assert set(SERIES) == set(get_args(SeriesData))


class Series(NamedTuple):
    """Series of a file, each ``[T_i, N]``, their classes ``[S]`` and the names of the classes."""

    values: list[NDArray[np.float32]]
    labels: NDArray[np.int64]
    names: list[str]


def read_ts(path: str | Path) -> Series:
    r"""Read a ``.ts`` file: series of one or more channels, of equal or different lengths, with classes.

    A line is a series: its channels, separated by ``:``, each a list of numbers separated by ``,``, then its class, one
    of those that the header names (``@classLabel true a b c``; the first is 0).

    Raises
    ------
    DataError
        If there is no such file, it is too large, cut short, altered or of another format, has time stamps or values
        that are missing, or channels of one series differ in length.

    References
    ----------
    Bagnall et al. 2018, "The UEA multivariate time series classification archive, 2018", arXiv:1811.00075; Loening et
    al. 2019, arXiv:1909.07872 (the format).

    Examples
    --------
    >>> path = getfixture("tmp_path") / "two_TRAIN.ts"
    >>> _ = path.write_text("@timeStamps false\n@classLabel true no yes\n@data\n1,2,3:4,5,6:yes\n7,8:9,9:no\n")
    >>> series = read_ts(path)
    >>> series.values[1].tolist(), series.labels.tolist(), series.names
    ([[7.0, 9.0], [8.0, 9.0]], [1, 0], ['no', 'yes'])
    """
    path = Path(path)
    try:
        lines = read_regular(path, DataError, max_bytes=MAX_BYTES).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is cut short, altered or no .ts file ({error})") from error
    header: dict[str, list[str]] = {}
    first = 0
    for number, line in enumerate(lines):
        key, *words = line.split() or [""]
        if key.lower() == "@data":
            first = number + 1
            break
        if key.startswith("@"):
            header[key[1:].lower()] = words
        elif key and not key.startswith(("#", "%")):
            raise DataError(f"{path}: line {number + 1}: before @data must stand # or @, got {line[:40]!r}")
    if not first:
        raise DataError(f"{path}: is cut short, altered or no .ts file (there is no line @data)")
    if header.get("timestamps", ["false"])[0].lower() != "false":
        raise DataError(f"{path}: @timeStamps must be false, got {' '.join(header['timestamps'])!r}")
    kind, *names = header.get("classlabel", ["false"]) or ["false"]
    if kind.lower() != "true" or len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{path}: @classLabel must be true and name two or more different classes, got {names}")
    place = {name: number for number, name in enumerate(names)}
    values, labels = [], []
    for number, line in enumerate(lines[first:], start=first + 1):
        if line.strip() and not line.startswith("#"):
            *channels, label = line.strip().split(":")
            if label not in place:
                raise DataError(
                    f"{path}: line {number}: the class must be one of {', '.join(names)}, got {label[:60]!r}"
                )
            values.append(_series(f"{path}: line {number}", channels))
            labels.append(place[label])
    if not values:
        raise DataError(f"{path}: has no series")
    if (widths := {one.shape[1] for one in values}) and len(widths) > 1:
        raise DataError(f"{path}: all series must have as many channels, got {min(widths)} to {max(widths)}")
    return Series(values, np.array(labels), names)


def _series(where: str, channels: list[str]) -> NDArray[np.float32]:
    """Return the numbers of a line, ``[T, N]``."""
    try:
        columns = [np.array(channel.split(","), dtype=np.float32) for channel in channels]
    except ValueError as error:
        raise DataError(f"{where}: must be numbers separated by commas ({error})") from error
    lengths = {len(column) for column in columns}
    if len(lengths) != 1 or max(lengths) > MAX_STEPS:
        raise DataError(
            f"{where}: must have channels of one length up to {MAX_STEPS}, got {len(columns)} of {sorted(lengths)}"
        )
    series = np.stack(columns, axis=1)
    if not np.isfinite(series).all():
        raise DataError(f"{where}: must be finite numbers; a value is missing or infinite")
    return series


def series_file(folder: str | Path, data_set: str, part: Literal["TRAIN", "TEST"]) -> Path:
    """Return where a file of a data set lies: in ``folder/NAME/``, in ``folder``, or in the installed package aeon.

    aeon is not imported: only its files are read, so it can be installed without what it needs.

    Raises
    ------
    DataError
        If it is at none of the three places; the message says how to get it.
    """
    name = SERIES[data_set].name
    file = f"{name}_{part}.ts"
    places = [Path(folder, name, file), Path(folder, file)] if str(folder) else []
    found = find_spec("aeon")
    if found is not None and found.submodule_search_locations:
        places += [Path(root, "datasets", "data", name, file) for root in found.submodule_search_locations]
    for path in places:
        if path.exists():
            return path
    missing = "aeon, which is not installed" if found is None else "aeon; the installed one lacks it"
    raise DataError(
        f"{file}: not found; it is part of the package {missing}: pip install --no-deps aeon (its files are read, "
        f"it is never imported), or put the two files of {name} into DIR/{name} and say --data DIR"
    )


@functools.lru_cache(maxsize=4)
def _read(path: Path, mtime_ns: int) -> Series:  # a file that has changed is read anew
    return read_ts(path)


def load_series(folder: str | Path, data_set: str, *, part: Part, window: int = 1) -> Split:
    r"""Load a part of a data set of the archive: sequences ``[n, T, N]``, with lengths where they differ.

    Each channel is shifted and scaled by the mean and deviation of all steps of the training file, so that one 8-bit
    input scale suits all of them. Nothing is downloaded.

    Parameters
    ----------
    folder
        Where ``NAME/NAME_TRAIN.ts`` and ``NAME_TEST.ts`` lie; ``""``, or if they are not there: the package aeon.
    data_set
        A key of :data:`SERIES`.
    part
        ``"test"`` is the archive's own test file. ``"validation"`` is every fifth series of each class of the training
        file, in its order, ``"train"`` the rest and ``"train_all"`` both.
    window
        A step sees the values of so many steps, its own the last: :func:`pnbx_snn.data.arrays.windows`.

    Raises
    ------
    DataError
        If the files are missing, broken, or have other sizes than the archive says.
    PnbxValueError
        If there is no such data set or part.

    Examples
    --------
    >>> load_series("nowhere", "mnist", part="test")
    Traceback (most recent call last):
    pnbx_snn.errors.PnbxValueError: load_series: data_set must be one of japanese_vowels, ..., got 'mnist'
    """
    check_part("load_series", part)
    if data_set not in SERIES:
        raise PnbxValueError(f"load_series: data_set must be one of {', '.join(SERIES)}, got {data_set!r}")
    path = series_file(folder, data_set, "TRAIN")
    train = _checked(path, data_set)
    steps = np.concatenate(train.values)
    mean, deviation = steps.mean(axis=0), np.maximum(steps.std(axis=0), 1e-6)
    chosen = train if part != "test" else _checked(series_file(folder, data_set, "TEST"), data_set)
    if chosen.names != train.names:
        raise DataError(f"{path}: names the classes {train.names}, the test file {chosen.names}")
    order = np.arange(len(chosen.labels))
    if part in ("train", "validation"):
        rank = np.zeros(len(order), np.int64)
        for label in range(len(train.names)):
            own = train.labels == label
            rank[own] = np.arange(own.sum())
        order = order[(rank % VALIDATION_EVERY == VALIDATION_EVERY - 1) == (part == "validation")]
    lengths = torch.tensor([len(chosen.values[number]) for number in order])
    longest = SERIES[data_set].num_steps
    x = torch.zeros(len(order), longest, len(mean))
    for row, number in zip(x, order, strict=True):
        row[: len(chosen.values[number])] = torch.from_numpy((chosen.values[number] - mean) / deviation)
    if window > 1:
        x = windows(x, window)
    labels = torch.from_numpy(chosen.labels[order])
    # Lengths are given for all parts of a data set or for none, whatever this part happens to have.
    ragged = any(len(one) != longest for one in train.values)
    return Split(Sequences(x, lengths) if ragged else x, labels)


def _checked(path: Path, data_set: str) -> Series:
    """Read a file, and raise unless it is as large as the archive says."""
    found = _read(path, path.stat().st_mtime_ns)
    known = SERIES[data_set]
    got = (found.values[0].shape[1], max(map(len, found.values)), len(found.names))
    if got[0] != known.channels or got[1] > known.num_steps or got[2] != known.num_classes:
        raise DataError(
            f"{path}: {known.name} has {counted(known.channels, 'channel')}, at most {known.num_steps} steps and "
            f"{known.num_classes} classes, got {got[0]}, {got[1]} and {got[2]}"
        )
    return found
