"""The study of the tasks: a finished training is measured once, ours and a rival's, and lines become tables."""

import pytest

from pnbx_snn import load_run, train
from pnbx_snn.data.catalog import load_split
from pnbx_snn.training.config import make_config
from pnbx_snn.training.evaluate import evaluate
from studies.results import read
from studies.rivals.int8 import in_int8
from studies.tasks.__main__ import main
from studies.tasks.report import comparison, speakers

NETWORKS = {
    "ours": {"pnbx": {"d_hidden": 64, "d_ssm": 8, "d_rnn": 8, "rank": 4, "slots": 8, "num_steps": 2}},
    "rival": {"baseline": {"kind": "mlp", "parameters": 2000}},
}


@pytest.mark.filterwarnings("ignore::neuromorphic.errors.CompileWarning")  # a network of one epoch
def test_runs_are_measured_on_test_samples_as_trained_and_as_small_machines_hold_them(tmp_path, capsys):
    for name, section in NETWORKS.items():
        train(make_config({"data": {"name": "digits"}, **section, "train": {"epochs": 1, "seed": 3}}), tmp_path / name)
    runs = [str(tmp_path / name) for name in NETWORKS]
    assert main(["--folder", str(tmp_path / "tasks"), "measure", "static", *runs]) == 0
    ours, rival = read(tmp_path / "tasks" / "results.jsonl")
    assert [line["network"] for line in (ours, rival)] == ["PNB-X", "mlp"]
    assert {line["seed"] for line in (ours, rival)} == {3}
    model, config = load_run(runs[1])
    split = load_split(config.data, "test")
    assert rival["test"] == evaluate(model, split)["accuracy"]
    assert rival["small"] == evaluate(in_int8(model), split)["accuracy"]
    assert rival["weights"] == rival["bytes"] < rival["parameters"] < rival["all_bytes"] < 1.5 * 2100
    assert ours["weights"] / 4 <= ours["bytes"] < ours["all_bytes"] < ours["parameters"]
    assert 0 < ours["spikes_equal"] <= 1
    assert len(ours["rates"]) == 2
    assert capsys.readouterr().out.count("% as trained") == 2
    assert main(["--folder", str(tmp_path / "tasks"), "report"]) == 0
    assert (tmp_path / "tasks" / "comparison.md").read_text().count("MNIST, static") == 2


def test_a_folder_without_a_training_is_said_and_adds_no_line(tmp_path, capsys):
    assert main(["--folder", str(tmp_path / "tasks"), "measure", "rows", str(tmp_path / "none")]) == 1
    assert "none/checkpoint.safetensors: no such file" in capsys.readouterr().err
    assert read(tmp_path / "tasks" / "results.jsonl") == []


def test_tables_hold_means_over_seeds_and_of_each_seed_over_speakers():
    line = {"network": "gru", "parameters": 1000, "bytes": 1100, "small": 0.5, "hours": 0.5}
    ours = line | {"network": "PNB-X", "bytes": 250, "rates": [0.1]}
    lines = [
        line | {"task": "rows", "seed": 0, "test": 0.9},
        ours | {"task": "rows", "seed": 0, "test": 0.8},
        {k: v for k, v in ours.items() if k != "small"} | {"task": "rows", "seed": 1, "test": 0.9},
        *(
            ours | {"task": "unheard", "seed": 0, "speaker": name, "test": test}
            for name, test in (("b", 0.5), ("a", 1))
        ),
        ours | {"task": "dense", "bytes": 12_001, "seed": 0, "test": 0.9},
    ]
    assert comparison(lines).splitlines()[2:] == [
        "| MNIST row by row | 99.3 (99.52) % in 110 kB | PNB-X | 250 | 1,000 | 85.00 ± 7.07 % | 50.00 % | 2 | 0.5 |",
        "| MNIST row by row | 99.3 (99.52) % in 110 kB | GRU | 1,100 | 1,000 | 90.00 % | 50.00 % | 1 | 0.5 |",
        "| spoken, unheard speaker | 86.0 (92.0) % in 210 kB | PNB-X | 250 | 1,000 | 75.00 % | 50.00 % | 1 | 1.0 |",
        "| smallest dense network, MNIST | 99.0 (99.0) % in 12 kB | PNB-X | 12,001 (more than allowed) | 1,000 "
        "| 90.00 % | 50.00 % | 1 | 0.5 |",
    ]
    assert speakers(lines).splitlines()[::2] == [
        "| unheard speaker | a | b | mean |",
        "| PNB-X | 100.0 | 50.0 | 75.0 |",
    ]
