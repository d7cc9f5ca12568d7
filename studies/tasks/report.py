"""The tables of docs/results.md."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from studies.results import mean_and_deviation
from studies.tasks.tasks import TASKS

Line = dict[str, Any]
RIVALS = {"gru": "GRU", "ssm": "state spaces", "transformer": "Transformer", "mlp": "perceptron", "lenet5": "LeNet-5"}


def comparison(lines: Sequence[Line]) -> str:
    """Return a table in Markdown, a row for each network of a task, ours first and then by bytes."""
    rows = [
        "| task | asked (hoped for) | network | bytes | parameters | as trained | small machine | seeds | hours |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for task, known in TASKS.items():
        groups: dict[tuple[bool, str, int], list[Line]] = {}
        for line in lines:
            if line["task"] == task:
                ours = "rates" in line
                groups.setdefault((not ours, line["network"], line["parameters"]), []).append(line)
        for (_, network, parameters), own in sorted(groups.items(), key=lambda group: group[0][0:1]):
            cells = [
                known.title,
                f"{known.must or '-'} ({known.aim}) % in {known.most_bytes / 1000:,g} kB",
                RIVALS.get(network, network),
                _bytes(own, known.most_bytes),
                f"{parameters:,}",
                _shown(own, "test"),
                _shown(own, "small"),
                str(len({line["seed"] for line in own})),
                f"{max(sum(seed) for seed in _by_seed(own, 'hours')):.1f}",
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def speakers(lines: Sequence[Line]) -> str:
    """Return a table in Markdown of the trainings without one speaker, a row for each network."""
    own = [line for line in lines if line["task"] == "unheard"]
    names = sorted({line["speaker"] for line in own})
    rows = [f"| unheard speaker | {' | '.join(names)} | mean |", "| --- |" + " --- |" * (len(names) + 1)]
    for network in dict.fromkeys(line["network"] for line in own):
        found = {line["speaker"]: 100 * line["test"] for line in own if line["network"] == network}
        cells = [f"{found[name]:.1f}" if name in found else "" for name in names]
        rows.append(f"| {network} | {' | '.join(cells)} | {fmean(found.values()):.1f} |")
    return "\n".join(rows) + "\n"


def _bytes(lines: Sequence[Line], most: int) -> str:
    needed = max(line["bytes"] for line in lines)
    return f"{needed:,}{'' if needed <= most else ' (more than allowed)'}"


def _by_seed(lines: Sequence[Line], name: str) -> list[list[float]]:
    seeds: dict[int, list[float]] = {}
    for line in lines:
        if name in line:
            seeds.setdefault(line["seed"], []).append(line[name])
    return list(seeds.values())


def _shown(lines: Sequence[Line], name: str) -> str:
    """Return mean and deviation over seeds; a seed with several speakers counts with their mean."""
    found = [100 * fmean(seed) for seed in _by_seed(lines, name)]
    return mean_and_deviation(found, " %") if found else "not measured"
