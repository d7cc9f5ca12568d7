"""The table and the picture of the runs."""

import statistics
from pathlib import Path
from typing import Any

from pnbx_plot import style
from pnbx_plot.style import ACCENT, INK, QUIET
from pnbx_snn.errors import PnbxValueError
from studies.results import mean_and_deviation
from studies.senses.conditions import NETWORKS, NOISE, SENSES, Condition

Records = list[dict[str, Any]]
ROWS = (
    ("two senses, both there", "both", Condition()),
    ("two senses, image missing", "both", Condition(missing="image")),
    ("sound alone, the specialist", "sound", Condition()),
    ("two senses, sound missing", "both", Condition(missing="sound")),
    ("image alone, the specialist", "image", Condition()),
)


def values(records: Records, network: str, condition: Condition) -> list[float]:
    """Return the accuracies in percent of all seeds, in the order of the seeds."""
    runs = sorted((record for record in records if record["network"] == network), key=lambda run: run["seed"])
    return [100 * run["accuracy"][condition.name] for run in runs]


def spread(found: list[float]) -> str:
    """Return mean and standard deviation over the seeds."""
    if not found:
        return "-"
    return mean_and_deviation(found, " %")


def table(records: Records) -> str:
    """Return a Markdown table of accuracies: senses there and missing, then noise on each."""
    if not records:
        raise PnbxValueError("there are no finished runs")
    part = records[0]["part"]
    lines = [f"| {part} | accuracy | seeds |", "| --- | --- | --- |"]
    for title, network, condition in ROWS:
        found = values(records, network, condition)
        lines.append(f"| {title} | {spread(found)} | {len(found)} |")
    for sense in SENSES:
        lines += ["", f"| noise on the {sense} | " + " | ".join(f"{sigma:g}" for sigma in NOISE[sense]) + " |"]
        lines.append("| --- |" + " --- |" * len(NOISE[sense]))
        for title, network in (("two senses, both there", "both"), (f"the specialist for {sense}", sense)):
            cells = [spread(values(records, network, Condition(noisy=sense, sigma=sigma))) for sigma in NOISE[sense]]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    seconds = {
        network: [run["cpu_s"] for run in records if run["network"] == network and not run["resumed"]]
        for network in NETWORKS
    }
    times = [f"{name} {statistics.fmean(found) / 60:.1f}" for name, found in seconds.items() if found]
    if times:
        lines += ["", f"Minutes of one core a training: {', '.join(times)}."]
    return "\n".join(lines) + "\n"


def draw(records: Records, path: Path) -> None:
    """Draw accuracy against noise on each sense, and with a sense missing."""
    from matplotlib import pyplot as plt

    with style.without_display(), style.use():
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
        for axis, sense in zip(axes, SENSES, strict=True):
            other = SENSES[1 - SENSES.index(sense)]
            levels = (0.0, *NOISE[sense])
            for network, color, line, label in (
                ("both", ACCENT, "-", f"two senses, the {other} clean"),
                (sense, INK, "--", f"the specialist for {sense}"),
            ):
                found = [values(records, network, Condition())]
                found += [values(records, network, Condition(noisy=sense, sigma=sigma)) for sigma in NOISE[sense]]
                if not found[0]:
                    continue
                axis.plot(levels, [statistics.fmean(one) for one in found], line, marker="o", color=color, label=label)
                axis.fill_between(
                    levels, [min(one) for one in found], [max(one) for one in found], color=color, alpha=0.15
                )
            missing = values(records, "both", Condition(missing=sense))
            if missing:
                axis.axhline(
                    statistics.fmean(missing), color=QUIET, linestyle=":", label=f"two senses, the {sense} missing"
                )
            unit = "deviations of a band" if sense == "sound" else "white is 1"
            axis.set(title=f"Noise on the {sense}", xlabel=f"standard deviation of the noise ({unit})")
            if axis.lines:
                axis.legend(loc="lower left")
        axes[0].set_ylabel("accuracy, %")
        axes[0].set_ylim(0, 102)
        figure.savefig(path, dpi=130)
        plt.close(figure)
