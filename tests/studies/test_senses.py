"""The study of two senses runs, keeps what is finished, and reports it."""

import json

import pytest

from studies.senses import __main__ as senses
from studies.senses.conditions import Condition, conditions, config_of
from studies.senses.report import table

TINY = [
    'data.sources=["digits", "digits"]',
    "data.pairs=64",
    "pnbx.d_hidden=32",
    "pnbx.d_ssm=4",
    "pnbx.d_rnn=4",
    "pnbx.num_steps=3",
    "train.epochs=1",
    "train.batch_size=32",
    "train.settle=1",
]
WORDS = [word for change in TINY for word in ("--set", change)]


def test_it_runs_once_and_reports(tmp_path, monkeypatch):
    out = ["--out", str(tmp_path), "--part", "validation", "--seeds", "0", "--samples", "20", *WORDS]
    senses.main(out)
    records = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [record["network"] for record in records] == ["both", "sound", "image"]
    for record in records:
        assert set(record["accuracy"]) == {condition.name for condition in conditions(record["network"])}
        assert 0 <= record["accuracy"]["clean"] <= 1
    assert (records[0]["pairs_noisy"], len(records[0]["accuracy"])) == (20, 13)
    monkeypatch.setattr(senses, "run_one", None)  # nothing is trained again
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('{"network": "both", "se')  # killed while it wrote
    senses.main(out)
    assert "| two senses, image missing |" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "two_senses.png").stat().st_size > 10_000
    with pytest.raises(SystemExit):
        senses.main([*out, "--part", "test"])


def test_a_specialist_is_the_same_network_with_one_stream():
    both, sound = (config_of(network, 1, [], "test") for network in ("both", "sound"))
    assert sound.data.stream_widths == {"sound": 40}
    assert both.network == sound.network
    assert both.train == sound.train
    assert (both.data.pairs, both.data.part) == (sound.data.pairs, "train_all")
    assert sound.augment.stream_dropout == 0


def test_means_and_deviations_are_those_of_the_seeds():
    record = {"network": "both", "part": "test", "seed": 0, "cpu_s": 60.0, "resumed": False}
    accuracy = {condition.name: 0.98 for condition in conditions("both")}
    runs = [{**record, "seed": i, "accuracy": {**accuracy, Condition().name: 0.99 + 0.01 * i}} for i in (0, 1)]
    assert "| two senses, both there | 99.50 ± 0.71 % | 2 |" in table(runs)
    assert "| sound alone, the specialist | - | 0 |" in table(runs)
