"""A report as one HTML file: no scripts, nothing from elsewhere, readable on a telephone and on paper."""

from __future__ import annotations

import base64
import html as escaping
import re

from studies.claims.claims import VERDICTS
from studies.report.report_parts import Figure, Report, Section, Table
from studies.report.words import spaced

COMMANDS = ("pnbx-snn ", "python ", "make ")
STYLE = """
:root{color-scheme:light dark;--ink:#1d2733;--soft:#5b6673;--line:#d9dee4;--back:#fff;--card:#f6f8fa;--accent:#c8452d}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ee;--soft:#a3adb8;--line:#39424d;--back:#14181d;--card:#1d232a;
--accent:#f0806a}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1240px;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}h2{font-size:1.3rem;margin:2.4rem 0 .4rem;padding-top:.4rem;
border-top:2px solid var(--accent)}h3{font-size:1rem;margin:1.4rem 0 .4rem}
p{max-width:48rem;margin:.5rem 0}.note{color:var(--soft);font-size:.85rem}
nav{display:flex;flex-wrap:wrap;gap:.4rem;margin:1rem 0}nav a{padding:.35rem .7rem;border:1px solid var(--line);
border-radius:1rem;color:inherit;text-decoration:none;font-size:.9rem}
.scroll{overflow-x:auto;max-width:100%;border:1px solid var(--line);border-radius:.4rem}
table{border-collapse:collapse;width:100%;font-size:.86rem}
th,td{padding:.35rem .6rem;text-align:left;vertical-align:top;
border-bottom:1px solid var(--line)}th{background:var(--card);font-weight:600}
tbody tr:last-child td{border-bottom:0}td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.plain td:first-child{white-space:nowrap}
code{font:.82em ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
td>code{display:inline-block;min-width:10.5rem}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:1rem;margin:1rem 0}
figure{margin:0;border:1px solid var(--line);border-radius:.4rem;padding:.6rem;background:#fff;color:#1d2733}
figure.wide{grid-column:1/-1;max-width:720px}
figure svg,figure img{display:block;width:100%;height:auto}figcaption{font-size:.86rem}
figcaption b{display:block}figcaption span{color:#5b6673}
.v{display:inline-block;padding:0 .5rem;border-radius:.7rem;color:#fff;font-size:.8rem;white-space:nowrap}
.v-right{background:#2e7d4f}.v-rounded{background:#4c7f8c}.v-wrong{background:#b3261e}.v-misleading{background:#a05a00}
.v-unsupported{background:#5f6670}.v-definition,.v-no-claim{background:#e3e7ec;color:#333}
.missing{color:var(--soft);font-style:italic}
details{margin:.6rem 0}summary{cursor:pointer;font-weight:600;padding:.3rem 0}
@media(max-width:900px){table.cards thead{position:absolute;left:-9999px}table.cards,table.cards tbody,table.cards tr,
table.cards td{display:block;width:auto}table.cards tr{border-bottom:2px solid var(--line);padding:.5rem .2rem}
table.cards td{border:0;padding:.12rem .6rem}table.cards td:empty{display:none}
table.cards td[data-label]::before{content:attr(data-label) ": ";color:var(--soft)}
table.cards td:first-child{font-weight:600}}
@media print{nav{display:none}.scroll{overflow:visible}details>*{display:block}}
"""


def render(report: Report) -> str:
    """Return the file's text."""
    links = "".join(f'<a href="#{s.name}">{_text(s.title)}</a>' for s in report.sections)
    lead = "".join(f"<p>{_text(line)}</p>" for line in report.lead)
    body = "".join(_section(section) for section in report.sections)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(report.title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main><h1>{_text(report.title)}</h1>{lead}<nav>{links}</nav>{body}</main></body></html>\n"
    )


def _section(section: Section) -> str:
    found = [f'<section id="{section.name}"><h2>{_text(section.title)}</h2>']
    found += [f"<p>{_text(line)}</p>" for line in section.text]
    figures = [part for part in section.parts if isinstance(part, Figure)]
    if figures:
        found.append(f'<div class="figures">{"".join(_figure(figure) for figure in figures)}</div>')
    found += [_table(part) for part in section.parts if isinstance(part, Table)]
    return "".join(found) + "</section>\n"


def _figure(figure: Figure) -> str:
    if figure.svg:
        picture = re.sub(r"<svg ", f'<svg role="img" aria-label="{_text(figure.alt)}" ', figure.svg, count=1)
    else:
        encoded = base64.b64encode(figure.png).decode()
        picture = f'<img alt="{_text(figure.alt)}" src="data:image/png;base64,{encoded}">'
    note = f"<span>{_text(figure.note)}</span>" if figure.note else ""
    wide = ' class="wide"' if figure.wide else ""
    title = f"<figcaption><b>{_text(figure.title)}</b></figcaption>"
    return f"<figure{wide}>{title}{picture}<figcaption>{note}</figcaption></figure>"


def _table(table: Table) -> str:
    numbers = set(table.numbers)
    heads = "".join(f"<th{_number(i in numbers)}>{_text(name)}</th>" for i, name in enumerate(table.columns))
    rows = []
    for row in table.rows:
        cells = []
        for i, (name, cell) in enumerate(zip(table.columns, row, strict=True)):
            label = f' data-label="{_text(name)}"' if table.cards and i > 1 else ""
            cells.append(f"<td{_number(i in numbers)}{label}>{_cell(name, cell)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    kind = "cards" if table.cards else "plain"
    table_text = f'<table class="{kind}"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    inner = f'<div class="scroll">{table_text}</div>'
    note = f'<p class="note">{_text(table.note)}</p>' if table.note else ""
    if table.cards or table.folded:
        opened = "" if table.folded else " open"
        return f"<details{opened}><summary>{_text(table.title)}</summary>{inner}{note}</details>"
    return f"<h3>{_text(table.title)}</h3>{inner}{note}"


def _number(yes: bool) -> str:
    return ' class="n"' if yes else ""


def _cell(column: str, text: str) -> str:
    if column == "verdict" and text in VERDICTS:
        return f'<span class="v v-{text.replace(" ", "-")}">{_text(text)}</span>'
    if column in ("check", "command"):
        return f"<code>{_text(text)}</code>" if text else ""
    if text.startswith("not measured"):
        said, colon, command = text.partition(": ")
        words = f"<code>{_text(command)}</code>" if command.startswith(COMMANDS) else _text(command)
        return f'<span class="missing">{_text(said)}{colon}{words}</span>'
    return _text(text)


def _text(text: str) -> str:
    return escaping.escape(spaced(text), quote=True)
