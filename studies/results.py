"""Results of a study as lines of JSON: each finished run adds one, and a run whose line is there is not repeated."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, none if it is not there; a last line that was cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError:
        return [json.loads(line) for line in lines[:-1]]


def add(path: Path, *lines: dict[str, Any]) -> None:
    """Add lines to a file in one write; it is made where it is not there."""
    with path.open("a") as file:
        file.write("".join(f"{json.dumps(line)}\n" for line in lines))


def mean_and_deviation(values: Sequence[float], unit: str = "") -> str:
    """Return the mean of values of several seeds, and their standard deviation if there are two or more.

    Examples
    --------
    >>> mean_and_deviation([90.0, 92.0]), mean_and_deviation([90.0], " %")
    ('91.00 ± 1.41', '90.00 %')
    """
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}{unit}"
