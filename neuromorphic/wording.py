"""Numbers and lists of things in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, which gets an s, or is ``plural``, unless the number is 1.

    Examples
    --------
    >>> counted(1, "sample"), counted(0, "sample"), counted(12_000, "synapse"), counted(2, "axis", "axes")
    ('1 sample', '0 samples', '12000 synapses', '2 axes')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def some_of(things: Sequence[str], most: int = 6) -> str:
    """Return the first things of a list, and how many more there are.

    Examples
    --------
    >>> some_of(["a", "b", "c"], 2), some_of(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    more = len(things) - most
    return ", ".join(things[:most]) + (f" and {more} more" if more > 0 else "")
