"""Sections of a report on the source document: its claims, its contradictions, its recommendations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from studies.claims import claims_costs, claims_sizes, claims_text
from studies.claims import document as doc
from studies.claims.claims import RECOMPUTE, VERDICTS, Claim, printed, verdict
from studies.claims.closed_forms import EQUAL
from studies.claims.contradictions import CONTRADICTIONS
from studies.claims.facts import Facts
from studies.claims.recommendations import Recommendation, format_rows
from studies.claims.spike_formats import FORMATS, Timed
from studies.report.report_parts import Figure, Section, Table

CLAIMS: tuple[Claim, ...] = (*claims_sizes.CLAIMS, *claims_costs.CLAIMS, *claims_text.CLAIMS)
GROUPS = {
    "E": "Summary", "C": "1 Configuration", "P": "2 Parameters", "M": "3 Memory", "K": "4 Operations", "G": "5 Energy",
    "L": "6 Scaling", "H": "7 Hardware", "S": "8 Summary tables", "T": "9 Limits", "N": "10 Conclusions",
    "R": "10 Recommendations", "F": "10 Plans", "B": "References",
}  # fmt: skip
COLUMNS = ["id", "says", "claimed", "recomputed", "counted", "modelled", "measured", "verdict", "why", "check"]


def recomputed(claim: Claim) -> str:
    """Return what the document's formula gives, with one digit more than it prints, in its unit.

    Examples
    --------
    >>> recomputed(Claim("x", "1", "y", "88.0 %", lambda: 89.4984))
    '89.50 %'
    """
    if claim.recompute is None:
        return ""
    value = claim.recompute()
    numbers, half = printed(claim.claimed)
    unit = claim.claimed.split(" ", 1)[1] if " " in claim.claimed else ""
    if len(numbers) == 2:
        unit = claim.claimed.rsplit(" ", 1)[-1]
    if abs(value) >= 1e7 or abs(value) < 1e-4:
        text = f"{value:.4g}"
    elif half == 0.5 and float(value).is_integer():
        text = f"{value:,.0f}"
    else:
        whole = 2 if abs(value) < 100 else 1 if abs(value) < 1000 else 0
        decimals = whole if half >= 0.5 else len(f"{2 * half:.10f}".rstrip("0").split(".")[1]) + 1
        text = f"{value:,.{decimals}f}"
    return f"{text} {unit}".strip()


def claim_row(claim: Claim, facts: Facts) -> dict[str, str]:
    """Return everything that stands beside a claim.

    Raises
    ------
    KeyError
        If a claim asks for a fact that there is not: a defect of its row.
    """
    found = verdict(claim)
    fits = found == "right" and claim.recompute is not None
    return {
        "id": claim.id,
        "where": claim.where,
        "says": claim.says,
        "claimed": claim.claimed,
        "recomputed": recomputed(claim),
        "counted": facts.counted[claim.counted] if claim.counted else "",
        "modelled": facts.modelled[claim.modelled] if claim.modelled else "",
        "measured": facts.measured[claim.measured] if claim.measured else "",
        "verdict": found,
        "why": "" if fits else claim.reason,
        "contradictions": ", ".join(claim.contradictions),
        "check": "" if claim.check == RECOMPUTE and found in ("definition", "no claim") else claim.check,
    }


def claims_section(facts: Facts) -> Section:
    """Return the document's every claim beside what was recomputed, counted, modelled and measured."""
    rows = [claim_row(claim, facts) for claim in CLAIMS]
    number = Counter(row["verdict"] for row in rows)
    verdicts = Table(
        "Verdicts", ["verdict", "rows", "means"],
        [[name, str(number[name]), words] for name, words in VERDICTS.items()], numbers=(1,),
    )  # fmt: skip
    parts: list[Table | Figure] = [verdicts]
    for letter, title in GROUPS.items():
        cells = []
        for row in rows:
            if row["id"][0] != letter:
                continue
            why = " ".join(filter(None, (row["why"], f"({row['contradictions']})" if row["contradictions"] else "")))
            says = f"{row['says']} (section {row['where']})" if row["where"][0].isdigit() else row["says"]
            values = [row[name] for name in ("claimed", "recomputed", "counted", "modelled", "measured", "verdict")]
            cells.append([row["id"], says, *values, why, row["check"]])
        parts.append(Table(title, COLUMNS, cells, cards=True))
    parts.append(_fair_compute())
    crossed = [[name, words] for name, words in CONTRADICTIONS.items()]
    parts.append(Table("Fifty contradictions", ["", "what"], crossed, cards=True))
    text = [
        'Every table and claim of "PNB-X vs Transformers" (2025-12-20). Claimed: as printed. Recomputed: its own '
        "formula, done right. Counted: on the reference network in this package. Modelled: counts times published "
        "energies. Measured: clocks and memory of the machine named above.",
        "The sums of parameters hold; 88.0 %, 5.2 times and 546 times do not.",
    ]
    data = {"verdicts": dict(number), "rows": rows, "contradictions": CONTRADICTIONS}
    return Section("claims", "The document, claim by claim", text, parts, data)


def _fair_compute() -> Table:
    rows = []
    for length in (256, 784, 2048, 8192):
        whole = length * doc.whole_step_macs() / 1e9
        theirs = [doc.transformer_g(length, EQUAL, causal=causal) for causal in (False, True)]
        rows.append([f"{length:,}", *(f"{x:.2f}" for x in (*theirs, whole)), *(f"{x / whole:.2f}" for x in theirs)])
    return Table(
        "Equal parameters: operations of a sequence, G (recomputed)",
        ["L", "Transformer", "causal", "PNB-X, every weight once", "ratio", "ratio, causal"],
        rows,
        "Dense, no sparsity. Below 1 PNB-X does more.",
        numbers=(0, 1, 2, 3, 4, 5),
    )


def recommendations_section(rows: Sequence[Recommendation], formats: Sequence[Timed]) -> Section:
    """Return the document's recommendations, and formats of spikes over their density."""
    table = Table(
        "The document's recommendations",
        ["id", "recommendation", "number", "known how", "verdict", "command"],
        [list(row) for row in rows],
        cards=True,
    )
    columns = ["density", *(f"{name}, B" for name in FORMATS), *(f"{name}, time" for name in FORMATS)]
    stored = Table(
        "Spikes of 2,048 neurons: bytes a step (counted) and time of a product with 2048 x 2048, 8 samples (measured)",
        columns,
        format_rows(formats),
        "torch's products in fp32, processor time, one process, formats in turns. The native executor uses bitmaps and "
        "its own products.",
        numbers=tuple(range(len(columns))),
    )
    data: dict[str, Any] = {
        "rows": [row._asdict() for row in rows],
        "formats": [timed._asdict() for timed in formats],
    }
    return Section("recommendations", "Recommendations, with a number each", [], [table, stored], data)
