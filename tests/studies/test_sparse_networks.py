"""The study of sparse networks: every coding gives the weights back, and rows become a table and a picture."""

import pytest
import torch

from pnbx_snn.data.catalog import load_split
from pnbx_snn.metrics.memory import zero_share
from pnbx_snn.training.config import make_config
from pnbx_snn.training.run import initial_model
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


def test_norms_and_glia_of_a_pruned_network_are_measured_anew_and_nothing_else():
    sizes = {"d_hidden": 64, "d_ssm": 8, "d_rnn": 8, "rank": 4, "slots": 8, "num_steps": 2}
    config = make_config({"data": {"name": "digits"}, "pnbx": sizes, "train": {"settle": 2, "batch_size": 64}})
    states = []
    for settle in (False, True):
        model = initial_model(config)
        model.calibrate(load_split(config.data, "train").images[:])
        accuracy.prune(model, config, 0.75, settle=settle)
        assert zero_share(model) == pytest.approx(0.75, abs=0.001)
        states.append(model.state_dict())
    changed = {name for name, before in states[0].items() if not torch.equal(before, states[1][name])}
    norms = {f"{of}.norm.{name}" for of in ("encoder", "blocks.0") for name in ("running_mean", "running_var")}
    counts = {f"{of}.norm.num_batches_tracked" for of in ("encoder", "blocks.0")}
    assert norms <= changed <= {*norms, *counts, "blocks.0.glia.state"}
