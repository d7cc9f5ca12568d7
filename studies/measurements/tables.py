"""Measurements as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

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


def _table(rows: Sequence[Row], quantity: str, title: str, show: Callable[[float], str]) -> str:
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
