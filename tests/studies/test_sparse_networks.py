"""The study of sparse networks: every coding gives the weights back, and rows become a table and a picture."""

import pytest

from studies.sparsity import accuracy, codings, report


@pytest.mark.parametrize("zeros", [0.4, 0.95])
def test_every_coding_gives_the_weights_back(zeros):
    found = codings.measure(3_003, zeros)  # it compares them
    sizes = {name: size for name, (size, _) in found.items()}
    assert (sizes["two bits"], sizes["base 3"]) == (751, 601)
    assert sizes["arithmetic"] < sizes["base 3"] + 9
    if zeros == 0.95:
        assert sizes["arithmetic"] - 4 < sizes["runs"] < sizes["base 3, LZMA"] < sizes["base 3"]


def test_a_row_for_each_rule_and_target(tmp_path):
    runs = [*accuracy.wanted([0, 1], [0.75, 0.9], ["magnitude"])]
    assert [run.name for run in runs][:3] == ["dense_seed0", "magnitude_90_seed0", "magnitude_75_seed0"]
    rows = [
        {"rule": run.rule, "target": run.zeros, "seed": run.seed, "accuracy_validation": 0.9 + run.seed / 100}
        | {"zeros": run.zeros or 0.3, "file": {"bits2": 2000 + run.seed, "auto": 1000}}
        for run in runs
    ]
    report.write_report(rows, tmp_path / "report")
    lines = (tmp_path / "report" / "table.md").read_text().splitlines()
    assert lines[2:] == [
        "| as rounding leaves them | 30% | 90.50 % (90.00 to 91.00) | 0, 1 | 2,000 | 1,000 |",
        "| magnitude | 75% | 90.50 % (90.00 to 91.00) | 0, 1 | 2,000 | 1,000 |",
        "| magnitude | 90% | 90.50 % (90.00 to 91.00) | 0, 1 | 2,000 | 1,000 |",
    ]
    assert (tmp_path / "report" / "accuracy.png").stat().st_size > 10_000
