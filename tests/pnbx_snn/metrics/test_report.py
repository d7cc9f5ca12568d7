"""``pnbx-snn analyze``: what a run costs, as tables, JSON and a page that opens offline."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pages import check_page
from pnbx_snn import PNBX, cli
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.data.split import Split
from pnbx_snn.errors import DataError, PnbxTypeError, PnbxValueError
from pnbx_snn.metrics import page, report
from pnbx_snn.metrics.analysis import activity, analyze_run
from pnbx_snn.metrics.page import Figure, Section, Table
from pnbx_snn.training.checkpoint import CHECKPOINT_NAME, CheckpointMeta, build_model, load_run, save_checkpoint
from pnbx_snn.training.config import make_config

SMALL = {
    "d_hidden": 32,
    "d_ssm": 8,
    "d_rnn": 4,
    "rank": 4,
    "slots": 6,
    "num_steps": 4,
    "threshold": 0.5,
    "tau_max": 8.0,
}


def save(folder: Path, sections: dict) -> Path:
    """Write a run whose network was calibrated and not trained."""
    config = make_config(sections)
    torch.manual_seed(2)
    model = build_model(config)
    model.calibrate(load_digits_split(part="validation").images)
    folder.mkdir(parents=True)
    meta = CheckpointMeta(epoch=1, step=1, seed=0, config=config.model_dump())
    save_checkpoint(folder / CHECKPOINT_NAME, model, meta=meta)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save(tmp_path_factory.mktemp("runs") / "small", {"pnbx": SMALL})


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return save(tmp_path_factory.mktemp("runs") / "digits", {"model": {"hidden": [24, 16], "num_steps": 3}})


def analyze(*arguments, code: int = 0):
    result = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(cli.app, ["analyze", *map(str, arguments)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def test_a_report_of_a_run_has_the_numbers_of_the_library(run, tmp_path):
    out = tmp_path / "report"
    result = analyze(run, "--samples", 40, "-o", out)
    assert f"wrote {out / 'index.html'} and report.json" in result.stdout
    found = json.loads((out / "report.json").read_text())["sections"]
    assert list(found) == list(report.SECTIONS)
    model, config = load_run(run)
    costs = analyze_run(run, model, config.data, samples=40)
    assert found["activity"]["rates"] == {layer.name: layer.rate for layer in costs.activity}
    assert found["activity"]["accuracy"] == costs.accuracy
    assert found["operations"]["rows"] == [row._asdict() for row in costs.counted.rows]
    assert found["memory"]["state"] == costs.state
    joules = {(s["sparsity"], s["memory"]): s["joules"][1] for s in found["energy"]["scenarios"]}
    assert joules["events", "none"] < joules["dense", "none"] < joules["dense", "DRAM"]
    number = f"{sum(found['parameters']['counted'].values()):,}"
    shown = "".join(check_page(out / "index.html").text)
    for text in (shown, result.stdout):
        assert number in text
        assert f"{costs.activity[0].rate:.2%}" in text
        assert f"{costs.packings[3].total:,}" in text


def test_a_report_of_a_classifier(classifier, tmp_path):
    analyze(classifier, "--samples", 20, "-o", tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert {r["part"] for r in found["sections"]["operations"]["rows"]} == {"layer 1", "layer 2", "readout"}
    assert found["sections"]["memory"]["state"] == {"layer 1": 96, "layer 2": 64, "readout": 64}
    check_page(tmp_path / "index.html")


def test_a_section_alone(run, tmp_path):
    result = analyze(run, "--section", "memory", "--samples", 9, "-o", tmp_path)
    assert list(json.loads((tmp_path / "report.json").read_text())["sections"]) == ["memory"]
    assert "State of one stream" in result.stdout
    assert "Firing" not in result.stdout


def test_what_a_run_does(run):
    model, _ = load_run(run)
    split = load_digits_split(part="validation")
    split = Split(split.images[:30], split.labels[:30])
    layers = activity(model, split, batch_size=7)
    with torch.no_grad():
        _, spikes = model.classify(split.images)
    for layer, z in zip(layers, spikes, strict=True):
        assert layer.by_neuron == pytest.approx(z.mean(dim=(0, 1)).numpy(), abs=1e-7)
        assert layer.by_step == pytest.approx(z.mean(dim=(1, 2)).numpy(), abs=1e-7)
        for label in range(10):
            assert layer.by_class[label] == pytest.approx(float(z[:, split.labels == label].mean()), nan_ok=True)


def test_pages_are_escaped_and_numbers_stand_to_the_right():
    table = Table("<b>", ["network", "value", "more"], [["a & b", "1.5 MB", "x"], ["c", "-", "2"]])
    figure = Figure("f", 'say "hi"', svg="<svg ></svg>")
    text = page.render("<i>", ["86% < 1"], [Section("s", "t", [], [table, figure], {})])
    assert "<i>" not in text
    assert "a &amp; b" in text
    assert 'aria-label="say &quot;hi&quot;"' in text
    assert "86% &lt; 1" in text
    assert table.numbers == {1}
    assert text.count('class="n"') == 3


def test_figures_of_one_page_share_no_ids():
    one, two = (page.histogram({"a": np.array([0.1, 0.2])}, title=title, target=0.1).svg for title in ("one", "two"))
    ids = [set(re.findall(r'id="(m?p?[0-9a-f]{9,})"', svg)) for svg in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_errors_say_what_is_allowed(run, tmp_path, tmp_path_factory, monkeypatch):
    assert "nowhere" in analyze(tmp_path / "nowhere", code=1).stderr
    assert "not one of 'parameters', 'operations', " in analyze(run, "--section", "costs", code=2).stderr
    assert "sample must be in [0, 19]" in analyze(run, "--samples", 20, "--sample", 20, code=1).stderr
    cnn = save(tmp_path_factory.mktemp("runs") / "cnn", {"cnn": {"channels": 2}})
    assert "a [cnn] has no spikes and no ternary weights" in analyze(cnn, code=1).stderr
    for old in (["--claims"], ["--reference", "--claims", "--measure"], [run, "--measurements", "m.json"], ["--quick"]):
        assert "moved" in analyze(*old, code=2).stderr
        assert "python -m studies.claims [RUN] -o report" in analyze(*old, code=2).stderr
    monkeypatch.delenv("PNBX_DATA", raising=False)  # else it names the folder that is missed below
    model, config = load_run(run)
    with pytest.raises(PnbxTypeError, match="has no spikes"):
        analyze_run(run, build_model(make_config({"cnn": {"channels": 2}})), config.data)
    with pytest.raises(PnbxValueError, match="samples must be at least 1, got 0"):
        analyze_run(run, model, config.data, samples=0)
    with pytest.raises(DataError, match="needs a folder"):
        analyze_run(run, model, config.data.model_copy(update={"name": "mnist", "folder": ""}))


def test_a_network_is_left_as_it_was(run):
    model, config = load_run(run)
    assert isinstance(model, PNBX)
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    analyze_run(run, model, config.data, samples=10)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
