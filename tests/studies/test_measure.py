"""Measurements are kept stage by stage, processes answer, and rivals hold what they say they hold."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from neuromorphic import LIF, Dense, Input, Program
from pnbx_snn.errors import PnbxError, PnbxValueError, StorageError
from pnbx_snn.training.packed import pack_sign_bits
from studies.measurements import __main__ as measure
from studies.measurements import stages as measure_stages
from studies.measurements.models import FULL, NATIVE, QUICK, Stepped
from studies.measurements.process import Rival, native_arguments, run
from studies.measurements.record import markdown
from studies.measurements.record import row as measured_row

FOLDER = Path(__file__).parents[2] / "docs" / "analysis"
FIELDS = {"quantity", "model", "form", "length", "value", "unit", "low", "high", "command"}


class Still:
    """A bench without processes."""

    def __init__(self, *, quick):
        self.quick = quick
        self.unavailable = {"Transformer, equal, fp32, compiled": "no compiler"}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def test_stages_that_ended_are_kept(tmp_path, monkeypatch):
    asked = []

    def stage(name, error=None):
        def ask(bench, rows):
            asked.append((name, len(rows)))
            if error is not None:
                raise error
            return [measured_row("file_size", name, "int8", None, 7.0, "bytes", low=6.0, high=8.0)]

        return name, ask

    monkeypatch.setattr(measure_stages, "Bench", Still)
    monkeypatch.setattr(measure, "gpu_rows", lambda **_: [])
    monkeypatch.setattr(measure_stages, "stages", lambda *, quick: [stage("a"), stage("b", KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        measure.measure(tmp_path, quick=True)
    kept = json.loads((tmp_path / "measurements.json").read_text())
    assert [row["model"] for row in kept["rows"]] == ["a"]
    monkeypatch.setattr(measure_stages, "stages", lambda *, quick: [stage("a"), stage("b")])
    lines = []
    path = measure.measure(tmp_path, quick=True, say=lines.append)
    assert asked == [("a", 0), ("b", 1), ("b", 1)]
    assert lines == ["[2/2] b ...", f"written: {path} and measurements.md"]
    assert "| b, int8 | 0.00 |" in path.with_suffix(".md").read_text()
    assert path.with_suffix(".md").read_text().count("equal, fp32, compiled: not measured: no compiler\n") == 1
    found = json.loads(path.read_text())
    assert [set(row) for row in found["rows"]] == [FIELDS, FIELDS]
    assert found["rows"][1]["command"] == "python -m studies.measurements FOLDER --quick"
    assert (found["rows"][1]["low"], found["rows"][1]["high"]) == (6.0, 8.0)
    assert set(found["machine"]["stages"]) == {"a", "b", measure.GPU}
    assert found["machine"]["versions"]["torch"] == torch.__version__
    with pytest.raises(StorageError, match="holds a quick measurement; give another folder"):
        measure.measure(tmp_path)
    path.write_text("{}")
    with pytest.raises(StorageError, match="holds no measurements"):
        measure.measure(tmp_path, quick=True)


def test_the_native_process_steps_a_program(tmp_path):
    rng = np.random.default_rng(0)
    one = np.ones(64, dtype=np.int32)
    weights = rng.integers(-1, 2, (64, 9)).astype(np.int8)
    ops = (Input("x", 9), Dense("fc", "x", weights), LIF("lif", ("fc",), 2048 * one, one, one, shift=0))
    Program(ops, num_steps=4).save(tmp_path / "program.npz")
    np.save(tmp_path / "inputs.npy", rng.integers(0, 2, (10, 1, 9)).astype(np.int32))
    rival = Rival("small", "native", native_arguments(tmp_path))
    try:
        assert rival.ask("fill", length=25) == {"steps": 25}
        answer = rival.ask("steps", count=7)
        assert len(answer["cpu"]) == len(answer["wall"]) == 7
        assert all(0 < cpu < 1 for cpu in answer["cpu"])
        first = rival.ask("memory")
        assert first["steps"] == 32
        assert 0 < first["rates"]["lif"] < 64
        assert first["weights"] > 64 * 9 / 4
        assert rival.ask("total", length=3_000)["cpu"] > 0
        second = rival.ask("memory")
        assert (second["steps"], second["state"]) == (3_000, first["state"])
        assert second["file"] == (tmp_path / "program.npz").stat().st_size
    finally:
        rival.close()


def test_a_process_that_fails_says_why():
    rival = Rival("GRU", "fp31", ["-c", "raise SystemExit('no such form')"])
    with pytest.raises(PnbxError, match=r"GRU \(fp31\) ended: no such form"):
        rival.ask("memory")
    rival.close()
    with pytest.raises(PnbxError, match="(?s)failed: .*division by zero"):
        run(["-c", "1 / 0"])
    assert 0 < run(["-c", "sum(range(10**7))"]) < 10


def test_a_form_that_cannot_be_had_is_left_out_and_said(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    keys = [("GRU", "fp32"), ("Transformer, equal", "fp32, compiled")]
    with measure_stages.Bench(quick=True) as bench:
        assert bench.available(keys) == bench.available(keys) == keys[:1]
        assert bench.rival(keys[0]).first()["make_s"] > 0
    (name,) = bench.unavailable
    assert name == "Transformer, equal, fp32, compiled"
    assert "torch.compile fails: " in bench.unavailable[name]
    assert "no-such-compiler" in bench.unavailable[name]


@pytest.mark.parametrize("form", ["fp32", "fp16", "int8", "int8, int8 KV"])
def test_a_cache_of_any_length_has_the_bytes_it_must(form):
    rival = Stepped("Transformer, equal", form, small=True)  # one layer, two heads of 8
    rival.fill(100)
    answer = rival.steps(20)
    assert len(answer["cpu"]) == 20
    assert rival.cache.length == 100
    numbers = 2 * 16 * 100
    scales = 4 * 2 * 2 * 100
    expected = {"fp32": 4 * numbers, "fp16": 2 * numbers, "int8": 4 * numbers, "int8, int8 KV": numbers + scales}
    assert rival.state_bytes() == expected[form]
    assert rival.file_bytes() > 16 * 16
    assert rival.total(30)["cpu"] > 0


def test_states_of_others_do_not_grow():
    for name in ("GRU", "SSM"):
        rival = Stepped(name, "fp32", small=True)
        sizes = []
        for length in (10, 600):
            rival.fill(length)
            rival.steps(3)
            sizes.append(rival.state_bytes())
        assert sizes[0] == sizes[1] == {"GRU": 4 * 8, "SSM": 8 * 8}[name]
        assert rival.file_bytes() > 4 * 8


def test_a_network_that_is_not_there_is_refused():
    with pytest.raises(PnbxValueError, match="model must be one of GRU; .*got 'LSTM'"):
        Stepped("LSTM", "fp32")
    with pytest.raises(PnbxValueError, match="weights must be one of fp32, bf16, fp16, int8, int4, got 'int2'"):
        Stepped("GRU", "int2", small=True)
    with pytest.raises(PnbxValueError, match="a form ends in int8 KV, compiled, got 'int8, OpenVINO'"):
        Stepped("Transformer, equal", "int8, OpenVINO", small=True)
    with pytest.raises(PnbxValueError, match="only a Transformer has the form 'fp32, compiled'"):
        Stepped("SSM", "fp32, compiled", small=True)
    with pytest.raises(PnbxValueError, match="compiled has no form 'fp32, int8 KV, compiled'"):
        Stepped("Transformer, equal", "fp32, int8 KV, compiled", small=True)
    for form in ("int4, int8 KV", "int4, compiled"):
        with pytest.raises(PnbxValueError, match=f"torch has no form '{form}'"):
            Stepped("Transformer, equal", form, small=True)
    assert FULL[0] == (NATIVE, "native")
    assert not any("ONNX" in form or "compiled" in form for _, form in QUICK)
    assert pack_sign_bits(torch.ones(5, dtype=torch.int8)).nbytes == 2


def latency(model, form, length, value):
    return measured_row("latency_p50", model, form, length, value, "s")


def test_ratios_are_of_the_best_form_and_decoding_is_summed():
    rows = [latency(NATIVE, "native", 256, 2.0), latency("Transformer, equal", "fp32", 256, 60.0)]
    rows += [latency("Transformer, equal", "int8", 256, 50.0), latency("Transformer, document", "int8", 256, 1.0)]
    (found,) = measure_stages.ratios(measure_stages.Bench(quick=True), rows)
    assert (found["quantity"], found["form"], found["value"], found["unit"]) == ("latency_ratio", "int8", 25.0, "times")
    rows = [latency("Transformer, equal", "fp32", 100, 1.0), latency("Transformer, equal", "fp32", 300, 2.0)]
    (summed,) = measure_stages._decoding(rows, 300)
    assert summed["value"] == pytest.approx(100 * 1.0 + 200 * 1.5)
    assert summed["form"] == "fp32, decoding"
    names = [name for name, _ in measure_stages.stages(quick=False)]
    assert "steps at 8,192" in names
    assert "stream of 1,000,000" in names


def test_the_page_shows_what_was_measured():
    found = json.loads((FOLDER / "measurements.json").read_text())
    assert not found["machine"]["quick"]
    assert all(set(row) == FIELDS for row in found["rows"])
    assert (FOLDER / "measurements.md").read_text() == markdown(found)
