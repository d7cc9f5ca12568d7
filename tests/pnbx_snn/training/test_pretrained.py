"""Folders that can be shared, and the Hub in whose format they are."""

import json
import sys

import pytest
import torch
from test_pnbx_training import tiny

from pnbx_snn.errors import CheckpointError, StorageError
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.pretrained import from_pretrained, save_pretrained
from pnbx_snn.training.run import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained") / "run"
    train(tiny(data={"folder": "/home/somebody"}, train={"epochs": 1}), folder)
    return folder


@pytest.fixture
def shared(run, tmp_path):
    return save_pretrained(run, tmp_path / "shared", measured={"accuracy": 0.75, "part": "test"})


def test_a_network_comes_back(run, shared):
    assert sorted(path.name for path in shared.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    model, config, measured = from_pretrained(shared)
    expected, _ = load_run(run)
    assert measured == {"accuracy": 0.75, "part": "test"}
    assert type(model) is type(expected)
    x = model.encode(torch.rand(5, model.in_features, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        torch.testing.assert_close(model(x).logits, expected.eval()(x).logits, rtol=1e-4, atol=1e-5)  # scales: float32
    assert config.train.epochs == 1


def test_the_card_and_the_configuration_say_what_it_is(shared):
    card, facts = (shared / "README.md").read_text(), json.loads((shared / "config.json").read_text())
    assert card.startswith("---\nlibrary_name: pnbx-snn\n")
    assert "| accuracy | 0.75 |" in card
    assert f"{(shared / 'model.safetensors').stat().st_size:,} bytes" in card
    assert (facts["architecture"], facts["library"]) == ("PNBX", "pnbx-snn")
    assert "somebody" not in card + json.dumps(facts)


def test_the_hub_is_asked_for_the_weights_alone(shared, monkeypatch):
    asked = []

    def fake(name, file, *, revision):
        asked.append((name, file, revision))
        return str(shared / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fake)
    assert from_pretrained("somebody/network", revision="v1")[2]["accuracy"] == 0.75
    assert asked == [("somebody/network", "model.safetensors", "v1")]

    def lost(*args, **kwargs):
        raise OSError("no connection")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", lost)
    with pytest.raises(CheckpointError, match=r"somebody/network: cannot be fetched from the Hub \(no connection\)"):
        from_pretrained("somebody/network")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match="pip install huggingface_hub"):
        from_pretrained("somebody/network")


def test_what_is_not_there_is_named(run, shared, tmp_path):
    with pytest.raises(CheckpointError, match="nothing: no such folder, and no 'owner/name' of a repository"):
        from_pretrained(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="holds no model.safetensors"):
        from_pretrained(tmp_path)
    weights = (shared / "model.safetensors").read_bytes()
    (shared / "model.safetensors").write_bytes(weights[:-7])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        from_pretrained(shared)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file: the folder cannot be made"):
        save_pretrained(run, tmp_path / "file")
