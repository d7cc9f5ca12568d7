"""A report as Markdown, with its figures in files beside it."""

from __future__ import annotations

import re

from studies.report.report_parts import Figure, Report, Table
from studies.report.words import spaced


def render(report: Report) -> tuple[str, dict[str, bytes]]:
    """Return the text, and the figures by file name, which go into the folder ``figures`` beside it."""
    lines = [f"# {report.title}", "", *_paragraphs(report.lead)]
    files: dict[str, bytes] = {}
    for section in report.sections:
        lines += [f"## {section.title}", "", *_paragraphs(section.text)]
        for part in section.parts:
            if isinstance(part, Table):
                lines += _table(part)
                continue
            name = _file_name(section.name, part)
            files[name] = part.svg.encode() if part.svg else part.png
            lines += [f"![{_cell(part.alt)}](figures/{name})", "", *_paragraphs([part.note] if part.note else [])]
    return "\n".join(lines).rstrip() + "\n", files


def _paragraphs(texts: list[str]) -> list[str]:
    return [line for text in texts for line in (spaced(text), "")]


def _file_name(section: str, figure: Figure) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", figure.title.lower()).strip("_")
    return f"{section}_{words}.{'svg' if figure.svg else 'png'}"


def _table(table: Table) -> list[str]:
    rules = ["---:" if i in table.numbers else "---" for i in range(len(table.columns))]
    lines = [f"### {table.title}", "", _row(table.columns), f"| {' | '.join(rules)} |"]
    lines += [_row(row) for row in table.rows]
    return [*lines, "", *_paragraphs([table.note] if table.note else [])]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return spaced(text).replace("|", "\\|").replace("\n", " ")
