"""Event data sets (SHD, SSC, N-MNIST, DVS Gesture): Tonic reads recordings, which become spikes as they are used."""

import functools
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

import pnbx_extras
from pnbx_snn.data.split import Part, check_part
from pnbx_snn.errors import DataError, PnbxValueError

EventData = Literal["shd", "ssc", "nmnist", "dvs_gesture"]
VALIDATION_EVERY = 10
"""Where a data set names no validation part, every tenth recording of its training part is one."""


class Sensor(NamedTuple):
    """What a data set was recorded with: the size of the sensor; the 700 channels of a cochlea are its width.

    ``tonic`` is the name of Tonic's class, which is also that of the folder; ``places`` are where the files of the
    training, validation and test part are in that folder (``""``: there is no validation part).
    """

    width: int
    height: int
    polarities: int
    num_classes: int
    tonic: str
    places: tuple[str, str, str]

    def num_inputs(self, pool: int) -> int:
        """Return the inputs that are left when ``pool`` neighbours each way are one."""
        return self.polarities * -(-self.width // pool) * -(-self.height // pool)


SENSORS: dict[str, Sensor] = {
    "shd": Sensor(700, 1, 1, 20, "SHD", ("shd_train.h5", "", "shd_test.h5")),
    "ssc": Sensor(700, 1, 1, 35, "SSC", ("ssc_train.h5", "ssc_valid.h5", "ssc_test.h5")),
    "nmnist": Sensor(34, 34, 2, 10, "NMNIST", ("Train", "", "Test")),
    "dvs_gesture": Sensor(128, 128, 2, 11, "DVSGesture", ("ibmGestureTrain", "", "ibmGestureTest")),
}
assert set(SENSORS) == set(get_args(EventData))

# What h5py and Tonic's readers raise for a damaged file; a hole in an index of theirs is an IndexError or KeyError.
_DAMAGED = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)


def bin_events(
    t_us: NDArray[Any],
    x: NDArray[Any],
    y: NDArray[Any] | None = None,
    p: NDArray[Any] | None = None,
    *,
    sensor: Sensor,
    num_steps: int,
    step_us: float | Fraction,
    pool: int = 1,
) -> NDArray[np.float32]:
    r"""Turn the events of one recording into spikes, ``[num_steps, sensor.num_inputs(pool)]`` of 0 and 1.

    .. math::

        s_{tc} = 1 \text{ if there is an event } e \text{ with }
        \lfloor t_e / \Delta \rfloor = t \text{ and } c_e = c, \text{ else } 0, \qquad
        c_e = \Bigl(p_e \lceil H/k \rceil + \lfloor y_e/k \rfloor\Bigr) \lceil W/k \rceil + \lfloor x_e/k \rfloor

    Parameters
    ----------
    t_us, x, y, p
        Time in microseconds from the beginning, column, row and polarity of each event, ``[events]``; ``y`` and ``p``
        are 0 where there are none. What comes at or after ``num_steps * step_us`` is left out.
    sensor, pool
        Width W, height H and polarities; k: so many neighbours each way are one input.
    step_us
        Microseconds of a step (Δ): of a float, the decimal that it is written as. 16.1 ms a step are 16,100 us, and
        not the 16,100.000000000002 that 1000 times that float would be.

    Raises
    ------
    DataError
        If a time is negative or no number, or an address outside the sensor.

    Examples
    --------
    >>> sensor = Sensor(4, 1, 1, 2, "", ("", "", ""))
    >>> bin_events(np.array([0, 5, 25]), np.array([0, 3, 1]), sensor=sensor, num_steps=3, step_us=10.0, pool=2)
    array([[1., 1.],
           [0., 0.],
           [1., 0.]], dtype=float32)
    """
    zeros = np.zeros(len(t_us), np.int64)
    column, row, polarity = (zeros if part is None else part.astype(np.int64) for part in (x, y, p))
    limits = ((sensor.width, "x", column), (sensor.height, "y", row), (sensor.polarities, "p", polarity))
    for limit, name, value in limits:
        if len(value) and (value.min() < 0 or value.max() >= limit):
            worst = value.min() if value.min() < 0 else value.max()
            raise DataError(f"an event's {name} must be in [0, {limit - 1}], got {worst}")
    whole = np.issubdtype(t_us.dtype, np.integer)
    if not whole and not np.isfinite(t_us).all():
        raise DataError(f"an event's time must be a number, got {t_us[~np.isfinite(t_us)][0]}")
    if len(t_us) and t_us.min() < 0:
        raise DataError(f"an event's time must be at least 0 us, got {t_us.min()}")
    step = np.searchsorted(_ends(_exact(step_us), num_steps, whole), t_us.astype(np.int64 if whole else float), "right")
    seen = step < num_steps
    height, width = -(-sensor.height // pool), -(-sensor.width // pool)
    channel = (polarity * height + row // pool) * width + column // pool
    spikes = np.zeros((num_steps, sensor.num_inputs(pool)), np.float32)
    spikes[step[seen], channel[seen]] = 1.0
    return spikes  # [T, C]


def _exact(number: float | Fraction) -> Fraction:
    """Return the decimal that a float is written as, without a rounding."""
    return number if isinstance(number, Fraction) else Fraction(str(number))


@functools.lru_cache(maxsize=16)
def _ends(step_us: Fraction, num_steps: int, whole: bool) -> NDArray[Any]:
    """Return for each step the least time behind it: of whole microseconds, or of floats."""
    ends = [number * step_us for number in range(1, num_steps + 1)]
    if whole:
        return np.array([min(math.ceil(end), np.iinfo(np.int64).max) for end in ends], np.int64)
    nearest = np.array([float(end) for end in ends])
    short = np.array([Fraction(value) < end for value, end in zip(nearest.tolist(), ends, strict=True)])
    return np.where(short, np.nextafter(nearest, np.inf), nearest)


class EventFrames:
    """Recordings as spikes, read and binned when they are asked for: ``frames[index]`` is ``[n, T, C]``.

    Indices are those of a tensor's first axis: a slice, or whole numbers. A file that is cut short, altered, or not
    what its name says is a :class:`DataError` when it is read.
    """

    def __init__(
        self, recordings: list[tuple[Any, int]], sensor: Sensor, num_steps: int, step_us: float | Fraction, pool: int
    ) -> None:
        self._recordings, self._has_polarity = recordings, sensor.polarities > 1
        self._bin = functools.partial(bin_events, sensor=sensor, num_steps=num_steps, step_us=step_us, pool=pool)
        self.shape = torch.Size((len(recordings), num_steps, sensor.num_inputs(pool)))  # [n, T, C]

    def __len__(self) -> int:
        return len(self._recordings)

    def __getitem__(self, index: "slice | Int64[Tensor, ' n']") -> Float[Tensor, "n T C"]:
        numbers = torch.arange(len(self))[index].tolist()
        frames = torch.empty(len(numbers), *self.shape[1:])
        for place, number in enumerate(numbers):
            source, recording = self._recordings[number]
            with _reading(source, recording):
                events, _ = source[recording]
                rows = events["y"] if "y" in events.dtype.names else None
                polarities = events["p"] if self._has_polarity else None
                frames[place] = torch.from_numpy(self._bin(events["t"], events["x"], rows, polarities))
        return frames


def load_events(
    folder: str | Path, name: EventData, *, part: Part, num_steps: int, step_ms: float = 10.0, pool: int = 1
) -> tuple[EventFrames, Int64[Tensor, " n"]]:
    """Open a part of an event data set: spikes ``[n, T, C]`` in the order of the files' names, and classes ``[n]``.

    Nothing is downloaded, and no recording is read before it is used.

    Parameters
    ----------
    folder
        Where Tonic put the data set: ``folder/SHD/shd_train.h5`` and so on.
    name
        ``"shd"`` (Spiking Heidelberg Digits), ``"ssc"`` (Spiking Speech Commands), ``"nmnist"``, ``"dvs_gesture"``.
    part
        ``"test"`` is the official one. ``"validation"`` is SSC's own; of the others it is every tenth recording of the
        training part, and ``"train"`` the rest. ``"train_all"`` is both.
    num_steps, step_ms, pool
        Steps and their length, behind which events are left out; see :func:`bin_events`.

    Raises
    ------
    DataError
        If Tonic is not installed, the files are missing (the message says how to get them), or they are broken.
    PnbxValueError
        If an argument is out of its range.

    References
    ----------
    Lenz et al. 2021, Tonic, doi:10.5281/zenodo.5079802. Cramer et al. 2020 (SHD, SSC), arXiv:1910.07407; Orchard et al.
    2015 (N-MNIST), arXiv:1507.07629; Amir et al. 2017 (DVS Gesture).
    """
    check_part("load_events", part)
    if name not in SENSORS:
        raise PnbxValueError(f"load_events: name must be one of {', '.join(SENSORS)}, got {name!r}")
    if num_steps < 1 or not 0 < step_ms < math.inf or pool < 1:
        raise PnbxValueError(
            "load_events: num_steps and pool must be at least 1 and step_ms above 0 and finite, "
            f"got {num_steps}, {pool} and {step_ms}"
        )
    sensor = SENSORS[name]
    own_validation = bool(sensor.places[1])
    kinds: tuple[str, ...] = ("test" if part == "test" else "train",)
    if own_validation and part != "test":
        kinds = {"train": ("train",), "validation": ("valid",), "train_all": ("train", "valid")}[part]
    recordings: list[tuple[Any, int]] = []
    labels = []
    for kind in kinds:
        source = _open(Path(folder), name, kind)
        classes = _labels(source, sensor)
        # As the files are named, not as a disk happens to list them.
        paths = [str(path) for path in source.data]
        order = sorted(range(len(paths)), key=paths.__getitem__) if paths else list(range(len(classes)))
        if part in ("train", "validation") and not own_validation:
            order = [i for place, i in enumerate(order) if (place % VALIDATION_EVERY == 9) == (part == "validation")]
        recordings += [(source, number) for number in order]
        labels.append(classes[order])
    if not recordings:
        raise DataError(f"{_place(Path(folder), name, kinds[0])}: has no recordings for the part {part!r}")
    frames = EventFrames(recordings, sensor, num_steps, 1000 * _exact(step_ms), pool)
    return frames, torch.from_numpy(np.concatenate(labels))


def _place(folder: Path, name: str, kind: str) -> Path:
    sensor = SENSORS[name]
    return folder / sensor.tonic / sensor.places[("train", "valid", "test").index(kind)]


def _open(folder: Path, name: str, kind: str) -> Any:
    """Return Tonic's data set of files that are there; Tonic itself would go and fetch them."""
    sensor, place = SENSORS[name], _place(folder, name, kind)
    options = f"split={kind!r}" if sensor.places[1] else f"train={kind == 'train'}"
    if not place.exists():
        what = "folder" if not place.suffix else "file"
        raise DataError(
            f'{place}: no such {what}; to get it: python -c "import tonic; '
            f"tonic.datasets.{sensor.tonic}('{folder}', {options})\", or put the {what} there"
        )
    try:
        import numpy.lib.recfunctions  # noqa: F401  # tonic 1.7 uses it and leaves importing it to others
        from tonic import datasets
    except ImportError as error:
        raise DataError(
            f"data.name = {name!r} is read with Tonic, which is not installed ({error}): "
            f"{pnbx_extras.install('events')}"
        ) from error
    installed = {package: version(package) for package in ("tonic", "numpy")}  # in this order
    tonic_at, numpy_at = (tuple(map(int, re.findall(r"\d+", text)[:2])) for text in installed.values())
    if tonic_at < (1, 7) and numpy_at >= (2, 0):
        # Its microseconds are float16 there, and infinite: every recording would look damaged.
        raise DataError(
            f"{place}: Tonic {installed['tonic']} cannot read events with NumPy {installed['numpy']}; the file is not "
            "at fault: pip install 'tonic>=1.7'"
        )
    original = getattr(datasets, sensor.tonic)
    # The same name, because Tonic makes the folder of it.
    offline = type(sensor.tonic, (original,), {"_check_exists": lambda _: True})
    keywords: dict[str, Any] = {"split": kind} if sensor.places[1] else {"train": kind == "train"}
    with _reading(place):
        return offline(str(folder), **keywords)


def _labels(source: Any, sensor: Sensor) -> NDArray[np.int64]:
    """Return the classes of all recordings."""
    if source.data:  # a file for each recording, its class in the name
        labels = np.array(source.targets, np.int64)
    else:
        import h5py

        path = Path(source.location_on_system, source.data_filename)
        with _reading(path), h5py.File(path, "r") as file:
            labels = np.array(file["labels"][()], np.int64).reshape(-1)
    if len(labels) and (labels.min() < 0 or labels.max() >= sensor.num_classes):
        raise DataError(
            f"{source.location_on_system}: labels must be 0 to {sensor.num_classes - 1}, "
            f"got {labels.min()} to {labels.max()}"
        )
    return labels


@contextmanager
def _reading(source: Any, recording: int | None = None) -> Iterator[None]:
    """Turn what goes wrong in a file into a :class:`DataError` that names it."""
    place = str(source)
    if recording is not None:
        in_one = not source.data
        place = f"{source.location_on_system}/{source.data_filename}" if in_one else source.data[recording]
        place = f"{place}: recording {recording}" if in_one else place
    try:
        with np.errstate(invalid="raise"):  # a time that is no number
            yield
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    except _DAMAGED as error:
        raise DataError(f"{place}: is cut short, altered or of another format ({error})") from error
