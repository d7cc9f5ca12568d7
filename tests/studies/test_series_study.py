"""PNB-X and a GRU of equal bytes on tiny series of different lengths, and int8 weights as they are defined."""

import json

import pytest
import torch
from torch import nn

from series_files import write_vowels
from studies.rivals import Baseline
from studies.rivals.int8 import in_int8, weight_bytes
from studies.series import __main__ as series
from studies.series.table import table


@pytest.mark.filterwarnings("ignore::neuromorphic.errors.CompileWarning")  # a network of two updates
def test_both_networks_are_chosen_trained_and_measured(tmp_path, monkeypatch, capsys):
    write_vowels(tmp_path), write_vowels(tmp_path, "TEST", each=2)
    monkeypatch.setenv("PNBX_DATA", str(tmp_path))
    monkeypatch.setattr(series, "PNBX", {**series.PNBX, "d_hidden": 32, "d_ssm": 8, "d_rnn": 4})
    monkeypatch.setattr(series, "SETTINGS", {name: some[:1] for name, some in series.SETTINGS.items()})
    monkeypatch.setattr(series, "SEEDS", (0,))
    monkeypatch.setattr(series, "CHOOSING_SEEDS", (0,))
    command = ["--out", str(tmp_path / "runs"), "--name", "japanese_vowels", "--updates", "2"]
    assert series.main(command) == 0
    lines = [json.loads(line) for line in (tmp_path / "runs" / "results.jsonl").read_text().splitlines()]
    assert [(line["network"], line["part"]) for line in lines] == [
        (network, part) for network in ("PNB-X", "GRU") for part in ("train", "train_all")
    ]
    ours, theirs = lines[1], lines[3]
    assert theirs["bytes"] == pytest.approx(ours["bytes"], rel=0.1)
    assert {"test", "test_program"} <= set(ours)
    assert {"test", "test_int8"} <= set(theirs)
    assert "| `japanese_vowels` | 29, 12, 9 |" in table(lines)
    monkeypatch.setattr(series, "one", lambda *_, **__: pytest.fail("it was trained already"))
    assert series.main(command) == 0
    capsys.readouterr()


def test_int8_weights_are_the_nearest_of_255_levels_a_row():
    torch.manual_seed(0)
    layer = nn.Linear(50, 4)
    rounded = in_int8(layer)
    step = layer.weight.abs().amax(dim=1, keepdim=True) / 127
    assert ((rounded.weight - layer.weight).abs() <= step / 2 + 1e-7).all()
    levels = rounded.weight / step
    torch.testing.assert_close(levels, levels.round())
    assert torch.equal(rounded.bias, layer.bias)
    assert weight_bytes(layer) == 200 + 16 + 16


def test_a_rival_reads_only_a_samples_own_steps():
    torch.manual_seed(0)
    model = Baseline(7, 3, 2, kind="gru", parameters=500).eval()
    assert model.takes_lengths
    assert not Baseline(7, 3, 2, kind="mlp", parameters=500).takes_lengths
    x, lengths = torch.randn(2, 7, 3), torch.tensor([4, 7])
    whole = model(x, lengths)
    changed = x.clone()
    changed[0, 4:] = 99.0
    assert torch.equal(model(changed, lengths), whole)
    torch.testing.assert_close(whole[1], model(x)[1])
    every = model.net(x[:1].transpose(0, 1))[0]
    torch.testing.assert_close(whole[0], every[:4, 0].mean(dim=0))
