"""The memory tasks as a table, a figure and JSON, from the lines that the runs left."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pnbx_plot import style
from pnbx_plot.style import ACCENT, INK, QUIET
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.files.atomic_write import write_atomically
from studies.measurements.machine import machine
from studies.recall.models import MODELS
from studies.recall.tasks import TASKS, Task, make_task

Line = dict[str, Any]
TITLES = {
    "recall": "Associative recall",
    "copy": "Selective copy",
    "flip_flop": "Delayed flip-flop",
    "language": "Bytes of a text",
}
SEEN = {
    "recall": "attention and fast weights learn it",
    "copy": "the GRU does it best",
    "flip_flop": "seeds part beyond 1,000 steps",
    "language": "GRU and SSM predict best",
}
"""What the figure shows."""
LOOKS: dict[str, dict[str, Any]] = {
    "PNB-X": {"marker": "o", "color": ACCENT, "linestyle": "-", "linewidth": 2.2},
    "PNB-X, no fast weights": {"marker": "v", "color": ACCENT, "linestyle": ":"},
    "PNB-X, no hippocampus": {"marker": "^", "color": ACCENT, "linestyle": "--"},
    "PNB-X, spiking RNN": {"marker": "D", "color": "#e39b3b", "linestyle": "-"},
    "GRU": {"marker": "s", "color": QUIET, "linestyle": "-"},
    "SSM": {"marker": "P", "color": "#3f8f6b", "linestyle": "-"},
    "Transformer": {"marker": "X", "color": INK, "linestyle": "-", "linewidth": 2.2},
}


def full(lines: Sequence[Line], task: Task) -> dict[str, list[Line]]:
    """Return the full trainings of a task by network, in the order of ``MODELS``, sorted by seed."""
    wanted = [line for line in lines if line["task"] == task.name and line["steps"] == task.batches]
    found = {name: sorted((x for x in wanted if x["model"] == name), key=lambda x: x["seed"]) for name in MODELS}
    return {name: runs for name, runs in found.items() if runs}


def spread(runs: Sequence[Line], size: int) -> tuple[float, float, float] | None:
    """Return mean, lowest and highest test score at a size; ``None`` if a seed was not run there."""
    values = [run["test"].get(str(size)) for run in runs]
    if any(value is None for value in values):
        return None
    return statistics.fmean(values), min(values), max(values)


def table(lines: Sequence[Line], task: Task) -> str:
    """Return a Markdown table of a task: mean (lowest to highest); each seed where one was not run, which is "-"."""
    heads = [f"{size:,}" for size in task.tested]
    unit = "bits a byte" if task.name == "language" else f"% right at so many {task.unit}"
    rows = [
        f"| {unit} | " + " | ".join(heads) + " | parameters | rate | seeds |",
        "| --- |" + " --- |" * (len(heads) + 3),
    ]
    scale, digits = (1.0, 2) if task.name == "language" else (100.0, 1)
    for name, runs in full(lines, task).items():
        cells = []
        for size in task.tested:
            found = spread(runs, size)
            if found is None:
                values = [run["test"].get(str(size)) for run in runs]
                each = ["-" if value is None else f"{scale * value:.{digits}f}" for value in values]
                cells.append("-" if set(each) == {"-"} else ", ".join(each))
                continue
            mean, low, high = (f"{scale * value:.{digits}f}" for value in found)
            cells.append(f"{mean} ({low} to {high})")
        seeds = ", ".join(str(run["seed"]) for run in runs)
        rows.append(f"| {name} | {' | '.join(cells)} | {runs[0]['parameters']:,} | {runs[0]['rate']:g} | {seeds} |")
    return "\n".join(rows)


def markdown(lines: Sequence[Line]) -> str:
    """Return all tables, each under its name and its budget."""
    parts = []
    for name in TASKS:
        task = make_task(name)
        runs = full(lines, task)
        if not runs:
            continue
        seconds = {model: statistics.median(run["train_s"] for run in of) for model, of in runs.items()}
        slow, fast = max(seconds, key=seconds.__getitem__), min(seconds, key=seconds.__getitem__)
        trained = ", ".join(str(size) for size in task.trained)
        budget = f"Trained on {task.batches:,} batches of 32, {task.unit}: {trained}. "
        budget += (
            f"Training took {seconds[fast]:.0f} s ({fast}) to {seconds[slow]:.0f} s ({slow}), medians, one thread."
        )
        text = next((line["text"] for of in runs.values() for line in of if "text" in line), None)
        about = f" Text: {text}." if text else ""
        parts += [f"### {TITLES[name]}\n\n{budget}{about}\n\n{table(lines, task)}\n"]
    return "\n".join(parts)


@style.use()
def figure(lines: Sequence[Line], path: Path) -> None:
    """Draw score against size for each task: means and bands from lowest to highest seed, or a line a seed."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10.5, 7.6))
    for ax, name in zip(axes.flat, TASKS, strict=True):
        task = make_task(name)
        runs = full(lines, task)
        ax.set_title(f"{TITLES[name]}: {SEEN[name]}", loc="left")
        if name == "language":
            _bars(ax, runs, task)
            continue
        for model, of in runs.items():
            if name == "flip_flop":
                _seeds(ax, of, task, LOOKS[model])
                continue
            points = [(size, found) for size in task.tested if (found := spread(of, size)) is not None]
            sizes = [size for size, _ in points]
            ax.plot(sizes, [100 * f[0] for _, f in points], markersize=5, label=model, **_solid(LOOKS[model]))
            low, high = ([100 * f[side] for _, f in points] for side in (1, 2))
            ax.fill_between(sizes, low, high, color=LOOKS[model]["color"], alpha=0.12, linewidth=0)
        chance = {"recall": 100 / 16, "copy": 100 / 8, "flip_flop": 50}[name]
        ax.axhline(chance, color="black", linewidth=0.6, linestyle=(0, (1, 3)))
        ax.annotate("chance", (1, chance), xycoords=("axes fraction", "data"), ha="right", va="top", fontsize="small")
        longest = max(task.trained)
        if longest < task.tested[-1]:
            ax.axvspan(longest, task.tested[-1], color="black", alpha=0.04, linewidth=0)
            ax.annotate(
                "longer than trained", (longest, 1), xycoords=("data", "axes fraction"), fontsize="small", va="top",
                textcoords="offset points", xytext=(4, 0),
            )  # fmt: skip
        ax.set(xscale="log", xlabel=task.unit, ylabel="% right", ylim=(0, 112), yticks=range(0, 101, 20))
        ax.set_xticks(task.tested, [f"{size:,}" for size in task.tested])
        ax.minorticks_off()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=130, metadata={"Software": None})
    plt.close(figure)


def _seeds(ax: Any, runs: Sequence[Line], task: Task, look: Mapping[str, Any]) -> None:
    """Draw each seed: they end apart, and a mean of those that went on would flatter."""
    for run in runs:
        points = [(size, run["test"][str(size)]) for size in task.tested if run["test"].get(str(size)) is not None]
        x, y = zip(*points, strict=True)
        ax.plot(x, [100 * value for value in y], markersize=5, alpha=0.75, **_solid({**look, "linewidth": 1.2}))


def _solid(look: Mapping[str, Any]) -> dict[str, Any]:
    return {"linewidth": 1.5, **look}


def _bars(ax: Any, runs: Mapping[str, Sequence[Line]], task: Task) -> None:
    names = list(runs)[::-1]
    for place, model in enumerate(names):
        values = [run["test"][str(task.tested[0])] for run in runs[model]]
        ax.barh(place, statistics.fmean(values), color=LOOKS[model]["color"], alpha=0.3, height=0.6)
        ax.plot(values, [place] * len(values), "o", color=LOOKS[model]["color"], markersize=4)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="bits per byte (less is better), one point per seed")


def write(lines: Sequence[Line], folder: Path) -> None:
    """Write ``recall.json`` (all lines and the machine), ``recall.md`` and ``recall.png`` into a folder."""
    if not any(full(lines, make_task(name)) for name in TASKS):
        raise PnbxValueError("recall: no full training to report; run without --report first")
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"machine": machine(), "command": "python -m studies.recall --out runs/recall.jsonl", "runs": lines}
    write_atomically(folder / "recall.json", (json.dumps(kept, indent=1) + "\n").encode())
    write_atomically(folder / "recall.md", markdown(lines).encode())
    figure(lines, folder / "recall.png")
