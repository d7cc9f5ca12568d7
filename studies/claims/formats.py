"""How a report on the document looks: a page with verdicts, and Markdown with its figures in files beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from pnbx_snn.metrics import page
from pnbx_snn.metrics.page import Figure, Section, Table
from studies.claims.claims import VERDICTS

COMMANDS = ("pnbx-snn ", "python ", "make ")
STYLE = """
code{font:.82em ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
td>code{display:inline-block;min-width:10.5rem}
.v{display:inline-block;padding:0 .5rem;border-radius:.7rem;color:#fff;font-size:.8rem;white-space:nowrap}
.v-right{background:#2e7d4f}.v-rounded{background:#4c7f8c}.v-wrong{background:#b3261e}.v-misleading{background:#a05a00}
.v-unsupported{background:#5f6670}.v-definition,.v-no-claim{background:#e3e7ec;color:#333}
.missing{color:var(--soft);font-style:italic}
@media(max-width:900px){table.cards thead{position:absolute;left:-9999px}table.cards,table.cards tbody,table.cards tr,
table.cards td{display:block;width:auto}table.cards tr{border-bottom:2px solid var(--line);padding:.5rem .2rem}
table.cards td{border:0;padding:.12rem .6rem}table.cards td:empty{display:none}
table.cards td[data-label]::before{content:attr(data-label) ": ";color:var(--soft)}
table.cards td:first-child{font-weight:600}}
"""


def spaced(text: str) -> str:
    r"""Put a space before every per cent sign, as the document has it; the space does not break.

    Examples
    --------
    >>> spaced("86% of 14 %") == "86\u00a0% of 14 %"
    True
    """
    return re.sub(r"(\d)%", "\\1\u00a0%", text)


def html(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """Return a report as one file."""
    shown = []
    for section in sections:
        parts: list[Table | Figure] = [
            part._replace(title=spaced(part.title), note=spaced(part.note)) for part in section.parts
        ]
        shown.append(section._replace(text=[spaced(line) for line in section.text], parts=parts))
    return page.render(title, [spaced(line) for line in lead], shown, cell=_html_cell, style=STYLE)


def _html_cell(text: str, column: str) -> str:
    words = escape(spaced(text))
    if column == "verdict" and text in VERDICTS:
        return f'<span class="v v-{text.replace(" ", "-")}">{words}</span>'
    if column in ("check", "command"):
        return f"<code>{words}</code>" if text else ""
    if text.startswith("not measured"):
        said, colon, command = words.partition(": ")
        shown = f"<code>{command}</code>" if command.startswith(COMMANDS) else command
        return f'<span class="missing">{said}{colon}{shown}</span>'
    return words


def markdown(title: str, lead: Sequence[str], sections: Sequence[Section]) -> tuple[str, dict[str, bytes]]:
    """Return a report as Markdown, and the figures by file name, which go into the folder ``figures`` beside it."""
    lines = [f"# {title}", "", *_paragraphs(lead)]
    files: dict[str, bytes] = {}
    for section in sections:
        lines += [f"## {section.title}", "", *_paragraphs(section.text)]
        for part in section.parts:
            if isinstance(part, Table):
                rules = ["---:" if i in part.numbers else "---" for i in range(len(part.columns))]
                lines += [f"### {part.title}", "", _row(part.columns), f"| {' | '.join(rules)} |"]
                lines += [*map(_row, part.rows), ""]
            else:
                words = re.sub(r"[^a-z0-9]+", "_", part.title.lower()).strip("_")
                name = f"{section.name}_{words}.{'svg' if part.svg else 'png'}"
                files[name] = part.svg.encode() or part.png
                lines += [f"![{_cell(part.alt)}](figures/{name})", ""]
            lines += _paragraphs([part.note] if part.note else [])
    return "\n".join(lines).rstrip() + "\n", files


def _paragraphs(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in (spaced(text), "")]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return spaced(text).replace("|", "\\|").replace("\n", " ")
