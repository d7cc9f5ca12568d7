"""One layer as a raster: which neuron spikes at which step, on one Axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pnbx_plot import style
from pnbx_plot.arrays import Events, bounds, layers_of, neuron_numbers, one_sample, sample_lengths
from pnbx_plot.compare import MOST_RINGS, Differences, differences, ring, rings
from pnbx_plot.errors import PlotError, needed
from pnbx_plot.grid import Spikes
from pnbx_plot.style import ACCENT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes


FEW = 20
"""So few spikes among very many values are counted in a title, not written as a rate."""


@dataclass(frozen=True)
class Chosen:
    """Which part of a recording is drawn, and how its time is written."""

    sample: int = 0
    steps: Any = None
    neurons: Any = None
    dt: float | None = None

    def __post_init__(self) -> None:
        if self.dt is not None and not 0.0 < self.dt < float("inf"):
            raise PlotError(f"dt must be the seconds of a step, above 0, got {self.dt}")

    @property
    def unit(self) -> float:
        """Length of a step on the time axis: 1, or milliseconds."""
        return 1.0 if self.dt is None else 1e3 * self.dt

    @property
    def time_label(self) -> str:
        """What stands at the time axis."""
        return "step" if self.dt is None else "time in ms"

    def of(self, where: str, name: str, values: Any, lengths: Any = None) -> Spikes:
        """Cut the chosen sample, steps and neurons out of a layer."""
        whole = Spikes(one_sample(where, name, values, self.sample))
        end = whole.shape[0] if lengths is None else int(lengths[self.sample])
        steps = bounds(where, "steps", self.steps, end)
        return whole.cut(steps, neuron_numbers(where, self.neurons, whole.shape[1]))


def number(count: int, noun: str) -> str:
    """Return ``"1 neuron"``, ``"1,200 neurons"``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def percent(share: float) -> str:
    """Return a share in percent with as many digits as it needs: 0.004 %, 1.2 %, 25.0 %."""
    digits = 1 if share == 0 or share >= 0.001 else min(6, int(np.ceil(-np.log10(share))) - 1)
    return f"{100 * share:.{digits}f} %"


def summary(spikes: Spikes, found: Differences | None, chosen: Chosen) -> str:
    """Return what a raster shows in one line: neurons, firing rate, and the first of the differences."""
    rate = percent(spikes.rate) if chosen.dt is None else f"{spikes.rate / chosen.dt:.3g} Hz"
    said = f"firing rate {rate}" if spikes.count > FEW or spikes.rate >= 1e-4 else number(spikes.count, "spike")
    said = said if spikes.count else "no spikes"
    text = f"{number(spikes.shape[1], 'neuron')}, {said}"
    if found is None:
        return text
    total = f"{spikes.shape[0] * spikes.shape[1]:,}"
    if not len(found):
        return f"{text}; none of {total} values differs"
    step = f"step {found.steps[0]}" if chosen.dt is None else f"{found.steps[0] * chosen.unit:.6g} ms"
    neuron = found.neurons[0] if spikes.neurons is None else spikes.neurons[found.neurons[0]]
    verb = "differs" if len(found) == 1 else "differ"
    return f"{text}; {len(found):,} of {total} {verb}, first at {step}, neuron {neuron}"


def height(neurons: int) -> float:
    """Return how high a raster is drawn, in inches."""
    return float(min(3.0, 0.3 + 0.27 * np.log2(neurons + 1)))


def draw_spikes(ax: Axes, spikes: Spikes, chosen: Chosen, color: str = INK, off_color: str = ACCENT) -> None:
    """Draw spikes, set the limits to the cells' edges and label the axes; negative values are off events."""
    marks = needed("pnbx_plot.pixels", "a picture").SpikeMarks
    steps, neurons = spikes.shape
    unit = chosen.unit
    ax.set_xlim((spikes.first_step - 0.5) * unit, (spikes.first_step + steps - 0.5) * unit)
    ax.set_ylim(-0.5, neurons - 0.5)
    values = spikes.values
    if isinstance(values, np.ndarray) and values.dtype.kind in "if" and (values < 0).any():
        marks(ax, Spikes(values > 0, spikes.first_step, spikes.neurons), color, unit)
        marks(ax, Spikes(values < 0, spikes.first_step, spikes.neurons), off_color, unit)
    else:
        for shade, part in _by_size(spikes, color):
            marks(ax, part, shade, unit)
    ax.set_xlabel(chosen.time_label)
    ax.set_ylabel("neuron")
    if chosen.dt is None:
        style.integers(ax.xaxis)
    _neuron_ticks(ax, spikes)
    ax.spines[["top", "right"]].set_visible(False)


def _by_size(spikes: Spikes, color: str) -> list[tuple[str, Spikes]]:
    """Return spikes of one size in their colour; of graded ones 1, 2 or 3, and 4 or more apart, from pale to full."""
    values = spikes.values
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf" or values.max(initial=0) < 2:
        return [(color, spikes)]
    colors = needed("matplotlib.colors", "a picture")
    rgb = np.array(colors.to_rgb(color))
    bits = np.minimum(values, 4)
    sizes = {low: values >= low if low == 4 else (bits >= low) & (bits < 2 * low) for low in (1, 2, 4)}
    shown = [(low, where) for low, where in sizes.items() if where.any()]
    paleness = np.linspace(0.6, 0.0, len(shown)) if len(shown) > 1 else [0.0]
    return [
        (colors.to_hex(rgb + (1 - rgb) * pale), Spikes(where, spikes.first_step, spikes.neurons))
        for pale, (_, where) in zip(paleness, shown, strict=True)
    ]


def _neuron_ticks(ax: Axes, spikes: Spikes) -> None:
    """Write the numbers that the neurons have in their layer."""
    style.integers(ax.yaxis, most=6)
    numbers = spikes.neurons
    if numbers is None or np.array_equal(numbers, np.arange(len(numbers))):
        return
    shown = numbers
    if len(numbers) <= 12:
        ax.set_yticks(range(len(numbers)))

    def text(place: float, _: Any) -> str:
        row = round(place)
        return str(shown[row]) if 0 <= row < len(shown) and abs(place - row) < 1e-6 else ""

    ax.yaxis.set_major_formatter(needed("matplotlib.ticker", "a picture").FuncFormatter(text))


def draw_layer(
    ax: Axes, name: str | None, spikes: Spikes, other: Spikes | None, chosen: Chosen, color: str = INK
) -> Differences | None:
    """Draw a layer, and what differs in another run of it, under a title that says what is seen."""
    found = None if other is None else differences(name or "raster", spikes, other)
    draw_spikes(ax, spikes, chosen, color)
    if found is not None and len(found):
        draw_differences(ax, found, spikes, chosen)
    text = summary(spikes, found, chosen)
    ax.set_title(f"{name}: {text}" if name else text, fontsize="medium")
    return found


def draw_differences(ax: Axes, found: Differences, spikes: Spikes, chosen: Chosen) -> None:
    """Ring the places that differ, and draw in the accent colour what only the other run has.

    Where there are too many for rings, the spikes become pale, all places that differ are drawn in the accent colour,
    and only the first is ringed.
    """
    marks = needed("pnbx_plot.pixels", "a picture").SpikeMarks
    centres = rings(ax, found, chosen.unit)
    many = len(centres) > MOST_RINGS
    shown = np.ones(len(found), dtype=bool) if many else (found.got != 0) & (found.expected == 0)
    places = Events(found.steps[shown] - spikes.first_step, found.neurons[shown], spikes.shape)
    if many:
        for artist in ax.artists:
            artist.set_alpha(0.3)
        centres = np.array([[found.steps[0] * chosen.unit, found.neurons[0]]])
    marks(ax, Spikes(places, spikes.first_step, spikes.neurons), ACCENT, chosen.unit)
    ring(ax, centres)


def raster(
    spikes: Any,
    other: Any = None,
    *,
    layer: str | None = None,
    sample: int = 0,
    steps: Any = None,
    neurons: Any = None,
    dt: float | None = None,
    title: str | None = None,
    color: str = INK,
    ax: Axes | None = None,
) -> Axes:
    """Draw which neuron spikes at which step. Each spike is a mark of at least one pixel, at any size.

    Parameters
    ----------
    spikes : array, tensor, list of tensors, mapping or recording
        ``[T, N]``, or ``[T, B, N]`` of which ``sample`` is drawn. Everything that is not 0 is a spike; negative values
        are drawn in a second colour, and of whole numbers above 1 (graded events) smaller ones are paler.
        Of a mapping or a recording with several layers, ``layer`` names one.
    other : the same, optional
        Another run of the same layer: places that differ are ringed, and the title counts them and names the first.
        Spikes that only the other run has are drawn in the accent colour.
    steps : tuple of int, optional
        The first step and the end, ``(a, b)``.
    neurons : tuple of int or sequence of int, optional
        The first neuron and the end ``(a, b)``, or a list of their numbers.
    dt : float, optional
        Seconds of a step: time is then written in ms and the rate in Hz.
    title : str, optional
        Stands before the summary.
    ax : Axes, optional
        Where it is drawn, else in a new figure.

    Raises
    ------
    PlotError
        When a shape, a range or a name is not usable; the message says what is.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> raster(np.eye(4), title="diagonal").get_title()
    'diagonal: 4 neurons, firing rate 25.0 %'
    """
    where, chosen = "plot.raster", Chosen(sample, steps, neurons, dt)
    values = _one_layer(where, spikes, layer)
    told = chosen.of(where, "spikes", values, sample_lengths(spikes))
    second = None
    if other is not None:
        second = chosen.of(where, "other", _one_layer(where, other, layer), sample_lengths(other))
    with style.use():
        ax = style.axes(ax, (7.0, 0.9 + height(told.shape[1])))
        draw_layer(ax, title or layer, told, second, chosen, color)
    return ax


def _one_layer(where: str, spikes: Any, layer: str | None) -> Any:
    layers = layers_of(spikes)
    if layer is None and len(layers) > 1:
        raise PlotError(f"{where}: layer= must name one of {', '.join(layers)}; plot.raster_layers draws all of them")
    if layer is not None and layer not in layers:
        raise PlotError(f"{where}: layer must be one of {', '.join(layers)}, got {layer!r}")
    return layers[next(iter(layers)) if layer is None else layer]
