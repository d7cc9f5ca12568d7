"""The road from event files to a report, twice: the second time nothing is trained."""

import json

import pytest

from event_files import heidelberg_set
from pnbx_snn.data.events import SENSORS
from pnbx_snn.training.config import load_config
from studies.events import __main__ as events
from studies.events import marks

TINY = ["data.num_frames=12", "data.pool=20", "pnbx.d_hidden=32", "pnbx.d_ssm=8", "pnbx.d_rnn=4", "pnbx.input_delays=5"]
TINY += ["train.epochs=2", "train.batch_size=9", "train.settle=1"]
SET = [word for key in TINY for word in ("--set", key)]


def test_train_evaluate_compile_report_and_again(tmp_path, capsys, monkeypatch):
    heidelberg_set(tmp_path / "data", num=20)
    heidelberg_set(tmp_path / "data", "test", 6)
    command = ["shd", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "runs"), *SET]
    assert events.main(command) == 0
    told = capsys.readouterr().out
    assert "90.0 %: ternary weights, learned axonal delays of 3 bits, 22 kB" in told
    found = json.loads((tmp_path / "runs" / "shd.json").read_text())
    assert found["agreement"]["samples"] == 6
    assert found["bytes"] > found["weight_bytes"] > 0
    assert (tmp_path / "runs" / "shd" / "program.npz").exists()
    monkeypatch.setattr(events, "train", lambda *_, **__: pytest.fail("it was trained already"))
    assert events.main(command) == 0
    assert "| shd | test |" in capsys.readouterr().out


def test_only_missing_files_are_fetched(tmp_path, monkeypatch):
    datasets = pytest.importorskip("tonic").datasets
    heidelberg_set(tmp_path, num=4)
    asked = []
    for name in ("SHD", "SSC"):
        monkeypatch.setattr(datasets, name, lambda folder, *, called=name, **options: asked.append((called, options)))
    events.fetch("shd", tmp_path)
    events.fetch("ssc", tmp_path)
    parts = [("SSC", {"split": split}) for split in ("train", "valid", "test")]
    assert asked == [("SHD", {"train": False}), *parts]


@pytest.mark.parametrize("name", SENSORS)
def test_each_data_set_has_a_configuration_an_estimate_and_marks(name, capsys):
    config = load_config(name)
    assert config.data.name == name
    assert marks.MARKS[name]
    if name == "shd":
        assert events.main([name, "--estimate", *SET]) == 0
        assert "shd: 2 epochs, about 0." in capsys.readouterr().out
