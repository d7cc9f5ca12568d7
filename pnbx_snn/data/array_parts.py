"""The parts of a user's arrays: which arrays belong to one, what must be in them, and how missing parts are cut out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pnbx_snn.data.array_files import Header, read_headers, read_named
from pnbx_snn.errors import DataError
from pnbx_snn.wording import counted

Values = Literal["real", "spikes"]
GIVEN = ("train", "validation", "test")


class ArrayPart(NamedTuple):
    """ArrayPart ``[S, N]`` or ``[S, T, N]``, labels ``[S]``, steps of each sample (``None``: all ``T``)."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    lengths: NDArray[np.int64] | None

    def chosen(self, index: NDArray[np.int64]) -> "ArrayPart":
        """Return the samples of these numbers."""
        return ArrayPart(self.x[index], self.y[index], None if self.lengths is None else self.lengths[index])

    def padded(self, steps: int) -> "ArrayPart":
        """Return sequences of so many steps, zeros behind their own."""
        missing = steps - self.x.shape[1]
        return self if missing == 0 else self._replace(x=np.pad(self.x, ((0, 0), (0, missing), (0, 0))))


def read_given_parts(
    path: Path, values: Values, *, x: str = "x", others: Sequence[str] = ()
) -> tuple[dict[str, ArrayPart], int]:
    """Read the parts that the arrays give, checked one by one and against each other, and count the classes.

    ``x`` names the samples, and ``others`` those of other streams, which are left alone.
    """
    names = _named_by_part(path, read_headers(path), x, others)
    given = {part: _read_part(path, part, arrays, values) for part, arrays in names.items()}
    _check_alike(path, names, given)
    return given, _count_classes(path, names, given)


def _named_by_part(
    path: Path, headers: dict[str, Header], samples: str, others: Sequence[str]
) -> dict[str, dict[str, Header]]:
    """Sort the arrays by part: ``{part: {"x": header, "y": header, "lengths": header}}``."""
    parts: dict[str, dict[str, Header]] = {}
    kinds = (samples, *others, "y", "lengths")
    known = {
        f"{kind}{ending}": (kind, ending.removeprefix("_"))
        for kind in kinds
        for ending in ("", *(f"_{part}" for part in GIVEN))
    }
    for name, header in headers.items():
        if name not in known:
            raise DataError(
                f"{path}: unknown array {name!r}; known are {', '.join(kinds[:-1])} and lengths, alone or with _train, "
                "_validation, _test"
            )
        kind, part = known[name]
        if kind in others:
            continue
        arrays = parts.setdefault(part or "train", {})
        key = "x" if kind == samples else kind
        if key in arrays:
            raise DataError(f"{path}: {kind} and {kind}_train are the same array; give one of them")
        arrays[key] = header
    if "train" not in parts:
        raise DataError(
            f"{path}: has no samples to learn from: must hold {samples} and y, or {samples}_train and y_train"
        )
    for part, arrays in parts.items():
        for kind in ("x", "y"):
            if kind not in arrays:
                raise DataError(
                    f"{path}: has {_listed(arrays)} and no {samples if kind == 'x' else kind} for the {part} part"
                )
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
        raise DataError(
            f"{path}: {x.name} has {counted(x.shape[0], 'sample')} and {y.name} {counted(num_samples, 'label')}"
        )
    if lengths is not None:
        if lengths.dtype.kind not in "iu":
            raise DataError(f"{path}: {lengths.name} must be whole numbers, got dtype {lengths.dtype.str}")
        if lengths.shape != y.shape:
            raise DataError(f"{path}: {lengths.name} must be [{num_samples}] as {y.name}, got {list(lengths.shape)}")


def _read_part(path: Path, part: str, arrays: dict[str, Header], values: Values) -> ArrayPart:
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
    return ArrayPart(x, y.astype(np.int64), lengths)


def _lengths(path: Path, name: str, lengths: NDArray[Any], of: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    most = shape[1] if len(shape) == 3 else shape[0]
    if int(lengths.min()) < 1 or int(lengths.max()) > most:
        worst = int(lengths.argmin() if int(lengths.min()) < 1 else lengths.argmax())
        raise DataError(f"{path}: {name} must be in 1..{most}, got {int(lengths[worst])} at {worst}")
    steps = lengths.astype(np.int64)
    if len(shape) == 2 and int(steps.sum()) != shape[0]:
        raise DataError(
            f"{path}: {of} has {counted(shape[0], 'step')} end to end and {name} add up to {int(steps.sum())}"
        )
    return steps


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


def _check_alike(path: Path, names: dict[str, dict[str, Header]], given: dict[str, ArrayPart]) -> None:
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


def _count_classes(path: Path, names: dict[str, dict[str, Header]], given: dict[str, ArrayPart]) -> int:
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


def with_missing_parts(
    path: Path, given: dict[str, ArrayPart], classes: int, shares: dict[str, float], seed: int
) -> dict[str, ArrayPart]:
    """Cut the parts that are not given out of the training samples, class by class."""
    missing = [part for part in ("test", "validation") if part not in given]
    train = given["train"]
    taken: dict[str, list[NDArray[np.int64]]] = {part: [] for part in (*missing, "train")}
    rng = np.random.default_rng(seed)
    for label in range(classes):
        order = rng.permutation(np.flatnonzero(train.y == label))
        if len(order) < len(missing) + 1:
            raise DataError(
                f"{path}: class {label} has {counted(len(order), 'sample')} in the training part, too few to cut "
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


def _listed(arrays: dict[str, Header]) -> str:
    return " and ".join(header.name for header in arrays.values())
