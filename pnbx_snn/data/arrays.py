"""A user's own arrays as a data set: a ``.npz``, or a folder of ``.npy``, with samples, labels and perhaps lengths."""

import math
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from pnbx_snn.data.array_files import Header, read_headers, read_named
from pnbx_snn.data.split import Part, Sequences, Split, check_part
from pnbx_snn.errors import DataError, DataWarning, PnbxValueError, ShapeError

Values = Literal["real", "spikes"]
GIVEN = ("train", "validation", "test")
INT8_UNITS = 254
"""A column whose largest value is below this part of the largest of all becomes 0 in an 8-bit input."""


class ArraySizes(NamedTuple):
    """What a configuration has to know of the arrays: values in a step, steps (1: static) and classes."""

    features: int
    steps: int
    classes: int


class _Samples(NamedTuple):
    """Samples ``[S, N]`` or ``[S, T, N]``, labels ``[S]``, steps of each sample (``None``: all ``T``)."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    lengths: NDArray[np.int64] | None

    def chosen(self, index: NDArray[np.int64]) -> "_Samples":
        return _Samples(self.x[index], self.y[index], None if self.lengths is None else self.lengths[index])


def load_arrays(
    path: str | Path,
    *,
    part: Part,
    test_share: float = 0.2,
    validation_share: float = 0.1,
    split_seed: int = 0,
    values: Values = "real",
    sizes: ArraySizes | None = None,
) -> Split:
    r"""Load a part of a data set that is a file of arrays.

    Parameters
    ----------
    path
        A ``.npz``, or a folder with a ``.npy`` for each array. Its arrays are

        ``x``
            Samples: ``[S, N]`` (static), ``[S, T, N]`` (sequences), or, with ``lengths``, ``[sum(lengths), N]``
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

    Returns
    -------
    Split
        ``images`` ``[n, N]`` or ``[n, T, N]`` float32. With lengths it is a :class:`pnbx_snn.data.split.Sequences`,
        whose ``T`` is the largest length of all parts and which has zeros beyond each sample's.

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
    found, parts, largest = _load_parts(path, values, test_share, validation_share, split_seed)
    if sizes is not None and sizes != found:
        raise DataError(
            f"{path}: the network was made for {_sizes_text(sizes)}, the arrays have {_sizes_text(found)}; name the "
            "arrays it was trained on, or train anew"
        )
    wanted = ("train", "validation") if part == "train_all" else (part,)
    chosen = [parts[name] for name in wanted]
    if part in ("train", "train_all") and values == "real":
        _check_columns(path, largest)
    x = torch.from_numpy(np.concatenate([samples.x for samples in chosen]))
    labels = torch.from_numpy(np.concatenate([samples.y for samples in chosen]))
    if chosen[0].lengths is None:
        return Split(x, labels)
    lengths = np.concatenate([samples.lengths for samples in chosen if samples.lengths is not None])
    return Split(Sequences(x, torch.from_numpy(lengths)), labels)


def array_sizes(path: str | Path, *, values: Values = "real") -> ArraySizes:
    """Return the sizes of the arrays in a file, after checking all that :func:`load_arrays` checks.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "mine.npz"
    >>> np.savez(path, x=np.zeros((6, 3)) + 1, y=np.arange(6) % 2)
    >>> array_sizes(path)
    ArraySizes(features=3, steps=1, classes=2)
    """
    return _load_parts(Path(path), values, 0.2, 0.1, 0)[0]


def _load_parts(
    path: Path, values: Values, test_share: float, validation_share: float, split_seed: int
) -> tuple[ArraySizes, dict[str, _Samples], NDArray[np.float32]]:
    names = _names(path, read_headers(path))
    given = {part: _samples(path, part, arrays, values) for part, arrays in names.items()}
    _check_alike(path, names, given)
    classes = _classes(path, names, given)
    parts = _with_missing(path, given, classes, {"test": test_share, "validation": validation_share}, split_seed)
    train = given["train"]
    largest = np.abs(train.x).reshape(-1, train.x.shape[-1]).max(axis=0)
    steps = 1 if train.x.ndim == 2 else max(samples.x.shape[1] for samples in given.values())
    if train.lengths is not None:
        parts = {name: samples._replace(x=_longer(samples.x, steps)) for name, samples in parts.items()}
    return ArraySizes(train.x.shape[-1], steps, classes), parts, largest


def _names(path: Path, headers: dict[str, Header]) -> dict[str, dict[str, Header]]:
    """Sort the arrays by part: ``{part: {"x": header, "y": header, "lengths": header}}``."""
    parts: dict[str, dict[str, Header]] = {}
    known = {f"{kind}{ending}" for kind in ("x", "y", "lengths") for ending in ("", *(f"_{part}" for part in GIVEN))}
    for name, header in headers.items():
        if name not in known:
            raise DataError(
                f"{path}: unknown array {name!r}; known are x, y and lengths, alone or with _train, _validation, _test"
            )
        kind, _, part = name.partition("_")
        arrays = parts.setdefault(part or "train", {})
        if kind in arrays:
            raise DataError(f"{path}: {kind} and {kind}_train are the same array; give one of them")
        arrays[kind] = header
    if "train" not in parts:
        raise DataError(f"{path}: has no samples to learn from: must hold x and y, or x_train and y_train")
    for part, arrays in parts.items():
        for kind in ("x", "y"):
            if kind not in arrays:
                raise DataError(f"{path}: has {_listed(arrays)} and no {kind} for the {part} part")
        x, y = arrays["x"], arrays["y"]
        if x.dtype.kind not in "fiub":
            raise DataError(f"{path}: {x.name} must hold numbers, got dtype {x.dtype.str}")
        if y.dtype.kind not in "iu":
            raise DataError(
                f"{path}: {y.name} must be whole numbers from 0 (an integer dtype), got dtype {y.dtype.str}; "
                "np.unique(y, return_inverse=True)[1] makes them of anything"
            )
        if len(y.shape) != 1 or 0 in y.shape:
            raise DataError(f"{path}: {y.name} must be [S] with one label a sample, got {list(y.shape)}")
        _check_shapes(path, x, y, arrays.get("lengths"))
    return parts


def _check_shapes(path: Path, x: Header, y: Header, lengths: Header | None) -> None:
    num_samples = y.shape[0]
    wanted = "[S, N] or [S, T, N]" if lengths is None else "[S, T, N] or, end to end, [sum(lengths), N]"
    if len(x.shape) not in (2, 3) or 0 in x.shape:
        hint = "; flatten what is in a step: x.reshape(S, T, -1)" if len(x.shape) > 3 else ""
        raise DataError(f"{path}: {x.name} must be {wanted}, got {list(x.shape)}{hint}")
    if len(x.shape) == 3 and x.shape[1] == 1 and lengths is None:
        raise DataError(f"{path}: {x.name} is {list(x.shape)}, sequences of one step: static samples are [S, N]")
    if x.shape[0] != num_samples and (lengths is None or len(x.shape) == 3):
        raise DataError(f"{path}: {x.name} has {x.shape[0]} samples and {y.name} {num_samples} labels")
    if lengths is not None:
        if lengths.dtype.kind not in "iu":
            raise DataError(f"{path}: {lengths.name} must be whole numbers, got dtype {lengths.dtype.str}")
        if lengths.shape != y.shape:
            raise DataError(f"{path}: {lengths.name} must be [{num_samples}] as {y.name}, got {list(lengths.shape)}")


def _samples(path: Path, part: str, arrays: dict[str, Header], values: Values) -> _Samples:
    """Read the arrays of a part and check what is in them."""
    y = read_named(path, arrays["y"])
    if int(y.min()) < 0:
        raise DataError(f"{path}: {arrays['y'].name} must be 0 or more, got {int(y.min())} at {int(y.argmin())}")
    stored = read_named(path, arrays["x"])
    name = arrays["x"].name
    lengths: NDArray[np.int64] | None = None
    if "lengths" in arrays:
        lengths = _lengths(path, arrays["lengths"].name, read_named(path, arrays["lengths"]), name, stored.shape)
        if stored.ndim == 2:
            stored = _padded(path, stored, lengths)
    with np.errstate(over="ignore"):  # what is too large becomes infinite and is refused
        x = stored.astype(np.float32)
    if lengths is not None:
        x[np.arange(x.shape[1]) >= lengths[:, None]] = 0.0  # whatever stood there
    good = np.isfinite(x)
    if not good.all():
        where = np.argwhere(~good)[0]
        raise DataError(
            f"{path}: {name} must be finite float32 numbers, got {int((~good).sum())} of {x.size} that are not, the "
            f"first in sample {where[0]}"
        )
    if values == "spikes" and not ((x == 0) | (x == 1)).all():
        worst = np.argwhere((x != 0) & (x != 1))[0]
        raise DataError(
            f"{path}: {name} must be 0 or 1 everywhere with data.values = 'spikes', got {x[tuple(worst)]:g} in sample "
            f"{worst[0]}; 'real' takes any number"
        )
    if values == "real" and part == "train" and not x.any():
        raise DataError(f"{path}: {name} is 0 everywhere")
    return _Samples(x, y.astype(np.int64), lengths)


def _lengths(path: Path, name: str, lengths: NDArray[Any], of: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    most = shape[1] if len(shape) == 3 else shape[0]
    if int(lengths.min()) < 1 or int(lengths.max()) > most:
        worst = int(lengths.argmin() if int(lengths.min()) < 1 else lengths.argmax())
        raise DataError(f"{path}: {name} must be in 1..{most}, got {int(lengths[worst])} at {worst}")
    counted = lengths.astype(np.int64)
    if len(shape) == 2 and int(counted.sum()) != shape[0]:
        raise DataError(f"{path}: {of} has {shape[0]} steps end to end and {name} add up to {int(counted.sum())}")
    return counted


def _padded(path: Path, steps: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Make ``[S, T, N]`` of sequences that stand end to end, ``[sum(lengths), N]``."""
    longest = int(lengths.max())
    if len(lengths) * longest * steps.shape[1] > 64 * steps.size:
        raise DataError(
            f"{path}: sequences of {int(lengths.min())} to {longest} steps: padded to the longest they take 64 times "
            "their own size; cut the longest ones"
        )
    x = np.zeros((len(lengths), longest, steps.shape[1]), dtype=steps.dtype)
    x[np.arange(longest) < lengths[:, None]] = steps
    return x


def _longer(x: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    return x if x.shape[1] == steps else np.pad(x, ((0, 0), (0, steps - x.shape[1]), (0, 0)))


def _check_alike(path: Path, names: dict[str, dict[str, Header]], given: dict[str, _Samples]) -> None:
    """Raise unless the parts that are given are samples of the same kind."""
    train = given["train"]
    for part, samples in given.items():
        ours, theirs = names["train"]["x"], names[part]["x"]
        if (samples.lengths is None) != (train.lengths is None):
            raise DataError(f"{path}: lengths must be there for every part or for none, got {_listed(names[part])}")
        same_steps = train.lengths is not None or samples.x.shape[1:-1] == train.x.shape[1:-1]
        if samples.x.ndim != train.x.ndim or samples.x.shape[-1] != train.x.shape[-1] or not same_steps:
            raise DataError(
                f"{path}: {ours.name} and {theirs.name} must have the same steps and values, got {list(ours.shape)} "
                f"and {list(theirs.shape)}" + ("" if same_steps else "; sequences of different lengths need lengths")
            )


def _classes(path: Path, names: dict[str, dict[str, Header]], given: dict[str, _Samples]) -> int:
    train, name = given["train"].y, names["train"]["y"].name
    seen = np.unique(train)
    if len(seen) < 2:
        raise DataError(f"{path}: {name} must have at least two classes, got {seen.tolist()}")
    classes = int(seen[-1]) + 1
    if len(seen) < classes:
        missing = next(i for i, label in enumerate(seen.tolist()) if i != label)
        raise DataError(
            f"{path}: {name} must have every class from 0 to its largest, {classes - 1}, got none of class {missing}; "
            "np.unique(y, return_inverse=True)[1] numbers them anew"
        )
    for part, samples in given.items():
        if int(samples.y.max()) >= classes:
            raise DataError(
                f"{path}: {names[part]['y'].name} has class {int(samples.y.max())}, {name} only 0 to {classes - 1}"
            )
    return classes


def _with_missing(
    path: Path, given: dict[str, _Samples], classes: int, shares: dict[str, float], seed: int
) -> dict[str, _Samples]:
    """Cut the parts that are not given out of the training samples, class by class."""
    missing = [part for part in ("test", "validation") if part not in given]
    train = given["train"]
    taken: dict[str, list[NDArray[np.int64]]] = {part: [] for part in (*missing, "train")}
    rng = np.random.default_rng(seed)
    for label in range(classes):
        order = rng.permutation(np.flatnonzero(train.y == label))
        if len(order) < len(missing) + 1:
            raise DataError(
                f"{path}: class {label} has {len(order)} samples in the training part, too few to cut "
                f"{' and '.join(missing)} out of them: must be {len(missing) + 1} or more"
            )
        first = 0
        for part in missing:
            left = len(order) - first - (len(missing) - missing.index(part))  # one for each part behind
            number = min(max(1, math.floor(shares[part] * len(order) + 0.5)), max(left, 1))
            taken[part].append(order[first : first + number])
            first += number
        taken["train"].append(order[first:])
    return {**given, **{part: train.chosen(np.sort(np.concatenate(index))) for part, index in taken.items()}}


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


def _listed(arrays: dict[str, Header]) -> str:
    return " and ".join(header.name for header in arrays.values())


def _sizes_text(sizes: ArraySizes) -> str:
    steps = "static samples" if sizes.steps == 1 else f"{sizes.steps} steps"
    return f"{steps} of {sizes.features} values and {sizes.classes} classes"


def windows(x: Float[Tensor, "S T N"], size: int) -> Float[Tensor, "S T M"]:
    """Let each step of a sequence see itself and the ``size - 1`` steps before it; before the first there are zeros.

    Parameters
    ----------
    x : Tensor, ``[S, T, N]``
        Sequences.
    size : int
        At least 1.

    Returns
    -------
    Tensor, ``[S, T, N * size]``
        Value n of the step k steps ago stands at ``n * size + size - 1 - k``. A step does not see later ones, so a
        network reads a stream in the same way, and lengths stay what they are.

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
