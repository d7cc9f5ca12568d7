"""The figure: what was measured here on the left, the model of more machines on the right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

from pnbx_plot import style
from studies.bench.scaling.model import recordings_per_s, step_seconds

mpl.use("Agg")
from matplotlib import pyplot as plt

MACHINES = (1, 2, 4, 8, 16, 32, 64)
NETWORKS = {"1 Gb/s": 0.125e9, "10 Gb/s": 1.25e9, "100 Gb/s": 12.5e9}
LATENCY_S = 30e-6
RECORDING_STEPS = 1000
IN_A_TASK = 20


def _measured(axis: Any, found: dict[str, Any]) -> None:
    for number, threads in enumerate((1, 2)):
        rows = [row for row in found["inference"]["rows"] if row["threads"] == threads]
        axis.plot(
            [row["batch"] for row in rows],
            [row["steps_per_s"] for row in rows],
            marker=style.MARKERS[number],
            color=style.COLORS[number],
            ls=style.LINES[number],
            label=f"{threads} thread{'s' if threads > 1 else ''}",
        )
    axis.set(xscale="log", yscale="log", xlabel="batch", ylabel="steps a second, all samples")
    axis.set_xticks([1, 8, 32, 128], ["1", "8", "32", "128"])
    axis.minorticks_off()
    axis.set_title("inference here, measured")
    axis.legend()


def _trained(axis: Any, found: dict[str, Any]) -> None:
    rows = found["training"]["rows"]
    places = range(len(rows))
    axis.bar(places, [row["samples_per_s"] for row in rows], color=style.INK, width=0.6)
    spread = [[row["samples_per_s"] - row["low"] for row in rows], [row["high"] - row["samples_per_s"] for row in rows]]
    axis.errorbar(places, [row["samples_per_s"] for row in rows], spread, fmt="none", ecolor=style.ACCENT, capsize=3)
    axis.set_xticks(places, [f"{row['processes']} x {row['threads']}" for row in rows])
    axis.set(xlabel="processes x threads", ylabel="samples a second")
    axis.set_title("training here, measured")


def _modelled(axis: Any, found: dict[str, Any]) -> None:
    training, inference, link = found["training"], found["inference"], found["link"]
    alone_s = training["batch"] / next(r["samples_per_s"] for r in training["rows"])
    for number, (name, bytes_per_s) in enumerate(NETWORKS.items()):
        times = [
            step_seconds(
                n,
                alone_s=alone_s,
                gradient_bytes=training["gradient_bytes"],
                bytes_per_s=bytes_per_s,
                latency_s=LATENCY_S,
            )
            for n in MACHINES
        ]
        axis.plot(
            MACHINES,
            [alone_s / t for t in times],
            color=style.COLORS[number],
            ls=style.LINES[number],
            label=f"training, {name}",
        )
    recording_s = RECORDING_STEPS / next(r["steps_per_s"] for r in inference["rows"])
    rate = [
        recordings_per_s(
            n,
            recording_s=recording_s,
            task_s=link["task_s"] or 1e-3,
            in_a_task=IN_A_TASK,
            recording_bytes=RECORDING_STEPS * inference["step_bytes"],
            bytes_per_s=NETWORKS["10 Gb/s"],
        )
        for n in MACHINES
    ]
    axis.plot(MACHINES, [r * recording_s for r in rate], color=style.QUIET, lw=2.5, label="a queue, 10 Gb/s")
    axis.plot(MACHINES, MACHINES, color="#d9dce0", lw=1, zorder=0)
    axis.set(xscale="log", yscale="log", xlabel="machines of one thread", ylabel="times one machine")
    axis.set_xticks(MACHINES, [str(n) for n in MACHINES])
    axis.set_yticks(MACHINES, [str(n) for n in MACHINES])
    axis.set_ylim(0.5, MACHINES[-1] * 1.1)
    axis.minorticks_off()
    axis.set_title("more machines, modelled")
    axis.legend(fontsize=7)


@style.use()
def draw(found: dict[str, Any], path: Path) -> None:
    """Draw, with a title that says what was found."""
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.9), layout="constrained")
    _measured(axes[0], found)
    _trained(axes[1], found)
    _modelled(axes[2], found)
    ran = {(row["batch"], row["threads"]): row["steps_per_s"] for row in found["inference"]["rows"]}
    trained = {(row["processes"], row["threads"]): row["samples_per_s"] for row in found["training"]["rows"]}
    figure.suptitle(
        f"A batch of 128 runs {ran[128, 1] / ran[1, 1]:.1f} times the steps of one sample, a second thread "
        f"{ran[128, 2] / ran[128, 1]:.2f} times that.\nTraining is {trained[1, 2] / trained[1, 1]:.2f} times as fast "
        f"with a second thread and {trained[2, 1] / trained[1, 1]:.2f} times with a second process."
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)
