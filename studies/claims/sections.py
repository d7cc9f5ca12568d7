"""Sections of a report that are about the source document: the reference network, claims, recommendations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from pnbx_snn.metrics.counts import REFERENCE as DOCUMENT_PARTS
from pnbx_snn.metrics.counts import parameter_table
from pnbx_snn.metrics.memory import packings, zero_share
from pnbx_snn.metrics.page import Figure, Section, Table
from pnbx_snn.metrics.report import energy_section, memory_section, operations_section, table_with_sums
from pnbx_snn.networks.pnbx import PNBX
from studies.claims import charts, claims_costs, claims_sizes, claims_text
from studies.claims import document as doc
from studies.claims.claims import RECOMPUTE, VERDICTS, Claim, printed, verdict
from studies.claims.closed_forms import DOCUMENT, EQUAL, cache_bytes, parameters, state_bytes, transformer_parameters
from studies.claims.contradictions import CONTRADICTIONS
from studies.claims.energy_scenarios import assumed_step, pnbx_scenarios, transformer_scenarios
from studies.claims.evidence import NATIVE, Measurements
from studies.claims.facts import Facts
from studies.claims.recommendations import Recommendation, format_rows
from studies.claims.spike_formats import FORMATS, Timed

LENGTHS = (256, 784, 2048, 8192, 100_000)
RIVALS = Table(
    "The Transformers it is compared with",
    ["network", "parameters"],
    [
        ["the document's: d 512, 8 heads, 6 layers", f"{transformer_parameters(DOCUMENT):,}"],
        ["of equal size: d 256, 4 heads, 6 layers", f"{transformer_parameters(EQUAL):,}"],
    ],
)
CLAIMS: tuple[Claim, ...] = (*claims_sizes.CLAIMS, *claims_costs.CLAIMS, *claims_text.CLAIMS)
GROUPS = {
    "E": "Summary", "C": "1 Configuration", "P": "2 Parameters", "M": "3 Memory", "K": "4 Operations", "G": "5 Energy",
    "L": "6 Scaling", "H": "7 Hardware", "S": "8 Summary tables", "T": "9 Limits", "N": "10 Conclusions",
    "R": "10 Recommendations", "F": "10 Plans", "B": "References",
}  # fmt: skip
COLUMNS = ["id", "says", "claimed", "recomputed", "counted", "modelled", "measured", "verdict", "why", "check"]


def reference_network() -> PNBX:
    """Return the reference network with fresh weights, whatever the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PNBX(in_features=784, num_classes=10, num_steps=4, d_hidden=2048)


def reference_sections(model: PNBX, m: Measurements) -> dict[str, Section]:
    """Return parameters, operations, memory and energy of the reference network, which has no data."""
    counted = {row.part: row for row in parameter_table(model)}
    rows = [
        (part, [expected, counted[part].total, counted[part].by_gradient, DOCUMENT_PARTS[part]])
        for part, expected in parameters().items()
    ]
    note = "As the document counts: glia's numbers and the fast half of a hippocampus, which are state, included."
    numbers = table_with_sums(["part", "closed form", "counted", "by gradient", "document"], rows, note)
    data = {"closed_form": parameters(), "counted": {part: counted[part].total for part in parameters()}}
    how = "Executed: assumed at 18.8 % activity, 19 % inputs and a quarter of zeros; a run shows what really happens."
    packed, state = packings(model), state_bytes()
    two_bits = next(p.total for p in packed if p.name == "2 bits")
    memory = memory_section(packed, state, zero_share(model), " (untrained)")
    memory.parts.append(memory_figure(two_bits + sum(state.values()), m))
    memory.parts.append(_fair_memory(two_bits, sum(state.values())))
    scenarios = pnbx_scenarios()
    for position, form in ((784, "int8"), (8192, "int8"), (784, "fp32")):
        scenarios += transformer_scenarios(position, form=form)
    energy = energy_section(scenarios)
    energy.parts.insert(0, charts.intervals(scenarios, title="Energy of a step (modelled)"))
    return {
        "parameters": Section("parameters", "Parameters", [], [numbers, RIVALS], data),
        "operations": operations_section(assumed_step(), "the reference network, compiled", how),
        "memory": memory,
        "energy": energy,
    }


def _fair_memory(two_bits: int, state: int) -> Table:
    int8 = sum(parameters().values())
    rows = []
    for length in LENGTHS:
        rival = transformer_parameters(EQUAL) + cache_bytes(length, EQUAL, bytes_per_number=1)
        half = 2 * transformer_parameters(EQUAL) + cache_bytes(length, EQUAL, bytes_per_number=2)
        quarter = transformer_parameters(EQUAL) / 4 + cache_bytes(length, EQUAL, bytes_per_number=1)
        ours = [int8 + state, two_bits + state]
        ratios = [rival / ours[0], quarter / ours[1]]
        rows.append([f"{length:,}", *(f"{x / 1e6:.2f}" for x in (half, rival, *ours)), *(f"{x:.2f}" for x in ratios)])
    columns = [
        "L",
        "Transformer fp16",
        "int8, int8 cache",
        "PNB-X int8",
        "PNB-X 2 bits",
        "ratio, int8",
        "ratio, 2 bits",
    ]
    return Table(
        "Equal parameters: weights and cache or state, MB (counted)",
        columns,
        rows,
        "Ratios at equal precision: int8 against int8; 2-bit weights on both sides, cache int8.",
    )


def _int8_bytes(length: int) -> int:
    return transformer_parameters(EQUAL) + cache_bytes(length, EQUAL, bytes_per_number=1)


def memory_figure(ours: float | int, m: Measurements) -> Figure:
    """Return memory against length: counted lines, measured points where there are any."""
    lengths = (256, 1024, 4096, 16_384, 100_000)
    counted, measured = {}, {}
    for name, model, form, size in (
        ("PNB-X native, 2 bits", NATIVE, "native", lambda _: ours),
        ("equal, int8, int8 cache", "Transformer, equal", "int8, int8 KV", _int8_bytes),
        ("document's, fp32", "Transformer, document", "fp32", lambda L: 4 * transformer_parameters() + cache_bytes(L)),
    ):
        counted[name] = [(float(L), size(L) / 1e6) for L in lengths]
        points = [(float(r.length or 0), r.value / 1e6) for r in m.all("memory_resident", model=model, form=form)]
        if points:
            measured[name] = points
    note = "Points: measured." if measured else "No points: not measured on this machine."
    return charts.lines(
        measured, title="Memory against length", x="length L", y="MB", dashed=counted,
        note=f"Dashed: counted, weights and state or cache. {note}".strip(),
    )  # fmt: skip


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
    """Return everything that stands beside a claim."""
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
        [[name, str(number[name]), words] for name, words in VERDICTS.items()]
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
        "torch's products in fp32, processor time, one process, formats taking turns. The native executor uses bitmaps "
        "and its own products.",
    )
    data: dict[str, Any] = {"rows": [row._asdict() for row in rows], "formats": [timed._asdict() for timed in formats]}
    return Section("recommendations", "Recommendations, with a number each", [], [table, stored], data)
