"""What was measured, kept stage by stage in ``measurements.json``, and its Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pnbx_snn.errors import StorageError
from pnbx_snn.storage import write_atomically
from studies.measurements.machine import machine

FILE = "measurements.json"
COMMAND = "python -m studies.measurements FOLDER"

Row = dict[str, Any]

BY_LENGTH: tuple[tuple[str, str, float, str], ...] = (
    ("latency_p50", "Time of a step at position L, median, us", 1e6, ",.0f"),
    ("latency_p99", "The same, 99th percentile, us", 1e6, ",.0f"),
    ("latency_bound", "Matrix products and attention of a step alone, us", 1e6, ",.0f"),
    ("memory_resident", "Resident memory at length L, MB", 1e-6, ",.2f"),
    ("memory_counted", "The same, counted: weights as stored and state, MB", 1e-6, ",.2f"),
    ("total_time", "A whole sequence of L, s", 1.0, ",.3g"),
    ("latency_ratio", "Step of the best Transformer form of equal size over PNB-X native", 1.0, ",.1f"),
    ("latency_bound_ratio", "Its matrix products and attention alone over PNB-X's whole step", 1.0, ",.1f"),
    ("memory_ratio", "Its resident memory over PNB-X native", 1.0, ",.1f"),
    ("memory_counted_ratio", "Its counted memory over PNB-X native", 1.0, ",.1f"),
)
ALONE: tuple[tuple[str, str, float, str], ...] = (
    ("cold_start", "Cold start, processor seconds to the first step", 1.0, ".2f"),
    ("file_size", "File, MB", 1e-6, ",.2f"),
    ("image_p50", "A static image, us", 1e6, ",.0f"),
    ("training_throughput", "Training, tokens a second", 1.0, ",.0f"),
)


class Measurements:
    """The rows of a file, those that are there already kept.

    Parameters
    ----------
    path
        ``measurements.json``.
    quick
        Stands in the file; rows of a quick and of a full measurement never mix.
    """

    def __init__(self, path: Path, *, quick: bool) -> None:
        self.path, self.command = path, COMMAND + (" --quick" if quick else "")
        self.rows: list[Row] = []
        self.machine: dict[str, Any] = {**machine(), "quick": quick}
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text())
            self.rows, kept = list(found["rows"]), dict(found["machine"])
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{path}: holds no measurements ({error!r}); move it away") from error
        if kept.get("quick") != quick:
            mode = "quick" if kept.get("quick") else "full"
            raise StorageError(f"{path}: holds a {mode} measurement; give another folder, or move it away")
        self.machine = {**self.machine, **kept}

    def has(self, stage: str) -> bool:
        """Whether this stage was measured to its end."""
        return stage in self.machine.get("stages", {})

    def keep(
        self,
        stage: str,
        rows: Sequence[Mapping[str, Any]],
        seconds: float,
        *,
        not_measured: Mapping[str, str] | None = None,
    ) -> None:
        """Add the rows of a stage that ended, and write the file: a later interruption cannot lose them.

        ``not_measured`` says by network and form why there are no rows of it.
        """
        for row in rows:
            self.rows.append({"form": "", "length": None, "low": None, "high": None, **row, "command": self.command})
        load = machine()["load_average"]
        ended: dict[str, Any] = {"seconds": round(seconds, 1), "load_average": load}
        if not_measured:
            ended["not_measured"] = dict(not_measured)
        self.machine.setdefault("stages", {})[stage] = ended
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(
            self.path, (json.dumps({"machine": self.machine, "rows": self.rows}, indent=1) + "\n").encode()
        )


def row(quantity: str, model: str, form: str, length: int | None, value: float, unit: str, **spread: float) -> Row:
    """Return a row without its command.

    Examples
    --------
    >>> row("file_size", "GRU", "int8", None, 12.0, "bytes")["value"]
    12.0
    """
    where = {"quantity": quantity, "model": model, "form": form, "length": length}
    return {**where, "value": value, "unit": unit, **spread}


def _table(rows: Sequence[Mapping[str, Any]], quantity: str, title: str, show: Callable[[float], str]) -> str:
    rows = [row for row in rows if row["quantity"] == quantity]
    if not rows:
        return f"**{title}**: not measured.\n"
    lengths = sorted({row["length"] for row in rows if row["length"] is not None})
    heads = [f"{length:,}" for length in lengths] or ["value"]
    lines = [f"**{title}**", "", "| | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(heads)]
    for key in dict.fromkeys((row["model"], row["form"]) for row in rows):
        found = {row["length"]: row["value"] for row in rows if (row["model"], row["form"]) == key}
        cells = [show(found[length]) if length in found else "" for length in (lengths or [None])]
        name = key[0] if key[1] in key[0] else f"{key[0]}, {key[1]}"
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _left_out(measurements: Mapping[str, Any]) -> list[str]:
    stages = measurements.get("machine", {}).get("stages", {}).values()
    reasons = {name: why for stage in stages for name, why in stage.get("not_measured", {}).items()}
    return [f"{name}: not measured: {why}\n" for name, why in reasons.items()]


def markdown(measurements: Mapping[str, Any]) -> str:
    """Return all tables of a ``measurements.json``; a quantity without rows says that it was not measured.

    Examples
    --------
    >>> row = {"quantity": "file_size", "model": "GRU", "form": "int8", "length": None, "value": 5.38e6}
    >>> [line for line in markdown({"rows": [row]}).splitlines() if "GRU" in line]
    ['| GRU, int8 | 5.38 |']
    """
    parts = []
    for quantity, title, scale, form in (*BY_LENGTH, *ALONE):
        parts.append(_table(measurements["rows"], quantity, title, lambda x, s=scale, f=form: format(x * s, f)))  # type: ignore[misc]
    return "\n".join(parts + _left_out(measurements))
