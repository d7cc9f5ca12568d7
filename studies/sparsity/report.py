"""Accuracy against the share of zeros as a table and a picture, from the lines that the trainings left."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pnbx_plot import style
from pnbx_snn.files.atomic_write import make_folder, write_atomically
from studies.sparsity.accuracy import DENSE, Row


def _by_rule(rows: Sequence[Row]) -> dict[str, dict[float, list[Row]]]:
    """Return the rows of each rule and target."""
    found: dict[str, dict[float, list[Row]]] = {}
    for row in rows:
        found.setdefault(row["rule"], {}).setdefault(row["target"], []).append(row)
    return {rule: dict(sorted(targets.items())) for rule, targets in found.items()}


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table: mean and lowest to highest accuracy on the validation part, and the packed files."""
    lines = ["| rule | zeros | accuracy, validation | seeds | file, two bits | file, shorter coding |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for rule, targets in _by_rule(rows).items():
        for target, of in targets.items():
            values = [100 * row["accuracy_validation"] for row in of]
            spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
            zeros = target or statistics.fmean(row["zeros"] for row in of)
            files = ["", ""]
            if "file" in of[0]:
                files = [f"{statistics.fmean(row['file'][name] for row in of):,.0f}" for name in ("bits2", "auto")]
            seeds = ", ".join(str(row["seed"]) for row in of)
            cells = [rule, f"{zeros:.0%}", f"{statistics.fmean(values):.2f} %{spread}", seeds, *files]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@style.use()
def figure(rows: Sequence[Row], path: Path) -> None:
    """Draw the mean accuracy against the share of zeros for each rule, with a line from lowest to highest seed."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    found = _by_rule(rows)
    drawing, ax = plt.subplots(figsize=(7.0, 4.2))
    dense = found.pop(DENSE, {}).get(0.0, [])
    for number, (rule, targets) in enumerate(found.items()):
        points = [(zeros, [100 * row["accuracy_validation"] for row in of]) for zeros, of in targets.items()]
        if dense:
            start = statistics.fmean(row["zeros"] for row in dense)
            points.insert(0, (start, [100 * row["accuracy_validation"] for row in dense]))
        x, y = [100 * zeros for zeros, _ in points], [statistics.fmean(values) for _, values in points]
        look: dict[str, Any] = {"color": style.COLORS[number % 6], "linestyle": style.LINES[number % 6]}
        ax.plot(x, y, marker=style.MARKERS[number % 6], label=rule, **look)
        ax.vlines(x, [min(v) for _, v in points], [max(v) for _, v in points], color=look["color"], linewidth=0.8)
    ax.set(xlabel="zeros among ternary weights, %", ylabel="accuracy, validation part, %")
    ax.set_title("Accuracy against density; the first point is as rounding leaves them", loc="left")
    ax.grid(visible=True, axis="y")
    ax.legend()
    drawing.savefig(path, dpi=150, bbox_inches="tight")
    plt.close(drawing)


def write_report(rows: Sequence[Row], folder: Path) -> None:
    """Write ``table.md``, ``accuracy.png`` and the rows themselves to a folder."""
    make_folder(folder)
    write_atomically(folder / "accuracy.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows).encode())
    write_atomically(folder / "table.md", (table(rows) + "\n").encode())
    figure(rows, folder / "accuracy.png")
