"""Pictures of spikes, membranes and trainings. Each function takes ``ax=`` and returns the Axes it drew on.

NumPy arrays and tensors are both welcome, in any dtype, on any device, in a graph or not, and lists of tensors, one for
each step. matplotlib is imported when the first picture is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from pnbx_snn.checks import wide
from pnbx_snn.errors import PnbxValueError, ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = Shaped[Tensor, "..."] | Shaped[np.ndarray, "..."]
Values = Array | Sequence[Array]
"""What is drawn: all steps in one, or one for each step."""

INK = "#1b3a5c"
ACCENT = "#c8452d"
QUIET = "#8a8f98"

MOST_ROWS = 500
"""A layer of more neurons is drawn with groups of neighbours as rows, unless its spikes are few."""


@contextmanager
def without_display() -> Iterator[None]:
    """Draw without a display."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    before = mpl.get_backend()
    plt.switch_backend("agg")
    try:
        yield
    finally:
        plt.close("all")
        plt.switch_backend(before)


def _numpy(where: str, name: str, values: Values, ndim: tuple[int, ...]) -> np.ndarray:
    array = _plain(values)
    if array.ndim not in ndim or array.size == 0:
        axes = " or ".join("[T, N]" if n == 2 else "[T]" for n in ndim)
        raise ShapeError(f"{where}: {name} must be {axes} and not empty, got shape {list(array.shape)}")
    return array


def _plain(values: Any) -> np.ndarray:
    """Return a tensor, or a list of them, or what NumPy takes, as an array."""
    if isinstance(values, Sequence) and any(isinstance(value, Tensor) for value in values):
        return np.stack([_plain(value) for value in values])
    if not isinstance(values, Tensor):
        return np.asarray(values)
    dense = values.detach().to_dense() if values.layout is not torch.strided else values.detach()
    array: np.ndarray = wide(dense.cpu()).numpy()  # NumPy has no bfloat16
    return array


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]


def _tidy(ax: Axes, *, integer_x: bool = False, integer_y: bool = False) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(width=0.6, length=3)
    if integer_x:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if integer_y:
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def _limits(count: int) -> tuple[float, float]:
    return -0.5, count - 0.5


def _draw_spikes(ax: Axes, spikes: np.ndarray, color: str) -> None:
    from matplotlib.collections import PolyCollection

    num_steps, num_neurons = spikes.shape
    ax.set_xlim(*_limits(num_steps))
    ax.set_ylim(*_limits(num_neurons))
    if num_neurons > MOST_ROWS and (spikes != 0).mean() * num_neurons > MOST_ROWS / 2:
        _draw_shares(ax, spikes, color)
        return
    # One box for each spike, most of its step wide and its neuron high, but never thinner than can be seen.
    half = np.array([max(0.3, num_steps / 1000), max(0.4, num_neurons / 500)])
    corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    boxes = np.argwhere(spikes)[:, None] + corners  # [spike, corner, (step, neuron)]
    ax.add_collection(PolyCollection(list(boxes), facecolors=color, linewidths=0), autolim=False)


def _draw_shares(ax: Axes, spikes: np.ndarray, color: str) -> None:
    """Shade how many of a few neighbouring neurons spike: boxes of a visible size would cover each other."""
    from matplotlib.colors import LinearSegmentedColormap

    num_steps, num_neurons = spikes.shape
    group = -(-num_neurons // MOST_ROWS)
    edges = np.arange(0, num_neurons, group)
    shares = np.add.reduceat((spikes != 0).astype(float), edges, axis=1) / np.diff(np.append(edges, num_neurons))
    top = edges[-1] + group  # the last group may stand for fewer neurons than its height
    ax.imshow(
        shares.T, cmap=LinearSegmentedColormap.from_list("share", ["white", color]), vmin=0.0,
        extent=(-0.5, num_steps - 0.5, -0.5, top - 0.5), aspect="auto", origin="lower", interpolation="nearest",
    )  # fmt: skip
    ax.set_ylim(*_limits(num_neurons))


def raster(spikes: Values, *, title: str | None = None, color: str = INK, ax: Axes | None = None) -> Axes:
    """Draw which neuron spikes at which step; of many neurons that spike often, the share of each group of neighbours.

    In ``spikes`` ``[T, N]`` everything that is not 0 is a spike. The title ends in the firing rate (spikes per neuron
    and step). Without ``ax``, a new figure is made.

    Raises
    ------
    ShapeError
        If ``spikes`` is not ``[T, N]`` or is empty.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> raster(np.eye(4), title="diagonal").get_title()
    'diagonal: 4 neurons, firing rate 25.0 %'
    """
    array = _numpy("plot.raster", "spikes", spikes, (2,))
    ax = _axes(ax, (7.0, 3.5))
    _draw_spikes(ax, array, color)
    neurons = f"{array.shape[1]:,} neuron{'s' if array.shape[1] > 1 else ''}"
    summary = f"{neurons}, firing rate {np.mean(array != 0):.1%}".replace("%", " %")
    ax.set_title(summary if title is None else f"{title}: {summary}", fontsize="medium")
    ax.set_xlabel("step")
    ax.set_ylabel("neuron")
    _tidy(ax, integer_x=True, integer_y=True)
    return ax


def raster_layers(layers: Mapping[str, Values], *, input: Values | None = None, title: str | None = None) -> Figure:  # noqa: A002
    """Draw the rasters of several layers above each other, with one time axis.

    ``layers`` has the name of each layer and its spikes ``[T, N_l]``, from the input side on, all with the same ``T``.
    ``input`` is what the network saw, ``[T, N]``: drawn first, spikes as a raster and other values as shades.

    Raises
    ------
    PnbxValueError, ShapeError
        If there is no layer; if one is not ``[T, N]``, is empty, or has another number of steps.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> figure = raster_layers({"layer 1": np.eye(5), "layer 2": np.ones((5, 3))})
    >>> [ax.get_title() for ax in figure.axes]
    ['layer 1: 5 neurons, firing rate 20.0 %', 'layer 2: 3 neurons, firing rate 100.0 %']
    """
    from matplotlib import pyplot as plt

    if not layers:
        raise PnbxValueError("plot.raster_layers: layers must name at least one layer, got none")
    arrays = {name: _numpy("plot.raster_layers", name, spikes, (2,)) for name, spikes in layers.items()}
    values = None if input is None else _numpy("plot.raster_layers", "input", input, (2,))
    num_steps = {name: len(array) for name, array in arrays.items()}
    num_steps |= {} if values is None else {"input": len(values)}
    if len(set(num_steps.values())) > 1:
        raise ShapeError(f"plot.raster_layers: all layers must have the same number of steps, got {num_steps}")

    neurons = ([] if values is None else [values.shape[1]]) + [array.shape[1] for array in arrays.values()]
    heights = [0.8 + 0.3 * np.log2(n + 1) for n in neurons]
    figure, grid = plt.subplots(
        len(heights), 1, sharex=True, squeeze=False, figsize=(7.0, sum(heights)), height_ratios=heights,
        layout="constrained",
    )  # fmt: skip
    panels = list(grid[:, 0])
    if values is not None:
        _draw_input(panels[0], values)
    for ax, (name, array) in zip(panels[-len(arrays) :], arrays.items(), strict=True):
        raster(array, title=name, ax=ax)
    for ax in panels[:-1]:
        ax.set_xlabel("")
    if title is not None:
        figure.suptitle(title)
    return figure


def _draw_input(ax: Axes, values: np.ndarray) -> None:
    if np.isin(values, (0, 1)).all():
        raster(values, title="input", color=QUIET, ax=ax)
        return
    constant = " constant over time," if len(values) > 1 and (values == values[0]).all() else ""
    ax.imshow(values.T, aspect="auto", origin="lower", cmap="Greys", interpolation="nearest")
    shades = f"from {values.min():.3g} (white) to {values.max():.3g} (black)"
    ax.set_title(f"input: {values.shape[1]:,} values,{constant} {shades}", fontsize="medium")
    ax.set_ylabel("input")
    _tidy(ax, integer_x=True, integer_y=True)


def membrane(
    v: Values, *, threshold: float | Tensor | None = None, spikes: Values | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the membrane potential over time, with its threshold and spikes.

    ``v`` is ``[T]`` for one neuron or ``[T, N]`` for a few; ``spikes`` has the same shape, each is a tick above the
    curves in its neuron's colour. The threshold is one number, drawn as a dashed line. Without ``ax``, a new figure is
    made.

    Raises
    ------
    ShapeError
        If a shape is another or ``v`` is empty.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> membrane(np.array([0.4, 0.9, 0.0]), threshold=1.0, spikes=np.array([0, 0, 1])).get_ylabel()
    'membrane potential v'
    """
    array = _numpy("plot.membrane", "v", v, (1, 2))
    if isinstance(threshold, Tensor):  # lif.threshold
        if threshold.numel() != 1:
            raise ShapeError(f"plot.membrane: threshold must be one number, got shape {list(threshold.shape)}")
        threshold = threshold.item()
    events = None if spikes is None else _numpy("plot.membrane", "spikes", spikes, (1, 2))
    if events is not None and events.shape != array.shape:
        raise ShapeError(
            f"plot.membrane: spikes must have the shape of v, {list(array.shape)}, got {list(events.shape)}"
        )
    ax = _axes(ax, (7.0, 2.8))
    columns = array.reshape(len(array), -1)
    lines = ax.plot(columns, linewidth=1.2, color=INK if columns.shape[1] == 1 else None)
    if 1 < columns.shape[1] <= 8:
        for neuron, line in enumerate(lines):
            line.set_label(f"neuron {neuron}")
    if threshold is not None:
        ax.axhline(threshold, color=QUIET, linestyle="--", linewidth=1.0, label="threshold", zorder=1)
    if events is not None:
        # In rows above the curves, not on them: a neuron that was reset has its spike at v = 0.
        drawn = [*columns.flat, *([] if threshold is None else [threshold])]
        row = (np.ptp(drawn) or 1.0) * min(0.08, 0.4 / len(lines))
        for neuron, line in enumerate(lines):
            step = np.flatnonzero(events.reshape(len(events), -1)[:, neuron])
            height = np.full(len(step), np.max(drawn) + row * (1 + neuron))
            ticks = ax.vlines(step, height - 0.4 * row, height + 0.4 * row, color=line.get_color(), linewidth=1.8)
            if neuron == 0:
                ticks.set_label("spike")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    ax.set_xlim(*_limits(len(array)))
    ax.set_xlabel("step")
    ax.set_ylabel("membrane potential v")
    _tidy(ax, integer_x=True)
    return ax


def training(metrics: Sequence[Mapping[str, Any]], *, ax: Axes | None = None) -> Axes:
    """Draw accuracy, firing rate and loss over the epochs of a training; return the left axis, the loss has its own.

    Each epoch is a mapping with the keys ``epoch``, ``loss``, ``accuracy_train``, ``firing_rate`` and, where there was
    one, ``accuracy_validation``; accuracies and rates are shares in [0, 1]. Without ``ax``, a new figure is made.

    Raises
    ------
    PnbxValueError
        If there is no epoch or a key is missing.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> epoch = {"epoch": 1, "loss": 2.0, "accuracy_train": 0.5, "firing_rate": 0.2}
    >>> training([epoch, epoch | {"epoch": 2, "loss": 1.0, "accuracy_train": 0.9}]).get_title()
    'accuracy 90.0 % (train) after 2 epochs'
    """
    from matplotlib.ticker import MaxNLocator

    if not metrics:
        raise PnbxValueError("plot.training: metrics must hold at least one epoch, got none")
    for row in metrics:
        missing = {"epoch", "loss", "accuracy_train", "firing_rate"} - set(row)
        if missing:
            raise PnbxValueError(f"plot.training: each epoch must have {sorted(missing)}, got the keys {sorted(row)}")

    ax = _axes(ax, (7.0, 3.5))
    loss_axis = ax.twinx()
    marker = "o" if len(metrics) <= 12 else None
    curves = (
        (ax, "accuracy_train", "accuracy, train", INK, 100.0),
        (ax, "accuracy_validation", "accuracy, validation", ACCENT, 100.0),
        (ax, "firing_rate", "firing rate", "#3f8f5f", 100.0),
        (loss_axis, "loss", "loss (right axis)", QUIET, 1.0),
    )
    for panel, key, label, color, factor in curves:
        rows = [row for row in metrics if row.get(key) is not None]
        if rows:
            xs, ys = [row["epoch"] for row in rows], [factor * row[key] for row in rows]
            panel.plot(xs, ys, label=label, color=color, marker=marker, markersize=3.5, linewidth=1.5)
    last = metrics[-1]
    part = "train" if last.get("accuracy_validation") is None else "validation"
    accuracy = f"{100 * last[f'accuracy_{part}']:.1f} % ({part})"
    ax.set_title(
        f"accuracy {accuracy} after {last['epoch']:g} epoch{'s' if last['epoch'] > 1 else ''}", fontsize="medium"
    )
    ax.set_xlabel("epoch")
    ax.set_ylabel("percent")
    ax.set_ylim(0, 102)
    _tidy(ax, integer_x=True)
    _tidy(loss_axis)
    loss_axis.spines["right"].set_visible(True)
    loss_axis.tick_params(colors=QUIET)
    # A fixed number of ticks: the automatic one changes with the room left, which changes the width of the labels.
    loss_axis.yaxis.set_major_locator(MaxNLocator(nbins=5))
    loss_axis.set_ylabel("loss", color=QUIET)
    loss_axis.set_ylim(bottom=0)
    handles = ax.get_legend_handles_labels()[0] + loss_axis.get_legend_handles_labels()[0]
    ax.legend(
        handles=handles, frameon=False, fontsize="small", ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.18)
    )
    return ax
