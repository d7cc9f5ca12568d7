"""The study of choices: its networks, their analog twin, one training that is not repeated, and the tables."""

import json

import pytest
import torch

from pnbx_snn.data.split import Split
from pnbx_snn.training import run as training
from pnbx_snn.training.checkpoint import build_model
from pnbx_snn.training.kinds import KINDS
from studies.choices import __main__ as study
from studies.choices.analog import KIND, LARGEST
from studies.choices.cells import Cell, changes, grid
from studies.choices.report import report
from studies.results import read

TINY = ("pnbx.d_hidden=16", "pnbx.d_ssm=4", "pnbx.d_rnn=4", "pnbx.rank=4", "train.batch_size=4", "train.epochs=1")


@pytest.fixture
def analog(monkeypatch):
    monkeypatch.setitem(KINDS, "analog", KIND)


def test_every_network_of_the_study_has_a_configuration(analog):
    cells = [*grid(), *changes()]
    assert len({(cell.part, cell.name) for cell in cells}) == len(cells)
    for cell in cells:
        config = study.configuration("spoken", cell, 1, "somewhere")
        assert (config.section, config.train.seed, config.data.part) == (cell.section, 1, "train")


def test_currents_take_the_place_of_spikes(analog):
    cell = next(cell for cell in grid() if cell.section == "analog" and "num_blocks=2" in " ".join(cell.keys))
    model = build_model(study.configuration("spoken", cell._replace(keys=(*cell.keys, *TINY[:4])), 0, ""))
    x = torch.rand(4, 12, 40)
    model.calibrate(x)
    logits, passed = model.classify(x, generator=torch.Generator())
    logits.square().sum().backward()
    for layer in passed:
        assert len(layer.unique()) > 20
        assert 0 <= layer.min() <= layer.max() <= LARGEST
    assert model.blocks[1].membrane.leak.grad.abs().sum() > 0


def test_a_finished_network_is_not_trained_again(tmp_path, monkeypatch, capsys):
    samples = Split(torch.rand(8, 12, 40), torch.arange(8) % 10)
    monkeypatch.setattr(training, "load_split", lambda data, part: samples)
    cell, results = Cell("changes", "small", "pnbx", TINY), tmp_path / "results.jsonl"
    for _ in range(2):
        study.run(tmp_path, results, "spoken", cell, 0, "")
    [line] = read(results)
    assert capsys.readouterr().out.count("spoken, small, seed 0") == 1
    assert 0 <= line["accuracy_validation"] <= 1
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


def test_the_tables_hold_means_and_spreads(tmp_path):
    lines = [
        {"task": "rows", "part": "grid", "name": "ternary, spikes, 1, mean", "accuracy_validation": share}
        for share in (0.9, 0.92)
    ]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    report(tmp_path / "results.jsonl", tmp_path / "tables")
    assert "| 1, mean | 91.00 ± 1.41 |" in (tmp_path / "tables" / "grid.md").read_text()
    assert "| spikes |  |  |" in (tmp_path / "tables" / "changes.md").read_text()
