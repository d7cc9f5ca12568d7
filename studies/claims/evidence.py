"""Measurements that others left: ``measurements.json`` of a report, results of the benchmarks and of the results page.

What is not there is said in a sentence with the command that measures it; it is never a blank or a zero.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pnbx_snn
from pnbx_snn.errors import StorageError

FILE = "measurements.json"
MEASURE = "python -m studies.measurements FOLDER"
BENCH = "make bench"
FIELDS = {"quantity", "model", "form", "length", "value", "unit", "low", "high", "command"}
NATIVE = "PNB-X"
EQUAL = "Transformer, equal"
ROOT = Path(pnbx_snn.__file__).parents[1]


def missing(command: str) -> str:
    """Return what stands where there is no measurement.

    Examples
    --------
    >>> missing("make bench")
    'not measured on this machine: make bench'
    """
    return f"not measured on this machine: {command}"


class Row(NamedTuple):
    """One measured value, see :mod:`studies.measurements.run`."""

    quantity: str
    model: str
    form: str
    length: int | None
    value: float | int
    unit: str
    low: float | int | None
    high: float | int | None
    command: str


class Measurements:
    """The rows of a ``measurements.json``; none if there is no file.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.rows: list[Row] = []
        self.machine: dict[str, Any] = {}
        if path is None or not path.exists():
            return
        try:
            found = json.loads(path.read_text())
            self.machine = dict(found["machine"])
            for number, row in enumerate(found["rows"]):
                if set(row) != FIELDS:
                    raise StorageError(f"{path}: row {number} must have {sorted(FIELDS)}, got {sorted(row)}")
                if isinstance(row["value"], bool) or not isinstance(row["value"], (int, float)):
                    raise StorageError(f"{path}: row {number}: value must be a number, got {row['value']!r}")
                self.rows.append(Row(**row))
        except (OSError, ValueError, LookupError, TypeError) as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"{path}: holds no measurements ({error!r}); move it away or measure again") from error

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.rows)

    @property
    def quick(self) -> bool:
        """Whether they only show that measuring works."""
        return bool(self.machine.get("quick"))

    def all(self, quantity: str, *, model: str | None = None, form: str | None = None) -> list[Row]:
        """Return the rows of a quantity, by length."""
        rows = [row for row in self.rows if row.quantity == quantity and model in (None, row.model)]
        return sorted((row for row in rows if form in (None, row.form)), key=lambda row: row.length or 0)

    def find(
        self, quantity: str, *, model: str | None = None, form: str | None = None, length: int | None = None
    ) -> Row | None:
        """Return the first row that fits, ``None`` without one."""
        rows = self.all(quantity, model=model, form=form)
        return next((row for row in rows if length in (None, row.length)), None)


RESULTS_PAGE, ANALYSIS_PAGE = "docs/results_in_detail.md", "docs/analysis.md"


class Quoted(NamedTuple):
    """A figure measured before, as a page of the documentation has it.

    Parameters
    ----------
    text
        What is said.
    stands
        Words that stand so on the page; a test looks.
    command
        That measures it.
    page
        The page.
    """

    text: str
    stands: str
    command: str
    page: str = RESULTS_PAGE


QUOTED: dict[str, Quoted] = {
    "mnist": Quoted(
        "99.32 ± 0.06 % (3 seeds, static, distorted images, a teacher)", "**99.32 ± 0.06 %**",
        "pnbx-snn train mnist_distilled --data DIR --set train.seed=0",
    ),
    "mnist plain": Quoted(
        "98.63 ± 0.11 % (3 seeds, no distortion, no teacher)", "**98.63 ± 0.11 %**",
        "pnbx-snn train mnist_pi --data DIR --set train.seed=0",
    ),
    "mnist bytes": Quoted(
        "1,284,932 bytes, packed", "1,284,932 bytes", "pnbx-snn pack runs/mnist_0 -o mnist.safetensors"
    ),
    "mnist perceptron": Quoted(
        "98.84 ± 0.08 % (784-1908-1908-10, fp32, 3 seeds, no distortion, no teacher)", "98.84 ± 0.08 %",
        "python -m studies.rivals train studies/rivals/configs/mnist_baseline.toml --data DIR",
    ),
    "mnist lenet5": Quoted(
        "99.07 ± 0.11 % (fp32, 3 seeds, no distortion, no teacher)", "99.07 ± 0.11 %",
        "python -m studies.rivals train studies/rivals/configs/mnist_baseline.toml --data DIR "
        "--set baseline.kind=lenet5",
    ),
    "teacher": Quoted(
        "99.40 % (one run of 12 epochs)", "(99.40 % on the test images, one run of 12 epochs)",
        "pnbx-snn train mnist_teacher --data DIR",
    ),
    "spoken digits": Quoted(
        "99.22 ± 0.19 % (3 seeds)", "**99.22 ± 0.19 %**",
        "pnbx-snn train fsdd --data DIR --set train.seed=0",
    ),
    "distillation": Quoted(
        "MNIST: with distorted images 0.7 points; digits: a teacher alone -0.28 points (s.e. 0.28, 5 seeds)",
        "-0.28 points with a standard error of 0.28",
        "pnbx-snn train digits --set distill.teacher=runs/digits_teacher",
        ANALYSIS_PAGE,
    ),
    "augmentation and teacher": Quoted(
        "0.7 points on MNIST", "Augmentation and teacher together add 0.7 points",
        "pnbx-snn train mnist_distilled --data DIR",
    ),
}  # fmt: skip


class Benchmarks:
    """What ``make bench`` wrote into ``docs/performance/results.json``; empty where there is no such file.

    Parameters
    ----------
    path
        The file; ``None``: that of the source tree that this package lies in.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = ROOT / "docs" / "performance" / "results.json" if path is None else path
        self.found: dict[str, Any] = {}
        if path.exists():
            try:
                self.found = json.loads(path.read_text())
                self.rows = {row["work"]: row["times"] for row in self.found["rows"]}
            except (OSError, ValueError, LookupError, TypeError) as error:
                raise StorageError(f"{path}: holds no benchmarks ({error!r}); run {BENCH}") from error
        else:
            self.rows = {}

    def seconds(self, work: str, name: str) -> float | None:
        """Return the median of a piece of work by one of its rivals, ``None`` if it was not measured."""
        times = self.rows.get(work, {}).get(name)
        return None if times is None else float(times["median_s"])

    def deployed(self, name: str) -> int | None:
        """Return a number of the deployed reference network, for example ``"state_bytes"``."""
        value = self.found.get("deployed", {}).get(name)
        return None if value is None else int(value)
