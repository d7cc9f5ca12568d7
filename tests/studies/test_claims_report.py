"""Reports: they build from a small run, hold what they must, open offline, and say what is missing."""

import json
import re
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch

import studies
from pages import check_page
from pnbx_snn import PNBX
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.data.split import Split
from pnbx_snn.errors import PnbxValueError, StorageError
from pnbx_snn.metrics.analysis import analyze_run
from pnbx_snn.metrics.page import Figure, Section, Table
from pnbx_snn.training.checkpoint import CHECKPOINT_NAME, CheckpointMeta, build_model, load_run, save_checkpoint
from pnbx_snn.training.config import make_config
from studies.claims import evidence, facts, formats, report
from studies.claims.__main__ import main
from studies.claims.claims import verdict
from studies.claims.contradictions import CONTRADICTIONS
from studies.claims.energy_scenarios import pnbx_scenarios, transformer_scenarios
from studies.claims.facts import findings
from studies.claims.sections import CLAIMS, claim_row
from studies.claims.trained import _in_half, measure_run, mixed_precision
from studies.measurements import __main__ as measure
from studies.measurements import gpu_energy, record
from studies.measurements.fits import Fit, crossing, fit

ROOT = Path(studies.__file__).parents[1]
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


def row(quantity, model, form, length, value, unit="s"):
    return {
        "quantity": quantity, "model": model, "form": form, "length": length, "value": value, "unit": unit,
        "low": None, "high": None, "command": record.COMMAND,
    }  # fmt: skip


def measurements(folder: Path) -> Path:
    """Write a small file in the form that measuring has."""
    rows = []
    for length in (256, 512, 784, 1024, 2048, 8192):
        rows += [
            row("latency_p50", "PNB-X", "native", length, 8e-5),
            row("latency_p99", "PNB-X", "native", length, 2e-4),
        ]
        rows += [row("latency_p50", "Transformer, equal", "int8", length, 4e-3 + 2e-6 * length)]
        rows += [row("total_time", "PNB-X", "native", length, 8e-5 * length)]
        rows += [row("total_time", "Transformer, equal", "fp32", length, 1e-4 * length + 5e-8 * length**2)]
        rows += [row("memory_resident", "PNB-X", "native", length, 3.4e6, "bytes")]
        rows += [
            row("latency_ratio", "Transformer, equal (int8) / PNB-X native", "int8", length, 50 + length / 100, "times")
        ]
    rows += [row("state_growth", "PNB-X", "native", 1_000_000, 0, "bytes")]
    rows += [row("memory_ratio", "Transformer, equal (int8)", "int8", 8192, 9.5, "times")]
    rows += [row("training_throughput", "PNB-X", "fp32", None, 100.0, "tokens/s")]
    rows += [row("training_throughput", "Transformer, equal", "fp32", None, 250.0, "tokens/s")]
    path = folder / "measurements.json"
    folder.mkdir(parents=True, exist_ok=True)
    machine = {"processor": "of a test", "vectors": "none", "threads": 1, "python": "3", "quick": False}
    path.write_text(json.dumps({"machine": machine, "rows": rows}))
    return path


@pytest.fixture
def claims(capsys):
    """Run ``python -m studies.claims`` and return what it printed."""

    def run(*arguments, code: int = 0):
        try:
            found = main([str(argument) for argument in arguments])
        except SystemExit as error:
            found = error.code
        said = capsys.readouterr()
        assert found == code, said.err
        return said

    return run


def test_a_report_of_a_small_run_in_under_a_minute(run, tmp_path, claims):
    start = time.perf_counter()
    out = tmp_path / "report"
    said = claims(run, "--samples", 40, "-o", out)
    assert time.perf_counter() - start < 60
    assert f"wrote {out / 'index.html'}, report.md and report.json" in said.out
    page = check_page(out / "index.html")
    found = json.loads((out / "report.json").read_text())
    assert list(found["sections"]) == list(report.SECTIONS)
    model, config = load_run(run)
    analysed = analyze_run(run, model, config.data, samples=40)
    assert found["sections"]["activity"]["rates"] == {layer.name: layer.rate for layer in analysed.activity}
    assert found["sections"]["activity"]["accuracy"] == analysed.accuracy
    written = "".join(page.text)
    assert f"{analysed.activity[0].rate:.2%}".replace("%", "\u00a0%") in written
    assert f"{sum(found['sections']['parameters']['counted'].values()):,}" in written
    markdown = (out / "report.md").read_text()
    for name in re.findall(r"\(figures/(\S+)\)", markdown):
        assert (out / "figures" / name).stat().st_size > 1000
    assert markdown.count("figures/") >= 5
    assert "not measured on this machine: python -m studies.measurements FOLDER" in markdown


def test_the_reference_report_has_every_claim_and_every_figure(tmp_path, claims):
    out = tmp_path / "report"
    path = measurements(tmp_path / "elsewhere")
    claims("--measurements", path, "-o", out)
    check_page(out / "index.html")
    text = (out / "index.html").read_text()
    found = json.loads((out / "report.json").read_text())
    assert found["sections"]["parameters"]["closed_form"] == found["sections"]["parameters"]["counted"]
    rows = {r["id"]: r for r in found["sections"]["claims"]["rows"]}
    assert len(rows) == len(CLAIMS)
    assert rows["M22b"]["verdict"] == "wrong"
    assert rows["M22b"]["recomputed"] == "89.50 %"
    assert rows["P09"]["counted"].startswith("5,157,888")
    assert rows["K18"]["measured"].startswith("1.7 times")
    assert rows["L06"]["measured"].startswith("not measured on this machine")
    assert text.count('class="v v-wrong"') == sum(r["verdict"] == "wrong" for r in rows.values()) + 1
    assert all(f">{name}</td>" in text for name in CONTRADICTIONS)
    figures = sorted(file.name for file in (out / "figures").iterdir())
    assert figures == [
        "energy_energy_of_a_step_modelled.svg",
        "measurements_a_step_at_position_t.svg",
        "measurements_total_time_against_length.svg",
        "memory_accuracy_against_bytes.svg",
        "memory_memory_against_length.svg",
    ]
    for figure in figures:
        assert ElementTree.parse(out / "figures" / figure).getroot().tag.endswith("svg")
    fits = found["sections"]["measurements"]["fits"]
    assert fits["Transformer, equal, fp32"]["c"] == pytest.approx(5e-8, rel=1e-6)
    assert fits["PNB-X, native"]["b"] == pytest.approx(8e-5, rel=1e-6)
    assert fits["Transformer, equal, fp32"]["pnbx_below"] == "from the first step"
    assert any("goal 10: missed" in line for line in found["findings"])
    assert any("Transformer, equal trains 2.50 times faster" in line for line in found["findings"])


def test_every_fact_that_a_claim_asks_for_is_there():
    known = facts.Facts(evidence.Measurements(), evidence.Benchmarks(Path("nowhere.json")))
    for claim in CLAIMS:
        found = claim_row(claim, known)
        for name in ("counted", "modelled", "measured"):
            assert bool(getattr(claim, name)) == bool(found[name]), claim.id
        assert found["verdict"] == verdict(claim)
    said = [text for text in known.measured.values() if "; docs/" not in text]
    assert all(text.startswith("not measured on this machine: ") for text in said)  # no blank and no zero


def test_quoted_figures_stand_on_their_pages():
    for quoted in evidence.QUOTED.values():
        page = " ".join((ROOT / quoted.page).read_text().split())
        assert quoted.stands in page
        number = re.match(r"[\d.,]+", quoted.text)
        assert number is None or number.group() in quoted.stands
    assert "-0.28 points (s.e. 0.28" in evidence.QUOTED["distillation"].text


def test_half_precision_answers_with_latent_weights(run):
    model, _ = load_run(run)
    layer = model.readout
    x = torch.rand(3, 32)
    with torch.no_grad(), _in_half([layer]):
        assert torch.equal(layer(x), x @ layer.weight.half().float().T)
    with torch.no_grad():
        assert torch.allclose(layer(x), layer.gamma() * (x @ layer.ternary_weight().float().T), atol=1e-6)
    split = load_digits_split(part="validation")
    found = mixed_precision(model, Split(split.images[:20], split.labels[:20]))
    two, last = found[0], next(m for m in found if m.name.startswith("last"))
    assert last.weight_bytes - two.weight_bytes == 2 * 320 - 80


def test_fits_and_crossings():
    lengths = [256, 512, 1024, 4096]
    rng = np.random.default_rng(0)
    noisy = [(1 + 0.5 * L + 1e-3 * L * L) * float(1 + 0.01 * rng.standard_normal()) for L in lengths]
    found = fit(lengths, noisy)
    assert found.c == pytest.approx(1e-3, rel=0.1)
    assert found.worst < 0.03
    assert fit(lengths, [5.0 - 1e-4 * L for L in lengths]).b == 0  # nothing falls with the length
    assert crossing(Fit(1000, 1, 0, 0), Fit(0, 1, 1e-3, 0)) == pytest.approx(1000)
    assert crossing(Fit(0, 1, 1, 0), Fit(0, 1, 0.5, 0)) is None
    assert crossing(Fit(0, 1, 0, 0), Fit(1, 1, 0, 0)) == 1
    with pytest.raises(PnbxValueError, match="at least 3 numbers above 0"):
        fit([1, 2], [1.0, 2.0])


def test_energy_of_events_is_less_and_of_memory_more():
    found = {(s.sparsity, s.memory): s.total for s in pnbx_scenarios()}
    for memory in ("none", "SRAM 1 MB", "DRAM"):
        assert found["events", memory].high < found["dense", memory].high
    assert found["events", "none"].low < found["events", "SRAM 1 MB"].low < found["events", "DRAM"].low
    one, other = (transformer_scenarios(t)[1].total for t in (784, 8192))
    assert one.low < other.low
    four = transformer_scenarios(784, form="fp32")[2].traffic
    assert four.low == pytest.approx(4 * transformer_scenarios(784)[2].traffic.low)


def test_html_is_escaped_and_missing_is_marked():
    table = Table("<b>", ["network", "value"], [["a & b", "not measured on this machine: make bench"]])
    figure = Figure("f", 'say "hi"', svg="<svg ></svg>")
    page = formats.html("<i>", ["86% < 1"], [Section("s", "t", [], [table, figure], {})])
    assert "<b>" not in page.replace("<figcaption><b>", "")
    assert "a &amp; b" in page
    assert "<code>make bench</code>" in page
    assert 'aria-label="say &quot;hi&quot;"' in page
    assert "86\u00a0% &lt; 1" in page


def test_measuring_adds_the_gpu_or_why_there_is_none(tmp_path, monkeypatch, claims):
    monkeypatch.setattr(measure.stages, "stages", lambda *, quick: [])
    monkeypatch.setattr(measure, "gpu_rows", lambda **_: "no NVIDIA device (of a test)")
    out = tmp_path / "report"
    measurements(out)
    claims("--measure", "--section", "measurements", "-o", out)
    kept = json.loads((out / "measurements.json").read_text())
    assert kept["machine"]["gpu"] == "no NVIDIA device (of a test)"
    assert measure.GPU in kept["machine"]["stages"]
    assert "not measured: no NVIDIA device (of a test)" in (out / "index.html").read_text()
    assert gpu_energy.LIBRARY.startswith("libnvidia")


def test_errors_say_what_is_missing(run, tmp_path, tmp_path_factory, claims):
    assert "nowhere" in claims(tmp_path / "nowhere", code=1).err
    assert "--quick is for --measure" in claims("--quick", code=2).err
    missing = claims("--section", "measurements", "-o", tmp_path / "r", code=1).err
    assert "needs" in missing
    assert "measurements.json; make it with --measure" in missing
    assert "no such file" in claims("--measurements", tmp_path / "no.json", "-o", tmp_path / "r", code=1).err
    assert "'activity' needs a run" in claims("--section", "activity", code=1).err
    assert "section must be one of parameters" in claims("--section", "costs", code=1).err
    assert "sample must be in [0, 19]" in claims(run, "--samples", 20, "--sample", 20, code=1).err
    cnn = save(tmp_path_factory.mktemp("runs") / "cnn", {"cnn": {"channels": 2}})
    assert "a [cnn] has no spikes and no ternary weights" in claims(cnn, code=1).err
    assert not (tmp_path / "r").exists()


def test_errors_of_the_library(tmp_path):
    broken = tmp_path / "measurements.json"
    for text, message in (
        ("{", "holds no measurements"),
        ('{"machine": {}, "rows": [{"quantity": "x"}]}', "row 0 must have"),
        (
            json.dumps({"machine": {}, "rows": [{**row("x", "y", "z", 1, 2.0), "value": None}]}),
            "value must be a number",
        ),
    ):
        broken.write_text(text)
        with pytest.raises(StorageError, match=message):
            evidence.Measurements(broken)
    with pytest.raises(StorageError, match="holds no benchmarks"):
        evidence.Benchmarks(broken)
    assert findings(evidence.Measurements()) == [f"Nothing here was timed: {evidence.missing(evidence.MEASURE)}"]


def test_a_network_is_left_as_it_was(run):
    model, config = load_run(run)
    assert isinstance(model, PNBX)
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measure_run(analyze_run(run, model, config.data, samples=10))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
