"""The figure: what was measured here on the left, the model of more machines on the right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

from pnbx_plot import style
from studies.bench.scaling.model import MACHINES, NETWORKS, queue_speedup, training_speedup

mpl.use("Agg")
from matplotlib import pyplot as plt


def _measured(axis: Any, found: dict[str, Any]) -> None:
    for number, threads in enumerate((1, 2)):
        rows = [row for row in found["inference"]["rows"] if row["threads"] == threads]
        axis.plot(
            [row["batch"] for row in rows],
            [row["steps_per_s"] / 1e3 for row in rows],
            marker=style.MARKERS[number],
            color=style.COLORS[number],
            ls=style.LINES[number],
            label=f"{threads} thread{'s' if threads > 1 else ''}",
        )
    axis.set(xscale="log", xlabel="batch", ylabel="thousand steps a second, all samples")
    axis.set_ylim(0, 1.15e-3 * max(row["steps_per_s"] for row in found["inference"]["rows"]))
    axis.set_xticks([1, 8, 32, 128], ["1", "8", "32", "128"])
    axis.minorticks_off()
    axis.set_title("inference here, measured")
    axis.legend(loc="lower right")


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
    for number, (name, bytes_per_s) in enumerate(NETWORKS.items()):
        style_of = {"color": style.COLORS[number], "ls": style.LINES[number]}
        axis.plot(
            MACHINES,
            [training_speedup(found, n, bytes_per_s) for n in MACHINES],
            label=f"training, {name}",
            **style_of,
        )
        axis.plot(
            MACHINES,
            [queue_speedup(found, n, bytes_per_s) for n in MACHINES],
            label=f"a queue, {name}",
            marker=style.MARKERS[number],
            mfc="none",
            **style_of,
        )
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
        f"with a second thread and {trained[2, 1] / trained[1, 1]:.2f} times with a second process "
        f"(load average {found['machine']['load_average'][0]:.1f})."
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)
