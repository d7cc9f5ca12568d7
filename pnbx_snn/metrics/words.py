"""Numbers as people read them."""

from __future__ import annotations

import math

from pnbx_snn.metrics.energy import Interval

PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


def amount(value: float | int, *, digits: int = 3) -> str:
    """Return a number with a prefix and so many significant digits; whole numbers below 1,000 as they are.

    Examples
    --------
    >>> amount(2418688), amount(0.00021, digits=2), amount(17), amount(0), amount(99.98)
    ('2.42 M', '210 µ', '17', '0', '100')
    """
    if value == 0 or (float(value).is_integer() and abs(value) < 1000):
        return f"{value:.0f}"
    power = min(12, max(-15, 3 * math.floor(math.log10(abs(value)) / 3)))
    scaled = value / 10.0**power
    if abs(float(f"{scaled:.{digits}g}")) >= 1000 and power < 12:
        power, scaled = power + 3, scaled / 1000
    scaled = float(f"{scaled:.{digits}g}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(scaled))))
    return f"{scaled:.{decimals}f} {PREFIXES[power]}".rstrip()


def seconds(value: float) -> str:
    """Return a time.

    Examples
    --------
    >>> seconds(8.1e-5), seconds(2.0)
    ('81.0 µs', '2 s')
    """
    text = amount(value)
    return text + ("s" if text[-1].isalpha() or text[-1] == "µ" else " s")


def bytes_words(value: float | int) -> str:
    """Return bytes, in decimal units.

    Examples
    --------
    >>> bytes_words(1224192), bytes_words(512)
    ('1.22 MB', '512 B')
    """
    text = amount(value)
    return text + ("B" if text[-1].isalpha() else " B")


def interval_words(interval: Interval, unit: str = "J") -> str:
    """Return both ends of an interval.

    Examples
    --------
    >>> interval_words(Interval(4.5e-6, 3.2e-5))
    '4.5 to 32 µJ'
    """
    low, high = (amount(end, digits=2) for end in interval)
    if low == high:
        return f"{low}{unit}" if low[-1].isalpha() or low[-1] == "µ" else f"{low} {unit}"
    first, second = low.split(" "), high.split(" ")
    if first[1:] == second[1:]:
        low = first[0]
    else:
        low += unit
    return f"{low} to {high}{unit if len(second) > 1 else ' ' + unit}"
