"""Tables of the study."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from studies.choices.cells import BLOCKS, CHANGES, EVENTS, READOUTS, TASKS, WEIGHTS
from studies.results import mean_and_deviation, read

Found = dict[tuple[str, str, str], list[float]]


def report(results: Path, folder: Path) -> None:
    """Write ``grid.md`` and ``changes.md`` of the results into a folder."""
    found: Found = defaultdict(list)
    for line in read(results):
        found[line["task"], line["part"], line["name"]].append(100 * line["accuracy_validation"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "grid.md").write_text("\n\n".join(_grid(found, task) for task in TASKS) + "\n")
    (folder / "changes.md").write_text(_changes(found))


def _shown(numbers: list[float]) -> str:
    return mean_and_deviation(numbers) if numbers else ""


def _grid(found: Found, task: str) -> str:
    head = [f"{weights} weights, {events}" for weights in WEIGHTS for events in EVENTS]
    rows = [f"| {task}: blocks, readout | {' | '.join(head)} |", "| --- |" + " --- |" * len(head)]
    for blocks in BLOCKS:
        for readout in READOUTS:
            names = [f"{weights}, {events}, {blocks}, {readout}" for weights in WEIGHTS for events in EVENTS]
            cells = [_shown(found[task, "grid", name]) for name in names]
            rows.append(f"| {blocks}, {readout} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _changes(found: Found) -> str:
    rows = [f"| | {' | '.join(TASKS)} |", "| --- |" + " --- |" * len(TASKS)]
    for name in CHANGES:
        rows.append(f"| {name} | {' | '.join(_shown(found[task, 'changes', name]) for task in TASKS)} |")
    return "\n".join(rows) + "\n"
