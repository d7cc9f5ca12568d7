"""`pnbx-snn demo` with a network that learns next to nothing, so that its goals are missed and its spikes are equal."""

import json

import pnbx_demo
from neuromorphic.errors import LavaNotFoundError


def test_the_demo_without_lava(tmp_path, monkeypatch, capsys):
    config = tmp_path / "tiny.toml"
    config.write_text("[model]\nhidden = [9]\nnum_steps = 2\n[train]\nepochs = 1\nthreads = 1\n")

    def no_lava():
        raise LavaNotFoundError("none here")

    monkeypatch.setattr(pnbx_demo, "CONFIG", config)
    monkeypatch.setattr(pnbx_demo, "find_lava_python", no_lava)
    monkeypatch.delenv("PNBX_LAVA_PYTHON", raising=False)
    assert pnbx_demo.run_demo(tmp_path / "demo") is False
    said = " ".join(capsys.readouterr().out.split())
    assert "this demo again: neuromorphic setup-lava" in said
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert report["accuracy_program"] == report["accuracy_native"]
    assert (report["spikes_different"], report["states_different"]) == (0, 0)
    assert report["spikes_compared"] == 360 * 2 * 9
    assert report["goals"]["no spike and no state differs"] is True
    assert report["goals"]["accuracy of the network >= 97 %"] is False
    assert f"{100 * report['accuracy_network']:.2f} %" in said
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert names >= {"raster.png", "training.png", "program.npz", "inputs.npy", "recording_native.npz"}
