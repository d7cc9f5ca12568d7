"""The curves of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pnbx_plot import style
from pnbx_plot.errors import PlotError, needed
from pnbx_plot.style import COLORS, LINES, MARKERS, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def training(metrics: Sequence[Mapping[str, Any]], *, ax: Axes | None = None) -> Axes:
    """Draw accuracy, firing rate and loss over the epochs of a training; return the left axis, the loss has its own.

    Each epoch is a mapping with the keys ``epoch``, ``loss``, ``accuracy_train``, ``firing_rate`` and, where there was
    one, ``accuracy_validation``; accuracies and rates are shares in [0, 1]. Without ``ax``, a new figure is made.

    Raises
    ------
    PlotError
        If there is no epoch or a key is missing.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> epoch = {"epoch": 1, "loss": 2.0, "accuracy_train": 0.5, "firing_rate": 0.2}
    >>> training([epoch, epoch | {"epoch": 2, "loss": 1.0, "accuracy_train": 0.9}]).get_title()
    'accuracy 90.0 % (train) after 2 epochs'
    """
    if not metrics:
        raise PlotError("plot.training: metrics must hold at least one epoch, got none")
    for row in metrics:
        missing = {"epoch", "loss", "accuracy_train", "firing_rate"} - set(row)
        if missing:
            raise PlotError(f"plot.training: each epoch must have {sorted(missing)}, got the keys {sorted(row)}")
    with style.use():
        ax = style.axes(ax, (7.0, 3.5))
        loss_axis = ax.twinx()
        curves = (
            (ax, "accuracy_train", "accuracy, train", 100.0),
            (ax, "accuracy_validation", "accuracy, validation", 100.0),
            (ax, "firing_rate", "firing rate", 100.0),
            (loss_axis, "loss", "loss (right axis)", 1.0),
        )
        for place, (panel, key, label, factor) in enumerate(curves):
            rows = [row for row in metrics if row.get(key) is not None]
            if rows:
                xs, ys = [row["epoch"] for row in rows], [factor * row[key] for row in rows]
                color = QUIET if key == "loss" else COLORS[place]
                panel.plot(
                    xs, ys, label=label, color=color, linestyle=LINES[place], marker=MARKERS[place],
                    markevery=max(1, len(rows) // 12), markersize=3.5,
                )  # fmt: skip
        _label(ax, loss_axis, metrics[-1])
    return ax


def _label(ax: Axes, loss_axis: Axes, last: Mapping[str, Any]) -> None:
    part = "train" if last.get("accuracy_validation") is None else "validation"
    epochs = f"{last['epoch']:g} epoch{'s' if last['epoch'] > 1 else ''}"
    ax.set_title(f"accuracy {100 * last[f'accuracy_{part}']:.1f} % ({part}) after {epochs}", fontsize="medium")
    ax.set_xlabel("epoch")
    ax.set_ylabel("percent")
    ax.set_ylim(0, 102)
    ax.spines[["top", "right"]].set_visible(False)
    style.integers(ax.xaxis)
    loss_axis.spines["top"].set_visible(False)
    loss_axis.spines["right"].set_visible(True)
    loss_axis.tick_params(colors=QUIET)
    # A fixed number of ticks: the automatic one changes with the room left, which changes the width of the labels.
    loss_axis.yaxis.set_major_locator(needed("matplotlib.ticker", "a picture").MaxNLocator(nbins=5))
    loss_axis.set_ylabel("loss", color=QUIET)
    loss_axis.set_ylim(bottom=0)
    handles = ax.get_legend_handles_labels()[0] + loss_axis.get_legend_handles_labels()[0]
    ax.legend(
        handles=handles, frameon=False, fontsize="small", ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.18)
    )
