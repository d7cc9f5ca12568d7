"""What the benchmarks do with times, and that the page shows what the command measured."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from studies.bench import figures, limits, roofline
from studies.bench.report import markdown, rows_of
from studies.bench.timing import Limit, Row, Timing, interleave, readable

FOLDER = Path(__file__).parents[2] / "docs" / "performance"


def test_cases_take_turns_and_slow_ones_are_slower():
    calls = []

    def case(name, count):
        def run():
            calls.append(name)
            sum(range(count))

        return run

    times = interleave({"slow": case("slow", 200_000), "fast": case("fast", 20_000)}, seconds=0.2)
    assert 4 < times["slow"].median_s / times["fast"].median_s < 25
    for timing in times.values():
        assert timing.low_s <= timing.median_s <= timing.high_s
        assert timing.samples >= 7
    measured = "".join(name[0] for name in calls[-400:])
    assert "sf" in measured
    assert "fs" in measured


def test_a_bound_is_no_rival():
    def timing(seconds):
        return Timing(seconds, seconds, seconds, 9)

    row = Row("training", "work", ("ours",), bounds=("a part",))
    row.times = {"ours": timing(2.0), "rival": timing(6.0), "other": timing(9.0), "a part": timing(1.0)}
    assert (row.best_rival, row.speedup) == ("rival", 3.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.56e-6, "4.56 us"), (0.9996e-3, "1 ms"), (7e-10, "0.7 ns")],
)
def test_times_have_units(seconds, text):
    assert readable(seconds) == text


def test_a_share_is_of_the_limit():
    row = Row("training", "work", ("ours",), limit=Limit(0.5, "bytes"))
    row.times = {"ours": Timing(2.0, 2.0, 2.0, 9)}
    assert row.share == 0.25
    assert row.best_rival == ""


def test_the_least_time_is_that_of_what_takes_longest(monkeypatch):
    monkeypatch.setattr(limits, "bandwidth", lambda kind, size, threads: {"read": 100.0, "copy": 50.0}[kind])
    monkeypatch.setattr(limits, "rate", lambda name, threads: {"vpaddd": 8.0, "vpdpbusd": 4.0}.get(name, 0.0))
    assert limits.least(copied=100, read=100).seconds == 3.0  # one path for both
    assert limits.least(read=100, issued={"vpaddd": 4}).binds.endswith("L1")
    found = limits.least(read=100, issued={"vpaddd": 16, "vpdpbusd": 8, "vpternlogq": 10**9})  # which it lacks
    assert (found.seconds, found.binds) == (3.0, "24 vpaddd and vpdpbusd")  # the pipes are the same: 24 at 8 a second
    assert (found.instructions, found.bytes, found.level) == (24, 100, "L1")
    assert limits.least(issued={"vpdpbusd": 16, "vpaddd": 1}).seconds == 4.0
    assert limits.least(issued={"vpternlogq": 1}) is None


def test_the_machine_has_limits():
    assert limits.bandwidth("read", limits.SIZES["L1"], 1) > limits.bandwidth("read", 64 << 20, 1) > 1e8
    assert limits.bandwidth("copy", limits.SIZES["L2"], 2) > 1e8
    rates = {name: limits.rate(name, 1) for name in limits.INSTRUCTIONS}
    there = {name for name, (_, feature) in limits.INSTRUCTIONS.items() if feature in limits.features()}
    assert {name for name, rate in rates.items() if rate > 1e7} == there


def test_shares_and_roofs_are_drawn(tmp_path):
    speeds = {f"{level}, {kind}, 1": 10.0**9 for level in limits.SIZES for kind in ("read", "copy")}
    rows = []
    for i, limit in enumerate((Limit(1.0, "bytes", 1, 1e6, "L2"), Limit(0.5, "bits", 1, 1e6, "L2", 1e5, "vpaddd"))):
        rows.append(Row("training", f"work {i}", ("ours",), {"ours": Timing(2.0, 2.0, 2.0, 9)}, limit=limit))
    roofline.shares(rows, tmp_path / "shares.png")
    roofline.rooflines(rows, {"bandwidth": speeds, "rate": {"vpaddd, 1": 1e9}}, tmp_path / "roofline.png")
    assert min((tmp_path / name).stat().st_size for name in ("shares.png", "roofline.png")) > 5000


def test_the_page_shows_what_was_measured():
    results = json.loads((FOLDER / "results.json").read_text())
    rows = rows_of(results)
    assert not results["quick"]
    assert (FOLDER / "tables.md").read_text() == markdown(results, rows)
    assert min(row.speedup for row in rows if row.best_rival) > 0
    assert {row.table for row in rows} == {"training", "recurrences", "deployment", "whole"}
    assert all(0 < row.share < 1 for row in rows if row.limit)


def test_figures_show_each_rival_beside_ours(tmp_path):
    results = json.loads((FOLDER / "results.json").read_text())
    rows = rows_of(results)
    shown = [row for row in rows if row.table == "deployment"]
    axes = figures.ratios(shown, "deployment", tmp_path / "ratios.png")
    assert axes.get_xscale() == "log"
    first = shown[0]
    label = f"{first.work}\n{readable(first.times[first.ours[0]].median_s)}"
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == label
    drawn = np.concatenate([line.get_xdata() for line in axes.lines if line.get_label() == "ONNX Runtime int8"])
    compared = [row for row in shown if "ONNX Runtime int8" in row.times]
    measured = [row.times["ONNX Runtime int8"].median_s / row.times[row.ours[0]].median_s for row in compared]
    assert np.allclose(sorted(drawn), sorted(measured))


def test_rivals_of_a_convolution_give_the_exact_sums():
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    from studies.bench import convolutions

    shape = convolutions.Shape(2, 3, 5)
    rivals = convolutions.Rivals(shape, batch=2)
    cases = rivals.cases(np.random.default_rng(0).random((2, 50)) < 0.3)  # compares them
    assert set(cases) == {convolutions.OURS, convolutions.UNROLLED, convolutions.TORCH, *rivals.sessions}
    rivals.real = rivals.real + 1
    with pytest.raises(AssertionError, match="torch fp32"):
        rivals.cases(np.ones((2, 50), dtype=bool))


def test_a_program_of_slow_loops_is_loaded_and_proven():
    pytest.importorskip("torch", reason="torch is not installed")
    from studies.bench import whole

    rows = whole.program_rows(0.05, quick=True)
    assert [row.work.split()[0] for row in rows] == ["load", "prove"]
    assert all(row.times["PNB-X"].median_s > 0 and row.best_rival == "" for row in rows)
    assert "121 operations" in rows[0].work
