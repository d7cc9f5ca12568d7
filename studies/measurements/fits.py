"""Curves through measured times: a + b L + c L², and where two of them cross."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls  # type: ignore[import-untyped]

from pnbx_snn.errors import PnbxValueError


class Fit(NamedTuple):
    """``a + b L + c L²``.

    Parameters
    ----------
    a, b, c
        None below 0: no time is.
    worst
        Largest error of a point, relative to it.
    """

    a: float
    b: float
    c: float
    worst: float

    def at(self, length: float | int) -> float | int:
        """Return the value at a length."""
        return self.a + self.b * length + self.c * length * length

    def words(self, longest: int) -> str:
        """Return the formula in milliseconds, without terms that are below a thousandth of it at ``longest``.

        Examples
        --------
        >>> Fit(0.0, 7.5e-5, 1e-15, 0.1).words(8192)
        '0.075 L ms'
        """
        terms = [(self.a, ""), (self.b * longest, " L"), (self.c * longest**2, " L²")]
        scale = (1.0, longest, longest**2)
        whole = self.at(longest)
        shown = [
            f"{1e3 * value / size:.3g}{name}"
            for (value, name), size in zip(terms, scale, strict=True)
            if abs(value) > 1e-3 * abs(whole)
        ]
        return " + ".join(shown) + " ms"


def fit(lengths: Sequence[int], values: Sequence[float]) -> Fit:
    """Fit by least squares of the relative errors; no term is negative.

    Parameters
    ----------
    lengths, values
        At least three points, all above 0.

    Examples
    --------
    >>> found = fit([1, 2, 4, 8], [2 + 3 * L + 0.5 * L * L for L in (1, 2, 4, 8)])
    >>> [round(value, 6) for value in found]
    [2.0, 3.0, 0.5, 0.0]
    """
    x, y = np.asarray(lengths, dtype=float), np.asarray(values, dtype=float)
    if x.shape != y.shape or len(x) < 3 or not ((x > 0).all() and (y > 0).all()):
        raise PnbxValueError(
            f"fit: lengths and values must be at least 3 numbers above 0 each, got {list(lengths)} and {list(values)}"
        )
    columns = np.stack([np.ones_like(x), x, x * x], axis=1) / y[:, None]
    size = np.linalg.norm(columns, axis=0)  # columns differ by many powers of ten
    best = nnls(columns / size, np.ones_like(y))[0] / size
    worst = float(np.abs(columns @ best - 1).max())
    a, b, c = map(float, best)
    return Fit(a, b, c, worst)


def crossing(one: Fit, other: Fit, *, lowest: float | int = 1, highest: float | int = 1e7) -> float | None:
    """Return the first length in a range from which ``one`` is below ``other``; ``None`` if it never is.

    Returns ``lowest`` where it is below from the beginning.

    Examples
    --------
    >>> round(crossing(Fit(100, 1, 0, 0), Fit(0, 1, 0.01, 0)))
    100
    """
    if one.at(lowest) < other.at(lowest):
        return float(lowest)
    roots = np.roots([other.c - one.c, other.b - one.b, other.a - one.a])
    real = sorted(float(root.real) for root in roots if abs(root.imag) < 1e-9 and lowest <= root.real <= highest)
    return next((root for root in real if one.at(root * 1.001) < other.at(root * 1.001)), None)
