"""The document, recomputed: wrong figures stay labelled wrong, right ones right, and every row can be checked."""

import re
from collections import Counter
from pathlib import Path

import pytest

from pnbx_snn.errors import PnbxValueError
from studies.claims import claims_costs, claims_sizes, claims_text
from studies.claims import document as doc
from studies.claims.claims import Claim, arithmetic, printed, verdict
from studies.claims.contradictions import CONTRADICTIONS

ALL = (*claims_sizes.CLAIMS, *claims_costs.CLAIMS, *claims_text.CLAIMS)
BY_ID = {claim.id: claim for claim in ALL}

# From an audit of the document by hand, before this code was written.
AUDIT = """
wrong: E03 E05 C10 M11 M12 M15 M16 M22b M24 M26 L06 G05 G05b G06 G08 L08b L08c L09b L09c L10b L10c L11b L11c L12b L12c
wrong: L06b L13b L13c L15 H01 H06 S06 S10 T01 N02 R02 R05 F04
right: P01 P04 P05 P06 P07 P08 P09 P10 P11 P12 P13 P14 P15 P17 P18 M02 M03 M06 M07 M10 M14 M21 M21b M25 L01 L03 L04
right: K01 K04 K07 K13 K15 K19 L14 T08 E06 E07 S04 S05
rounded: K08 K09 K10 K11 K12 K14 K14b L08 L10 L11 L12 L13 L02 L05 M23b
misleading: C15 P02 P03 P16 M04 M08 M17 M18 M19 M22 K02 K03 K05 K06 K16 K18 G01 G03 G04 H09 S02 S03 T04 T10 N01
unsupported: C08 C09 P19 M20 M23 N04 S11
"""
EXPECTED = {name: line.split(":")[0] for line in AUDIT.strip().splitlines() for name in line.split(": ")[1].split()}


def test_every_figure_has_the_verdict_of_the_audit():
    assert {name: verdict(BY_ID[name]) for name in EXPECTED} == EXPECTED


def test_nothing_else_is_wrong():
    wrong = {name for name, expected in EXPECTED.items() if expected == "wrong"}
    assert {claim.id for claim in ALL if verdict(claim) == "wrong"} == wrong


FIGURES = {
    # What the audit computed by hand, to its own precision.
    "E05": 41.4, "P18": 3.7405, "M19": 116.11, "M22b": 89.50, "M26": 3140, "M15": 3.211, "M16": 19.268,
    "K06": 4.5568, "K14b": 18603.5, "K18": 5.207, "G06": 0.112, "G08": 166, "L06": 278.5, "L08b": 5.24, "L09b": 11.29,
    "L10b": 25.82, "L11b": 64.63, "L12b": 181.19, "L13b": 570.16, "L11c": 6.94, "T10": 2.36e9, "T04": 0.124,
    "M23": 8.306,
}  # fmt: skip


def test_figures_are_those_of_the_audit():
    for name, expected in FIGURES.items():
        assert BY_ID[name].recompute() == pytest.approx(expected, rel=3e-3), name
    assert doc.whole_step_macs() == 7_254_016
    assert doc.six_block_parameters() == 20_251_648
    assert doc.block_parameters() == 3_018_752
    assert doc.decoding_mb() == pytest.approx(96.47, abs=0.01)
    assert doc.energy_mj(activity_on="nothing") == pytest.approx(0.179, abs=5e-4)
    assert [doc.traffic_mj(bits) for bits in (8, 2)] == pytest.approx([50.6, 12.6], rel=3e-3)
    assert doc.first_ratio(10) == pytest.approx(4300, rel=0.005)
    assert doc.operations_ratio(doc.first_ratio(10)) >= 10 > doc.operations_ratio(doc.first_ratio(10) - 1)
    assert [doc.equal_ratio(784, causal=causal) for causal in (False, True)] == pytest.approx([1.01, 0.84], abs=0.005)
    assert [doc.equal_memory_mb(length) for length in (256, 784, 2048, 8192)] == pytest.approx(
        [5.94, 7.57, 11.45, 30.32], abs=0.01
    )
    assert [doc.transformer_mb(length, scores=True) for length in doc.LENGTHS] == pytest.approx(
        [85.6, 98.2, 135.9, 261.7, 714.7, 2426.0], abs=0.06
    )


def test_each_row_of_the_inventory_is_there_once():
    assert len(BY_ID) == len(ALL)
    expected = [f"E{i:02}" for i in range(1, 9)] + [f"C{i:02}" for i in range(1, 17)]
    for letter, last in (("P", 19), ("M", 26), ("K", 20), ("G", 8), ("L", 15), ("H", 15), ("S", 19), ("T", 11)):
        expected += [f"{letter}{i:02}" for i in range(1, last + 1)]
    for letter, last in (("N", 4), ("R", 8), ("F", 4), ("B", 5)):
        expected += [f"{letter}{i:02}" for i in range(1, last + 1)]
    assert {re.sub(r"[bc]$", "", name) for name in BY_ID} == set(expected)


def test_contradictions_are_all_met_and_all_named():
    assert list(CONTRADICTIONS) == [f"X{number}" for number in range(1, 51)]
    named = {x for claim in ALL for x in claim.contradictions}
    assert named == set(CONTRADICTIONS)
    assert "88.0 %" in CONTRADICTIONS["X2"]
    assert "89.5 %" in CONTRADICTIONS["X2"]
    assert "7.25 M" in CONTRADICTIONS["X11"]
    assert "3,140" in CONTRADICTIONS["X23"]
    assert "6.25%" in CONTRADICTIONS["X32"]


def test_every_row_says_why_and_how_to_check():
    for claim in ALL:
        found = verdict(claim)
        assert claim.check, claim.id
        if found in ("wrong", "misleading", "unsupported"):
            assert claim.reason, claim.id
        if claim.recompute is not None:
            assert claim.claimed, claim.id


def test_a_figure_is_compared_as_it_is_printed():
    assert printed("1,605,632") == ([1605632.0], 0.5)
    assert printed("+133 %") == ([133.0], 0.5)
    assert [arithmetic("9.32 G", value) for value in (9.3249, 9.3251, 9.41, 9.43)] == [
        "right", "rounded", "rounded", "wrong",
    ]  # fmt: skip
    assert [arithmetic("10 to 20 times", value) for value in (9, 10, 20, 21)] == ["wrong", "right", "right", "wrong"]
    assert arithmetic("2.87e-21 J", 2.8710e-21) == "right"
    assert arithmetic("2.87e-21 J", 2.95e-21) == "wrong"
    with pytest.raises(PnbxValueError, match="must hold a number, got 'many'"):
        printed("many")


def test_a_wrong_figure_cannot_be_judged_away():
    claim = Claim("Y1", "1", "two and two", "5", lambda: 4, judged="right")
    assert verdict(claim) == "wrong"
    assert verdict(claim._replace(claimed="4", judged="misleading")) == "misleading"
    with pytest.raises(PnbxValueError, match="Y2 has neither a formula nor a verdict"):
        verdict(Claim("Y2", "1", "something"))


def test_the_page_counts_the_verdicts_as_they_are():
    page = (Path(doc.__file__).parents[2] / "docs" / "analysis.md").read_text()
    number = Counter(verdict(claim) for claim in ALL)
    for name in ("right", "rounded", "wrong", "misleading", "unsupported"):
        assert f"| {name} | {number[name]} |" in page
    assert f"| definitions, plans | {number['definition'] + number['no claim']} |" in page
    assert f"its {len(ALL)} rows" in page
