"""What many networks cost and how often they err, with the front of those that no other one beats in all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pnbx_plot import style
from pnbx_plot.errors import PlotError, needed
from pnbx_plot.style import ACCENT, INK, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST_ERROR = 1e-4
"""A share of errors below this is drawn here: the axis is logarithmic."""


def pareto(
    costs: Mapping[str, Sequence[float]],
    accuracy: Sequence[float],
    *,
    front: Sequence[int],
    names: Sequence[str] | None = None,
    lines: Mapping[str, Mapping[str, float]] | None = None,
    title: str = "",
) -> Figure:
    """Draw the errors of networks over each of their costs, both on logarithmic axes; return a new figure.

    Parameters
    ----------
    costs : mapping
        By the name of a cost, which becomes the label of a panel's axis, a number above 0 for each network.
    accuracy : sequence of float
        Share of the samples that each network reads right, in [0, 1].
    front : sequence of int
        Which of the networks are on the front. In each panel those of them that are on the front of that panel's cost
        alone are joined by steps.
    names : sequence of str, optional
        Of the networks, written beside those on the front.
    lines : mapping, optional
        By the name of a cost, limits on it: by their label, a number. They are drawn as lines.
    title : str
        Above the panels.

    Raises
    ------
    PlotError
        If there is no network, no cost, or their numbers do not fit each other.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> figure = pareto({"bytes": [1000, 2000, 3000]}, [0.95, 0.98, 0.97], front=[0, 1])
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('bytes', 'errors, %')
    """
    if not costs or not len(accuracy):
        raise PlotError(f"plot.pareto: needs a cost and a network, got {len(costs)} and {len(accuracy)}")
    for name, values in costs.items():
        if len(values) != len(accuracy) or min(values) <= 0:
            raise PlotError(f"plot.pareto: {name} must be {len(accuracy)} numbers above 0, got {list(values)[:4]}...")
    errors = [100 * max(1 - share, SMALLEST_ERROR) for share in accuracy]
    with style.use():
        plt = needed("matplotlib.pyplot", "a picture")
        figure: Figure = plt.figure(figsize=(1.4 + 4.8 * len(costs), 4.2), layout="constrained")
        panels: Any = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
        for place, (ax, (cost, values)) in enumerate(zip(panels, costs.items(), strict=True)):
            _panel(ax, list(values), errors, front, names, (lines or {}).get(cost, {}))
            ax.set_xlabel(cost)
            if place == 0:
                ax.set_ylabel("errors, %")
        panels[0].legend(loc="best", fontsize="small", frameon=True, framealpha=0.9, edgecolor="none")
        if title:
            figure.suptitle(title)
    return figure


def _panel(
    ax: Axes, costs: list[float], errors: list[float], front: Sequence[int], names: Any, lines: Mapping[str, float]
) -> None:
    on_front = set(front)
    others = [i for i in range(len(costs)) if i not in on_front]
    ax.scatter(
        [costs[i] for i in others],
        [errors[i] for i in others],
        s=18,
        color=QUIET,
        alpha=0.7,
        marker="o",
        label="other networks",
    )
    best = sorted(on_front, key=lambda i: (costs[i], errors[i]))
    stairs: list[int] = []
    for i in best:  # those that nobody cheaper beats
        if not stairs or errors[i] < errors[stairs[-1]]:
            stairs.append(i)
    ax.step([costs[i] for i in stairs], [errors[i] for i in stairs], where="post", color=INK, linewidth=1.2)
    ax.scatter([costs[i] for i in best], [errors[i] for i in best], s=34, color=INK, marker="D", label="Pareto front")
    for i in stairs if names is not None else ():
        ax.annotate(
            names[i], (costs[i], errors[i]), xytext=(5, 4), textcoords="offset points", fontsize="small", color=INK
        )
    for label, at in lines.items():
        ax.axvline(at, color=ACCENT, linestyle="--", linewidth=1.3, label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ticker = needed("matplotlib.ticker", "a picture")
    for axis, span in ((ax.xaxis, [*costs, *lines.values()]), (ax.yaxis, errors)):
        ratio = max(span) / min(span)
        marked = (1.0, 2.0, 3.0, 5.0, 7.0) if ratio < 8 else (1.0, 2.0, 5.0) if ratio < 200 else (1.0,)
        axis.set_major_locator(ticker.LogLocator(subs=marked))
        axis.set_major_formatter(
            ticker.FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:g}")
        )
        axis.set_minor_formatter(ticker.NullFormatter())
    ax.grid(visible=True)
