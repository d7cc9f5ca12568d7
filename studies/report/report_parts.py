"""What a report is made of: sections of paragraphs, tables and figures, and no format."""

from __future__ import annotations

from typing import Any, NamedTuple

Kind = str
"""How a number came to be: "counted", "modelled", "measured", "recomputed", "claimed" or ""."""


class Table(NamedTuple):
    """A table.

    Parameters
    ----------
    title
        Above it.
    columns, rows
        Cells are texts; every row is as long as ``columns``.
    note
        Below it.
    cards
        On a narrow screen each row becomes a card: for tables of sentences.
    numbers
        Columns that hold numbers stand to the right.
    folded
        Shown when it is asked for.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    cards: bool = False
    numbers: tuple[int, ...] = ()
    folded: bool = False


class Figure(NamedTuple):
    """A picture, as SVG text or PNG bytes.

    Parameters
    ----------
    title, note
        Above and below it.
    alt
        What it shows, in words.
    svg, png
        One of both.
    wide
        Takes the whole width of a page.
    """

    title: str
    alt: str
    svg: str = ""
    png: bytes = b""
    note: str = ""
    wide: bool = False


class Section(NamedTuple):
    """A section.

    Parameters
    ----------
    name
        As ``--section`` takes it.
    title
        Its heading.
    text
        Paragraphs before the parts.
    parts
        Tables and figures.
    data
        The same, for programs: goes into ``report.json``.
    """

    name: str
    title: str
    text: list[str]
    parts: list[Table | Figure]
    data: dict[str, Any]


class Report(NamedTuple):
    """A whole report."""

    title: str
    lead: list[str]
    sections: list[Section]
    data: dict[str, Any]
