"""Pictures of letters for a terminal: curves in braille dots, sparklines, rasters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

BARS = "▁▂▃▄▅▆▇█"
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""What each dot of a braille letter, four high and two wide, adds to its code."""


def curves(series: Sequence[tuple[Sequence[float], str]], *, top: float, width: int, height: int) -> list[Text]:
    """Draw curves over a common axis from 0 to ``top``, as lines of letters.

    Parameters
    ----------
    series
        Values in [0, top] and a style of rich for each curve; a later one is drawn over an earlier one.
    top
        Greater than 0.
    width, height
        Of the picture in letters, each two dots wide and four high.
    """
    dots = np.zeros((height * 4, width * 2), bool)
    styles = np.full((height, width), "", dtype=object)
    for values, style in series:
        if not len(values):
            continue
        places = np.linspace(0, len(values) - 1, width * 2)
        rows = np.round((1 - np.interp(places, np.arange(len(values)), values) / top) * (height * 4 - 1)).astype(int)
        for column, row in enumerate(rows):
            last = rows[column - 1] if column else row  # joined to the dot before
            low, high = sorted((int(row), int(last)))
            dots[low : high + 1 if column else low + 1, column] = True
            styles[low // 4 : high // 4 + 1, column // 2] = style
    pairs = [zip(line, of, strict=True) for line, of in zip(_braille(dots), styles, strict=True)]
    return [Text.assemble(*pair, no_wrap=True) for pair in pairs]


def sparkline(values: Sequence[float], *, width: int) -> str:
    """Return the last values as bars from 0 to the largest of them, one letter each.

    Examples
    --------
    >>> sparkline([0.0, 1.0, 2.0, 4.0], width=3)
    '▃▅█'
    """
    shown = np.asarray(values[-width:], float)
    top = shown.max(initial=0.0) or 1.0
    return "".join(BARS[int(level)] for level in np.minimum(shown / top * len(BARS), len(BARS) - 1))


def raster(spikes: NDArray[np.generic], *, width: int, height: int) -> list[str]:
    """Return spikes ``[T, N]`` as lines of letters: a block for each step, in it a dot for each neuron that spikes.

    Neurons stand in the order of reading. Of more steps than letters the first ones are shown, of more neurons than
    dots some, evenly chosen.

    Examples
    --------
    >>> raster(np.array([[1, 0, 1, 1], [0, 0, 0, 1]]), width=6, height=1)
    ['⠁⠉ ⠀⠈ ']
    """
    num_steps = min(len(spikes), width)
    slot = width // num_steps
    letters = slot - 1 if slot > 2 else slot  # a blank between two blocks
    columns, num_neurons = 2 * letters, spikes.shape[1]
    height = min(height, -(-num_neurons // (4 * columns)))
    chosen = np.linspace(0, num_neurons - 1, min(num_neurons, 4 * height * columns)).round().astype(int)
    dots = np.zeros((num_steps, 4 * height * columns), bool)
    dots[:, : len(chosen)] = spikes[:num_steps, chosen] != 0
    blocks = [_braille(block) for block in dots.reshape(num_steps, 4 * height, columns)]
    return ["".join(f"{line:{slot}}" for line in lines) for lines in zip(*blocks, strict=True)]


def _braille(dots: NDArray[np.bool_]) -> list[str]:
    """Return dots ``[4 * height, 2 * width]`` as lines of letters."""
    height, width = dots.shape[0] // 4, dots.shape[1] // 2
    codes = (dots.reshape(height, 4, width, 2).transpose(0, 2, 1, 3) * DOTS).sum(axis=(2, 3))
    return ["".join(chr(0x2800 + int(code)) for code in line) for line in codes]
