"""The measurement on a GPU that is prepared: it runs but for the GPU, and without one it says so."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from studies.bench import gpu, timing

NO_GPU = not torch.accelerator.is_available()


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(tmp_path, capsys):
    for arguments, asked in (([], "a GPU"), (["--device", "cuda"], "cuda"), (["--device", "cpu"], "cpu")):
        assert gpu.main([*arguments, "--out", str(tmp_path)]) == 2
        assert f"finds no GPU, asked for {asked}; nothing was measured" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not NO_GPU, reason="kernels for the GPU are not interpreted")
def test_interpreted_it_runs_to_the_end_and_says_that_it_measured_nothing(tmp_path, monkeypatch, capsys):
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(timing, "MIN_ROUNDS", 2)
    assert gpu.main(["--interpret", "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert not results["measured"]
    assert [row["work"] for row in results["rows"]] == ["LIF (10, 2, 24)", "Linear + LIF (10, 2, 24)"]
    for row in results["rows"]:
        assert {"snnTorch", row["ours"][0]} <= row["times"].keys()
    assert results["rows"][0]["facts"]["times_the_bound"] > 1
    printed = capsys.readouterr().out
    assert printed.startswith("NOT A MEASUREMENT, interpreted on CPU")
    assert printed.count("| Linear + LIF (10, 2, 24) |") == 1
